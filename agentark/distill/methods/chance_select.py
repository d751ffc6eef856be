"""`chance_select`, the control of selection: one of the student's own samples by chance, imitated."""

from agentark.distill.method import Method

LOOK = ("own sample by chance", "#999933", "$c$")
METHOD = Method(
    "chance_select", *LOOK, order=76, notebook="07_pad", reward="chance", optimiser="select", control_of="prm_select"
)
