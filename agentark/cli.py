"""The command line: `agentark plan | run | report | distill`."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

from . import notebook, params, store, study
from . import plan as costs
from .distill.data import DistillError
from .engines import EngineError
from .models.load import ModelError


def _snakemake(path: Path, limit: int, teachers: list[str], *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(store.ROOT / "Snakefile"),
        "--directory",
        str(store.ROOT),
        "--config",
        f"params={os.path.abspath(path)}",
        f"limit={limit}",
        f"teachers={','.join(teachers)}",
        *more,
    ]


def _pending(path: Path, limit: int, teachers: list[str]) -> set[str]:
    """The outputs that Snakemake would make anew."""
    done = subprocess.run(
        _snakemake(path, limit, teachers, "--summary", "--cores", "1"), capture_output=True, text=True
    )
    if done.returncode:
        raise params.ParamsError(f"Snakemake cannot read the study:\n{done.stderr.strip()[-2000:]}")
    table = csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    return {row["output_file"] for row in table if row["plan"] != "no update"}


def plan(path: Path, cores: int, limit: int | None, teachers: list[str]) -> None:
    """Print, before anything runs: the runs, which are done, and what they take."""
    told, at, jobs = _study(path, limit, teachers)
    print(costs.text(told, at, jobs, _pending(path, at.limit, teachers), cores))


def _study(
    path: Path, limit: int | None, teachers: list[str]
) -> tuple[params.Params, params.Coordinates, list[study.Job]]:
    told, at = params.load(path)
    told = study.of_teachers(told, teachers)
    if told.study.name != path.stem:
        raise params.ParamsError(
            f"{path}: study.name is {told.study.name!r}; it must be the file's name, {path.stem!r}: results lie under it"
        )
    notebook.check_names(told, at)
    if limit is not None:
        at = at.model_copy(update={"limit": limit})
    return told, at, study.jobs(told, at)


def run(path: Path, cores: int, limit: int | None, teachers: list[str], more: list[str]) -> int:
    """Run what is not done yet of a study (of some of its teachers only, where they are named), then report.  Returns the exit status."""
    told, at, jobs = _study(path, limit, teachers)
    executor = more if any(m.startswith("--executor") for m in more) else [*more, "--cores", str(cores)]
    if not _pending(path, at.limit, teachers):
        print(f"{path}: nothing to be done, all {len(jobs)} notebook runs are up to date")
    else:
        _unlock(path, at.limit, teachers)
        try:
            done = subprocess.run(
                _snakemake(
                    path,
                    at.limit,
                    teachers,
                    "--keep-incomplete",
                    "--rerun-incomplete",
                    "--quiet",
                    "host",
                    "progress",
                    "reason",
                    "rules",
                    *executor,
                )
            )
        except KeyboardInterrupt:
            print("\ninterrupted: finished chunks are kept; the same command goes on from there", file=sys.stderr)
            return 130
        finally:
            (store.ROOT / ".snakemake" / "agentark.pid").unlink(
                missing_ok=True
            )  # its number may be another program's tomorrow
        if done.returncode:
            print(
                "some notebook runs did not finish (above); finished chunks are kept, the same command goes on from there",
                file=sys.stderr,
            )
            return done.returncode
    if not {"-n", "--dry-run", "--dryrun"} & set(more):
        report(path, limit)
    return 0


def _unlock(path: Path, limit: int, teachers: list[str]) -> None:
    """Take away Snakemake's lock where the run that left it is dead.  StoreError where it is alive: two runs would write the same files."""
    owner = store.ROOT / ".snakemake" / "agentark.pid"
    if owner.exists() and (pid := int(owner.read_text() or 0)) != os.getpid() and _alive(pid):
        raise store.StoreError(f"another run is at work here (process {pid}): wait for it, or stop it")
    if any((store.ROOT / ".snakemake" / "locks").glob("*")):
        subprocess.run(_snakemake(path, limit, teachers, "--unlock", "--cores", "1"), capture_output=True)
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(str(os.getpid()))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def report(path: Path, limit: int | None) -> None:
    """Print the main table, its comparison with the committed reference, and where everything lies."""
    import pandas as pd

    from .report import tables

    told, at = params.load(path)
    name = study.output_name(told.study.name, at.limit if limit is None else limit)
    ours, theirs = (
        store.ROOT / "results" / part / "main_results.csv" for part in (name, f"reference/{told.study.name}")
    )
    if not ours.exists():
        raise store.StoreError(f"there is no {ours}: run `agentark run {path}` first")
    main = pd.read_csv(ours)
    shown = main.assign(
        result=[f"{100 * r.accuracy:5.1f} [{100 * r.ci_low:.1f}, {100 * r.ci_high:.1f}]" for r in main.itertuples()]
    )
    print("\nAccuracy in %, with 95 % intervals\n")
    print(shown[["student", "method", "train", "test", "seed", "n", "result"]].to_string(index=False))
    if theirs.exists():
        both = tables.compare(main, pd.read_csv(theirs))
        paired = both[both.side == "both"]
        print(
            f"\nAgainst the committed reference: {len(paired)} cells in both, {int(paired.inside.sum())} reference values inside our "
            f"interval; largest difference {100 * paired.difference.abs().max():.1f} points; {len(both) - len(paired)} cells on one side only"
        )
    else:
        print(f"\nThere is no committed reference for {told.study.name}.")
    print(
        f"\ntables              results/{name}/*.csv\nrows                results/{name}/rows.parquet\n"
        f"figures             figures/{name}/\nexecuted notebooks  results/{name}/notebooks/"
    )


def distill(told: argparse.Namespace) -> int:
    """Teach a student on somebody's own questions, and say what came of it.  Returns the exit status."""
    from .own import stage

    path = told.params or stage.default_params(told.teacher, told.student)
    try:
        student = stage.run(
            params.load(path)[0],
            train=told.train,
            test=told.test,
            teacher=told.teacher,
            student=told.student,
            method=told.method,
            out=told.out,
            limit=told.limit,
            seed=told.seed,
        )
    except KeyboardInterrupt:
        print("\ninterrupted: finished chunks are kept; the same command goes on from there", file=sys.stderr)
        return 130
    print(
        f"{stage.summary(student.parent)}\n\nstudent     {student}\nmodel card  {student.parent / stage.CARD}\nreport      {student.parent / stage.REPORT}"
    )
    return 0


def _whole(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, not {text!r}")
    return int(text)


def _own_data(commands) -> None:
    """The options of `agentark distill`."""
    command = commands.add_parser(
        "distill", help="teach a student on your own questions: debate, extract, distil, evaluate, report"
    )
    command.add_argument(
        "--train",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSONL: rows of question and answer; optional id, split (train, dev, test), solution",
    )
    command.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="held-out rows (default: those of --train named test, else a tenth of it)",
    )
    for role in ("teacher", "student"):
        command.add_argument(
            f"--{role}",
            required=True,
            metavar="MODEL",
            help="zoo/NAME, a name of the registry, a folder, or a repository of the hub",
        )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where all is written; the same command goes on there"
    )
    command.add_argument(
        "--method",
        default="rsft",
        choices=("rsft", "da", "sft", "pad"),
        help="default rsft; sft learns the answers alone, without a debate",
    )
    command.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="a params file; its study and sizes are not used (default: the tier of these networks)",
    )
    command.add_argument("--limit", type=_whole, default=0, metavar="N", help="only the first N rows of each split")
    command.add_argument("--seed", type=_whole, default=0)


def main(argv: list[str] | None = None) -> int:
    """The program.  Returns 0, 2 for what cannot be as told, or Snakemake's status."""
    parser = argparse.ArgumentParser(prog="agentark", description="The compendium of AgentArk (arXiv 2602.03955).")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("plan", "what a run would do, what is done, and what it costs"),
        ("run", "run what is not done yet; other options go to Snakemake"),
        ("report", "the main table and its comparison with the reference"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("params", type=Path, help="a params file, such as params/mini.yaml")
        command.add_argument("--limit", type=int, help="use only the first so many problems of each set")
        command.add_argument(
            "--teacher",
            action="append",
            default=[],
            dest="teachers",
            metavar="NAME",
            help="only this teacher of the study; may be given again",
        )
        command.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    _own_data(commands)
    told, more = parser.parse_known_args(argv)
    if more and told.command != "run":
        parser.error(f"{told.command} does not know {' '.join(more)}")
    try:
        if told.command == "plan":
            plan(told.params, told.cores, told.limit, told.teachers)
        elif told.command == "run":
            return run(told.params, told.cores, told.limit, told.teachers, more)
        elif told.command == "distill":
            return distill(told)
        else:
            report(told.params, told.limit)
    except (params.ParamsError, store.StoreError, ModelError, EngineError, DistillError) as error:
        print(f"agentark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
