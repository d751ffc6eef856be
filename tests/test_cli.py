"""The command line and the graph of runs: what is recomputed, and one clear sentence for each mistake."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import papermill.engines  # noqa: F401  (loads our engine, which cannot be imported before it)
import pytest
import yaml

from agentark import cli, notebook, papermill_engine, params, plan, store, workflow
from agentark.cells import Cell
from agentark.extract.jobs import TRACES
from agentark.graph import graph
from agentark.models import load, names
from agentark.report import audit

MINI = store.ROOT / "params" / "mini.yaml"
ODD = 'a b  "c" it\'s $x #é; ü'


def config(**changes) -> params.Params:
    """The params of mini.yaml with two students, PAD, and other values: config(debate={"agents": 3})."""
    values = yaml.safe_load(MINI.read_text())
    values["study"] |= {"students": ["zoo/llama3-8b", "zoo/qwen3-0.6b"], "methods": ["sft", "rsft", "da", "pad"]}
    for section, keys in changes.items():
        values[section].update(keys)
    return params.check(values, "test")[0]


def keys(config: params.Params) -> dict[str, str]:
    """The key of each job, by its name."""
    return {job.name: graph.key(job, 0, load.revision) for job in graph.all_jobs(config, 0)}


def changed(**changes) -> set[str]:
    """The notebooks of which some job has another key after a change of the params."""
    before, after = keys(config()), keys(config(**changes))
    return {name.split("-")[0] for name in before if before[name] != after[name]}


def test_a_parameter_changes_only_the_jobs_that_depend_on_it():
    reports = {"08_main_results", "12_perplexity", "13_reasoning_quality", "18_debate_on_dev"}
    assert changed(stats={"resamples": 5}) == reports
    assert changed(stats={"level": 0.9}) == {name.split("-")[0] for name in keys(config())} - {
        "00_the_networks",
        "01_debate_generation",
        "02_filtering",
        "06_prm",
    }
    assert changed(extract={"max_traces": 2}) == {"02_filtering"}
    assert changed(distill={"epochs": 9}) == {"03_sft_baseline", "04_rsft", "05_da"}
    assert changed(debate={"temperature": 0.7}) == {"01_debate_generation"}
    assert changed(rl={"epsilon": 0.3}) == {"07_pad"}
    assert changed(prm={"tau": 0.2}) == {"06_prm", "07_pad"}


def test_the_untrained_students_do_not_depend_on_training():
    """Notebook 03 evaluates them, and trains others."""
    before, after = keys(config()), keys(config(distill={"epochs": 9}, rl={"epsilon": 0.3}, prm={"tau": 0.2}))
    assert before["03_sft_baseline-base"] == after["03_sft_baseline-base"]
    assert before["03_sft_baseline-qwen3-32b-sft-mini_gsm-s0"] != after["03_sft_baseline-qwen3-32b-sft-mini_gsm-s0"]


def test_one_teacher_of_a_study():
    whole = config(study={"teachers": ["zoo/qwen3-32b", "zoo/llama3-8b"]})
    one = graph.of_teachers(whole, ["zoo/llama3-8b"])
    assert one.study.teachers == ["zoo/llama3-8b"] and graph.of_teachers(whole, []) == whole
    selected = {name: key for name, key in keys(whole).items() if "-llama3-8b" in name}
    assert selected and selected.items() <= keys(one).items()
    with pytest.raises(
        params.ParamsError, match="the study mini has no teacher zoo/qwen; it has zoo/qwen3-32b, zoo/llama3-8b"
    ):
        graph.of_teachers(whole, ["zoo/qwen"])


def test_jobs_read_only_what_earlier_jobs_write_and_what_the_package_ships():
    shipped = {*names.ZOO.glob("*/card.json"), *audit.FILES}
    written: set[Path] = set()
    for job in graph.all_jobs(config(study={"methods": ["rsft", "pad", "ppo"]}), 0):
        assert set(job.inputs) - shipped <= written, job.name
        assert not written & set(job.outputs), f"{job.name} writes what another job writes"
        written |= set(job.outputs)


def test_the_grain_splits_students_into_runs_and_keeps_their_files():
    whole, cells = (graph.all_jobs(config(study={"grain": grain}), 0) for grain in ("students", "cell"))
    assert len(cells) > len(whole)
    assert {o for job in whole for o in job.outputs} == {o for job in cells for o in job.outputs}


def test_names_do_not_depend_on_the_machine():
    assert all(store.ROOT in path.parents for job in graph.all_jobs(config(), 0) for path in job.outputs)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ("nothing.yaml", "no params file"),
        ({"study": {"name": "other"}}, "it must be the file's name"),
        ({"study": {"teachers": ["zoo/qwen3-23b"]}}, "did you mean 'zoo/qwen3-32b'"),
        ({"study": {"train_tasks": ["mini_gms"]}}, "did you mean 'mini_gsm'"),
        ({"study": {"methods": ["rstf"]}}, "did you mean 'rsft'"),
        ({"debate": {"agent": 5}}, "did you mean 'agents'"),
    ],
)
def test_mistakes_end_with_a_sentence_before_torch_is_imported(tmp_path, change, sentence):
    path = tmp_path / "nothing.yaml"
    if isinstance(change, dict):
        path = tmp_path / "mini.yaml"
        mapping = yaml.safe_load(MINI.read_text())
        for section, values in change.items():
            mapping[section].update(values)
        path.write_text(yaml.safe_dump(mapping))
    code = f"import sys; from agentark import cli; status = cli.main(['run', {str(path)!r}]); print('torch' in sys.modules); sys.exit(status)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.strip() == "False"
    assert sentence in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [["plan", "x.yaml", "--limit", "-5"], ["run", "x.yaml", "--cores", "0"], ["run", "x.yaml", "--limit", "9" * 5000],
     ["distill", "--train", "a", "--teacher", "b", "--student", "c", "--out", "d", "--seed", str(2**32)]],
)  # fmt: skip
def test_numbers_of_the_command_line_are_checked(capsys, options):
    with pytest.raises(SystemExit):
        cli.main(options)
    error = capsys.readouterr().err
    assert f"argument {options[-2]}: must be a whole number from " in error and len(error) < 2_000


def test_a_slice_has_the_prompts_of_a_step():
    study = config(study={"methods": ["rsft", "pad"]}, rl={"prompts_per_step": 8})
    cli._check_prompts(study, 8)
    with pytest.raises(
        params.ParamsError, match="pad takes rl.prompts_per_step = 8 problems a step, mini_gsm has 7: lower"
    ):
        cli._check_prompts(study, 7)
    cli._check_prompts(config(study={"methods": ["rsft"]}), 7)


def test_report_without_a_run_names_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(store, "ROOT", tmp_path)
    assert cli.main(["report", str(MINI)]) == 2
    assert "agentark run" in capsys.readouterr().err


@pytest.mark.parametrize("former", [True, False])
def test_the_comparison_with_a_former_reference_says_so(tmp_path, monkeypatch, capsys, former):
    """The run is a copy of the reference, which is equal to itself and may still be marked as a former one."""
    theirs = tmp_path / "results" / "reference" / "mini"
    theirs.mkdir(parents=True)
    for name in ("main_results.csv", "comparisons.csv"):
        shutil.copy(store.ROOT / "results" / "reference" / "mini" / name, theirs)
    shutil.copytree(theirs, tmp_path / "results" / "mini")
    if former:
        (theirs / cli.FORMER).write_text("made by hand\n")
        (theirs / cli.OPEN).write_text("ppo 2\nrlvr 0\n")
    monkeypatch.setattr(store, "ROOT", tmp_path)
    cli.report(MINI, 0)
    output = capsys.readouterr().out
    assert ("The reference run was made by hand, so that it is not expected to be equal" in output) == former
    assert ("is not whole: it still lacks ppo with seed 2, rlvr with seed 0.\n" in output) == former
    cells = (theirs / "main_results.csv").read_text().count("\n") - 1
    assert f"{cells} cells in both, {cells} of them equal" in output


def test_plan_options_are_checked(capsys):
    with pytest.raises(SystemExit):
        cli.main(["plan", str(MINI), "--executr", "slurm"])
    assert "--executr" in capsys.readouterr().err


# The first cell of a notebook, and papermill


def cell(**given):
    return {
        "In": [
            "",
            "limit: int = 2\nstudy: dict = {}",
            "# Parameters\n" + "\n".join(f"{k} = {v!r}" for k, v in given.items()),
        ],
        "limit": 2,
        "study": {},
        **given,
    }


def test_begin_refuses_what_the_notebook_does_not_declare():
    assert notebook.begin(cell(limit=7)).coordinates.limit == 7
    with pytest.raises(params.ParamsError, match="did you mean 'limit'"):
        notebook.begin(cell(limt=7))
    with pytest.raises(params.ParamsError, match="unknown key 'task'"):
        notebook.begin(cell(task="mini_gsm"))  # a known coordinate, but not one of this notebook


def test_sections_are_laid_over_the_default_tier():
    run = notebook.check({"debate": {"agents": 7}}, "test")
    assert run.params.debate.agents == 7 and run.params.debate.rounds == config().debate.rounds
    assert notebook.check({"limit": 3}, "test").name == "mini-first3"
    with pytest.raises(params.ParamsError, match="did you mean 'agents'"):
        notebook.check({"debate": {"agnets": 7}}, "test")


def test_rows_of_an_earlier_stage_that_are_missing_name_the_notebook_to_run():
    run = notebook.check({"inputs": "run", "limit": 3}, "test")
    with pytest.raises(store.StoreError, match="run the notebook that makes it first"):
        run.find(run.files.path(TRACES, Cell(teacher="zoo/qwen3-32b", train="mini_gsm", protocol="debate", seed=99)))


def test_rows_of_a_reference_are_those_of_the_axis_values_of_a_run():
    values = yaml.safe_load((store.ROOT / "params" / "mini-quantity.yaml").read_text())
    tables = []
    for axes in ({"sizes.train": 64}, {"sizes.train": 256}):
        run = notebook.check({**values, "axes": axes}, "test")
        tables.append(run.reference_table("debate_rounds", of_run=True, split="train"))
        assert not tables[-1].duplicated(["round", "protocol", "task"]).any()
    assert tables[0].problems.max() == 64 and tables[1].problems.max() == 256
    whole = run.reference_table("debate_rounds")
    assert len(whole) > len(run.reference_table("debate_rounds", of_run=True)) > len(tables[1])  # with test problems


@pytest.mark.parametrize("engine", ["agentark", None])
def test_papermill_refuses_an_unknown_parameter(tmp_path, engine):
    named = ["--engine", engine] if engine else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            *named,
            "notebooks/02_filtering.ipynb",
            str(tmp_path / "out.ipynb"),
            "-p",
            "sede",
            "1",
        ],
        cwd=store.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "did you mean 'seed'" in done.stderr


def test_papermill_takes_the_params_file_and_overrides(tmp_path):
    """Also in a folder with an unusual name, and with a temporary folder whose path is too long for a socket."""
    out = tmp_path / ODD / "out.ipynb"
    long = tmp_path / ("x" * 100)
    for folder in (out.parent, long):
        folder.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--engine",
            "agentark",
            "notebooks/02_filtering.ipynb",
            str(out),
            "-f",
            "params/mini.yaml",
            "-p",
            "inputs",
            "reference",
            "-p",
            "limit",
            "5",
            "-p",
            "task",
            "mini_med",
        ],
        cwd=store.ROOT,
        env={**os.environ, "TMPDIR": str(long)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads(out.read_text())["cells"]
    assert any("mini-first5" in "".join(o.get("text", "")) for c in cells for o in c.get("outputs", []))
    shutil.rmtree(store.ROOT / "results" / "mini-first5")


def test_papermill_refuses_a_file_that_it_would_misread(tmp_path):
    path = tmp_path / "mini.yaml"
    path.write_text(MINI.read_text(encoding="utf-8") + "\nlimit: 3\n", encoding="utf-8")
    command = click.Context(click.Command("papermill"))
    for options, message in (
        ({"parameters_file": (str(path),)}, f"{path}, line .*the key limit stands in line"),
        ({"parameters_yaml": ("limit: 010",)}, "papermill's -y, line 1: limit is 010"),
    ):
        command.params = options
        with command.scope(), pytest.raises(params.ParamsError, match=message):
            papermill_engine._check_files()
    command.params = {"parameters_file": (str(MINI), "s3://there/is.yaml"), "parameters_yaml": ("{limit: 3}",)}
    with command.scope():
        papermill_engine._check_files()


@pytest.mark.parametrize("length", [5, 70, 100, 200])
def test_a_socket_fits_its_folder(tmp_path, monkeypatch, length):
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    monkeypatch.setattr(papermill_engine, "gettempdir", lambda: str(folder))
    with papermill_engine.sockets() as config, socket.socket(socket.AF_UNIX) as kernel:
        kernel.bind(f"{config['ConnectionFileMixin']['ip']}-5")


def test_without_a_short_folder_kernels_use_ports(monkeypatch):
    monkeypatch.setattr(papermill_engine, "LONGEST_FOLDER", 1)
    with papermill_engine.sockets() as config:
        assert config["ConnectionFileMixin"] == {"transport": "tcp"}


# A clone in a folder with an unusual name


def test_the_shell_sees_every_name_in_quotes():
    commands = (store.ROOT / "Snakefile").read_text(encoding="utf-8").partition("shell:")[2]
    fields = re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", commands)
    assert {field for field in fields if not field.endswith(":q")} == {"threads"} and len(fields) > 8


def test_a_study_in_a_folder_with_an_unusual_name(tmp_path, monkeypatch):
    """Snakemake reads the graph there and writes its commands, in which the shell finds each name whole."""
    root = tmp_path / ODD / "agentark"
    (root / "results").mkdir(parents=True)
    for name in ("params", "notebooks", "Snakefile", "agentark"):
        (root / name).symlink_to(store.ROOT / name)
    path = root / "params" / "quick.yaml"
    monkeypatch.setenv("PYTHONPATH", str(store.ROOT))
    monkeypatch.setenv("AGENTARK_ROOT", str(root))
    monkeypatch.setattr(store, "ROOT", root)
    command = workflow.command(
        path, 4, [], "--dry-run", "--printshellcmds", "--cores", "1", "--until", "00_the_networks"
    )
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    words = shlex.split(next(line for line in done.stdout.splitlines() if " -m papermill " in line))
    assert words[words.index("-f") + 1] == str(path)
    assert yaml.safe_load(words[words.index("-y") + 1])["limit"] == 4


PAPERMILL = """
import os, sys
from pathlib import Path
for name in os.environ["MADE"].split(os.pathsep):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("made")
sys.exit(int(os.environ["STATUS"]))
"""


def test_a_run_that_failed_is_not_up_to_date(tmp_path, monkeypatch):
    """With other params than those by which what is there was made: Snakemake by itself would restore and keep that."""
    root = tmp_path / "agentark"
    (root / "results").mkdir(parents=True)
    for name in ("notebooks", "Snakefile", "agentark"):
        (root / name).symlink_to(store.ROOT / name)
    (root / "params").mkdir()
    path = root / "params" / "quick.yaml"
    text = (store.ROOT / "params" / "quick.yaml").read_text()
    (tmp_path / "papermill").mkdir()
    (tmp_path / "papermill" / "__init__.py").touch()
    (tmp_path / "papermill" / "__main__.py").write_text(PAPERMILL)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{store.ROOT}")
    monkeypatch.setenv("AGENTARK_ROOT", str(root))
    monkeypatch.setattr(store, "ROOT", root)
    path.write_text(text)
    [job] = [job for job in graph.all_jobs(params.load(path)[0], 4) if job.notebook == "20_audit"]
    monkeypatch.setenv("MADE", os.pathsep.join(map(str, job.outputs)))

    def run(level, status, *more):
        path.write_text(re.sub(r"(?m)^  level: \S+", f"  level: {level}", text))
        monkeypatch.setenv("STATUS", str(status))
        options = ["--cores", "1", "--until", graph.rule_name(job), "--keep-incomplete", "--rerun-incomplete", *more]
        done = subprocess.run(workflow.command(path, 4, [], *options), capture_output=True, text=True)
        return done.returncode, f"rule {graph.rule_name(job)}" in done.stdout + done.stderr

    assert run(0.95, 0) == (0, True) and run(0.95, 0, "--dry-run") == (0, False)
    assert run(0.9, 1)[0] != 0
    assert run(0.9, 0, "--dry-run") == (0, True)


def test_snakemake_cannot_work_in_a_folder_with_braces(monkeypatch, capsys):
    monkeypatch.setattr(store, "ROOT", Path("/tmp/a{b}"))
    with pytest.raises(params.ParamsError, match="takes braces for wildcards, and /tmp/a{b} has some: rename"):
        workflow.command(MINI, 0, [])


def test_an_interrupted_run_says_that_nothing_is_lost(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "pending", lambda *_: {"something"})
    monkeypatch.setattr(workflow, "unlock", lambda *_: None)
    monkeypatch.setattr(plan.Progress, "follow", interrupted)
    assert cli.main(["run", str(MINI), "--cores", "1"]) == 130
    assert "finished chunks are kept" in capsys.readouterr().err


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """The commands that runs start, instead of Snakemake, on a study of which one output is to be computed at first."""
    commands: list[list[str]] = []
    monkeypatch.setattr(plan.Progress, "follow", lambda _, command: commands.append(command) or 0)
    monkeypatch.setattr(workflow, "unlock", lambda *_: None)
    monkeypatch.setattr(workflow, "pending", lambda *_: {"something"})
    return commands


def _of_notebooks(jobs, *names: str) -> set[str]:
    """The outputs of the runs of some notebooks."""
    return workflow.outputs([job for job in jobs if job.notebook in names])


@pytest.mark.parametrize("options", [["--until", "02_filtering"], ["--omit-from", "04_rsft"], ["results/mini/a.csv"]])
def test_a_part_of_a_study_ends_without_a_report(started, monkeypatch, capsys, options):
    monkeypatch.setattr(cli, "report", lambda *_: pytest.fail("there is nothing to report yet"))
    monkeypatch.setattr(
        workflow, "pending", lambda *arguments: _of_notebooks(arguments[3], "08_main_results", "20_audit")
    )
    assert cli.main(["run", str(MINI), *options]) == 0
    out = capsys.readouterr().out
    assert "2 of " in out and "still to be done\nThere is a report when main_results.csv is made" in out
    assert len(started) == 1


def test_a_part_of_a_study_with_its_main_results_ends_with_a_report(started, monkeypatch, capsys):
    monkeypatch.setattr(cli, "report", lambda *_: print("the report"))
    monkeypatch.setattr(
        workflow, "pending", lambda *arguments: _of_notebooks(arguments[3], "18_debate_on_dev", "20_audit")
    )
    assert cli.main(["run", str(MINI), "--until", "08_main_results"]) == 0
    assert "2 of " in (out := capsys.readouterr().out) and out.endswith("still to be done\nthe report\n")


@pytest.mark.parametrize("option", ["--dry-run", "--dryrun", "-n", "-np"])
def test_a_dry_run_takes_no_lock_and_reports_nothing(started, monkeypatch, option):
    for module, name in ((cli, "report"), (workflow, "unlock")):
        monkeypatch.setattr(module, name, lambda *_, name=name: pytest.fail(f"{name} in a dry run"))
    owner = workflow.owner()
    monkeypatch.setattr(
        Path, "unlink", lambda path, **_: pytest.fail(f"{path} of another run") if path == owner else None
    )
    assert cli.main(["run", str(MINI), option]) == 0 and option in started[0]


@pytest.mark.parametrize("options", [["--forcerun", "04_rsft"], ["-R", "04_rsft"], ["--forceall"], ["-F"]])
def test_a_finished_study_runs_again_if_forced(started, monkeypatch, options):
    reported = []
    monkeypatch.setattr(cli, "report", lambda *_: reported.append(True))
    monkeypatch.setattr(workflow, "pending", lambda *_: set())
    assert cli.main(["run", str(MINI)]) == 0 and not started and reported == [True]
    assert cli.main(["run", str(MINI), *options]) == 0 and options[0] in started[0] and reported == [True, True]


def test_notebooks_and_their_runs_are_targets(started):
    jobs = [job for job in graph.all_jobs(params.load(MINI)[0], 0) if job.notebook == "04_rsft"]
    assert cli.main(["run", str(MINI), "-n", "--until", "04_rsft"]) == 0
    assert cli.main(["run", str(MINI), "-n", "--until", jobs[0].name, "other"]) == 0
    rules = [graph.rule_name(job) for job in jobs]
    for command, targets in zip(started, (rules, [rules[0], "other"]), strict=True):
        at = command.index("--until")
        assert command[at + 1 : at + 1 + len(targets)] == targets


def test_a_target_is_left_out_for_which_another_waits(started):
    """Snakemake would start nothing that waits for it, and end with an error."""
    path = store.ROOT / "params" / "mini-quantity.yaml"
    assert cli.main(["run", str(path), "-n", "--until", "01_debate_generation"]) == 0
    assert cli.main(["run", str(path), "-n", "--until", "01_debate_generation", "02_filtering", "-R", "04_rsft"]) == 0
    largest = "01_debate_generation_qwen3_32b_mini_gsm_train_debate"
    debates, both = (command[command.index("--until") + 1 :] for command in started)
    assert f"{largest}_sizes_train_64" in debates and largest not in debates
    assert any("test_self_consistency" in rule for rule in debates)
    assert not any(rule.startswith(largest) for rule in both)  # filtering waits for all three
    assert sum(rule.startswith("04_rsft") for rule in both) == 27  # what is forced stays whole


def test_everything_is_pending_before_the_first_run(tmp_path, monkeypatch):
    jobs = graph.all_jobs(config(), 0)
    monkeypatch.setattr(workflow.subprocess, "run", lambda *_, **__: pytest.fail("Snakemake was started"))
    outputs = {os.path.relpath(path, store.ROOT) for job in jobs for path in job.outputs}
    assert workflow.pending(tmp_path / "mini.yaml", 987_654, [], jobs) == outputs


def test_pending_outputs_are_those_that_snakemake_would_update(tmp_path, monkeypatch):
    table = "output_file\tstatus\tplan\nresults/a\tok\tno update\nresults/b\tmissing\tupdate pending\n"
    monkeypatch.setattr(store, "ROOT", tmp_path)
    (tmp_path / "results" / "mini-first7").mkdir(parents=True)
    finished = subprocess.CompletedProcess([], 0, table, "")
    monkeypatch.setattr(workflow.subprocess, "run", lambda *_, **__: finished)
    assert workflow.pending(MINI, 7, [], []) == {"results/b"}
    finished.returncode, finished.stderr = 1, "a rule has no name"
    with pytest.raises(params.ParamsError, match="Snakemake cannot read the study:\na rule has no name"):
        workflow.pending(MINI, 7, [], [])


def test_a_plan_starts_without_large_libraries(tmp_path):
    """A plan is arithmetic; importing one of these takes a second or more."""
    heavy = ("torch", "transformers", "datasets", "pandas", "scipy", "matplotlib", "snakemake")
    code = f"import sys; from agentark import cli; assert cli.main(['plan', {str(MINI)!r}, '--limit', '987654']) == 0; "
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_lock_of_a_dead_run_is_removed_and_that_of_a_live_run_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROOT", tmp_path)
    called = []
    monkeypatch.setattr(workflow.subprocess, "run", lambda command, **_: called.append("--unlock" in command))
    owner, lock = tmp_path / ".snakemake" / "agentark.pid", tmp_path / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner.write_text(str(dead.pid))
    workflow.unlock(MINI, 0, [])
    assert called == [True] and owner.read_text() == str(os.getpid())
    owner.write_text("1")  # init is always alive
    with pytest.raises(store.StoreError, match="another run is at work"):
        workflow.unlock(MINI, 0, [])


def test_a_task_may_have_sizes_of_its_own():
    sizes = {"train": 400, "test": 100, "debate_test": 50, "tasks": {"mini_med": {"train": 90, "test": 30}}}
    run = notebook.check({"sizes": sizes, "limit": 0}, "test")
    assert (run.size("train", "mini_gsm"), run.size("train", "mini_med")) == (400, 90)
    assert run.tests == {"mini_gsm": 100, "mini_med": 30}
    assert (
        run.generated("test", "mini_gsm"),
        run.generated("test", "mini_med"),
        run.generated("train", "mini_med"),
    ) == (
        50,
        30,
        90,
    )
    cut = notebook.check({"sizes": sizes, "limit": 40}, "test")
    assert cut.size("train", "mini_med") == 40 and cut.tests == {"mini_gsm": 40, "mini_med": 30}
