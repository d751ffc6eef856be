"""`da_then_rsft`, the reverse of the paper's order (Appendix F): R-SFT's traces, on top of the DA student."""

from agentark.distill.method import Method

from . import rsft

LOOK = ("DA, then R-SFT", "#EE7733", "$3$")
CONTROLS = ("gold_rsft", "rsft", "da", "rsft_and_da", "da_then_da", "rsft_then_da")
METHOD = Method(
    "da_then_rsft", *LOOK, 65, "04_rsft", controls=CONTROLS, examples=rsft.examples, copies=rsft.copies, after="da"
)
