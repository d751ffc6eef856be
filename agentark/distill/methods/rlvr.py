"""`rlvr`, the positive control of PAD's optimiser: GRPO whose reward is whether the answer is right."""

from agentark.distill.method import Method

LOOK = ("GRPO on right answers", "#117733", "d")
METHOD = Method("rlvr", *LOOK, order=100, notebook="07_pad", reward="answer", optimiser="grpo")
