"""The extraction stage: a debate log goes in, the table `traces` and the counts of all that was dropped come out.

Correctness first (3.2, A.3): a trace is kept when its own parsed answer is verified.  Then per problem: one trace for R-SFT
(DECISIONS 9), up to k diverse ones for DA (DECISIONS 10), and for the control `rsft_single` as many correct round-1 traces, which
agents wrote before any debate.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pandas as pd

from agentark import params, store, tasks
from agentark.mas import prompts
from agentark.models.load import revision
from agentark.source import source_hash

from . import diverse, llm_diverse, llm_verify
from .verify import verify


def final_traces(log: pd.DataFrame, aggregator: bool = False) -> pd.DataFrame:
    """Each agent's last row with its kind.  Input: a verified log; `aggregator` keeps the extra agent's row, too.

    kind: "direct" (right, and in no earlier round wrong), "corrective" (wrong in some earlier round and right at the end,
    after seeing its peers) or "wrong".
    """
    agents = log[log.agent > 0].sort_values(["problem", "agent", "round"])
    last = agents.groupby(["problem", "agent"]).tail(1)
    ever_wrong = (~agents.correct).groupby([agents.problem, agents.agent]).any()
    was_wrong = last.set_index(["problem", "agent"]).index.map(ever_wrong)
    kinds = [
        "wrong" if not right else "corrective" if erred else "direct" for right, erred in zip(last.correct, was_wrong)
    ]
    last = last.assign(kind=kinds)
    if aggregator:
        extra = log[log.agent == 0]
        last = pd.concat([last, extra.assign(kind=extra.correct.map({True: "direct", False: "wrong"}))])
    return last.reset_index(drop=True)


def stitch(log: pd.DataFrame, problem: str, agent: int) -> str:
    """A corrective trace as one text: the last wrong attempt, a right peer's critique, the repair (DECISIONS 8)."""
    debate = log[(log.problem == problem) & (log.agent > 0)]
    own = debate[debate.agent == agent].sort_values("round")
    wrong = own[~own.correct].iloc[-1]
    peers = debate[(debate["round"] == wrong["round"]) & (debate.agent != agent) & debate.correct]
    critique = f"\nA peer's solution:\n{peers.iloc[0].text}" if len(peers) else ""
    return f"First attempt:\n{wrong.text}{critique}\nThat attempt was wrong. Again:\n{own.iloc[-1].text}"


def run(
    path: Path,
    log: pd.DataFrame,
    *,
    log_id: str,
    task: str,
    split: str,
    seed: int,
    told: params.Extract,
    wording: str,
    overlapping: dict[str, str] | None = None,
    judges: params.Judges | None = None,
    engine: params.Engine | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Extract traces from a debate's `log` and write them to `path`; `log_id` stands for the log in the manifest.

    The line that a reply addresses to its peers, if the debate's `wording` has one, is no part of a trace: a student has no peers.
    `overlapping` (`decontaminate.overlaps`) are problems that are left out, whatever a method learns from.
    `judges` are asked, through `engine` where they name none of their own: the verifier what is right (else the task's own says), and where
    `told.diversity` says so the diversity judge and the distiller which traces DA learns from.

    Returns (traces, counts).  traces: problem, source ("debate": final traces; "single": round 1), agent, round, text, answer,
    correct, kind, rsft (chosen for R-SFT, or for its control), diversity_rank (0, 1, 2 for DA; -1: not chosen), reason (why a
    trace is not kept).  counts: everything that was dropped, by reason.
    """
    about = {
        "stage": "extract",
        "source": source_hash(__name__, *tasks.modules(task)),
        "log": log_id,
        "task": task,
        "split": split,
        "seed": seed,
        "extract": told.model_dump(),
        "wording": wording,
    }
    overlapping = overlapping or {}
    if overlapping:
        about["overlapping"] = sorted(overlapping)
    if judges and (asked := {name: ask for name, ask in judges.model_dump(exclude={"quality"}).items() if ask}):
        about |= {"judges": asked, "revisions": {ask["model"]: revision(ask["model"]) for ask in asked.values()}}
    counts_path = path.with_name(path.stem + "_counts.csv")
    if store.is_done(path, about) and counts_path.exists():
        return pd.read_parquet(path), pd.read_csv(counts_path).set_index("what")["n"].to_dict()
    started, met = time.time(), tasks.counts(task)
    counts: dict[str, int] = {}
    log = verify(log, task, split)
    if judges and judges.verifier:
        verdicts = llm_verify.run(
            path.with_name(path.stem + "_verdicts.parquet"),
            log,
            log_id=log_id,
            task=task,
            split=split,
            seed=seed,
            told=judges.verifier,
            engine=judges.verifier.engine or engine,
        )
        log, counts = (
            llm_verify.apply(log, verdicts),
            {f"LLM verifier, {what}": n for what, n in llm_verify.count(verdicts).items()},
        )
    whole, log = log, log[~log.problem.isin(overlapping)].copy()
    if log.empty:
        raise ValueError(
            f"{task}: every training problem shares {told.decontaminate_words} words with a test set; nothing is left to learn from"
        )
    log["text"] = [prompts.without_critique(text, prompts.WORDINGS[wording]) for text in log.text]
    final = final_traces(log, told.aggregator_traces).assign(source="debate")
    if told.corrective_form == "stitched":
        final["text"] = [
            stitch(log, t.problem, t.agent) if t.kind == "corrective" and t.correct_strict else t.text
            for t in final.itertuples()
        ]
    single = log[(log["round"] == 1) & (log.agent > 0)].assign(source="single")
    single["kind"] = single.correct.map({True: "direct", False: "wrong"})
    traces = pd.concat([final, single], ignore_index=True)
    traces["reason"] = [_reason(t.correct, t.answer, t.finish) for t in traces.itertuples()]
    traces["rsft"], traces["diversity_rank"] = False, -1
    _choose(traces, told, seed)
    if told.diversity != "structural":
        traces, chosen = _chosen_by_model(path, traces, whole, log_id, task, split, wording, seed, told, judges, engine)
        counts |= chosen
    traces = traces[
        [
            "problem",
            "source",
            "agent",
            "round",
            "text",
            "answer",
            "correct",
            "kind",
            "rsft",
            "diversity_rank",
            "reason",
            "tokens_out",
            "gold",
            "template",
        ]
    ]
    counts = (
        count(log, traces)
        | counts
        | ({"problems left out: overlap with a test set": len(overlapping)} if told.decontaminate_words else {})
    )
    store.write_table(pd.DataFrame({"what": counts.keys(), "n": counts.values()}), counts_path)
    store.finish(traces, path, about, started, **tasks.counts(task, met))
    return traces, counts


def _chosen_by_model(
    path: Path,
    traces: pd.DataFrame,
    log: pd.DataFrame,
    log_id: str,
    task: str,
    split: str,
    wording: str,
    seed: int,
    told: params.Extract,
    judges: params.Judges,
    engine: params.Engine,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The traces with DA's chosen by the diversity judge, and their counts.  A trace that the distiller wrote anew is a row of its own."""
    kept = traces[traces.correct & (traces.source == "debate")]
    made = llm_diverse.run(
        path.with_name(path.stem + "_diverse.parquet"),
        kept[["problem", "agent", "text", "kind"]],
        log,
        log_id=log_id,
        task=task,
        split=split,
        wording=wording,
        how=told.diversity,
        most=told.max_traces,
        seed=seed,
        judged=judges.diversity,
        distilled=judges.distiller,
        engine=judges.diversity.engine or engine,
    )
    traces = traces.assign(diversity_rank=-1)
    row = {(t.problem, t.agent): i for i, t in zip(kept.index, kept.itertuples())}
    anew = []
    for t in made[made.diversity_rank >= 0].itertuples():
        at = row[t.problem, t.agent]
        if t.text == traces.at[at, "text"]:
            traces.loc[at, "diversity_rank"] = t.diversity_rank
        else:
            anew.append(
                {
                    **traces.loc[at],
                    "text": t.text,
                    "kind": "distilled",
                    "rsft": False,
                    "diversity_rank": t.diversity_rank,
                }
            )
    return pd.concat([traces, pd.DataFrame(anew, columns=traces.columns)], ignore_index=True) if anew else traces, {
        f"LLM diversity judge, {what}": n for what, n in llm_diverse.count(made).items()
    }


def _reason(correct: bool, answer: str | None, finish: str) -> str:
    if correct:
        return ""
    if pd.notna(answer):
        return "wrong answer"
    return "truncated" if finish == "length" else "no answer found"


def _choose(traces: pd.DataFrame, told: params.Extract, seed: int) -> None:
    """Mark the traces that R-SFT, DA and the single-agent control learn from."""
    kept = traces[traces.correct & (traces.source == "debate")]
    for problem, group in kept.groupby("problem", sort=True):
        corrective = list(group.kind == "corrective")
        picked = diverse.choose(list(group.text), corrective, told.max_traces, Random(f"{seed} {problem}"))
        traces.loc[group.index if told.rsft_traces == "all" else group.index[picked[:1]], "rsft"] = True
        if len(group) >= 2:  # |A_correct| >= 2 (A.3)
            for rank, i in enumerate(picked):
                traces.loc[group.index[i], "diversity_rank"] = rank
    # The control: as many correct traces from before the debate, spread over as many problems as there are.
    alone = traces[traces.correct & (traces.source == "single")].sample(frac=1, random_state=seed)
    turn = alone.groupby("problem").cumcount()
    wanted = int(traces[traces.source == "debate"].rsft.sum())
    traces.loc[turn.sort_values(kind="stable").index[:wanted], "rsft"] = True


def count(log: pd.DataFrame, traces: pd.DataFrame) -> dict[str, int]:
    """What there was, what was dropped and why, and what is left: Table 3's Q and T among it."""
    final, single = traces[traces.source == "debate"], traces[traces.source == "single"]
    correct = final[final.correct].groupby("problem").size()
    problems = log.problem.nunique()
    reasons = final.reason.value_counts()
    return {
        "problems (Q)": problems,
        "completions in the log": len(log),
        "completions truncated": int((log.finish == "length").sum()),
        "completions without an answer": int(log.answer.isna().sum()),
        "final traces": len(final),
        **{
            f"final traces dropped: {reason}": int(reasons.get(reason, 0))
            for reason in ("wrong answer", "no answer found", "truncated")
        },
        "correct final traces (T)": int(final.correct.sum()),
        "of these corrective": int((final.kind == "corrective").sum()),
        "problems without a correct trace": problems - len(correct),
        "problems with one correct trace (no DA)": int((correct == 1).sum()),
        "R-SFT traces": int(final.rsft.sum()),
        "of these corrective, chosen first": int((final.rsft & (final.kind == "corrective")).sum()),
        "DA traces": int((final.diversity_rank >= 0).sum()),
        "DA problems": int(final[final.diversity_rank >= 0].problem.nunique()),
        "correct round-1 traces": int(single.correct.sum()),
        "rsft_single traces": int(single.rsft.sum()),
        "rsft_single traces beyond a problem's first": int(single.rsft.sum() - single[single.rsft].problem.nunique()),
        "T of the paper's Table 3 (agents + 1 a problem, unfiltered)": problems * (int(log.agent.max()) + 1),
    }
