"""`agentark distill`: debate, extract, distil, evaluate and report on your own questions.

The stages are those of the study, on `Files` in the output folder, so that finished stages are read from there
and a killed run resumes.  The folder finally contains:

    README.md    the model card
    report.html  the report, one file
    model/       the student: adapter or checkpoint (safetensors), tokenizer and card, as hard links to `students/`
    data/        the questions in the form in which they were used
    debates/ traces/ students/ predictions/ …   the tables of the stages with their manifests
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill.artifacts import STUDENTS
from agentark.distill.data import DistillError
from agentark.evaluate import students
from agentark.evaluate.jobs import PREDICTIONS
from agentark.extract import label
from agentark.extract import traces as extraction
from agentark.extract.decontaminate import overlaps
from agentark.extract.jobs import STEPS, TRACES
from agentark.grade import grading
from agentark.graph.job import Sizes
from agentark.graph.source import source_hash
from agentark.mas import generation
from agentark.mas.jobs import DEBATES
from agentark.models import load, registry
from agentark.models.modules import check_targets
from agentark.tasks import jsonl

from . import findings
from .data import Data, gather, leave_out, write_copy
from .lengths import too_long
from .publish import CARD, MODEL, REPORT, lock, publish

METHODS = ("rsft", "da", "sft", "pad")
LEFT_OUT = "problems left out: overlap with a test set"


def default_params(teacher: str, student: str) -> Path:
    """Return the params file for the networks: that of the mini zoo, of SmolLM2, or else of large networks on a GPU."""
    large = [name for name in (teacher, student) if not name.startswith("zoo/")]
    hub_names = {entry.hub if (entry := registry.find(name)) else name for name in (*large, "smollm2-135m")}
    tier = "mini" if not large else "smollm2" if len(hub_names) == 1 else "qwen3"
    return store.ROOT / "params" / f"{tier}.yaml"


def run(
    config: params.Params,
    *,
    train: str,
    teacher: str,
    student: str,
    out: Path,
    method: str = "rsft",
    test: str | None = None,
    limit: int = 0,
    seed: int = 0,
) -> Path:
    """Train `student` by `method` on debates of `teacher` about the questions in `train`, in the folder `out`.

    train, test: files or datasets (see `tasks.question_files.read`, and `data.gather` for the choice of held-out
    problems); bad rows and those that are too long for the networks are left out and reported on stderr.  The arguments
    replace the sections `study` and `sizes` of `config`.  `sft` learns the answers only and needs no debate.  Returns
    the folder of the student.  Before the weights of a network are loaded, raises ParamsError for invalid files or
    params, ModelError for networks that are not available, and StoreError for a folder that is not writable or in use
    by another run.
    """
    out = Path(out).resolve()
    student, teacher = full_name(student), teacher if config.teacher_engine.serves else full_name(teacher)
    if method not in METHODS:
        raise params.ParamsError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if config.engine.serves:
        reason = "engine.name = openai cannot run the new student, which no server has"
        raise params.ParamsError(f"{reason}: set it to transformers or vllm; a teacher on a server is debate.engine")
    if (out / CARD).exists() and not (out / "predictions").is_dir():
        raise store.StoreError(f"{out} has a {CARD} that this program did not write: choose another --out")
    for judge in config.judges.named():
        if not (judge.engine or config.engine).serves:
            load.check_name(judge.model)
    if config.distill.lora:
        check_targets(student, config.distill.lora.target_modules)
    questions = gather(train, test, limit, config.stats.level)
    if method == "pad":
        _check_pad(questions.sizes, config.rl, train)
    with lock(out):
        debating = None if method == "sft" or config.teacher_engine.serves else teacher
        leave_out(questions, too_long(jsonl.of(train), debating, student, config, method == "pad"), config.stats.level)
        if method == "pad":
            _check_pad(questions.sizes, config.rl, train)
        data = write_copy(questions, out)
        cell = Cell(teacher, student, method, train=data.task, protocol="debate", seed=seed)
        return _run_stages(Files(out), data, _with_study(config, data, cell), cell)


def _run_stages(files: Files, data: Data, config: params.Params, cell: Cell) -> Path:
    """Run the stages one after the other; finished ones are read.  Returns the folder of the student."""
    task, method = data.task, cell.method
    sizes = Sizes(data.sizes["train"], data.sizes["dev"], {task: data.sizes["test"]})
    student, checkpoint = cell.student, files.path(STUDENTS, cell)
    print(data.report(), file=sys.stderr)
    if not store.manifest_path(checkpoint).exists():
        teachers = [] if method == "sft" or config.teacher_engine.serves else [cell.teacher]
        for name in dict.fromkeys((*teachers, student)):
            load.load_tokenizer(name)  # a network that is not available is reported before hours of debate
        if method != "sft":
            engines.check_served(config.served())
    overlapping = overlaps(task, sizes.train, sizes.tests, config.extract.decontaminate_words)
    if len(overlapping) == sizes.train:
        raise DistillError(
            f"every training question shares {config.extract.decontaminate_words} words in a row with a held-out one, "
            "and is left out: if your questions are all of one form, set extract.decontaminate_words: 0"
        )
    log, log_id, inputs = None, "", []
    if method == "sft":  # it learns the answers of the problems that this table names
        kept = [p.id for p in tasks.problems(task, "train", sizes.train) if p.id not in overlapping]
        counts = {LEFT_OUT: len(overlapping)}
        learned_from = pd.DataFrame({"problem": kept}), store.digest(sorted(overlapping))
    else:
        debates, path = files.path(DEBATES, cell), files.path(TRACES, cell)
        generation.run(debates, cell, sizes.train, config.debate, config.engine)
        log, log_id = grading.run(debates), grading.identity(debates)
        traces, counts = extraction.run(path, log, log_id, cell, config, overlapping)
        _report_unread(counts, config.judges, path)
        _check_traces(counts, method)
        learned_from, inputs = (traces, store.identity(path)), [debates, path]
    rows = [students.untrained(files, config, cell, [student], sizes)]
    if method == "pad" and log is not None:
        if config.rl.init == "rsft":
            first = cell.but(method="rsft")
            rows.append(students.train_and_evaluate(files, config, first, [student], learned_from, sizes)[0])
        steps = files.path(STEPS, cell)
        learned_from = label.run(steps, log, log_id, cell, config, overlapping), store.identity(steps)
    rows.append(students.train_and_evaluate(files, config, cell, [student], learned_from, sizes)[0])
    base = Cell(student=student, method="base", seed=cell.seed)
    answers = [files.path(PREDICTIONS, each.but(test=task, split="test")) for each in (base, cell)]
    digest = store.digest([store.identity(path) for path in (*inputs, checkpoint, *answers)])
    about: dict[str, Any] = {"stage": "own", "source": source_hash(__name__), "student": student, "method": method}
    about |= {"teacher": None if method == "sft" else cell.teacher, "seed": cell.seed, "files": data.files}
    about |= {"inputs": digest, "stats": config.stats.model_dump()}
    if all((files.root / name).exists() for name in (MODEL, REPORT)) and store.is_done(files.root / CARD, about):
        print(f"nothing to do: {files.root} is complete", file=sys.stderr)
    else:
        answered = pd.concat(rows, ignore_index=True)
        publish(files.root, checkpoint, findings.collect(files, data, config, cell, answered, log, counts), about)
    return files.root / MODEL


def summary(out: Path) -> str:
    """Return the main finding from the card in the folder of a finished run."""
    lines = (out / CARD).read_text(encoding="utf-8").splitlines()
    return next(line.strip("*") for line in lines if line.startswith("**"))


def full_name(name: str) -> str:
    """Return a name of a network that is valid in any folder and program: its id on the hub, or an absolute path.

    Raises ModelError for an unknown name.
    """
    load.check_name(name)
    if entry := registry.find(name):
        return entry.hub if entry.source == "hub" else name
    return str(Path(name).resolve()) if not load.on_hub(name) and not name.startswith("zoo/") else name


def _with_study(config: params.Params, data: Data, cell: Cell) -> params.Params:
    """Return the params with the study and the sizes of this run."""
    methods = ["rsft", "pad"] if cell.method == "pad" and config.rl.init == "rsft" else [cell.method]
    networks = {"teachers": [cell.teacher], "students": [cell.student]}
    names = {"train_tasks": [data.task], "test_tasks": [data.task], "methods": methods, "seeds": [cell.seed]}
    study = params.Study.model_validate({"name": "own", "grain": "cell", **networks, **names})
    sizes = config.sizes.model_copy(update={**data.sizes, "tasks": {}})
    return config.model_copy(update={"study": study, "sizes": sizes})


def _check_pad(sizes: dict[str, int], rl: params.Rl, train: str) -> None:
    if not sizes["dev"]:
        reason = f"{train} has no dev rows, on which PAD measures the true accuracy"
        raise params.ParamsError(f'{reason}: give some rows the split "dev", or add rows without a split')
    if sizes["train"] < rl.prompts_per_step:
        few = f"{sizes['train']} training rows, fewer than rl.prompts_per_step = {rl.prompts_per_step}"
        raise params.ParamsError(f"{train} has {few}: add rows, or lower the value")


def _report_unread(counts: dict[str, int], judges: params.Judges, traces: Path) -> None:
    """Print how many verdicts and choices of judges could not be read, and raise DistillError if no verdict could."""
    asked, unread = (counts.get(f"LLM verifier, different answers{what}", 0) for what in (" asked about", ": unparsed"))
    if unread and judges.verifier:
        verdicts = pd.read_parquet(traces.with_name(traces.stem + "_verdicts.parquet"))
        reply = verdicts[verdicts.verdict == "unparsed"].reply.iloc[0]
        found = f"{unread} of {asked} verdicts of the verifier {judges.verifier.model} could not be read"
        advice = "set judges.verifier.constrained: true, raise its max_new_tokens, or choose another model"
        sentence = f"{found}, and count as not verified (such as {reply[:200]!r}): {advice}"
        if unread == asked:
            raise DistillError(sentence)
        print(sentence, file=sys.stderr)
    unread = counts.get("LLM diversity judge, problems whose judge's reply could not be read", 0)
    if unread and judges.diversity:
        found = f"{unread} choices of the diversity judge {judges.diversity.model} could not be read"
        print(f"{found}; these problems have fewer traces", file=sys.stderr)


def _check_traces(counts: dict[str, int], method: str) -> None:
    """Raise DistillError, with the reasons for which traces were dropped, if there is nothing to learn from."""
    if not counts["DA traces" if method == "da" else "R-SFT traces"]:
        reasons = {name.split(": ")[1]: n for name, n in counts.items() if name.startswith("final traces dropped")}
        dropped = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
        lacks_pairs = method == "da" and counts["correct final traces (T)"]
        reason = "no problem has two right traces, which DA needs" if lacks_pairs else "no trace is right"
        advice = "use a better teacher, easier questions or longer replies (debate.max_new_tokens)"
        if unread := counts.get("LLM verifier, traces: unparsed", 0):
            reason += f", and the verifier's verdict on {unread} traces could not be read"
            advice = "first see that its verdicts can be read (judges.verifier)"
        raise DistillError(
            f"there is nothing to learn from the debate: {reason} ({counts['final traces']} traces of "
            f"{counts['problems (Q)']} problems: {dropped}); {advice}"
        )
