"""`pad_then_da` (Appendix F, Table 7): DA's traces, on top of the PAD student of the same cell."""

from agentark.distill.method import Method

from . import da

LOOK, CONTROLS = ("PAD, then DA", "#AA3377", "$5$"), ("pad", "da", "da_then_da")
METHOD = Method(
    "pad_then_da", *LOOK, 86, "05_da", controls=CONTROLS, examples=da.examples, copies=da.copies, after="pad"
)
