"""Which source a stage depends on, and that imports go down the rooms' order only."""

import shutil

import pytest

from agentark import source, tasks

# Earlier rooms first: a room may import from itself and from those before it (DESIGN.md).
ORDER = (
    ("params",),
    ("source",),
    ("wheels",),
    ("store",),
    ("tasks",),
    ("models",),
    ("study",),
    ("engines",),
    ("mas",),
    ("extract",),
    ("distill",),
    ("evaluate",),
    ("cells",),
    ("pad",),
    ("stats",),
    ("agreement",),
    ("prompts",),
    ("report",),
    ("own",),
    ("plan",),
    ("notebook", "cli", "papermill_engine"),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
FREE = {
    "params",
    "source",
    "store",
    "stats",
    "wheels",
    "agreement",
    "prompts",
}  # anyone may import them, and they nobody but each other
ALLOWED = {"zoo": {"zoo", "tasks", "models", "engines", "mas", "evaluate"}}
FORBIDDEN = {("evaluate", "distill"), ("distill", "evaluate")}


def all_modules() -> list[str]:
    files = (path.relative_to(source.PACKAGE).with_suffix("") for path in source.PACKAGE.rglob("*.py"))
    named = (".".join(("agentark", *file.parts)).removesuffix(".__init__") for file in files)
    return sorted(name for name in named if name.count("."))


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package of its own, in place of agentark."""
    root = tmp_path / "agentark"
    files = {
        "__init__.py": "",
        "params.py": "X = 1\n",
        "alone.py": "import os, json\nfrom collections import abc\n",
        "a/__init__.py": "from . import one\n",
        "a/one.py": "from ..params import X\nfrom .two import f\n",
        "a/two.py": "def f():\n    from agentark.b import lazy\n    if 1:\n        import agentark.late as late\n",
        "b/__init__.py": "",
        "b/lazy.py": "from agentark import a\n",
        "b/other.py": "",
        "late.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(source, "PACKAGE", root)
    return root


def test_imports_relative_and_lazy(package):
    assert source.imports("agentark.a") == {"agentark", "agentark.a", "agentark.a.one"}
    assert source.imports("agentark.a.one") == {"agentark", "agentark.params", "agentark.a", "agentark.a.two"}
    assert source.imports("agentark.a.two") == {"agentark", "agentark.b", "agentark.b.lazy", "agentark.late"}
    assert source.imports("agentark.alone") == set()


def test_modules_follow_circles(package):
    everything = [
        "agentark",
        "agentark.a",
        "agentark.a.one",
        "agentark.a.two",
        "agentark.b",
        "agentark.b.lazy",
        "agentark.late",
        "agentark.params",
    ]
    assert source.modules("agentark.b.lazy") == source.modules("agentark.a.one") == everything
    assert source.modules("agentark.b.other") == ["agentark.b.other"]


def test_hash_is_of_text_and_name(package):
    before = source.source_hash("agentark.b.lazy")
    (package / "b/other.py").write_text("changed = 1\n")
    assert source.source_hash("agentark.b.lazy") == before
    (package / "late.py").write_text("changed = 1\n")
    assert source.source_hash("agentark.b.lazy") != before
    assert source.source_hash("agentark.b.other", "agentark.late") == source.source_hash(
        "agentark.late", "agentark.b.other"
    )
    assert source.source_hash("agentark.b.other") != source.source_hash("agentark.late")


@pytest.mark.parametrize(
    "name", ["agentark.nothing", "agentark.a.nothing", "nothing", "__main__", "numpy", "nothing.params"]
)
def test_unknown_module(package, name):
    with pytest.raises(ValueError, match=name):
        source.source_hash(name)


def test_the_debate_depends_on_what_it_imports_alone(tmp_path, monkeypatch):
    copied = tmp_path / "agentark"
    shutil.copytree(
        source.PACKAGE,
        copied,
        ignore=lambda folder, names: [
            n for n in names if n in ("__pycache__", "paper") or n.endswith((".safetensors", ".json"))
        ],
    )
    roots = ("agentark.mas.stage", *tasks.modules("mini_gsm"))
    original = source.source_hash(*roots)
    monkeypatch.setattr(source, "PACKAGE", copied)
    assert source.source_hash(*roots) == original
    used = source.modules(*roots)
    assert {
        "agentark.mas.prompts",
        "agentark.mas.votes",
        "agentark.tasks.mini_gsm",
        "agentark.engines.transformers_engine",
        "agentark.params",
    } <= set(used)
    for module in ("agentark.mas.votes", "agentark.tasks.problem", "agentark.engines.transformers_engine"):
        file = source._file(module)
        text = file.read_text()
        file.write_text(text + "\n# changed\n")
        assert source.source_hash(*roots) != original, module
        file.write_text(text)
        assert source.source_hash(*roots) == original
    for file in (
        p for name in ("report", "extract", "distill", "evaluate", "zoo") for p in (copied / name).glob("*.py")
    ):
        file.write_text("broken(")
    assert source.source_hash(*roots) == original


def test_a_stage_depends_on_the_tasks_that_it_reads():
    alone, sums = source.modules("agentark.mas.stage"), source.modules("agentark.mas.stage", *tasks.modules("sums"))
    named = {module for module in alone if module.startswith("agentark.tasks.")}
    assert named <= {"agentark.tasks.problem"} and "agentark.tasks" in alone  # the table, and none that it names
    assert {"agentark.tasks.sums", "agentark.tasks.answers"} <= set(sums) and "agentark.tasks.asdiv" not in sums


@pytest.mark.parametrize(
    ("name", "module"),
    [("mini_gsm", "mini_gsm"), ("math_500", "math"), ("medmcqa_embedded", "medmcqa"), ("sums", "sums")],
)
def test_the_module_of_a_task(name, module):
    assert tasks.modules(name) == [f"agentark.tasks.{module}"]


def test_the_module_of_your_own_questions(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "1 + 1?", "answer": 2}\n')
    assert tasks.modules(str(tmp_path / "mine.jsonl")) == ["agentark.tasks.jsonl"]


def test_all_modules_are_found():
    assert {"agentark.mas", "agentark.mas.stage", "agentark.params", "agentark.extract.diverse"} <= set(all_modules())


@pytest.mark.parametrize("module", all_modules())
def test_imports_go_down_the_order(module):
    here = room(module)
    assert here in RANK or here in ALLOWED, f"{module} lies in no known room: give it a place in ORDER"
    for other in source.imports(module):
        there = room(other) if "." in other else None  # the package itself holds nothing
        if there is None or there == here:
            continue
        if here in FREE:
            assert there in FREE and RANK[there] < RANK[here], f"{module} imports {other}, but anyone may import {here}"
        elif here in ALLOWED:
            assert there in ALLOWED[here] | FREE, f"{module} imports {other}"
        else:
            assert there in FREE or (there in RANK and RANK[there] <= RANK[here]), (
                f"{module} imports {other}, of a room after it"
            )
            assert (here, there) not in FORBIDDEN, f"{module} imports {other}: the caller passes a function in"
