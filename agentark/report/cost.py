"""What a study costs: by stage and method, per right answer, and in the form of the paper's Tables 3 and 6.

Seconds are those of the manifests: wall seconds of the process that made an artifact, times the devices on which its
engine ran.  A process of a CPU study has one thread, so that they are seconds in which it held a core; on a machine
that other work shares, it did not have the core all that time.  What was resumed has the seconds of the last attempt
only; a log records that and is counted as resumed, other artifacts do not record it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentark.cells.cell import NONE
from agentark.cells.files import DEFAULT_PROTOCOL, Files
from agentark.distill.method import methods
from agentark.graph.job import Job, Study, report_job
from agentark.mas.protocol import protocols

from . import jobs as reports
from . import perplexity, quality

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

PLACE = ["stage", "method", "split", "task", "train", "teacher", "student", "seed"]
SUMS = ["completions", "tokens_in", "tokens_cached", "tokens_out", "tokens_revised", "tokens_trained"]
ARTIFACTS = [*PLACE, "device", "problems", *SUMS, "device_seconds", "peak_memory_mb", "resumed", "path"]
COSTS = {  # of an answer
    "calls": "completions",
    "tokens": "tokens read (not cached) and generated",
    "gflop": "GFLOP: 2 per token and parameter, without attention",
    "device_seconds": "seconds of a device, shared out by the generated tokens",
}
ANSWERS = ["test", "teacher", "student", "method", "n", "items", "accuracy", "ci_low", "ci_high", "cost"]
ANSWERS += ["per_answer", "per_right", "low", "high", "shared", "of_debate", "of_low", "of_high"]
PRM = "prm"  # the method of a reward model


def artifacts(files: Files) -> pd.DataFrame:
    """Return ARTIFACTS, one row per artifact of a study with a manifest: what it is, its tokens, seconds and memory.

    method: the protocol of a log, the method of a student or of its answers, else the artifact's folder.  tokens_out:
    generated, and of training by rewards sampled; tokens_revised: of these in later rounds of a debate.  A number that
    an artifact does not have is NaN.
    """
    import pandas as pd

    suffix = ".csv.manifest.json"  # a summary of the artifact beside it, whose seconds are the same
    paths = sorted(path for path in files.root.rglob("*.manifest.json") if not path.name.endswith(suffix))
    table = pd.DataFrame([_artifact(path, files.root) for path in paths], columns=None if paths else ARTIFACTS)
    table = table.reindex(columns=[*ARTIFACTS, *(column for column in table if "." in column)])
    return table.fillna({column: NONE for column in table if "." in column})


def _artifact(manifest_path: Path, root: Path) -> dict[str, Any]:
    manifest = json.loads(manifest_path.read_text())
    about, artifact = manifest["about"], manifest_path.with_name(manifest_path.name.removesuffix(".manifest.json"))
    engine, folder = about.get("engine") or {}, artifact.parent.name
    local = "core" if manifest["machine"].endswith("no GPU") else "GPU"
    devices = (engine.get("tensor_parallel") or 1) * (engine.get("data_parallel") or 1)
    task = about.get("task", about.get("train", NONE))
    row = {"stage": about["stage"], "method": about.get("method", folder), "split": about.get("split", "train")}
    row |= {name: about.get(name, NONE) for name in ("train", "teacher", "student")} | {"task": task}
    row |= {"seed": about.get("seed", 0), "problems": about.get("n")}
    row |= {name: str(value) for name, value in about.items() if "." in name}  # axes
    row |= {"device": "server" if engine.get("name") == "openai" else local}
    row |= {"device_seconds": manifest["seconds"] * devices, "peak_memory_mb": manifest["peak_memory_mb"]}
    row |= {"resumed": int(manifest.get("chunks_found", 0) > 0), "path": str(artifact.relative_to(root))}
    if artifact.suffix == ".parquet":
        row |= _generated(artifact)
    if (log := artifact / "training.json").exists():
        training = json.loads(log.read_text())
        row["tokens_trained"] = training.get("tokens")
        if "completions" in training:
            row |= {"tokens_out": training.get("completion_tokens"), "completions": training.get("completions")}
        if "prm" in about and "student" not in about:
            shuffled = about["prm"]["shuffled_labels"]
            row |= {"method": "prm, shuffled labels" if shuffled else PRM, "student": about["base"]}
    return row


def _generated(path: Path) -> dict[str, Any]:
    """The coordinates of a table of generated texts, and its tokens; nothing for another table."""
    import pandas as pd
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    if "tokens_in" not in names:
        return {}
    columns = [c for c in (*PLACE, "test", "protocol", "round", "agent", *SUMS) if c in names]
    rows = pd.read_parquet(path, columns=[*columns, *(c for c in names if "." in c)])
    first = rows.iloc[0]
    row = {c: first[c] for c in ("teacher", "student", "method", "train") if c in rows}
    row |= {"task": first.test} if "test" in rows else {}
    row |= {c: str(first[c]) for c in rows if "." in c}
    if "round" in rows:
        row |= {"method": first.protocol}
        row["tokens_revised"] = rows.tokens_out[(rows["round"] > 1) & (rows.agent > 0)].sum(skipna=False)
    row |= {c: rows[c].sum(skipna=False) for c in SUMS if c in rows}  # NaN if a server did not count some
    return row | {"completions": int((rows.tokens_in != 0).sum())}


def by_stage(found: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of a study by stage and method (`cost.csv`); `found` is what `artifacts` returns.

    Columns: stage, method, split, device; artifacts, completions, tokens_read (of the prompts, not cached),
    tokens_cached, tokens_out, tokens_trained; device_seconds and their share of the study's; peak_memory_mb, the
    largest of the processes; resumed.  The most expensive stages, and in them the most
    expensive methods, come first.
    """
    by, counts = ["stage", "method", "split", "device"], ["completions", "tokens_read", *SUMS[2:4], "tokens_trained"]
    table = found.assign(tokens_read=found.tokens_in - found.tokens_cached)
    groups = table.groupby(by, sort=False)
    result = groups.size().rename("artifacts").to_frame().join(groups[counts].sum(min_count=1))
    result = (
        result.join(groups[["device_seconds", "resumed"]].sum()).join(groups[["peak_memory_mb"]].max()).reset_index()
    )
    result["share"] = result.device_seconds / result.device_seconds.sum()
    order = result.assign(whole=result.groupby("stage").device_seconds.transform("sum"))
    order = order.sort_values(["whole", "stage", "device_seconds"], ascending=[False, True, False]).index
    return result.loc[
        order, [*by, "artifacts", *counts, "device_seconds", "share", "peak_memory_mb", "resumed"]
    ].reset_index(drop=True)


def answers(predictions: pd.DataFrame, found: pd.DataFrame, billions: Callable[[str], float]) -> pd.DataFrame:
    """Return the headline rows of a study with their COSTS.

    predictions: what `collect.predictions` returns.  Of students, the tests on the task that they were trained on are
    kept (all tests on tasks that none was trained on).  billions: a network's billions of parameters.  The seconds of
    an artifact are shared out by the generated tokens; of an answer whose artifact is not in `found` they are NaN.
    """
    from .tables import headline

    rows = headline(predictions)
    rows = rows[(rows.train == rows.test) | (rows.train == NONE) | ~rows.test.isin(set(rows.train))]
    tokens = rows.tokens_in - rows.tokens_cached + rows.tokens_out
    networks = rows.student.where(rows.student != NONE, rows.teacher)
    texts = found[found.stage.isin(["debate", "evaluate"]) & (found.split == "test") & (found.tokens_out > 0)]
    written_by = {p.method: p.name for p in protocols().values() if p.method} | {"base_majority": "base"}
    if "single" not in set(texts.method):
        written_by["teacher_single"] = DEFAULT_PROTOCOL  # agent 1 in round 1
    axes = [column for column in rows if "." in column and column in texts]
    keys = ["method", "teacher", "student", "train", "seed", *axes]
    texts = texts.assign(rate=texts.device_seconds / texts.tokens_out).groupby(["task", *keys]).rate.mean()
    wanted = rows.assign(method=rows.method.map(lambda name: written_by.get(name, name)))[["test", *keys]]
    rates = wanted.merge(texts.reset_index().rename(columns={"task": "test"}), on=["test", *keys], how="left").rate
    rows = rows.assign(tokens=tokens, gflop=2 * tokens * networks.map({n: billions(n) for n in set(networks)}))
    return rows.assign(device_seconds=rows.tokens_out * rates.to_numpy())


def per_right_answer(rows: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return what a right answer costs (`cost_per_answer.csv`), one row per test, network, method and cost.

    rows: what `answers` returns.  n, items: answers (of all seeds) and different problems; accuracy with its interval
    at `level` (Wilson's, for n equivalent answers).  per_answer: the mean cost; per_right: all cost over the number of
    right answers (or their score, in an open-ended test), with low and high.  of_debate: its ratio to that of the
    teacher's debate on the `shared` problems that both answered, with its own ends; NaN without a debate.  Both
    intervals are over problems; that seconds also vary between machines and hours is not in them.
    """
    import pandas as pd

    from agentark import stats

    from .tables import ordered, scores

    several = ["protocol"] if rows.protocol[rows.protocol != NONE].nunique() > 1 else []
    by = [*ANSWERS[:4], *several, *(column for column in rows if "." in column)]
    rows = rows.assign(right=scores(rows))
    cells = {key: part for key, part in rows.groupby(by, sort=False)}
    items = {key: part.groupby("item")[[*COSTS, "right"]].mean() for key, part in cells.items()}
    debate = protocols()[DEFAULT_PROTOCOL].method
    table = []
    for key, part in cells.items():
        whole, n = items[key], stats.effective_size(part.right, part.item)
        place, binary = dict(zip(by, key, strict=True)), part.right.isin([0, 1]).all()
        mean = part.right.mean()
        low, high = stats.wilson(min(n, mean * n), n, level) if binary else stats.mean_interval(whole.right, level)
        place |= {"n": len(part), "items": len(whole), "accuracy": mean, "ci_low": low, "ci_high": high}
        other = next((items[k] for k in items if k[3] == debate and _opposed(key, k)), None)
        shared = whole.index[:0] if other is None else whole.index.intersection(other.index)
        for cost in COSTS:
            row = place | {"cost": cost, "per_answer": whole[cost].mean()}
            values = stats.ratio_of_means([whole[cost]], [whole.right], level) if whole[cost].notna().all() else ()
            row |= dict(zip(("per_right", "low", "high"), values)) | {"shared": len(shared)}
            ours, theirs = whole.loc[shared], None if other is None else other.loc[shared]
            if theirs is not None and len(shared) and ours[cost].notna().all() and theirs[cost].notna().all():
                sides = [ours[cost], theirs.right], [ours.right, theirs[cost]]
                row |= dict(zip(("of_debate", "of_low", "of_high"), stats.ratio_of_means(*sides, level)))
            table.append(row)
    wide = pd.DataFrame(table).reindex(columns=[*by, *ANSWERS[4:]])
    rest = {"train": "", "protocol": "", "seed": 0}
    return ordered(wide.assign(**{k: v for k, v in rest.items() if k not in wide}))[wide.columns.to_list()]


def tables(files: Files, billions: Callable[[str], float], level: float = 0.95) -> tuple[pd.DataFrame, ...]:
    """Return `artifacts`, `by_stage` and `per_right_answer` of a study; the last is empty without predictions."""
    import pandas as pd

    from . import collect

    found = artifacts(files)
    if (found.stage == "evaluate").any():
        rows = answers(collect.predictions(files, collect.logs(files, "test")), found, billions)
        return found, by_stage(found), per_right_answer(rows, level)
    print(f"there are no answers under {files.root.name}: only the plan can be shown")
    return found, by_stage(found), pd.DataFrame(columns=ANSWERS)


def _opposed(key: tuple, other: tuple) -> bool:
    """Whether two cells (test, teacher, student, method, axes …) have one test and, where both have it, one teacher."""
    pairs = zip((key[1], *key[4:]), (other[1], *other[4:]), strict=True)
    return key[0] == other[0] and all(a == b or NONE in (a, b) for a, b in pairs)


def _rewarded(method: str) -> bool:
    """Whether a method needs a reward model."""
    return methods()[method].reward == "prm"


def break_even(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return after how many answers each of the paper's methods has paid back what it took, in device-seconds.

    found, table: what `artifacts` and `per_right_answer` return.  Per test that is a training set, teacher, student and
    method: generation_s (the debates of the training problems, and the extraction), training_s (for PAD with the reward
    model; the mean of the seeds), student_s and debate_s per answer, and answers: the first two over the difference of
    the last two, infinite if the debate is not dearer.  It counts every answer alike, right or wrong.
    """
    import pandas as pd

    from . import paper

    seconds = table[table.cost == "device_seconds"]
    debates = seconds[seconds.method == protocols()[DEFAULT_PROTOCOL].method]
    rows = []
    for r in seconds[seconds.method.isin(paper.METHODS[2:])].itertuples():
        here = found[(found.task == r.test) & found.teacher.isin([r.teacher, NONE]) & (found.split == "train")]
        debated = (here.stage == "debate") & (here.method == DEFAULT_PROTOCOL)
        made = here[debated | here.stage.isin(["extract", "label"])]
        own = here[(here.student == r.student) & here.method.isin([r.method, *([PRM] if _rewarded(r.method) else [])])]
        other = debates[(debates.test == r.test) & (debates.teacher == r.teacher)]
        if len(other) and (own.method == r.method).any():
            row = {"test": r.test, "teacher": r.teacher, "student": r.student, "method": r.method}
            row |= {"generation_s": made.device_seconds.sum()}
            row |= {"training_s": own.groupby("method").device_seconds.mean().sum()}
            row |= {"student_s": r.per_answer, "debate_s": other.per_answer.iloc[0]}
            spent, saved = row["generation_s"] + row["training_s"], row["debate_s"] - row["student_s"]
            rows.append(row | {"answers": spent / saved if saved > 0 else float("inf")})
    columns = ["test", "teacher", "student", "method", "generation_s", "training_s", "student_s", "debate_s", "answers"]
    return pd.DataFrame(rows, columns=columns)


def trajectories(found: pd.DataFrame) -> pd.DataFrame:
    """Return the logs of the training problems in the form of Table 3: questions, completions and generated tokens."""
    logs = found[(found.stage == "debate") & (found.split == "train")]
    table = logs[["teacher", "task", "method", "problems", "completions", "tokens_out", "device_seconds"]]
    per = {f"{c}_per_question": table[c] / table.problems for c in ("completions", "tokens_out", "device_seconds")}
    return table.rename(columns={"method": "protocol", "problems": "questions"}).assign(**per).reset_index(drop=True)


def against_rsft(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return Table 6 of a study: each method's training beside R-SFT on the same student, task and seed.

    trainings: what `collect.training_cost` returns.  PAD is split as in the paper: "grpo" is the training by rewards,
    "pad" the sum with the reward model's ("prm").  Columns: method, n (trainings), minutes (mean), peak_memory_mb
    (largest); pairs (trainings with an R-SFT beside them), ratio (the mean of their seconds over R-SFT's), least, most
    (its range: no interval, since a few trainings on a shared machine give none), tokens_ratio (of imitation).
    """
    import pandas as pd

    by = ["student", "task", "seed"]
    if trainings.empty:
        return pd.DataFrame(columns=["method", "n", "minutes", "peak_memory_mb", "pairs", "ratio", "least", "most"])
    costs = trainings.groupby([*by, "method"])[["seconds", "tokens", "peak_memory_mb"]].mean().reset_index()
    policies, scorers = (costs[costs.method == name] for name in ("pad", PRM))
    whole = policies.merge(scorers, on=by, suffixes=("", "_prm"))
    whole = whole.assign(seconds=whole.seconds + whole.seconds_prm, tokens=float("nan"))
    whole["peak_memory_mb"] = whole[["peak_memory_mb", "peak_memory_mb_prm"]].max(axis=1)
    costs = pd.concat([costs.replace({"method": {"pad": "grpo"}}), whole[costs.columns]])
    base = costs[costs.method == "rsft"][[*by, "seconds", "tokens"]]
    joined = costs.merge(base, on=by, how="left", suffixes=("", "_rsft"))
    joined = joined.assign(ratio=joined.seconds / joined.seconds_rsft, tokens_ratio=joined.tokens / joined.tokens_rsft)
    groups = joined.groupby("method")
    return groups.agg(
        n=("seconds", "size"), minutes=("seconds", lambda s: s.mean() / 60), peak_memory_mb=("peak_memory_mb", "max"),
        pairs=("ratio", "count"), ratio=("ratio", "mean"), least=("ratio", "min"), most=("ratio", "max"),
        tokens_ratio=("tokens_ratio", "mean"),
    ).sort_values("ratio").reset_index()  # fmt: skip


def jobs(study: Study) -> Iterator[Job]:
    """The costs of a study; its plan is shown beside them, and not written."""
    root = study.files.root
    rows = reports.graded(study, "predictions", "debates")
    rows += reports.written(study, "traces", "steps", "students", "prms")
    rows += [path for made in (perplexity, quality) for job in made.jobs(study) for path in job.outputs]
    files = {"inputs": rows, "outputs": [root / "cost.csv", root / "cost_per_answer.csv"]}
    yield report_job(study, "21_cost", ["collect", "cost"], reports.graders(study), sections=["stats.level"], **files)
