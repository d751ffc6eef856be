"""`prm_select`, PAD's reward without its optimiser (DECISIONS 23b): the best of the student's own samples, imitated."""

from agentark.distill.method import Method

LOOK = ("best by the reward model", "#B8860B", "*")
CONTROLS = ("likelihood_select", "chance_select", "truth_select", "rsft", "pad")
METHOD = Method("prm_select", *LOOK, 72, "07_pad", controls=CONTROLS, reward="prm", optimiser="select")
