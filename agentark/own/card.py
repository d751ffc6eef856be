"""What is said of a taught student: its model card (Markdown, with the hub's metadata) and the one-page report, of the same tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import yaml

from agentark import params, store, study, tasks
from agentark.evaluate import group
from agentark.models import load, registry
from agentark.report import tables

from .data import WORDS, Data

NAMES = {
    "base": "{student} as it was",
    "base_majority": "{student} as it was, majority of {votes}",
    "sft": "taught the answers alone (SFT)",
    "rsft": "taught by R-SFT",
    "da": "taught by DA",
    "pad": "taught by PAD",
}
ROUNDS = ["round", "problems", "debating", "single_accuracy", "consensus_accuracy", "corrected", "corrupted", "copied"]
SHOWN = 6  # held-out problems on which the report shows both answers
CONTROLS = ("rsft_single", "correct round-1 traces", "T of the paper")  # counts of extraction that are of no use here
LICENCES = (
    "What the teacher wrote is what the student learnt from: terms that the teacher's licence has for models made with its outputs (those of Llama 3 "
    "and Gemma have some) go for this student. The licence of the questions is known to whoever gave them."
)


@dataclass(frozen=True)
class Made:
    """What a run made, as the card and the report want it.

    rows: per-item predictions; log: the verified debate, or None where the method needs none; counts: what was there and dropped, by reason;
    training: training.json; manifest: that of the checkpoint.
    """

    data: Data
    told: params.Params
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
        """All paired comparisons that there are; Holm's correction is over these."""
        return tables.comparisons(self.rows, self.told.stats.resamples, 1 - self.told.stats.level)

    @property
    def paired(self) -> pd.DataFrame:
        """The student against itself before, and against its own vote."""
        return self.comparisons[self.comparisons.method == self.method]

    def name(self, method: str) -> str:
        return NAMES[method].format(student=load.slug(self.student), votes=self.told.evaluate.base_votes)

    @property
    def title(self) -> str:
        by = "" if self.log is None else f" from debates of {load.slug(self.teacher)}"
        return f"{load.slug(self.student)}, {self.name(self.method)}{by}"


def collect(
    files: study.Files,
    data: Data,
    told: params.Params,
    teacher: str,
    student: str,
    method: str,
    seed: int,
    rows: pd.DataFrame,
    log: pd.DataFrame | None,
    counts: dict[str, int],
) -> Made:
    """Made, with what the checkpoint says of its training."""
    checkpoint = files.checkpoint(teacher, student, method, data.task, seed)
    training, manifest = (
        json.loads(path.read_text()) for path in (checkpoint / "training.json", store.manifest_path(checkpoint))
    )
    base = rows[rows.method == "base"]
    votes = group.base_majority(
        base, data.task, {key: base[key].iloc[0] for key in tables.KEYS} | {"method": "base_majority"}
    )
    return Made(
        data,
        told,
        teacher,
        student,
        method,
        seed,
        pd.concat([rows, votes], ignore_index=True),
        log,
        counts,
        training,
        manifest,
    )


def verdict(made: Made) -> str:
    """The main finding as a sentence or two."""
    main = tables.main_results(made.rows).set_index("method").accuracy
    found = made.paired.set_index("against").loc["base"]
    said = {
        "better": "it is better than before",
        "worse": "it is worse than before",
        "no difference detectable": "no difference from before can be told",
    }[found.verdict]
    more = (
        ""
        if found.verdict != "no difference detectable"
        else (
            " So few problems could show none."
            if found.smallest_detectable > 1
            else f" A true difference of {100 * found.smallest_detectable:.0f} points would be found in four of five such tests."
        )
    )
    rows = tables.headline(made.rows)
    unread = rows.answer_flexible.isna().groupby(rows.method).mean()
    if unread["base"] > unread[made.method]:
        more += (
            f" Before, no answer could be read in {100 * unread['base']:.0f} % of the replies, now in {100 * unread[made.method]:.0f} %: "
            "what was learnt may be the form of an answer."
        )
    corrected = f", corrected for {len(made.comparisons)} comparisons" if len(made.comparisons) > 1 else ""
    return (
        f"On {found.n} held-out problems the student answers {100 * main[made.method]:.1f} % right, {100 * main['base']:.1f} % before: {said} "
        f"(difference {_points(found)} points, p = {found.p_holm:.2g} by McNemar's exact test{corrected}).{more}"
    )


def _points(row) -> str:
    return f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"


def accuracies(made: Made) -> pd.DataFrame:
    """Who is how often right on the held-out problems, in %."""
    level = made.told.stats.level
    main, rows = tables.main_results(made.rows, level), tables.headline(made.rows)
    of = {method: part for method, part in rows.groupby("method")}
    return pd.DataFrame(
        [
            {
                "who": made.name(r.method),
                "n": r.n,
                f"right, {100 * level:g} % interval": f"{100 * r.accuracy:.1f} [{100 * r.ci_low:.1f}, {100 * r.ci_high:.1f}]",
                "no answer found": f"{100 * of[r.method].answer_flexible.isna().mean():.1f}",
                "cut off": f"{100 * (of[r.method].finish == 'length').mean():.1f}",
            }
            for r in main.itertuples()
        ]
    )


def compared(made: Made) -> pd.DataFrame:
    """The student against itself before, on the same problems."""
    return pd.DataFrame(
        [
            {
                "against": made.name(r.against),
                "n": r.n,
                "difference in points, 95 % interval": _points(r),
                "p (Holm)": f"{r.p_holm:.2g}",
                "verdict": r.verdict,
                "smallest detectable": f"{100 * r.smallest_detectable:.1f}" if r.smallest_detectable <= 1 else "none",
            }
            for r in made.paired.itertuples()
        ]
    )


def dropped(made: Made) -> pd.DataFrame:
    """Everything that was there and what of it was not used, with the reason; less what only the study's controls need."""
    data = made.data
    found = {what: n for what, n in made.counts.items() if not what.startswith(CONTROLS)}
    counts = {
        "rows given": data.rows,
        **{f"not used: {reason}": n for reason, n in data.dropped.items()},
        **{f"{split} problems": n for split, n in data.sizes.items()},
        f"training questions that share {WORDS} words in a row with a held-out one": data.overlap,
        **found,
    }
    if "dropped" in made.training:
        counts |= {
            "training examples": made.training["examples"],
            "training examples not used: longer than distill.max_length": made.training["dropped"],
        }
    return pd.DataFrame({"what": counts.keys(), "n": counts.values()})


def facts(made: Made) -> pd.DataFrame:
    """Who, from what, on what machine."""
    told = {"method": made.method, "seed": made.seed}
    if made.log is not None:
        told["teacher"] = f"{made.teacher} ({load.revision(made.teacher)})"
    told |= {
        "student": f"{made.student} ({load.revision(made.student)})",
        **{f"sha256 of {name}": digest for name, digest in made.data.files.items()},
        "trained": made.manifest["made"],
        "seconds of training": made.manifest["seconds"],
        "peak memory, MB": made.manifest["peak_memory_mb"],
        "parameters trained": f"{made.training['parameters_trained']:,}",
        "machine": made.manifest["machine"],
        "Python": made.manifest["python"],
        **made.manifest["versions"],
    }
    return pd.DataFrame({"what": told.keys(), "": map(str, told.values())})


def settings(made: Made) -> str:
    """The params sections that the run used, as YAML."""
    ways = ("prm", "rl") if made.method in params.RL_METHODS else ("distill",)
    used = ("engine", *(("debate", "extract", "judges") if made.log is not None else ()), *ways, "evaluate", "stats")
    return yaml.safe_dump(
        {name: getattr(made.told, name).model_dump(exclude_none=name == "engine") for name in used}, sort_keys=False
    )


def licence(name: str) -> str:
    """What is known of a network's licence."""
    if name.startswith("zoo/"):
        return "Apache-2.0 (of the mini zoo)"
    if known := registry.find(name):
        return known.licence
    return (
        f"not known here: see https://huggingface.co/{name}"
        if load.on_hub(name)
        else "not known here: a folder of yours"
    )


def licences(made: Made) -> pd.DataFrame:
    """Of every network that had a part in it."""
    judges = (
        {}
        if made.log is None
        else {name: getattr(made.told.judges, name) for name in ("verifier", "diversity", "distiller")}
    )
    who = {"student": made.student} | ({} if made.log is None else {"teacher": made.teacher})
    who |= {role: ask.model for role, ask in judges.items() if ask}
    return pd.DataFrame([{"": role, "model": name, "licence": licence(name)} for role, name in who.items()])


def card(made: Made, adapter: bool) -> str:
    """The model card.  `adapter`: whether the folder holds a LoRA adapter rather than a whole network."""
    is_free = licence(made.student).startswith("Apache-2.0")
    about = {
        "license": "apache-2.0" if is_free else "other" if registry.find(made.student) else "unknown",
        "library_name": "peft" if adapter else "transformers",
        "tags": ["agentark", made.method],
    }
    if about["license"] == "other":
        about["license_name"] = licence(made.student)
    if (known := registry.find(made.student)) or load.on_hub(made.student):
        about["base_model"] = known.hub if known else made.student
    instruction = tasks.get(made.data.task).instruction
    lines = [
        "---",
        yaml.safe_dump(about, sort_keys=False).strip(),
        "---",
        f"# {made.title}",
        "",
        "Made by `agentark distill`, after AgentArk (arXiv 2602.03955): agents debate, right traces are kept, a student learns from them.",
        "",
        f"**{verdict(made)}**",
        "",
        "## Use",
        "",
        "```python",
        "from agentark.models import load",
        'model, tokenizer = load.load("FOLDER")  # this one',
        "```",
        "",
        f"It was taught to answer a question that is followed by an empty line and: *{instruction}*",
        "",
        "## Accuracy on held-out problems, in %",
        "",
        _markdown(accuracies(made)),
        "",
        "On the same problems, item by item:",
        "",
        _markdown(compared(made)),
        "",
        "## Data, and what was not used",
        "",
        _markdown(dropped(made)),
        "",
        "## Licences",
        "",
        _markdown(licences(made)),
        "",
        LICENCES,
        "",
        "## How it was made",
        "",
        _markdown(facts(made)),
        "",
        "```yaml",
        settings(made).strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _markdown(frame: pd.DataFrame) -> str:
    def cell(value) -> str:
        return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    rows = [frame.columns, ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)


def report(made: Made) -> str:
    """The report as HTML."""
    from agentark.report import curves, figures, page

    main = tables.main_results(made.rows, made.told.stats.level).assign(test="held-out problems")
    learnt = curves.reward_and_truth if "log" in made.training else curves.training_loss
    parts = {
        "Accuracy on held-out problems, in %": page.table(accuracies(made))
        + page.picture(
            figures.by_method(main, made.told.stats.level), "accuracy with intervals, as in the table above"
        ),
        "On the same problems, item by item": page.table(compared(made))
        + page.text("Where the student's answer is no longer what it was:")
        + page.table(changed(made)),
        "Data, and what was not used": page.table(dropped(made)),
    }
    if made.log is not None:
        questions = {p.id: p.question for p in tasks.problems(made.data.task, "train", made.data.sizes["train"])}
        rounds = group.rounds(made.log, made.data.task)[ROUNDS].round(3)
        parts["The teacher's debate of the training problems"] = page.table(rounds) + page.debates(made.log, questions)
    parts |= {
        "Training": page.picture(
            learnt({load.slug(made.student): made.training}), "the training's course, step by step"
        ),
        "Licences": page.table(licences(made)) + page.text(LICENCES),
        "How it was made": page.table(facts(made)) + page.listing(settings(made)),
    }
    return page.page(made.title, verdict(made), parts)


def changed(made: Made) -> pd.DataFrame:
    """Held-out problems that became right, then those that became wrong: at most SHOWN in all, half of each where there are as many."""
    rows = tables.headline(made.rows)
    questions = {p.id: p.question for p in tasks.problems(made.data.task, "test", made.data.sizes["test"])}
    before, after = (rows[rows.method == method].set_index("item") for method in ("base", made.method))
    both = pd.DataFrame(
        {
            "question": pd.Series(questions),
            "right answer": after.gold,
            "before": before.answer_flexible,
            "after": after.answer_flexible,
        }
    )
    was, now = before.correct_flexible.loc[both.index], after.correct_flexible.loc[both.index]
    won, lost = (both[now & ~was].assign(now="right"), both[was & ~now].assign(now="wrong"))
    return pd.concat([won.head(max(SHOWN // 2, SHOWN - len(lost))), lost.head(max(SHOWN // 2, SHOWN - len(won)))])
