"""`likelihood_select`, the control of `prm_select`: the best sample by its backbone's likelihood."""

from agentark.distill.method import Method

LOOK = ("best by likelihood", "#DAA520", "$l$")
METHOD = Method(
    "likelihood_select", *LOOK, order=74, notebook="07_pad", controls=("chance_select",), reward="likelihood",
    optimiser="select", control_of="prm_select",
)  # fmt: skip
