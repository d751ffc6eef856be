"""PAD end to end on tiny networks: labels, reward model and control, examination, training by rewards, answers."""

import json
import shutil

import pandas as pd
import pytest
from tiny import EVALUATE, but, graded

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill.artifacts import PRMS, SHUFFLED_PRMS, STUDENTS
from agentark.distill.data import DistillError
from agentark.distill.method import methods
from agentark.evaluate import examination, process, students
from agentark.extract import label
from agentark.graph import graph
from agentark.graph.job import Sizes
from agentark.models.load import load_tokenizer
from agentark.params import ParamsError

MINI, _ = params.load(store.ROOT / "params" / "mini.yaml")
CONFIG = MINI.model_copy(
    update={
        "debate": but(MINI.debate, agents=2, rounds=1, max_new_tokens=24, chunk=4),
        "evaluate": but(EVALUATE, max_new_tokens=16),
        "sizes": but(MINI.sizes, train=6, dev=4, test=3, debate_test=3),
        "study": but(MINI.study, test_tasks=["mini_gsm"]),
        "prm": but(MINI.prm, loss="ce", labeller="arithmetic", batch=2, stage1_epochs=1),
        "rl": but(
            MINI.rl, admission="any", steps=2, prompts_per_step=2, generations=2, max_new_tokens=16, dev_problems=2
        ),
    }
)
TASK = "mini_gsm"
SIZES = Sizes(train=6, dev=2, tests={TASK: 3})
ONE = Sizes(train=6, dev=1, tests={TASK: 1})
REWARDED = [method.name for method in methods().values() if method.reward and not method.after]


@pytest.fixture(scope="module")
def network(networks, tmp_path_factory) -> str:
    """A network whose turns end early: at any token that no text here has."""
    folder = tmp_path_factory.mktemp("network") / "qwen3"
    shutil.copytree(networks["qwen3"], folder)
    tokenizer = load_tokenizer(networks["qwen3"])
    texts = [p.solution for split in ("train", "dev") for p in tasks.problems(TASK, split, 6)] + [*process.OFF_TOPIC]
    used = {token for text in texts for token in tokenizer(text, add_special_tokens=False).input_ids}
    stops = [tokenizer.eos_token_id, *(token for token in range(5, 400) if token not in used)]
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": stops}))
    return str(folder)


@pytest.fixture(scope="module")
def cell(network) -> Cell:
    """The cell of a teacher; it has no student yet."""
    return Cell(teacher=network, train=TASK, protocol="debate")


def gold_log(split: str, n: int) -> pd.DataFrame:
    """A graded log of two agents: one gives the gold solution, the other a wrong answer at its end."""
    rows = []
    for p in tasks.problems(TASK, split, n):
        for agent, text in ((1, p.solution), (2, p.solution.rpartition("Answer:")[0] + "Answer: 100001")):
            rows.append({"problem": p.id, "round": 1, "agent": agent, "text": text, "gold": p.answer})
    return graded(pd.DataFrame(rows), TASK, split)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, cell):
    path = tmp_path_factory.mktemp("steps") / "steps.parquet"
    return path, label.run(path, gold_log("train", 6), "x", cell, CONFIG)


def test_labels_are_written_once_and_counted(labelled, cell):
    path, table = labelled
    again = label.run(path, pd.DataFrame(), "x", cell, CONFIG)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert "rollout" not in table and set(table.protocol) == {"debate"}
    assert '"traces": 12' in store.manifest_path(path).read_text()


def test_rollout_labels_come_from_the_teacher(tmp_path, cell):
    config = CONFIG.model_copy(update={"prm": but(CONFIG.prm, labeller="rollout", rollouts=2)})
    table = label.run(tmp_path / "s.parquet", gold_log("train", 1), "x", cell, config)
    last = table.groupby("agent").tail(1).set_index("agent").rollout
    assert last.to_dict() == {1: 1.0, 2: 0.0}  # an answer is not completed: it is right or wrong
    assert table.rollout.between(0, 1).all()


def test_overlapping_problems_have_no_labels(labelled, tmp_path, cell):
    whole, left_out = labelled[1], min(labelled[1].problem)
    path = tmp_path / "s.parquet"
    table = label.run(path, gold_log("train", 6), "x", cell, CONFIG, {left_out: "shares 8 words"})
    pd.testing.assert_frame_equal(table, whole[whole.problem != left_out].reset_index(drop=True), check_dtype=False)
    assert '"traces": 10' in store.manifest_path(path).read_text()


def train(files, config, cell, method, steps, sizes):
    """The rows of a cell's student and its training log."""
    rows, logs = students.train_and_evaluate(files, config, cell.but(method=method), [cell.teacher], steps, sizes)
    return rows, logs[cell.teacher]


@pytest.fixture(scope="module")
def steps(labelled):
    return labelled[1], "x"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, steps, cell, network):
    """The files of a study, its two reward models, and the rows and training log of each method."""
    files, own = Files(tmp_path_factory.mktemp("study")), cell.but(student=network)
    models = [students.reward_model(files, CONFIG, own, *steps, 6, shuffled) for shuffled in (False, True)]
    with pytest.MonkeyPatch.context() as patch:  # a random network is never right, and its rewards were all 0
        verify = tasks.Task.verify
        patch.setattr(tasks.Task, "verify", lambda *args: (*verify(*args)[:2], len(args[1]) % 2 == 0))
        return files, models, {method: train(files, CONFIG, cell, method, steps, SIZES) for method in REWARDED}


def test_every_method_leaves_answers_and_a_log(trained, cell, network):
    files, models, results = trained
    selecting = {"prm_select", "likelihood_select", "chance_select", "truth_select"}
    assert set(results) == {"pad", "ppo", "pad_shuffled", "pad_likelihood", "rlvr", "opd", *selecting}
    for method, (rows, log) in results.items():
        assert len(rows) == 3 * (1 + EVALUATE.samples) and set(rows.method) == {method}
        assert rows.correct_flexible.dtype == bool and set(rows.protocol) == {"debate"}
        assert log["steps"] == 2 or method in selecting
        assert [entry["step"] for entry in log["dev"]] == [0, log["steps"]]
        assert (files.path(STUDENTS, cell.but(student=network, method=method)) / "model.safetensors").exists()
    own = cell.but(student=network)
    assert models == [files.path(PRMS, own), files.path(SHUFFLED_PRMS, own)] and models[0] != models[1]


def test_the_reward_of_each_method(trained):
    logs = {method: log["log"] for method, (_, log) in trained[2].items()}
    assert all(row["reward"] == row["accuracy"] for row in logs["rlvr"])
    assert any(0 < row["reward"] < 1 for row in logs["rlvr"])
    assert all(0 < row["reward"] < 1 for row in logs["pad"])
    assert len({logs[method][0]["reward"] for method in ("pad", "pad_shuffled", "pad_likelihood")}) == 3
    assert "reward" not in logs["opd"][0] and not logs["prm_select"]
    selection = {method: log["selection"] for method, (_, log) in trained[2].items() if "selection" in log}
    assert {counts["completions"] for counts in selection.values()} == {12} and len(selection) == 4
    assert len({counts["right_completions"] for counts in selection.values()}) == 1  # the same samples are judged
    assert "value_loss" in logs["ppo"][0] and "value_loss" not in logs["pad"][0]


def test_a_finished_student_is_read(trained, steps, cell, network):
    files, _, results = trained
    checkpoint = files.path(STUDENTS, cell.but(student=network, method="pad"))
    before = checkpoint.stat().st_mtime_ns
    rows, log = train(files, CONFIG, cell, "pad", steps, SIZES)
    assert checkpoint.stat().st_mtime_ns == before and log == results["pad"][1]
    pd.testing.assert_frame_equal(rows, results["pad"][0])


def test_a_slice_has_fewer_steps(steps, tmp_path, cell):
    _, log = train(Files(tmp_path), CONFIG, cell, "rlvr", steps, Sizes(train=3, dev=1, tests={TASK: 1}))
    assert log["steps"] == 1


def test_a_reward_model_of_another_tokenizer_is_given_text(tmp_path, steps, cell):
    config = CONFIG.model_copy(
        update={"prm": but(CONFIG.prm, backbone="zoo/qwen3-0.6b"), "rl": but(CONFIG.rl, steps=1)}
    )
    _, log = train(Files(tmp_path), config, cell, "pad", steps, ONE)
    assert 0 < log["log"][0]["reward"] < 1


def test_the_examination_has_both_kinds_of_traces(trained):
    log = gold_log("dev", 4)
    table = examination.examine(CONFIG, *trained[1], TASK, {"teacher": log, "own": log})
    scorers = {"reward model", "shuffled labels", "untrained head", "likelihood"}
    assert set(table.scorer) == scorers and set(table.traces) == {"teacher", "own"}
    added = table[table.measure.str.startswith("adds to")]
    assert set(added.scorer) == {"reward model"} and len(added) == 2 * 3
    teacher, own = (
        table[table.traces == name].drop(columns="traces").reset_index(drop=True) for name in ("teacher", "own")
    )
    pd.testing.assert_frame_equal(teacher, own)
    assert teacher.n.max() > 0 and set(teacher.passed[teacher.measure == "usable as a reward"]) <= {True, False}


@pytest.mark.parametrize(("aggregation", "reward"), [("min", 0.2), ("mean", 0.5), ("last", 0.8), ("product", 0.16)])
def test_the_examination_chooses_by_the_reward_of_the_training(aggregation, reward):
    config = CONFIG.model_copy(update={"rl": but(CONFIG.rl, aggregation=aggregation)})
    assert examination.aggregate(config)([0.2, 0.8]) == pytest.approx(reward)


def test_an_examination_is_written_per_student(trained, cell, network):
    files, (model, control), _ = trained
    models = {(network, False): model, (network, True): control}
    table = examination.run(files, CONFIG, cell, [network], models, gold_log("dev", 4), 2)
    path = files.path(examination.EXAMINATIONS, cell.but(student=network))
    pd.testing.assert_frame_equal(pd.read_csv(path)[["measure", "student"]], table[["measure", "student"]])
    assert set(table.traces) == {"teacher", "own"} and set(table.student) == {network}


def test_a_reward_model_that_fails_is_refused(trained, steps, tmp_path, cell, network):
    files, own = Files(tmp_path), cell.but(student=network)
    examined = pd.DataFrame({"measure": ["step AUROC"], "value": [0.55], "low": [0.4], "high": [0.7]})
    examined = examined.assign(traces="own", scorer="reward model", chance=0.5, n=9, required=0.7, passed=False)
    path = files.path(examination.EXAMINATIONS, own)
    store.write_table(examined, path)
    strict = CONFIG.model_copy(update={"rl": but(CONFIG.rl, admission="passed", steps=1)})
    with pytest.raises(DistillError, match="step AUROC 0.55 .from 0.40; above 0.70 is required.*admission: any"):
        train(files, strict, cell, "pad", steps, ONE)
    assert examination.admit(files, CONFIG, own).startswith("failed: step AUROC 0.55")  # by rl.admission: any
    used = Files(tmp_path / "any")
    store.write_table(examined, used.path(examination.EXAMINATIONS, own))
    train(used, CONFIG, cell, "pad", steps, ONE)
    manifest = store.manifest_path(used.path(STUDENTS, own.but(method="pad"))).read_text()
    assert "failed: step AUROC 0.55" in manifest
    few = [p.id for p in tasks.problems(TASK, "train", 3)]
    some = steps[0][steps[0].problem.isin(few)], "three"
    train(files, strict, cell, "pad", some, Sizes(train=3, dev=1, tests={TASK: 1}))  # a slice decides nothing
    store.write_table(examined.assign(passed=True), path)
    assert examination.admit(files, strict, own) == "passed"
    path.unlink()
    assert examination.admit(files, strict, own) == "not examined"  # a notebook by itself has no examination


def test_rollouts_are_the_students_own(tmp_path, network):
    own = Cell(student=network, train=TASK, split="dev")
    log = process.as_log(students.rollouts(Files(tmp_path), CONFIG, own, 2))
    # The greedy answers are no rollouts.
    assert set(log.agent) == {1, 2} and len(log) == 2 * EVALUATE.base_votes
    assert set(log.split) == {"dev"} and log.correct.dtype == bool


def test_jobs_of_the_reward_methods():
    config = MINI.model_copy(update={"study": but(MINI.study, methods=["rsft", "pad", "ppo", "rlvr"], seeds=[0, 1])})
    jobs = {job.name: job for job in graph.all_jobs(config, 0)}
    prm, pad = jobs["06_prm-qwen3-32b-mini_gsm-s1"], jobs["07_pad-qwen3-32b-pad-mini_gsm-s1"]
    assert set(pad.inputs) <= set(prm.outputs)
    # GRPO on right answers needs to know which problems are labelled, but no reward model.
    assert [p.parent.name for p in jobs["07_pad-qwen3-32b-rlvr-mini_gsm-s0"].inputs] == ["steps"]
    assert "10_ppo_vs_grpo" in jobs
    init = config.model_copy(update={"rl": but(config.rl, init="rsft")})
    changed = {job.name: job for job in graph.all_jobs(init, 0)}
    assert any("rsft" in p.name for p in changed["07_pad-qwen3-32b-rlvr-mini_gsm-s0"].inputs)

    def key(job):
        return graph.key(job, 0, lambda model: model)

    assert key(changed[prm.name]) == key(prm) and key(changed[pad.name]) != key(pad)


def test_training_for_no_epoch_is_refused():
    sections = {**MINI.model_dump(), "prm": {**MINI.prm.model_dump(), "stage1_epochs": 0, "stage2_epochs": 0}}
    with pytest.raises(ParamsError, match="both 0"):
        params.check(sections, "x")
