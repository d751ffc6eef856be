"""GRPO: the loss and gradient of a step against Eq. 3-5 by hand, what is learnt and counted, and resumed trainings."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny import DISTILL, LORA, but
from transformers import TrainerCallback

from agentark import params, store
from agentark.distill import credit, grpo, on_policy, ppo, prm_model, rl_log, sft, step_scorer
from agentark.distill.data import DistillError
from agentark.distill.rewards import RewardFunction
from agentark.models.load import ModelError, load, load_tokenizer

RL = params.Rl(
    init="base",
    learning_rate=1e-3,
    schedule="constant",
    warmup_steps=0,
    steps=6,
    prompts_per_step=2,
    generations=4,
    beta=0.1,
    epsilon=0.2,
    advantage_epsilon=1e-4,
    temperature=0.8,
    max_new_tokens=8,
    aggregation="min",
    verifiable_weight=0.0,
    ratio="token",
    credit="output",
    critic=True,
    gamma=0.9,
    lam=0.8,
    value_coefficient=0.1,
    critic_warmup=0,
    reward_at="steps",
    admission="any",
    max_growth=10.0,
    dev_problems=100,
    dev_every=4,
    save_steps=2,
)
PROMPTS = {f"p{n}": f"Tom has {n} pens and gets {n + 2} more. How many pens now?" for n in range(5)}


@pytest.fixture(scope="module")
def enders(networks, tmp_path_factory):
    """The networks with so many tokens that end a turn that completions have different lengths."""
    folders = {}
    for name in ("qwen3", "gemma3_text", "qwen2_5_vl"):
        folders[name] = str(tmp_path_factory.mktemp("enders") / name)
        shutil.copytree(networks[name], folders[name])
        file = Path(folders[name]) / "generation_config.json"
        file.write_text(
            json.dumps(
                {
                    **json.loads(file.read_text()),
                    "eos_token_id": [load(networks[name])[1].eos_token_id, *range(320, 400)],
                }
            )
        )
    return folders


def score(prompts, completion_ids):
    """Scores that differ within a group: one per pair of tokens, computed from their ids."""
    return [[(sum(ids[n : n + 2]) * 7 % 97) / 97 for n in range(0, len(ids), 2)] for ids in completion_ids]


def trainer_of(network, folder, config=RL, cls=grpo.GrpoTrainer, score=score, **options):
    """A trainer as `grpo.run` creates it."""
    model, tokenizer = on_policy.load_policy(network, folder)
    trainer = cls(
        model=model,
        reward_funcs=RewardFunction(score, config.aggregation, config.generations),
        args=grpo.grpo_config(config, folder, 0),
        processing_class=tokenizer,
        config=config,
        train_dataset=Dataset.from_list(on_policy.training_rows(PROMPTS, config.steps * config.prompts_per_step, 0)),
        **options,
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def batch_of(trainer):
    """The batch of the first step's prompts, with completions and advantages."""
    rows = [
        row
        for row in list(trainer.train_dataset)[: trainer.config.prompts_per_step]
        for _ in range(trainer.config.generations)
    ]
    return trainer._generate_and_score_completions(rows)


def disturb(model, by):
    """Move the policy away from its reference, so that there is a divergence."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p += by * torch.randn_like(p)


def grads(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def token_logps(model, prompt, completion, temperature):
    """log π(o_t | x, o_<t), (T,), of one unpadded sequence; π is the distribution at `temperature`."""
    ids = torch.tensor(prompt + completion, device=model.device)
    logps = (model(input_ids=ids[None]).logits[0].float() / temperature).log_softmax(-1)
    return torch.stack([logps[t - 1, ids[t]] for t in range(len(prompt), len(ids))])


def unpadded(batch):
    """(prompt ids, completion ids) of each row."""
    return [
        ([t for t, m in zip(p, pm) if m], [t for t, m in zip(c, cm) if m])
        for p, pm, c, cm in zip(
            *(batch[k].tolist() for k in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"))
        )
    ]


def by_hand(model, ref, batch, old, rewards, config, advantages=None):
    """-J of Eq. 3-5, one output at a time. `old`: log-probabilities under π_old, one tensor per output."""
    total = 0.0
    for row, (prompt, completion) in enumerate(unpadded(batch)):
        first = row // config.generations * config.generations
        group = rewards[first : first + config.generations]
        advantage = (rewards[row] - statistics.mean(group)) / (
            statistics.stdev(group) + config.advantage_epsilon
        )  # Eq. 5
        logps = token_logps(model, prompt, completion, config.temperature)
        with torch.no_grad():
            ref_logps = token_logps(ref, prompt, completion, config.temperature)
        r = (ref_logps - logps).exp()
        kl = r - r.log() - 1
        ratio = (logps - old[row]).exp() if config.ratio == "token" else (logps.sum() - old[row].sum()).exp()  # Eq. 4
        gain = torch.min(ratio * advantage, ratio.clamp(1 - config.epsilon, 1 + config.epsilon) * advantage)
        # Eq. 3: the mean over groups of the mean over a group is the mean over all rows
        total = total + (
            gain.mean() - config.beta * kl.mean() if config.ratio == "token" else gain - config.beta * kl.sum()
        )
    return -total / len(rewards)


# Eq. 3-5


@pytest.mark.parametrize(
    ("ratio", "architecture"),
    [("token", "qwen3"), ("sequence", "qwen3"), ("token", "gemma3_text"), ("token", "qwen2_5_vl")],
)
@pytest.mark.parametrize("moved", [False, True])
def test_a_step_by_hand(enders, tmp_path, ratio, architecture, moved):
    """On policy (ratios are 1), and with a policy that has moved away from π_old, so that some ratios are clipped."""
    config = but(RL, ratio=ratio, advantage_epsilon=0.05, epsilon=0.13)  # no value that stands in the code
    trainer = trainer_of(enders[architecture], tmp_path, config)
    disturb(trainer.model, 0.01)
    batch = batch_of(trainer)
    rewards = [min(scores) for scores in score(None, [completion for _, completion in unpadded(batch)])]
    lengths = batch["completion_mask"].sum(1).tolist()
    assert len(set(lengths)) > 1 and batch["completion_mask"].shape[1] == max(lengths)
    ref = load(enders[architecture])[0]
    with torch.no_grad():
        old = [token_logps(trainer.model, p, c, config.temperature) for p, c in unpadded(batch)]
    if moved:
        torch.manual_seed(1)
        old = [row + 0.6 * torch.randn_like(row) for row in old]
        batch["old_per_token_logps"] = torch.nn.utils.rnn.pad_sequence(old, batch_first=True)
    loss = trainer.compute_loss(trainer.model, batch)
    expected = by_hand(trainer.model, ref, batch, old, rewards, config)
    unclipped = by_hand(trainer.model, ref, batch, old, rewards, but(config, epsilon=0.999))
    assert (abs(unclipped - expected) > 1e-4) == moved
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    gradient = grads(trainer, trainer.compute_loss(trainer.model, batch))
    right = grads(trainer, by_hand(trainer.model, ref, batch, old, rewards, config))
    assert right.norm() > 1e-2 and torch.allclose(gradient, right, rtol=1e-3, atol=1e-4 * right.abs().max().item())
    assert trainer._metrics["train"]["kl"][0] > 0 and trainer._metrics["train"]["entropy"][0] > 0


def test_advantages_equal_those_by_hand_and_those_of_trl(enders, tmp_path):
    rewards = [0.25, 0.5, 0.75, 1.0, 0.9, 0.901, 0.902, 0.9]
    expected = [(r - statistics.mean(g)) / (statistics.stdev(g) + 1e-4) for g in (rewards[:4], rewards[4:]) for r in g]
    assert torch.allclose(grpo.group_advantages(torch.tensor(rewards), 4, 1e-4), torch.tensor(expected), rtol=1e-3)
    advantages = grpo.group_advantages(torch.tensor(rewards[4:]), 4, 0.0)
    assert advantages.std().item() == pytest.approx(1, rel=1e-4)  # σ ≈ 1e-3: TRL's 1e-4 would make it a tenth smaller
    trainer = trainer_of(enders["qwen3"], tmp_path)
    batch_of(trainer)
    ours = grpo.group_advantages(trainer.rewards_N, 4, 1e-4)
    assert torch.allclose(ours.cpu(), torch.tensor(list(trainer._logs["advantages"])), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-4, 0.0])
def test_equal_and_missing_rewards_have_no_advantage(epsilon):
    nan = float("nan")
    equal = [0.1, 0.1, 0.1, 0.1]  # their mean in floating point is not quite 0.1
    assert (
        grpo.group_advantages(torch.tensor(equal + [nan] * 4 + [0.3, nan, nan, nan]), 4, epsilon).tolist() == [0.0] * 12
    )
    advantages = grpo.group_advantages(torch.tensor([0.0, nan, 1.0, 0.5]), 4, 0.0).tolist()
    assert advantages == pytest.approx([-1, 0, 1, 0])  # the group's mean and deviation are those of the other three


# Training


def weights(folder):
    [file] = Path(folder).glob("*.safetensors")
    return load_file(file)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class PowerCut(TrainerCallback):
    """Interrupts the training once a checkpoint is written."""

    def on_save(self, *_, **__):
        raise KeyboardInterrupt


def dev(model, tokenizer):
    """Draws a random number, as an evaluation by sampling does."""
    assert not model.training
    return torch.rand(()).item()


def run(out, network, config=RL, **changes):
    options = {"prompts": PROMPTS, "score": score, "config": config, "seed": 0, "evaluate_dev": dev}
    return grpo.run(out, policy=network, **options | changes)


@pytest.fixture(scope="module")
def whole(enders, tmp_path_factory):
    """An uninterrupted training: its folder and its log."""
    out = tmp_path_factory.mktemp("whole") / "student"
    return out, run(out, enders["qwen3"])


def test_the_training_log(whole, enders):
    out, log = whole
    assert json.loads((out / "training.json").read_text()) == log
    assert [row["step"] for row in log["log"]] == [1, 2, 3, 4, 5, 6] and [row["step"] for row in log["dev"]] == [
        0,
        4,
        6,
    ]
    assert (log["steps"], log["completions"], log["groups"]) == (6, 48, 12)
    for row in log["log"]:
        assert {
            "reward",
            "kl",
            "entropy",
            "length",
            "truncated",
            "steps_per_trace",
            "without_steps",
            "zero_variance",
            "min_at_last",
            "loss",
        } <= row.keys()
        assert 0 <= row["truncated"] <= 1 and 1 <= row["length"] <= 8
    assert (
        log["log"][0]["kl"] == pytest.approx(0, abs=1e-6) and log["log"][-1]["kl"] > 1e-3
    )  # it starts at its reference
    assert log["completion_tokens"] == round(sum(row["length"] for row in log["log"]) * 8)
    assert sorted(p.name for p in out.parent.iterdir()) == ["student", "student.manifest.json"]
    model, _ = load(str(out))
    assert log["parameters_trained"] == sum(p.numel() for p in model.parameters()) and not same(
        weights(out), weights(enders["qwen3"])
    )


def test_an_existing_result_is_read(whole, enders):
    def never(*_):
        raise AssertionError

    assert run(whole[0], enders["qwen3"], score=never, evaluate_dev=never) == whole[1]


def test_an_interrupted_training_ends_with_the_same_weights(whole, enders, tmp_path):
    out = tmp_path / "student"
    for last in (2, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            run(out, enders["qwen3"], callbacks=(PowerCut(),))
        assert [p.name for p in out.with_name("student.work").glob("checkpoint-*")] == [
            f"checkpoint-{last}"
        ] and not out.exists()
        torch.manual_seed(99)
        truncated = out.with_name("student.work") / f"checkpoint-{last + 1}"  # the power failed again, while writing it
        state = shutil.copytree(truncated.with_name(f"checkpoint-{last}"), truncated) / "trainer_state.json"
        state.write_text(state.read_text()[:100])
    log = run(out, enders["qwen3"])
    assert same(weights(out), weights(whole[0]))
    times = ("seconds", "core_seconds", "peak_memory_mb")
    assert {k: v for k, v in log.items() if k not in times} == {k: v for k, v in whole[1].items() if k not in times}


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_grpo
class Kill(test_grpo.TrainerCallback):
    def on_save(self, args, state, control, **_):
        if state.global_step == 4: os.kill(os.getpid(), signal.SIGKILL)
test_grpo.run(Path({out!r}), {network!r}, callbacks=(Kill(),))
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(whole, enders, tmp_path):
    out = tmp_path / "student"
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out), network=enders["qwen3"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=store.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (out.with_name("student.work") / "checkpoint-5").mkdir()  # it was killed while writing the next one
    log = run(out, enders["qwen3"])
    assert same(weights(out), weights(whole[0])) and log["log"] == whole[1]["log"] and log["dev"] == whole[1]["dev"]


def test_the_seed_matters_and_the_dev_measurement_does_not(whole, enders, tmp_path):
    torch.manual_seed(99)
    run(tmp_path / "again", enders["qwen3"], evaluate_dev=None)
    run(tmp_path / "other", enders["qwen3"], seed=1)
    assert same(weights(tmp_path / "again"), weights(whole[0])) and not same(
        weights(tmp_path / "other"), weights(whole[0])
    )


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_rewarded_tokens_become_frequent(enders, tmp_path, ratio):
    rewarded = range(100, 200)  # a quarter of the vocabulary

    def share_rewarded(prompts, completion_ids):
        return [[sum(token in rewarded for token in ids) / len(ids)] for ids in completion_ids]

    config = but(
        RL, steps=12, generations=8, learning_rate=3e-3, beta=0.001, temperature=1.0, ratio=ratio, save_steps=100
    )
    rewards = [
        row["reward"]
        for row in run(tmp_path / "student", enders["qwen3"], config, score=share_rewarded, evaluate_dev=None)["log"]
    ]
    assert statistics.mean(rewards[-3:]) > 1.5 * statistics.mean(rewards[:2]), rewards


def lazy_scorer(network, folder):
    """The score of a saved reward model that is loaded at its first call, as `pad` does."""

    @cache
    def scorer():
        return step_scorer.StepScorer(prm_model.load_prm(folder), load_tokenizer(network))

    return lambda chats, completion_ids: scorer().score(chats, completion_ids, 64)


@pytest.fixture(scope="module")
def reward_model(enders, tmp_path_factory):
    """The folder of a reward model on the policy's weights."""
    folder = tmp_path_factory.mktemp("prm") / "prm"
    prm_model.make(enders["qwen3"], 0).save(folder)
    return folder


def test_a_training_with_a_reward_model_is_resumed_exactly(enders, reward_model, tmp_path):
    def train(name, **options):
        run(tmp_path / name, enders["qwen3"], score=lazy_scorer(enders["qwen3"], reward_model), **options)
        return weights(tmp_path / name)

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", callbacks=(PowerCut(),))
    assert same(train("cut"), whole)


def test_without_variance_and_without_steps_nothing_is_learnt(enders, tmp_path):
    config = but(RL, steps=2, beta=0.0)
    log = run(tmp_path / "equal", enders["qwen3"], config, score=lambda _, ids: [[0.1, 0.3]] * len(ids))
    assert log["zero_variance_groups"] == log["groups"] == 4 and log["log"][0]["zero_variance"] == 1
    assert same(weights(tmp_path / "equal"), weights(enders["qwen3"]))
    log = run(tmp_path / "none", enders["qwen3"], config, score=lambda _, ids: [[]] * len(ids))
    assert (log["traces_without_steps"], log["log"][0]["reward"], log["zero_variance_groups"]) == (16, None, 4)
    assert same(weights(tmp_path / "none"), weights(enders["qwen3"]))
    assert "NaN" not in (tmp_path / "none" / "training.json").read_text()


def test_growth_is_judged_from_two_whole_windows_on():
    """The first and the last five steps must not overlap; what counts is the ratio of their mean lengths."""

    def stops(lengths, most=1.5):
        guard, stopped = rl_log.Guard(most), []
        state = SimpleNamespace(log_history=[], global_step=0)
        for step, length in enumerate(lengths, 1):
            control = SimpleNamespace(should_training_stop=False, should_save=True)
            state.global_step = step
            state.log_history.append(entry := {rl_log.LOGGED["length"]: length})
            guard.on_log(None, state, control, entry)
            stopped += [step] if control.should_training_stop else []
        return stopped

    assert stops([1, 1, 1, 1, 1, 9, 9, 9, 9]) == []
    assert stops([1, 1, 1, 1, 1, 9, 9, 9, 9, 9]) == [10]
    assert stops([2] * 5 + [3] * 6) == [] and stops([2] * 5 + [3] * 5 + [4]) == [11]
    with pytest.raises(DistillError, match="in the first 10 steps"):
        guard, state = rl_log.Guard(9.0), SimpleNamespace(log_history=[], global_step=1)
        for _ in range(10):
            state.log_history.append(entry := {rl_log.LOGGED["length"]: 1, "zero_variance": 1})
            guard.on_log(None, state, SimpleNamespace(), entry)


@pytest.mark.parametrize("trainer", [grpo, ppo])
def test_a_policy_that_grows_is_stopped(enders, tmp_path, capsys, trainer):
    """What is kept is the last checkpoint before, as a training of so many steps would have saved it."""
    config = RL.model_copy(
        update={
            "steps": 60,
            "beta": 0.0,
            "learning_rate": 1e-2,
            "max_growth": 1.2,
            "max_new_tokens": 32,
            "reward_at": "end",
        }
    )

    def longer(prompts, completion_ids):
        return [[len(ids) / 32] for ids in completion_ids]

    def run(folder, config):
        shared = {"policy": enders["qwen3"], "prompts": PROMPTS, "score": longer, "seed": 0}
        return trainer.run(tmp_path / folder, config=config, **shared)

    log = run("grown", config)
    step, times, kept = re.fullmatch(
        r"stopped at step (\d+): the completions became ([\d.]+) times as long as in the first steps "
        r"\(rl.max_growth\); kept is step (\d+)",
        log["stopped"],
    ).groups()
    lengths = [row["length"] for row in log["log"]]
    assert log["steps"] == int(step) < 60 and float(times) == round(sum(lengths[-5:]) / sum(lengths[:5]), 2) > 1.2
    assert int(step) - 2 <= int(kept) < int(step) and log["stopped"] in capsys.readouterr().err
    for n in range(10, int(step)):  # not a step too late
        assert sum(lengths[n - 5 : n]) / sum(lengths[:5]) <= 1.2
    run("short", config.model_copy(update={"steps": int(kept), "max_growth": 10.0}))
    assert same(weights(tmp_path / "grown"), weights(tmp_path / "short"))


ENGINE = params.Engine(name="transformers", batch=3, dtype="float32", share_prefix=True)


def test_the_engine_samples_as_trl_does(enders, tmp_path):
    """At a temperature near 0 both take the likeliest tokens, and completions end with their end token."""
    config = RL.model_copy(update={"temperature": 1e-4})
    found = []
    for engine in (None, ENGINE):
        batch = batch_of(trainer_of(enders["qwen3"], tmp_path, config, engine=engine))
        found.append(batch["completion_ids"] * batch["completion_mask"])
    assert found[0].shape == found[1].shape and torch.equal(*found)
    warm = [batch_of(trainer_of(enders["qwen3"], tmp_path, engine=engine)) for engine in (ENGINE, ENGINE, None)]
    ids = [each["completion_ids"].tolist() for each in warm]
    assert ids[0] == ids[1] != ids[2]
    lengths = warm[0]["completion_mask"].sum(1).tolist()
    ends = {load(enders["qwen3"])[1].eos_token_id, *range(320, 400)}
    for row, length in zip(ids[0], lengths, strict=True):
        assert not ends & set(row[: length - 1]) and (row[length - 1] in ends or length == RL.max_new_tokens)


def test_an_interrupted_training_with_the_engine(enders, tmp_path):
    shared = {"policy": enders["qwen3"], "prompts": PROMPTS, "score": score, "config": RL, "seed": 0, "engine": ENGINE}
    whole = grpo.run(tmp_path / "whole", **shared)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            grpo.run(tmp_path / "cut", callbacks=(PowerCut(),), **shared)
    assert grpo.run(tmp_path / "cut", **shared)["log"] == whole["log"]
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


def test_credit_by_step(enders, tmp_path):
    """The loss is that of tokens whose advantages are `credit.step_advantages`; without the ends it is refused."""
    config = RL.model_copy(update={"credit": "step"})

    def ends(ids):
        return [*range(1, len(ids), 2), *([len(ids) - 1] if len(ids) % 2 else [])]

    trainer = trainer_of(enders["qwen3"], tmp_path, config, step_ends=ends)
    batch = batch_of(trainer)
    ids, positions = trainer.steps(batch)
    scores = score(None, ids)
    expected = credit.step_advantages(scores, positions, [0.0] * 8, ids, batch["completion_mask"], 4, 1e-4)
    torch.testing.assert_close(batch["advantages"], expected)
    assert batch["advantages"].shape == batch["completion_mask"].shape and batch["advantages"].std() > 0
    mask = batch["completion_mask"]
    loss = trainer._compute_loss(trainer.model, batch)
    # The ratio is 1 and the divergence 0: the loss is minus the mean advantage of each completion's tokens.
    by_hand = -((batch["advantages"] * mask).sum(1) / mask.sum(1)).mean()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-5)
    with pytest.raises(DistillError, match="rl.credit = step needs a reward with step scores"):
        grpo.run(tmp_path / "s", policy=enders["qwen3"], prompts=PROMPTS, score=score, config=config, seed=0)


def test_a_constant_reward_is_refused(enders, tmp_path):
    """After ten steps: by chance, a few batches in succession may have equal rewards, and a good policy's later ones."""
    config = RL.model_copy(update={"steps": 12})
    shared = {"policy": enders["qwen3"], "prompts": PROMPTS, "config": config, "seed": 0}
    with pytest.raises(DistillError, match="in the first 10 steps, all completions of a prompt had the same reward"):
        grpo.run(tmp_path / "constant", score=lambda prompts, ids: [[0.5]] * len(ids), **shared)
    calls = []

    def once(prompts, completion_ids):
        calls.append(1)
        return [[n * (len(calls) == 1)] for n in range(len(completion_ids))]

    assert grpo.run(tmp_path / "once", score=once, **shared)["zero_variance_groups"] == 22


def test_some_traces_without_steps(enders, tmp_path):
    config = but(RL, beta=0.0)
    trainer = trainer_of(
        enders["qwen3"],
        tmp_path,
        config,
        score=lambda p, ids: [[] if n % 4 == 0 else s for n, s in enumerate(score(p, ids))],
    )
    batch = batch_of(trainer)
    assert batch["advantages"].view(-1, 4)[:, 0].tolist() == [0.0, 0.0]
    assert (
        batch["advantages"].view(-1, 4)[:, 1:].sum(1).tolist() == pytest.approx([0, 0], abs=1e-5)
        and batch["advantages"].abs().max() > 0.1
    )


def test_an_adapter_as_initial_policy(enders, tmp_path):
    """TRL reloads π_ref from the policy's folder, and the folder of an adapter contains no network."""
    from agentark.distill.data import Example, encode
    from agentark.models.load import load_tokenizer

    rows = [encode(Example("a", "2 and 3?", "Answer: 5"), load_tokenizer(enders["qwen3"]), 1.0)]
    adapter = tmp_path / "adapter"
    sft.train(enders["qwen3"], rows, adapter, {}, but(DISTILL, lora=LORA, epochs=1), 0)
    log = run(tmp_path / "student", str(adapter), but(RL, steps=1))
    assert (
        log["log"][0]["kl"] == pytest.approx(0, abs=1e-6)
        and not (tmp_path / "student" / "adapter_config.json").exists()
    )


# Bad input


def test_checkpoints_of_another_training_are_refused(enders, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "student", enders["qwen3"], callbacks=(PowerCut(),))
    with pytest.raises(store.StoreError, match=r"rl\.beta: was 0.1, now 0.2"):
        run(tmp_path / "student", enders["qwen3"], but(RL, beta=0.2))
    with pytest.raises(store.StoreError, match=r"prm: was None, now 'other'"):
        run(tmp_path / "student", enders["qwen3"], about={"prm": "other"})
    (tmp_path / "student.work" / "about.journal").unlink()  # as the message advises
    assert run(tmp_path / "student", enders["qwen3"], but(RL, beta=0.2, steps=1))["steps"] == 1


def test_invalid_trainings_are_refused(enders, tmp_path):
    def refused(error, match, **changes):
        with pytest.raises(error, match=match):
            run(tmp_path / "student", **{"network": enders["qwen3"], **changes})

    refused(ModelError, "no network 'zoo/nobody'", network="zoo/nobody")
    refused(DistillError, "there are 1 prompts, and rl.prompts_per_step = 2", prompts={"a": "1 and 2?"})
    refused(
        DistillError,
        r"prompt of problem p0 has \d+ tokens; with rl.max_new_tokens = 1020 .* context of 1024",
        config=but(RL, max_new_tokens=1020),
    )
    refused(DistillError, "rl.verifiable_weight = 1.0 needs a verifier", config=but(RL, verifiable_weight=1.0))
    assert list(tmp_path.iterdir()) == []
    refused(DistillError, "not a number", score=lambda _, ids: [[float("nan")]] * len(ids))
    refused(DistillError, "scored 3 traces of 8", score=lambda _, ids: [[0.5]] * 3)
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"generations": 1},
        {"beta": -0.1},
        {"temperature": 0.0},
        {"aggregation": "max"},
        {"gamma": 1.1},
        {"steps": 0},
        {"epsilon": 1.0},
        {"credit": "step", "ratio": "sequence"},
    ],
)
def test_invalid_params_are_refused(change):
    with pytest.raises(ValueError):
        but(RL, **change)
