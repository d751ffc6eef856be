"""`ppo`, the ablation of PAD's optimiser (B.2, C.2, Eq. 8-9): PPO on the same process reward model (DECISIONS 25)."""

from agentark.distill.method import Method

LOOK = ("PAD by PPO", "#882255", "<")
METHOD = Method("ppo", *LOOK, order=80, notebook="07_pad", controls=("pad",), reward="prm", optimiser="ppo")
