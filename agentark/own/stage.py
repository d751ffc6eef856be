"""`agentark distill`: debate, extract, distil, evaluate and report on your own questions.

Nothing is done here that the study does not do: the stages are its own, on `study.Files` below the folder that was named, so that what is
there is read, and a killed run goes on where it stopped.  What lies in the folder at the end:

    README.md            the model card
    report.html          the report, one file
    model/               the student: an adapter or a checkpoint (safetensors), tokenizer, card; hard links to `students/` where the disk has them
    data/                the questions as they were used
    debates/ traces/ students/ predictions/ …   the stages' tables with their manifests
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from agentark import cells, pad, params, store, study, tasks
from agentark.distill.data import DistillError
from agentark.extract import label
from agentark.extract import stage as extract
from agentark.extract.decontaminate import overlaps
from agentark.extract.verify import verify
from agentark.mas import stage as debate
from agentark.models import load, registry
from agentark.source import source_hash

from . import card
from .data import Data, prepare, write

METHODS = ("rsft", "da", "sft", "pad")
CARD, REPORT, MODEL = "README.md", "report.html", "model"
LEFT_OUT = "problems left out: overlap with a test set"


def default_params(teacher: str, student: str) -> Path:
    """The params file of networks of their kind: the mini zoo's, SmolLM2's, else the one for real ones on a GPU."""
    real = {
        known.hub if (known := registry.find(name)) else name
        for name in (teacher, student)
        if not name.startswith("zoo/")
    }
    tier = "mini" if not real else "smollm2" if real == {registry.find("smollm2-135m").hub} else "qwen3"
    return store.ROOT / "params" / f"{tier}.yaml"


def run(
    told: params.Params,
    *,
    train: Path,
    teacher: str,
    student: str,
    out: Path,
    method: str = "rsft",
    test: Path | None = None,
    limit: int = 0,
    seed: int = 0,
) -> Path:
    """Teach `student` by `method` (one of METHODS) what `teacher` says in debates of the questions in `train`; everything lies under `out`.

    train, test: JSONL files (see `data.prepare` for how held-out problems are chosen).  Of `told`, the sections `study` and `sizes` are not used: the
    arguments say it.  `sft` learns the answers alone and needs no debate.  Returns the folder of the student.  Raises, before any network is
    loaded, ParamsError for files or params that cannot be, ModelError for networks that cannot be had, StoreError for a folder that cannot
    be written to or in which another run is at work.
    """
    out, train, test = Path(out).resolve(), Path(train), Path(test) if test else None
    teacher, student = map(full_name, (teacher, student))
    if method not in METHODS:
        raise params.ParamsError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    if told.engine.name == "openai":
        raise params.ParamsError(
            "engine.name = openai cannot ask the student that is made here: no server has it; take transformers or vllm"
        )
    if (out / CARD).exists() and not (out / "predictions").is_dir():
        raise store.StoreError(f"{out} has a {CARD} that is not of this program: name another --out")
    for ask in (told.judges.verifier, told.judges.diversity, told.judges.distiller):
        if ask and (ask.engine or told.engine).name != "openai":
            load.check_name(ask.model)
    data = prepare(train, test, out, limit, told.stats.level)
    if method == "pad":
        _check_pad(data.sizes, told.rl, train)
    with _alone(out):
        return _make(
            study.Files(out), data, _study(told, data, teacher, student, method, seed), teacher, student, method, seed
        )


def _make(
    files: study.Files, data: Data, told: params.Params, teacher: str, student: str, method: str, seed: int
) -> Path:
    """The stages, one after the other; a finished one is read."""
    task, n, test_n = data.task, data.sizes["train"], data.sizes["test"]
    checkpoint = files.checkpoint(teacher, student, method, task, seed)
    print(
        f"{data.rows} rows: {n} train, {data.sizes['dev']} dev, {test_n} held out, {sum(data.dropped.values())} not used",
        file=sys.stderr,
    )
    if not store.manifest_path(checkpoint).exists():
        for name in dict.fromkeys((student,) if method == "sft" else (teacher, student)):
            load.load_tokenizer(name)  # a network that cannot be had is said before hours of debate
    at = {"teacher": teacher, "students": [student], "task": task, "train_n": n, "tests": {task: test_n}, "seed": seed}
    overlapping = overlaps(task, n, {task: test_n}, told.extract.decontaminate_words)
    if len(overlapping) == n:
        raise DistillError(
            f"every training question shares {told.extract.decontaminate_words} words in a row with a held-out one, and is left out: "
            "where your questions are all of one form, say extract.decontaminate_words: 0"
        )
    if method == "sft":  # what is learnt are the answers, of the problems that this table names
        log, counts, traces_id, made_of = None, {LEFT_OUT: len(overlapping)}, store.digest(sorted(overlapping)), []
        traces = pd.DataFrame({"problem": [p.id for p in tasks.problems(task, "train", n) if p.id not in overlapping]})
    else:
        debates, path = files.debates(teacher, task, "train", "debate", seed), files.traces(teacher, task, seed)
        log = debate.run(
            debates,
            model=teacher,
            task=task,
            split="train",
            n=n,
            protocol="debate",
            seed=seed,
            told=told.debate,
            engine=told.engine,
        )
        traces, counts = extract.run(
            path,
            log,
            log_id=store.identity(debates),
            task=task,
            split="train",
            seed=seed,
            told=told.extract,
            wording=told.debate.wording,
            overlapping=overlapping,
            judges=told.judges,
            engine=told.engine,
        )
        _check_traces(counts, method)
        traces_id, made_of = store.identity(path), [debates, path]
    base = cells.base(files, told, students=[student], tests={task: test_n}, seed=seed)
    if method == "pad":
        first = [cells.taught(files, told, traces, traces_id, method="rsft", **at)[0]] if told.rl.init == "rsft" else []
        steps = files.steps(teacher, task, seed)
        labelled = label.run(
            steps,
            log,
            log_id=store.identity(debates),
            teacher=teacher,
            task=task,
            split="train",
            seed=seed,
            told=told,
            overlapping=overlapping,
        )
        taught, _ = pad.taught(
            files, told, labelled, store.identity(steps), method="pad", dev_n=data.sizes["dev"], **at
        )
    else:
        first = []
        taught, _ = cells.taught(files, told, traces, traces_id, method=method, **at)
    rows = pd.concat([base, *first, taught], ignore_index=True)
    made_of += [
        checkpoint,
        *(
            files.predictions(*who, task, seed)
            for who in (("-", student, "base", "-"), (teacher, student, method, task))
        ),
    ]
    about = {
        "stage": "own",
        "source": source_hash(__name__),
        "teacher": None if method == "sft" else teacher,
        "student": student,
        "method": method,
        "seed": seed,
        "files": data.files,
        "made_of": store.digest([store.identity(path) for path in made_of]),
        "stats": told.stats.model_dump(),
    }
    if all((files.root / name).exists() for name in (MODEL, REPORT)) and store.is_done(files.root / CARD, about):
        print(f"nothing to be done: all of {files.root} is there", file=sys.stderr)
    else:
        verified = verify(log, task, "train") if log is not None else None
        _publish(
            files.root,
            checkpoint,
            card.collect(files, data, told, teacher, student, method, seed, rows, verified, counts),
            about,
        )
    return files.root / MODEL


def _publish(out: Path, checkpoint: Path, made: card.Made, about: dict) -> None:
    """Write the student's folder, the report and, last, the card with its manifest."""
    started, part = time.time(), out / f"{MODEL}.part"
    text = card.card(made, (checkpoint / "adapter_config.json").exists())
    shutil.rmtree(part, ignore_errors=True)
    try:
        # training_args.bin is a pickle of the trainer's: it is nothing to hand on
        shutil.copytree(checkpoint, part, copy_function=_link, ignore=shutil.ignore_patterns("*.bin", CARD))
        write(part / CARD, text)
        shutil.rmtree(out / MODEL, ignore_errors=True)
        part.rename(out / MODEL)
    except (OSError, shutil.Error) as error:
        raise store.StoreError(f"cannot write {out / MODEL} ({error}): make room and run again") from error
    write(out / REPORT, card.report(made))
    write(out / CARD, text)
    store.write_manifest(out / CARD, about, started)


def _link(source: str, target: str) -> None:
    """A second name for a file, or a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def summary(out: Path) -> str:
    """The card's main finding, as it stands in the folder of a finished run."""
    return next(
        line.strip("*") for line in (out / CARD).read_text(encoding="utf-8").splitlines() if line.startswith("**")
    )


def full_name(name: str) -> str:
    """A network's name that means the same from any folder and outside of this program: the hub id of the registry's, a folder's whole path.

    Raises ModelError as `load.check_name` does.
    """
    load.check_name(name)
    known = registry.find(name)
    if known:
        return known.hub if known.source == "hub" else name
    return str(Path(name).resolve()) if not load.on_hub(name) and not name.startswith("zoo/") else name


def _study(told: params.Params, data: Data, teacher: str, student: str, method: str, seed: int) -> params.Params:
    """The params with the study that these arguments are."""
    methods = ["rsft", "pad"] if method == "pad" and told.rl.init == "rsft" else [method]
    of = params.Study(
        name="own",
        teachers=[teacher],
        students=[student],
        train_tasks=[data.task],
        test_tasks=[data.task],
        methods=methods,
        seeds=[seed],
        grain="cell",
    )
    return told.model_copy(update={"study": of, "sizes": told.sizes.model_copy(update={**data.sizes, "tasks": {}})})


def _check_pad(sizes: dict[str, int], rl: params.Rl, train: Path) -> None:
    if not sizes["dev"]:
        raise params.ParamsError(
            f'{train} has no dev rows, on which PAD watches the true accuracy: name some "dev", '
            "or give more rows without a split"
        )
    if sizes["train"] < rl.prompts_per_step:
        raise params.ParamsError(
            f"{train} has {sizes['train']} training rows, and rl.prompts_per_step = {rl.prompts_per_step}: "
            "add rows, or lower it"
        )


def _check_traces(counts: dict[str, int], method: str) -> None:
    """DistillError, with what became of the traces, where there is nothing to learn from."""
    if not counts["DA traces" if method == "da" else "R-SFT traces"]:
        lost = ", ".join(
            f"{n} {what.split(': ')[1]}" for what, n in counts.items() if what.startswith("final traces dropped")
        )
        is_one = method == "da" and counts["correct final traces (T)"]
        need = "no problem has two right traces, which DA needs" if is_one else "no trace is right"
        raise DistillError(
            f"the debate left nothing to learn from: {need} ({counts['final traces']} traces of {counts['problems (Q)']} problems: {lost}); "
            "take a better teacher, easier questions or longer replies (debate.max_new_tokens)"
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One run at a time in a folder; the lock goes with its process."""
    try:
        file = open(out / ".lock", "w")
    except OSError as error:
        raise store.StoreError(f"cannot write to {out} ({error.strerror}): name another --out") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise store.StoreError(
                f"another agentark distill is at work in {out}: wait for it, or name another --out"
            ) from None
        yield
