"""Learning from one's own samples: by selection, and under a teacher's distribution (on-policy distillation)."""

import json

import pytest
import torch
from test_grpo import PROMPTS, RL, PowerCut, enders, same, weights  # noqa: F401
from tiny import DISTILL, ENGINE, but
from trl import DistillationTrainer

from agentark.distill import data, opd, select
from agentark.distill.method import methods
from agentark.distill.pad import Judge
from agentark.models.load import load, load_tokenizer

STEEP = but(RL, learning_rate=3e-3, steps=20, prompts_per_step=4, temperature=1.0, max_new_tokens=8)


def quiet(*_):
    pass


def even_tokens(chats, completion_ids):
    """A reward for completions of tokens with even ids; an empty completion has no steps."""
    return [[sum(token % 2 == 0 for token in ids) / len(ids)] if len(ids) > 1 else [] for ids in completion_ids]


def choose(out, network, **changes):
    options = {"prompts": PROMPTS, "score": even_tokens, "config": but(RL, generations=6), "seed": 0}
    options |= {"distill": DISTILL, "engine": ENGINE, "verify": lambda text, problem: len(text) % 3 == 0}
    options |= {"evaluate_dev": None, "progress": quiet}
    return select.run(out, policy=network, **options | changes)


def row(problem, reward, text="a", right=False, cut=False):
    return {"problem": problem, "reward": reward, "text": text, "right": right, "cut": cut, "tokens": 1}


def test_the_best_of_each_problem_is_kept():
    rows = [
        row("p", 0.2, "low"),
        row("p", 0.9, "cut off", cut=True),
        row("p", 0.5, " high\n", right=True),
        row("p", 0.5, "as high"),
        row("q", None, "no steps", right=True),
        row("q", 0.1, "only this"),
        row("r", None),
        row("r", float("nan")),
    ]
    kept, counts = select.best(rows)
    assert kept == {"p": "high", "q": "only this"}
    assert counts == {
        "problems": 3,
        "completions": 8,
        "truncated": 1,
        "left_out": 1,
        "right_completions": 2 / 8,
        "right_kept": 1 / 2,
        "right_at_best": 2 / 3,
    }


def test_selection_imitates_what_is_rewarded(enders, tmp_path):  # noqa: F811
    log = choose(tmp_path / "student", enders["qwen3"], distill=but(DISTILL, epochs=4))
    assert json.loads((tmp_path / "student" / "training.json").read_text()) == log
    assert log["selection"]["completions"] == 30 and log["selection"]["problems"] == 5
    assert log["examples"] == 5 - log["selection"]["left_out"] - log["dropped"]
    assert log["last_loss"] < log["first_loss"]
    assert not same(weights(tmp_path / "student"), weights(enders["qwen3"]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["student", "student.manifest.json"]

    def never(*_):
        raise AssertionError

    assert choose(tmp_path / "student", enders["qwen3"], score=never, distill=but(DISTILL, epochs=4)) == log


def test_interrupted_selection_ends_with_the_same_weights(enders, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(select, "CHUNK", 2)
    choose(tmp_path / "whole", enders["qwen3"])
    calls = []

    def cut(*call):
        calls.append(call)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(tmp_path / "student", enders["qwen3"], progress=cut)
    assert (tmp_path / "student.journal").read_text().count('"chunk"') == 2
    choose(tmp_path / "student", enders["qwen3"])
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "student"))


def test_nothing_to_keep_is_an_error(enders, tmp_path):  # noqa: F811
    with pytest.raises(data.DistillError, match="no completion can be kept"):
        choose(tmp_path / "student", enders["qwen3"], score=lambda chats, ids: [[] for _ in ids])


def distilled(out, policy, teacher, config=RL, **changes):
    return opd.run(out, policy=policy, teacher=teacher, prompts=PROMPTS, config=config, seed=0, **changes)


def divergence(policy, teacher, ids):
    """The mean reverse divergence of two networks on some token ids, in nats, by one plain forward pass of each."""
    with torch.no_grad():
        one, other = (load(name)[0](input_ids=ids).logits.float().log_softmax(-1) for name in (policy, teacher))
    return (one.exp() * (one - other)).sum(-1).mean().item()


@pytest.fixture(scope="module")
def teacher(enders, tmp_path_factory):  # noqa: F811
    """Another network with the policy's tokens: its weights with noise."""
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    model, tokenizer = load(enders["qwen3"])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * parameter.std().nan_to_num(1.0) * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_on_policy_distillation_approaches_the_teacher(enders, teacher, tmp_path):  # noqa: F811
    log = distilled(tmp_path / "student", enders["qwen3"], teacher, STEEP)
    assert log["steps"] == 20 and log["completions"] == 20 * 4 * 4 and "zero_variance_groups" not in log
    ids = torch.tensor([load_tokenizer(enders["qwen3"])(" ".join(PROMPTS.values())).input_ids])
    before = divergence(enders["qwen3"], teacher, ids)
    assert divergence(str(tmp_path / "student"), teacher, ids) < 0.8 * before
    assert log["log"][-1]["loss"] < log["log"][0]["loss"]


def test_its_loss_is_the_reverse_divergence(enders, teacher, tmp_path, monkeypatch):  # noqa: F811
    seen = []
    original = DistillationTrainer._compute_loss

    def compute(self, student, inputs, number):
        loss, entropy, valid = original(self, student, inputs, number)
        seen.append((loss.item(), {key: inputs[key].clone() for key in inputs if "ids" in key or "mask" in key}))
        return loss, entropy, valid

    monkeypatch.setattr(DistillationTrainer, "_compute_loss", compute)
    distilled(tmp_path / "student", enders["qwen3"], teacher, but(RL, steps=1))
    loss, batch = seen[0]
    total, tokens = 0.0, 0
    models = [load(name)[0].eval() for name in (enders["qwen3"], teacher)]
    for n in range(len(batch["prompt_ids"])):
        prompt = batch["prompt_ids"][n][batch["prompt_mask"][n].bool()].tolist()
        completion = batch["completion_ids"][n][batch["completion_mask"][n].bool()].tolist()
        ids = torch.tensor([prompt + completion])
        with torch.no_grad():
            one, other = ((m(input_ids=ids).logits[0].float() / 0.8).log_softmax(-1) for m in models)
        terms = (one.exp() * (one - other)).sum(-1)[len(prompt) - 1 : -1]
        total, tokens = total + terms.sum().item(), tokens + len(completion)
    assert loss == pytest.approx(total / tokens, rel=1e-3)
    pairs = [tuple(ids) for ids in batch["prompt_ids"].tolist()]
    assert len(set(pairs)) == 2 and len(pairs) == 8  # two problems, four samples of each


def test_interrupted_distillation_ends_with_the_same_weights(enders, teacher, tmp_path):  # noqa: F811
    distilled(tmp_path / "whole", enders["qwen3"], teacher)
    with pytest.raises(KeyboardInterrupt):
        distilled(tmp_path / "student", enders["qwen3"], teacher, callbacks=(PowerCut(),))
    distilled(tmp_path / "student", enders["qwen3"], teacher)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "student"))


def test_a_teacher_of_other_tokens_is_refused(enders, tmp_path):  # noqa: F811
    with pytest.raises(data.DistillError, match="different tokens.*the method opd"):
        distilled(tmp_path / "student", enders["qwen3"], "zoo/qwen3-0.6b")


def test_chance_is_a_function_of_the_sample():
    chats, ids = [[{"role": "user", "content": "2+3"}]] * 3, [[1, 2], [1, 2], [3]]
    judge = Judge("chance", None, "", "", 0)
    first = judge(chats, ids)
    assert first == judge(chats, ids) and first[0] == first[1] != first[2] and all(0 <= s[0] < 1 for s in first)
    assert Judge("chance", None, "", "", 1)(chats, ids) != first and judge.identity == "chance"
    assert Judge("answer", None, "", "", 0)(chats, ids) == [[0.0]] * 3


def test_every_method_that_learns_from_its_own_samples_has_an_optimiser():
    own = [method for method in methods().values() if method.reward]
    assert {method.optimiser for method in own} == {"grpo", "ppo", "select", "opd"}
    assert {method.control_of for method in own if method.optimiser == "select"} == {"", "prm_select"}


def test_a_warm_up_needs_a_schedule():
    with pytest.raises(ValueError, match="rl has warmup_steps, which a constant schedule ignores"):
        but(RL, warmup_steps=5)
    with pytest.raises(ValueError, match="rl.by_method.opd has warmup_steps"):
        but(RL, by_method={"opd": {"warmup_steps": 5}})
    own = but(RL, by_method={"opd": {"warmup_steps": 5, "schedule": "linear"}}).of("opd")
    assert (own.warmup_steps, own.schedule, own.by_method) == (5, "linear", {})
