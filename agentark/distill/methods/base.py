"""`base`: the untrained student, with which every method is compared."""

from agentark.distill.method import Method

METHOD = Method("base", "base", "#777777", "o", order=0, notebook="03_sft_baseline")
