"""Chains: a student that starts from another student of the same cell (Appendix F), in place of the untrained one.

Each link is a student of its own, whose training resumes and whose manifest names the weights that it started from.
"""

from __future__ import annotations

from agentark import store
from agentark.cells import Artifact, Cell, Files
from agentark.extract.jobs import STEPS, TRACES

from .artifacts import STUDENTS
from .data import DistillError
from .method import Method, methods

# The sections by which a method is trained, by its optimiser and by its reward; one that imitates has neither.
TRAINING = {"grpo": ("rl",), "ppo": ("rl",), "select": ("rl", "distill"), "opd": ("rl",)}
JUDGED_BY = {"prm": ("prm",), "shuffled": ("prm",), "likelihood": ("prm.backbone",)}


def trained_by(method: Method) -> tuple[str, ...]:
    """Return the sections of the params by which a method trains a student, without those of the steps before it."""
    by_traces = ("dpo", "distill.lora") if method.pairs else ("distill",) if method.examples else ()
    own = TRAINING[method.optimiser] if method.reward else by_traces
    return (*JUDGED_BY.get(method.reward, ()), *own)


def before(method: str, init: str) -> str:
    """Return the method of the student from which one of `method` starts; "" for the untrained student.

    init: `rl.init`, which decides for a method that learns from rewards and names none itself.
    """
    known = methods()[method]
    return known.after or ("rsft" if known.reward and init == "rsft" else "")


def sections(method: str, init: str) -> tuple[str, ...]:
    """Return the sections of the params on which a student of a method depends, those of its chain included."""
    known, first = methods()[method], before(method, init)
    own = (*(STEPS if known.reward else TRACES).sections, *trained_by(known))
    return tuple(dict.fromkeys((*sections(first, init), *own))) if first else own


def start(cell: Cell, init: str) -> Cell | None:
    """Return the cell of the student from which that of `cell` starts, of the same seed; None for the untrained one.

    Of the cell's axes it has those on which a student of its method depends.
    """
    if not (first := before(cell.method, init)):
        return None
    depends = Artifact(STUDENTS.folder, STUDENTS.names, sections(first, init), suffix="")
    return depends.of(cell.but(method=first))


def policy(files: Files, cell: Cell, init: str) -> str:
    """Return the network that the training of a cell starts from: its student, or the folder of a finished checkpoint.

    Raises DistillError if that checkpoint is not there.
    """
    if not (first := start(cell, init)):
        return cell.student
    folder = files.path(STUDENTS, first)
    if not (folder.is_dir() and store.manifest_path(folder).exists()):
        where = f"notebook {methods()[first.method].notebook}, method {first.method}, seed {first.seed}"
        raise DistillError(
            f"{cell.method} starts from the student of {first.method}, and there is none in {folder}: train it first "
            f"({where}), or run the whole study by `agentark run`"
        )
    return str(folder)
