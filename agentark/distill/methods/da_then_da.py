"""`da_then_da`, the control of a second step: DA's traces again, as long, with the learning rate started anew."""

from agentark.distill.method import Method

from . import da

LOOK, CONTROLS = ("DA, then DA again", "#A6761D", "$4$"), ("da", "rsft_and_da")
METHOD = Method(
    "da_then_da", *LOOK, 63, "05_da", controls=CONTROLS, control_of="rsft_then_da", examples=da.examples,
    copies=da.copies, after="da",
)  # fmt: skip
