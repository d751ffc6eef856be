"""`opd`, on-policy distillation: the student's own samples under its teacher's distribution.

Not in the paper: the positive control of training on the student's own samples, with a dense signal.
"""

from agentark.distill.method import Method

LOOK = ("on-policy distillation", "#1B4F72", "1")
METHOD = Method("opd", *LOOK, order=110, notebook="07_pad", controls=("rsft",), reward="teacher", optimiser="opd")
