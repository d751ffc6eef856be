"""What a study is said to cost: hand-computed tokens, seconds and memory, and that saying so asks nobody."""

import dataclasses
import functools
import os
import socket

import pytest

from agentark import params, plan, source, store, study

IMPORTS = functools.cache(source.imports)  # the same source in all tests
R = dataclasses.replace(
    plan.MINI, generated=10.0, sampled=5.0, read=100.0, trained=20.0, question=100, reply=10, debating=0.5, start_s=3.0
)


def load(name: str) -> params.Params:
    return params.load(store.ROOT / "params" / f"{name}.yaml")[0]


def but(told: params.Params, **changes) -> params.Params:
    made = told.model_dump()
    for key, value in changes.items():
        section, _, name = key.partition("__")
        made[section][name] = value
    return params.check(made, "x")[0]


def job(notebook: str, **at) -> study.Job:
    return study.Job(notebook, at, (), (), "key")


def work(what: study.Job, told: params.Params, limit: int = 10) -> dict:
    return plan.expected(what, told, limit, R)


QWEN = load("qwen3")
DEBATE = {"teacher": "Qwen3-8B", "task": "gsm8k", "split": "dev"}


def test_tokens_of_a_debate():
    told = but(QWEN, debate__agents=5, debate__rounds=3, debate__aggregator="majority")
    # 10 problems × 5 agents × (1 + 2 × 0.5 rounds) × 10; read: 10 × 100, then 10 × 2 × 0.5 × (100 + 5 × 10)
    expected = {("generated", "Qwen3-8B"): 1000, ("read", "Qwen3-8B"): 2500}
    assert (
        work(job("01_debate_generation", **DEBATE, protocol="debate"), told)
        == expected
        == work(job("01_debate_generation", **DEBATE, protocol="shuffled"), told)
    )
    summed_up = work(job("01_debate_generation", **DEBATE, protocol="debate"), but(told, debate__aggregator="llm"))
    assert summed_up == {("generated", "Qwen3-8B"): 1100, ("read", "Qwen3-8B"): 4000}


def test_tokens_of_samples():
    told = but(QWEN, debate__agents=5, debate__rounds=3, debate__aggregator="majority")
    assert work(job("01_debate_generation", **DEBATE, protocol="self_consistency"), told) == {
        ("generated", "Qwen3-8B"): 1500,
        ("read", "Qwen3-8B"): 1000,
    }
    assert work(job("01_debate_generation", **DEBATE, protocol="single"), told) == {
        ("generated", "Qwen3-8B"): 100,
        ("read", "Qwen3-8B"): 1000,
    }


def test_tokens_of_students():
    told = but(
        QWEN, evaluate__samples=0, evaluate__base_votes=3, distill__epochs=2, study__test_tasks=["gsm8k", "medmcqa"]
    )
    at = {"teacher": "Qwen3-8B", "students": ["Qwen3-0.6B"], "task": "math"}
    answers = {("generated", "Qwen3-0.6B"): 200, ("read", "Qwen3-0.6B"): 2000}  # 2 test sets × 10 × 10
    assert work(job("03_sft_baseline", teacher="Qwen3-8B", students=["Qwen3-0.6B"], method="base"), told) == {
        ("generated", "Qwen3-0.6B"): 800,
        ("read", "Qwen3-0.6B"): 4000,
    }
    assert work(job("04_rsft", **at, method="rsft"), told) == {**answers, ("trained", "Qwen3-0.6B"): 10 * 2 * 110}
    assert work(job("05_da", **at, method="da"), told) == {**answers, ("trained", "Qwen3-0.6B"): 10 * 3 * 2 * 110}
    assert work(job("03_sft_baseline", **at, method="sft"), told) == {
        **answers,
        ("trained", "Qwen3-0.6B"): 10 * 2 * 108,
    }


def test_tokens_of_training_by_rewards():
    """A slice of the training set takes as many passes, so a share of the steps: 10 of 500 problems of MATH, 2 % of 500 steps."""
    told = but(
        QWEN,
        evaluate__samples=0,
        study__test_tasks=["gsm8k"],
        rl__steps=500,
        rl__prompts_per_step=1,
        rl__generations=8,
        rl__dev_every=100,
        rl__dev_problems=50,
    )
    found = work(job("07_pad", teacher="Qwen3-8B", students=["Qwen3-0.6B"], task="math", method="pad"), told)
    assert (
        found["sampled", "Qwen3-0.6B"] == 10 * 8 * 10 + 2 * 10 * 10
    )  # dev before and after, of no more than the slice
    assert found["trained", "Qwen3-0.6B"] == pytest.approx(10 * 8 * 110 * 5 / 3)


def test_sizes_of_a_task_count():
    found = plan.expected(
        job("04_rsft", teacher="Qwen3-8B", students=["Qwen3-0.6B"], task="math", method="rsft"), QWEN, 0, R
    )
    assert found["trained", "Qwen3-0.6B"] == 500 * QWEN.distill.epochs * 110
    tested = 1319 + 4183
    assert found["generated", "Qwen3-0.6B"] == tested * (1 + QWEN.evaluate.samples) * 10


def test_the_judges_of_the_paper_are_counted():
    told = load("paper")
    found = work(job("02_filtering", teacher="Qwen3-32B", task="gsm8k"), told)
    verdicts = 10 * 5 * (1 + 2 * 0.5) * (100 + plan.VERDICT)
    assert found == {("read", "Qwen2.5-72B-Instruct"): verdicts + 10 * 3 * (100 + 5 * 10)}
    assert plan.judges(told)["internlm2_5-20b-chat"].name == "openai"
    assert work(job("02_filtering", teacher="Qwen3-8B", task="gsm8k"), QWEN) == {}


def test_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "ROOT", tmp_path)
    told, single = but(QWEN, debate__agents=5), job("01_debate_generation", **DEBATE, protocol="single")
    cost = plan.cost(single, told, 10, R)
    assert cost.wall_s == cost.device_s == 3 + 100 / 10 + 1000 / 100 and not cost.measured
    file = tmp_path / "results" / "qwen3-first10" / "benchmarks" / f"{single.name}.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("s\tmax_rss\n120.5\t100\n")
    cost = plan.cost(single, told, 10, R)
    assert cost.wall_s == 120.5 and cost.measured and cost.device_s == pytest.approx(120.5)
    assert not plan.cost(single, told, 11, R).measured  # another slice's


def test_gpus_share_generation_and_not_training():
    told = load("paper")
    debate = plan.cost(
        job("01_debate_generation", teacher="Qwen3-32B", task="gsm8k", split="dev", protocol="debate"),
        told,
        0,
        plan.GPU,
    )
    assert debate.wall_s - plan.GPU.start_s == pytest.approx((debate.device_s - plan.GPU.start_s) / 8)


@pytest.mark.parametrize(
    ("kind", "model", "speed"),
    [
        ("generated", "Qwen3-32B", 38_000 / 32.8),
        ("generated", "Qwen3-0.6B", 20_000),
        ("read", "Qwen3-0.6B", 148_000 / 0.596),
        ("trained", "Qwen3-8B", 24_700 / 8.19),
    ],
)
def test_speeds_hang_on_the_size(kind, model, speed):
    assert plan.speed(kind, model, plan.GPU) == pytest.approx(speed)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("mini", plan.MINI),
        ("mini-full", plan.MINI),
        ("smollm2", plan.SMOLLM2),
        ("qwen3", plan.GPU),
        ("paper", plan.GPU),
    ],
)
def test_each_tier_has_its_rates(name, rates):
    assert plan.rates(load(name)) is rates


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Qwen3-8B", 8.19), ("somebody/Model-3.5B-chat", 3.5), ("somebody/model", 8.0), ("smollm2-135m", 0.1345)],
)
def test_sizes_of_networks(name, billions):
    assert plan.billions(name) == billions


def test_memory():
    rows = {row["network"]: row for row in plan.memory(load("paper"), plan.GPU)}
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
    full = plan.memory(but(QWEN, distill__lora=None, study__methods=["sft"]), plan.GPU)
    assert {row["network"]: row["imitates"] for row in full} == {
        "Qwen3-8B": "",
        "Qwen3-0.6B": "4.8",
        "Qwen3-1.7B": "14",
    } and not any(row["judges"] for row in full)


@pytest.mark.parametrize("name", ["mini", "smollm2", "qwen3", "paper"])
def test_a_plan_says_all_and_asks_nobody(name, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a plan needs no network")

    monkeypatch.setattr(source, "imports", IMPORTS)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    told, at = params.load(store.ROOT / "params" / f"{name}.yaml")
    jobs = study.jobs(told, at)
    outputs = {os.path.relpath(path, store.ROOT) for job in jobs for path in job.outputs}
    said = plan.text(told, at, jobs, outputs, cores=2)
    s = told.study
    cells = len(s.teachers) * len(s.students) * len(s.train_tasks) * len(s.methods)
    assert f"= {cells}, each on {len(s.test_tasks)} test sets, in {len(jobs)} notebook runs, 0 of them done" in said
    assert all(
        word in said
        for word in (
            "hours left",
            "wall time",
            "GB of downloads",
            "memory in GB",
            "rates: ",
            *(job.name for job in jobs),
        )
    )
    assert ("ASSUMED" in said) == (name in ("qwen3", "paper")) and ("80!" in said) == (name == "paper")
    done = plan.text(told, at, jobs, set(), cores=2)
    assert (
        f"{len(jobs)} of them done" in done and "left: 0.0; wall time: about 0 minutes" in done and "to do" not in done
    )
