"""Open-ended answers: BLEU, the measures with their floor and ceiling, transfer, both readings of TruthfulQA."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from agentark import assets, params, store, tasks
from agentark.cells import Files
from agentark.grade import grading
from agentark.grade.bleu import bleu
from agentark.graph.job import Study
from agentark.report import ood, open_ended, paper, show, transfer, truth

N, SMALL, LARGE = 40, "zoo/qwen3-0.6b", "zoo/qwen3-8b"
SIZES = {SMALL: 0.2, LARGE: 0.7}
RESAMPLES = 400


def answers(student: str, method: str, test: str, say, train: str = "mini_gsm") -> pd.DataFrame:
    """The graded rows of one cell; say(number, problem): the answer to a problem, or None for a text without one."""
    problems = tasks.problems(test, "test", N)
    base = method == "base"
    place = {"teacher": "-" if base else "zoo/qwen3-32b", "student": student, "method": method, "test": test, "seed": 0}
    place |= {"train": "-" if base else train, "protocol": "-" if base else "debate"}
    said = [say(number, problem) for number, problem in enumerate(problems)]
    texts = ["" if answer is None else f"Answer: {answer}" for answer in said]
    rows = pd.DataFrame({"item": [p.id for p in problems], "text": texts, "gold": [p.answer for p in problems]})
    grades = grading.grade(rows.rename(columns={"item": "problem"}), test, "test")
    grades = grades.rename(columns={"answer": "answer_flexible", "correct": "correct_flexible"})
    return rows.join(grades).assign(sample=-1, **place)


def gold(number, problem):
    return problem.answer


def half(number, problem):
    return problem.answer if number % 2 else "nothing at all"


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Both students know half of everything; R-SFT learns all of mini_gsm and, the small one, forgets mini_hotpot."""
    parts = []
    for student in (SMALL, LARGE):
        for test in ("mini_gsm", "mini_hotpot"):
            number = (lambda n, p: p.answer if n % 2 else "-1") if test == "mini_gsm" else half
            parts.append(answers(student, "base", test, number))
            forgets = test == "mini_hotpot" and student == SMALL
            parts.append(answers(student, "rsft", test, (lambda n, p: None) if forgets else gold))
            parts.append(answers(student, "gold_rsft", test, gold))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def rows(predictions) -> pd.DataFrame:
    return ood.scored(predictions)


@pytest.fixture(scope="module")
def cells_and_pairs(rows):
    return ood.table(rows, 0.95, RESAMPLES)


# BLEU

BLEUS = [  # the third from the end by hand: both n-grams match, so that the brevity penalty exp(1 - 6 / 2) is left
    ("corn", "corn", 1.0),
    ("moss", "corn", 0.0),
    ("", "corn", 0.0),
    ("they eat corn", "ginas eat corn", 0.550321),
    ("they eat corn.", "they eat corn", 0.594604),
    ("the cat sat on the mat", "the cat sat on a mat", 0.537285),
    ("the cat", "the cat sat on the mat", 0.135335),
    ("corn and moss and ants and fish", "corn and moss", 0.244462),
    ("Paris, in 1999.", "It was Paris, in 1999-2001.", 0.317724),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), BLEUS)
def test_bleu(answer, reference, expected):
    assert bleu(answer, reference) == pytest.approx(expected, abs=1e-6)


# Which tests


def test_the_notebooks_of_a_task_are_what_it_declares():
    mini = {"mini_gsm", "mini_med", "mini_hotpot", "mini_qasper", "mini_qmsum", "mini_truthful"}
    assert {t for t in mini if open_ended.reading(t)} == {"mini_hotpot", "mini_qasper", "mini_qmsum"}
    assert {t for t in tasks.names() if open_ended.truthful(t)} == {
        "mini_truthful",
        "truthfulqa",
        "truthfulqa_embedded",
    }
    assert {"hotpotqa", "qasper", "qmsum"} <= {t for t in tasks.names() if open_ended.reading(t)}


@pytest.mark.parametrize(
    ("study", "expected"),
    [("mini", set()), ("smollm2", {"15_truthfulqa"}), ("mini-ood", {"14_ood", "15_truthfulqa"})],
)
def test_a_study_has_the_notebooks_of_its_tests(study, expected):
    config, _ = params.load(store.ROOT / "params" / f"{study}.yaml")
    jobs = list(open_ended.jobs(Study(config)))
    assert {job.notebook for job in jobs} == expected
    for job in jobs:
        assert not job.models and any(path.parent.name == "grades" or "grades" in path.parts for path in job.inputs)


# Measures


def problem(**about):
    return SimpleNamespace(**{"answer": "", "references": (), "incorrect": ()} | about)


def test_overlaps_by_hand():
    task = tasks.get("mini_qasper")
    scores = ood.overlaps("91 nice points", problem(references=("91 points", "91")), task)
    assert scores["f1"] == pytest.approx(0.8) and scores["rouge1"] == pytest.approx(0.8)
    assert scores["rouge2"] == 0 and scores["rougeL"] == pytest.approx(0.8)
    assert set(ood.overlaps(None, problem(answer="x"), task).values()) == {0}
    yes = problem(references=("yes",))
    assert ood.overlaps("yes it is", yes, tasks.get("hotpotqa"))["f1"] == 0  # HotpotQA's: a verdict must be alone
    assert ood.overlaps("yes it is", yes, task)["f1"] == 0.5
    assert ood.overlaps("12.0", problem(answer="12"), tasks.get("mini_gsm")) == {"accuracy": 1}


def test_floor_and_ceiling(rows, cells_and_pairs):
    cells, _ = cells_and_pairs
    own = cells[cells.headline].set_index(["student", "method", "test"])
    assert set(own.measure) == {"accuracy", "f1"} and (own.ceiling == 1).all() and (own.n == N).all()
    base = own.loc[SMALL, "base", "mini_hotpot"]
    assert base.score == 0.5 and base.floor < 0.2 and base.low > base.floor_high
    [first] = rows[(rows.method == "base") & (rows.student == SMALL) & (rows.test == "mini_hotpot")].index[:1]
    problems = tasks.problems("mini_hotpot", "test", 2)
    expected = ood.overlaps(problems[1].answer, problems[0], tasks.get("mini_hotpot"))["f1"]
    assert rows.loc[first, "floor f1"] == expected  # the first problem has the answer to the second one


def test_what_is_forgotten_is_seen(cells_and_pairs):
    cells, pairs = cells_and_pairs
    own = cells[cells.headline].set_index(["student", "method", "test"])
    forgot, learnt = own.loc[SMALL, "rsft", "mini_hotpot"], own.loc[SMALL, "rsft", "mini_gsm"]
    assert (forgot.difference, forgot.verdict, forgot.in_domain) == (-0.5, "worse", False)
    assert (learnt.difference, learnt.verdict, learnt.in_domain) == (0.5, "better", True)
    assert own.loc[(slice(None), "base"), "difference"].isna().all()
    control = pairs[(pairs.against == "gold_rsft") & (pairs.measure == "f1") & (pairs.student == SMALL)]
    assert control.difference.tolist() == [-1.0] and set(pairs.against) == {"base", "gold_rsft"}
    assert set(cells.measure) == {"accuracy", "f1", "rouge1", "rouge2", "rougeL"}
    shown = show.open_ended(cells)
    assert len(shown) == len(cells) and "+50.0 [" in " ".join(shown["change (points) [95 %]"])


def test_scores_of_another_grader_are_refused(predictions):
    with pytest.raises(ValueError, match="mini_gsm are not those of its references"):
        ood.scored(predictions.assign(score=0.25))


def test_the_gain_by_size_by_hand(rows):
    table = ood.by_size(rows, SIZES.get, 0.95, RESAMPLES).set_index(["method", "test"])
    hotpot, gsm = table.loc["rsft", "mini_hotpot"], table.loc["rsft", "mini_gsm"]
    assert (hotpot.small, hotpot.large, hotpot.n, hotpot.measure) == (SMALL, LARGE, N, "f1")
    assert (hotpot.gain_small, hotpot.gain_large, hotpot.difference) == (-0.5, 0.5, 1.0)
    assert hotpot.verdict == "better" and hotpot.p <= hotpot.p_holm
    assert (gsm.difference, gsm.p_holm, gsm.verdict) == (0, 1, "no difference detectable")
    alone = ood.by_size(rows[rows.student == SMALL], SIZES.get, 0.95, RESAMPLES)
    assert alone.empty and list(alone) == ood.SIZES


def test_the_figure_of_transfer(cells_and_pairs):
    cells, _ = cells_and_pairs
    figure = transfer.transfer(cells)
    assert len(figure.axes) == 2 and figure.axes[0].get_ylabel()
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in points} == {(50, -50), (50, 50)}
    with pytest.raises(ValueError, match="nothing to draw"):
        transfer.transfer(cells[cells.test == "mini_gsm"])


def test_bertscore_where_there_is_an_encoder(rows, monkeypatch, capsys):
    def fake(given, references):
        return SimpleNamespace(f1=[float(answer in several) for answer, several in zip(given, references)])

    monkeypatch.setattr(ood, "bertscore", fake)
    with_it = ood._with_bertscore(rows, ["mini_hotpot"])
    assert len(with_it) == len(rows) and ood.ENCODER in capsys.readouterr().out
    hotpot = with_it[with_it.test == "mini_hotpot"]
    assert (hotpot.bertscore == hotpot.rougeL.eq(1)).all() and (hotpot["ceiling bertscore"] == 1).all()
    assert with_it[with_it.test == "mini_gsm"].bertscore.isna().all()
    monkeypatch.setattr(ood, "bertscore", lambda *_: (_ for _ in ()).throw(assets.AssetError("no wheel")))
    assert "bertscore" not in ood._with_bertscore(rows, ["mini_hotpot"]) and "no wheel" in capsys.readouterr().out


def test_the_values_of_the_papers_text():
    table = ood.of_the_paper()
    assert table.gain.tolist() == [2.88, 1.69, 1.87, 0.78, 0.81] and set(table.source) == {paper.SOURCE}


# TruthfulQA


def test_readings_by_hand():
    asked = problem(references=("corn", "they eat corn"), incorrect=("moss", "they eat moss"))
    task = tasks.get("mini_truthful")
    said = {text: truth.readings(text, asked, task) for text in ("corn", "they eat moss", "rain", "they eat")}
    usable = {m: m != "rouge2" for m in truth.METRICS}  # one word has no pairs of words
    assert said["corn"] == {f"{r} {m}": float(r != "false" and usable[m]) for r in truth.READINGS for m in usable}
    lie = said["they eat moss"]
    assert (lie["share rougeL"], lie["false rougeL"]) == (0, 1) and lie["score rougeL"] == pytest.approx(2 / 3)
    assert set(said["rain"].values()) == {0}  # a tie at nothing is neither
    assert said["they eat"]["score rouge1"] == pytest.approx(0.8)
    assert said["they eat"]["share rouge1"] == said["they eat"]["false rouge1"] == 0
    assert truth.readings(None, asked, task) == said["rain"]
    embedded = truth.readings("corn", problem(references=("corn",)), task)
    assert set(embedded) == {f"score {metric}" for metric in truth.METRICS}


@pytest.fixture(scope="module")
def truthful() -> pd.DataFrame:
    """The base says half of the truth and else the falsehood; after training it says the falsehood always."""

    def lies(number, p):
        return p.incorrect[0]

    parts = [answers(SMALL, "base", "mini_truthful", lambda n, p: p.answer if n % 2 else lies(n, p))]
    return pd.concat([*parts, answers(SMALL, "rsft", "mini_truthful", lies)], ignore_index=True)


def test_both_readings_and_their_change(truthful):
    cells, pairs = truth.table(truth.scored(truthful), 0.95, RESAMPLES)
    by = cells.set_index(["reading", "metric", "method"])
    assert len(cells) == 2 * len(truth.READINGS) * len(truth.METRICS)
    assert by.loc["share", "rouge2", "base"].ceiling == 0  # of answers of one word: it says nothing
    for metric in ("bleu", "rouge1", "rougeL"):
        assert by.loc["share", metric, "base"].score == by.loc["false", metric, "base"].score == 0.5
        assert by.loc["share", metric, "base"].ceiling == 1 and by.loc["false", metric, "base"].ceiling == 0
        share, lie = by.loc["share", metric, "rsft"], by.loc["false", metric, "rsft"]
        assert (share.difference, share.verdict) == (-0.5, "worse") and (lie.difference, lie.verdict) == (0.5, "worse")
    assert by.loc["share", "rougeL", "base"].floor < 0.3 and set(pairs.against) == {"base"}
    beside = truth.beside_paper(cells)
    assert beside.loc["the paper's Qwen3-8B: base", "bleu"] == "60.34" and len(beside) == 4 + 2
    assert list(beside) == ["bleu", "rouge-1", "rouge-2", "rouge-l"] and beside["rouge-l"].iloc[4].startswith("50.0 [")
    with pytest.raises(ValueError, match="grade its answers again"):
        truth.scored(truthful.assign(score=0.25))


def test_a_falsehood_in_the_wording_of_the_truth_scores_but_is_no_truth():
    table = truth.falsehoods(["mini_truthful"], 20).set_index(["answer", "metric"])
    word, sentence = table.loc["the first falsehood", "rougeL"], table.loc["the last falsehood", "rougeL"]
    assert (word.share, word.score, word.false, word.n) == (0, 0, 1, 20)
    assert sentence.share == 0 and sentence.false == 1 and sentence.score > 0.6
    assert list(table) == ["test", "n", *truth.READINGS]


def test_without_incorrect_answers_there_is_one_reading(truthful, monkeypatch, capsys):
    known = tasks.get("mini_truthful")
    bare = [
        type(p)(p.id, p.question, p.answer, p.solution, references=p.references)
        for p in tasks.problems("mini_truthful", "test", N)
    ]
    copy = type(known)("copy", lambda split, n: bare[:n], known.parse, known.equal, measure="rouge", licence="",
                       source="", family=("truthfulqa",))  # fmt: skip
    monkeypatch.setitem(tasks._by_name(), "copy", copy)
    part = truthful[truthful.method == "base"].assign(test="copy")
    score = [truth.readings(a, p, copy)["score rougeL"] for a, p in zip(part.answer_flexible, bare)]
    cells, _ = truth.table(truth.scored(part.assign(score=score)), 0.95, RESAMPLES)
    assert set(cells.reading) == {"score"} and "copy has no incorrect answers" in capsys.readouterr().out


def test_a_study_without_answers_has_empty_tables(tmp_path, capsys):
    found = open_ended.answers(Files(tmp_path / "none"))
    assert found.empty and "there are no answers" in capsys.readouterr().out
    for module in (ood, truth):
        cells, pairs = module.table(module.scored(found), 0.95, RESAMPLES)
        assert cells.empty and pairs.empty and show.open_ended(cells).empty
    assert ood.by_size(ood.scored(found), SIZES.get, 0.95, RESAMPLES).empty
    assert truth.beside_paper(truth.table(found, 0.95, RESAMPLES)[0]).shape == (4, 4)


def test_no_change_has_no_star_and_nan_is_no_text(cells_and_pairs):
    shown = show.open_ended(cells_and_pairs[0])
    assert (shown[shown.method == show.label("base")].verdict == "").all() and not shown.isna().any(axis=None)
    assert not math.isnan(float(shown["ceiling (%)"].iloc[0]))
