"""The process reward model: ends of steps, Eq. 7 by hand, choice of negatives, two stages, and resumed trainings."""

import json
import shutil
from itertools import pairwise
from math import exp, log
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import but

from agentark import params, store, tasks
from agentark.distill import prm, prm_data, prm_model, step_ends
from agentark.distill.likelihood import Likelihood
from agentark.distill.prm import batch_loss, contrastive
from agentark.distill.prm_data import Item, Pair, Trace, pairs
from agentark.distill.prm_model import PrmError, ProcessRewardModel, load_prm
from agentark.distill.step_ends import StepEnds, collate, encode, end_of_turn, fingerprint, step_log_probs
from agentark.distill.step_scorer import StepScorer
from agentark.models.load import ModelError, load_tokenizer

CONFIG = params.Prm(
    backbone="student",
    features="hidden",
    rollouts=4,
    loss="contrastive",
    score="sigmoid",
    tau=0.1,
    negatives=4,
    labeller="arithmetic",
    stage1_epochs=2,
    stage1_learning_rate=1e-2,
    stage2_epochs=1,
    stage2_learning_rate=1e-3,
    batch=4,
    max_length=400,
    shuffled_labels=False,
)
PROBLEMS = tasks.problems("mini_gsm", "train", 12)
PROMPTS = {p.id: p.question for p in PROBLEMS}
CHATS = [[{"role": "user", "content": p.question}] for p in PROBLEMS]
BACKBONES = ["qwen3", "llama", "gemma3_text"]


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def tokenizer(networks):
    return load_tokenizer(networks["qwen3"])


@pytest.fixture(scope="module")
def model(networks):
    return prm_model.make(networks["qwen3"], 0)


def sigmoid(x):
    return 1 / (1 + exp(-x))


# Ends of steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("gets 1+1=2\nAnswer: 2", ["gets 1+1=2\n", "Answer: 2"]),
        ("gets 1+1=2\nAnswer: 2\n", ["gets 1+1=2\n", "Answer: 2\n"]),
        ("gets 1+1=2\n\n\nAnswer: 2<|end|>", ["gets 1+1=2\n", "\n\nAnswer: 2<|end|>"]),
        ("\n\nAnswer: 2\n\n", ["\n\nAnswer: 2\n"]),
        ("one\n \n  \ntwo", ["one\n", " \n  \ntwo"]),
        ("one \n", ["one \n"]),
        ("Answer: 2  ", ["Answer: 2  "]),
        ("Answer: 2\n  ", ["Answer: 2\n"]),
        ("Answer: 2<|end|>\nmore", ["Answer: 2<|end|>"]),
        ("Answer: 2\n<|end|>", ["Answer: 2\n"]),
        ("", []),
        ("\n \n", []),
        ("<|end|>", []),
        ("<|end|>one", []),
        ("🦊 ä\n🦊", ["🦊 ä\n", "🦊"]),
    ],
)
def test_where_steps_end(tokenizer, text, steps):
    ends = StepEnds(tokenizer, [tokenizer.eos_token_id])
    ids = tokenizer(text, add_special_tokens=False).input_ids
    starts = [0, *[end + 1 for end in ends(ids)]]
    assert [tokenizer.decode(ids[a:b]) for a, b in pairwise(starts)] == steps


def test_tokens_with_more_than_a_newline():
    """Tokens that span lines: a step ends at the token with its newline; later text starts the next step."""
    pieces = ["a", "b\n", "\n\n", "\nc", " \n ", "d\n\ne", "END"]
    ends = StepEnds(type("Fake", (), {"decode": lambda self, ids: pieces[ids[0]]})(), [6])
    cases = {
        (0, 1): [1],
        (0, 2, 0): [1, 2],
        (0, 3): [1, 1],
        (0, 4, 0): [1, 2],
        (2, 4): [],
        (5,): [0, 0],
        (1, 1): [0, 1],
        (0, 6, 0, 2): [1],
    }
    assert {ids: ends(ids) for ids in cases} == cases


# The loss


@pytest.mark.parametrize("score", ["sigmoid", "logit"])
def test_equation_7_by_hand(score):
    f = sigmoid if score == "sigmoid" else float
    positive, negatives, tau = 2.0, [0.5, -1.0, 3.0], 0.5
    expected = -log(exp(f(positive) / tau) / sum(exp(f(x) / tau) for x in [positive, *negatives]))
    used = torch.tensor([[True, True, True, False]])
    loss = contrastive(torch.tensor([positive]), torch.tensor([[*negatives, 99.0]]), used, score, tau)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("tau", "n"), [(1.0, 4), (0.5, 2), (0.1, 4)])
def test_sigmoid_bounds_the_loss(tau, n):
    used = torch.ones(1, n, dtype=bool)
    best = contrastive(torch.tensor([99.0]), torch.full((1, n), -99.0), used, "sigmoid", tau).item()
    assert best == pytest.approx(log(1 + n * exp(-1 / tau)), rel=1e-4, abs=1e-6)
    if (tau, n) == (1.0, 4):
        assert round(best, 3) == 0.905  # DECISIONS 17
    assert contrastive(torch.tensor([99.0]), torch.full((1, n), -99.0), used, "logit", tau).item() < 1e-6


@pytest.mark.parametrize("score", ["sigmoid", "logit"])
def test_equal_scores_and_no_negatives(score):
    used = torch.tensor([[True, True, True, True], [True, False, False, False], [False] * 4])
    x = torch.full((3,), 0.7, requires_grad=True)
    loss = contrastive(x, torch.full((3, 4), 0.7), used, score, 0.1)
    assert loss.tolist() == pytest.approx([log(5), log(2), 0.0], abs=1e-6)
    loss.sum().backward()
    assert x.grad[0] < 0 and x.grad[2] == 0 and x.grad.isfinite().all()


ITEMS = [
    Item("p", (((1, 2), (0, 1)), ((1, 3), (1,))), ((1.0, None), (0.0,)), (Pair((0, 1), ((1, 0),)),)),
    Item(
        "q",
        (((4,), (0,)), ((5, 6, 7), (0, 1, 2))),
        ((0.25,), (1.0, 0.0, None)),
        (Pair((1, 0), ((0, 0), (1, 2))), Pair((1, 1), ((0, 0),))),
    ),
]
LOGITS = torch.tensor([[0.3, -0.2, 9.0], [1.1, 9.0, 9.0], [-0.4, 9.0, 9.0], [0.6, -1.5, 2.0]])


@pytest.mark.parametrize(("score", "tau"), [("sigmoid", 0.1), ("sigmoid", 0.7), ("logit", 0.7)])
def test_the_loss_of_a_batch_by_hand(score, tau):
    f = sigmoid if score == "sigmoid" else float

    def eq7(x, *others):
        return -log(exp(f(x) / tau) / sum(exp(f(y) / tau) for y in (x, *others)))

    def bce(x, label):
        return -label * log(sigmoid(x)) - (1 - label) * log(1 - sigmoid(x))

    config = but(CONFIG, score=score, tau=tau)
    expected_contrastive = (eq7(-0.2, 1.1) + eq7(0.6, -0.4, 2.0) + eq7(-1.5, -0.4)) / 3
    expected_ce = (bce(0.3, 1) + bce(1.1, 0) + bce(-0.4, 0.25) + bce(0.6, 1) + bce(-1.5, 0)) / 5
    for loss, expected in (
        ("contrastive", expected_contrastive),
        ("ce", expected_ce),
        ("ce+contrastive", expected_ce + 0.5 * expected_contrastive),
    ):
        assert batch_loss(LOGITS, ITEMS, but(config, loss=loss)).item() == pytest.approx(expected, rel=1e-5), loss
    without_pairs = Item("r", (((1,), (0,)),), ((1.0,),), ())
    assert batch_loss(LOGITS[:1], [without_pairs], but(config, loss="ce+contrastive")).item() == pytest.approx(
        bce(0.3, 1), rel=1e-5
    )


# Positives and negatives


def trace(problem, agents, correct, *steps):
    """A trace whose steps are (text, label); the arithmetic agrees with the labels."""
    return Trace(
        problem,
        frozenset(agents),
        "\n".join(text for text, _ in steps),
        tuple(text for text, _ in steps),
        correct,
        tuple(label for _, label in steps),
        tuple(None if label is None else label > 0 for _, label in steps),
    )


WRITTEN = [
    trace("p", [1], True, ("a", 1), ("b", 1), ("c", 1)),
    trace("p", [2], False, ("a", 1), ("x", 0)),  # shorter: its last step is also a negative of "c"
    trace("p", [1], False, ("y", 0), ("z", None), ("w", 0)),  # the same agent's
    trace("p", [3, 1], False, ("v", 1), ("u", 0), ("t", 0)),  # also another agent's
    trace("q", [1], True, ("a", 1)),
    trace("q", [2], True, ("b", 0)),
    trace("r", [1], False, ("a", 0)),
]


def test_negatives_with_step_labels():
    chosen, counts = pairs(WRITTEN, "arithmetic", 4, 0)
    assert chosen == [Pair((0, 1), ((1, 1), (3, 1))), Pair((0, 2), ((1, 1), (3, 2)))]
    assert counts == {
        "steps of right traces": 5,
        "positives": 2,
        "positives left out: no negative": 2,
        "positives left out: wrong by label": 1,
        "negatives": 4,
        "negatives left out: equal to the positive": 1,
        "negatives left out: right by label": 1,
        "negatives that are right (arithmetic)": 0,
        "negatives known to be right or wrong (arithmetic)": 4,
    }


def test_negatives_by_outcome_are_sometimes_right():
    chosen, counts = pairs(WRITTEN, "outcome", 4, 0)
    assert chosen == [Pair((0, 0), ((3, 0),)), Pair((0, 1), ((1, 1), (3, 1))), Pair((0, 2), ((1, 1), (3, 2)))]
    assert (
        counts["negatives"],
        counts["negatives known to be right or wrong (arithmetic)"],
        counts["negatives that are right (arithmetic)"],
    ) == (5, 5, 1)
    unknown = [
        trace("p", [1], True, ("a", 1)),
        trace("p", [2], False, ("b", 1)),
        trace("p", [3], False, ("c", 0)),
        trace("p", [4], False, ("d", None)),
    ]
    counts = pairs(unknown, "outcome", 4, 0)[1]
    assert (
        counts["negatives"],
        counts["negatives known to be right or wrong (arithmetic)"],
        counts["negatives that are right (arithmetic)"],
    ) == (3, 2, 1)


def test_unlabelled_negatives_and_rollouts():
    written = [
        trace("p", [1], True, ("a", 0.5)),
        trace("p", [2], False, ("b", None)),
        trace("p", [3], False, ("c", 0.125)),
        trace("p", [4], False, ("d", 0.0)),
    ]
    chosen, counts = pairs(written, "rollout", 4, 0)
    assert chosen == [Pair((0, 0), ((3, 0),))]
    assert (counts["negatives left out: no label"], counts["negatives left out: right by label"]) == (1, 1)


def test_at_most_n_negatives_chosen_by_seed_each_beginning_once():
    written = [trace("p", [1], True, ("a", 1))] + [trace("p", [2 + k], False, (f"w{k // 2}", 0)) for k in range(12)]
    chosen = {seed: pairs(written, "arithmetic", 4, seed)[0][0].negatives for seed in range(8)}
    assert (
        all(len(set(n)) == 4 and len({written[i].text for i, _ in n}) == 4 for n in chosen.values())
        and len(set(chosen.values())) > 1
    )
    assert (
        pairs(written, "arithmetic", 4, 3)[0][0].negatives == chosen[3]
        and len(pairs(written, "arithmetic", 1, 3)[0][0].negatives) == 1
    )
    assert len(pairs(written[:3], "arithmetic", 4, 0)[0][0].negatives) == 1


def test_negatives_are_of_the_positive_s_kind():
    """An answer line stands against answer lines, another step against none; what a right trace says is no negative."""
    written = [
        trace("p", [1], True, ("a", None), ("b", None), ("Answer: 1", None)),
        trace("p", [2], False, ("a", None), ("Answer: 2", None)),
        trace("p", [3], False, ("c", None), ("b", None), ("d", None), ("Answer: 3", None)),
        trace("p", [4], False, ("Answer: 4", None)),
        trace("p", [5], True, ("d", None), ("Answer: 1", None)),
    ]
    chosen, counts = pairs(written, "outcome", 4, 0)
    of = {pair.positive: pair.negatives for pair in chosen}
    assert of[0, 2] == of[4, 1] == ((1, 1), (2, 3), (3, 0))
    assert of[0, 0] == of[4, 0] == ((2, 0),)
    assert (0, 1) not in of  # "a" and "b" are steps of a right trace
    assert counts["negatives left out: no step of the same kind"] == 3
    assert counts["negatives left out: a right trace has them, too"] == 2


# A toy: right steps are about plums, wrong ones about stones


def table(problems=PROBLEMS):
    rows = []
    for n, p in enumerate(problems):
        for agent in range(1, 5):
            good = (n + agent) % 2 == 0
            lines = [f"gets {n + agent}+{t} {'plums' if good else 'stones'}" for t in range(3)]
            for t, line in enumerate(lines):
                rows.append(
                    {
                        "problem": p.id,
                        "agent": agent,
                        "round": 1,
                        "step": t,
                        "text": line,
                        "trace": "\n".join(lines),
                        "trace_correct": good,
                        "outcome": good,
                        "arithmetic": good,
                    }
                )
    return pd.DataFrame(rows).astype({"arithmetic": "boolean"})


def test_equal_traces_are_used_once():
    doubled = pd.concat([table(), table().assign(agent=lambda t: t.agent + 9), table().assign(round=2)])
    assert len(prm_data.traces(table(), "outcome")) == 48
    traces = prm_data.traces(doubled, "arithmetic")
    assert len(traces) == 48 and {t.agents for t in traces} == {frozenset([a, a + 9]) for a in range(1, 5)}
    assert traces[0].labels == (0.0, 0.0, 0.0) and traces[0].arithmetic == (False,) * 3
    unlabelled = table()
    unlabelled.loc[0, "arithmetic"] = pd.NA
    assert prm_data.traces(unlabelled, "arithmetic")[0].labels == (None, 0.0, 0.0)


def test_shuffling_keeps_the_number_of_each_label():
    traces = prm_data.traces(table(), "arithmetic")
    for labeller in ("arithmetic", "outcome"):
        shuffled = prm_data.shuffle(traces, labeller, 0)
        assert sum(t.correct for t in shuffled) == sum(t.correct for t in traces) and [t.correct for t in shuffled] != [
            t.correct for t in traces
        ]
        assert sorted(x for t in shuffled for x in t.labels) == sorted(x for t in traces for x in t.labels)
        assert shuffled == prm_data.shuffle(traces, labeller, 0) != prm_data.shuffle(traces, labeller, 1)
        assert [(t.steps, t.arithmetic) for t in shuffled] == [(t.steps, t.arithmetic) for t in traces]
    assert all(t.labels == (float(t.correct),) * 3 for t in shuffled)


def test_items(model):
    items, counts = prm_data.items(table(), PROMPTS, model, CONFIG, 0)
    assert (
        len(items) == 12
        and all(len(i.rows) == 4 and len(i.pairs) == 6 for i in items)
        and (counts["positives"], counts["problems"]) == (72, 12)
    )
    row, text = items[0].rows[0], table().trace[0]
    assert model.tokenizer.decode(row.ids) == f"<|user|>{PROBLEMS[0].question}<|end|><|assistant|>{text}<|end|>"
    assert [model.tokenizer.decode(row.ids[row.start : end + 1]) for end in row.ends] == [
        *(text[:k] for k in range(1, len(text) + 1) if text[k - 1] == "\n"),
        text + "<|end|>",
    ]
    assert counts["share of negatives that are right (arithmetic)"] == 0
    assert json.loads(json.dumps(counts)) == counts
    only_right = table()[lambda t: t.trace_correct]
    items, counts = prm_data.items(only_right, PROMPTS, model, but(CONFIG, loss="ce"), 0)
    assert len(items) == 12 and all(len(i.rows) == 2 and not i.pairs for i in items)
    with pytest.raises(PrmError, match="nothing to learn for prm.loss = contrastive"):
        prm_data.items(only_right, PROMPTS, model, CONFIG, 0)
    with pytest.raises(PrmError, match="no column 'rollout'"):
        prm_data.items(table(), PROMPTS, model, but(CONFIG, labeller="rollout"), 0)


def test_traces_that_do_not_fit_are_left_out_and_counted(model):
    steps = table()
    one, two = steps.problem == PROBLEMS[0].id, steps.problem == PROBLEMS[1].id
    steps.loc[one, "trace"] = steps.trace[one] + " plums" * 400
    steps.loc[two & (steps.agent == 1), "trace"] = "all in one line"
    items, counts = prm_data.items(steps, PROMPTS, model, CONFIG, 0)
    assert (
        counts["traces left out: longer than max_length"],
        counts["traces left out: other steps by tokens than by text"],
    ) == (4, 1)
    assert len(items) == 11 and len(items[0].rows) == 3


def test_the_params_limit_traces_and_negatives(model):
    longest = max(len(row.ids) for item in prm_data.items(table(), PROMPTS, model, CONFIG, 0)[0] for row in item.rows)
    counts = prm_data.items(table(), PROMPTS, model, but(CONFIG, max_length=longest - 1), 0)[1]
    assert counts["traces left out: longer than max_length"] > 0
    few, _ = prm_data.items(table(), PROMPTS, model, but(CONFIG, negatives=1), 0)
    assert {len(pair.negatives) for item in few for pair in item.pairs} == {1}


# Training


@pytest.fixture(scope="module")
def items(model):
    return prm_data.items(table(), PROMPTS, model, CONFIG, 0)[0]


def weights(folder):
    return {name: tensor.clone() for name, tensor in load_prm(folder).weights().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(networks, items, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "prm"
    return out, prm.train(networks["qwen3"], items, out, {"a": 1}, CONFIG, 0, quiet)


def test_the_training_log(whole, items):
    out, log = whole
    assert json.loads((out / "training.json").read_text()) == log
    assert (log["steps"], log["steps_of_stage"], log["problems"], log["traces"]) == (9, {"1": 6, "2": 3}, 12, 48)
    assert [row["step"] for row in log["loss"]] == list(range(1, 10)) and [row["stage"] for row in log["loss"]] == [
        1
    ] * 6 + [2] * 3
    assert log["tokens"] == 3 * sum(len(row.ids) for item in items for row in item.rows)
    assert log["loss"][-1]["loss"] < log["loss"][0]["loss"]
    assert sorted(p.name for p in out.parent.iterdir()) == ["prm"]  # no temporary file is left
    card = json.loads((out / "card.json").read_text())
    assert (
        (card["loss"], card["tau"], card["seed"], card["labeller"]) == ("contrastive", 0.1, 0, "arithmetic")
        and card["revision"]
        and "qwen3" in card["base"]
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_stage_one_trains_exactly_its_parameters(networks, items, tmp_path, name):
    untrained = prm_model.make(networks[name], 0)
    before = {k: v.clone() for k, v in untrained.weights().items()}
    log = prm.train(
        networks[name], items[:4], tmp_path / "prm", {}, but(CONFIG, stage1_epochs=1, stage2_epochs=0), 0, quiet
    )
    after = weights(tmp_path / "prm")
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    expected = {k for k in before if k.startswith(("head.", "network.model.norm.", "network.model.layers.1."))}
    assert expected == prm.trained_names(untrained, 1)
    # σ(x + b) would move with b, but little: all negatives and positives share it; the other parameters must move
    assert expected - {"head.bias"} <= changed <= expected
    assert log["parameters_trained"] == {"1": sum(before[k].numel() for k in expected)}
    log = prm.train(
        networks[name], items[:4], tmp_path / "two", {}, but(CONFIG, stage1_epochs=0, stage2_epochs=1), 0, quiet
    )
    assert log["parameters_trained"] == {"2": sum(v.numel() for k, v in before.items() if "lm_head" not in k)}
    assert "network.model.layers.0.mlp.up_proj.weight" in {
        k for k in before if not torch.equal(before[k], weights(tmp_path / "two")[k])
    }


def test_each_stage_has_its_own_parameters_and_a_rate_of_its_own_that_falls_to_zero(
    networks, items, tmp_path, monkeypatch
):
    seen = []
    step = torch.optim.AdamW.step

    def recorded(self, *args, **kwargs):
        [group] = self.param_groups
        seen.append((len(group["params"]), group["lr"], group["weight_decay"]))
        norms.append(torch.nn.utils.get_total_norm(p.grad for p in group["params"] if p.grad is not None).item())
        return step(self, *args, **kwargs)

    norms, loss = [], prm.batch_loss
    monkeypatch.setattr(prm, "batch_loss", lambda *given: 1e4 * loss(*given))  # so that every gradient is too long
    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    stages = {"stage1_epochs": 2, "stage1_learning_rate": 1e-2, "stage2_epochs": 3, "stage2_learning_rate": 1e-3}
    prm.train(networks["qwen3"], items[:6], tmp_path / "prm", {}, but(CONFIG, **stages), 0, quiet)
    untrained = prm_model.make(networks["qwen3"], 0)
    expected = [(1, 1e-2 * (1 - n / 4)) for n in range(4)] + [(2, 1e-3 * (1 - n / 6)) for n in range(6)]
    assert [rate for _, rate, _ in seen] == pytest.approx([rate for _, rate in expected])
    assert [n for n, _, _ in seen] == [len(prm.trained_names(untrained, stage)) for stage, _ in expected]
    assert {decay for *_, decay in seen} == {0.0}
    assert norms == pytest.approx([prm.MAX_GRAD_NORM] * len(seen), rel=1e-3)


def test_the_order_of_the_problems_depends_on_the_seed_and_the_epoch(networks, items, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(prm, "batch_loss", lambda logits, batch, _: seen.append(batch[0].problem) or logits.sum() * 0)
    config = but(CONFIG, batch=1, stage2_epochs=0)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prm.train(networks["qwen3"], items[:6], tmp_path / name, {}, config, seed, quiet)
    epochs = [seen[start : start + 6] for start in range(0, 36, 6)]
    assert epochs[:2] == epochs[2:4] and len({tuple(epoch) for epoch in epochs}) == 4
    assert all(sorted(epoch) == sorted(item.problem for item in items[:6]) for epoch in epochs)
    heads = [weights(tmp_path / name)["head.weight"] for name in "abc"]  # as at first: the loss has no gradient
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_an_interrupted_training_ends_with_the_same_weights_and_log(whole, networks, items, tmp_path):
    def cut(*_):
        raise KeyboardInterrupt

    out = tmp_path / "prm"
    for epoch in (1, 2, 3):  # in stage I, between the stages, and after the last epoch
        with pytest.raises(KeyboardInterrupt):
            prm.train(networks["qwen3"], items, out, {"a": 1}, CONFIG, 0, cut)
        assert [p.name for p in out.with_name("prm.work").glob("checkpoint-*")] == [
            f"checkpoint-{epoch}"
        ] and not out.exists()
        torch.manual_seed(99)
    (out.with_name("prm.work") / "checkpoint-4").mkdir()  # the run was killed while writing it
    log = prm.train(networks["qwen3"], items, out, {"a": 1}, CONFIG, 0, quiet)
    assert same(weights(out), weights(whole[0])) and log["loss"] == whole[1]["loss"]


def test_killed_between_journal_and_checkpoint(whole, networks, items, tmp_path, monkeypatch):
    """The journal has the epoch's losses, but there is no checkpoint: the epoch is repeated, with the same losses."""
    with monkeypatch.context() as patch:
        patch.setattr(prm, "_checkpoint", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prm.train(networks["qwen3"], items, tmp_path / "prm", {"a": 1}, CONFIG, 0, quiet)
    assert prm.train(networks["qwen3"], items, tmp_path / "prm", {"a": 1}, CONFIG, 0, quiet)["loss"] == whole[1]["loss"]
    assert same(weights(tmp_path / "prm"), weights(whole[0]))


def test_other_seeds_and_another_training(whole, networks, items, tmp_path):
    prm.train(networks["qwen3"], items, tmp_path / "other", {"a": 1}, CONFIG, 1, quiet)
    assert not same(weights(tmp_path / "other"), weights(whole[0]))
    store.Journal(tmp_path / "prm.work" / "about.journal", {"a": 2})
    with pytest.raises(store.StoreError, match="a: was 2, now 1"):
        prm.train(networks["qwen3"], items, tmp_path / "prm", {"a": 1}, CONFIG, 0, quiet)


def test_a_loss_that_is_not_a_number_is_reported(networks, items, tmp_path, monkeypatch):
    monkeypatch.setattr(prm, "batch_loss", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(PrmError, match=r"the loss of stage 1, epoch 1, step 1 is nan: lower prm.stage1_learning_rate"):
        prm.train(networks["qwen3"], items, tmp_path / "prm", {}, CONFIG, 0, quiet)


@pytest.mark.parametrize("loss", ["contrastive", "ce", "ce+contrastive"])
def test_real_labels_are_learnt_shuffled_ones_are_not(networks, model, tmp_path, loss):
    gap = {}
    for shuffled in (False, True):
        config = but(CONFIG, loss=loss, stage1_epochs=16, shuffled_labels=shuffled)
        learnt, _ = prm_data.items(table(PROBLEMS[:8]), PROMPTS, model, config, 0)
        prm.train(networks["qwen3"], learnt, tmp_path / str(shuffled), {}, config, 0, quiet)
        held_out = table(PROBLEMS[8:]).drop_duplicates(["problem", "trace"])
        scores = StepScorer(load_prm(tmp_path / str(shuffled))).score(
            [[{"role": "user", "content": PROMPTS[p]}] for p in held_out.problem], list(held_out.trace), 32
        )
        means = (
            pd.Series([sum(s) / len(s) for s in scores], index=held_out.index).groupby(held_out.trace_correct).mean()
        )
        gap[shuffled] = means[True] - means[False]
    assert gap[False] > 0.25 and abs(gap[True]) < 0.2


def test_the_stage(networks, tmp_path, monkeypatch):
    def run(**changes):
        options = {
            "steps_id": "abc",
            "base": networks["qwen3"],
            "task": "mini_gsm",
            "split": "train",
            "n": 12,
            "seed": 0,
            "config": but(CONFIG, stage1_epochs=1, stage2_epochs=0),
        }
        return prm.run(tmp_path / "prm", table(), progress=quiet, **options | changes)

    log = run()
    assert log["counts"]["positives"] == 72 and log["steps"] == 3
    assert json.loads(store.manifest_path(tmp_path / "prm").read_text())["positives"] == 72
    monkeypatch.setattr(prm, "train", None)
    assert run() == log
    for changes in ({"steps_id": "def"}, {"seed": 1}, {"config": CONFIG}):
        with pytest.raises(TypeError):  # it is recomputed
            run(**changes)
    with pytest.raises(ModelError):
        run(base="zoo/nobody")


def test_the_stage_passes_its_seed_and_its_params_on(networks, tmp_path, monkeypatch):
    seen = []

    def items(steps, prompts, model, config, seed):
        seen.append((model.card["seed"], config, seed))
        return ["an item"], {}

    def train(base, items, out, about, config, seed, progress):
        seen.append((base, items, config, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(prm_data, "items", items)
    monkeypatch.setattr(prm, "train", train)
    shared = {"base": networks["qwen3"], "task": "mini_gsm", "split": "train", "n": 12, "config": CONFIG}
    with pytest.raises(KeyboardInterrupt):
        prm.run(tmp_path / "prm", table(), steps_id="x", seed=5, **shared)
    assert seen == [(5, CONFIG, 5), (networks["qwen3"], ["an item"], CONFIG, 5)]


def test_invalid_params_are_refused():
    with pytest.raises(ValueError, match="nothing would be trained"):
        but(CONFIG, stage1_epochs=0, stage2_epochs=0)
    for bad in ({"negatives": 5}, {"tau": 0.0}, {"loss": "mse"}, {"labeller": "judge"}):
        with pytest.raises(ValueError):
            but(CONFIG, **bad)


# Scoring

TEXTS = [p.solution for p in PROBLEMS] + ["", "one", "\n\n", "a\n\nb\n", PROBLEMS[0].solution]
TEXT_CHATS = [*CHATS, *CHATS[:4], CHATS[0]]


@pytest.mark.parametrize("name", BACKBONES)
def test_batched_is_one_by_one_and_ids_are_text(networks, tmp_path, name):
    prm = prm_model.make(networks[name], 0)
    prm.save(tmp_path / "prm")
    loaded = load_prm(tmp_path / "prm")
    writer = load_tokenizer(networks["qwen3"])  # another object, the same tokens
    by_text, by_ids = StepScorer(prm), StepScorer(loaded, writer)
    assert by_ids.takes_ids and not by_text.takes_ids
    one_by_one = [by_text.score([chat], [text], 1)[0] for chat, text in zip(TEXT_CHATS, TEXTS)]
    ids = [writer(text, add_special_tokens=False).input_ids for text in TEXTS]
    ended = [[*row, writer.eos_token_id, writer.pad_token_id] for row in ids]
    for scores in (
        by_text.score(TEXT_CHATS, TEXTS, 64),
        by_text.score(TEXT_CHATS, TEXTS, 3),
        by_ids.score(TEXT_CHATS, ended, 64),
        by_ids.score(TEXT_CHATS, ended, 5),
        by_ids.score(TEXT_CHATS, TEXTS, 64),
    ):
        assert [len(s) for s in scores] == [len([x for x in text.split("\n") if x.strip()]) for text in TEXTS]
        assert all(a == pytest.approx(b, abs=1e-5) for a, b in zip(scores, one_by_one))
    assert one_by_one[12] == one_by_one[14] == [] and by_ids.without_steps == 6  # two of them, three times
    assert by_ids.computed == 3 * 14  # 17, minus two without steps and one duplicate
    assert (
        len({round(s, 4) for row in one_by_one for s in row}) > 20
    )  # scores depend on the input, so the test can fail


def test_a_forward_pass_by_hand(model):
    chat, text = CHATS[0], "gets 1+1=2\nAnswer: 2"
    prompt = model.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    ids = [*prompt, *model.tokenizer(text, add_special_tokens=False).input_ids, model.tokenizer.eos_token_id]
    newline = ids.index(model.tokenizer("\n", add_special_tokens=False).input_ids[0], len(prompt))
    with torch.no_grad():
        hidden = model.backbone(torch.tensor([ids], device=model.device)).last_hidden_state[0]
        expected = model.head(hidden[[newline, -1]])[:, 0]
        # padded on either side
        left = model(
            torch.tensor([[0, 0, *ids]], device=model.device),
            torch.tensor([[0, 0] + [1] * len(ids)], device=model.device),
            torch.tensor([[newline + 2, len(ids) + 1, -1]], device=model.device),
            torch.tensor([len(prompt) + 2], device=model.device),
        )
    assert left.shape == (1, 3) and left[0, :2].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert StepScorer(model).score([chat], [text], 1)[0] == pytest.approx(expected.sigmoid().tolist(), abs=1e-5)


def test_the_last_score_is_read_after_the_answer(model):
    """With the turn's end as the last token, two answers whose last digits are equal have different scores."""
    text, other = "gets 1+1=2\nAnswer: 2", "gets 5+7=12\nAnswer: 2"
    row = encode(model, CHATS[0], text)
    assert row.ids[row.ends[-1]] == model.card["stop"] == model.tokenizer.eos_token_id
    cut_off = encode(model, CHATS[0], model.tokenizer(text, add_special_tokens=False).input_ids)
    assert row.ends[-1] == cut_off.ends[-1] + 1 and row.ids[:-1] == cut_off.ids
    one, two = StepScorer(model).score([CHATS[0]] * 2, [text, other], 2)
    assert one[-1] != two[-1]


def log_probs_by_hand(network, row):
    """The log-probability of each token of a row after its first, by one plain forward pass."""
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        logits = network(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    return [None, *logits.gather(-1, ids[0, 1:, None])[:, 0].tolist()]


@pytest.mark.parametrize("name", BACKBONES)
def test_log_probabilities_of_steps_by_hand(networks, name):
    model = prm_model.make(networks[name], 0, "hidden+logprob")
    rows = [encode(model, *pair) for pair in zip(CHATS, ["a\nb c\nAnswer: 2", "one", "gets 1+1=2\n\nAnswer: 2"])]
    inputs = collate(rows, model.tokenizer.pad_token_id, "cpu")
    with torch.no_grad():
        hidden = model.backbone(input_ids=inputs["input_ids"]).last_hidden_state
        figures = step_log_probs(model.network, hidden, inputs["input_ids"], inputs["ends"], inputs["starts"])
        scores, plain = model(**inputs), model.head(hidden)[..., 0]
        likely = Likelihood(networks[name]).scores(**inputs)
    for n, row in enumerate(rows):
        of_tokens = log_probs_by_hand(model.network, row)
        for k, (start, end) in enumerate(pairwise([row.start - 1, *row.ends])):
            step = of_tokens[start + 1 : end + 1]
            expected = [sum(step), sum(step) / len(step), min(step)]
            assert [values[n, k].item() for values in figures] == pytest.approx(expected, abs=1e-4)
            assert likely[n, k].item() == pytest.approx(exp(sum(step)), rel=1e-3)
            assert scores[n, k].item() == pytest.approx(plain[n, end].item() + expected[1] + expected[2], abs=1e-3)


def test_likelihood_scores_steps_as_a_reward_model_does(networks):
    model = Likelihood(networks["qwen3"])
    writer = load_tokenizer(networks["qwen3"])
    ids = [[*writer(text, add_special_tokens=False).input_ids, writer.eos_token_id] for text in TEXTS]
    by_text, by_ids = (
        StepScorer(model).score(TEXT_CHATS, TEXTS, 64),
        StepScorer(model, writer).score(TEXT_CHATS, ids, 3),
    )
    assert all(a == pytest.approx(b, rel=1e-3) for a, b in zip(by_text, by_ids, strict=True))
    assert all(0 < score < 1 for row in by_text for score in row) and by_text[0] == by_text[-1]


@pytest.mark.parametrize("logits", [1, 2000])
def test_the_logits_of_a_large_vocabulary_are_computed_in_parts(networks, monkeypatch, logits):
    scorer = StepScorer(Likelihood(networks["qwen3"]))
    whole = scorer.score(TEXT_CHATS, TEXTS, 64)
    monkeypatch.setattr(step_ends, "LOGITS", logits)  # a token at a time, and a few
    assert all(a == pytest.approx(b, rel=1e-4) for a, b in zip(whole, scorer.score(TEXT_CHATS, TEXTS, 64), strict=True))


def test_weights_of_log_probabilities_are_trained_saved_and_read(networks, items, tmp_path):
    config = but(CONFIG, features="hidden+logprob", stage1_epochs=1)
    prm.train(networks["qwen3"], items, tmp_path / "prm", {}, config, 0, quiet)
    learnt = load_prm(tmp_path / "prm")
    assert learnt.card["features"] == "hidden+logprob"
    assert not torch.equal(learnt.log_prob_weights.cpu(), torch.ones(2))
    assert prm.trained_names(learnt, 2) == set(learnt.weights()) and "log_prob_weights" in prm.trained_names(learnt, 1)


def test_a_reward_model_of_an_earlier_version_is_refused(networks, tmp_path):
    prm_model.make(networks["qwen3"], 0).save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k != "stop"}))
    with pytest.raises(PrmError, match="earlier version.*train it again"):
        load_prm(tmp_path)


def test_the_end_of_a_turn_is_the_template_s(tokenizer):
    assert end_of_turn(tokenizer, [tokenizer.eos_token_id]) == tokenizer.eos_token_id
    other = tokenizer.convert_tokens_to_ids("<|user|>")
    assert end_of_turn(tokenizer, [other]) == tokenizer.eos_token_id  # the template ends no reply with it


def test_ids_of_another_tokenizer_are_refused(model, networks):
    other = load_tokenizer(networks["qwen3"])
    other.add_tokens(["plumplum"])
    for writer in (other, None):
        with pytest.raises(ValueError, match="token ids of another tokenizer.*pass the completions as text"):
            StepScorer(model, writer).score(CHATS[:1], [[5, 6]], 1)
        assert len(StepScorer(model, writer).score(CHATS[:1], ["a\nb"], 1)[0]) == 2
    with pytest.raises(PrmError, match="completion 0 has token 99999"):
        StepScorer(model, model.tokenizer).score(CHATS[:1], [[5, 99999]], 1)


def test_the_fingerprint(tokenizer, networks):
    before = fingerprint(tokenizer)
    tokenizer(["a", "a b c"], padding=True)  # its use does not change the fingerprint
    assert fingerprint(tokenizer) == before == fingerprint(load_tokenizer(networks["gemma3_text"]))


def test_a_trace_beyond_the_context_is_refused(model):
    with pytest.raises(PrmError, match=r"completion 1 ends at token \d+, beyond the reward model's context of 1024"):
        StepScorer(model).score(CHATS[:2], ["one", "plums " * 2000], 4)


def test_scores_that_are_not_numbers_are_refused(networks):
    broken = prm_model.make(networks["qwen3"], 0)
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    with pytest.raises(PrmError, match="completion 0 a score that is not a number"):
        StepScorer(broken).score(CHATS[:2], ["one", "two"], 4)
    assert StepScorer(broken).score(CHATS[:1], [""], 4) == [[]] and StepScorer(broken).score([], [], 4) == []


def test_what_is_not_a_reward_model(networks, tmp_path):
    with pytest.raises(PrmError, match="also takes images"):
        prm_model.make(networks["qwen2_5_vl"], 0)
    with pytest.raises(PrmError, match=r"is not a process reward model: card.json, head.safetensors missing"):
        load_prm(networks["qwen3"])
    with pytest.raises(PrmError, match="is not a process reward model"):
        load_prm(tmp_path)
    assert isinstance(prm_model.make(networks["gemma"], 0), ProcessRewardModel)


def test_the_seed_determines_the_head(networks):
    a, b, c = (prm_model.make(networks["qwen3"], seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_reward_models_leave_the_global_generator_unchanged(networks, tmp_path):
    before = torch.get_rng_state()
    prm = prm_model.make(networks["qwen3"], 0)
    prm.save(tmp_path)
    load_prm(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_stage_two_only_what_was_trained_is_saved(networks, items, tmp_path):
    """The rest is the base, so that a base which has changed is refused; a killed training resumes as any other."""
    base, config = tmp_path / "base", but(CONFIG, stage2_epochs=0)
    shutil.copytree(networks["qwen3"], base)
    prm.train(str(base), items, tmp_path / "whole", {}, config, 0, quiet)
    with pytest.raises(KeyboardInterrupt):
        prm.train(
            str(base), items, tmp_path / "prm", {}, config, 0, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
    [checkpoint] = (tmp_path / "prm.work").glob("checkpoint-*")
    trained = prm.trained_names(prm_model.make(str(base), 0), 1)
    assert set(load_file(checkpoint / "model.safetensors")) == trained
    prm.train(str(base), items, tmp_path / "prm", {}, config, 0, quiet)
    assert same(weights(tmp_path / "prm"), weights(tmp_path / "whole"))
    assert not (tmp_path / "prm" / "model.safetensors").exists()
    saved = set(load_file(tmp_path / "prm" / prm_model.TRAINED))
    assert saved == {name.removeprefix("network.") for name in trained if name.startswith("network.")}
    before, after = prm_model.make(str(base), 0).weights(), weights(tmp_path / "prm")
    assert {name for name in before if not torch.equal(before[name], after[name])} <= trained
    other = load_file(base / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(PrmError, match="whose weights are others by now: delete the folder and train it again"):
        load_prm(tmp_path / "prm")
    (tmp_path / "prm" / prm_model.TRAINED).unlink()
    with pytest.raises(PrmError, match="model.safetensors missing"):
        load_prm(tmp_path / "prm")


def test_the_card_records_the_origin(networks, tmp_path):
    prm = prm_model.make(networks["llama"], 3, loss="ce")
    prm.save(tmp_path)
    assert (
        load_prm(tmp_path).card
        == prm.card
        == {**prm.card, "base": networks["llama"], "seed": 3, "loss": "ce", "stops": [prm.tokenizer.eos_token_id]}
    )
    assert {p.name for p in Path(tmp_path).iterdir()} >= {
        "model.safetensors",
        "head.safetensors",
        "card.json",
        "config.json",
        "tokenizer.json",
    }
