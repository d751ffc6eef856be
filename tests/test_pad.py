"""PAD's cells end to end on tiny networks: labels, reward model and control, verdict, training by rewards, answers."""

import pandas as pd
import pytest

from agentark import pad, params, store, study, tasks
from agentark.evaluate import process
from agentark.extract import label
from agentark.extract.verify import verify
from agentark.mas import stage
from agentark.params import ParamsError
from tiny import EVALUATE, but

MINI, _ = params.load(store.ROOT / "params" / "mini.yaml")
TOLD = MINI.model_copy(
    update={
        "debate": but(MINI.debate, agents=2, rounds=1, max_new_tokens=24, chunk=4),
        "evaluate": but(EVALUATE, max_new_tokens=16),
        "sizes": but(MINI.sizes, train=6, dev=4, test=3, debate_test=3),
        "study": but(MINI.study, test_tasks=["mini_gsm"]),
        "prm": but(MINI.prm, loss="ce", labeller="arithmetic", batch=2, stage1_epochs=1),
        "rl": but(MINI.rl, steps=2, prompts_per_step=2, generations=2, max_new_tokens=16, dev_problems=2),
    }
)
TASK = "mini_gsm"


@pytest.fixture(scope="module")
def network(networks) -> str:
    return networks["qwen3"]


def gold_log(split: str, n: int) -> pd.DataFrame:
    """A log of two agents: one gives the gold solution, the other spoils its answer."""
    rows = []
    for p in tasks.problems(TASK, split, n):
        for agent, text in ((1, p.solution), (2, p.solution.rpartition("Answer:")[0] + "Answer: 100001")):
            rows.append({"problem": p.id, "round": 1, "agent": agent, "text": text, "gold": p.answer})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("steps") / "steps.parquet"
    return path, label.run(
        path, gold_log("train", 6), log_id="x", teacher=network, task=TASK, split="train", seed=0, told=TOLD
    )


def test_labels_are_written_once_and_counted(labelled, network):
    path, made = labelled
    pd.testing.assert_frame_equal(
        label.run(path, pd.DataFrame(), log_id="x", teacher=network, task=TASK, split="train", seed=0, told=TOLD),
        made,
        check_dtype=False,
    )
    assert "rollout" not in made
    assert '"traces": 12' in store.manifest_path(path).read_text()


def test_rollout_labels_come_from_the_teacher(tmp_path, network):
    told = TOLD.model_copy(update={"prm": but(TOLD.prm, labeller="rollout", rollouts=2)})
    made = label.run(
        tmp_path / "s.parquet",
        gold_log("train", 1),
        log_id="x",
        teacher=network,
        task=TASK,
        split="train",
        seed=0,
        told=told,
    )
    last = made.groupby("agent").tail(1).set_index("agent").rollout
    assert last.to_dict() == {1: 1.0, 2: 0.0}  # an answer is not completed: it is right or wrong
    assert made.rollout.between(0, 1).all()


def test_overlapping_problems_have_no_labels(labelled, tmp_path, network):
    whole, left_out = labelled[1], sorted(set(labelled[1].problem))[0]
    made = label.run(
        tmp_path / "s.parquet",
        gold_log("train", 6),
        log_id="x",
        teacher=network,
        task=TASK,
        split="train",
        seed=0,
        told=TOLD,
        overlapping={left_out: "shares 8 words"},
    )
    pd.testing.assert_frame_equal(made, whole[whole.problem != left_out].reset_index(drop=True), check_dtype=False)
    assert '"traces": 10' in store.manifest_path(tmp_path / "s.parquet").read_text()


@pytest.fixture(scope="module")
def taught(tmp_path_factory, labelled, network):
    files = study.Files(tmp_path_factory.mktemp("study"))
    at = dict(teacher="t", task=TASK, seed=0)
    folders = [
        pad.reward(files, TOLD, labelled[1], "x", student=network, n=6, shuffled=shuffled, **at)
        for shuffled in (False, True)
    ]
    made = {
        method: pad.taught(
            files, TOLD, labelled[1], "x", students=[network], method=method, train_n=6, dev_n=2, tests={TASK: 3}, **at
        )
        for method in params.RL_METHODS
    }
    return files, folders, made


def test_every_method_leaves_answers_and_a_log(taught, network):
    files, folders, made = taught
    for method, (rows, logs) in made.items():
        assert len(rows) == 3 * (1 + EVALUATE.samples) and set(rows.method) == {method}
        assert logs[network]["steps"] == 2 and [e["step"] for e in logs[network]["dev"]] == [0, 2]
        assert (files.checkpoint("t", network, method, TASK, 0) / "model.safetensors").exists()
    assert files.prm("t", network, TASK, 0) == folders[0] and folders[0] != folders[1]


def test_what_rewards_what(taught, network):
    logs = {method: made[1][network]["log"] for method, made in taught[2].items()}
    assert all(row["reward"] == row["accuracy"] for row in logs["rlvr"])
    assert all(0 < row["reward"] < 1 for row in logs["pad"])
    assert logs["pad"][0]["reward"] != logs["pad_shuffled"][0]["reward"]
    assert "value_loss" in logs["ppo"][0] and "value_loss" not in logs["pad"][0]


def test_what_is_there_is_read(taught, labelled, network):
    files = taught[0]
    before = files.checkpoint("t", network, "pad", TASK, 0).stat().st_mtime_ns
    rows, _ = pad.taught(
        files,
        TOLD,
        labelled[1],
        "x",
        teacher="t",
        students=[network],
        method="pad",
        task=TASK,
        train_n=6,
        dev_n=2,
        tests={TASK: 3},
        seed=0,
    )
    assert files.checkpoint("t", network, "pad", TASK, 0).stat().st_mtime_ns == before and len(rows)


def test_a_slice_has_fewer_steps(taught, labelled, tmp_path, network):
    _, logs = pad.taught(
        study.Files(tmp_path),
        TOLD,
        labelled[1],
        "x",
        teacher="t",
        students=[network],
        method="rlvr",
        task=TASK,
        train_n=3,
        dev_n=1,
        tests={TASK: 1},
        seed=0,
    )
    assert logs[network]["steps"] == 1


def test_a_reward_model_of_another_tokenizer_is_given_text(tmp_path, labelled, network):
    told = TOLD.model_copy(update={"prm": but(TOLD.prm, backbone="zoo/qwen3-0.6b"), "rl": but(TOLD.rl, steps=1)})
    _, logs = pad.taught(
        study.Files(tmp_path),
        told,
        labelled[1],
        "x",
        teacher="t",
        students=[network],
        method="pad",
        task=TASK,
        train_n=6,
        dev_n=1,
        tests={TASK: 1},
        seed=0,
    )
    assert 0 < logs[network]["log"][0]["reward"] < 1


def test_the_verdict_has_both_kinds_of_traces(taught):
    log = verify(gold_log("dev", 4), TASK, "dev")
    table = pad.judged(TOLD, model=taught[1][0], control=taught[1][1], task=TASK, logs={"teacher": log, "own": log})
    assert list(table.columns) == ["traces", "measure", "prm", "control", "good", "passed"]
    one, other = (
        table[table.traces == whose].drop(columns="traces").reset_index(drop=True) for whose in ("teacher", "own")
    )
    pd.testing.assert_frame_equal(one, other)
    assert one.set_index("measure").loc["steps", "prm"] > 0


def test_own_rollouts_are_the_students(tmp_path, network):
    rows = pad.own_rollouts(study.Files(tmp_path), TOLD, student=network, task=TASK, split="dev", n=2, seed=0)
    log = process.as_log(rows)
    assert set(log.agent) == {1, 2} and len(log) == 2 * EVALUATE.base_votes  # the greedy answers are no rollouts


def test_jobs_of_the_reward_methods():
    told = MINI.model_copy(update={"study": but(MINI.study, methods=["rsft", "pad", "ppo", "rlvr"], seeds=[0, 1])})
    jobs = {job.name: job for job in study.jobs(told, params.Coordinates())}
    prm, pad_job = jobs["06_prm-qwen3-32b-mini_gsm-s1"], jobs["07_pad-qwen3-32b-pad-mini_gsm-s1"]
    assert {p.name for p in pad_job.inputs} <= {p.name for p in prm.outputs}
    assert [p.parent.name for p in jobs["07_pad-qwen3-32b-rlvr-mini_gsm-s0"].inputs] == [
        "steps"
    ]  # which problems; no reward model
    assert "10_ppo_vs_grpo" in jobs
    init = told.model_copy(update={"rl": but(told.rl, init="rsft")})
    again = {job.name: job for job in study.jobs(init, params.Coordinates())}
    assert any("rsft" in p.name for p in again["07_pad-qwen3-32b-rlvr-mini_gsm-s0"].inputs)
    assert (
        again["06_prm-qwen3-32b-mini_gsm-s1"].key == prm.key
        and again["07_pad-qwen3-32b-pad-mini_gsm-s1"].key != pad_job.key
    )


def test_nothing_to_train_is_refused():
    with pytest.raises(ParamsError, match="both 0"):
        params.check(
            {**MINI.model_dump(), "prm": {**MINI.prm.model_dump(), "stage1_epochs": 0, "stage2_epochs": 0}}, "x"
        )
