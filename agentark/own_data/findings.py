"""The results of a run on your own data, as the tables and sentences that the model card and the report share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import yaml

from agentark import engines, params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill.artifacts import STUDENTS
from agentark.distill.method import methods
from agentark.evaluate import group
from agentark.models import load, registry
from agentark.report import tables

from .data import WORDS, Data

NAMES = {
    "base": "{student} before training",
    "base_majority": "{student} before training, majority of {votes}",
    "sft": "trained on the answers only (SFT)",
    "rsft": "trained with R-SFT",
    "da": "trained with DA",
    "pad": "trained with PAD",
}
CHANGED_SHOWN = 6  # the number of held-out problems for which the report shows both answers
# counts for controls of the study:
CONTROLS = ("rsft_single", "da_single", "correct round-1 traces", "round-1 traces", "T of the paper")
LICENCES = (
    "The student learnt from the outputs of the teacher. If the licence of the teacher has terms for models "
    "that are trained on its outputs (as those of Llama 3 and Gemma do), these terms apply to the student. This "
    "program does not know the licence of the questions."
)


@dataclass(frozen=True)
class Results:
    """The results of a run.

    rows: predictions, one row per item; log: the graded debate, or None if the method needs none; counts: the traces
    by use, and the dropped ones by reason; training, manifest: training.json and the manifest of the checkpoint.
    """

    data: Data
    config: params.Params
    teacher: str
    student: str
    method: str
    seed: int
    rows: pd.DataFrame
    log: pd.DataFrame | None
    counts: dict[str, int]
    training: dict
    manifest: dict

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """All paired comparisons; Holm's correction is over these."""
        return tables.comparisons(self.rows, self.config.stats.resamples, 1 - self.config.stats.level)

    @property
    def paired(self) -> pd.DataFrame:
        """The comparisons of the student with itself before training, and with its own majority vote."""
        return self.comparisons[self.comparisons.method == self.method]

    def name(self, method: str) -> str:
        """Return the name of the student after training by `method`, as the tables show it."""
        return NAMES[method].format(student=load.slug(self.student), votes=self.config.evaluate.base_votes)

    @property
    def title(self) -> str:
        source = "" if self.log is None else f" on debates of {load.slug(self.teacher)}"
        return f"{load.slug(self.student)}, {self.name(self.method)}{source}"


def collect(
    files: Files,
    data: Data,
    config: params.Params,
    cell: Cell,
    rows: pd.DataFrame,
    log: pd.DataFrame | None,
    counts: dict,
) -> Results:
    """Return the results, with the log of the training and the majority votes of the base."""
    checkpoint = files.path(STUDENTS, cell)
    paths = (checkpoint / "training.json", store.manifest_path(checkpoint))
    training, manifest = (json.loads(path.read_text()) for path in paths)
    base = rows[rows.method == "base"]
    columns = {key: base[key].iloc[0] for key in tables.KEYS} | {"method": "base_majority"}
    rows = pd.concat([rows, group.base_majority(base, data.task, columns)], ignore_index=True)
    names = (cell.teacher, cell.student, cell.method, cell.seed)
    return Results(data, config, *names, rows, log, counts, training, manifest)


def finding(results: Results) -> str:
    """State the main finding in one to three sentences."""
    accuracy = tables.main_results(results.rows).set_index("method").accuracy
    comparison = results.paired.set_index("against").loc["base"]
    verdict, power = f"it is {comparison.verdict} than before", ""
    if comparison.verdict == "no difference detectable":
        verdict, power = "no difference can be detected", " With so few problems no difference could be detected."
        if (smallest := comparison.smallest_detectable) <= 1:
            power = f" A true difference of {100 * smallest:.0f} points would be detected in four of five such tests."
    rows = tables.headline(results.rows)
    missing = rows.answer_flexible.isna().groupby(rows.method).mean()
    before, after = missing["base"], missing[results.method]
    form = (
        f" The share of replies without a readable answer fell from {100 * before:.0f} % to {100 * after:.0f} %, "
        "so the student may have learnt the form of an answer."
    )
    n = len(results.comparisons)
    corrected = f", corrected for {n} comparisons" if n > 1 else ""
    before_training = f"compared with {100 * accuracy['base']:.1f} % before training"
    test = f"p = {comparison.p_holm:.2g} by McNemar's exact test{corrected}"
    return (
        f"On {comparison.n} held-out problems the student answers {100 * accuracy[results.method]:.1f} % correctly, "
        f"{before_training}: {verdict} (difference {_points(comparison)} points, {test}).{power}"
        f"{form if before > after else ''}"
    )


def _points(row) -> str:
    return f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"


def accuracies(results: Results) -> pd.DataFrame:
    """Return the accuracy on the held-out problems before and after training, in %."""
    level = results.config.stats.level
    headline, table = tables.headline(results.rows), []
    for r in tables.main_results(results.rows, level).to_dict("records"):
        rows = headline[headline.method == r["method"]]
        correct = f"{100 * r['accuracy']:.1f} [{100 * r['ci_low']:.1f}, {100 * r['ci_high']:.1f}]"
        unread, truncated = rows.answer_flexible.isna().mean(), (rows.finish == "length").mean()
        table.append((results.name(r["method"]), r["n"], correct, f"{100 * unread:.1f}", f"{100 * truncated:.1f}"))
    columns = ["model", "n", f"correct, {100 * level:g} % interval", "no answer", "truncated"]
    return pd.DataFrame(table, columns=columns)


def compared(results: Results) -> pd.DataFrame:
    """Return the paired comparisons of the student with itself before training, on the same problems."""
    rows = []
    for _, r in results.paired.iterrows():
        row = {"compared with": results.name(r.against), "n": r.n, "difference in points, 95 % interval": _points(r)}
        smallest = f"{100 * r.smallest_detectable:.1f}" if r.smallest_detectable <= 1 else "none"
        rows.append(row | {"p (Holm)": f"{r.p_holm:.2g}", "verdict": r.verdict, "smallest detectable": smallest})
    return pd.DataFrame(rows)


def data_counts(results: Results) -> pd.DataFrame:
    """Count the data and the unused parts with their reasons, without the controls of the study."""
    data = results.data
    counts = {
        "rows in the files": data.rows,
        **{f"not used: {reason}": n for reason, n in data.dropped.items()},
        **{f"{split} problems": n for split, n in data.sizes.items()},
        f"training questions that share {WORDS} consecutive words with a held-out question": data.overlap,
        **{name: n for name, n in results.counts.items() if not name.startswith(CONTROLS)},
    }
    if "dropped" in results.training:
        counts["training examples"] = results.training["examples"]
        counts["training examples not used: longer than distill.max_length"] = results.training["dropped"]
    return pd.DataFrame({"data": counts.keys(), "n": counts.values()})


def unused(results: Results) -> pd.DataFrame:
    """Count the rows that are not used by reason, with the places of the first ones."""
    data = results.data
    rows = [(reason, n, data.first(reason)) for reason, n in data.dropped.items() if n]
    return pd.DataFrame(rows, columns=["rows that are not used", "n", "first ones"])


def provenance(results: Results) -> pd.DataFrame:
    """Return the networks, the data, the software and the machine of the training."""
    manifest = results.manifest
    values = {"method": results.method, "seed": results.seed}
    if results.log is not None:
        values["teacher"] = f"{results.teacher} ({engines.revision(results.teacher, results.config.teacher_engine)})"
    values |= {
        "student": f"{results.student} ({load.revision(results.student)})",
        **{f"sha256 of {name}": digest for name, digest in results.data.files.items()},
    }
    values |= {"trained": manifest["made"], "seconds of training": manifest["seconds"]}
    values |= {"peak memory, MB": manifest["peak_memory_mb"]}
    values |= {"trained parameters": f"{results.training['parameters_trained']:,}"}
    values |= {"machine": manifest["machine"], "Python": manifest["python"], **manifest["versions"]}
    return pd.DataFrame({"property": values.keys(), "value": map(str, values.values())})


def settings(results: Results) -> str:
    """Return the sections of the params that the run used, as YAML."""
    stages = ("debate", "extract", "judges") if results.log is not None else ()
    training = ("prm", "rl") if methods()[results.method].reward else ("distill",)
    names = ("engine", *stages, *training, "evaluate", "stats")
    sections = {name: getattr(results.config, name).model_dump(exclude_none=name == "engine") for name in names}
    return yaml.safe_dump(sections, sort_keys=False)


def licence(name: str) -> str:
    """Return the licence of a network, or where to look for it."""
    if name.startswith("zoo/"):
        return "Apache-2.0 (of the mini zoo)"
    if entry := registry.find(name):
        return entry.licence
    return f"unknown: see https://huggingface.co/{name}" if load.on_hub(name) else "unknown: a local folder"


def licences(results: Results) -> pd.DataFrame:
    """Return the licences of the student and of all networks that contributed to its training."""
    models = {"student": results.student}
    if results.log is not None:
        models["teacher"] = results.teacher
        judges = {role: getattr(results.config.judges, role) for role in ("verifier", "diversity", "distiller")}
        models |= {role: judge.model for role, judge in judges.items() if judge}
    served = dict(results.config.served())
    licences = {
        name: "unknown: see the terms of its server" if name in served else licence(name) for name in models.values()
    }
    return pd.DataFrame([{"role": role, "model": name, "licence": licences[name]} for role, name in models.items()])


def changed(results: Results) -> pd.DataFrame:
    """Return at most CHANGED_SHOWN held-out problems: some that became right, then as many that became wrong."""
    data, rows = results.data, tables.headline(results.rows)
    questions = {p.id: p.question for p in tasks.problems(data.task, "test", data.sizes["test"])}
    before, after = (rows[rows.method == method].set_index("item") for method in ("base", results.method))
    columns = {"gold answer": after.gold, "before": before.answer_flexible, "after": after.answer_flexible}
    both = pd.DataFrame({"question": pd.Series(questions), **columns})
    was_right, is_right = before.correct_flexible.loc[both.index], after.correct_flexible.loc[both.index]
    gained = both[is_right & ~was_right].assign(now="right")
    lost = both[was_right & ~is_right].assign(now="wrong")
    most_gained, most_lost = (max(CHANGED_SHOWN // 2, CHANGED_SHOWN - len(others)) for others in (lost, gained))
    return pd.concat([gained.head(most_gained), lost.head(most_lost)])
