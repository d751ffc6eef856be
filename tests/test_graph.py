"""The graph of a study: its order, the keys of its jobs, its axes, what it refuses, and the progress of a run."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agentark import params, plan, store
from agentark.graph import graph, source
from agentark.graph.graph import GraphError
from agentark.graph.job import Job
from agentark.models import load
from agentark.plan import progress
from agentark.plan.cost import Cost

MINI = store.ROOT / "params" / "mini.yaml"


def config(**changes) -> params.Params:
    """The params of mini.yaml with two students, PAD, and other values: config(debate={"agents": 3})."""
    values = yaml.safe_load(MINI.read_text())
    values["study"] |= {"students": ["zoo/llama3-8b", "zoo/qwen3-0.6b"], "methods": ["sft", "rsft", "da", "pad"]}
    for section, keys in changes.items():
        values[section].update(keys)
    return params.check(values, "test")[0]


def jobs(**changes) -> list[Job]:
    return graph.all_jobs(config(**changes), 0)


def keys(**changes) -> dict[str, str]:
    """The key of each job, by its name."""
    return {job.name: graph.key(job, 0, load.revision) for job in jobs(**changes)}


# Priorities


def simple(name: str, reads: str = "", writes: str = "") -> Job:
    """A job of an existing notebook that reads and writes one-letter files."""
    return Job(
        "00_start_here", {"name": name}, tuple(map(Path, reads)), tuple(map(Path, writes)), (), (), parts=(name,)
    )


def test_a_priority_is_the_time_of_the_longest_chain():
    chain = [simple("a", "", "a"), simple("b", "a", "b"), simple("c", "a", "c"), simple("d", "bc", "d"), simple("e")]
    minutes = dict(zip("abcde", (1, 10, 2, 4, 5), strict=True))
    seconds = graph.priorities(chain, lambda job: minutes[job.parts[0]])
    by_letter = {name[-1]: value for name, value in seconds.items()}
    assert by_letter == {"a": 60 * (1 + 10 + 4), "b": 60 * (10 + 4), "c": 60 * (2 + 4), "d": 60 * 4, "e": 60 * 5}


def chain_of(first: Job, all_jobs: list[Job], priorities: dict[str, int]) -> list[str]:
    """The names of the jobs along the longest chain that begins with a job."""
    waiting = [job for job in all_jobs if set(first.outputs) & set(job.inputs)]
    after = max(waiting, key=lambda job: priorities[job.name], default=None)
    return [first.name, *(chain_of(after, all_jobs, priorities) if after else [])]


@pytest.mark.parametrize("measured", [False, True], ids=["expected", "measured in the reference run"])
def test_the_longest_chain_is_that_of_pad_or_of_an_imitation(tmp_path, monkeypatch, measured):
    """PAD is expected to take longest; the committed run of mini has no PAD."""
    study = params.load(MINI)[0] if measured else config()
    all_jobs = graph.all_jobs(study, 0)
    monkeypatch.setattr(store, "ROOT", tmp_path)  # without the measurements of a run on this machine
    if measured:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "reference").symlink_to(MINI.parents[1] / "results" / "reference")
    priorities = plan.priorities(all_jobs, study, 0)
    # The committed run is older than these notebooks.
    reports = ("00_the_networks", "12_perplexity", "13_reasoning_quality", "18_debate_on_dev", "20_audit", "21_cost")
    timed = [job for job in all_jobs if job.notebook not in reports]
    costs = {job.name: plan.cost(job, study, 0, plan.rates(study)) for job in timed}
    assert all(cost.measured == measured for cost in costs.values())
    first = max(all_jobs, key=lambda job: priorities[job.name])
    chain = chain_of(first, all_jobs, priorities)
    task = first.coordinates["task"]
    ends = (["08_main_results"], ["12_perplexity", "21_cost"])  # reports that wait for the same runs
    if measured:
        assert [name.split("-")[0] for name in chain][:2] == ["01_debate_generation", "02_filtering"]
        assert chain[2].split("_")[0] in ("03", "04", "05") and chain[3:] in ends
    else:
        assert chain == [
            f"01_debate_generation-qwen3-32b-{task}-train-debate",
            f"06_prm-qwen3-32b-{task}-s0",
            f"07_pad-qwen3-32b-pad-{task}-s0",
            *chain[3:],
        ]
        assert chain[3:] in ends
    costs |= {job.name: plan.cost(job, study, 0, plan.rates(study)) for job in all_jobs if job.name in chain[3:]}
    assert priorities[first.name] == pytest.approx(sum(costs[name].wall_s for name in chain), abs=1)


# Keys


@pytest.fixture
def edit_notebook(tmp_path, monkeypatch):
    """A function that changes the text of one cell of a notebook, in a copy."""

    def edit(name: str, cell_type: str) -> None:
        notebook = json.loads((store.ROOT / "notebooks" / f"{name}.ipynb").read_text())
        cell = next(cell for cell in reversed(notebook["cells"]) if cell["cell_type"] == cell_type)
        cell["source"] = [*cell["source"], "\n# more"]
        for cell in notebook["cells"]:
            cell["outputs"] = []
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook))
        graph.notebook_code.cache_clear()

    original = graph.notebook_path
    monkeypatch.setattr(
        graph, "notebook_path", lambda name: next(p for p in (tmp_path / f"{name}.ipynb", original(name)) if p.exists())
    )
    graph.notebook_code.cache_clear()
    yield edit
    graph.notebook_code.cache_clear()


def test_a_key_changes_with_a_code_cell_and_not_with_text_or_outputs(edit_notebook):
    before = keys()
    edit_notebook("04_rsft", "markdown")
    assert keys() == before
    edit_notebook("04_rsft", "code")
    after = keys()
    assert {name for name in before if before[name] != after[name]} == {name for name in before if "04_rsft" in name}


def test_a_key_changes_with_a_declared_section_and_not_with_another():
    (filtering,) = [job for job in jobs() if job.name == "02_filtering-qwen3-32b-mini_gsm"]
    assert "extract" in filtering.sections and "distill" not in filtering.sections
    before = keys()[filtering.name]
    assert keys(extract={"max_traces": 2})[filtering.name] != before
    assert keys(debate={"wording": "full"})[filtering.name] != before
    assert keys(distill={"epochs": 9}, rl={"steps": 9}, stats={"level": 0.9})[filtering.name] == before
    assert keys(debate={"agents": 3})[filtering.name] == before  # which its input depends on


def test_a_key_changes_with_the_code_that_a_job_depends_on(monkeypatch):
    before, text = keys(), source._text
    edited = {("agentark.mas.votes", "consensus"): b"another rule"}  # when a debate stops
    monkeypatch.setattr(source, "_text", lambda module, name: edited.get((module, name)) or text(module, name))
    after = keys()
    stale = {name for name in before if before[name] != after[name]}
    debates = {name for name in before if name.endswith(("-debate", "-shuffled"))}
    assert debates <= stale
    assert not [name for name in stale if name.endswith("-self_consistency") or name.startswith(("02", "04", "05"))]


def test_a_key_changes_with_weights_size_and_limit():
    (base,) = [job for job in jobs() if job.name == "03_sft_baseline-base"]
    keys_of_base = [
        graph.key(base, 0, load.revision),
        graph.key(base, 5, load.revision),
        graph.key(base, 0, lambda model: f"other weights of {model}"),
        keys(sizes={"test": 900})[base.name],
    ]
    assert len(set(keys_of_base)) == 4


# Axes

AGENTS = {"axes": {"debate.agents": [3, 5]}}  # 5 is the value of the section debate


def outputs(all_jobs: list[Job], folder: str) -> set[str]:
    return {path.name for job in all_jobs for path in job.outputs if path.parent.name == folder}


def test_an_axis_repeats_what_it_concerns():
    one, both = jobs(), jobs(study=AGENTS)
    for folder in ("debates", "traces", "students", "steps", "prms"):
        before, after = outputs(one, folder), outputs(both, folder)
        assert len(after) == 2 * len(before) > 0, folder
        assert before < after  # the names of the section's own value do not change
        assert all("debate.agents=3" in name for name in after - before)
    untrained = [job for job in both if job.coordinates.get("method") == "base"]
    assert [job.name for job in untrained] == ["03_sft_baseline-base"]
    assert {name for name in outputs(one, "predictions") if ".base." in name} == {
        name for name in outputs(both, "predictions") if ".base." in name
    }
    assert {job.name for job in one} < {job.name for job in both}


def test_the_jobs_of_an_axis_have_its_values_and_read_their_own_files():
    by_name = {job.name: job for job in jobs(study=AGENTS)}
    for agents, tail in ((3, "-debate.agents=3"), (5, "")):
        debate = by_name[f"01_debate_generation-qwen3-32b-mini_gsm-train-debate{tail}"]
        filtering = by_name[f"02_filtering-qwen3-32b-mini_gsm{tail}"]
        rsft = by_name[f"04_rsft-qwen3-32b-rsft-mini_gsm-s0{tail}"]
        for job in (debate, filtering, rsft):
            assert job.coordinates["axes"] == {"debate.agents": agents} and job.params.debate.agents == agents
        assert set(debate.outputs) == set(filtering.inputs) and set(filtering.outputs) == set(rsft.inputs)
    everything = set(by_name["08_main_results"].inputs)
    assert {path for path in everything if "debate.agents=3" in path.name}


def test_students_learn_from_the_taught_values_alone():
    """With the other values test problems are answered, and nothing else."""
    many = {"axes": {"debate.agents": [2, 3, 5]}}
    every, taught = jobs(study=many), jobs(study=many | {"taught": {"debate.agents": [3, 5]}})
    left_out = {job.name for job in every} - {job.name for job in taught}
    assert left_out and all(name.endswith("-debate.agents=2") for name in left_out)
    assert {job.name for job in taught} == {
        job.name
        for job in every
        if not (job.name in left_out or "-debate.agents=2" in job.name and "-test-" not in job.name)
    }
    assert {name.split("-")[0] for name in left_out} == {
        "01_debate_generation", "02_filtering", "03_sft_baseline", "04_rsft", "05_da", "06_prm", "07_pad"}  # fmt: skip
    assert any(name.endswith("test-debate-debate.agents=2") for name in (job.name for job in taught))


def test_the_largest_debate_is_the_largest_that_is_taught():
    """Smaller debates are its first problems; one that nobody learns from is not made."""
    study = {"axes": {"sizes.train": [64, 128, 800]}, "taught": {"sizes.train": [64, 128]}}  # 800 stands in mini.yaml
    by_name = {job.name: job for job in jobs(study=study)}
    name = "01_debate_generation-qwen3-32b-mini_gsm-train-debate"
    assert name not in by_name
    assert by_name[f"{name}-sizes.train=64"].inputs == by_name[f"{name}-sizes.train=128"].outputs[:1]


def test_an_axis_of_training_repeats_no_debate():
    one, both = jobs(), jobs(study={"axes": {"distill.epochs": [1, 3]}})
    repeated = {job.notebook for job in both} - {
        job.notebook for job in both if "distill.epochs" not in str(job.coordinates)
    }
    assert repeated == {"04_rsft", "05_da"}
    assert outputs(one, "debates") == outputs(both, "debates") and outputs(one, "traces") == outputs(both, "traces")
    pad = {name for name in outputs(both, "students") if ".pad." in name}
    assert pad == {name for name in outputs(one, "students") if ".pad." in name}  # learns from rewards


BACKBONES = {"axes": {"prm.backbone": ["student", "zoo/qwen3-8b-teacher"]}}


def test_a_backbone_repeats_the_methods_that_it_judges_and_no_other():
    chosen = {"methods": ["prm_select", "likelihood_select", "chance_select", "truth_select", "rlvr", "rsft"]}
    one, both = jobs(study=chosen), jobs(study=chosen | BACKBONES)
    assert outputs(one, "debates") == outputs(both, "debates") and outputs(one, "steps") == outputs(both, "steps")
    tail = "mini_gsm.prm.backbone=qwen3-8b-teacher.s0.manifest.json"
    assert {name for name in outputs(both, "students") - outputs(one, "students") if "mini_gsm" in name} == {
        f"qwen3-32b.{student}.{method}.{tail}"
        for student in ("llama3-8b", "qwen3-0.6b")
        for method in ("prm_select", "likelihood_select")
    }
    again = {job.name for job in both} - {job.name for job in one}
    assert all(name.endswith("-prm.backbone=qwen3-8b-teacher") for name in again if name != "09_prm_capacity")
    assert {name.split("-")[0] for name in again} == {"06_prm", "07_pad", "09_prm_capacity"}


def test_a_reward_model_on_another_network_serves_every_student():
    chosen = {"methods": ["prm_select"], "train_tasks": ["mini_gsm"]}
    made = outputs(jobs(study=chosen, prm={"backbone": "zoo/qwen3-8b-teacher"}), "prms")
    backbone = "qwen3-32b.qwen3-8b-teacher.mini_gsm.s0"
    own = {f"qwen3-32b.{student}.mini_gsm.s0.csv" for student in ("llama3-8b", "qwen3-0.6b")}
    assert made == own | {f"{backbone}.manifest.json", f"{backbone}.shuffled.manifest.json"}
    assert len(outputs(jobs(study=chosen), "prms")) == 2 + 4  # by default, each student's own


def test_axes_combine():
    both = jobs(study={"axes": {"debate.agents": [3, 5], "extract.max_traces": [1, 3]}})
    assert len(outputs(both, "debates")) == 2 * len(outputs(jobs(), "debates"))
    assert len(outputs(both, "traces")) == 4 * len(outputs(jobs(), "traces"))


# Contradictions


@pytest.fixture
def declared(monkeypatch):
    """A function that replaces the declarations of the stages: {module: its jobs}."""

    def declare(by_module: dict[str, list[Job]]) -> None:
        def function(jobs: list[Job]):
            def declare_jobs(study) -> Iterator[Job]:
                yield from jobs

            return declare_jobs

        found = {module: function(jobs) for module, jobs in by_module.items()}
        monkeypatch.setattr(graph, "discover", lambda package, name: found)

    return declare


def test_a_job_without_a_notebook_is_refused(declared):
    declared({"agentark.x": [Job("99_nothing", {}, (), (), (), (), parts=("a",))]})
    with pytest.raises(GraphError, match=r"agentark\.x \(99_nothing-a\) names .* notebooks/99_nothing\.ipynb"):
        jobs()


def test_two_stages_that_write_one_file_are_refused(declared):
    declared({"agentark.x": [simple("a", "", "f")], "agentark.y": [simple("b", "", "gf")]})
    with pytest.raises(GraphError) as raised:
        jobs()
    assert str(raised.value) == ("agentark.y (00_start_here-b) writes f, which agentark.x (00_start_here-a) writes too")


def test_two_jobs_of_one_name_are_refused_unless_they_are_the_same(declared):
    declared({"agentark.x": [simple("a", "", "f")], "agentark.y": [simple("a", "", "f")]})
    assert len(jobs()) == 1
    declared({"agentark.x": [simple("a", "", "f")], "agentark.y": [simple("a", "", "g")]})
    with pytest.raises(GraphError, match="two jobs are called 00_start_here-a: agentark.x and agentark.y"):
        jobs()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_of_stages_is_refused(declared, length):
    names = "abc"[:length]
    circle = [simple(name, names[n - 1], name) for n, name in enumerate(names)]
    declared({f"agentark.{job.parts[0]}": [job] for job in circle})
    with pytest.raises(GraphError, match="wait for one another") as raised:
        jobs()
    assert all(job.name in str(raised.value) for job in circle)


def test_the_order_respects_what_jobs_read(declared):
    declared(
        {"agentark.x": [simple("d", "bc", "d"), simple("b", "a", "b"), simple("c", "a", "c"), simple("a", "", "a")]}
    )
    order = [job.parts[0] for job in jobs()]
    assert order[0] == "a" and order[-1] == "d" and sorted(order) == list("abcd")


# Progress


@pytest.fixture
def followed(monkeypatch) -> tuple[progress.Progress, list[float]]:
    """The progress of four jobs on two cores, which are expected to take 1, 2, 1 and 1 minutes; and its clock."""
    seconds = dict(zip("abcd", (60.0, 120.0, 60.0, 60.0), strict=True))
    clock = [1000.0]
    monkeypatch.setattr(progress, "cost", lambda job, *_: Cost({}, 0, seconds[job.parts[0]], False))
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return progress.Progress([simple(name) for name in "abcd"], config(), 0, 2), clock


def test_a_part_of_a_study_has_no_total(followed):
    run, clock = followed
    run.whole = False
    run.line("12:00:00 start 00_start_here-a")
    clock[0] += 120
    line = run.line("12:02:00 done  00_start_here-a")
    assert line.split() == ["12:02:00", "done", "1,", "2", "min", "elapsed", "00_start_here-a"]


def test_a_line_says_done_elapsed_and_remaining(followed):
    run, clock = followed
    assert run.line("12:00:00 start 00_start_here-a").split() == ["12:00:00", "start", "00_start_here-a"]
    run.line("12:00:00 start 00_start_here-b")
    clock[0] += 120
    line = run.line("12:02:00 done  00_start_here-a")
    # a took twice the expected time: b needs 4 minutes, of which 2 are left, c and d 2 each: 6 minutes on two cores
    assert line.split("  ")[0] == "12:02:00 done" and "1/4, 2 min elapsed, about 3 left " in line
    assert line.endswith(" 00_start_here-a")
    for name in "cd":
        run.line(f"12:02:00 start 00_start_here-{name}")
    clock[0] += 120
    lines = [run.line(f"12:04:00 done  00_start_here-{name}") for name in "bcd"]
    assert ["2/4" in lines[0], "3/4" in lines[1], "4/4, 4 min elapsed, about 0 left " in lines[2]] == [True] * 3


def test_the_remaining_time_is_at_least_that_of_the_longest_job(followed):
    run, clock = followed
    assert run.remaining(clock[0]) == (60 + 120 + 60 + 60) / 2
    for name in "acd":
        run.line(f"12:00:00 start 00_start_here-{name}")
        clock[0] += 20
    for name in "acd":
        run.line(f"12:01:00 done  00_start_here-{name}")
    assert run.remaining(clock[0]) == 120 * (60 + 40 + 20) / 180


def test_a_job_that_takes_longer_than_expected_leaves_nothing(followed):
    run, clock = followed
    run.line("12:00:00 start 00_start_here-b")
    clock[0] += 500
    assert run.remaining(clock[0]) == (60 + 60 + 60) / 2


@pytest.mark.parametrize("line", ["", "Building DAG of jobs...", "FAILED 00_start_here-a: see the log", "a b c"])
def test_other_lines_are_printed_unchanged(followed, line):
    assert followed[0].line(line) == line


def test_names_stand_in_one_column(followed):
    run, clock = followed
    lines = [run.line("12:00:00 start 00_start_here-a")]
    for minutes in (0, 90, 6000):
        clock[0] += 60 * minutes
        run.total = 100 + minutes
        lines.append(run.line("12:00:00 done  00_start_here-a"))
    assert len({line.index(" 00_start_here-a") for line in lines}) == 1


def test_a_run_is_followed_to_its_exit_status(followed, capfd):
    code = "print('12:00:00 start 00_start_here-a'); print('12:00:09 done  00_start_here-a'); print('bye'); exit(3)"
    assert followed[0].follow([sys.executable, "-c", code]) == 3
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 3 and "1/4" in lines[1] and lines[2] == "bye"
