"""Selects the traces for DA with a language model (A.4) and may rewrite them with another (3.3.2; DECISIONS 10).

The distiller rewrites all that a selected agent wrote, over all rounds, as one solution, which is verified like any
trace and dropped, with the reason, if it is not right.  In 3.3.2 one model selects and distils at once; here selection
comes first, so that at most three rewritings per problem are needed, and each can be checked by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from agentark import engines, params, prompts, store, tasks
from agentark.graph.source import source_hash
from agentark.mas import prompts as debate_prompts
from agentark.store.progress import print_progress
from agentark.tasks import Problem, Task

from . import diverse, llm_choice, llm_select, steps

REASONS = ("wrong answer", "no answer found", "truncated", "no reasoning", "equal to another")
COLUMNS = ["problem", "agent", "text", "diversity_rank", "reason", "stopped"]


@dataclass(frozen=True)
class Distilled:
    """A distilled trace and the reason (one of REASONS) why it is dropped, which is empty for a kept trace."""

    text: str
    reason: str


def distil(
    engine: engines.Engine,
    task: Task,
    debates: Sequence[tuple[Problem, Sequence[str]]],
    config: params.LanguageModel,
    seed: int,
) -> list[Distilled]:
    """Write one trace for each (problem, texts of an agent with a right answer, one per round).

    A trace is kept if it is complete, is right according to the task's verifier, and has a step before the answer.
    """
    sections = prompts.read("extract")
    form = sections["form"]
    if task.instruction:
        form = prompts.fill(sections["form_of_task"], instruction=task.instruction)
    chats = []
    for problem, texts in debates:
        quoted = {str(k): prompts.quote(text) for k, text in enumerate(texts, 1)}
        turns = "\n\n".join(prompts.fill(sections["turn"], number=k, trace=text) for k, text in quoted.items())
        question, gold = prompts.quote(problem.question), prompts.quote(problem.answer)
        content = prompts.fill(sections["user"], question=question, gold=gold, form=form, turns=turns)
        chats.append([{"role": "user", "content": content}])
    completions = engine.generate(chats, engines.Sampling(config.temperature, config.max_new_tokens), seed)
    pairs = zip(debates, completions, strict=True)
    return [Distilled(reply.text.strip(), _reason(task, problem, reply)) for (problem, _), reply in pairs]


def _reason(task: Task, problem: Problem, completion: engines.Completion) -> str:
    if completion.finish == "length":
        return "truncated"
    parsed, _, is_right = task.verify(completion.text, problem)
    if not is_right:
        return "no answer found" if parsed.flexible is None else "wrong answer"
    return "" if any(not steps.is_answer(step) for step in steps.split(completion.text)) else "no reasoning"


def run(
    path: Path,
    traces: pd.DataFrame,
    log: pd.DataFrame,
    *,
    log_id: str,
    task: str,
    split: str,
    wording: str,
    diversity: Literal["judge", "extract"],
    max_traces: int,
    seed: int,
    judge: params.LanguageModel,
    distiller: params.LanguageModel | None = None,
    engine: params.Engine,
    make_engine: Callable[[str], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = print_progress,
) -> pd.DataFrame:
    """Select up to `max_traces` traces per problem for DA and, if `diversity` is "extract", distil them.

    traces: the correct final traces (problem, agent, text, kind); problems with fewer than two are left out (A.3).
    log: the debate from which they come, with its `wording`.  engine: that of the judge, and of a distiller without
    one.  A killed run resumes at its first unfinished chunk.

    Returns, and writes to `path`, one row per selected trace: problem, agent, text, diversity_rank (0, 1, …; -1 for a
    dropped trace), reason (why it was dropped) and stopped (why the problem has no more traces).  Raises ValueError if
    `distiller` is missing or the traces come from other data.
    """
    if diversity == "extract" and distiller is None:
        raise ValueError('diversity = "extract" needs a model that rewrites the traces: set `distiller`')
    code = source_hash(f"{__name__}:run", *tasks.sources(task)["problems"])
    digest = store.digest(traces[["problem", "agent", "text", "kind"]].values.tolist())
    rewriter = distiller if diversity == "extract" else None
    rewriter_engine = rewriter and rewriter.engine or engine
    about: dict[str, Any] = {"stage": "llm_diverse", "source": code, "log": log_id, "how": diversity, "traces": digest}
    about |= {"task": task, "split": split, "seed": seed, "wording": wording, "most": max_traces}
    about |= {"prompts": prompts.identity("diverse", "extract"), "engine": engine.identity()}
    about |= {"judge": judge.identity(), "judge_revision": engines.revision(judge.model, engine)}
    about |= {"distiller": rewriter and rewriter.identity()}
    about |= {"distiller_revision": rewriter and engines.revision(rewriter.model, rewriter_engine)}
    if rewriter and rewriter.engine:
        about["distiller_engine"] = rewriter_engine.identity()
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    grader, problems = tasks.get(task), {p.id: p for p in tasks.problems(task, split, log.problem.nunique())}
    if unknown := sorted(set(traces.problem) - set(problems)):
        missing = f"{len(unknown)} problems of these traces are not in the log of {task}/{split}, first {unknown[0]!r}"
        raise ValueError(f"{missing}: the traces come from other data; extract them from this log")
    groups = {problem: rows for problem, rows in traces.groupby("problem", sort=True) if len(rows) >= 2}
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda model: engines.make(model, engine)))
    shared = make_engine or rewriter_engine == engine
    load_rewriter = load if shared else cache(lambda model: engines.make(model, rewriter_engine))

    def select_rows(ids: Sequence[str], chunk_seed: int) -> list[dict]:
        candidates = []
        for p, group in ((problems[i], groups[i]) for i in ids):
            written = (tuple(group.text), tuple(group.kind == "corrective"))
            candidates.append(llm_select.Candidates(p.id, p.question, p.answer, *written))
        selections = llm_select.select(load(judge.model), candidates, max_traces, judge, seed)
        selected = []
        for c, s in zip(candidates, selections, strict=True):
            agents = [int(agent) for agent in groups[c.problem].agent]
            selected += [(c.problem, agents[i], c.traces[i], rank, "", s.stopped) for rank, i in enumerate(s.chosen)]
        return [dict(zip(COLUMNS, row, strict=True)) for row in selected]

    rows = llm_choice.map_chunks(journal, "select", list(groups), judge, seed, select_rows, progress)
    if rewriter:
        texts = [debate_prompts.without_critique(text, debate_prompts.WORDINGS[wording]) for text in log.text]
        by_agent = log.assign(text=texts).sort_values("round").groupby(["problem", "agent"])
        turns = {key: list(group.text) for key, group in by_agent}

        def distil_rows(rows: Sequence[dict], chunk_seed: int) -> list[dict]:
            debates = [(problems[row["problem"]], turns[row["problem"], row["agent"]]) for row in rows]
            distilled = distil(load_rewriter(rewriter.model), grader, debates, rewriter, chunk_seed)
            return [{**row, **asdict(new)} for row, new in zip(rows, distilled, strict=True)]

        rows = _rank(llm_choice.map_chunks(journal, "extract", rows, rewriter, seed, distil_rows, progress))
    table = pd.DataFrame(rows, columns=COLUMNS)
    store.finish(table, path, about, started, journal, **count(table), **engines.notes(judge.model, engine))
    return table


def _rank(rows: list[dict]) -> list[dict]:
    """Recount the ranks over the distilled traces that are kept, and drop a trace that has become equal to another."""
    kept: dict[str, list[diverse.Signature]] = {}
    ranked = []
    for row in rows:
        others, signature = kept.setdefault(row["problem"], []), diverse.signature(row["text"])
        reason = row["reason"] or ("equal to another" if signature in others else "")
        ranked.append({**row, "reason": reason, "diversity_rank": -1 if reason else len(others)})
        if not reason:
            others.append(signature)
    return ranked


def count(table: pd.DataFrame) -> dict[str, int]:
    """Count the selected traces, the dropped ones by reason, and the problems by why they have no more traces."""
    reasons, stops = Counter(table.reason), Counter(table.drop_duplicates("problem").stopped)
    kept = int((table.diversity_rank >= 0).sum())
    counts = {"problems": table.problem.nunique(), "selected": len(table), "kept": kept}
    counts |= {f"dropped: {reason}": reasons[reason] for reason in REASONS}
    counts |= {"problems with enough": stops["enough"], "problems without another trace to offer": stops["none left"]}
    counts["problems whose judge wants no more"] = stops[llm_select.NONE]
    return counts | {"problems whose judge's reply could not be read": stops["unparsed"]}
