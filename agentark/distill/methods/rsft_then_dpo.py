"""`rsft_then_dpo`: DPO's pairs, on top of the R-SFT student of the same cell, which DPO's reference is then, too."""

from agentark.distill.method import Method

from . import dpo

LOOK, CONTROLS = ("R-SFT, then DPO", "#0B3C49", "$7$"), ("rsft", "da", "rsft_then_shuffled", "gold_rsft")
METHOD = Method("rsft_then_dpo", *LOOK, 67, "05_dpo", controls=CONTROLS, pairs=dpo.pairs, after="rsft")
