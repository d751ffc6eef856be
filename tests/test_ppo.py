"""PPO: advantages and clipped losses by hand, the printed PPO against GRPO with the printed ratio, and a critic that learns and resumes."""

import statistics

import pytest
import torch
from test_grpo import (
    RL,
    Cut,
    batch_of,
    disturb,
    dev,
    enders,
    grads,
    same,
    score,
    token_logps,
    trainer_of,
    unpadded,
    weights,
    PROMPTS,
)  # noqa: F401
from tiny import but

from agentark.distill import grpo, ppo
from agentark.distill.data import DistillError
from agentark.models.load import load

TOLD = RL


def ends(completion):
    """The steps of test_grpo's `score`: pairs of tokens."""
    return [min(n + 1, len(completion) - 1) for n in range(0, len(completion), 2)]


# By hand


def test_gae_by_hand():
    """γ = 0.9, λ = 0.8; the second completion has two tokens, and what stands behind them does not matter."""
    rewards = torch.tensor([[0.0, 1.0, 2.0], [0.5, 1.0, 7.0]])
    values = torch.tensor([[0.5, 0.2, 0.1], [0.3, 0.4, 9.0]])
    advantages, returns = ppo.gae(rewards, values, torch.tensor([[1, 1, 1], [1, 1, 0]]), 0.9, 0.8)
    # δ: 2 - 0.1 = 1.9; 1 + 0.9·0.1 - 0.2 = 0.89; 0 + 0.9·0.2 - 0.5 = -0.32.   A: 1.9; 0.89 + 0.72·1.9; -0.32 + 0.72·2.258
    # δ: 1 - 0.4 = 0.6; 0.5 + 0.9·0.4 - 0.3 = 0.56.                              A: 0.6; 0.56 + 0.72·0.6
    assert advantages.flatten().tolist() == pytest.approx([1.30576, 2.258, 1.9, 0.992, 0.6, 0])
    assert returns.flatten().tolist() == pytest.approx([1.80576, 2.458, 2.0, 1.292, 1.0, 0])


def test_gae_at_its_ends():
    """λ = 1: rewards to come less V.  λ = 0: one step."""
    torch.manual_seed(0)
    rewards, values, mask = torch.rand(2, 5), torch.rand(2, 5), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    to_come = (rewards * mask).flip(1).cumsum(1).flip(1)
    assert torch.allclose(ppo.gae(rewards, values, mask, 1.0, 1.0)[0], (to_come - values) * mask, atol=1e-6)
    after = torch.cat([(values * mask)[:, 1:], torch.zeros(2, 1)], dim=1)
    assert torch.allclose(
        ppo.gae(rewards, values, mask, 0.9, 0.0)[0], (rewards + 0.9 * after - values) * mask, atol=1e-6
    )


def test_normalised_advantages():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    made = ppo.normalise(torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]]), mask, 0.0)
    sd = statistics.stdev([1, 2, 3, 6])
    assert made.flatten().tolist() == pytest.approx([-2 / sd, -1 / sd, 0, 3 / sd, 0, 0])
    assert ppo.normalise(torch.full((2, 3), 0.1), mask, 0.0).abs().max() == 0
    assert ppo.normalise(torch.ones(2, 3), torch.zeros(2, 3), 0.0).abs().max() == 0


def test_the_clipped_value_loss_by_hand():
    values = torch.tensor([[1.0, 0.1], [0.5, 3.0]], requires_grad=True)
    old, returns = torch.tensor([[0.2, 0.0], [0.4, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = ppo.value_loss(values, old, returns, torch.tensor([[1, 1], [1, 0]]), 0.2)
    # V = 1.0 is cut to 0.4: (0.4 - 1)² = 0.36 > 0; 0.1 stays: 0.81; 0.5 stays: 0.25; the last is masked
    assert loss.item() == pytest.approx(0.5 * ((0.36 + 0.81) / 2 + 0.25) / 2)
    loss.backward()
    assert values.grad.flatten().tolist() == pytest.approx(
        [0, 0.5 * -0.9 / 2, 0.5 * 0.5, 0]
    )  # the clipped one no longer moves


def test_rewards_at_step_ends():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    made = ppo.token_rewards([[0.5, 0.25], [0.75], []], [[1, 3], [1], []], [1.0, 0.5, 0.0], mask)
    assert made.tolist() == [[0, 0.5, 0, 1.25], [0, 0.75, 0.5, 0], [0, 0, 0, 0]]
    with pytest.raises(DistillError, match="completion 0 has 1 step scores and 2 step ends"):
        ppo.token_rewards([[0.5]], [[1, 3]], [0.0], mask)
    with pytest.raises(DistillError, match=r"completion 0 has 4 tokens, and step ends at \[4\]"):
        ppo.token_rewards([[0.5]], [[4]], [0.0], mask)


# Eq. 8-9


def printed(model, ref, batch, old, rewards, told):
    """-L of Eq. 8-9, an output at a time; Eq. 9 normalises over the outputs of one input."""
    terms = []
    for row, (prompt, completion) in enumerate(unpadded(batch)):
        mine = rewards[row // told.generations * told.generations :][: told.generations]
        advantage = (rewards[row] - statistics.mean(mine)) / (statistics.stdev(mine) + told.advantage_epsilon)
        logps = token_logps(model, prompt, completion, told.temperature)
        with torch.no_grad():
            log_r = token_logps(ref, prompt, completion, told.temperature) - logps.detach()
        log_r = log_r + logps.detach() - logps
        rho = (logps.sum() - old[row].sum()).exp()
        terms.append(
            torch.min(rho * advantage, rho.clamp(1 - told.epsilon, 1 + told.epsilon) * advantage)
            - told.beta * (log_r.exp() - log_r - 1).sum()
        )
    return -torch.stack(terms).mean()


def test_printed_ppo_is_grpo_with_the_printed_ratio(enders, tmp_path, monkeypatch):  # noqa: F811
    """What `ppo.run` trains without a critic, and GRPO with `ratio: sequence`, have Eq. 8-9's loss and gradient."""
    started = {}
    monkeypatch.setattr(grpo, "run", lambda folder, **given: started.update(given))
    ppo.run(tmp_path, told=but(TOLD, critic=False), policy=enders["qwen3"])
    ours = started["told"]
    assert "trainer" not in started and ours == but(TOLD, critic=False, ratio="sequence")
    a, b = (trainer_of(enders["qwen3"], tmp_path, told) for told in (ours, but(RL, ratio="sequence")))
    made = []
    for trainer in (a, b):
        disturb(trainer.model, 0.01)
        torch.manual_seed(5)
        batch = batch_of(trainer)
        with torch.no_grad():
            old = [token_logps(trainer.model, p, c, TOLD.temperature) for p, c in unpadded(batch)]
        torch.manual_seed(6)
        old = [row + 0.1 * torch.randn_like(row) for row in old]
        batch["old_per_token_logps"] = torch.nn.utils.rnn.pad_sequence(old, batch_first=True)
        made.append(
            (
                trainer.compute_loss(trainer.model, batch).item(),
                grads(trainer, trainer.compute_loss(trainer.model, batch)),
            )
        )
    rewards = [min(scores) for scores in score(None, [completion for _, completion in unpadded(batch)])]
    wanted = printed(b.model, load(enders["qwen3"])[0], batch, old, rewards, TOLD)
    assert made[0][0] == pytest.approx(made[1][0], rel=1e-6) and made[1][0] == pytest.approx(wanted.item(), rel=1e-4)
    right = grads(b, wanted)
    assert torch.allclose(made[0][1], made[1][1], rtol=1e-5, atol=1e-7) and torch.allclose(
        made[0][1], right, rtol=1e-3, atol=1e-4 * right.abs().max().item()
    )


# A critic


def with_critic(network, folder, told=TOLD, **options):
    trainer = trainer_of(network, folder, told, ppo.PpoTrainer, step_ends=ends, **options)
    torch.manual_seed(2)
    with torch.no_grad():
        trainer.model.value_head.weight.normal_(0, 0.1)
    return trainer


@pytest.mark.parametrize("reward_at", ["steps", "end"])
def test_a_step_with_a_critic_by_hand(enders, tmp_path, reward_at):  # noqa: F811
    """Policy and critic that have moved since the completions were made: clipped ratios and clipped values; loss and gradient."""
    told = but(TOLD, reward_at=reward_at)
    trainer = with_critic(enders["qwen3"], tmp_path, told)
    disturb(trainer.model, 0.01)
    batch = batch_of(trainer)
    width = batch["completion_mask"].shape[1]

    def outputs(model, prompt, completion):
        """Log-probabilities and values, (T,) each, of one unpadded sequence."""
        ids = torch.tensor(prompt + completion, device=model.device)[None]
        hidden = model.base_model(input_ids=ids).last_hidden_state[0]
        return token_logps(model, prompt, completion, told.temperature), model.value_head(
            hidden[len(prompt) - 1 : -1]
        ).squeeze(-1)

    def pad(rows):
        return torch.stack([torch.nn.functional.pad(row.detach(), (0, width - len(row))) for row in rows])

    sequences = unpadded(batch)
    with torch.no_grad():
        made = [outputs(trainer.model, p, c) for p, c in sequences]
    assert torch.allclose(pad([v for _, v in made]), batch["old_values"] * batch["completion_mask"], atol=1e-4)
    advantages, returns = [], []
    for (_, completion), (_, values) in zip(sequences, made):
        scores = score(None, [completion])[0]
        rewards = [0.0] * len(completion)
        if reward_at == "end":
            rewards[-1] = min(scores)
        else:
            for end, s in zip(ends(completion), scores):
                rewards[end] += s
        ahead, after, row = 0.0, 0.0, []
        for r, v in zip(reversed(rewards), reversed(values.tolist())):
            ahead, after = r + told.gamma * after - v + told.gamma * told.lam * ahead, v
            row.insert(0, ahead)
        advantages.append(row)
        returns.append([a + v for a, v in zip(row, values.tolist())])
    every = [a for row in advantages for a in row]
    mean, sd = statistics.mean(every), statistics.stdev(every)
    advantages = [
        torch.tensor([(a - mean) / (sd + told.advantage_epsilon) for a in row], device=trainer.model.device)
        for row in advantages
    ]
    assert batch["advantages"].shape == batch["completion_mask"].shape and torch.allclose(
        pad(advantages), batch["advantages"], atol=1e-3
    )

    torch.manual_seed(1)
    old = [logps + 0.3 * torch.randn_like(logps) for logps, _ in made]
    old_values = [values + 0.3 * torch.randn_like(values) for _, values in made]
    batch["old_per_token_logps"], batch["old_values"] = pad(old), pad(old_values)
    ref = load(enders["qwen3"])[0]

    def by_hand():
        total = 0.0
        for row, (prompt, completion) in enumerate(sequences):
            logps, values = outputs(trainer.model, prompt, completion)
            with torch.no_grad():
                ref_logps = token_logps(ref, prompt, completion, told.temperature)
            rho, log_r = (logps - old[row]).exp(), ref_logps - logps
            gain = torch.min(rho * advantages[row], rho.clamp(0.8, 1.2) * advantages[row]) - told.beta * (
                log_r.exp() - log_r - 1
            )
            target = torch.tensor(returns[row], device=values.device)
            cut = old_values[row] + (values - old_values[row]).clamp(-0.2, 0.2)
            error = torch.max((values - target) ** 2, (cut - target) ** 2)
            total = total - gain.mean() + told.value_coefficient * 0.5 * error.mean()
        return total / len(sequences)

    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(by_hand().item(), rel=1e-3)
    got, right = grads(trainer, trainer.compute_loss(trainer.model, batch)), grads(trainer, by_hand())
    assert torch.allclose(got, right, rtol=1e-2, atol=1e-3 * right.abs().max().item())


def test_a_trace_without_steps_teaches_neither(enders, tmp_path):  # noqa: F811
    trainer = with_critic(
        enders["qwen3"],
        tmp_path,
        but(TOLD, reward_at="end"),
        score=lambda p, ids: [[] if n % 4 == 0 else s for n, s in enumerate(score(p, ids))],
    )
    batch = batch_of(trainer)
    for key in ("advantages", "returns", "value_mask"):
        assert batch[key][::4].abs().max() == 0 and batch[key][1::4].abs().max() > 0


def run(out, network, told=TOLD, **changes):
    return ppo.run(
        out,
        **{
            **dict(policy=network, prompts=PROMPTS, score=score, told=told, seed=0, evaluate_dev=dev, step_ends=ends),
            **changes,
        },
    )


def test_a_cut_training_ends_the_same(enders, tmp_path):  # noqa: F811
    """With the critic's weights, and what the optimizer knows of them."""
    whole = run(tmp_path / "whole", enders["qwen3"])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", enders["qwen3"], callbacks=(Cut(),))
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
)  # one reward at the end says less about each token
def test_policy_and_critic_learn(networks, tmp_path, reward_at, steps):
    def likes(prompts, completion_ids):
        return [
            [sum(token in range(100, 200) for token in ids[n : n + 2]) / 2 for n in range(0, len(ids), 2)]
            for ids in completion_ids
        ]

    told = but(
        TOLD,
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
    log = run(tmp_path / "student", networks["qwen3"], told, score=likes, evaluate_dev=None)["log"]
    rewards = [row["reward"] for row in log]
    assert statistics.mean(rewards[-3:]) > 1.5 * statistics.mean(rewards[:2]), rewards
    assert log[0]["value_explained"] == pytest.approx(0, abs=1e-6) and log[-1]["value_explained"] > 0.02, [
        row["value_explained"] for row in log
    ]


def test_what_cannot_be_trained(enders, tmp_path):  # noqa: F811
    with pytest.raises(DistillError, match="rl.reward_at = steps needs to know"):
        run(tmp_path / "student", enders["qwen3"], step_ends=None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DistillError, match="step scores and 1 step ends"):
        run(tmp_path / "student", enders["qwen3"], step_ends=lambda completion: [0])
