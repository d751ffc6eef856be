"""DPO: the pairs of a debate, the loss by hand, and what a training is worth that was interrupted."""

import json
import math

import pandas as pd
import pytest
import torch
from datasets import Dataset
from test_distill import CELL, PROBLEMS, TASK, Cut, same, trace, weights
from test_graph import config, jobs
from test_names import check
from tiny import DISTILL, LORA, but
from trl import DPOConfig, DPOTrainer

from agentark import params, store
from agentark.distill import chains, data, dpo, students
from agentark.distill.data import DistillError, Example, Pair
from agentark.distill.method import links, methods
from agentark.models.load import load, load_tokenizer
from agentark.params import ParamsError
from agentark.plan.rates import rates
from agentark.report import two_step

DPO = params.Dpo(
    beta=0.5,
    learning_rate=1e-3,
    epochs=2,
    batch=2,
    pairs=2,
    warmup_share=0.1,
    max_length=400,
    max_dropped_share=0.1,
    save_steps=2,
)
ABOUT = {"stage": "distill", "dpo": {"beta": 0.5}}


def said(problem, number, text, right, finish="stop"):
    """A trace of a round: round 1 is that of the agents alone."""
    row = trace(problem, "single" if number == 1 else "debate", 1, text, finish=finish)
    return row | {"round": number, "correct": right}


TRACES = pd.DataFrame(
    [
        said(0, 1, "right\n", True),
        said(0, 1, "wrong", False),
        said(0, 1, "right ", True),  # the same text
        said(0, 3, "later right", True),
        said(0, 3, "later wrong", False),
        said(1, 1, "all right", True),
        said(2, 1, "all wrong", False),
        said(3, 1, "first wrong", False),
        said(3, 3, "then right", True),
        said(4, 1, "right", True),
        said(4, 1, "wrong", False, finish="length"),
        *[said(5, 1, f"right {n}", True) for n in range(3)],
        *[said(5, 1, f"wrong {n}", False) for n in range(2)],
    ]
)
PAIR = Pair("a", "2 and 3?", "gets 2+3=5\nAnswer: 5", "gets 2+3=6\nAnswer: 6")
OTHER = Pair("b", "1?", "Answer: 1", "each 1*3=3\nAnswer: 3")


def pairs_of(method="dpo", traces=TRACES, most=2, seed=0):
    return dpo.pairs_of(CELL.but(method=method, seed=seed), traces, 6, most)


@pytest.fixture(scope="module")
def tokenizer(networks):
    return load_tokenizer(networks["qwen3"])


# Pairs


def test_pairs_are_of_one_problem_and_one_round():
    found, _ = pairs_of(most=9)
    texts = {(p.problem, p.preferred, p.other) for p in found}
    expected = {(PROBLEMS[0].id, "right", "wrong"), (PROBLEMS[0].id, "later right", "later wrong")}
    expected |= {(PROBLEMS[5].id, f"right {i}", f"wrong {k}") for i in range(3) for k in range(2)}
    assert texts == expected and len(found) == 8
    assert {p.prompt for p in found} == {TASK.prompt(PROBLEMS[n]) for n in (0, 5)}


def test_at_most_so_many_pairs_of_a_problem_the_same_for_every_seed():
    for most, total in ((1, 2), (2, 4), (6, 8)):
        found, _ = pairs_of(most=most)
        assert len(found) == total and found == pairs_of(most=most, seed=7)[0]
        assert len(set(found)) == total  # none twice


def test_problems_without_a_pair_are_counted():
    """Problem 1 is all right, 2 all wrong, 3 has both in different rounds, and of 4 the wrong trace was cut off."""
    expected = {"problems": 6, "without_right": 1, "without_wrong": 2, "apart": 1}
    assert pairs_of()[1] == expected
    cut = TRACES.assign(finish=["length" if text == "all right" else "stop" for text in TRACES.text])
    assert pairs_of(traces=cut)[1] | {"without_wrong": 0} == expected | {"without_right": 2, "without_wrong": 0}
    assert dpo.pairs_of(CELL.but(method="dpo"), TRACES, 1, 2)[1]["problems"] == 1  # of the first problem alone


def test_shuffled_preferences_are_the_same_pairs_turned_by_a_coin():
    right = pairs_of(most=9)[0]
    turned = [pairs_of("dpo_shuffled", most=9, seed=seed)[0] for seed in range(20)]
    for found in turned:
        assert all(p.problem == q.problem and {p.preferred, p.other} == {q.preferred, q.other}
                   for p, q in zip(found, right, strict=True))  # fmt: skip
    kept = [p == q for found in turned for p, q in zip(found, right)]
    assert 0.35 < sum(kept) / len(kept) < 0.65 and turned[0] != turned[1]
    assert turned[3] == pairs_of("rsft_then_shuffled", most=9, seed=3)[0]


def test_nothing_to_prefer_is_said_with_its_reasons():
    for traces, why in (
        (TRACES.assign(correct=True), "of 6 problems 0 have no right trace, 6 no wrong one, 0 none of one round"),
        (
            TRACES[TRACES.problem == PROBLEMS[3].id],
            "of 1 problems 0 have no right trace, 0 no wrong one, 1 none of one",
        ),
    ):
        with pytest.raises(DistillError, match=f"^there is no pair to learn from for dpo: {why}") as raised:
            pairs_of(traces=traces)
        assert "debate more problems" in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(DistillError, match="extract them anew"):
        pairs_of(traces=TRACES.drop(columns="finish"))


def test_the_tokens_are_those_of_imitation_and_of_trl(tokenizer, networks, tmp_path):
    [row], dropped = dpo.encode_all([PAIR], tokenizer, DPO)
    for name, text in (("chosen_ids", PAIR.preferred), ("rejected_ids", PAIR.other)):
        encoded = data.encode(Example("a", PAIR.prompt, text), tokenizer, 1.0)
        assert row["prompt_ids"] + row[name] == encoded["input_ids"]
        assert row[name] == [label for label in encoded["labels"] if label != -100]
    chat = {"prompt": PAIR.prompt, "chosen": PAIR.preferred, "rejected": PAIR.other}
    turns = {k: [{"role": "user" if k == "prompt" else "assistant", "content": text}] for k, text in chat.items()}
    args = DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to=[])
    made = DPOTrainer._prepare_dataset(None, Dataset.from_list([turns]), tokenizer, args, "train")
    assert {name: made[0][name] for name in row} == row and dropped == 0


def test_too_long_pairs_are_dropped_not_cut(tokenizer):
    rows, _ = dpo.encode_all([PAIR, OTHER], tokenizer, DPO)
    limit = max(len(rows[0]["prompt_ids"] + rows[0][name]) for name in ("chosen_ids", "rejected_ids"))
    many = [OTHER] * 9 + [PAIR]
    assert dpo.encode_all(many, tokenizer, but(DPO, max_length=limit)) == ([rows[1]] * 9 + [rows[0]], 0)
    assert dpo.encode_all(many, tokenizer, but(DPO, max_length=limit - 1)) == ([rows[1]] * 9, 1)
    sentence = (
        rf"1 of 10 pairs have a trace longer than dpo.max_length = {limit - 1} tokens \(the longest has {limit}\)"
    )
    with pytest.raises(DistillError, match=sentence):
        dpo.encode_all(many, tokenizer, but(DPO, max_length=limit - 1, max_dropped_share=0.0))
    with pytest.raises(DistillError, match="raise it, or allow more"):
        dpo.encode_all([PAIR], tokenizer, but(DPO, max_length=8, max_dropped_share=1.0))


# The loss


def log_p(model, prompt, completion):
    """The log-probability of a completion, one sequence at a time, without padding."""
    ids = torch.tensor(prompt + completion, device=model.device)
    steps = model(ids[None]).logits[0, :-1].float().log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return steps[len(prompt) - 1 :].sum()


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_the_loss_by_hand(kind, networks, tokenizer, tmp_path):
    """Of two pairs of different lengths, with a reference that is another network than the policy."""
    rows, _ = dpo.encode_all([PAIR, OTHER], tokenizer, DPO)
    policy, reference = load(networks[kind])[0], load(networks[kind])[0]
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    args = DPOConfig(output_dir=str(tmp_path), beta=0.5, max_length=None, bf16=False, use_cpu=True, report_to=[],
                     gradient_checkpointing=False)  # fmt: skip
    given = {"args": args, "train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}
    trainer = dpo.PairTrainer(model=policy, ref_model=reference, **given)
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    total = torch.tensor(0.0)
    for row in rows:
        change = [log_p(policy, row["prompt_ids"], row[n]) - log_p(reference, row["prompt_ids"], row[n]).detach()
                  for n in ("chosen_ids", "rejected_ids")]  # fmt: skip
        total = total - torch.nn.functional.logsigmoid(0.5 * (change[0] - change[1])) / len(rows)
    assert loss.item() == pytest.approx(total.item(), rel=1e-4) and abs(loss.item() - math.log(2)) > 1e-3
    grads = []
    for value in (loss, total):
        policy.zero_grad()
        value.backward()
        grads.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    assert torch.allclose(*grads, rtol=1e-3, atol=1e-4)
    found = dpo.log_probs_of(networks[kind], rows[1])
    for name, ids in (("preferred", "chosen_ids"), ("other", "rejected_ids")):
        assert found[name] == pytest.approx(log_p(load(networks[kind])[0], rows[1]["prompt_ids"], rows[1][ids]).item())


# Training


@pytest.fixture(scope="module")
def rows(tokenizer):
    found, _ = pairs_of(most=9)
    return dpo.encode_all(found[:7], tokenizer, DPO)[0]


@pytest.fixture(scope="module")
def whole(networks, rows, tmp_path_factory):
    """An uninterrupted training: its folder and its log."""
    out = tmp_path_factory.mktemp("whole") / "student"
    return out, dpo.train(networks["qwen3"], rows, out, ABOUT, DPO, 0)


def test_the_training_log(whole, rows, networks):
    out, log = whole
    assert json.loads((out / "training.json").read_text()) == log
    assert (log["examples"], log["epochs"], log["steps"]) == (7, 2, 7)  # 14 pairs, two a step
    of_pair = [len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows]
    assert log["completion_tokens"] == 2 * sum(of_pair)
    assert log["tokens"] == 2 * sum(of_pair) + 4 * sum(len(row["prompt_ids"]) for row in rows)
    assert log["loss"][0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # it is its own reference
    assert log["loss"][0]["margin"] == pytest.approx(0, abs=1e-5)
    assert set(log["loss"][0]) == {"step", "loss", "margin", "preferred", "log_prob"}
    assert log["loss"][-1]["margin"] > 0 and log["last_loss"] < log["first_loss"] and log["core_seconds"] > 0
    assert sorted(p.name for p in out.parent.iterdir()) == ["student"]  # no other file is left
    assert not same(weights(out), weights(networks["qwen3"])) and load(str(out))


def test_a_cut_training_ends_with_the_same_weights_and_the_same_log(whole, networks, rows, tmp_path):
    out = tmp_path / "student"
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            dpo.train(networks["qwen3"], rows, out, ABOUT, DPO, 0, callbacks=(Cut(),))
        torch.manual_seed(99)
    log = dpo.train(networks["qwen3"], rows, out, ABOUT, DPO, 0)
    assert same(weights(out), weights(whole[0])) and log["loss"] == whole[1]["loss"]
    another = dpo.train(networks["qwen3"], rows, tmp_path / "another", ABOUT, DPO, 1)
    assert another["loss"] != log["loss"]  # the seed decides on the order


def test_every_setting_reaches_the_trainer(networks, tmp_path, monkeypatch):
    given, settings = {}, but(DPO, beta=0.37, learning_rate=7e-4, warmup_share=0.3, save_steps=7, epochs=3, batch=3)
    monkeypatch.setattr(dpo, "PairTrainer", lambda **options: given.update(options) or (_ for _ in ()).throw(OSError))
    cell = CELL.but(student=networks["qwen3"], method="dpo", seed=5)
    with pytest.raises(OSError):
        dpo.run(tmp_path / "a", cell, TRACES, "x", 6, settings)
    args = given["args"]
    assert (args.beta, args.learning_rate, args.save_steps) == (0.37, 7e-4, 7)
    assert (args.per_device_train_batch_size, args.num_train_epochs, args.warmup_steps) == (3, 1, round(0.3 * 4))
    assert len(given["train_dataset"]) == 3 * 4  # three epochs of two pairs of each of two problems
    assert (args.seed, args.data_seed, args.lr_scheduler_type) == (5, 5, "cosine") and args.loss_type == ["sigmoid"]
    assert (args.max_length, args.label_smoothing, args.train_sampling_strategy) == (None, 0.0, "sequential")
    read = {"beta", "learning_rate", "epochs", "batch", "pairs", "warmup_share", "max_length", "max_dropped_share"}
    assert set(params.Dpo.model_fields) == read | {"save_steps"}  # two of them in the tests of pairs above


def test_all_pairs_are_seen_once_an_epoch():
    order = [row["n"] for row in dpo.in_order([{"n": n} for n in range(9)], 3, 5)]
    assert all(sorted(order[i : i + 9]) == list(range(9)) for i in (0, 9, 18)) and order[:9] != order[9:18]


def test_an_adapter_is_its_own_reference(networks, rows, tmp_path):
    log = dpo.train(networks["qwen3"], rows, tmp_path / "a", ABOUT, DPO, 0, params.Lora(**LORA))
    assert (tmp_path / "a" / "adapter_config.json").exists() and load(str(tmp_path / "a"))
    assert log["loss"][0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and log["loss"][-1]["margin"] != 0


def test_a_reference_with_other_tokens_is_refused_before_anything_is_loaded(networks, rows, tmp_path):
    stranger = tmp_path / "stranger"
    other = load_tokenizer(networks["qwen3"])
    other.add_tokens(["<another>"])
    load(networks["qwen3"])[0].save_pretrained(stranger)
    other.save_pretrained(stranger)
    with pytest.raises(
        DistillError, match=r"^the student .* and its reference .* have different tokens.*of the student's"
    ):
        dpo.train(networks["qwen3"], rows, tmp_path / "a", ABOUT, DPO, 0, reference=str(stranger))
    assert not (tmp_path / "a.work").exists()
    dpo.train(networks["qwen3"], rows[:2], tmp_path / "b", ABOUT, DPO, 0, reference=networks["llama"])


def test_a_run_is_read_again_and_says_what_it_started_from(networks, tmp_path):
    cell, rsft = CELL.but(student=networks["qwen3"], method="dpo"), tmp_path / "rsft"
    log = dpo.run(tmp_path / "a", cell, TRACES, "x", 6, DPO)
    assert {name: log[name] for name in ("problems", "without_right", "without_wrong", "apart", "dropped")} == {
        "problems": 6, "without_right": 1, "without_wrong": 2, "apart": 1, "dropped": 0}  # fmt: skip
    assert log["examples"] == 4 and dpo.run(tmp_path / "a", cell, TRACES, "x", 6, DPO) == log
    manifest = json.loads(store.manifest_path(tmp_path / "a").read_text())
    assert manifest["about"]["dpo"] == DPO.model_dump() and manifest["without_wrong"] == 2
    imitated = TRACES.assign(rsft=TRACES.correct & (TRACES["round"] == 3))
    students.run(rsft, cell.but(method="rsft"), imitated, "x", 6, but(DISTILL, epochs=1))
    second = dpo.run(tmp_path / "b", cell.but(method="rsft_then_dpo"), TRACES, "x", 6, DPO, start=str(rsft))
    about = json.loads(store.manifest_path(tmp_path / "b").read_text())["about"]
    assert about["start"] == f"rsft {store.identity(rsft)}" and second["loss"][0]["loss"] == pytest.approx(math.log(2))


# What is declared


def test_what_the_methods_depend_on():
    assert links("rsft_then_dpo") == ["rsft", "rsft_then_dpo"]
    for name in ("dpo", "dpo_shuffled", "rsft_then_dpo", "rsft_then_shuffled"):
        method = methods()[name]
        assert method.trained and not method.examples and method.sources
        assert chains.trained_by(method) == ("dpo", "distill.lora")
        assert two_step.step_of(name) == ("dpo_shuffled" if "shuffled" in name else "dpo")
    assert "distill" not in chains.sections("dpo", "base") and "distill" in chains.sections("rsft_then_dpo", "base")
    with pytest.raises(ParamsError, match="starts from the students of rsft, which the study does not have"):
        check(study__methods=["rsft_then_dpo"])
    with pytest.raises(ParamsError, match="dpo_shuffled is a control of dpo, which the study does not have"):
        check(study__methods=["dpo_shuffled"])
    with pytest.raises(ParamsError, match="unknown imitating method 'dpo'"):
        check(distill__by_method={"dpo": {"epochs": 1}})


def test_the_plan_of_a_training_on_pairs():
    names = ["rsft", "dpo", "rsft_then_dpo"]
    found = {job.name: job for job in jobs(study={"methods": names, "axes": {"dpo.beta": [0.1, 0.5]}})}
    for tail in ("", "-dpo.beta=0.5"):
        assert f"05_dpo-qwen3-32b-dpo-mini_gsm-s0{tail}" in found and f"04_rsft-qwen3-32b-rsft-mini_gsm-s0{tail}" in (
            *found, "04_rsft-qwen3-32b-rsft-mini_gsm-s0-dpo.beta=0.5")  # fmt: skip
    assert "04_rsft-qwen3-32b-rsft-mini_gsm-s0-dpo.beta=0.5" not in found  # R-SFT does not depend on it
    job, mini = found["05_dpo-qwen3-32b-dpo-mini_gsm-s0"], config()
    tokens = job.tokens(rates(mini))["trained", "zoo/qwen3-0.6b"]
    assert 20_000 < tokens / mini.dpo.epochs < 250_000
    doubled = config(dpo={"epochs": 2 * mini.dpo.epochs})
    assert doubled.dpo.epochs == 2 * mini.dpo.epochs
