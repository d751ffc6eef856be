"""PPO: advantages and clipped losses by hand, the printed PPO against GRPO, and a critic that learns and resumes."""

import statistics

import pytest
import torch
from test_grpo import (  # noqa: F401 (some are fixtures)
    PROMPTS,
    RL,
    PowerCut,
    batch_of,
    dev,
    disturb,
    enders,
    grads,
    lazy_scorer,
    reward_model,
    same,
    score,
    token_logps,
    trainer_of,
    unpadded,
    weights,
)
from tiny import but

from agentark.distill import grpo, ppo, prm_model
from agentark.distill.data import DistillError
from agentark.models.load import load


def ends(completion):
    """The steps of test_grpo's `score`: pairs of tokens."""
    return [min(n + 1, len(completion) - 1) for n in range(0, len(completion), 2)]


# By hand


def test_gae_by_hand():
    """γ = 0.9, λ = 0.8; the second completion has two tokens, and the values after them do not matter."""
    rewards = torch.tensor([[0.0, 1.0, 2.0], [0.5, 1.0, 7.0]])
    values = torch.tensor([[0.5, 0.2, 0.1], [0.3, 0.4, 9.0]])
    advantages, returns = ppo.gae(rewards, values, torch.tensor([[1, 1, 1], [1, 1, 0]]), 0.9, 0.8)
    # δ: 2 - 0.1 = 1.9; 1 + 0.9·0.1 - 0.2 = 0.89; 0 + 0.9·0.2 - 0.5 = -0.32.
    # A: 1.9; 0.89 + 0.72·1.9; -0.32 + 0.72·2.258
    # δ: 1 - 0.4 = 0.6; 0.5 + 0.9·0.4 - 0.3 = 0.56.                              A: 0.6; 0.56 + 0.72·0.6
    assert advantages.flatten().tolist() == pytest.approx([1.30576, 2.258, 1.9, 0.992, 0.6, 0])
    assert returns.flatten().tolist() == pytest.approx([1.80576, 2.458, 2.0, 1.292, 1.0, 0])


def test_gae_with_extreme_lambda():
    """λ = 1: future rewards minus V. λ = 0: one step."""
    torch.manual_seed(0)
    rewards, values, mask = torch.rand(2, 5), torch.rand(2, 5), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    future = (rewards * mask).flip(1).cumsum(1).flip(1)
    assert torch.allclose(ppo.gae(rewards, values, mask, 1.0, 1.0)[0], (future - values) * mask, atol=1e-6)
    after = torch.cat([(values * mask)[:, 1:], torch.zeros(2, 1)], dim=1)
    assert torch.allclose(
        ppo.gae(rewards, values, mask, 0.9, 0.0)[0], (rewards + 0.9 * after - values) * mask, atol=1e-6
    )


def test_normalised_advantages():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    normalised = ppo.normalise(torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]]), mask, 0.0)
    sd = statistics.stdev([1, 2, 3, 6])
    assert normalised.flatten().tolist() == pytest.approx([-2 / sd, -1 / sd, 0, 3 / sd, 0, 0])
    assert ppo.normalise(torch.full((2, 3), 0.1), mask, 0.0).abs().max() == 0
    assert ppo.normalise(torch.ones(2, 3), torch.zeros(2, 3), 0.0).abs().max() == 0


def test_the_clipped_value_loss_by_hand():
    values = torch.tensor([[1.0, 0.1], [0.5, 3.0]], requires_grad=True)
    old, returns = torch.tensor([[0.2, 0.0], [0.4, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = ppo.value_loss(values, old, returns, torch.tensor([[1, 1], [1, 0]]), 0.2)
    # V = 1.0 is clipped to 0.4: (0.4 - 1)² = 0.36 > 0; 0.1 is not: 0.81; 0.5 is not: 0.25; the last is masked
    assert loss.item() == pytest.approx(0.5 * ((0.36 + 0.81) / 2 + 0.25) / 2)
    loss.backward()
    assert values.grad.flatten().tolist() == pytest.approx(
        [0, 0.5 * -0.9 / 2, 0.5 * 0.5, 0]
    )  # the clipped one no longer moves


def test_the_critic_has_a_rate_of_its_own(networks, tmp_path):
    trainer = trainer_of(networks["qwen3"], tmp_path, but(RL, learning_rate=3e-5), ppo.PpoTrainer, step_ends=ends)
    policy, critic = trainer.optimizer.param_groups
    assert (policy["lr"], critic["lr"]) == (3e-5, ppo.CRITIC_RATE) and len(critic["params"]) == 2
    assert policy["weight_decay"] == critic["weight_decay"] == 0.0


# Eq. 8-9


def printed(model, ref, batch, old, rewards, config):
    """-L of Eq. 8-9, one output at a time; Eq. 9 normalises over the outputs of one input."""
    terms = []
    for row, (prompt, completion) in enumerate(unpadded(batch)):
        group = rewards[row // config.generations * config.generations :][: config.generations]
        advantage = (rewards[row] - statistics.mean(group)) / (statistics.stdev(group) + config.advantage_epsilon)
        logps = token_logps(model, prompt, completion, config.temperature)
        with torch.no_grad():
            log_r = token_logps(ref, prompt, completion, config.temperature) - logps.detach()
        log_r = log_r + logps.detach() - logps
        rho = (logps.sum() - old[row].sum()).exp()
        terms.append(
            torch.min(rho * advantage, rho.clamp(1 - config.epsilon, 1 + config.epsilon) * advantage)
            - config.beta * (log_r.exp() - log_r - 1).sum()
        )
    return -torch.stack(terms).mean()


def test_printed_ppo_is_grpo_with_the_printed_ratio(enders, tmp_path, monkeypatch):  # noqa: F811
    """`ppo.run` without a critic and GRPO with `ratio: sequence` have the loss and gradient of Eq. 8-9."""
    started = {}
    monkeypatch.setattr(grpo, "run", lambda folder, **options: started.update(options))
    ppo.run(tmp_path, config=but(RL, critic=False), policy=enders["qwen3"])
    ours = started["config"]
    assert "trainer_class" not in started and ours == but(RL, critic=False, ratio="sequence")
    a, b = (trainer_of(enders["qwen3"], tmp_path, config) for config in (ours, but(RL, ratio="sequence")))
    results = []
    for trainer in (a, b):
        disturb(trainer.model, 0.01)
        torch.manual_seed(5)
        batch = batch_of(trainer)
        with torch.no_grad():
            old = [token_logps(trainer.model, p, c, RL.temperature) for p, c in unpadded(batch)]
        torch.manual_seed(6)
        old = [row + 0.1 * torch.randn_like(row) for row in old]
        batch["old_per_token_logps"] = torch.nn.utils.rnn.pad_sequence(old, batch_first=True)
        results.append(
            (
                trainer.compute_loss(trainer.model, batch).item(),
                grads(trainer, trainer.compute_loss(trainer.model, batch)),
            )
        )
    rewards = [min(scores) for scores in score(None, [completion for _, completion in unpadded(batch)])]
    expected = printed(b.model, load(enders["qwen3"])[0], batch, old, rewards, RL)
    (loss, gradient), (other_loss, other_gradient) = results
    assert loss == pytest.approx(other_loss, rel=1e-6) and other_loss == pytest.approx(expected.item(), rel=1e-4)
    right = grads(b, expected)
    assert torch.allclose(gradient, other_gradient, rtol=1e-5, atol=1e-7)
    assert torch.allclose(gradient, right, rtol=1e-3, atol=1e-4 * right.abs().max().item())


# A critic


def with_critic(network, folder, config=RL, **options):
    trainer = trainer_of(network, folder, config, ppo.PpoTrainer, step_ends=ends, **options)
    torch.manual_seed(2)
    with torch.no_grad():
        trainer.model.value_head.weight.normal_(0, 0.1)
    return trainer


@pytest.mark.parametrize("reward_at", ["steps", "end"])
def test_a_step_with_a_critic_by_hand(enders, tmp_path, reward_at):  # noqa: F811
    """Policy and critic have moved since the completions were sampled: clipped ratios and values, loss and gradient."""
    own = {"advantage_epsilon": 0.05, "epsilon": 0.13, "value_coefficient": 0.7}  # no values that stand in the code
    config = but(RL, reward_at=reward_at, **own)
    trainer = with_critic(enders["qwen3"], tmp_path, config)
    disturb(trainer.model, 0.01)
    batch = batch_of(trainer)
    width = batch["completion_mask"].shape[1]

    def outputs(model, prompt, completion):
        """Log-probabilities and values, (T,) each, of one unpadded sequence."""
        ids = torch.tensor(prompt + completion, device=model.device)[None]
        hidden = model.base_model(input_ids=ids).last_hidden_state[0]
        return token_logps(model, prompt, completion, config.temperature), model.value_head(
            hidden[len(prompt) - 1 : -1]
        ).squeeze(-1)

    def pad(rows):
        return torch.stack([torch.nn.functional.pad(row.detach(), (0, width - len(row))) for row in rows])

    sequences = unpadded(batch)
    with torch.no_grad():
        sampled = [outputs(trainer.model, p, c) for p, c in sequences]
    assert torch.allclose(pad([v for _, v in sampled]), batch["old_values"] * batch["completion_mask"], atol=1e-4)
    advantages, returns = [], []
    given = [score(None, [completion])[0] for _, completion in sequences]
    flat = [min(scores) for scores in given] if reward_at == "end" else [s for scores in given for s in scores]
    middle, spread = statistics.mean(flat), statistics.stdev(flat)
    for (_, completion), (_, values), scores in zip(sequences, sampled, given):
        rewards = [0.0] * len(completion)
        if reward_at == "end":
            rewards[-1] = (min(scores) - middle) / spread
        else:
            for end, s in zip(ends(completion), scores):
                rewards[end] += (s - middle) / spread
        advantage, next_value, row = 0.0, 0.0, []
        for r, v in zip(reversed(rewards), reversed(values.tolist())):
            advantage, next_value = r + config.gamma * next_value - v + config.gamma * config.lam * advantage, v
            row.insert(0, advantage)
        advantages.append(row)
        returns.append([a + v for a, v in zip(row, values.tolist())])
    every = [a for row in advantages for a in row]
    mean, sd = statistics.mean(every), statistics.stdev(every)
    advantages = [
        torch.tensor([(a - mean) / (sd + config.advantage_epsilon) for a in row], device=trainer.model.device)
        for row in advantages
    ]
    assert batch["advantages"].shape == batch["completion_mask"].shape and torch.allclose(
        pad(advantages), batch["advantages"], atol=1e-3
    )

    torch.manual_seed(1)
    old = [logps + 0.3 * torch.randn_like(logps) for logps, _ in sampled]
    old_values = [values + 0.3 * torch.randn_like(values) for _, values in sampled]
    batch["old_per_token_logps"], batch["old_values"] = pad(old), pad(old_values)
    ref = load(enders["qwen3"])[0]

    def by_hand():
        total = 0.0
        for row, (prompt, completion) in enumerate(sequences):
            logps, values = outputs(trainer.model, prompt, completion)
            with torch.no_grad():
                ref_logps = token_logps(ref, prompt, completion, config.temperature)
            rho, log_r = (logps - old[row]).exp(), ref_logps - logps
            gain = torch.min(
                rho * advantages[row], rho.clamp(1 - config.epsilon, 1 + config.epsilon) * advantages[row]
            ) - config.beta * (log_r.exp() - log_r - 1)
            target = torch.tensor(returns[row], device=values.device)
            cut = old_values[row] + (values - old_values[row]).clamp(-config.epsilon, config.epsilon)
            error = torch.max((values - target) ** 2, (cut - target) ** 2)
            total = total - gain.mean() + config.value_coefficient * 0.5 * error.mean()
        return total / len(sequences)

    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(by_hand().item(), rel=1e-3)
    got, right = grads(trainer, trainer.compute_loss(trainer.model, batch)), grads(trainer, by_hand())
    assert torch.allclose(got, right, rtol=1e-2, atol=1e-3 * right.abs().max().item())


def test_scores_are_whitened_over_the_batch():
    flat = [score for row in ppo.whiten([[1.0, 2.0], [], [6.0]]) for score in row]
    assert statistics.mean(flat) == pytest.approx(0) and statistics.stdev(flat) == pytest.approx(1)
    assert flat[0] < flat[1] < 0 < flat[2] and ppo.whiten([[0.3, 0.3], [0.3]]) == [[0.0, 0.0], [0.0]]
    assert ppo.whiten([[], [0.3]]) == [[], [0.0]]


def test_the_policy_waits_for_the_critic(enders, tmp_path):  # noqa: F811
    """With a warm-up of two steps, the policy of step 2 is the initial one, the critic is not."""
    losses = {}
    for name, steps in (("whole", 2), ("longer", 3)):
        log = run(
            tmp_path / name, enders["qwen3"], but(RL, critic_warmup=2, steps=steps, beta=0.0, value_coefficient=0.1)
        )
        losses[name] = [row["value_loss"] for row in log["log"]]
    assert same(weights(tmp_path / "whole"), weights(enders["qwen3"])) and losses["longer"][:2] == losses["whole"]
    assert not same(weights(tmp_path / "longer"), weights(tmp_path / "whole"))


def test_a_trace_without_steps_trains_neither_policy_nor_critic(enders, tmp_path):  # noqa: F811
    trainer = with_critic(
        enders["qwen3"],
        tmp_path,
        but(RL, reward_at="end"),
        score=lambda p, ids: [[] if n % 4 == 0 else s for n, s in enumerate(score(p, ids))],
    )
    batch = batch_of(trainer)
    for key in ("advantages", "returns", "value_mask"):
        assert batch[key][::4].abs().max() == 0 and batch[key][1::4].abs().max() > 0


def run(out, network, config=RL, **changes):
    options = {"prompts": PROMPTS, "score": score, "config": config, "seed": 0, "evaluate_dev": dev, "step_ends": ends}
    return ppo.run(out, policy=network, **options | changes)


def test_a_training_with_a_reward_model_is_resumed_exactly(enders, reward_model, tmp_path):  # noqa: F811
    ends = prm_model.load_prm(reward_model).ends

    def train(name, **options):
        score = lazy_scorer(enders["qwen3"], reward_model)
        run(tmp_path / name, enders["qwen3"], score=score, step_ends=ends, **options)
        return weights(tmp_path / name)

    with pytest.raises(KeyboardInterrupt):
        train("cut", callbacks=(PowerCut(),))
    assert same(train("cut"), train("whole"))


def test_an_interrupted_training_ends_with_the_same_weights(enders, tmp_path):  # noqa: F811
    """Checkpoints contain the critic's weights and their optimizer state."""
    whole = run(tmp_path / "whole", enders["qwen3"])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", enders["qwen3"], callbacks=(PowerCut(),))
    again = run(tmp_path / "cut", enders["qwen3"])
    assert (
        again["log"] == whole["log"]
        and again["dev"] == whole["dev"]
        and {"value_loss", "value_explained"} <= whole["log"][0].keys()
    )
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole")) and not any(
        "value" in name for name in weights(tmp_path / "cut")
    )
    assert load(str(tmp_path / "cut")) and not same(weights(tmp_path / "cut"), weights(enders["qwen3"]))


@pytest.mark.parametrize(
    ("reward_at", "steps"), [("steps", 12), ("end", 36)]
)  # with one reward at the end, learning takes more steps
def test_the_policy_learns(networks, tmp_path, reward_at, steps):
    def share_rewarded(prompts, completion_ids):
        return [
            [sum(token in range(100, 200) for token in ids[n : n + 2]) / 2 for n in range(0, len(ids), 2)]
            for ids in completion_ids
        ]

    config = but(
        RL,
        steps=steps,
        generations=8,
        learning_rate=3e-3,
        beta=0.001,
        temperature=1.0,
        save_steps=100,
        aggregation="mean",
        reward_at=reward_at,
        gamma=1.0,
    )
    log = run(tmp_path / "student", networks["qwen3"], config, score=share_rewarded, evaluate_dev=None)["log"]
    rewards = [row["reward"] for row in log]
    assert statistics.mean(rewards[-3:]) > 1.5 * statistics.mean(rewards[:2]), rewards
    explained = [row["value_explained"] for row in log]
    assert explained[0] == pytest.approx(0, abs=1e-6), explained


def test_the_critic_learns_which_prompts_are_easy(networks, tmp_path):
    """The reward depends almost on the prompt alone. A random network hardly tells prompts apart, and a critic that
    knows nothing explains 0 or less."""

    def easy(prompts, completion_ids):
        rows = zip(prompts, completion_ids, strict=True)
        return [[(prompt[-1]["content"] < "Tom has 2") + 0.01 * (ids[0] % 2)] for prompt, ids in rows]

    config = but(RL, steps=40, prompts_per_step=4, learning_rate=1e-3, save_steps=100, reward_at="end", gamma=1.0)
    log = run(tmp_path / "student", networks["qwen3"], config, score=easy, evaluate_dev=None)["log"]
    explained = [row["value_explained"] for row in log]
    assert explained[0] == pytest.approx(0, abs=1e-6) and statistics.mean(explained[-15:]) > 0.05, explained


def test_missing_or_wrong_step_ends_are_refused(enders, tmp_path):  # noqa: F811
    with pytest.raises(DistillError, match="rl.reward_at = steps needs the ends of a completion's steps"):
        run(tmp_path / "student", enders["qwen3"], step_ends=None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DistillError, match="step scores and 1 step ends"):
        run(tmp_path / "student", enders["qwen3"], step_ends=lambda completion: [0])
