"""Tests of the debate viewer: colours, marks, and escaping of the text of models."""

import pandas as pd
import pytest

from agentark.report import viewer


def log(*rows) -> pd.DataFrame:
    columns = ["problem", "round", "agent", "text", "answer", "correct", "finish", "gold"]
    return pd.DataFrame([("p", *row, "7") for row in rows], columns=columns)


TWO = log(
    (1, 1, "six", "6", False, "stop"),
    (1, 2, "seven", "7", True, "stop"),
    (2, 1, "seven now", "7", True, "stop"),
    (2, 2, "seven", "7", True, "length"),
    (3, 0, "all say 7", "7", True, "stop"),
)


def test_right_wrong_changed_and_cut_off_are_marked():
    html = viewer.debate(TWO, "How many?")
    assert html.count(viewer.RED) == 1 + 1  # the legend and agent 1's first answer
    assert html.count(viewer.GREEN) == 1 + 4
    assert html.count("↻") == 1 + 1 and "cut off" in html and "aggregator" in html


def test_model_text_is_escaped():
    html = viewer.debate(log((1, 1, "<script>alert(1)</script>", "<b>", False, "stop")), "<img src=x onerror=alert(1)>")
    assert "<script>" not in html and "<img" not in html and "<b><b>" not in html and "&lt;script&gt;" in html


def test_a_missing_answer_is_grey():
    assert viewer.debate(log((1, 1, "hm", None, False, "stop")), "?").count(viewer.GREY) == 2


def test_one_problem_at_a_time():
    with pytest.raises(ValueError, match="one problem at a time"):
        viewer.debate(pd.concat([TWO, TWO.assign(problem="q")]), "?")


def test_scored_steps_are_escaped_coloured_and_marked():
    html = viewer.scored(["p <1>"], [["1+1=2", "<b>2+2=5</b>", "so"]], [[1.0, 0.0, 0.5]], [[True, False, None]])
    assert "p &lt;1&gt;" in html and "&lt;b&gt;2+2=5&lt;/b&gt;" in html and "<b>2" not in html
    assert html.count("◀") == 1 and "✗ 0.00 ◀" in html and "✓ 1.00" in html and "· 0.50" in html
    assert "#96d6b2" in html and "#f4a592" in html  # the ends of the scale


def test_scores_of_other_steps_are_rejected():
    with pytest.raises(ValueError, match="2 steps, 1 scores"):
        viewer.scored(["p"], [["a", "b"]], [[0.1]], [[None, None]])
    assert viewer.scored(["p"], [[]], [[]], [[]]).startswith("<p")  # a trace without steps
