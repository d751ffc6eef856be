"""The plan of a study: tokens, seconds and memory that were computed by hand, without any connection or network."""

import dataclasses
import math
import os
import socket

import pytest

from agentark import params, plan, store
from agentark.extract.jobs import VERDICT
from agentark.graph import graph
from agentark.graph.job import Job
from agentark.plan.context import too_many_agents
from agentark.plan.rates import CODER, GPU, MINI, SMOLLM2, judges, speed

R = dataclasses.replace(
    MINI, generated=10.0, revised=5.0, sampled=5.0, read=100.0, trained=20.0, question=100, reply=10, revision=30,
    debating=0.5, start_s=3.0,
)  # fmt: skip


def load(name: str) -> params.Params:
    return params.load(store.ROOT / "params" / f"{name}.yaml")[0]


def but(config: params.Params, **changes) -> params.Params:
    """The params with values replaced: debate__agents=3 sets debate.agents."""
    values = config.model_dump()
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section][name] = value
    return params.check(values, "x")[0]


def job(config: params.Params, notebook: str, limit: int = 10, **coordinates) -> Job:
    """The only job of a notebook with these coordinates."""
    jobs = [job for job in graph.all_jobs(config, limit) if job.notebook == notebook]
    [chosen] = [job for job in jobs if all(job.coordinates.get(k) == v for k, v in coordinates.items())]
    return chosen


def tokens(config: params.Params, notebook: str, limit: int = 10, **coordinates) -> dict:
    """The expected work of a job at the rates R."""
    return job(config, notebook, limit, **coordinates).tokens(R)


QWEN = load("qwen3")
DEBATE = {"notebook": "01_debate_generation", "teacher": "Qwen3-8B", "task": "gsm8k", "split": "dev"}
STUDENT = {"teacher": "Qwen3-8B", "students": ["Qwen3-0.6B"], "task": "math"}


def test_tokens_of_a_debate():
    config = but(QWEN, debate__agents=5, debate__rounds=3, debate__aggregator="majority")
    # 10 problems × 5 agents × 10, then × 2 × 0.5 rounds × 30; read: 10 × 100, then 10 × 2 × 0.5 × (100 + 5 × 10)
    expected = {("generated", "Qwen3-8B"): 500, ("revised", "Qwen3-8B"): 1500, ("read", "Qwen3-8B"): 2500}
    assert tokens(config, **DEBATE, protocol="debate") == expected == tokens(config, **DEBATE, protocol="shuffled")
    with_summary = tokens(but(config, debate__aggregator="llm"), **DEBATE, protocol="debate")
    assert with_summary == {**expected, ("generated", "Qwen3-8B"): 600, ("read", "Qwen3-8B"): 4000}


def test_tokens_of_samples():
    config = but(
        QWEN, debate__agents=5, debate__rounds=3, debate__aggregator="majority", study__protocols=["debate", "single"]
    )
    assert tokens(config, **DEBATE, protocol="self_consistency") == {
        ("generated", "Qwen3-8B"): 1500,
        ("read", "Qwen3-8B"): 1000,
    }
    assert tokens(config, **DEBATE, protocol="single") == {("generated", "Qwen3-8B"): 100, ("read", "Qwen3-8B"): 1000}


def test_tokens_of_students():
    config = but(
        QWEN, evaluate__samples=0, evaluate__base_votes=3, distill__epochs=2, study__test_tasks=["gsm8k", "medmcqa"]
    )
    answers = {("generated", "Qwen3-0.6B"): 200, ("read", "Qwen3-0.6B"): 2000}  # 2 test sets × 10 × 10
    assert tokens(config, "03_sft_baseline", teacher="Qwen3-8B", students=["Qwen3-0.6B"], method="base") == {
        ("generated", "Qwen3-0.6B"): 800,
        ("read", "Qwen3-0.6B"): 4000,
    }
    trained = ("trained", "Qwen3-0.6B")
    assert tokens(config, "04_rsft", **STUDENT, method="rsft") == {**answers, trained: 10 * 2 * 110}
    assert tokens(config, "05_da", **STUDENT, method="da") == {**answers, trained: 2838}  # 10 × 3 × 0.43 traces
    assert tokens(config, "03_sft_baseline", **STUDENT, method="sft") == {**answers, trained: 10 * 2 * 108}


def test_tokens_of_training_by_rewards():
    """A slice of the training set takes as many passes, so a share of the steps: 10 of 500 problems of MATH, 2 % of 500 steps."""
    config = but(
        QWEN,
        evaluate__samples=0,
        study__test_tasks=["gsm8k"],
        rl__steps=500,
        rl__prompts_per_step=1,
        rl__generations=8,
        rl__dev_every=100,
        rl__dev_problems=50,
    )
    work = tokens(config, "07_pad", **STUDENT, method="pad")
    # dev before and after, of no more problems than the slice
    assert work["sampled", "Qwen3-0.6B"] == 10 * 8 * 10 + 2 * 10 * 10
    assert work["trained", "Qwen3-0.6B"] == pytest.approx(10 * 8 * 110 * 5 / 3)


def test_sizes_of_a_task_count():
    work = tokens(QWEN, "04_rsft", 0, **STUDENT, method="rsft")
    assert work["trained", "Qwen3-0.6B"] == 500 * QWEN.distill.epochs * 110
    tested = 1319 + 4183
    assert work["generated", "Qwen3-0.6B"] == tested * (1 + QWEN.evaluate.samples) * 10


def test_the_judges_of_the_paper_are_counted():
    config = load("paper")
    verdicts = 10 * 5 * (1 + 2 * 0.5) * (100 + VERDICT)
    assert tokens(config, "02_filtering", teacher="Qwen3-32B", task="gsm8k") == {
        ("read", "Qwen2.5-72B-Instruct"): verdicts + 10 * 3 * (100 + 5 * 10)
    }
    assert judges(config)["internlm2_5-20b-chat"].name == "openai"
    assert tokens(QWEN, "02_filtering", teacher="Qwen3-8B", task="gsm8k") == {}


def test_an_axis_counts_with_its_own_value():
    config = but(QWEN, debate__rounds=1, debate__aggregator="majority", study__axes={"debate.agents": [3, 7]})
    for agents in (3, 7):
        work = tokens(config, **DEBATE, protocol="debate", axes={"debate.agents": agents})
        assert work["generated", "Qwen3-8B"] == 10 * agents * 10


def test_seconds(monkeypatch, tmp_path):
    config = but(QWEN, debate__agents=5, study__protocols=["debate", "single"])
    single = job(config, **DEBATE, protocol="single")
    monkeypatch.setattr(store, "ROOT", tmp_path)
    cost = plan.cost(single, config, 10, R)
    assert cost.wall_s == cost.device_s == 3 + 100 / 10 + 1000 / 100 and not cost.measured
    file = tmp_path / "results" / "qwen3-first10" / "benchmarks" / f"{single.name}.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("s\tmax_rss\n120.5\t100\n")
    cost = plan.cost(single, config, 10, R)
    assert cost.wall_s == 120.5 and cost.measured and cost.device_s == pytest.approx(120.5)
    assert not plan.cost(single, config, 11, R).measured  # the benchmark file of another slice


def test_gpus_share_generation_and_not_training():
    config = load("paper")
    debate = job(config, "01_debate_generation", 0, teacher="Qwen3-32B", task="gsm8k", split="dev", protocol="debate")
    cost = plan.cost(debate, config, 0, GPU)
    assert cost.wall_s - GPU.start_s == pytest.approx((cost.device_s - GPU.start_s) / 8)


@pytest.mark.parametrize(
    ("kind", "model", "tokens_per_second"),
    [
        ("generated", "Qwen3-32B", 38_000 / 32.8),
        ("generated", "Qwen3-0.6B", 20_000),
        ("read", "Qwen3-0.6B", 148_000 / 0.596),
        ("generated", "Qwen2.5-Coder-0.5B-Instruct", 65),
        ("generated", "weights/Qwen2.5-Coder-1.5B-Instruct-Q4_K_M", 29),
        ("trained", "Qwen2.5-Coder-0.5B-Instruct", 34),
        ("trained", "Qwen3-8B", 24_700 / 8.19),
    ],
)
def test_speeds_depend_on_the_size(kind, model, tokens_per_second):
    if "Coder" in model:  # measured; between them, by a power of the size
        assert speed(kind, model, CODER) == pytest.approx(tokens_per_second, rel=0.02)
    else:
        assert speed(kind, model, GPU) == pytest.approx(tokens_per_second)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("mini", MINI),
        ("mini-full", MINI),
        ("smollm2", SMOLLM2),
        ("qwen-coder", CODER),
        ("qwen3", GPU),
        ("paper", GPU),
    ],
)
def test_each_tier_has_its_rates(name, rates):
    assert plan.rates(load(name)) is rates


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("weights/Qwen2.5-Coder-0.5B-Instruct-Q4_K_M", 0.494),
        ("Qwen3-8B", 8.19),
        ("somebody/Model-3.5B-chat", 3.5),
        ("somebody/model", 8.0),
        ("smollm2-135m", 0.1345),
    ],
)
def test_sizes_of_networks(name, billions):
    assert plan.billions(name) == billions


def test_memory():
    rows = {row["network"]: row for row in plan.memory(load("paper"), GPU)}
    assert (
        rows["Qwen3-8B"]["by rewards"] == "197 > 80!"
    )  # 24 bytes × 8.19: weights, gradients, two moments, π_ref and R_φ
    assert (
        rows["Qwen3-1.7B"]["by rewards"] == "41"
        and rows["Qwen3-1.7B"]["judges"] == "28"
        and rows["Qwen3-1.7B"]["imitates"] == "3.4"
    )
    assert rows["Qwen3-32B"]["by rewards"] == "" and rows["Qwen3-32B"]["generates"].endswith("(65.6 + cache)")
    assert rows["Qwen2.5-72B-Instruct (asked)"]["generates"].endswith("(145.4 + cache)")
    full = plan.memory(but(QWEN, distill__lora=None, study__methods=["sft"]), GPU)
    assert {row["network"]: row["imitates"] for row in full} == {
        "Qwen3-8B": "",
        "Qwen3-0.6B": "4.8",
        "Qwen3-1.7B": "14",
    } and not any(row["judges"] for row in full)


@pytest.mark.parametrize("name", ["mini", "smollm2", "qwen-coder", "qwen3", "paper"])
def test_a_plan_is_complete_and_needs_no_connection(name, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a plan needs no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    config, coordinates = params.load(store.ROOT / "params" / f"{name}.yaml")
    limit = coordinates.limit
    jobs = graph.all_jobs(config, limit)
    outputs = {os.path.relpath(path, store.ROOT) for job in jobs for path in job.outputs}
    text = plan.text(config, limit, jobs, outputs, cores=2)
    s = config.study
    cells = math.prod(map(len, (s.teachers, s.students, s.train_tasks, s.methods)))
    assert f"= {cells}, each on {len(s.test_tasks)} test sets, in {len(jobs)} notebook runs, 0 of them done" in text
    parts = ("hours left", "wall time", "GB of downloads", "memory in GB", "rates: ", *(job.name for job in jobs))
    assert all(part in text for part in parts)
    assert ("ASSUMED" in text) == (name in ("qwen3", "paper")) and ("80!" in text) == (name == "paper")
    finished = plan.text(config, limit, jobs, set(), cores=2)
    assert f"{len(jobs)} of them done" in finished and "to do" not in finished
    assert "left: 0.0; wall time: about 0 minutes" in finished


CODER_TIER = load("qwen-coder")
LARGE = "weights/Qwen2.5-Coder-1.5B-Instruct-Q4_K_M"


def test_selection_reads_each_sample_with_the_network_that_judges_it():
    config = but(
        CODER_TIER,
        rl__generations=6,
        distill__epochs=2,
        prm__backbone=LARGE,
        study__test_tasks=["sums"],
    )
    about = {"notebook": "07_pad", "teacher": LARGE, "method": "prm_select"}
    work, student = tokens(config, **about), config.study.students[0]
    assert work["sampled", student] == 10 * 6 * 10
    assert work["trained", student] == 10 * 2 * 110 and work["trained", LARGE] == 10 * 6 / 3 * 110
    alone = tokens(but(config, prm__backbone="student"), **about)
    assert alone["trained", student] == work["trained", student] + work["trained", LARGE]
    chance = but(config, study__methods=["chance_select"])
    assert ("trained", LARGE) not in tokens(chance, **about | {"method": "chance_select"})


def test_reward_models_are_examined_beside_three_controls():
    config = but(CODER_TIER, prm__stage1_epochs=3, prm__stage2_epochs=0, debate__rounds=1, evaluate__base_votes=3)
    work = tokens(config, "06_prm")
    student = config.study.students[0]
    assert work["trained", student] == pytest.approx(2 * 10 * 0.5 * 5 * 110)  # two, on R's half of 10 × 5 traces
    # 2 × 10 questions and, by 4 scorers, 1.5 × (5 traces of debates + 3 own ones) a problem
    assert work["read", student] == 2 * 10 * 100 + 4 * 1.5 * 10 * 8 * 110


def test_memory_and_disk_of_the_coder_tier():
    """At most 20 GB of memory with two runs at a time and 6 GB of disk (issue 18), with reward models on the student."""
    student, on = CODER_TIER.study.students[0], {"prm.backbone": ["student", LARGE]}
    rows = {row["network"]: row for row in plan.memory(CODER_TIER, CODER)}
    assert rows[LARGE]["judges"] == "" and rows[student]["judges"] == "7.9"  # 16 bytes × 0.494
    assert rows[student]["by rewards"] == "4.9"  # who wrote (2), who imitates (4) and who judges (4)
    assert rows[LARGE]["generates"] != "3.1 + cache"  # the cache is known
    assert sum(plan.disk(CODER_TIER, 0, CODER).values()) < 6 and plan.disk(CODER_TIER, 0, CODER)["downloads"] > 4
    both = but(CODER_TIER, study__axes=on)
    rows = {row["network"]: row for row in plan.memory(both, CODER)}
    assert rows[LARGE]["judges"] == "25" and rows[student]["judges"] == "7.9"
    assert rows[student]["by rewards"] == "9.1"  # (2 + 4) × 0.494 + 4 × 1.544
    checkpoints = [plan.disk(config, 0, CODER)["checkpoints"] for config in (CODER_TIER, both)]
    # 6 and 8 adapters of a twentieth, and a tenth of 2 reward models for each backbone
    assert checkpoints == pytest.approx([6 * 0.0988 + 0.3952, 8 * 0.0988 + 0.3952 + 1.2352], rel=1e-3)
    two_stages = but(both, prm__stage2_epochs=1)
    assert plan.disk(two_stages, 0, CODER)["checkpoints"] == pytest.approx(8 * 0.0988 + 16.304, rel=1e-3)


def test_the_plan_counts_protocols_and_axes():
    protocols, axes = ["debate", "single"], {"rl.beta": [0.001, 0.1]}
    config = but(load("mini"), study__methods=["rsft", "pad"], study__protocols=protocols, study__axes=axes)
    text = plan.text(config, 0, graph.all_jobs(config, 0), set(), cores=2)
    assert "1 teachers × 1 students × 2 training sets × 2 protocols × 2 methods × 1 seeds = 8, each on 2" in text
    assert "with the values of rl.beta: 12 students to train" in text  # twice as many by PAD alone
    assert text.count("07_pad-") == 8


def test_agents_that_the_context_does_not_hold_are_a_sentence_of_the_plan():
    """The zoo's context has 4,096 tokens: 54 of the question, 40 of each agent's solution, and the longest reply."""
    axes = {"debate.agents": [5, 20]}
    config = but(load("mini"), debate__max_new_tokens=3400, study__axes=axes)
    text = plan.text(config, 0, graph.all_jobs(config, 0), set(), cores=2)
    [line] = [line for line in text.splitlines() if "too many" in line]
    assert line.startswith(
        "debate.agents = 20 is too many for zoo/qwen3-32b: a later round's prompt has about 854 tokens"
    )
    assert "up to 3,400, the context 4,096" in line and line.endswith("lower debate.agents or debate.max_new_tokens")
    assert too_many_agents(but(load("mini"), study__axes=axes), MINI) == []  # 20 agents fit with the tier's replies
    assert too_many_agents(but(config, debate__rounds=1), MINI) == []  # nobody reads the others
    shorter = but(load("qwen3"), debate__agents=20, debate__max_new_tokens=200, engine__max_model_len=6000)
    [sentence] = too_many_agents(shorter, GPU)
    assert "a later round's prompt has about 6,150 tokens" in sentence and "the context 6,000" in sentence
