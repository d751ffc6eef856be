"""What makes a stage stale, and that imports go down the rooms' order only."""

import ast
import shutil
from pathlib import Path

import pytest

from agentark import tasks
from agentark.distill.method import methods
from agentark.graph import source

# Earlier rooms first: a module may import from its own room and from those before it (CONTRIBUTING.md).
ORDER = (
    *("params", "discovery", "stats", "assets", "store", "packages", "cells", "graph", "prompts", "pictures"),
    *("tasks", "models", "engines"),
    *("grade", "mas", "extract", "distill", "evaluate", "zoo", "report", "claims", "own_data", "plan"),
    *("bring", "notebook", "papermill_engine", "workflow", "cli"),
)
RANK = {room: rank for rank, room in enumerate(ORDER)}


def all_modules() -> list[str]:
    files = (path.relative_to(source.PACKAGE).with_suffix("") for path in source.PACKAGE.rglob("*.py"))
    names = (".".join(("agentark", *file.parts)).removesuffix(".__init__") for file in files)
    return sorted(name for name in names if "." in name)


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in the file it does."""
    found = set()
    for target, name in source.parsed(module).imports.values():
        found.add(f"{target}.{name}" if source.path_of(f"{target}.{name}") else target)
    return {name for name in found if name.startswith("agentark.") and source.path_of(name)}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", all_modules())
def test_imports_go_down_the_order(module):
    assert room(module) in RANK, f"{module} lies in no known room: give it a place in ORDER"
    for other in imported(module):
        assert RANK[room(other)] <= RANK[room(module)], f"{module} imports {other}, of a later room"


def test_no_circles_of_modules():
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != 1, f"a circle: {' -> '.join((*path, module))}"
        if module not in state:
            state[module] = 1
            for other in imports_at_the_top(module):
                visit(other, (*path, module))
            state[module] = 2

    for module in all_modules():
        visit(module, ())


def imports_at_the_top(module: str) -> set[str]:
    tree = ast.parse(source.path_of(module).read_text())
    names = {
        alias.asname or alias.name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    targets = {source.parsed(module).imports[name] for name in names if name in source.parsed(module).imports}
    found = {f"{t}.{n}" if source.path_of(f"{t}.{n}") else t for t, n in targets}
    return {name for name in found if name.startswith("agentark.") and source.path_of(name)} - {module}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may edit; `edit(file, old, new)` changes a text in it."""
    copy = tmp_path / "agentark"
    data = shutil.ignore_patterns("__pycache__", "paper", "*.safetensors", "*.json", "*.jinja")
    shutil.copytree(source.PACKAGE, copy, ignore=data)
    monkeypatch.setattr(source, "PACKAGE", copy)
    clear()
    yield copy
    clear()


def clear() -> None:
    for cached in (source.path_of, source.parsed, source.uses, source._text):
        cached.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}: mend the table"
    path.write_text(text.replace(old, new, 1))
    clear()


def hashes() -> dict[str, str]:
    """What the stages of a study on mini_gsm depend on, as their manifests have it."""
    code = tasks.sources("mini_gsm")
    imitate = {name: m.examples for name, m in methods().items() if m.examples}
    roots = {
        "debate": ["agentark.mas.generation:run", "agentark.mas.protocols.debate:debate", *code["problems"]],
        "self_consistency": [
            "agentark.mas.generation:run",
            "agentark.mas.protocols.self_consistency:run",
            *code["problems"],
        ],
        "grades": ["agentark.grade.grading:grade", *code["problems"], *code["grader"]],
        "traces": ["agentark.extract.traces:run"],
        "rsft": ["agentark.distill.students:run", f"{imitate['rsft'].__module__}:examples", *code["problems"]],
        "da": ["agentark.distill.students:run", f"{imitate['da'].__module__}:examples", *code["problems"]],
        "reward model": ["agentark.distill.prm:run", *code["problems"]],
        "policy": ["agentark.distill.grpo", "agentark.distill.grpo:run"],
        "predictions": ["agentark.evaluate.predict:run", *code["problems"]],
        "report": ["agentark.report.collect"],
    }
    return {stage: source.source_hash(*names) for stage, names in roots.items()}


TRAINED = {"rsft", "da"}
GENERATED = {"debate", "self_consistency", "predictions"}
# (what is edited, file, text, its replacement, what becomes stale)
EDITS = [
    ("a comment", "params/training.py", "class Rl", "# A remark.\nclass Rl", set()),
    ("a docstring", "mas/votes.py", '"""Return whether', '"""Say whether', set()),
    ("blank lines", "distill/sft.py", "\n\nclass WeightedSFTTrainer", "\n\n\n\n\nclass WeightedSFTTrainer", set()),
    (
        "an unused function",
        "distill/sft.py",
        "\n\nclass WeightedSFTTrainer",
        "\n\ndef f():\n    return 1\n\n\nclass WeightedSFTTrainer",
        set(),
    ),
    (
        "a constant in a loss",
        "distill/sft.py",
        "-(weights_BT[:, 1:] * log_probs_BT).sum()",
        "-2 * (weights_BT[:, 1:] * log_probs_BT).sum()",
        TRAINED,
    ),
    (
        "a rule of the debate",
        "mas/votes.py",
        "2 * most > len(answers)",
        "2 * most >= len(answers)",
        {"debate", "report"},
    ),
    ("an answer parser", "tasks/numeric.py", 'r"-?\\d+(?:,\\d{3})*(?:\\.\\d+)?"', 'r"-?\\d+(?:\\.\\d+)?"', {"grades"}),
    ("a weight of DA", "distill/methods/da.py", "1 / k[t.problem]", "1.0", {"da"}),
    ("which traces R-SFT takes", "distill/methods/rsft.py", "& traces.rsft", "& ~traces.rsft", {"rsft"}),
    ("a choice of extraction", "extract/traces.py", "if len(group) >= 2:", "if len(group) >= 3:", {"traces"}),
    ("the loss of Eq. 7", "distill/prm.py", "CONTRASTIVE_SHARE = 0.5", "CONTRASTIVE_SHARE = 0.4", {"reward model"}),
    ("a colour of a figure", "report/figures.py", 'GREY = "#555555"', 'GREY = "#666666"', {"report"}),
    (
        "a template of a benchmark",
        "tasks/mini_gsm.py",
        "LARGEST = ",
        "LARGEST = 1 + ",
        GENERATED | TRAINED | {"grades", "reward model"},
    ),
    ("the size of an evaluation's chunk", "evaluate/predict.py", "CHUNK = 256", "CHUNK = 128", {"predictions"}),
]


@pytest.mark.parametrize(("what", "file", "old", "new", "stale"), EDITS, ids=[e[0] for e in EDITS])
def test_what_an_edit_makes_stale(package, what, file, old, new, stale):
    before = hashes()
    edit(package / file, old, new)
    after = hashes()
    assert {stage for stage in before if before[stage] != after[stage]} == stale


@pytest.mark.parametrize("file", ["tasks/toy.py", "distill/methods/toy.py", "mas/protocols/toy.py", "report/toy.py"])
def test_a_new_file_makes_nothing_stale(package, file):
    before = hashes()
    (package / file).write_text("TASKS = METHOD = PROTOCOL = ()\n")
    clear()
    assert hashes() == before


def test_names_are_followed_through_packages_and_modules(package):
    (package / "toy").mkdir()
    (package / "toy/__init__.py").write_text("from .a import f\nfrom . import b\n")
    (package / "toy/a.py").write_text(
        "from agentark.toy import b\nX = 1\n\n\ndef f():\n    return b.g(X)\n\n\ndef unused():\n    return 1\n"
    )
    (package / "toy/b.py").write_text("from . import c\n\n\ndef g(x):\n    from .c import h\n    return h(x) + c.Y\n")
    (package / "toy/c.py").write_text("Y = 2\nZ = 3\n\n\ndef h(x):\n    return x\n")
    (package / "toy/d.py").write_text("from agentark import toy\n\n\ndef k():\n    return toy.f(), toy.b.g(1)\n")
    clear()
    found = {f"{m.removeprefix('agentark.toy.')}:{n}" for m, n in source.definitions("agentark.toy.d:k") if n}
    assert found == {"d:k", "a:f", "a:X", "b:g", "c:h", "c:Y"}


@pytest.mark.parametrize("root", ["agentark.nothing", "agentark.mas.votes:nothing", "agentark.nothing:f"])
def test_unknown_roots(root):
    with pytest.raises(ValueError, match="nothing"):
        source.source_hash(root)


def test_other_roots_stand_for_themselves():
    assert source.source_hash("instruction:a") != source.source_hash("instruction:b")
    assert source.source_hash("agentark.mas.votes:tally", "partial:1") != source.source_hash("agentark.mas.votes:tally")


def test_grading_does_not_belong_to_what_is_generated():
    roots = [
        "agentark.mas.generation:run",
        "agentark.mas.protocols.debate:debate",
        *tasks.sources("mini_gsm")["problems"],
    ]
    modules = {module for module, _ in source.definitions(*[r for r in roots if r.startswith("agentark")])}
    assert not {m for m in modules if m.startswith(("agentark.grade", "agentark.extract", "agentark.report"))}
    assert ("agentark.tasks.numeric", "parse") not in source.definitions(*roots)
