"""`rsft_then_shuffled`, the control of `rsft_then_dpo`: the same pairs, of which a coin prefers one trace."""

from agentark.distill.method import Method

from . import dpo_shuffled

LOOK = ("R-SFT, then shuffled DPO", "#6A8CA0", "$8$")
METHOD = Method(
    "rsft_then_shuffled", *LOOK, 69, "05_dpo", controls=("rsft",), control_of="rsft_then_dpo",
    pairs=dpo_shuffled.pairs, after="rsft",
)  # fmt: skip
