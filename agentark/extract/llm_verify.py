"""Verifies answers with a language model (A.3; DECISIONS 6), for answers that a program cannot compare well.

The verifier sees the question, the gold answer and the answer of a trace as the task's parser extracts it, never the
reasoning.  Deviations: a trace without an answer is not sent and counts as not verified; equal answers to a problem are
sent once.  Check `agreement` before you trust a verifier: SmolLM2-135M calls 26 of 30 wrong answers to mini_gsm correct
(kappa 0.07).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from agentark import engines, params, prompts, store, tasks
from agentark.graph.source import source_hash
from agentark.stats import agreement as raters
from agentark.stats import wilson
from agentark.store.progress import print_progress
from agentark.tasks import Problem

from . import llm_choice

CHOICES = ("correct", "incorrect")
VERDICTS = (*CHOICES, "unparsed", "no answer")


def chat(problem: Problem, answer: str) -> engines.Chat:
    """Return the prompt of the verifier for one answer."""
    sections = prompts.read("verify")
    gold = "\n".join(" ".join(g.split()) for g in problem.references or (problem.answer,))
    quoted = {"question": problem.question, "answer": answer, "gold": gold}
    values = {name: prompts.quote(text) for name, text in quoted.items()}
    return [{"role": "user", "content": prompts.fill(sections["user"], rules=sections[_kind(problem)], **values)}]


def _kind(problem: Problem) -> str:
    """Return which rules apply: "choice" (options), "math" (numbers or LaTeX, at most one word) or "text"."""
    if problem.options:
        return "choice"
    words = re.findall(r"[^\W\d_]{3,}", re.sub(r"\\\w+", "", problem.answer))
    return "math" if len(words) <= 1 and re.search(r"\d|\\", problem.answer) else "text"


def verify(
    engine: engines.Engine, answers: Sequence[tuple[Problem, str]], config: params.LanguageModel, seed: int
) -> list[llm_choice.Reply]:
    """Return the verifier's reply ("correct", "incorrect" or None) to each (problem, answer) pair."""
    chats = [chat(problem, answer) for problem, answer in answers]
    return llm_choice.choose(engine, chats, [CHOICES] * len(answers), config, seed)


def run(
    path: Path,
    log: pd.DataFrame,
    *,
    log_id: str,
    task: str,
    split: str,
    seed: int,
    config: params.LanguageModel,
    engine: params.Engine,
    make_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = print_progress,
) -> pd.DataFrame:
    """Verify all answers of a graded `log` and write the verdicts to `path`; a killed run resumes.

    Returns one row per row of the log: problem, round, agent, gold, answer (flexible, None if there is none), strict
    (whether an answer line gives it), symbolic (whether the task's own verifier accepts it; NA if the task is not
    scored by accuracy), verdict ("correct", "incorrect", "unparsed" or "no answer"), verified (bool: the verdict is
    "correct") and reply.
    """
    code = source_hash(f"{__name__}:run", *tasks.sources(task)["problems"])
    about: dict[str, Any] = {"stage": "llm_verify", "source": code, "prompts": prompts.identity("verify")}
    about |= {
        "revision": engines.revision(config.model, engine),
        "log": log_id,
        "task": task,
        "split": split,
        "seed": seed,
    }
    about |= {"model": config.model, "verifier": config.identity(), "engine": engine.identity()}
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    problems = {p.id: p for p in tasks.problems(task, split, log.problem.nunique())}
    pairs = dict.fromkeys(
        (p, answer) for p, answer in zip(log.problem, log.answer, strict=True) if isinstance(answer, str)
    )
    index = {problem: n for n, problem in enumerate(problems)}
    answers = sorted(pairs, key=lambda pair: index[pair[0]])  # stable; the prompts for one problem share a prefix
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda: engines.make(config.model, engine)))

    def verify_chunk(chunk: Sequence[tuple[str, str]], chunk_seed: int) -> list[dict]:
        replies = verify(load(), [(problems[problem], answer) for problem, answer in chunk], config, chunk_seed)
        return [{"verdict": reply.choice or "unparsed", "reply": reply.text} for reply in replies]

    verdicts = llm_choice.map_chunks(journal, "verify", answers, config, seed, verify_chunk, progress)
    by_answer: dict[Any, dict] = dict(zip(answers, verdicts, strict=True))
    no_answer = {"verdict": "no answer", "reply": None}
    has_accuracy = tasks.get(task).measure == "accuracy"
    rows = []
    for row in log.itertuples():
        key = {"problem": row.problem, "round": row.round, "agent": row.agent, "gold": row.gold}
        answer = {"answer": row.answer if isinstance(row.answer, str) else None}
        graded = {"strict": isinstance(row.answer_strict, str), "symbolic": bool(row.correct) if has_accuracy else None}
        rows.append({**key, **answer, **graded, **by_answer.get((row.problem, row.answer), no_answer)})
    table = pd.DataFrame(rows).astype({"symbolic": "boolean"})
    table["verified"] = table.verdict == "correct"
    unparsed = sum(row["verdict"] == "unparsed" for row in verdicts)
    store.finish(table, path, about, started, journal, asked=len(answers), unparsed=unparsed,
                 **engines.notes(config.model, engine))  # fmt: skip
    return table


def apply(log: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the log with `correct` and `correct_strict` from its verdicts (see `run`) instead of from its grades.

    Raises ValueError if the verdicts belong to another log.
    """
    keys = ["problem", "round", "agent"]
    if not (len(log) == len(verdicts) and (log[keys].to_numpy() == verdicts[keys].to_numpy()).all()):
        raise ValueError("these verdicts belong to another log: run llm_verify on this log")
    right = verdicts.verified.to_numpy(dtype=bool)
    return log.assign(correct_strict=right & verdicts.strict.to_numpy(dtype=bool), correct=right)


def count(verdicts: pd.DataFrame) -> dict[str, int]:
    """Count the traces and the different answers (each was verified once) that received each verdict."""
    answers = verdicts.drop_duplicates(["problem", "answer"])
    by_trace, by_answer = verdicts.verdict.value_counts(), answers.verdict.value_counts()
    return {
        "traces": len(verdicts),
        **{f"traces: {v}": int(by_trace.get(v, 0)) for v in VERDICTS},
        "different answers asked about": int((answers.verdict != "no answer").sum()),
        **{f"different answers: {v}": int(by_answer.get(v, 0)) for v in VERDICTS[:3]},
    }


def agreement(verdicts: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Compare the verdicts of the verifier and the symbolic verifier, which applies to tasks scored by accuracy.

    Returns one row for the different answers (each counted once) and one for the traces.  Columns: unit, n, both_right,
    only_symbolic, only_llm, both_wrong, unparsed (not in n), agreement with Wilson's interval, which treats answers as
    independent, and kappa (Cohen 1960) with a bootstrap interval over problems.
    """
    rows = []
    answers = verdicts.drop_duplicates(["problem", "answer"])
    for unit, table in (("different answers", answers), ("traces", verdicts)):
        both = table[table.verdict.isin(CHOICES) & table.symbolic.notna()]
        symbolic, llm = both.symbolic.astype(bool), both.verified.astype(bool)
        options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
        figures = raters.kappa(list(symbolic), list(llm), list(both.problem), (False, True), **options)
        low, high = wilson(int((symbolic == llm).sum()), len(both), level) if len(both) else (float("nan"),) * 2
        row = {"unit": unit, "n": len(both), "both_right": int((symbolic & llm).sum())}
        row |= {"only_symbolic": int((symbolic & ~llm).sum()), "only_llm": int((~symbolic & llm).sum())}
        row |= {"both_wrong": int((~symbolic & ~llm).sum()), "unparsed": int((table.verdict == "unparsed").sum())}
        row |= {"agreement": figures["agreement"], "agreement_low": low, "agreement_high": high}
        rows.append(row | {"kappa": figures["kappa"], "kappa_low": figures["low"], "kappa_high": figures["high"]})
    return pd.DataFrame(rows)


def disagreements(verdicts: pd.DataFrame) -> pd.DataFrame:
    """List the answers on which the two verifiers differ, with `traces`, the number of traces that gave each."""
    both = verdicts[verdicts.verdict.isin(CHOICES) & verdicts.symbolic.notna()]
    differ = both[both.symbolic.astype(bool) != both.verified]
    keys = ["problem", "gold", "answer", "symbolic", "verdict", "reply"]
    return differ.groupby(keys, sort=False).size().rename("traces").reset_index()
