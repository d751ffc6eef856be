"""`base_majority`: a majority vote over samples of the untrained student, the control of more work at inference."""

from agentark.distill.method import Method

METHOD = Method("base_majority", "base, majority vote", "#222222", "s", order=10, notebook="03_sft_baseline")
