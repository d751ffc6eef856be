"""`pad`, process-aware distillation (3.3.3, Eq. 3-5): GRPO on the scores of the process reward model."""

from agentark.distill.method import Method

CONTROLS = ("rsft_single", "gold_rsft", "base_majority", "rsft", "da", "pad_shuffled", "pad_likelihood", "rlvr")
METHOD = Method(
    "pad", "PAD", "#D55E00", "p", order=70, notebook="07_pad", controls=CONTROLS, reward="prm", optimiser="grpo"
)
