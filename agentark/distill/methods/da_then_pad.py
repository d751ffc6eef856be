"""`da_then_pad`, the reverse of the paper's order (Appendix F): PAD on top of the DA student."""

from agentark.distill.method import Method

LOOK, CONTROLS = ("DA, then PAD", "#EE3377", "$6$"), ("pad", "da", "pad_then_da")
METHOD = Method("da_then_pad", *LOOK, 88, "07_pad", controls=CONTROLS, reward="prm", optimiser="grpo", after="da")
