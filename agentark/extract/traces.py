"""Extraction: a graded log goes in, the table `traces` and the counts of everything that was dropped come out.

A trace is kept if its own parsed answer is right (3.2, A.3) and it was not cut off.  Then per problem: one trace for
R-SFT (DECISIONS 9), up to k diverse ones for DA (DECISIONS 10), and for their controls `rsft_single` and `da_single` as
many kept traces of round 1.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from agentark import engines, params, store
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.mas import prompts
from agentark.mas.protocol import protocols

from . import diverse, llm_diverse, llm_verify
from .jobs import TRACES

COLUMNS = ["problem", "source", "agent", "round", "text", "answer", "correct", "kind", "rsft", "diversity_rank"]
COLUMNS += ["reason", "finish", "tokens_out", "gold", "template"]


def final_traces(log: pd.DataFrame, aggregator: bool = False) -> pd.DataFrame:
    """Return each agent's last row in a graded log, and with `aggregator` the extra agent's, with its kind.

    kind: "direct" (right, and in no earlier round wrong), "corrective" (wrong in an earlier round and right at the end,
    after seeing its peers) or "wrong".
    """
    agents = log[log.agent > 0].sort_values(["problem", "agent", "round"])
    last = agents.groupby(["problem", "agent"]).tail(1)
    ever_wrong = (~agents.correct).groupby([agents.problem, agents.agent]).any()
    was_wrong = ever_wrong.reindex(last.set_index(["problem", "agent"]).index)
    pairs = zip(last.correct, was_wrong, strict=True)
    last = last.assign(kind=["wrong" if not right else "corrective" if erred else "direct" for right, erred in pairs])
    if aggregator:
        extra = log[log.agent == 0]
        last = pd.concat([last, extra.assign(kind=extra.correct.map({True: "direct", False: "wrong"}))])
    return last.reset_index(drop=True)


def stitch(log: pd.DataFrame, problem: str, agent: int) -> str:
    """Return a corrective trace as one text: last wrong attempt, a right peer's solution, the repair (DECISIONS 8).

    Attempts and solutions that were cut off are passed over; if there is no other attempt, it is the repair alone.
    """
    debate = log[(log.problem == problem) & (log.agent > 0)]
    repair = debate[debate.agent == agent].sort_values("round").iloc[-1]
    debate = debate[debate.finish != "length"]
    attempts = debate[(debate.agent == agent) & ~debate.correct].sort_values("round")
    if attempts.empty:
        return repair.text
    wrong = attempts.iloc[-1]
    peers = debate[(debate["round"] == wrong["round"]) & (debate.agent != agent) & debate.correct]
    critique = f"\nA peer's solution:\n{peers.iloc[0].text}" if len(peers) else ""
    return f"First attempt:\n{wrong.text}{critique}\nThat attempt was wrong. Again:\n{repair.text}"


def run(
    path: Path,
    log: pd.DataFrame,
    log_id: str,
    cell: Cell,
    config: params.Params,
    overlapping: dict[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Extract the traces of a cell from a graded log and write them to `path`, and the counts beside it.

    log, log_id: a log with its grades, and its identity in the manifest.  overlapping: training problems that are left
    out (`decontaminate.overlaps`).  Judges, if there are any, decide which answers are right (verifier) and from which
    traces DA learns (diversity judge and distiller), otherwise a program does.  The line that a reply addresses to its
    peers is not part of a trace: a student has no peers.

    Returns (traces, counts).  traces: problem, source ("debate": final traces; "single": round 1), agent, round, text,
    answer, correct, kind, rsft (chosen for R-SFT or its control), diversity_rank (0, 1, 2 for DA or its control; -1:
    not chosen), reason (why a trace is not kept), finish ("length" if it was cut off).  counts: what was dropped, by
    reason.  Raises ValueError if no problem is left.
    """
    extract, judges, wording = config.extract, config.judges, config.debate.wording
    overlapping = overlapping or {}
    cell = TRACES.of(cell)
    about = {"stage": "extract", "source": source_hash(f"{__name__}:run"), "log": log_id, **cell.log_columns()}
    about |= {"extract": extract.model_dump(), "wording": wording}
    if overlapping:
        about["overlapping"] = sorted(overlapping)
    if models := [[j.identity(), (j.engine or config.engine).identity()] for j in judges.named()]:
        revisions = {j.model: engines.revision(j.model, j.engine or config.engine) for j in judges.named()}
        about |= {"judges": models, "revisions": revisions}
    counts_path = path.with_name(path.stem + "_counts.csv")
    if store.is_done(path, about) and store.is_done(counts_path, about):
        return pd.read_parquet(path), pd.read_csv(counts_path).set_index("what")["n"].to_dict()
    started = time.time()
    counts: dict[str, int] = {}
    if judges.verifier:
        verdicts_path, verifier = path.with_name(path.stem + "_verdicts.parquet"), judges.verifier
        data: dict[str, Any] = {"log_id": log_id, "task": cell.task, "split": cell.split, "seed": cell.seed}
        verdicts = llm_verify.run(verdicts_path, log, **data, config=verifier, engine=verifier.engine or config.engine)
        log = llm_verify.apply(log, verdicts)
        counts = {f"LLM verifier, {what}": n for what, n in llm_verify.count(verdicts).items()}
    whole, log = log, log[~log.problem.isin(overlapping)].copy()
    if log.empty:
        shared = f"every training problem shares {extract.decontaminate_words} words with a test set"
        raise ValueError(f"{cell.task}: {shared}; nothing is left to learn from")
    log["text"] = [prompts.without_critique(text, prompts.WORDINGS[wording]) for text in log.text]
    final = final_traces(log, extract.aggregator_traces).assign(source="debate")
    if extract.corrective_form == "stitched":
        for i in final.index[(final.kind == "corrective") & final.correct_strict]:
            final.loc[i, "text"] = stitch(log, final.problem[i], final.agent[i])
    alone = protocols()[cell.protocol].alone
    agents = alone(config.debate) if alone else log.agent.max()
    single = log[(log["round"] == 1) & log.agent.between(1, agents)].assign(source="single")
    single["kind"] = single.correct.map({True: "direct", False: "wrong"})
    traces = pd.concat([final, single], ignore_index=True)
    traces["reason"] = list(map(_reason, traces.correct, traces.answer, traces.finish))
    traces["rsft"], traces["diversity_rank"] = False, -1
    _choose(traces, extract, cell.seed)
    if extract.diversity != "structural":
        traces, chosen = _chosen_by_model(path, traces, whole, log_id, cell, config)
        counts |= chosen
    _choose_alone(traces, extract.max_traces, cell.seed)
    traces = traces[COLUMNS].assign(**cell.log_columns())
    counts = count(log, traces) | counts
    if extract.decontaminate_words:
        counts["problems left out: overlap with a test set"] = len(overlapping)
    store.finish(pd.DataFrame({"what": counts.keys(), "n": counts.values()}), counts_path, about, started)
    store.finish(traces, path, about, started)
    return traces, counts


def _chosen_by_model(
    path: Path, traces: pd.DataFrame, log: pd.DataFrame, log_id: str, cell: Cell, config: params.Params
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the traces with DA's chosen by the diversity judge, and counts; a rewritten trace is a new row."""
    judges, extract = config.judges, config.extract
    kept = traces[(traces.reason == "") & (traces.source == "debate")]
    data: dict[str, Any] = {"log_id": log_id, "task": cell.task, "split": cell.split, "seed": cell.seed}
    data |= {"wording": config.debate.wording, "diversity": extract.diversity, "max_traces": extract.max_traces}
    models: dict[str, Any] = {"judge": judges.diversity, "distiller": judges.distiller}
    models["engine"] = judges.diversity and judges.diversity.engine or config.engine
    candidates = kept[["problem", "agent", "text", "kind"]]
    selected = llm_diverse.run(path.with_name(path.stem + "_diverse.parquet"), candidates, log, **data, **models)
    traces = traces.assign(diversity_rank=-1)
    index = {(t.problem, t.agent): t.Index for t in kept.itertuples()}
    rewritten = []
    for t in selected[selected.diversity_rank >= 0].itertuples():
        i = index[t.problem, t.agent]
        if t.text == traces.at[i, "text"]:
            traces.loc[i, "diversity_rank"] = t.diversity_rank
        else:
            changes = {"text": t.text, "kind": "distilled", "rsft": False, "diversity_rank": t.diversity_rank}
            rewritten.append({**traces.loc[i], **changes})
    if rewritten:
        traces = pd.concat([traces, pd.DataFrame(rewritten, columns=traces.columns)], ignore_index=True)
    return traces, {f"LLM diversity judge, {what}": n for what, n in llm_diverse.count(selected).items()}


def _reason(correct: bool, answer: str | None, finish: str) -> str:
    if finish == "length":  # whatever its answer is: a trace that breaks off teaches students to break off
        return "truncated"
    if correct:
        return ""
    return "wrong answer" if pd.notna(answer) else "no answer found"


def _choose(traces: pd.DataFrame, config: params.Extract, seed: int) -> None:
    """Mark the traces of the debate from which R-SFT and DA learn."""
    kept = traces[(traces.reason == "") & (traces.source == "debate")]
    for problem, group in kept.groupby("problem", sort=True):
        corrective = list(group.kind == "corrective")
        picked = diverse.choose(list(group.text), corrective, config.max_traces, Random(f"{seed} {problem}"))
        traces.loc[group.index if config.rsft_traces == "all" else group.index[picked[:1]], "rsft"] = True
        if len(group) >= 2:  # |A_correct| >= 2 (A.3)
            for rank, i in enumerate(picked):
                traces.loc[group.index[i], "diversity_rank"] = rank


def _choose_alone(traces: pd.DataFrame, max_traces: int, seed: int) -> None:
    """Mark the traces of the controls: as many kept ones from before the debate as R-SFT and DA have.

    R-SFT's control is spread over as many problems as there are.  DA's takes as many diverse traces of a problem as DA,
    and makes up for problems that have fewer with a further one of others, in seeded order and the lowest ranks first.
    """
    final, alone = traces[traces.source == "debate"], traces[(traces.reason == "") & (traces.source == "single")]
    mixed = alone.sample(frac=1, random_state=seed)
    turn = mixed.groupby("problem").cumcount()
    traces.loc[turn.sort_values(kind="stable").index[: int(final.rsft.sum())], "rsft"] = True
    of_da = final[final.diversity_rank >= 0].groupby("problem").size()
    marked: list[tuple[int, int]] = []  # (rank, row)
    spare: list[tuple[int, int]] = []
    for problem, group in alone.groupby("problem", sort=True):
        equal, rng = [False] * len(group), Random(f"{seed} single {problem}")
        picked = enumerate(diverse.choose(list(group.text), equal, max_traces, rng))
        for rank, i in picked:
            (marked if rank < of_da.get(problem, 0) else spare).append((rank, group.index[i]))
    Random(f"{seed} single").shuffle(spare)
    spare.sort(key=lambda pair: pair[0])
    for rank, row in marked + spare[: int(of_da.sum()) - len(marked)]:
        traces.loc[row, "diversity_rank"] = rank


def count(log: pd.DataFrame, traces: pd.DataFrame) -> dict[str, int]:
    """Count problems, completions, dropped traces by reason, and what is left (among them Table 3's Q and T)."""
    final, single = traces[traces.source == "debate"], traces[traces.source == "single"]
    kept, alone = final[final.reason == ""], single[single.reason == ""]
    correct = kept.groupby("problem").size()
    problems, reasons = log.problem.nunique(), final.reason.value_counts()
    dropped = {reason: int(reasons.get(reason, 0)) for reason in ("wrong answer", "no answer found", "truncated")}
    of_da = final[final.diversity_rank >= 0].groupby("problem").size()
    of_da_single = single[single.diversity_rank >= 0].groupby("problem").size()
    return {
        "problems (Q)": problems,
        "completions in the log": len(log),
        "completions truncated": int((log.finish == "length").sum()),
        "completions without an answer": int(log.answer.isna().sum()),
        "final traces": len(final),
        **{f"final traces dropped: {reason}": n for reason, n in dropped.items()},
        "of these truncated with the right answer": int((final.correct & (final.reason == "truncated")).sum()),
        "correct final traces (T)": len(kept),
        "of these corrective": int((kept.kind == "corrective").sum()),
        "problems without a correct trace": problems - len(correct),
        "problems with one correct trace (no DA)": int((correct == 1).sum()),
        "R-SFT traces": int(final.rsft.sum()),
        "of these corrective, chosen first": int((final.rsft & (final.kind == "corrective")).sum()),
        "DA traces": int(of_da.sum()),
        "DA problems": len(of_da),
        "correct round-1 traces": len(alone),
        "round-1 traces truncated": int((single.reason == "truncated").sum()),
        "rsft_single traces": int(single.rsft.sum()),
        "rsft_single traces beyond a problem's first": int(single.rsft.sum() - single[single.rsft].problem.nunique()),
        "da_single traces": int(of_da_single.sum()),
        "da_single traces beyond DA's of the problem": int(of_da_single.sub(of_da, fill_value=0).clip(lower=0).sum()),
        "T of the paper's Table 3 (agents + 1 a problem, unfiltered)": problems * (int(log.agent.max()) + 1),
    }
