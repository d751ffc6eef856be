"""What distillation writes: reward models and students."""

from __future__ import annotations

from agentark.cells import Artifact
from agentark.extract.jobs import STEPS, TRACES

PRMS = Artifact("prms", ("teacher", "student", "train"), (*STEPS.sections, "prm"), suffix="")
SHUFFLED_PRMS = Artifact(PRMS.folder, PRMS.names, PRMS.sections, suffix="", tail=".shuffled")
STUDENTS = Artifact(
    "students", ("teacher", "student", "method", "train"), (*TRACES.sections, "distill", "prm", "rl"), suffix=""
)
