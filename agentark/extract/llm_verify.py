"""Which answers are right, by a language model (A.3; DECISIONS 6): for answers that no program compares well, and to be compared with one.

The verifier sees the question, the gold answer and the answer that a trace ends with, never the reasoning.  Deviations: what it sees is the
answer as the task's parser reads it (the paper does not say how it cuts the answer out); a trace without an answer is not asked about and
is not verified; equal answers to a problem are asked about once.  Look at `agreement` before a verifier is believed: SmolLM2-135M calls 26 of
30 wrong answers to mini_gsm correct (kappa 0.07).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from agentark import agreement as raters
from agentark import engines, params, prompts, store, tasks
from agentark.mas.stage import say
from agentark.models.load import revision
from agentark.source import source_hash
from agentark.stats import wilson
from agentark.tasks import Problem

from . import asking
from .verify import verify as by_program

CHOICES = ("correct", "incorrect")
VERDICTS = (*CHOICES, "unparsed", "no answer")


def chat(problem: Problem, answer: str) -> engines.Chat:
    """The verifier's prompt for one answer."""
    words = prompts.read("verify")
    gold = problem.references or (problem.answer,)
    return [
        {
            "role": "user",
            "content": prompts.fill(
                words["user"],
                rules=words[_kind(problem)],
                question=prompts.quote(problem.question),
                answer=prompts.quote(answer),
                gold=prompts.quote("\n".join(" ".join(g.split()) for g in gold)),
            ),
        }
    ]


def _kind(problem: Problem) -> str:
    """Which rules apply: "choice" where there are options; "math" for figures or LaTeX with at most a unit's word; else "text"."""
    if problem.options:
        return "choice"
    words = re.findall(r"[^\W\d_]{3,}", re.sub(r"\\\w+", "", problem.answer))
    return "math" if len(words) <= 1 and re.search(r"\d|\\", problem.answer) else "text"


def ask(
    engine: engines.Engine, asked: Sequence[tuple[Problem, str]], told: asking.Ask, seed: int
) -> list[asking.Reply]:
    """The verifier's replies ("correct", "incorrect" or None) to (problem, answer) pairs; put a problem's pairs side by side."""
    return asking.ask(engine, [chat(problem, answer) for problem, answer in asked], [CHOICES] * len(asked), told, seed)


def run(
    path: Path,
    log: pd.DataFrame,
    *,
    log_id: str,
    task: str,
    split: str,
    seed: int,
    told: asking.Ask,
    engine: params.Engine,
    make_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = say,
) -> pd.DataFrame:
    """Verify all answers of a debate's `log` and write the verdicts to `path`; a killed run goes on at its first unfinished chunk.

    Returns a row for each row of the log: problem, round, agent, gold, answer (flexible, None where there is none), strict (whether an
    answer line gave it), symbolic (whether the task's verifier finds it right; NA where the task is not scored by right and wrong),
    verdict ("correct", "incorrect", "unparsed": no verdict could be read, or "no answer"), verified (bool: the verdict is "correct")
    and reply.  Raises ValueError where the log was made from other data.
    """
    about = {
        "stage": "llm_verify",
        "source": source_hash(__name__, *tasks.modules(task)),
        "prompts": prompts.identity("verify"),
        "model": told.model,
        "revision": revision(told.model),
        "log": log_id,
        "task": task,
        "split": split,
        "seed": seed,
        "verifier": told.model_dump(),
        "engine": engine.about(),
    }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    grader, checked = tasks.get(task), by_program(log, task, split)
    known = {p.id: p for p in tasks.problems(task, split, log.problem.nunique())}
    parsed = [grader.parse(text, known[problem]) for text, problem in zip(log.text, log.problem)]
    pairs = dict.fromkeys((p, a.flexible) for p, a in zip(log.problem, parsed) if a.flexible is not None)
    place = {problem: n for n, problem in enumerate(known)}
    by_problem = sorted(
        pairs, key=lambda pair: place[pair[0]]
    )  # stable; a problem's answers share their prompt's beginning
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda: engines.make(told.model, engine)))

    def make(chunk: Sequence[tuple[str, str]], chunk_seed: int) -> list[dict]:
        replies = ask(load(), [(known[problem], answer) for problem, answer in chunk], told, chunk_seed)
        return [{"verdict": reply.choice or "unparsed", "reply": reply.text} for reply in replies]

    said = dict(
        zip(by_problem, asking.in_chunks(journal, "verify", by_problem, told, seed, make, progress), strict=True)
    )
    none = {"verdict": "no answer", "reply": None}
    applies = grader.measure == "accuracy"
    rows = [
        {
            "problem": row.problem,
            "round": row.round,
            "agent": row.agent,
            "gold": row.gold,
            "answer": mine.flexible,
            "strict": mine.strict is not None,
            "symbolic": bool(row.correct) if applies else None,
            **said.get((row.problem, mine.flexible), none),
        }
        for row, mine in zip(checked.itertuples(), parsed)
    ]
    table = pd.DataFrame(rows).astype({"symbolic": "boolean"})
    table["verified"] = table.verdict == "correct"
    store.finish(
        table,
        path,
        about,
        started,
        journal,
        asked=len(by_problem),
        unparsed=sum(row["verdict"] == "unparsed" for row in said.values()),
    )
    return table


def apply(log: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The log with the verifier's verdicts as `correct` and `correct_strict`, in place of `verify.verify`'s.

    Input: a log and `run`'s table of the same log, in the same order; ValueError where it is another's.
    """
    keys = ["problem", "round", "agent"]
    if not (len(log) == len(verdicts) and (log[keys].to_numpy() == verdicts[keys].to_numpy()).all()):
        raise ValueError("these verdicts are of another log: verify this one")
    right = verdicts.verified.to_numpy(dtype=bool)
    return log.assign(correct_strict=right & verdicts.strict.to_numpy(dtype=bool), correct=right)


def count(verdicts: pd.DataFrame) -> dict[str, int]:
    """How many traces, and how many different answers (each was asked about once), got each verdict."""
    answers = verdicts.drop_duplicates(["problem", "answer"])
    traces, asked = verdicts.verdict.value_counts(), answers.verdict.value_counts()
    return {
        "traces": len(verdicts),
        **{f"traces: {v}": int(traces.get(v, 0)) for v in VERDICTS},
        "different answers asked about": int((answers.verdict != "no answer").sum()),
        **{f"different answers: {v}": int(asked.get(v, 0)) for v in VERDICTS[:3]},
    }


def agreement(verdicts: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The verifier against the symbolic one, where both apply: an answer was found, a verdict was read, and the task has right and wrong.

    A row for the different answers (each counted once) and one for the traces.  Columns: n, both_right, only_symbolic, only_llm,
    both_wrong, unparsed (not in n), agreement with Wilson's interval, kappa (Cohen 1960) with its bootstrap interval over problems.
    The interval of `agreement` takes answers as independent; that of kappa does not.
    """
    rows = {}
    for unit, table in {
        "different answers": verdicts.drop_duplicates(["problem", "answer"]),
        "traces": verdicts,
    }.items():
        both = table[table.verdict.isin(CHOICES) & table.symbolic.notna()]
        symbolic, llm = both.symbolic.astype(bool), both.verified.astype(bool)
        found = raters.kappa(
            list(symbolic), list(llm), list(both.problem), (False, True), level=level, resamples=resamples, seed=seed
        )
        low, high = wilson(int((symbolic == llm).sum()), len(both), level) if len(both) else (float("nan"),) * 2
        rows[unit] = {
            "n": len(both),
            "both_right": int((symbolic & llm).sum()),
            "only_symbolic": int((symbolic & ~llm).sum()),
            "only_llm": int((~symbolic & llm).sum()),
            "both_wrong": int((~symbolic & ~llm).sum()),
            "unparsed": int((table.verdict == "unparsed").sum()),
            "agreement": found["agreement"],
            "agreement_low": low,
            "agreement_high": high,
            "kappa": found["kappa"],
            "kappa_low": found["low"],
            "kappa_high": found["high"],
        }
    return (
        pd.DataFrame(rows)
        .T.rename_axis("unit")
        .reset_index()
        .astype({name: int for name in ("n", "both_right", "only_symbolic", "only_llm", "both_wrong", "unparsed")})
    )


def disagreements(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The different answers on which the two verifiers differ: problem, gold, answer, symbolic, verdict, reply, traces (how many gave it)."""
    both = verdicts[verdicts.verdict.isin(CHOICES) & verdicts.symbolic.notna()]
    differ = both[both.symbolic.astype(bool) != both.verified]
    keys = ["problem", "gold", "answer", "symbolic", "verdict", "reply"]
    return differ.groupby(keys, sort=False).size().rename("traces").reset_index()
