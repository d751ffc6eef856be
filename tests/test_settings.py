"""Every value of the params file, and the seed, reaches what uses it: an engine, TRL, PEFT.

The stages are given values that are no default, and nothing is trained: what they pass on is read.  A new parameter has
to be added to the tables here, which hold every field of their sections.
"""

from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
from test_distill import CELL as IMITATING_CELL
from test_distill import TRACES
from tiny import DEBATE, DISTILL, ENGINE, EVALUATE, but, graded

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.distill import grpo, opd, pad, ppo, select, sft, students
from agentark.distill.artifacts import STUDENTS
from agentark.distill.data import DistillError
from agentark.engines.transformers_engine import TransformersEngine
from agentark.evaluate import judge, predict
from agentark.evaluate import students as cells
from agentark.extract import label, llm_diverse, llm_verify
from agentark.graph.job import Sizes
from agentark.mas import generation

MINI, _ = params.load(store.ROOT / "params" / "mini.yaml")
TASK = "mini_gsm"
PROBLEMS = tasks.problems(TASK, "train", 4)
HOT = {"temperature": 0.37, "top_p": 0.71, "max_new_tokens": 23}
JUDGE = params.Judge(
    model="zoo/qwen3-0.6b", constrained=False, temperature=0.37, max_new_tokens=23, chunk=2, items=3, repeats=2
)


class Stopped(Exception):
    """What a stage would do next is no part of the test."""


def stop(*_, **__):
    raise Stopped


def quiet(*_):
    pass


# What an engine is given


class Recorder:
    """An engine that records how it is asked and replies with the first choice, or with `reply`."""

    name = "recorder"

    def __init__(self, reply="2+2=4\nAnswer: 7"):
        self.reply, self.samplings, self.seeds, self.asked = reply, [], [], 0

    def generate(self, chats, sampling, seed):
        self.asked += len(chats)
        self.samplings.append(sampling)
        self.seeds.append(seed)
        reply = sampling.choices[0] if sampling.choices else self.reply
        return [engines.Completion(reply, (7, 8), "stop", 9, 0, 1) for _ in chats]


def log_of(n=3, agents=3):
    """A graded log of one round in which all agents are right by different steps."""
    rows = [
        {
            "problem": p.id,
            "round": 1,
            "agent": a,
            "text": f"say {a}+{a}={2 * a}\nAnswer: {p.answer}",
            "gold": p.answer,
            "finish": "stop",
            "tokens_out": 9,
            "template": p.template,
        }
        for p in tasks.problems(TASK, "train", n)
        for a in range(1, agents + 1)
    ]
    return graded(pd.DataFrame(rows), TASK)


DATA = {"log_id": "x", "task": TASK, "split": "train", "engine": ENGINE, "progress": quiet}
TEACHER = Cell(teacher="some/teacher", train=TASK, protocol="debate")


def debates(engine, path, seed, network):
    generation.run(path, TEACHER.but(seed=seed), 3, but(DEBATE, **HOT, consensus="off"), ENGINE, quiet)


def predictions(engine, path, seed, network):
    options = {"samples": 2, "seed": seed, "config": but(EVALUATE, **HOT), "engine": ENGINE, "progress": quiet}
    predict.run(path, {}, model="some/student", task=TASK, split="test", n=3, load_engine=lambda: engine, **options)


def rollouts(engine, path, seed, network, samples=3):
    prm, debate = but(MINI.prm, labeller="rollout", rollouts=samples), but(MINI.debate, **HOT)
    config = MINI.model_copy(update={"prm": prm, "debate": debate})
    label.run(path, log_of(1), "x", TEACHER.but(seed=seed), config)


def own_samples(engine, path, seed, network):
    prompts = {p.id: p.question for p in PROBLEMS}
    rl = but(MINI.rl, temperature=0.37, max_new_tokens=23, generations=2)
    judged = {"score": lambda chats, ids: [[0.5] for _ in ids], "verify": lambda text, problem: True}
    shared = {"config": rl, "distill": DISTILL, "engine": ENGINE, "evaluate_dev": None, "progress": quiet}
    with pytest.raises(Stopped):
        select.run(path, policy=network, prompts=prompts, seed=seed, **judged, **shared)


def verdicts(engine, path, seed, network):
    llm_verify.run(path, log_of(), seed=seed, config=JUDGE, make_engine=lambda: engine, **DATA)


def diverse_traces(engine, path, seed, network):
    log = log_of()
    models = {"judge": JUDGE, "distiller": JUDGE, "make_engine": lambda _: engine}
    how = {"wording": "terse", "diversity": "extract", "max_traces": 2, "seed": seed}
    llm_diverse.run(path, log.assign(kind="direct"), log, **how, **models, **DATA)


def scores(engine, path, seed, network):
    texts = {"m": pd.DataFrame({"item": [p.id for p in PROBLEMS], "sample": -1, "text": "2+2=4"})}
    options = {"labelled_by": (), "make_engine": lambda: engine, "seed": seed, "config": JUDGE, "n": 4}
    judge.run(path, texts, **options, **{name: DATA[name] for name in ("task", "split", "engine", "progress")})


SAMPLED = (0.37, 23, 0.71)
WITHOUT_TOP_P = (0.37, 23, 1.0)  # there is no such parameter
GENERATING = {
    debates: {SAMPLED},
    predictions: {SAMPLED, (0.0, 23, 1.0)},
    rollouts: {SAMPLED},
    own_samples: {WITHOUT_TOP_P},
    verdicts: {WITHOUT_TOP_P},
    diverse_traces: {WITHOUT_TOP_P},
    scores: {WITHOUT_TOP_P},
}


@pytest.mark.parametrize("stage", GENERATING, ids=lambda stage: stage.__name__)
def test_the_sampling_and_the_seed_of_a_stage_that_generates(stage, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "train", stop)
    asked = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        engine = Recorder()
        monkeypatch.setattr(engines, "make", lambda *_, engine=engine: engine)
        (tmp_path / name).mkdir()
        stage(engine, tmp_path / name / "out.parquet", seed, networks["qwen3"])
        assert {(s.temperature, s.max_new_tokens, s.top_p) for s in engine.samplings} == GENERATING[stage]
        asked.append(engine.seeds)
    assert asked[0] == asked[1] and not set(asked[0]) & set(asked[2]), asked


def test_a_step_is_completed_as_often_as_the_params_say(tmp_path, monkeypatch):
    asked = []
    for samples in (1, 3):
        engine = Recorder()
        monkeypatch.setattr(engines, "make", lambda *_, engine=engine: engine)
        rollouts(engine, tmp_path / f"{samples}.parquet", 0, None, samples)
        asked.append(engine.asked)
    assert asked[1] == 3 * asked[0] > 0


def test_the_sampling_and_the_seed_of_grpo_on_an_engine(monkeypatch):
    asked = []

    def decode(model, rows, sampling, stops, slots):
        asked.append(({row.seed for row in rows}, sampling, slots))
        for row in rows:
            row.reply = [1]

    monkeypatch.setattr(grpo, "decode", decode)
    rl = but(MINI.rl, temperature=0.37, max_new_tokens=23)
    for seed, step in ((3, 0), (3, 0), (4, 0), (3, 1)):
        trainer = SimpleNamespace(config=rl, engine=ENGINE, model=None, eos_token_ids=[0])
        trainer.args, trainer.state = SimpleNamespace(seed=seed), SimpleNamespace(global_step=step)
        grpo.GrpoTrainer._generate_single_turn(trainer, [[1, 2], [1, 2]], None)
    seeds = [each[0] for each in asked]
    assert seeds[0] == seeds[1] and len(set.union(*seeds)) == 2 * 3
    assert {each[1:] for each in asked} == {(engines.Sampling(0.37, 23), ENGINE.batch)}


def test_the_dev_accuracy_is_greedy_and_as_long_as_an_evaluation(monkeypatch):
    engine = Recorder(f"Answer: {tasks.problems(TASK, 'dev', 1)[0].answer}")
    monkeypatch.setattr(TransformersEngine, "around", lambda *_: engine)
    config = MINI.model_copy(update={"evaluate": but(EVALUATE, **HOT)})
    assert pad._dev_accuracy(config, TASK, 1)(None, None) == 1.0
    assert engine.samplings == [engines.Sampling(0.0, 23)]


# What TRL and PEFT are given by imitation

IMITATION = params.Distill(
    learning_rate=3e-4, epochs=3, batch=2, warmup_share=0.3, weight_decay=0.07, max_length=400, max_dropped_share=0.5,
    answer_weight=0.3, save_steps=7, lora={"r": 3, "alpha": 5, "dropout": 0.2, "target_modules": ["q_proj"]},
    by_method={"da": {"learning_rate": 9e-4, "epochs": 5}},
)  # fmt: skip
IN_THE_TRAINER = {
    "learning_rate": lambda given: given["args"].learning_rate,
    "epochs": lambda given: given["args"].num_train_epochs,
    "batch": lambda given: given["args"].per_device_train_batch_size,
    "weight_decay": lambda given: given["args"].weight_decay,
    "save_steps": lambda given: given["args"].save_steps,
    "answer_weight": lambda given: min(w for row in given["train_dataset"] for w in row["weights"]),
}
IN_OTHER_TESTS = {"warmup_share", "max_length", "max_dropped_share", "lora", "by_method"}  # of this file


@pytest.fixture
def imitated(networks, tmp_path, monkeypatch):
    """A function that returns what the trainer of a student is given."""

    def run(config=IMITATION, method="rsft", seed=5, traces=TRACES):
        given, out = {}, tmp_path / f"{method}{seed}{store.digest(config.model_dump())}"
        monkeypatch.setattr(sft, "WeightedSFTTrainer", lambda **options: given.update(options) or stop())
        cell = IMITATING_CELL.but(student=networks["qwen3"], method=method, seed=seed)
        with pytest.raises(Stopped):
            students.run(out, cell, traces, "x", 6, config)
        return given

    return run


def test_the_settings_of_imitation(imitated):
    assert set(params.Distill.model_fields) == set(IN_THE_TRAINER) | IN_OTHER_TESTS
    given = imitated()
    args = given["args"]
    assert {name: read(given) for name, read in IN_THE_TRAINER.items()} == {
        name: getattr(IMITATION, name) for name in IN_THE_TRAINER
    }
    assert len(given["train_dataset"]) == 3 and args.warmup_steps == round(0.3 * 3 * 2)  # two steps an epoch
    assert (args.lr_scheduler_type, args.seed, args.data_seed) == ("cosine", 5, 5)
    assert (args.packing, args.max_length, args.gradient_accumulation_steps) == (False, None, 1)
    lora = given["peft_config"]
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.target_modules) == (3, 5, 0.2, {"q_proj"})
    assert imitated(but(IMITATION, lora=None))["peft_config"] is None


def test_a_method_has_values_of_its_own(imitated):
    args = imitated(method="da")["args"]
    assert (args.learning_rate, args.num_train_epochs, args.weight_decay) == (9e-4, 5, 0.07)


def test_what_is_too_long_and_how_much_of_it(imitated, networks, tmp_path):
    lengths = sorted(len(row["input_ids"]) for row in imitated()["train_dataset"])
    shorter = but(IMITATION, max_length=lengths[-1] - 1)
    assert len(imitated(shorter)["train_dataset"]) == 2
    with pytest.raises(DistillError, match="max_dropped_share = 0.3"):
        cell = IMITATING_CELL.but(student=networks["qwen3"], method="rsft")
        students.run(tmp_path / "none", cell, TRACES, "x", 6, but(shorter, max_dropped_share=0.3))


@pytest.mark.parametrize("method", ["gold_rsft", "gold_da", "rsft_tokens"])
def test_the_order_of_controls_depends_on_the_seed(imitated, method):
    long = TRACES.assign(text=TRACES.text + "\n" + " plums" * 40)
    trained = (imitated(method=method, seed=seed, traces=long)["train_dataset"] for seed in (0, 0, 1))
    one, again, other = ([row["input_ids"] for row in rows] for rows in trained)
    assert one == again and one != other


# What TRL is given by training on own samples

RL = params.Rl(
    init="base", learning_rate=3e-5, schedule="linear", warmup_steps=3, steps=11, prompts_per_step=2, generations=3,
    beta=0.07, epsilon=0.13, advantage_epsilon=0.02, temperature=0.83, max_new_tokens=9, aggregation="product",
    verifiable_weight=0.25, ratio="token", credit="output", critic=True, gamma=0.6, lam=0.7, value_coefficient=0.3,
    critic_warmup=2, reward_at="steps", admission="any", max_growth=1.7, dev_problems=3, dev_every=5, save_steps=7,
    by_method={name: {"learning_rate": 8e-5, "steps": 13} for name in ("rlvr", "opd", "ppo", "prm_select")},
)  # fmt: skip
READ_BY_NAME = {"advantage_epsilon", "ratio", "credit", "gamma", "lam", "value_coefficient", "critic_warmup"} | {
    "reward_at"
}  # from the `config` that a trainer has; test_grpo and test_ppo compute by hand what they do
IN_RL_ARGS = {
    "learning_rate": "learning_rate",
    "schedule": "lr_scheduler_type",
    "warmup_steps": "warmup_steps",
    "steps": "max_steps",
    "temperature": "temperature",
    "max_new_tokens": "max_completion_length",
    "save_steps": "save_steps",
}
IN_GRPO_ARGS = {**IN_RL_ARGS, "generations": "num_generations", "beta": "beta", "epsilon": "epsilon"}
OF_THE_REWARD = {"aggregation", "generations", "verifiable_weight"}
OF_THE_CELL = {"init", "admission", "dev_problems"}  # evaluate/students.py, below and in test_pad
CHOSEN_BY_NAME = {"critic", "by_method"}
TOGETHER = {"prompts_per_step", "generations"}  # a batch
CALLED_BACK = {"dev_every", "max_growth"}


@pytest.fixture
def rewarded(networks, tmp_path, monkeypatch):
    """A function that returns what the trainer of a method that learns from own samples is given."""
    model = tmp_path / "prm"
    model.mkdir()
    store.write_manifest(model, {"reward": "model"}, 0.0)

    def run(method, seed=5, rl=RL):
        given = {}
        for module, name in ((grpo.GrpoTrainer, "__init__"), (ppo.PpoTrainer, "__init__")):
            monkeypatch.setattr(module, name, lambda self, **options: given.update(options) or stop())
        monkeypatch.setattr(opd, "DistillationTrainer", lambda **options: given.update(options) or stop())
        config = MINI.model_copy(update={"rl": rl, "distill": IMITATION, "evaluate": EVALUATE, "engine": ENGINE})
        cell = Cell(networks["qwen3"], networks["qwen3"], method, train=TASK, protocol="debate", seed=seed)
        with pytest.raises(Stopped):
            out = tmp_path / f"{method}{seed}"
            pad.train_policy(out, cell, networks["qwen3"], model, "passed", PROBLEMS, 2, config)
        return given

    return run


def test_no_parameter_of_training_on_own_samples_is_forgotten():
    tested = READ_BY_NAME | set(IN_GRPO_ARGS) | OF_THE_REWARD | OF_THE_CELL | CHOSEN_BY_NAME | TOGETHER | CALLED_BACK
    assert set(params.Rl.model_fields) == tested


@pytest.mark.parametrize("method", ["pad", "pad_shuffled", "pad_likelihood", "rlvr", "ppo", "opd"])
def test_the_settings_of_training_on_own_samples(rewarded, method):
    given, rl = rewarded(method), RL.of(method)
    args, names = given["args"], IN_RL_ARGS if method == "opd" else IN_GRPO_ARGS
    assert {name: getattr(args, own) for name, own in names.items()} == {name: getattr(rl, name) for name in names}
    assert (args.seed, args.data_seed, args.weight_decay, args.gradient_accumulation_steps) == (5, 5, 0.0, 1)
    assert (args.disable_dropout, args.top_p, args.top_k, args.shuffle_dataset) == (True, 1.0, 0, False)
    assert args.per_device_train_batch_size == 2 * 3 and len(given["train_dataset"]) == rl.steps * 2 * (
        3 if method == "opd" else 1
    )
    measured, guard = given["callbacks"]
    assert (measured.dev_every, guard.most) == (5, 1.7)
    if method == "opd":
        return
    reward = given["reward_funcs"]
    weight = 1.0 if method == "rlvr" else 0.25
    assert (reward.aggregation, reward.generations, reward.verifiable_weight) == ("product", 3, weight)
    right, wrong = PROBLEMS[0].solution, "Answer: 100001"
    assert reward.verify(right, PROBLEMS[0].id) and not reward.verify(wrong, PROBLEMS[0].id)
    assert reward.verify(f"so it is {PROBLEMS[0].answer}", PROBLEMS[0].id)  # by flexible extraction, as in evaluation
    assert {name: getattr(given["config"], name) for name in READ_BY_NAME} == {
        name: getattr(rl, name) for name in READ_BY_NAME
    }
    assert given["engine"] == ENGINE and (given["step_ends"] is None) == (method == "rlvr")


@pytest.mark.parametrize("method", ["pad", "opd"])
def test_the_order_of_prompts_depends_on_the_seed(rewarded, method):
    one, again, other = (list(rewarded(method, seed)["train_dataset"]["problem"]) for seed in (0, 0, 1))
    assert one == again and one != other


def test_the_settings_of_selection(networks, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(select, "run", lambda folder, **options: given.update(options))
    cell = Cell("t", networks["qwen3"], "truth_select", train=TASK, protocol="debate", seed=5)
    own = {"truth_select": {"learning_rate": 8e-5}}
    sections = {"rl": but(RL, by_method=own), "distill": but(IMITATION, by_method=own), "engine": ENGINE}
    config = MINI.model_copy(update=sections)
    pad.train_policy(tmp_path / "s", cell, networks["qwen3"], None, "", PROBLEMS, 2, config)
    assert given["config"] == but(RL, by_method={}, learning_rate=8e-5, verifiable_weight=1.0)
    assert given["distill"] == but(IMITATION, by_method={}, learning_rate=8e-5)
    assert (given["seed"], given["engine"], given["score"].seed) == (5, ENGINE, 5)


def test_selection_passes_its_settings_on(networks, tmp_path, monkeypatch):
    """To its reward and to the training; those of its sampling are tested above."""
    engine, rewards, trained = Recorder(), [], []
    monkeypatch.setattr(engines, "make", lambda *_: engine)
    monkeypatch.setattr(sft, "train", lambda student, rows, *rest: trained.append((rows, rest)) or stop())
    original = select.RewardFunction
    monkeypatch.setattr(select, "RewardFunction", lambda *args: rewards.append(args) or original(*args))
    judged = {"score": lambda chats, ids: [[0.5] for _ in ids], "verify": lambda text, problem: True}
    shared = {"policy": networks["qwen3"], "prompts": {p.id: p.question for p in PROBLEMS}, "evaluate_dev": None}
    options = {"config": RL, "distill": IMITATION, "engine": ENGINE, "seed": 5, "progress": quiet}
    with pytest.raises(Stopped):
        select.run(tmp_path / "s", **judged, **shared, **options)
    assert rewards == [(judged["score"], "product", 3, judged["verify"], 0.25)]
    [(rows, (_, _, config, seed))] = trained
    assert (config, seed) == (IMITATION, 5) and min(w for row in rows for w in row["weights"]) == 0.3


# What the cells of a study are given

OWN = Cell("t", "s", "rlvr", train=TASK, protocol="debate", split="dev", seed=5)
SIZES = Sizes(train=4, dev=9, tests={TASK: 3})


@pytest.fixture
def study(monkeypatch):
    """The params of a study whose students are not trained, and what its predictions are given."""
    asked = []

    def record(path, columns, **options):
        asked.append(options | {"columns": columns})
        return path

    monkeypatch.setattr(cells.predict, "run", record)
    monkeypatch.setattr(cells.grading, "run", lambda path: pd.DataFrame())
    evaluate = but(EVALUATE, samples=2, base_votes=7)
    return MINI.model_copy(update={"evaluate": evaluate, "rl": RL, "sizes": but(MINI.sizes, train=4)}), asked


def test_how_often_which_problems_are_answered_and_by_which_seed(study, tmp_path):
    config, asked = study
    files = cells.Files(tmp_path)
    cells.untrained(files, config, OWN, ["s"], SIZES)
    cells.answers(files, config, OWN, "folder", {TASK: 3}, config.evaluate.samples)
    cells.rollouts(files, config, OWN, 9)
    kinds = [(each["model"], each["split"], each["n"], each["samples"], each["seed"]) for each in asked]
    assert kinds == [("s", "test", 3, 7, 5), ("folder", "test", 3, 2, 5), ("s", "dev", 9, 7, 5)]
    assert all(each["config"] == config.evaluate and each["engine"] == config.engine for each in asked)


@pytest.mark.parametrize(("init", "policy"), [("base", "s"), ("rsft", "rsft")])
def test_from_which_policy_and_on_how_many_dev_problems(study, tmp_path, monkeypatch, init, policy):
    config, _ = study
    given = []
    rsft = cells.Files(tmp_path).path(STUDENTS, OWN.but(student="s", method="rsft"))
    rsft.mkdir(parents=True)
    store.manifest_path(rsft).write_text("{}")  # a finished student
    monkeypatch.setattr(pad, "train_policy", lambda *args: given.append(args))
    config = config.model_copy(update={"rl": but(RL, init=init)})
    steps = pd.DataFrame({"problem": [p.id for p in PROBLEMS]})
    cells.train_and_evaluate(cells.Files(tmp_path), config, OWN, ["s"], (steps, "x"), SIZES)
    [(_, cell, start, model, _, practised, dev_n, _)] = given
    assert policy in start and (dev_n, model, cell.seed) == (RL.dev_problems, None, 5) and practised == PROBLEMS


def test_a_reward_model_is_trained_by_the_seed_of_its_cell(tmp_path, monkeypatch):
    given = {}
    from agentark.distill import prm

    monkeypatch.setattr(prm, "run", lambda folder, steps, **options: given.update(options))
    run = partial(pad.train_reward_model, tmp_path, OWN, pd.DataFrame(), "x", 4)
    run(but(MINI.prm, backbone="student"), True)
    assert (given["base"], given["seed"], given["split"], given["n"]) == ("s", 5, "train", 4)
    assert given["config"].shuffled_labels
    run(but(MINI.prm, backbone="b"))
    assert given["base"] == "b" and not given["config"].shuffled_labels
