"""Distillation: the examples of each method, the weighted loss by hand, and interrupted trainings."""

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny import DISTILL, LORA, but
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from agentark import store, tasks
from agentark.cells import Cell
from agentark.distill import data, sft, students
from agentark.distill.batches import ByLength
from agentark.distill.data import DistillError, Example, encode, encode_all
from agentark.distill.method import methods
from agentark.models.load import ModelError, load, load_tokenizer

TASK = tasks.get("mini_gsm")
PROBLEMS = tasks.problems("mini_gsm", "train", 6)
CELL = Cell("t", train="mini_gsm", protocol="debate")
LONG = Example("a", "2 and 3?", "each 2*3=6\ngets 6+1=7\nAnswer: 7")
SHORT = Example("b", "1?", "Answer: 1")


@pytest.fixture(scope="module")
def tokenizer(networks):
    return load_tokenizer(networks["qwen3"])


def decoded(tokenizer, row, keep):
    return tokenizer.decode(
        [t for t, label, weight in zip(row["input_ids"], row["labels"], row["weights"]) if keep(label, weight)]
    )


# Encoding


def test_the_loss_is_on_the_completion_only(tokenizer):
    row = encode(LONG, tokenizer, 0.25)
    assert (
        decoded(tokenizer, row, lambda label, _: True)
        == f"<|user|>{LONG.prompt}<|end|><|assistant|>{LONG.completion}<|end|>"
    )
    assert decoded(tokenizer, row, lambda label, _: label == -100) == f"<|user|>{LONG.prompt}<|end|><|assistant|>"
    assert [label for label in row["labels"] if label != -100] == row["input_ids"][row["labels"].count(-100) :]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": LONG.prompt}], add_generation_prompt=True, return_dict=False
    )
    assert row["input_ids"][: len(prompt)] == prompt  # the same tokens as in evaluation


@pytest.mark.parametrize(
    ("completion", "line"),
    [
        (LONG.completion, "Answer: 7<|end|>"),
        ("the answer is not 5\nas 2+1=3\nAnswer: 3", "Answer: 3<|end|>"),
        ("Answer: 5\nwait: 2+1=3\nFinal answer: 3", "Final answer: 3<|end|>"),
        ("Answer: 7", "Answer: 7<|end|>"),
        ("gets 2+1=3\nso 3", ""),
        ("Answer: 5\nno, I do not know", ""),
        ("ä 🦊 2+1=3\nAnswer: 3 🦊", "Answer: 3 🦊<|end|>"),
    ],
)
def test_the_answer_line_weighs_lambda(tokenizer, completion, line):
    row = encode(Example("a", "2 and 3? 🦊", completion, 0.5), tokenizer, 0.25)
    assert set(row["weights"]) <= {0.5, 0.125}
    # the end of the turn belongs to the answer
    assert decoded(tokenizer, row, lambda _, weight: weight == 0.125) == line


def test_lambda_of_one_and_zero(tokenizer):
    assert set(encode(LONG, tokenizer, 1.0)["weights"]) == {1.0}
    assert set(encode(LONG, tokenizer, 0.0)["weights"]) == {0.0, 1.0}


def test_a_template_that_rewrites_the_prompt_is_refused(networks):
    tokenizer = load_tokenizer(networks["qwen3"])
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<think></think>{% endif %}"
    )
    with pytest.raises(DistillError, match="chat template"):
        encode(LONG, tokenizer, 1.0)


def test_too_long_examples_are_dropped_not_cut(tokenizer):
    examples = [SHORT] * 9 + [LONG]
    limit = len(encode(LONG, tokenizer, 1.0)["input_ids"])
    assert encode_all(examples, tokenizer, 1.0, limit, 0.0) == ([encode(e, tokenizer, 1.0) for e in examples], 0)
    assert encode_all(examples, tokenizer, 1.0, limit - 1, 0.1) == ([encode(SHORT, tokenizer, 1.0)] * 9, 1)
    message = rf"1 of 10 examples are longer than distill.max_length = {limit - 1} tokens \(the longest has {limit}\)"
    with pytest.raises(DistillError, match=message):
        encode_all(examples, tokenizer, 1.0, limit - 1, 0.09)


def test_dropping_everything_is_an_error(tokenizer):
    with pytest.raises(DistillError):
        encode_all([LONG], tokenizer, 1.0, 3, max_dropped_share=1.0)


# Examples


def trace(problem, source, agent, text, rsft=False, rank=-1, finish="stop"):
    return {
        "problem": PROBLEMS[problem].id,
        "source": source,
        "agent": agent,
        "round": 3 if source == "debate" else 1,
        "text": text,
        "answer": "1",
        "correct": rsft or rank >= 0,
        "kind": "direct",
        "rsft": rsft,
        "diversity_rank": rank,
        "finish": finish,
    }


TRACES = pd.DataFrame(
    [
        trace(0, "debate", 1, "zero one\nAnswer: 1\n", rank=1),
        trace(0, "debate", 2, " zero two\nAnswer: 1", rsft=True, rank=0),
        trace(0, "debate", 3, "zero wrong"),
        trace(1, "debate", 1, "one one\nAnswer: 1", rsft=True),
        trace(2, "debate", 1, "two one", rank=0),
        trace(2, "debate", 2, "two two", rsft=True, rank=2),
        trace(2, "debate", 3, "two three", rank=1),
        trace(0, "single", 1, "zero single", rsft=True),
        trace(3, "single", 1, "three single", rsft=True),
        trace(3, "single", 2, "three other"),
        trace(3, "debate", 1, "three breaks", finish="length"),
        trace(4, "debate", 1, "four breaks", finish="length"),
        trace(4, "debate", 2, "four wrong"),
        trace(4, "single", 1, "four sing", finish="length"),
    ]
)


def examples_of(method, traces=TRACES, seed=0, tokenizer=None):
    """The examples of a method."""
    return methods()[method].examples(TASK, PROBLEMS, traces, tokenizer, seed)


def contents(examples):
    """(index of the problem, completion, weight) of each example; its prompt is the problem's."""
    index = {p.id: n for n, p in enumerate(PROBLEMS)}
    assert all(e.prompt == TASK.prompt(PROBLEMS[index[e.problem]]) for e in examples)
    return [(index[e.problem], e.completion, round(e.weight, 6)) for e in examples]


def test_the_examples_of_each_method():
    assert contents(examples_of("sft")) == [(n, f"Answer: {p.answer}", 1.0) for n, p in enumerate(PROBLEMS)]
    assert contents(examples_of("rsft")) == [
        (0, "zero two\nAnswer: 1", 1.0),
        (1, "one one\nAnswer: 1", 1.0),
        (2, "two two", 1.0),
    ]
    assert contents(examples_of("da")) == [
        (0, "zero one\nAnswer: 1", 0.5),
        (0, "zero two\nAnswer: 1", 0.5),
        *[(2, text, 0.333333) for text in ("two one", "two two", "two three")],
    ]
    assert contents(examples_of("rsft_single")) == [(0, "zero single", 1.0), (3, "three single", 1.0)]
    ranks = [0 if source == "single" and problem != PROBLEMS[4].id else rank for problem, source, rank in
             zip(TRACES.problem, TRACES.source, TRACES.diversity_rank)]  # fmt: skip
    with_control = TRACES.assign(diversity_rank=ranks)
    alone = [(0, "zero single", 1.0), (3, "three single", 0.5), (3, "three other", 0.5)]
    assert contents(examples_of("da_single", with_control)) == alone
    assert examples_of("da", with_control) == examples_of("da")


def test_one_unselected_trace_of_each_problem():
    """Of any answer, but none that was cut off; the same for every seed, as the traces of R-SFT are."""
    texts = {n: {t.text.strip() for t in TRACES.itertuples() if t.problem == p.id} for n, p in enumerate(PROBLEMS)}
    for method, problems in (("unfiltered", [0, 1, 2, 4]), ("teacher_sample", [0, 3])):
        found = contents(examples_of(method))
        assert [n for n, _, _ in found] == problems and {weight for _, _, weight in found} == {1.0}
        assert all(text in texts[n] and "breaks" not in text for n, text, _ in found)
        assert examples_of(method) == examples_of(method, seed=1)
    many = pd.DataFrame([trace(0, "debate", agent, f"agent {agent}", rsft=agent == 1) for agent in range(6)])
    many = pd.concat([many.assign(problem=p.id) for p in PROBLEMS])
    assert len({text for _, text, _ in contents(examples_of("unfiltered", many))}) > 1  # not always the same agent's
    rewritten = TRACES.assign(kind="distilled")
    with pytest.raises(DistillError, match="nothing to learn"):
        students.examples(CELL.but(method="unfiltered"), rewritten, 6, None)


@pytest.mark.parametrize("method", ["da_single", "teacher_sample", "unfiltered"])
def test_traces_of_an_earlier_version_have_no_controls(method):
    with pytest.raises(DistillError, match="extract them anew"):
        examples_of(method, TRACES.drop(columns="finish"))
    assert examples_of("da", TRACES.drop(columns="finish")) == examples_of("da")  # which needs no such column


@pytest.mark.parametrize(("method", "partner"), [("gold_rsft", "rsft"), ("gold_da", "da"), ("rsft_tokens", "da")])
@pytest.mark.parametrize("length", [1, 40])
def test_controls_of_equal_tokens(tokenizer, method, partner, length):
    traces = TRACES.assign(text=[t + " plums" * length for t in TRACES.text])
    found, equal = (examples_of(name, traces, 0, tokenizer) for name in (method, partner))
    once = examples_of("rsft", traces) if method == "rsft_tokens" else [
        Example(p.id, TASK.prompt(p), p.solution) for p in PROBLEMS
    ]  # fmt: skip
    excess = data.completion_tokens(found, tokenizer) - data.completion_tokens(equal, tokenizer)
    assert 0 <= excess < max(data.token_counts(once, tokenizer))
    times = [found.count(example) for example in once]
    assert sum(times) == len(found) and max(times) - min(times) <= 1
    assert found == examples_of(method, traces, 0, tokenizer)


@pytest.mark.parametrize("length", [1, 40, 400])  # 400: more than all six gold solutions have
def test_gold_has_as_many_tokens_as_rsft(tokenizer, length):
    traces = TRACES.assign(text=[t + " plums" * length for t in TRACES.text])
    rsft, gold = (examples_of(method, traces, 0, tokenizer) for method in ("rsft", "gold_rsft"))
    longest = max(data.completion_tokens([Example("", "", p.solution)], tokenizer) for p in PROBLEMS)
    excess = data.completion_tokens(gold, tokenizer) - data.completion_tokens(rsft, tokenizer)
    assert 0 <= excess < longest
    assert all((text, weight) == (PROBLEMS[n].solution, 1.0) for n, text, weight in contents(gold))
    times = [[n for n, _, _ in contents(gold)].count(n) for n in range(6)]
    assert max(times) - min(times) <= 1
    assert gold == examples_of("gold_rsft", traces, 0, tokenizer) != examples_of("gold_rsft", traces, 1, tokenizer)


IMITATING = ["rsft", "da", "rsft_single", "da_single", "gold_rsft", "gold_da", "rsft_tokens"]


@pytest.mark.parametrize("method", IMITATING)
def test_nothing_to_learn(tokenizer, method):
    nothing = TRACES.assign(rsft=False, diversity_rank=-1)
    for traces in (nothing, nothing[:0]):
        with pytest.raises(DistillError, match="nothing to learn"):
            students.examples(CELL.but(method=method), traces, 6, tokenizer)


@pytest.mark.parametrize("method", ["sft", "gold_rsft", "gold_da"])
def test_problems_that_extraction_left_out_teach_no_method(tokenizer, method):
    """Not even the methods that learn from gold solutions, which need no trace."""
    traces = TRACES.assign(text="plums " * 120)
    examples = students.examples(CELL.but(method=method), traces, 6, tokenizer)
    assert {n for n, _, _ in contents(examples)} == {0, 1, 2, 3, 4}


# The loss


def trainer_of(cls, network, rows, folder, collator):
    model, tokenizer = load(network)
    args = SFTConfig(
        output_dir=str(folder),
        max_length=None,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
    )
    return cls(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        data_collator=collator(pad_token_id=tokenizer.pad_token_id),
    )


@pytest.fixture(params=["qwen3", "llama"])
def student(request, networks):
    return networks[request.param]


@pytest.fixture
def weighted(student, tmp_path, tokenizer):
    """A trainer of a tiny network, as `train` makes it."""
    trainer = trainer_of(
        sft.WeightedSFTTrainer, student, [encode(LONG, tokenizer, 1.0)], tmp_path, sft.WeightedCollator
    )
    trainer.model.train()
    return trainer


def loss_of(trainer, rows, tokens=None):
    batch = {k: v.to(trainer.model.device) for k, v in trainer.data_collator([dict(row) for row in rows]).items()}
    return trainer.compute_loss(trainer.model, batch, num_items_in_batch=tokens)


def grads(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def by_hand(model, rows, tokens):
    """-sum_t w_t log p(y_t | y_<t, x) / tokens, one sequence at a time, without padding."""
    total = 0.0
    for row in rows:
        ids = torch.tensor(row["input_ids"], device=model.device)
        logprobs = model(ids[None]).logits[0].float().log_softmax(-1)
        for t in range(1, len(ids)):
            if row["labels"][t] != -100:
                total = total - row["weights"][t] * logprobs[t - 1, ids[t]]
    return total / tokens


def count(rows):
    return sum(label != -100 for row in rows for label in row["labels"])


@pytest.mark.parametrize("answer_weight", [1.0, 0.3, 0.0])
def test_the_loss_by_hand(weighted, tokenizer, answer_weight):
    rows = [
        encode(Example("a", LONG.prompt, LONG.completion, 0.5), tokenizer, answer_weight),
        encode(Example("b", SHORT.prompt, "gets 1+1=2\nAnswer: 2"), tokenizer, answer_weight),
    ]
    for tokens in (None, 100):
        expected = by_hand(weighted.model, rows, tokens or count(rows))
        assert loss_of(weighted, rows, tokens).item() == pytest.approx(expected.item(), rel=1e-5)
        assert torch.allclose(
            grads(weighted, loss_of(weighted, rows, tokens)), grads(weighted, expected), rtol=1e-3, atol=1e-5
        )


def test_with_all_weights_one_it_is_trls_loss(weighted, student, tokenizer, tmp_path):
    rows = [encode(e, tokenizer, 1.0) for e in (LONG, SHORT)]
    plain = trainer_of(
        SFTTrainer,
        student,
        [{k: row[k] for k in ("input_ids", "labels")} for row in rows],
        tmp_path / "plain",
        DataCollatorForLanguageModeling,
    )
    plain.model.train()
    bare = [{k: row[k] for k in ("input_ids", "labels")} for row in rows]
    assert loss_of(weighted, rows).item() == pytest.approx(loss_of(plain, bare).item(), rel=1e-5)
    assert torch.allclose(
        grads(weighted, loss_of(weighted, rows, 50)), grads(plain, loss_of(plain, bare, 50)), rtol=1e-4, atol=1e-6
    )


def test_lambda_zero_learns_nothing_from_the_answer(weighted, tokenizer):
    rows = [encode(SHORT, tokenizer, 0.0)]  # an answer and nothing else
    assert loss_of(weighted, rows).item() == 0 and grads(weighted, loss_of(weighted, rows)).abs().max() == 0
    # the labels of the answer are removed by hand, for the same number of tokens
    rows = [encode(LONG, tokenizer, 0.0)]
    without = [
        {
            **rows[0],
            "labels": [-100 if w == 0 else label for label, w in zip(rows[0]["labels"], rows[0]["weights"])],
            "weights": [1.0] * len(rows[0]["weights"]),
        }
    ]
    assert count(without) < count(rows)
    assert torch.allclose(
        grads(weighted, loss_of(weighted, rows, 10)),
        grads(weighted, by_hand(weighted.model, without, 10)),
        rtol=1e-3,
        atol=1e-5,
    )


def test_k_copies_of_a_trace_weigh_one(weighted, tokenizer):
    copies = [encode(Example("a", LONG.prompt, LONG.completion, 1 / 3), tokenizer, 1.0)] * 3
    one = [encode(LONG, tokenizer, 1.0)]
    assert torch.allclose(
        grads(weighted, loss_of(weighted, copies, 20)),
        grads(weighted, loss_of(weighted, one, 20)),
        rtol=1e-3,
        atol=1e-5,
    )


def test_the_collator_pads_weights_with_zero(weighted, tokenizer):
    rows = [encode(LONG, tokenizer, 1.0), encode(SHORT, tokenizer, 1.0)]
    batch = weighted.data_collator([dict(row) for row in rows])
    short = len(rows[1]["input_ids"])
    assert batch["weights"].shape == batch["input_ids"].shape == batch["labels"].shape
    assert batch["weights"][1].tolist() == [1.0] * short + [0.0] * (batch["weights"].shape[1] - short)
    assert (batch["labels"][1, short:] == -100).all() and batch["input_ids"][1, :short].tolist() == rows[1]["input_ids"]


# Batches


def test_batches_of_similar_length():
    lengths = [10 + 7 * n % 90 for n in range(103)]

    def order(seed=0, epoch=0):
        return list(ByLength(lengths, 4, seed, lambda: epoch))

    def padded(indices):
        return sum(4 * max(lengths[i] for i in indices[start : start + 4]) for start in range(0, 103, 4))

    assert sorted(order()) == list(range(103)) and len(ByLength(lengths, 4, 0, lambda: 0)) == 103
    assert order() == order() and order() != order(epoch=1) and order() != order(seed=1)
    assert padded(order()) < 1.1 * sum(lengths) < 1.3 * sum(lengths) < padded(range(103))
    longest = [max(lengths[i] for i in order()[start : start + 4]) for start in range(0, 100, 4)]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)  # batches of all lengths are mixed


def test_a_batch_of_the_sampler_is_that_of_a_whole_step(monkeypatch):
    """Of all processes and accumulated parts: each of them would else have a step of several lengths."""
    taken = []
    monkeypatch.setattr(
        sft, "ByLength", lambda lengths, batch, seed, epoch: taken.append((lengths, batch, seed, epoch()))
    )
    args = SimpleNamespace(gradient_accumulation_steps=3, world_size=5, data_seed=7)
    rows, state = {"input_ids": [[1], [1, 2]]}, SimpleNamespace(global_step=4)

    class Rows(dict):
        def __len__(self):
            return 60

    trainer = SimpleNamespace(train_dataset=Rows(rows), _train_batch_size=2, args=args, state=state)
    sft.WeightedSFTTrainer._get_train_sampler(trainer)
    assert taken == [([1, 2], 2 * 3 * 5, 7, 2)]  # two steps an epoch, so that step 4 is in the third


@pytest.mark.parametrize(
    ("save_steps", "steps", "expected"), [(50, 750, 25), (50, 100, 5), (50, 63, 2), (7, 100, 1), (2, 6, 1), (3, 0, 1)]
)
def test_the_loss_is_logged_at_least_twenty_times_and_at_each_checkpoint(save_steps, steps, expected):
    assert sft.steps_per_log(save_steps, steps) == expected


def test_first_and_last_loss():
    fell = sft.first_and_last([3.0, 1.0, *[9.0] * 16, 1.0, 0.0])
    assert fell == {"first_loss": 2.0, "last_loss": 0.5, "warning": ""}
    for losses in ([1.0, 1.0], [0.5, 9.0, 0.6], [1.0, float("nan")]):
        assert "the loss did not fall" in sft.first_and_last(losses)["warning"]
    assert sft.first_and_last([1.0]) == {"first_loss": 1.0, "last_loss": 1.0, "warning": ""}  # nothing can be seen


# Training

ABOUT = {"stage": "distill", "distill": {"learning_rate": 1e-3}}


@pytest.fixture(scope="module")
def rows(tokenizer):
    examples = examples_of("gold_rsft", TRACES.assign(text="plums " * 120), 0, tokenizer)
    return encode_all(examples, tokenizer, 1.0, 400, 0.0)[0]


class Cut(TrainerCallback):
    """Interrupts the training once a checkpoint is written."""

    def on_save(self, *_, **__):
        raise KeyboardInterrupt


def weights(folder):
    [file] = Path(folder).glob("*.safetensors")
    return load_file(file)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(networks, rows, tmp_path_factory):
    """An uninterrupted training: its folder and its log."""
    out = tmp_path_factory.mktemp("whole") / "student"
    return out, sft.train(networks["qwen3"], rows, out, ABOUT, DISTILL, 0)


def test_the_training_log(whole, rows, networks):
    out, log = whole
    steps = -(-len(rows) // 2) * 2
    assert len(rows) >= 6 and json.loads((out / "training.json").read_text()) == log
    assert (log["steps"], log["examples"], log["epochs"]) == (steps, len(rows), 2)
    assert log["tokens"] == 2 * sum(len(row["input_ids"]) for row in rows)
    assert log["completion_tokens"] == 2 * count(rows)
    assert log["seconds"] > 0 and log["peak_memory_mb"] > 50
    assert log["parameters_trained"] == sum(p.numel() for p in load(networks["qwen3"])[0].parameters())
    assert log["loss"] and all(entry["loss"] > 0 for entry in log["loss"])
    each = sft.steps_per_log(DISTILL.save_steps, steps)
    assert [entry["step"] for entry in log["loss"]] == sorted({*range(each, steps + 1, each), steps})
    ends = sft.first_and_last([entry["loss"] for entry in log["loss"]])
    assert {name: log[name] for name in ends} == ends
    assert sorted(p.name for p in out.parent.iterdir()) == ["student"]  # no other file is left
    assert not same(weights(out), weights(networks["qwen3"]))


def test_a_cut_training_ends_with_the_same_weights(whole, networks, rows, tmp_path):
    out = tmp_path / "student"
    for last in (2, 4, 6):  # in the middle of an epoch, of the next one, and after the last step
        with pytest.raises(KeyboardInterrupt):
            sft.train(networks["qwen3"], rows, out, ABOUT, DISTILL, 0, (Cut(),))
        assert [p.name for p in out.with_name("student.work").glob("checkpoint-*")] == [
            f"checkpoint-{last}"
        ] and not out.exists()
    torch.manual_seed(99)
    log = sft.train(networks["qwen3"], rows, out, ABOUT, DISTILL, 0)
    assert same(weights(out), weights(whole[0]))
    assert (log["steps"], log["tokens"]) == (whole[1]["steps"], whole[1]["tokens"])


def test_a_cut_training_ends_with_the_same_log(whole, cut_off, networks, rows):
    assert sft.train(networks["qwen3"], rows, cut_off, ABOUT, DISTILL, 0)["loss"] == whole[1]["loss"]


def test_a_log_of_several_steps_survives_an_interruption(networks, rows, tmp_path, monkeypatch):
    """Its entries are means over two steps, and over the last step alone."""
    monkeypatch.setattr(sft, "LOGGED", 3)
    config, seven = but(DISTILL, epochs=1), (rows * 3)[:13]
    with pytest.raises(KeyboardInterrupt):
        sft.train(networks["qwen3"], seven, tmp_path / "a", ABOUT, config, 0, (Cut(),))
    cut, whole = (sft.train(networks["qwen3"], seven, tmp_path / name, ABOUT, config, 0) for name in "ab")
    assert cut["loss"] == whole["loss"] and [entry["step"] for entry in whole["loss"]] == [2, 4, 6, 7]


def test_a_training_that_learns_nothing_has_a_warning(networks, rows, tmp_path):
    config = but(DISTILL, learning_rate=1e-30, epochs=1)
    one = sft.train(networks["qwen3"], rows[:1] * 4, tmp_path / "a", ABOUT, config, 0)
    assert "the loss did not fall" in one["warning"]
    config = but(DISTILL, epochs=4)
    other = sft.train(networks["qwen3"], rows[:1] * 4, tmp_path / "b", ABOUT, config, 0)
    assert other["warning"] == "" and other["last_loss"] < other["first_loss"]


def test_other_seeds_and_the_same_seed(whole, networks, rows, tmp_path):
    torch.manual_seed(99)
    sft.train(networks["qwen3"], rows, tmp_path / "again", ABOUT, DISTILL, 0)
    sft.train(networks["qwen3"], rows, tmp_path / "other", ABOUT, DISTILL, 1)
    assert same(weights(tmp_path / "again"), weights(whole[0])) and not same(
        weights(tmp_path / "other"), weights(whole[0])
    )


@pytest.fixture
def cut_off(networks, rows, tmp_path):
    """The folder of a training that was interrupted after its first checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        sft.train(networks["qwen3"], rows, tmp_path / "student", ABOUT, DISTILL, 0, (Cut(),))
    return tmp_path / "student"


def test_checkpoints_of_another_training_are_refused(cut_off, networks, rows):
    with pytest.raises(store.StoreError, match=r"distill\.learning_rate: was 0.001, now 0.01"):
        sft.train(networks["qwen3"], rows, cut_off, {**ABOUT, "distill": {"learning_rate": 1e-2}}, DISTILL, 0)


def test_the_advice_of_the_refusal_starts_a_new_training(cut_off, networks, rows):
    """The message says to delete the journal.  The checkpoints beside it, of the other training, are not used."""
    (cut_off.with_name("student.work") / "about.journal").unlink()
    other = but(DISTILL, learning_rate=1e-2)
    sft.train(networks["qwen3"], rows, cut_off, {**ABOUT, "distill": {"learning_rate": 1e-2}}, other, 0)
    sft.train(networks["qwen3"], rows, cut_off.with_name("fresh"), {}, other, 0)
    assert same(weights(cut_off), weights(cut_off.with_name("fresh")))


@pytest.mark.parametrize("written", ["", "model.safetensors config.json optimizer.pt scheduler.pt rng_state.pth"])
def test_a_half_written_checkpoint_is_not_used(whole, cut_off, networks, rows, written):
    """Killed while a checkpoint is written: its folder exists, its last file (trainer_state.json) does not."""
    work = cut_off.with_name("student.work")
    (work / "checkpoint-4").mkdir()
    for name in written.split():
        shutil.copy(work / "checkpoint-2" / name, work / "checkpoint-4")
    sft.train(networks["qwen3"], rows, cut_off, ABOUT, DISTILL, 0)
    assert same(weights(cut_off), weights(whole[0]))


def test_leftovers_of_a_killed_save_are_removed(networks, rows, tmp_path):
    """A run is killed while it saves an adapter; then all weights are trained: the result is no adapter."""
    (tmp_path / "student.part").mkdir()
    (tmp_path / "student.part" / "adapter_config.json").write_text("{}")
    sft.train(networks["qwen3"], rows[:2], tmp_path / "student", ABOUT, but(DISTILL, epochs=1), 0)
    assert not (tmp_path / "student" / "adapter_config.json").exists()


def test_lora_trains_adapters_only(networks, rows, tmp_path):
    out = tmp_path / "adapter"
    log = sft.train(networks["qwen3"], rows, out, ABOUT, but(DISTILL, lora=LORA, learning_rate=0.02), 0)
    saved = weights(out)
    assert all("lora_" in name for name in saved) and log["parameters_trained"] == sum(
        t.numel() for t in saved.values()
    )
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == networks["qwen3"]
    merged, _ = load(str(out))
    base, _ = load(networks["qwen3"])
    changed = {name for name, p in base.named_parameters() if not torch.equal(p, merged.get_parameter(name))}
    assert changed and all(name.split(".")[-2].endswith("_proj") for name in changed)
    with torch.no_grad():
        assert by_hand(merged, rows, count(rows)) < by_hand(base, rows, count(rows))


def test_an_adapter_of_a_zoo_network_is_saved_without_a_request_to_the_hub(rows, networks, tmp_path, monkeypatch):
    """PEFT takes the base of an adapter for a folder or a repository, and warns if it finds neither."""
    from peft.utils import save_and_load

    requests = []
    monkeypatch.setattr(save_and_load, "check_file_exists_on_hf_hub", lambda repo, file: requests.append(repo))
    monkeypatch.setattr(sft, "load", lambda name, dtype: load(networks["qwen3"], dtype))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Could not find a config file")
        sft.train("zoo/ours", rows[:2], tmp_path / "adapter", ABOUT, but(DISTILL, lora=LORA, epochs=1), 0)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert requests == [] and config["base_model_name_or_path"] == "zoo/ours" and config["inference_mode"] is True


def test_an_adapter_on_an_adapter(networks, rows, tmp_path):
    """A student that is itself an adapter: the second adapter is added to the first."""
    config = but(DISTILL, lora=LORA, learning_rate=0.05)
    sft.train(networks["qwen3"], rows, tmp_path / "first", ABOUT, config, 0)
    sft.train(str(tmp_path / "first"), rows, tmp_path / "second", ABOUT, config, 0)
    first, second = (
        load(str(tmp_path / name))[0].get_parameter("model.layers.0.mlp.up_proj.weight") for name in ("first", "second")
    )
    saved = weights(tmp_path / "second")
    a, b = (saved[f"base_model.model.model.layers.0.mlp.up_proj.lora_{side}.weight"].to(first.device) for side in "AB")
    assert torch.allclose(second, first + LORA["alpha"] / LORA["r"] * b @ a, atol=1e-5)


def test_lora_is_seeded_and_resumes(networks, rows, tmp_path):
    """The same seed gives the same adapter after any other work in the process, and after an interruption."""
    config = but(DISTILL, lora=LORA)
    for name, state in (("a", 1), ("b", 2)):
        torch.manual_seed(state)
        sft.train(networks["qwen3"], rows, tmp_path / name, ABOUT, config, 0)
    with pytest.raises(KeyboardInterrupt):
        sft.train(networks["qwen3"], rows, tmp_path / "c", ABOUT, config, 0, (Cut(),))
    sft.train(networks["qwen3"], rows, tmp_path / "c", ABOUT, config, 0)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "c"))


ONE_EPOCH = but(DISTILL, epochs=1)


@pytest.fixture
def run(networks, tmp_path):
    """The stage on TRACES: one epoch of R-SFT."""

    def run_stage(traces_id="abc", config=ONE_EPOCH, **changes):
        cell = CELL.but(student=networks["qwen3"], method="rsft").but(**changes)
        return students.run(tmp_path / "student", cell, TRACES, traces_id, 6, config)

    return run_stage


def test_the_stage(run, networks, tmp_path, monkeypatch):
    base = Path(networks["qwen3"])
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in base.iterdir()}
    log = run()
    assert (log["dropped"], log["examples"], log["steps"]) == (0, 3, 2) and load(str(tmp_path / "student"))
    calls = []
    monkeypatch.setattr(sft, "train", lambda *args, **_: calls.append(args))
    assert run() == log and not calls
    with pytest.raises(TypeError):  # it is trained again, by the stand-in, which returns no log
        run("def")
    assert len(calls) == 1
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in base.iterdir()} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"method": "da"}, {"teacher": "u"}, {"axes": (("debate.agents", 2),)}])
def test_a_student_of_another_cell_is_trained_again(run, monkeypatch, change):
    monkeypatch.setattr(sft, "train", lambda student, rows, out, *_: out.mkdir(exist_ok=True) or {"seconds": 1})
    run()
    monkeypatch.setattr(sft, "train", lambda *_: pytest.fail("trained again"))
    run()
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        run(**change)


def test_the_stage_refuses_before_it_loads(run, tmp_path):
    with pytest.raises(ModelError):
        run(student="zoo/nobody")
    with pytest.raises(DistillError, match="distill.max_length = 5"):
        run(config=but(DISTILL, max_length=5))
    assert list(tmp_path.iterdir()) == []
