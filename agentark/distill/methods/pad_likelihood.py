"""`pad_likelihood`, the control of PAD's reward model: GRPO on its backbone's likelihood, untrained."""

from agentark.distill.method import Method

LOOK = ("PAD, likelihood", "#7FB3D5", "2")
METHOD = Method(
    "pad_likelihood", *LOOK, order=95, notebook="07_pad", reward="likelihood", optimiser="grpo", control_of="pad"
)
