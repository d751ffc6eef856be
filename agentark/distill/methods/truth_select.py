"""`truth_select`, the positive control of selection: a right one of the student's own samples, imitated."""

from agentark.distill.method import Method

LOOK = ("own right samples", "#556B2F", "$r$")
METHOD = Method(
    "truth_select", *LOOK, order=78, notebook="07_pad", controls=("chance_select",), reward="answer",
    optimiser="select", control_of="prm_select",
)  # fmt: skip
