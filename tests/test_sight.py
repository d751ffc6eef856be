"""Which networks see pictures, which tests they take, and what of a study is refused before it runs."""

import json

import pytest
import tiny
from test_names import check

from agentark import notebook, params, pictures, plan, store, tasks
from agentark.engines import images
from agentark.evaluate import jobs as evaluation
from agentark.evaluate import students
from agentark.graph import graph
from agentark.graph.job import Sizes, Study
from agentark.mas import jobs as generation
from agentark.models import fit
from agentark.params import ParamsError

SEES, READS, TEACHER = "zoo/qwen2.5-vl-3b", "zoo/gemma-7b", "zoo/qwen3-32b"
PICTURES = ["mini_pictures", "mini_pictures_exchanged"]
SERVER = params.Engine(name="openai", base_url="http://localhost:8000/v1", concurrency=1, retries=1, timeout_s=1.0)
VLLM = params.Engine(
    name="vllm",
    batch=8,
    share_prefix=True,
    tensor_parallel=1,
    data_parallel=1,
    dtype="bfloat16",
    gpu_memory_utilization=0.5,
    max_model_len=1024,
)


@pytest.fixture(scope="module")
def study() -> Study:
    config, _ = params.load(store.ROOT / "params" / "mini-vision.yaml")
    return Study(config)


@pytest.mark.parametrize(
    ("name", "engine", "expected"),
    [
        (SEES, tiny.ENGINE, True),
        (READS, tiny.ENGINE, False),
        ("Qwen2.5-VL-3B-Instruct", tiny.ENGINE, True),
        ("Qwen3-8B", tiny.ENGINE, False),
        ("smollm2-135m", tiny.ENGINE, False),
        ("somebody/unknown", tiny.ENGINE, True),  # its config is not here: the engine will say
        ("Qwen2.5-VL-3B-Instruct", VLLM, False),
        ("anything", SERVER, True),
    ],
)
def test_who_sees(name, engine, expected):
    assert fit.sees(name, engine) is expected
    assert fit.tests_of(name, ["mini_gsm", *PICTURES], engine) == ["mini_gsm", *PICTURES * expected]


def test_an_adapter_sees_what_its_base_sees(tmp_path):
    for base in (SEES, READS, "Qwen3-8B"):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
        assert fit.sees(str(tmp_path), tiny.ENGINE) == (base == SEES)
        assert fit.context_of(str(tmp_path)) == fit.context_of(base)


def test_the_kinds_are_those_of_the_engine():
    assert fit.SEEING == images.KINDS
    assert [name for name in tasks.names() if tasks.has_pictures(name)] == PICTURES
    assert all(tasks.problems(name, "test", 1)[0].image for name in PICTURES)


def test_a_network_takes_the_tests_that_it_can_see(study):
    runs = list(evaluation.jobs(study))
    answered = {path.name for run in runs for path in run.outputs if path.parent.name == "predictions"}
    cells = len(evaluation.cells(study)) // 2
    assert len([name for name in answered if "pictures" in name]) == 2 * cells
    assert all("qwen2.5-vl-3b" in name for name in answered if "pictures" in name)
    assert len([name for name in answered if "gemma-7b" in name]) == 2 * cells
    debated = {job.coordinates["task"] for job in generation.jobs(study)}
    assert debated == {"mini_gsm", "mini_med"}
    rates = plan.rates(study.params)
    sees, reads = (evaluation.answer_tokens(study, name, 0, rates)["generated", name] for name in (SEES, READS))
    assert (sees / reads) == pytest.approx((1000 + 250 + 500 + 250) / (1000 + 250))
    sizes = Sizes(1, 1, {"mini_gsm": 3, "mini_pictures": 2})
    assert students._tests(study.params, SEES, sizes) == sizes.tests
    assert students._tests(study.params, READS, sizes) == {"mini_gsm": 3}


def test_the_plan_says_who_is_left_out(study):
    config = study.params
    sentences = [f"{name} cannot see pictures: it is left out of {' and '.join(PICTURES)}" for name in (READS, TEACHER)]
    assert list(fit.left_out(config)) == sentences
    text = plan.text(config, 0, graph.all_jobs(config, 0), set(), 1)
    assert all(sentence in text for sentence in sentences)
    mini, _ = params.load(store.ROOT / "params" / "mini.yaml")
    assert not list(fit.left_out(mini))


def test_pictures_that_nobody_sees_are_refused():
    with pytest.raises(
        ParamsError, match="study.test_tasks: mini_pictures has pictures, which no student of the study"
    ):
        check(study__test_tasks=["mini_gsm", "mini_pictures"])
    check(study__test_tasks=["mini_gsm", "mini_pictures"], study__students=[SEES, READS])
    with pytest.raises(ParamsError, match=f"study.train_tasks: mini_pictures has pictures, which {TEACHER} cannot see"):
        check(study__train_tasks=["mini_pictures"], study__students=[SEES])
    with pytest.raises(
        ParamsError, match=f"mini_pictures has pictures, which {READS} cannot see: take another network"
    ):
        check(study__train_tasks=["mini_pictures"], study__students=[SEES, READS], study__teachers=[SEES])
    check(study__train_tasks=["mini_pictures"], study__students=[SEES], study__teachers=[SEES])


def test_how_many_questions_are_answered(study):
    run = notebook.Run(study.params, params.Coordinates())
    assert run.questions([SEES, READS]) == 2000 + 1250 and run.questions([READS]) == 1250


def test_each_question_has_the_picture_of_another_one_of_its_kind():
    own, other = (tasks.problems(name, "test", 300) for name in PICTURES)
    assert other[:50] == tasks.problems(PICTURES[1], "test", 50)
    shown: dict[str, str] = {}
    for seen, exchanged in zip(own, other):
        kind = seen.template.rsplit("-", 2)[0]
        assert (seen.question, seen.answer, seen.solution) == (exchanged.question, exchanged.answer, exchanged.solution)
        assert exchanged.image == shown.get(kind, pictures.BLANK) != seen.image
        assert exchanged.id == seen.id.replace(*PICTURES)
        shown[kind] = seen.image
    assert tasks.in_domain("mini_pictures", PICTURES[1]) and not tasks.in_domain("mini_gsm", PICTURES[1])
