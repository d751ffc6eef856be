"""Diverse traces by language models: one that selects (A.4, `judge`) and one that distils (3.3.2, `extract`; DECISIONS 10).

The judge sees the problem, its gold answer and the correct traces, and is asked for one more trace at a time until it says "none" or there
are enough.  Where to begin is not its choice: a corrective trace, else one by seed, the same that `diverse.choose` begins with, so that
R-SFT learns from the same traces whichever way DA's are chosen.  Deviation: traces that `diverse` finds structurally equal to a chosen one
are not offered.

The distiller then rewrites what each selected agent wrote, over all rounds, as one solution, which is verified like any trace and
dropped, with the reason, where it is not right.  3.3.2 has one model select and distil at once; selecting first asks for at most three
rewritings a problem, each of which can be checked by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal

import pandas as pd

from agentark import engines, params, prompts, store, tasks
from agentark.mas import prompts as debate_prompts
from agentark.mas.stage import say
from agentark.models.load import revision
from agentark.source import source_hash
from agentark.tasks import Problem, Task

from . import asking, diverse, steps

NONE = "none"
REASONS = ("wrong answer", "no answer found", "truncated", "no reasoning", "equal to another")


@dataclass(frozen=True)
class Candidates:
    """The correct traces of a problem; `first[i]` marks those to begin from (corrective ones, DECISIONS 8)."""

    problem: str
    question: str
    gold: str
    traces: tuple[str, ...]
    first: tuple[bool, ...]


@dataclass(frozen=True)
class Selection:
    """Which traces were chosen, in order, and why no more: "enough", "none left", "none" (said the judge) or "unparsed"."""

    chosen: tuple[int, ...]
    stopped: str


def choose(
    engine: engines.Engine,
    question: str,
    traces: list[str],
    first: list[bool],
    most: int,
    seed: int,
    *,
    gold: str,
    told: asking.Ask,
    problem: str = "",
) -> list[int]:
    """`diverse.choose` by a language model: up to `most` indices, in the order of choice.  `problem`, its id, is part of the seed."""
    return list(
        judge(engine, [Candidates(problem, question, gold, tuple(traces), tuple(first))], most, told, seed)[0].chosen
    )


def judge(
    engine: engines.Engine, asked: Sequence[Candidates], most: int, told: asking.Ask, seed: int
) -> list[Selection]:
    """Up to `most` traces of each problem, each chosen by the judge as the most different from those before it.

    All problems are asked about together, once for each further trace.  A reply that is no number on offer ends its problem.
    """
    signatures = [[diverse.signature(trace) for trace in each.traces] for each in asked]
    shown = [
        Random(f"{seed} {each.problem} shown").sample(range(len(each.traces)), len(each.traces)) for each in asked
    ]  # no agent always leads
    chosen = [
        diverse.choose(list(each.traces), list(each.first), 1, Random(f"{seed} {each.problem}")) for each in asked
    ]
    stopped = ["none left" if not each.traces else "enough" if most == 1 else "" for each in asked]
    for step in range(1, most):
        todo = []
        for n in (n for n, why in enumerate(stopped) if not why):
            taken = {signatures[n][i] for i in chosen[n]}
            rest = tuple(str(k) for k, i in enumerate(shown[n], 1) if signatures[n][i] not in taken)
            if rest:
                todo.append((n, (*rest, NONE)))
            else:
                stopped[n] = "none left"
        if not todo:
            break
        replies = asking.ask(
            engine,
            [chat(asked[n], shown[n], chosen[n]) for n, _ in todo],
            [on_offer for _, on_offer in todo],
            told,
            store.chunk_seed(seed, "judge", step, asked[todo[0][0]].problem),
        )
        for (n, _), reply in zip(todo, replies):
            if reply.choice in (None, NONE):
                stopped[n] = reply.choice or "unparsed"
            else:
                chosen[n].append(shown[n][int(reply.choice) - 1])
    return [Selection(tuple(mine), why or "enough") for mine, why in zip(chosen, stopped)]


def chat(asked: Candidates, shown: Sequence[int], chosen: Sequence[int]) -> engines.Chat:
    """The judge's prompt: the traces in the order `shown`, counted from 1, and which of them are `chosen` already."""
    words = prompts.read("diverse")
    solutions = "\n\n".join(
        prompts.fill(words["solution"], number=str(k), trace=prompts.quote(asked.traces[i]))
        for k, i in enumerate(shown, 1)
    )
    selected = ", ".join(str(list(shown).index(i) + 1) for i in chosen)
    return [
        {
            "role": "user",
            "content": prompts.fill(
                words["user"],
                question=prompts.quote(asked.question),
                gold=prompts.quote(asked.gold),
                solutions=solutions,
                selected=selected,
            ),
        }
    ]


@dataclass(frozen=True)
class Extracted:
    """A distilled trace; `reason` says why it is not kept (one of REASONS), empty where it is."""

    text: str
    reason: str


def extract(
    engine: engines.Engine, task: Task, asked: Sequence[tuple[Problem, Sequence[str]]], told: asking.Ask, seed: int
) -> list[Extracted]:
    """One distilled trace for each (problem, what an agent with a right answer wrote, round by round).

    Kept is what was finished, gives the gold answer by the task's own verifier, and has a step before it.
    """
    words = prompts.read("extract")
    form = prompts.fill(words["form_of_task"], instruction=task.instruction) if task.instruction else words["form"]
    chats = [
        [
            {
                "role": "user",
                "content": prompts.fill(
                    words["user"],
                    question=prompts.quote(problem.question),
                    gold=prompts.quote(problem.answer),
                    form=form,
                    turns="\n\n".join(
                        prompts.fill(words["turn"], number=str(k), trace=prompts.quote(turn))
                        for k, turn in enumerate(turns, 1)
                    ),
                ),
            }
        ]
        for problem, turns in asked
    ]
    made = engine.generate(chats, engines.Sampling(told.temperature, told.max_new_tokens), seed)
    return [Extracted(c.text.strip(), _reason(task, problem, c)) for (problem, _), c in zip(asked, made, strict=True)]


def _reason(task: Task, problem: Problem, made: engines.Completion) -> str:
    if made.finish == "length":
        return "truncated"
    parsed, _, right = task.verify(made.text, problem)
    if not right:
        return "no answer found" if parsed.flexible is None else "wrong answer"
    return "" if any(not steps.is_answer(step) for step in steps.split(made.text)) else "no reasoning"


def run(
    path: Path,
    traces: pd.DataFrame,
    log: pd.DataFrame,
    *,
    log_id: str,
    task: str,
    split: str,
    wording: str,
    how: Literal["judge", "extract"],
    most: int,
    seed: int,
    judged: asking.Ask,
    distilled: asking.Ask | None = None,
    engine: params.Engine,
    make_engine: Callable[[str], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = say,
) -> pd.DataFrame:
    """Select DA's traces, up to `most` a problem, and with `how` = "extract" distil them; a killed run goes on at its first unfinished chunk.

    traces: the correct final ones (problem, agent, text, kind), of which problems with fewer than two are left out (A.3); log: the
    debate that they end, with its `wording`.  `judged` and `distilled` say who is asked.  Returns, and writes to `path`, a row a selected
    trace: problem, agent, text, diversity_rank (0, 1, …; -1 where it was dropped), reason (why), stopped (why the problem has no more).
    """
    if how == "extract" and distilled is None:
        raise ValueError("to extract, say by what model: `distilled` is missing")
    about = {
        "stage": "llm_diverse",
        "source": source_hash(__name__, *tasks.modules(task)),
        "prompts": prompts.identity("diverse", "extract"),
        "how": how,
        "log": log_id,
        "traces": store.digest(traces[["problem", "agent", "text", "kind"]].values.tolist()),
        "task": task,
        "split": split,
        "seed": seed,
        "wording": wording,
        "most": most,
        "judge": judged.model_dump(),
        "judge_revision": revision(judged.model),
        "distiller": distilled.model_dump() if how == "extract" else None,
        "distiller_revision": revision(distilled.model) if how == "extract" else None,
        "engine": engine.about(),
    }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    grader, known = tasks.get(task), {p.id: p for p in tasks.problems(task, split, log.problem.nunique())}
    if strange := sorted(set(traces.problem) - set(known)):
        raise ValueError(
            f"{len(strange)} problems of these traces are not among those of the log and {task}/{split}, first {strange[0]!r}: they are "
            "other data's"
        )
    groups = {problem: rows for problem, rows in traces.groupby("problem", sort=True) if len(rows) >= 2}
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda model: engines.make(model, engine)))

    def select(chunk: Sequence[str], chunk_seed: int) -> list[dict]:
        asked = [
            Candidates(
                p, known[p].question, known[p].answer, tuple(groups[p].text), tuple(groups[p].kind == "corrective")
            )
            for p in chunk
        ]
        return [
            {
                "problem": each.problem,
                "agent": int(groups[each.problem].agent.iloc[i]),
                "text": each.traces[i],
                "diversity_rank": rank,
                "reason": "",
                "stopped": found.stopped,
            }
            for each, found in zip(asked, judge(load(judged.model), asked, most, judged, seed))
            for rank, i in enumerate(found.chosen)
        ]

    def distil(chunk: Sequence[dict], chunk_seed: int) -> list[dict]:
        asked = [(known[row["problem"]], turns[row["problem"], row["agent"]]) for row in chunk]
        made = extract(load(distilled.model), grader, asked, distilled, chunk_seed)
        return [{**row, "text": new.text, "reason": new.reason} for row, new in zip(chunk, made)]

    rows = asking.in_chunks(journal, "select", list(groups), judged, seed, select, progress)
    if how == "extract":
        said = log.assign(
            text=[debate_prompts.without_critique(text, debate_prompts.WORDINGS[wording]) for text in log.text]
        ).sort_values("round")
        turns = {key: list(mine.text) for key, mine in said.groupby(["problem", "agent"])}
        rows = _ranked(asking.in_chunks(journal, "extract", rows, distilled, seed, distil, progress))
    table = pd.DataFrame(rows, columns=["problem", "agent", "text", "diversity_rank", "reason", "stopped"])
    store.finish(table, path, about, started, journal, **count(table))
    return table


def _ranked(rows: list[dict]) -> list[dict]:
    """Distilled traces with their ranks counted anew over those that are kept; one that has become equal to another is not."""
    kept: dict[str, list[diverse.Signature]] = {}
    ranked = []
    for row in rows:
        before, mine = kept.setdefault(row["problem"], []), diverse.signature(row["text"])
        reason = row["reason"] or ("equal to another" if mine in before else "")
        ranked.append({**row, "reason": reason, "diversity_rank": -1 if reason else len(before)})
        if not reason:
            before.append(mine)
    return ranked


def count(table: pd.DataFrame) -> dict[str, int]:
    """What was selected, what distilling lost and why, and why problems have no more traces."""
    why, stops = Counter(table.reason), Counter(table.drop_duplicates("problem").stopped)
    return {
        "problems": table.problem.nunique(),
        "selected": len(table),
        "kept": int((table.diversity_rank >= 0).sum()),
        **{f"dropped: {reason}": why[reason] for reason in REASONS},
        "problems with enough": stops["enough"],
        "problems without another trace to offer": stops["none left"],
        "problems whose judge wants no more": stops[NONE],
        "problems whose judge's reply could not be read": stops["unparsed"],
    }
