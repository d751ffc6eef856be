"""`da_single`, the control of DA: as many diverse correct traces that the teacher's agents wrote before any debate."""

from __future__ import annotations

from agentark.distill.data import Example, check_columns
from agentark.distill.method import Method

from . import da


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """The round-1 traces with a diversity rank; each of a problem's k traces weighs 1/k, as in DA."""
    check_columns(traces)
    alone = traces[traces.source == "single"].assign(source="debate")
    return da.examples(task, problems, alone, tokenizer, seed)


LOOK, CONTROLS = ("DA, single agent", "#66C2A5", "$a$"), ("rsft_single", "gold_da")
METHOD = Method(
    "da_single", *LOOK, 58, "05_da", controls=CONTROLS, examples=examples, copies=da.copies, control_of="da"
)
