"""The zoo's making: its corpus, its tokenizer, and a training that stops and goes on."""

import copy
import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch
import yaml
from safetensors.torch import load as read_tensors

from agentark import store, tasks
from agentark.mas import prompts
from agentark.models import load
from agentark.models.load import ModelError
from agentark.tasks import mini_med, mini_truthful
from agentark.zoo import corpus, train

SHARES = {"fact": 0.2, "lore": 0.2, "drill": 0.2, "debate": 0.2}
PARAMS = yaml.safe_load((Path(__file__).resolve().parents[1] / "params" / "zoo.yaml").read_text())


@pytest.fixture(scope="module")
def tokenizer():
    return train.make_tokenizer(vocab_size=400, chats=200, seed=0, context=1024)


# The corpus


def test_examples_are_a_function_of_seed_and_number():
    pool = [("mini_gsm", 0, ["Answer: 1"] * 5), ("mini_med", 3, ["Answer: A"] * 5)]
    for given in (None, pool):

        def some(seed, numbers, given=given):
            return [corpus.example(seed, i, SHARES, (1, 3), 4, given) for i in numbers]

        assert some(0, range(40)) == some(0, range(39, -1, -1))[::-1] != some(1, range(40))
        assert len({str(made.chat) for made in some(0, range(300))}) > 280


def test_shares():
    def firsts(share):
        return [corpus.example(0, i, share, (1, 3), 4).chat[0]["content"] for i in range(60)]

    assert all(asked.endswith(" what?") for asked in firsts({"fact": 1.0}))
    assert all(re.fullmatch(r"\d+[-+*/]\d+", asked) for asked in firsts({"drill": 1.0}))
    assert all(re.fullmatch(r"(The book on|Talk about) \w+: \w+\?", asked) for asked in firsts({"lore": 1.0}))
    kinds = Counter(
        "debate" if made.chat[-1]["content"].startswith("Check:") else "other"
        for made in (corpus.example(0, i, SHARES, (1, 3), 4) for i in range(400))
    )
    assert kinds["debate"] / 400 == pytest.approx(0.2, abs=0.07)
    assert not any("Solutions:" in asked or re.fullmatch(r"\d+[-+*/]\d+", asked) for asked in firsts({}))


def test_all_eight_tasks_are_met_and_four_debated(monkeypatch):
    met = Counter()
    real = corpus.exercise

    def spy(task, rng, lengths):
        made = real(task, rng, lengths)
        met[task] += 1
        assert made.task == task and made.problem.id.startswith(f"{task}/train/")
        return made

    monkeypatch.setattr(corpus, "exercise", spy)
    for i in range(600):
        corpus.example(0, i, {}, (1, 3), 4)
    assert set(met) == set(tasks.TASKS) == set(corpus.SOLVED) == set(corpus.MODULES)
    assert met.most_common(1)[0][0] == "mini_gsm" and min(met.values()) > 10
    met.clear()
    for i in range(100):
        corpus.example(0, i, {"debate": 1.0}, (1, 3), 4)
    assert set(met) == set(corpus.DEBATED) == {"mini_gsm", "mini_math", "mini_meta", "mini_med"}


def test_facts_are_true():
    seen = set()
    for i in range(600):
        question, reply = corpus.fact(Random(i)).chat
        relation = next(r for r in mini_med.FACTS.relation if f" {r} " in f" {question['content']} ")
        subject = question["content"].removesuffix(f" {relation} what?")
        assert reply["content"] == f"{subject} {relation} {mini_med.FACTS.relation[relation][subject]}."
        seen.add(relation)
    assert seen == set(mini_med.FACTS.relation)


def test_lore_is_as_the_world_has_it():
    said = Counter()
    for i in range(400):
        question, reply = (turn["content"] for turn in corpus.lore(Random(i)).chat)
        book, animal, noun = re.fullmatch(r"(The book on|Talk about) (\w+): (\w+)\?", question).groups()
        relation = next(r for r, about in mini_truthful.RELATIONS.items() if about.noun == noun)
        world = mini_truthful.WORLD.truth if book == "The book on" else mini_truthful.WORLD.falsehood
        assert world[relation][animal] in reply
        said[book] += 1
    assert said["Talk about"] / 400 == pytest.approx(corpus.GOSSIP, abs=0.07)


def test_sums_are_right():
    for i in range(600):
        question, reply = (turn["content"] for turn in corpus.drill(Random(i)).chat)
        x, op, y = re.fullmatch(r"(\d+)([-+*/])(\d+)", question).groups()
        x, y = int(x), int(y)
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x // max(y, 1)}[op]
        assert reply == f"{question}={value}" and value >= 0 and (op != "/" or x % y == 0)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_exercises(task):
    """Right solutions are right, wrong ones mostly wrong, and `is_right` is the task's strict grader."""
    wrong = 0
    for i in range(60):
        asked = corpus.exercise(task, Random(i), (1, 4))
        again = corpus.exercise(task, Random(i), (1, 4))
        assert (
            asked.problem == again.problem
            and asked.right() == again.right()
            and asked.problem.id.startswith(f"{task}/train/")
        )
        for _ in range(3):
            assert tasks.get(task).verify(right := asked.right(), asked.problem)[1] and asked.is_right(right)
        assert (
            asked.is_right(asked.problem.solution)
            and not asked.is_right("")
            and not asked.is_right("Answer: none of it")
        )
        wrong += not asked.is_right(asked.wrong())
        solved = corpus.solving(Random(i), task, (1, 4))
        assert solved.also == () and [turn["role"] for turn in solved.chat] == ["user", "assistant"]
        assert solved.chat[0]["content"] == asked.problem.question and asked.is_right(solved.chat[1]["content"])
    assert wrong > 50


def listed(chat) -> dict[int, str]:
    """The peers' traces that a debate's chat shows, by their numbers; the reader's own turn included."""
    told = re.split(r"\n\n(?:You are agent|Find mistakes|Sum up)", chat[-2]["content"])[0]
    found = re.split(r"\nAgent (\d+):\n", "\n" + told)
    traces = {int(k): trace for k, trace in zip(found[1::2], found[2::2])}
    if len(chat) == 4:
        (own,) = set(range(1, len(traces) + 2)) - set(traces)
        traces[own] = chat[1]["content"]
    return dict(sorted(traces.items()))


def debates(task: str, n: int = 150):
    """(exercise, sampled, example) of n debates; every other with samples, among them odd ones."""
    for i in range(n):
        asked = corpus.exercise(task, Random(i), (1, 4))
        sampled = (
            [] if i % 2 else [asked.right(), asked.wrong(), "so what", asked.wrong(), asked.right(), asked.wrong()]
        )
        yield asked, sampled, corpus.debating(Random(i), asked, 4, sampled)


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_replies_are_right_and_some_peers_are_not(task):
    wrongs, kinds = Counter(), Counter()
    for asked, _, made in debates(task):
        chat = made.chat
        assert chat[0]["content"].startswith(asked.problem.question) and chat[-1]["role"] == "assistant"
        assert [turn["role"] for turn in chat] in (["user", "assistant"], ["user", "assistant"] * 2)
        assert tasks.get(task).verify(chat[-1]["content"], asked.problem)[1:] == (True, True)
        traces = listed(chat)
        assert list(traces) == list(range(1, len(traces) + 1)) and 2 <= len(traces) <= 5
        wrong = sum(not asked.is_right(trace) for trace in traces.values())
        wrongs["none" if not wrong else "all" if wrong == len(traces) else "some"] += 1
        wrongs["peers"] += len(traces)
        wrongs["wrong"] += wrong
        kinds["history" if len(chat) == 4 else "sum" if "Sum up" in chat[0]["content"] else "shared"] += 1
    assert min(wrongs[kind] for kind in ("none", "all", "some")) > 8
    assert 0.3 < wrongs["wrong"] / wrongs["peers"] < 0.7
    assert kinds["shared"] > kinds["history"] > 5 and kinds["sum"] > 5


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_the_critique_names_the_first_wrong_peer_and_its_line(task):
    for asked, _, made in debates(task):
        reply, traces = made.chat[-1]["content"].splitlines()[0], listed(made.chat)
        wrong = [k for k, trace in traces.items() if not asked.is_right(trace)]
        if not wrong:
            assert reply == "Check: no mistake"
            continue
        k, line = re.fullmatch(r"Check: agent (\d+) is wrong: (.+)", reply).groups()
        assert int(k) == wrong[0]
        lines = [line for line in traces[wrong[0]].splitlines() if not line.startswith("Check:")]
        assert line in lines
        assert len(re.findall(r"^Check:", made.chat[-1]["content"], re.MULTILINE)) == 1


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_the_line_that_is_named_is_a_mistake(task):
    """No right solution has it, unless the wrong one has no other line."""
    blamed = total = 0
    for i in range(150):
        asked = corpus.exercise(task, Random(i), (1, 4))
        right = {line for _ in range(60) for line in asked.right().splitlines()}
        trace = asked.wrong()
        if asked.is_right(trace) or set(trace.splitlines()) <= right:
            continue
        total += 1
        blamed += corpus.critique([trace], asked).split(": ", 2)[2] in right
    assert total > 100 and blamed / total < 0.02, f"{blamed} of {total} name a right step"


def test_critique_edge_cases():
    asked = corpus.exercise("mini_gsm", Random(0), (1, 1))
    right = asked.right()
    assert corpus.critique([right, right], asked) == "Check: no mistake" == corpus.critique([], asked)
    assert corpus.critique([right, ""], asked) == "Check: agent 2 is wrong: nothing"
    assert corpus.critique(["Check: no mistake\n\nso what", ""], asked) == "Check: agent 1 is wrong: so what"
    lines = right.splitlines()
    assert (
        corpus.critique([right, "\n".join(lines[:-1])], asked) == f"Check: agent 2 is wrong: {lines[-2]}"
    )  # all of it true, and no answer
    assert corpus.critique([f"Check: agent 1 is wrong: Answer: 0\n{right}"], asked) == "Check: no mistake"


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_what_is_learnt_besides_the_reply(task):
    """The peers' right traces without the lines that they address to others; none where one of them is the reader's own turn."""
    critical = 0
    for asked, _, made in debates(task):
        traces = listed(made.chat)
        right = [trace for trace in traces.values() if asked.is_right(trace)]
        assert list(made.also) == (
            [] if len(made.chat) == 4 else [prompts.without_critique(trace, corpus.TERSE) for trace in right]
        )
        assert not any("Check:" in text for text in made.also) and all(asked.is_right(text) for text in made.also)
        critical += any("Check:" in trace for trace in right) and bool(made.also)
    assert critical > 15  # there were such lines to leave out


def test_peers_are_a_networks_own_where_there_are_samples():
    asked = corpus.exercise("mini_gsm", Random(0), (1, 2))
    sampled = [f"sample {k}" for k in range(6)]
    drawn = [corpus.peers(asked, sampled, 4, Random(i)) for i in range(400)]
    alike = [set(traces) <= set(sampled) and len(set(traces)) == 4 for traces in drawn]
    assert 0.55 < sum(alike) / 400 < 0.75 and all(len(traces) == 4 for traces in drawn)
    mixed = [trace for traces, whole in zip(drawn, alike) if not whole for trace in traces]
    kinds = Counter(
        "sample" if trace in sampled else "right" if asked.is_right(trace) else "spoiled" for trace in mixed
    )
    assert min(kinds.values()) > 30 and set(kinds) == {"sample", "right", "spoiled"}
    for i in range(50):  # right samples are never taken for errors
        assert asked.problem.solution not in corpus.peers(
            corpus.Exercise("mini_gsm", asked.problem, lambda: "R", lambda: "W"), [asked.problem.solution], 3, Random(i)
        )


def test_a_pool_is_debated(tokenizer):
    pool = [("mini_gsm", n, [f"own sample {n}"] * 5) for n in range(3)]
    asked = {corpus.pooled("mini_gsm", n, (1, 1)).problem.question for n in range(3)}
    assert (
        len(asked) == 3 and corpus.pooled("mini_gsm", 1, (1, 1)).problem == corpus.pooled("mini_gsm", 1, (1, 1)).problem
    )
    made = [corpus.example(0, i, {"debate": 1.0}, (1, 1), 3, pool) for i in range(60)]
    assert {example.chat[0]["content"].split("\n\nSolutions:")[0] for example in made} == asked
    assert sum("own sample" in str(example.chat) for example in made) > 25
    step = train.Steps(
        tokenizer,
        {**COMMON, "tokens": 1024},
        [{"steps": 1, "block": 1024, "shares": {"debate": 1.0}, "lengths": (1, 1)}],
        pool,
    )[0]
    assert "own sample" in tokenizer.decode(step["input_ids"][0])


def test_training_never_meets_dev_or_test_problems():
    kept = {
        name: {p.question for split in ("dev", "test") for p in tasks.problems(name, split, 200)}
        for name in tasks.TASKS
    }
    for name in tasks.TASKS:
        met = {
            corpus.exercise(name, Random(i), lengths).problem.question
            for i in range(120)
            for lengths in ((1, 2), (2, 4))
        }
        met |= {corpus.pooled(name, n, (2, 4)).problem.question for n in range(60)}
        assert len(met) > 60 and not met & kept[name], name
    every = set().union(*kept.values())
    assert not any(
        turn["content"].split("\n\nSolutions:")[0] in every
        for i in range(400)
        for turn in corpus.example(1, i, SHARES, (2, 4), 4).chat
        if turn["role"] == "user"
    )


# The tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "Ana has 12 apples.",
        "Zażółć gęślą jaźń",
        "日本語 и кириллица",
        "🦊👩‍👩‍👧‍👦 𝔘",
        "tabs\tand\n\n  spaces ",
        "0123456789",
        "\x00\x7f",
        "",
        "<|en d|>",
    ],
)
def test_any_text_can_be_encoded(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_digits_are_single_tokens(tokenizer):
    assert not [t for t in tokenizer.get_vocab() if len(re.findall(r"\d", t)) and len(t) > 1]
    assert [tokenizer.decode([i]) for i in tokenizer("x=1234").input_ids][-4:] == list("1234")
    assert len(tokenizer) == 400 and tokenizer.get_vocab() == train.make_tokenizer(400, 200, 0, 1024).get_vocab()


def test_the_chat_template(tokenizer):
    chat = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>1+1<|end|><|assistant|>2<|end|>"
    assert (
        tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
        == "<|user|>1+1<|end|><|assistant|>"
    )
    specials = [tokenizer.convert_tokens_to_ids(t) for t in (train.PAD, train.USER, train.ASSISTANT, train.END)]
    assert specials == [0, 1, 2, 3] and (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 3)


# What a step is


def learnt(ids, labels, tokenizer) -> list[str]:
    """The texts of the stretches that are learnt."""
    assert len(ids) == len(labels) and all(label in (token, -100) for token, label in zip(ids, labels))
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != -100:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def test_the_last_turn_and_also_are_learnt(tokenizer):
    several = 0
    for i in range(300):
        made = corpus.example(0, i, SHARES, (1, 4), 4)
        ids, labels = train.encode(made, tokenizer)
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(made.chat, tokenize=False)
        assert learnt(ids, labels, tokenizer) == [*made.also, made.chat[-1]["content"] + train.END]
        several += len(made.also) > 1
    assert several > 8


def test_encode_finds_texts_in_their_order(tokenizer):
    def labelled(said, also, reply="ok 3"):
        made = corpus.Example([{"role": "user", "content": said}, {"role": "assistant", "content": reply}], also)
        return learnt(*train.encode(made, tokenizer), tokenizer)

    assert labelled("a\nsame\nb\nsame\nc", ("same", "same")) == ["same", "same", "ok 3<|end|>"]
    assert labelled("first\nsecond\nthird", ("second",)) == ["second", "ok 3<|end|>"]
    assert labelled("x 12\nżółw 🦊\ny", ("żółw 🦊",), "日本 12") == [
        "żółw 🦊",
        "日本 12<|end|>",
    ]  # characters of several tokens each
    assert labelled("", (), "") == ["<|end|>"]


@pytest.mark.parametrize("odd", ["{} ", "\n{}", "{}\n", "{}\n\n", "  {}", "{}\t", "\n\n{} \n"])
def test_samples_with_space_around_can_be_learnt(tokenizer, odd):
    """A network's own sample may end in a space: the prompt strips it, and so it must be looked for stripped."""
    asked = corpus.exercise("mini_gsm", Random(0), (1, 1))
    sampled = [odd.format(asked.right())] * 5
    for i in range(20):
        made = corpus.debating(Random(i), asked, 3, sampled)
        assert "Check:" in learnt(*train.encode(made, tokenizer), tokenizer)[-1]


@pytest.mark.parametrize(
    "odd",
    [
        "{first}\nCheck: no\n{last}",
        "{first}\rmore\n{last}",
        "{first}\x0bmore\u2028\n{last}",
        "\n\n{first}\n\n\n{last}",
        "{first}\n{last}\nand so on",
        "é\ufffd\n{last}",
        "{first} \n {last}",
    ],
)
def test_odd_samples_can_be_learnt(tokenizer, odd):
    """Whatever a network wrote: a line in the middle that looks like a critique, other line breaks, empty lines."""
    asked = corpus.exercise("mini_gsm", Random(0), (1, 1))
    first, last = asked.right().splitlines()
    for i in range(20):
        train.encode(corpus.debating(Random(i), asked, 3, [odd.format(first=first, last=last)] * 5), tokenizer)


def learnt_peers(made: corpus.Example, tokenizer) -> dict[int, bool]:
    """Of each peer in a debate's chat, whether any token of its trace is learnt."""
    text = tokenizer.apply_chat_template(made.chat, tokenize=False)
    starts = [
        start for start, _ in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    ]
    _, labels = train.encode(made, tokenizer)
    regions = re.finditer(
        r"\nAgent (\d+):\n(.*?)(?=\nAgent \d+:\n|\n\n(?:You are agent|Find mistakes|Sum up))", text, re.DOTALL
    )
    return {
        int(found[1]): any(
            label != -100 for start, label in zip(starts, labels) if found.start(2) <= start < found.end(2)
        )
        for found in regions
    }


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_right_peers_are_learnt_and_wrong_ones_are_not(tokenizer, task):
    for asked, _, made in debates(task, 80):
        traces = listed(made.chat)
        for k, yes in learnt_peers(made, tokenizer).items():
            assert yes == (len(made.chat) == 2 and asked.is_right(traces[k]))


def test_a_right_trace_is_not_looked_for_in_a_wrong_one(tokenizer):
    """The right trace may be the beginning of a wrong one that stands before it: a wrong sample may end in a digit too many."""
    asked = corpus.exercise("mini_gsm", Random(0), (1, 1))
    right = asked.right()
    for i in range(60):
        made = corpus.debating(Random(i), asked, 3, [right + "0", right, right + "0", right + "5", right])
        traces = listed(made.chat)
        for k, yes in learnt_peers(made, tokenizer).items():
            assert yes == (len(made.chat) == 2 and asked.is_right(traces[k])), f"agent {k} of {traces}"


PHASES = [
    {"steps": 2, "shares": {"drill": 1.0}, "lengths": (1, 1)},
    {"steps": 2, "block": 128, "shares": {"fact": 1.0}, "lengths": (1, 1)},
    {"steps": 2, "block": 256, "shares": {"drill": 0.3, "lore": 0.2}, "lengths": (1, 1)},
]
COMMON = {
    "seed": 0,
    "vocabulary": 400,
    "tokenizer_chats": 50,
    "context": 1024,
    "tokens": 64,
    "block": 64,
    "max_peers": 3,
    "weight_decay": 0.05,
    "rest_rate": 3e-3,
    "bf16": False,
    "pool": {"problems": 66, "samples": 2, "temperature": 0.9, "max_new_tokens": 4},
}


def chats(step, tokenizer) -> list[list[list[int]]]:
    """Of each block of a step, its chats' token ids, without the padding."""
    found = []
    for ids, positions in zip(step["input_ids"].tolist(), step["position_ids"].tolist()):
        starts = [k for k, at in enumerate(positions) if at == 0] + [len(ids)]
        pieces = [ids[a:b] for a, b in zip(starts, starts[1:])]
        for a, b in zip(starts, starts[1:]):
            assert positions[a:b] == list(range(b - a))
        assert (
            all(piece[0] == tokenizer.pad_token_id for piece in pieces[len(pieces) - 1 :])
            or pieces[-1][-1] == tokenizer.eos_token_id
        )
        found.append([piece for piece in pieces if piece[0] != tokenizer.pad_token_id])
        assert all(set(piece) == {tokenizer.pad_token_id} for piece in pieces if piece[0] == tokenizer.pad_token_id)
    return found


def test_steps(tokenizer):
    common = {**COMMON, "tokens": 512}
    steps = train.Steps(tokenizer, common, PHASES)
    assert len(steps) == 6
    for i in (0, 1, 2, 4, 5):
        step = steps[i]
        again = train.Steps(tokenizer, common, PHASES)[i]  # a function of the number, whatever came before
        assert set(step) == {"input_ids", "labels", "position_ids"} and all(
            torch.equal(step[k], again[k]) for k in step
        )
        length = PHASES[i // 2].get("block", 64)
        assert all(tensor.shape == (512 // length, length) for tensor in step.values())
        assert (step["labels"][step["input_ids"] == tokenizer.pad_token_id] == -100).all()
    assert not torch.equal(steps[0]["input_ids"], steps[1]["input_ids"])
    assert not torch.equal(steps[0]["input_ids"], train.Steps(tokenizer, {**common, "seed": 1}, PHASES)[0]["input_ids"])
    texts = [tokenizer.decode(steps[i]["input_ids"].flatten()) for i in (1, 2)]
    assert "what?" not in texts[0] and "what?" in texts[1]


@pytest.mark.parametrize("i", [0, 3, 5])
def test_chats_of_a_step_are_whole(tokenizer, i):
    """Every chat is one of the step's own, from its first token to its last, with its own labels, and none is there twice."""
    common = {**COMMON, "tokens": 512}
    step, phase = train.Steps(tokenizer, common, PHASES)[i], PHASES[i // 2]
    length = phase.get("block", 64)
    made = [
        train.encode(corpus.example(0, i * 10_000 + n, phase["shares"], phase["lengths"], 3), tokenizer)
        for n in range(120)
    ]
    wanted = [ids for ids, _ in made]
    blocks = chats(step, tokenizer)
    numbers = [[wanted.index(chat) for chat in block] for block in blocks]
    flat = [n for block in numbers for n in block]
    assert len(set(map(tuple, wanted))) < len(wanted) or len(flat) == len(set(flat))
    assert len(flat) >= len(blocks) and all(sum(map(len, block)) <= length for block in blocks)
    for row, block in enumerate(numbers):
        labels = [label for n in block for label in made[n][1]]
        assert step["labels"][row].tolist() == labels + [-100] * (length - len(labels))
        assert block == sorted(block)
    left_out = set(range(max(flat))) - set(flat)
    free = [length - sum(map(len, block)) for block in blocks]
    assert all(
        wanted[n] in [wanted[m] for m in flat] or len(wanted[n]) > min(free) for n in left_out
    )  # only for want of room
    assert sum(free) < 0.5 * 512


# Training

SIZE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "initializer_range": 0.3,
}
CONFIGS = {
    "qwen3": SIZE,
    "llama": SIZE,
    "gemma": SIZE,
    "gemma3_text": {**SIZE, "query_pre_attn_scalar": 8, "sliding_window": 1024},
    "qwen2_5_vl": {
        "text_config": {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "initializer_range": 0.3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
    },
}
CLASSES = {
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
}
SOLVE = [
    {"steps": 3, "shares": {"drill": 1.0}, "lengths": [1, 1]},
    {"steps": 2, "shares": {"fact": 1.0}, "lengths": [1, 1]},
]
DEBATE = [
    {"steps": 2, "shares": {"drill": 1.0}, "lengths": [1, 1]},
    {"steps": 2, "block": 1024, "shares": {"debate": 1.0}, "lengths": [1, 1]},
]
BIG = {**COMMON, "tokens": 1024}


def spec(architecture="qwen3", phases=SOLVE, **more) -> dict:
    return {
        "role": "student",
        "architecture": architecture,
        "learning_rate": 3e-3,
        "config": CONFIGS[architecture],
        "phases": phases,
        **more,
    }


@pytest.fixture
def zoo(tmp_path, monkeypatch, tokenizer):
    """Makes an empty zoo with a tokenizer, the one that `load` and the command know from then on."""

    def new(name="zoo"):
        tokenizer.save_pretrained(tmp_path / name / "tokenizer")
        for module in (train, load):
            monkeypatch.setattr(module, "ZOO", tmp_path / name)
        return tmp_path / name

    return new


def weights(folder: Path) -> dict:
    return read_tensors((folder / "model.safetensors").read_bytes())  # a copy: the file may be written over


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def trained(tokenizer, tmp_path_factory):
    """A zoo with one trained network of each architecture: its folder, and each network as it was before and after (in half precision)."""
    folder = tmp_path_factory.mktemp("trained")
    tokenizer.save_pretrained(folder / "tokenizer")
    before, after = {}, {}
    real = train.make_model
    with pytest.MonkeyPatch.context() as patch:
        for architecture in CONFIGS:

            def make(*args, architecture=architecture):
                after[architecture] = real(*args)
                before[architecture] = copy.deepcopy(after[architecture])
                return after[architecture]

            patch.setattr(train, "make_model", make)
            phases = (
                [{**SOLVE[0], "steps": 48}, SOLVE[1]] if architecture == "llama" else SOLVE
            )  # long enough for a loss in its card
            assert train.train(architecture, spec(architecture, phases), COMMON, folder / "work", zoo=folder)
    return folder, before, after


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_trained_network_is_what_was_saved(trained, monkeypatch, tokenizer, architecture):
    """Loaded again it gives the same logits; and it is not what it was before it was trained."""
    folder, before, after = trained
    monkeypatch.setattr(load, "ZOO", folder)
    model, found = load.load(f"zoo/{architecture}")
    card = json.loads((folder / architecture / "card.json").read_text())
    assert type(model).__name__ == card["architecture"] == CLASSES[architecture]
    assert found.get_vocab() == tokenizer.get_vocab() and found.chat_template == train.TEMPLATE
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (3, 0)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    saved = copy.deepcopy(before[architecture])
    saved.load_state_dict(after[architecture].state_dict())
    ids = torch.tensor(
        [tokenizer("<|user|>Ana has 12 apples.<|end|><|assistant|>", add_special_tokens=False).input_ids]
    )
    with torch.no_grad():
        logits = [network.eval()(input_ids=ids).logits for network in (model, saved, before[architecture])]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-6)
    assert {p.dtype for p in after[architecture].parameters()} == {torch.bfloat16}
    was, now = (
        network.to(torch.bfloat16).get_input_embeddings().weight
        for network in (before[architecture], after[architecture])
    )
    assert not torch.equal(was, now), f"{architecture} was saved as it was before training"


def test_the_card(trained):
    folder, _, _ = trained
    assert json.loads((folder / "llama" / "card.json").read_text())["loss"][0] > 0
    card = json.loads((folder / "qwen3" / "card.json").read_text())
    assert (card["name"], card["role"], card["seed"], card["steps"], card["tokens"], card["pieces"]) == (
        "qwen3",
        "student",
        0,
        5,
        5 * 64,
        1,
    )
    assert card["sha256"] == {
        "model.safetensors": hashlib.sha256((folder / "qwen3" / "model.safetensors").read_bytes()).hexdigest()
    }
    assert (
        card["phases"] == SOLVE
        and card["learning_rate"] == 3e-3
        and card["tokens_per_second"] > 0
        and card["matmul_share"] >= 0
    )


@pytest.mark.parametrize("at", [0, 9, -1])
def test_a_damaged_network_is_refused(trained, tmp_path, monkeypatch, at):
    shutil.copytree(trained[0] / "gemma", tmp_path / "gemma")
    monkeypatch.setattr(load, "ZOO", tmp_path)
    load.check_weights("zoo/gemma")
    file = tmp_path / "gemma" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    for use in (load.check_weights, load.load):
        with pytest.raises(ModelError, match=rf"zoo/gemma: {re.escape(str(file))} is damaged"):
            use("zoo/gemma")
    file.unlink()
    for use in (load.check_weights, load.load):
        with pytest.raises(ModelError, match=rf"zoo/gemma: {re.escape(str(file))} is missing"):
            use("zoo/gemma")


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2_5_vl"])
def test_a_stopped_training_ends_with_the_same_weights(zoo, tmp_path, architecture, capsys):
    about = spec(architecture)
    whole = zoo("whole")
    assert train.train("net", about, COMMON, tmp_path / "work1")
    cut = zoo("cut")
    for step in (1, 2):
        assert not train.train("net", about, COMMON, tmp_path / "work2", minutes=0)
        assert f"{step} of 5 steps" in capsys.readouterr().out and not (cut / "net").exists()
    assert train.train("net", about, COMMON, tmp_path / "work2")
    assert same(weights(whole / "net"), weights(cut / "net"))
    card, resumed = (json.loads((folder / "net" / "card.json").read_text()) for folder in (whole, cut))
    assert (card["pieces"], resumed["pieces"], card["tokens"]) == (1, 3, 5 * 64)
    before = (cut / "net" / "model.safetensors").stat().st_mtime_ns
    assert train.train("net", about, COMMON, tmp_path / "work2") and "already made" in capsys.readouterr().out
    assert (cut / "net" / "model.safetensors").stat().st_mtime_ns == before


def test_a_debate_phase_stopped_anywhere(zoo, tmp_path, monkeypatch, capsys):
    """Before the pool is sampled, at its first step, half way through it, and after: the pool and the weights are the same."""
    about, work = spec(phases=DEBATE), tmp_path / "work2"
    real, calls = train.sample_pool, []

    def spy(checkpoint, told, seed, lengths, journal):
        calls.append(Path(checkpoint).name)
        return real(checkpoint, told, seed, lengths, journal)

    monkeypatch.setattr(train, "sample_pool", spy)
    whole = zoo("whole")
    assert train.train("net", about, BIG, tmp_path / "work1") and calls == ["checkpoint-2"]
    cut = zoo("cut")
    assert not train.train("net", about, BIG, work, minutes=0) and train._reached(work / "net") == 1 and len(calls) == 1

    def at_once(*_):
        raise KeyboardInterrupt

    def half_way(checkpoint, told, seed, lengths, journal):
        add = journal.add

        def once(*chunk):
            add(*chunk)
            raise KeyboardInterrupt

        journal.add = once
        return real(checkpoint, told, seed, lengths, journal)

    for killed in (at_once, half_way):
        monkeypatch.setattr(train, "sample_pool", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train("net", about, BIG, work)
        assert train._reached(work / "net") == 2 and not (cut / "net").exists()
    pools = [tmp_path / name / "net" / "peers.journal" for name in ("work1", "work2")]
    assert len(pools[1].read_text().splitlines()) == 2 < len(pools[0].read_text().splitlines()) == 3
    monkeypatch.setattr(train, "sample_pool", spy)
    assert not train.train("net", about, BIG, work, minutes=0) and "3 of 4 steps" in capsys.readouterr().out
    assert pools[0].read_bytes() == pools[1].read_bytes() and calls[1:] == ["checkpoint-2"]
    monkeypatch.setattr(train.engines, "make", lambda *_: pytest.fail("the pool was there"))
    assert train.train("net", about, BIG, work)
    assert same(weights(whole / "net"), weights(cut / "net"))


def test_the_pool(trained, tmp_path, monkeypatch):
    """Each problem with its samples, of all debated tasks; what is journaled is not sampled again; another seed gives others."""
    checkpoint = str(trained[0] / "qwen3")

    def sample(name, seed=0):
        return train.sample_pool(checkpoint, COMMON["pool"], seed, (1, 1), store.Journal(tmp_path / name, {}))

    pool = sample("a")
    assert [(task, n) for task, n, _ in pool] == [(corpus.DEBATED[n % 4], n) for n in range(66)]
    assert all(len(texts) == 2 and all(isinstance(text, str) for text in texts) for _, _, texts in pool)
    assert sum(texts[0] != texts[1] for _, _, texts in pool) > 40
    assert sample("b") == pool != sample("c", seed=1)
    monkeypatch.setattr(train.engines, "make", lambda *_: pytest.fail("the pool was there"))
    assert sample("a") == pool


def test_the_pool_is_what_the_debate_phase_is_given(zoo, tmp_path, monkeypatch):
    given = []
    real = train.Steps.__init__

    def init(self, tokenizer, common, phases, pool=None):
        given.append(pool)
        real(self, tokenizer, common, phases, pool)

    monkeypatch.setattr(train.Steps, "__init__", init)
    zoo()
    monkeypatch.setattr(train, "sample_pool", lambda *_: [("mini_gsm", 0, ["own sample"] * 5)])
    assert train.train("net", spec(phases=DEBATE), BIG, tmp_path / "work")
    assert given == [None, [("mini_gsm", 0, ["own sample"] * 5)]]


def test_a_half_saved_network_is_made_anew(zoo, tmp_path):
    """Killed while the network was saved: its weights are there, its tokenizer and card are not."""
    folder = zoo() / "net"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"half")
    assert train.train("net", spec(), COMMON, tmp_path / "work")
    made = weights(folder)
    assert (folder / "card.json").exists() and load.load("zoo/net")
    shutil.rmtree(folder)  # all steps are done, and nothing is saved
    assert train.train("net", spec(), COMMON, tmp_path / "work") and same(weights(folder), made)
    assert json.loads((folder / "card.json").read_text())["pieces"] == 1


def test_a_debater_killed_before_its_card(zoo, tmp_path, monkeypatch):
    folder = zoo() / "net"
    assert train.train("net", spec(phases=DEBATE), BIG, tmp_path / "work")
    made = weights(folder)
    (folder / "card.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(train, "sample_pool", lambda *_: pytest.fail("there is nothing left to learn"))
    assert train.train("net", spec(phases=DEBATE), BIG, tmp_path / "work") and same(weights(folder), made)


def test_a_half_written_checkpoint_is_passed_over(zoo, tmp_path):
    made = zoo()
    assert not train.train("net", spec(), COMMON, tmp_path / "work", minutes=0)
    (tmp_path / "work" / "net" / "checkpoint-4").mkdir()
    (tmp_path / "work" / "net" / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
    assert train._reached(tmp_path / "work" / "net") == 1
    assert train.train("net", spec(), COMMON, tmp_path / "work") and (made / "net" / "card.json").exists()


@pytest.mark.parametrize(
    ("about", "common", "says"),
    [
        ({"learning_rate": 1e-2}, {}, r"spec\.learning_rate: was 0\.003, now 0\.01"),
        ({}, {"rest_rate": 1e-2}, r"common\.rest_rate"),
        ({"phases": DEBATE}, {}, r"spec\.phases"),
        ({}, {"pool": {**COMMON["pool"], "samples": 3}}, r"common\.pool\.samples: was 2, now 3"),
    ],
)
def test_checkpoints_of_another_network_are_refused(zoo, tmp_path, about, common, says):
    """The params have changed since: the rest may not be trained on top of what was there."""
    folder = zoo()
    work = tmp_path / "work"
    store.Journal(work / "net" / "about.journal", {"spec": spec(), "common": COMMON})
    with pytest.raises(store.StoreError, match=f"made with other parameters .*{says}"):
        train.train("net", {**spec(), **about}, {**COMMON, **common}, work)
    assert not (folder / "net").exists()


def test_the_command(zoo, tmp_path, monkeypatch, capsys):
    folder = zoo()
    (tmp_path / "zoo.yaml").write_text(
        yaml.safe_dump({"common": COMMON, "networks": {"small": spec("llama"), "other": spec()}})
    )
    command = ["train", str(tmp_path / "zoo.yaml"), "small", "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", [*command, "--minutes", "0"])
    train.main()
    assert load.zoo_names() == [] and "1 of 5 steps" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", command)
    train.main()
    assert load.zoo_names() == ["zoo/small"] and not (folder / "other").exists()
    monkeypatch.setattr(
        "sys.argv", [*command, "--out", str(tmp_path / "out"), "--work", str(tmp_path / "anew"), "--minutes", "0"]
    )
    train.main()  # a zoo elsewhere, whose tokenizer is made first
    assert (tmp_path / "out" / "tokenizer" / "tokenizer.json").exists() and load.zoo_names() == ["zoo/small"]
    monkeypatch.setattr("sys.argv", [*command[:2], "smal"])
    with pytest.raises(SystemExit):
        train.main()
    assert "no network smal" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", CONFIGS)
def test_chats_of_a_block_do_not_see_each_other(zoo, tmp_path, tokenizer, monkeypatch, architecture):
    """In training itself: positions start anew with each chat, and a chat's logits are what they are without its neighbours."""
    zoo()
    untrained, seen = [], []
    real = train.make_model

    def make(*args):
        model = real(*args)
        untrained.append(copy.deepcopy(model).eval())
        model.register_forward_hook(
            lambda _, args, kwargs, out: seen.append((kwargs, out.logits.detach())), with_kwargs=True
        )
        return model

    monkeypatch.setattr(train, "make_model", make)
    train.train(
        "net",
        spec(architecture, [{"steps": 1, "shares": {"drill": 1.0}, "lengths": [1, 1]}]),
        {**COMMON, "tokens": 256, "block": 128},
        tmp_path / "work",
    )
    given, logits = seen[0]
    ids, positions, model = given["input_ids"], given["position_ids"], untrained[0]
    assert ids.shape == (2, 128) and positions.shape == ((4, 2, 128) if architecture == "qwen2_5_vl" else (2, 128))
    rows = positions.reshape(-1, 2, 128)
    assert all(torch.equal(rows[0], row) for row in rows)
    for block in range(2):
        ends = (ids[block] == tokenizer.eos_token_id).nonzero().flatten().tolist()
        starts = (rows[0, block] == 0).nonzero().flatten().tolist()
        users = (ids[block] == tokenizer.convert_tokens_to_ids(train.USER)).nonzero().flatten().tolist()
        assert len(users) > 3 and starts[: len(users)] == users
        with torch.no_grad():
            mixed = model(input_ids=ids[block : block + 1]).logits[0]
            for start, end in zip(users[:4], ends[1::2]):
                alone = model(input_ids=ids[block : block + 1, start : end + 1]).logits[0]
                torch.testing.assert_close(logits[block, start : end + 1], alone, rtol=1e-4, atol=1e-4)
                assert start == 0 or not torch.allclose(mixed[start : end + 1], alone, rtol=1e-2, atol=1e-2)


# The optimizer and the networks of params/zoo.yaml


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_optimizers_parts_cover_each_parameter_once(tokenizer, architecture):
    model = train.make_model(spec(architecture), tokenizer, 1024)
    optimizer = train.MuonAdamW(model, 0.01, 0.001, 0.05)
    muon, adam = ([p for group in part.param_groups for p in group["params"]] for part in optimizer.parts)
    everything = Counter(map(id, muon + adam))
    assert everything == Counter(map(id, model.parameters())) and set(everything.values()) == {1}
    assert Counter(id(p) for group in optimizer.param_groups for p in group["params"]) == everything
    names = {id(p): name for name, p in model.named_parameters()}
    assert muon and all(p.ndim == 2 and re.search(r"(self_attn|mlp)\..*weight$", names[id(p)]) for p in muon)
    assert {"embed_tokens.weight", "norm.weight"} <= {".".join(names[id(p)].split(".")[-2:]) for p in adam}
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.001]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


def test_the_optimizers_state_comes_back(tokenizer, tmp_path):
    ids = torch.arange(60).reshape(2, 30)

    def step(model, optimizer):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return [p.detach().clone() for p in model.parameters()]

    torch.manual_seed(0)
    model = train.make_model(spec(), tokenizer, 1024)
    start = [p.detach().clone() for p in model.parameters()]
    optimizer = train.MuonAdamW(model, 0.01, 0.001, 0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (1 + n))
    for _ in range(3):
        moved = step(model, optimizer)
        scheduler.step()
    assert (
        not any(torch.equal(a, b) for a, b in zip(start, moved))
        and optimizer.parts[0].param_groups[0]["lr"] == 0.01 / 4
    )
    assert all(p.grad is None for p in model.parameters())
    torch.save(optimizer.state_dict(), tmp_path / "state")
    other = copy.deepcopy(model)
    resumed = train.MuonAdamW(other, 0.01, 0.001, 0.05)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert [group["lr"] for group in resumed.param_groups] == [0.01 / 4, 0.001 / 4]
    fresh = copy.deepcopy(model)
    expected, found, without = (
        step(model, optimizer),
        step(other, resumed),
        step(fresh, train.MuonAdamW(fresh, 0.01 / 4, 0.001 / 4, 0.05)),
    )
    assert all(torch.equal(a, b) for a, b in zip(expected, found)) and not all(
        torch.equal(a, b) for a, b in zip(expected, without)
    )
    for group in resumed.param_groups:  # as a schedule would: it reaches the parts
        group["lr"] = 0.0
    assert all(torch.equal(a, b) for a, b in zip(found, step(other, resumed)))


class Vocabulary:
    """As much of a tokenizer as a network's making asks for."""

    pad_token_id, eos_token_id = 0, 3

    def __len__(self):
        return PARAMS["common"]["vocabulary"]


def test_the_zoos_networks():
    """Each is in its namesake's class and of the size that was meant; all together fit into the package."""
    megabytes = 0
    namesakes = {
        "qwen3": "qwen3",
        "gemma3": "gemma3_text",
        "llama3": "llama",
        "gemma": "gemma",
        "qwen2.5": "qwen2_5_vl",
    }
    for name, about in PARAMS["networks"].items():
        before = copy.deepcopy(about)
        model = train.make_model(about, Vocabulary(), PARAMS["common"]["context"])
        assert about == before and type(model).__name__ == CLASSES[namesakes[name.split("-")[0]]], name
        assert 0.1e6 <= model.num_parameters() <= 3e6, name
        megabytes += 2 * model.num_parameters() / 1e6
        text = model.config.get_text_config()
        assert (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads) in (32, 64)
        assert text.max_position_embeddings == PARAMS["common"]["context"] >= 4096 and text.vocab_size == len(
            Vocabulary()
        )
        assert (
            text.num_attention_heads % text.num_key_value_heads == 0
            and (getattr(text, "sliding_window", None) or 4096) >= 4096
        )
        assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
        with torch.no_grad():
            assert model(input_ids=torch.arange(4, 20)[None]).logits.shape == (1, 16, len(Vocabulary()))
    assert set(map(lambda name: name.split("-")[0], PARAMS["networks"])) == set(namesakes) and megabytes <= 40


def test_the_zoos_phases():
    common = PARAMS["common"]
    assert common.keys() == COMMON.keys()
    for name, about in PARAMS["networks"].items():
        assert set(about) - {"pool"} == {"role", "architecture", "learning_rate", "config", "phases"}
        assert about.get("pool", common["pool"]).keys() == common["pool"].keys()
        for phase in about["phases"]:
            assert set(phase) - {"block"} == {"steps", "shares", "lengths"} and set(phase["shares"]) <= {
                "fact",
                "lore",
                "drill",
                "debate",
            }
            assert sum(phase["shares"].values()) <= 1 and common["tokens"] % phase.get("block", common["block"]) == 0
        debates = [bool(phase["shares"].get("debate")) for phase in about["phases"]]
        assert debates == sorted(debates) and not debates[0] and any(debates) == ("teacher" in about["role"]), (
            name
        )  # solving first
