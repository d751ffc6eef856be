"""`rsft_then_da` (Appendix F, Table 7): DA's traces, on top of the R-SFT student of the same cell."""

from agentark.distill.method import Method

from . import da

LOOK = ("R-SFT, then DA", "#CC3311", "$2$")
CONTROLS = ("gold_rsft", "rsft", "da", "rsft_tokens", "rsft_and_da", "da_then_da")
METHOD = Method(
    "rsft_then_da", *LOOK, 64, "05_da", controls=CONTROLS, examples=da.examples, copies=da.copies, after="rsft"
)
