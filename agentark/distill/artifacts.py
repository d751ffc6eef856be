"""What distillation writes: reward models and students."""

from __future__ import annotations

from agentark import params
from agentark.cells import Artifact, Cell
from agentark.extract.jobs import STEPS, TRACES

PRMS = Artifact("prms", ("teacher", "student", "train"), (*STEPS.sections, "prm"), suffix="")
SHUFFLED_PRMS = Artifact(PRMS.folder, PRMS.names, PRMS.sections, suffix="", tail=".shuffled")
STUDENTS = Artifact(
    "students", ("teacher", "student", "method", "train"), (*TRACES.sections, "distill", "dpo", "prm", "rl"), suffix=""
)


def backbone(config: params.Prm, cell: Cell) -> str:
    """Return the network under the reward model of a cell."""
    return cell.student if config.backbone == "student" else config.backbone


def scored_by(config: params.Prm, cell: Cell) -> Cell:
    """Return the cell of the reward model that judges a student's samples.

    Its student is the backbone, on which alone the model depends: one on another network than the student is trained
    once, and judges every student of the study.
    """
    return cell.but(student=backbone(config, cell))
