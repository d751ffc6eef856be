"""How predictable a model finds reasoning: its NLL over reasoning tokens only (4.4, E.1, Table 1; DECISIONS 26).

    Eq. 11   PPL_reason(x) = exp(-(1/|R|) sum_{t in R} log p(x_t | x_<t))

R are the tokens of a solution before its answer line; the prompt is read and not counted, and the answer line never
enters the network.  Teacher forcing, in nats per token, one mean per solution; report/perplexity.py averages them.
Every model is measured on the same solutions of `ITEMS` test problems (`gold`), on its own right greedy ones (`own`),
whose texts differ between models, and as a control on the gold ones in another order (`lines`, `words`), which a
model that reads what it is given must find less predictable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import torch

from agentark import params, store, tasks
from agentark.cells import COORDINATES, Cell, Files
from agentark.cells.cell import NONE
from agentark.distill.artifacts import STUDENTS
from agentark.distill.method import methods
from agentark.distill.step_ends import Row, collate, step_log_probs
from agentark.engines.tokens import prompt_texts
from agentark.grade import grading
from agentark.graph.source import source_hash
from agentark.mas import prompts
from agentark.models import fit, load
from agentark.store.progress import print_progress
from agentark.tasks import Problem

from . import reordered
from .jobs import PERPLEXITY_ITEMS as ITEMS
from .jobs import PREDICTIONS

CONTROLS = 50  # ours: of these, problems whose gold solution is also measured in other orders
SOURCES = ("gold", "own", "lines", "words")
COLUMNS = ["item", "sample", "source", "tokens", "nll"]
BATCH = 16  # texts of a forward pass; the scores of a large vocabulary take 3 GB
SKIPPED = ("picture", "no_reasoning", "too_long")

Text = tuple[str, str, str]  # (item, source, text)


def drawn(task: str, n: int, seed: int) -> list[Problem]:
    """`ITEMS` of the first `n` test problems at random ("we randomly sample", 4.4), or all of them, in their order."""
    problems = tasks.problems(task, "test", n)
    kept = set(Random(f"{seed} perplexity").sample(range(len(problems)), min(ITEMS, len(problems))))
    return [problem for k, problem in enumerate(problems) if k in kept]


def texts(problems: Sequence[Problem], own: Mapping[str, str], seed: int) -> list[Text]:
    """The solutions to measure; own: a model's right greedy answers by item."""
    found: list[Text] = []
    for number, problem in enumerate(problems):
        found.append((problem.id, "gold", problem.solution))
        if problem.id in own:
            found.append((problem.id, "own", own[problem.id]))
        rng = Random(f"{seed} {problem.id}")
        orders = reordered.orders(problem.solution, rng) if number < CONTROLS else {}
        found += [(problem.id, source, text) for source, text in orders.items()]
    return found


def row(tokenizer, prompt: str, text: str) -> Row | None:
    """The tokens of a rendered prompt and of the reasoning after it, which are one "step"; None without reasoning."""
    read = tokenizer(prompt + reordered.parts(text)[0], add_special_tokens=False, return_offsets_mapping=True)
    starts = [n for n, (start, _) in enumerate(read.offset_mapping) if start >= len(prompt)]
    return Row(tuple(read.input_ids), (len(read.input_ids) - 1,), starts[0]) if starts else None


@torch.inference_mode()
def score(network, pad: int, rows: Sequence[Row], batch: int = BATCH) -> list[float]:
    """The mean NLL of each row's step in nats per token; batches of similar length, padded on the right."""
    order = sorted(range(len(rows)), key=lambda k: -len(rows[k].ids))
    found = [0.0] * len(rows)
    for start in range(0, len(rows), batch):
        chunk = order[start : start + batch]
        inputs = collate([rows[k] for k in chunk], pad, network.device)
        ends, starts = inputs.pop("ends"), inputs.pop("starts")
        hidden_BTH = network.base_model(**inputs, use_cache=False).last_hidden_state
        _, means_B1, _ = step_log_probs(network, hidden_BTH, inputs["input_ids"], ends, starts)
        for k, value in zip(chunk, means_B1[:, 0].tolist(), strict=True):
            found[k] = -value
    return found


def measure(
    network, tokenizer, task: str, problems: Sequence[Problem], own: Mapping[str, str], seed: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows (COLUMNS) of a network on some problems of a task, and how many texts were left out, by reason."""
    rows: list[dict[str, Any]] = []
    encoded: list[Row] = []
    skipped = dict.fromkeys(SKIPPED, 0)
    context = network.config.get_text_config().max_position_embeddings
    seen = [problem for problem in problems if not problem.image]
    skipped["picture"] = len(problems) - len(seen)
    chats = [prompts.user_turn(tasks.get(task).prompt(problem)) for problem in seen]
    rendered = dict(zip([problem.id for problem in seen], prompt_texts(tokenizer, chats), strict=True))
    for item, source, text in texts(seen, own, seed):
        line = row(tokenizer, rendered[item], text)
        if line is None or len(line.ids) > context:
            skipped["no_reasoning" if line is None else "too_long"] += 1
            continue
        encoded.append(line)
        rows.append({"item": item, "sample": -1, "source": source, "tokens": len(line.ids) - line.start})
    pad = tokenizer.pad_token_id
    for about, nll in zip(rows, score(network, pad, encoded), strict=True):
        about["nll"] = nll
    return rows, skipped


def own_right(graded: pd.DataFrame) -> dict[str, str]:
    """The right greedy answers of graded predictions, by item."""
    right = graded[(graded["sample"] == -1) & graded.correct_flexible.astype(bool)]
    return dict(zip(right["item"], right.text, strict=True))


def untrained(cells: Sequence[Cell], config: params.Params, tests: Mapping[str, int]) -> pd.DataFrame:
    """The rows of the untrained students alone on gold solutions, of `cells` and all `tests`; nothing is written."""
    found = []
    for cell in [cell for cell in cells if not methods()[cell.method].trained]:
        network, tokenizer = load.load(cell.student, config.engine.dtype or "auto")
        for test, n in tests.items():
            rows, _ = measure(network, tokenizer, test, drawn(test, n, cell.seed), {}, cell.seed)
            found.append(pd.DataFrame(rows).assign(**cell.but(test=test).columns()))
    return pd.concat(found, ignore_index=True)


def run(
    path: Path,
    files: Files,
    config: params.Params,
    cells: Sequence[Cell],
    tests: Mapping[str, int],
    seed: int,
    progress: Callable[[str, int, int], None] = print_progress,
) -> pd.DataFrame:
    """Measure every student of a study on every test and write the rows to `path`; a killed run resumes.

    cells: the study's students (`jobs.cells`), whose predictions exist.  tests: the number of problems by name.
    Returns one row per text: the coordinates, then COLUMNS; sample is -1, since own solutions are greedy ones.
    """
    places = [(cell, test) for cell in cells for test in fit.tests_of(cell.student, tests, config.engine)]
    answers = {place: files.path(PREDICTIONS, place[0].but(test=place[1], split="test")) for place in places}
    right = {place: own_right(grading.run(answers[place])) for place in places}
    code = source_hash(f"{__name__}:run", *(root for test in tests for root in tasks.sources(test)["problems"]))
    about: dict[str, Any] = {"stage": "perplexity", "source": code, "split": "test", "n": ITEMS, "controls": CONTROLS}
    about |= {"tests": dict(tests), "seed": seed, "dtype": config.engine.dtype}
    about["students"] = {_name(files, cell): _identity(files, cell) for cell in cells}
    about["predictions"] = store.digest([grading.identity(answers[place]) for place in places])
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started, rows, skipped = time.time(), [], dict.fromkeys(SKIPPED, 0)
    journal = store.Journal(path.with_suffix(".journal"), about)
    loaded = cache(lambda name: load.load(name, config.engine.dtype or "auto"))
    for index, (cell, test) in enumerate(places):
        key = f"{_name(files, cell)} {test}"
        if key not in journal.chunks:
            if test == next(iter(tests)):
                loaded.cache_clear()  # one student at a time is in memory
            network, tokenizer = loaded(_network(files, cell))
            problems = drawn(test, tests[test], seed)
            found, left_out = measure(network, tokenizer, test, problems, right[cell, test], seed)
            columns = cell.but(test=test).columns()
            journal.add(key, [*({**columns, **line} for line in found), {"skipped": left_out}])
        *found, last = journal.chunks[key]
        rows += found
        skipped = {reason: count + last["skipped"][reason] for reason, count in skipped.items()}
        progress("perplexity", index + 1, len(places))
    table = pd.DataFrame(rows)
    axes = sorted(column for column in table if "." in column)  # as text: "-" for an axis that a cell does not have
    table = table.fillna(dict.fromkeys(axes, NONE)).astype(dict.fromkeys(axes, str))
    table = table[[*COORDINATES, *axes, *COLUMNS]]
    store.finish(table, path, about, started, journal, skipped=skipped)
    return table


def _name(files: Files, cell: Cell) -> str:
    return files.path(STUDENTS, cell).name


def _network(files: Files, cell: Cell) -> str:
    """The folder of a trained student, or the name of an untrained one."""
    return str(files.path(STUDENTS, cell)) if methods()[cell.method].trained else cell.student


def _identity(files: Files, cell: Cell) -> str:
    network = _network(files, cell)
    return load.revision(network) if network == cell.student else store.identity(files.path(STUDENTS, cell))
