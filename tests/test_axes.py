"""Axes of a study and dotted paths: which paths and values are allowed, and what the errors name."""

import pytest
from test_params import LORA, checked, config, message_for

from agentark import params
from agentark.params import ParamsError

AXES = {
    "debate.agents": [3, 7],
    "sizes.train": [100],
    "prm.backbone": ["student", "zoo/qwen3-8b"],
    "rl.init": ["rsft"],
    "distill.lora": [None, LORA],
    "distill.learning_rate": [1.0e-4],
}


def test_axes():
    sections, coordinates = params.check(
        config(study__axes=AXES, axes={"debate.agents": 7, "distill.lora": LORA}), "x.yaml"
    )
    assert sections.study.axes == AXES and coordinates.axes == {"debate.agents": 7, "distill.lora": LORA}
    assert sections.debate.agents == 5  # the axes describe cells; the sections stay those of the file


@pytest.mark.parametrize("place", ["study.axes", "axes"])
@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("debate.agent", 3, [": unknown key 'debate.agent'", "did you mean 'debate.agents'"]),
        ("debat.agents", 3, ["did you mean 'debate.agents'"]),
        ("debate", 3, [": a section cannot be an axis; name a key below it"]),
        ("rl.zzzzzzzzzz", 3, ["there are rl.init, rl.learning_rate"]),
        ("zzzzzzzzzz", 3, ["there are sizes, engine"]),
        ("distill.lora.r", 4, ["did you mean 'distill.lora'"]),  # lora is null
        ("debate.agents", 99, [" = 99: ", "less than or equal to 20"]),
        ("debate.agents", "3", [" = '3': ", "integer"]),
        ("debate.wording", "trese", [" = 'trese': ", "did you mean 'terse'"]),
        ("sizes.debate_test", 2000, [" = 2000: ", "more than test (1000)"]),
        ("engine.tensor_parallel", 2, [" = 2: ", "belongs to another engine"]),
        ("extract.diversity", "judge", [" = 'judge': ", "needs judges.diversity"]),
        ("distill.lora", {**LORA, "alpah": 1}, [" = a mapping with 5 keys: ", "did you mean 'alpha'"]),
        ("study.seeds", [1], ["the lists of the study are axes already"]),
        ("stats.level", 0.9, ["no key of stats can be an axis"]),
    ],
)
def test_axes_that_are_impossible(place, path, value, parts):
    message = message_for(study__axes={path: [value]}) if place == "study.axes" else message_for(axes={path: value})
    assert message.startswith(f"x.yaml: {place}.{path}") and "\n" not in message, message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"debate.agents": []}, "study.axes.debate.agents must have at least 1 item, not []"),
        ({"debate.agents": 3}, "study.axes.debate.agents must be a valid list, not 3"),
        ({"debate.agents": [3, 7, 3]}, "study.axes.debate.agents: a value is listed twice: [3, 7, 3]"),
        ({"distill.lora": [LORA, LORA]}, f"study.axes.distill.lora: a value is listed twice: {[LORA, LORA]}"),
    ],
)
def test_values_of_axes_are_lists_without_repeats(axes, sentence):
    assert message_for(study__axes=axes) == f"x.yaml: {sentence}"


@pytest.mark.parametrize(
    ("taught", "sentence"),
    [
        ({"debate.agents": [7]}, ": no student can learn with 7: study.axes.debate.agents has [3, 5]"),
        ({"debate.rounds": [1]}, ": no student can learn with 1: debate.rounds is no axis of the study"),
        ({"debate.agents": []}, " must have at least 1 item, not []"),
    ],
)
def test_only_values_of_axes_can_be_taught(taught, sentence):
    message = message_for(study__axes={"debate.agents": [3, 5]}, study__taught=taught)
    assert message == f"x.yaml: study.taught.{next(iter(taught))}{sentence}"
    found = checked(study__axes={"debate.agents": [3, 5]}, study__taught={"debate.agents": [5]})
    assert found.study.taught == {"debate.agents": [5]} and found.with_axes({"debate.agents": 3}).study == found.study


def test_axes_that_lie_within_each_other():
    message = message_for(distill__lora=LORA, study__axes={"distill.lora.r": [4], "distill.lora": [None]})
    assert "study.axes.distill.lora.r lies within distill.lora" in message
    assert checked(distill__lora=LORA, study__axes={"distill.lora.r": [4]}).study.axes == {"distill.lora.r": [4]}


def test_with_axes():
    sections = checked(study__axes=AXES)
    before = sections.model_copy(deep=True)
    changed = sections.with_axes({"debate.agents": 7, "distill.lora": LORA, "sizes.train": 100})
    assert changed.debate.agents == 7 and changed.sizes.train == 100 and changed.distill.lora == params.Lora(**LORA)
    assert sections == before and changed.study == sections.study
    assert changed.with_axes({"distill.lora.r": 4}).distill.lora.r == 4
    assert sections.with_axes({}) == sections


def test_with_axes_checks_the_values_together():
    sections = checked(study__axes={"sizes.test": [500, 2000], "sizes.debate_test": [400, 1000]})
    assert sections.with_axes({"sizes.test": 2000, "sizes.debate_test": 1500}).sizes.debate_test == 1500
    assert sections.with_axes({"sizes.test": 500, "sizes.debate_test": 400}).sizes.test == 500
    with pytest.raises(ParamsError, match=r"^axes.sizes.test = 500, axes.sizes.debate_test = 1000: .*more than test"):
        sections.with_axes({"sizes.test": 500, "sizes.debate_test": 1000})
    with pytest.raises(ParamsError, match=r"^axes.debate.agent: unknown key 'debate.agent'; did you mean"):
        sections.with_axes({"debate.agent": 3})


def test_axes_of_a_task_whose_name_has_dots():
    sections = checked(study__train_tasks=["own.v1.jsonl"], sizes__tasks={"own.v1.jsonl": {"train": 50}})
    path = "sizes.tasks.own.v1.jsonl.train"
    assert sections.with_axes({path: 20}).value(path) == 20


def test_value_at_a_path():
    sections = checked(distill__lora=LORA)
    assert sections.value("debate") == sections.debate.model_dump()
    assert sections.value("debate.wording") == "terse" and sections.value("judges.verifier") is None
    assert sections.value("distill.lora.r") == 8 and sections.value("study.seeds") == [0]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("debat", "unknown key 'debat'; did you mean 'debate'"),
        ("debate.word", "did you mean 'debate.wording'"),
        ("distill.zzzzzzzzzz", "there are distill.learning_rate, "),
        ("", "there are study, sizes"),
    ],
)
def test_value_at_an_unknown_path(path, sentence):
    with pytest.raises(ParamsError, match=sentence):
        checked().value(path)
