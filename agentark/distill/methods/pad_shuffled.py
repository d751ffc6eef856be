"""`pad_shuffled`, the control of PAD's reward: GRPO on a reward model that was trained on shuffled labels."""

from agentark.distill.method import Method

LOOK = ("PAD, shuffled labels", "#56B4E9", ">")
METHOD = Method(
    "pad_shuffled", *LOOK, order=90, notebook="07_pad", reward="shuffled", optimiser="grpo", control_of="pad"
)
