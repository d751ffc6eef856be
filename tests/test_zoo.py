"""Training the zoo: its tokenizer, its steps, and a training that is interrupted and resumed."""

import copy
import hashlib
import json
import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load as read_tensors
from test_corpus import debates, listed, phase_of

from agentark import store
from agentark.models import load, names
from agentark.models.load import ModelError
from agentark.tasks import mini
from agentark.zoo import checking, corpus, packing, page, pictures, train
from agentark.zoo.optimizer import MuonAdamW

PARAMS = yaml.safe_load((Path(__file__).resolve().parents[1] / "params" / "zoo.yaml").read_text())


@pytest.fixture(scope="module")
def tokenizer():
    return packing.make_tokenizer(vocab_size=400, chats=200, seed=0, context=1024)


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
    assert len(tokenizer) == 400 and tokenizer.get_vocab() == packing.make_tokenizer(400, 200, 0, 1024).get_vocab()


def test_the_chat_template(tokenizer):
    chat = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>1+1<|end|><|assistant|>2<|end|>"
    assert (
        tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
        == "<|user|>1+1<|end|><|assistant|>"
    )
    vision = (packing.VISION_START, packing.IMAGE, packing.VISION_END)
    specials = [packing.PAD, packing.USER, packing.ASSISTANT, packing.END, *vision]
    assert list(map(tokenizer.convert_tokens_to_ids, specials)) == list(range(7))
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 3)
    picture = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "1+1"}]}, chat[1]]
    text = tokenizer.apply_chat_template(picture, tokenize=False)
    assert text == f"<|user|>{''.join(vision)}1+1<|end|><|assistant|>2<|end|>"
    assert tokenizer(text, add_special_tokens=False).input_ids[1:4] == [4, 5, 6]


# Steps


def learnt_texts(ids, labels, tokenizer) -> list[str]:
    """The texts of the runs of tokens that are learnt."""
    assert len(ids) == len(labels) and all(label in (token, -100) for token, label in zip(ids, labels))
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != -100:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def test_the_last_turn_and_the_texts_of_also_are_learnt(tokenizer):
    several = 0
    for i in range(200):
        example = corpus.example(0, i, phase_of(lengths=(1, 4)), 4)
        ids, labels = packing.encode(example, tokenizer)
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(example.chat, tokenize=False)
        assert learnt_texts(ids, labels, tokenizer) == [*example.also, example.chat[-1]["content"] + packing.END]
        several += len(example.also) > 1
    assert several > 4


def test_encode_finds_texts_in_their_order(tokenizer):
    def labelled(content, also, reply="ok 3"):
        example = corpus.Example([{"role": "user", "content": content}, {"role": "assistant", "content": reply}], also)
        return learnt_texts(*packing.encode(example, tokenizer), tokenizer)

    assert labelled("a\nsame\nb\nsame\nc", ("same", "same")) == ["same", "same", "ok 3<|end|>"]
    assert labelled("first\nsecond\nthird", ("second",)) == ["second", "ok 3<|end|>"]
    assert labelled("x 12\nżółw 🦊\ny", ("żółw 🦊",), "日本 12") == [
        "żółw 🦊",
        "日本 12<|end|>",
    ]  # characters of several tokens each
    assert labelled("", (), "") == ["<|end|>"]


@pytest.mark.parametrize("odd", ["{} ", "\n{}", "{}\n", "{}\n\n", "  {}", "{}\t", "\n\n{} \n"])
def test_samples_with_space_around_can_be_learnt(tokenizer, odd):
    """A network's sample may end in a space: the prompt strips it, so the stripped text must be searched for."""
    exercise = corpus.exercise("mini_gsm", Random(0), (1, 1))
    samples = [odd.format(exercise.right())] * 5
    for i in range(20):
        example = corpus.debating(Random(i), exercise, 3, samples)
        assert "Check:" in learnt_texts(*packing.encode(example, tokenizer), tokenizer)[-1]


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
    """Lines that look like a critique, unusual line breaks, empty lines."""
    exercise = corpus.exercise("mini_gsm", Random(0), (1, 1))
    first, *_, last = exercise.right().splitlines()
    for i in range(20):
        packing.encode(corpus.debating(Random(i), exercise, 3, [odd.format(first=first, last=last)] * 5), tokenizer)


def learnt_peers(example: corpus.Example, tokenizer) -> dict[int, bool]:
    """Whether any token of its trace is learnt, by the number of each peer in the chat of a debate."""
    text = tokenizer.apply_chat_template(example.chat, tokenize=False)
    starts = [
        start for start, _ in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    ]
    _, labels = packing.encode(example, tokenizer)
    regions = re.finditer(
        r"\nAgent (\d+):\n(.*?)(?=\nAgent \d+:\n|\n\n(?:You are|Find mistakes|Sum up|Oppose))", text, re.DOTALL
    )
    return {
        int(match[1]): any(
            label != -100 for start, label in zip(starts, labels) if match.start(2) <= start < match.end(2)
        )
        for match in regions
    }


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_right_peers_are_learnt_and_wrong_ones_are_not(tokenizer, task):
    learnt = Counter()
    for exercise, example in debates(task)[:80]:
        traces = listed(example.chat)
        for k, yes in learnt_peers(example, tokenizer).items():
            assert yes == (len(example.chat) == 2 and not checking.check(k, traces[k], exercise).wrong)
            learnt[yes] += 1
    assert min(learnt[True], learnt[False]) > 40


def test_a_right_trace_is_not_searched_for_in_a_wrong_one(tokenizer):
    """A wrong trace may start with a right one that follows it, if it ends in an additional digit."""
    exercise = corpus.exercise("mini_gsm", Random(0), (1, 1))
    right = exercise.right()
    for i in range(60):
        example = corpus.debating(Random(i), exercise, 3, [right + "0", right, right + "0", right + "5", right])
        traces = listed(example.chat)
        for k, yes in learnt_peers(example, tokenizer).items():
            assert yes == (len(example.chat) == 2 and traces[k] in exercise.solutions), f"agent {k} of {traces}"


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
    """The token ids of the chats in each block of a step, without padding."""
    blocks = []
    for ids, positions in zip(step["input_ids"].tolist(), step["position_ids"].tolist()):
        starts = [k for k, position in enumerate(positions) if position == 0] + [len(ids)]
        pieces = [ids[a:b] for a, b in pairwise(starts)]
        for a, b in pairwise(starts):
            assert positions[a:b] == list(range(b - a))
        assert (
            all(piece[0] == tokenizer.pad_token_id for piece in pieces[len(pieces) - 1 :])
            or pieces[-1][-1] == tokenizer.eos_token_id
        )
        blocks.append([piece for piece in pieces if piece[0] != tokenizer.pad_token_id])
        assert all(set(piece) == {tokenizer.pad_token_id} for piece in pieces if piece[0] == tokenizer.pad_token_id)
    return blocks


def test_steps(tokenizer):
    common = {**COMMON, "tokens": 512}
    steps = packing.Steps(tokenizer, common, PHASES)
    assert len(steps) == 6
    for i in (0, 1, 2, 4, 5):
        step = steps[i]
        again = packing.Steps(tokenizer, common, PHASES)[i]  # a function of the number alone
        assert set(step) == {"input_ids", "labels", "position_ids"} and all(
            torch.equal(step[k], again[k]) for k in step
        )
        length = PHASES[i // 2].get("block", 64)
        assert all(tensor.shape == (512 // length, length) for tensor in step.values())
        assert (step["labels"][step["input_ids"] == tokenizer.pad_token_id] == -100).all()
    assert not torch.equal(steps[0]["input_ids"], steps[1]["input_ids"])
    assert not torch.equal(
        steps[0]["input_ids"], packing.Steps(tokenizer, {**common, "seed": 1}, PHASES)[0]["input_ids"]
    )
    texts = [tokenizer.decode(steps[i]["input_ids"].flatten()) for i in (1, 2)]
    assert "what?" not in texts[0] and "what?" in texts[1]


@pytest.mark.parametrize("i", [0, 3, 5])
def test_chats_of_a_step_are_whole(tokenizer, i):
    """Every chat belongs to the step, from its first token to its last, with its own labels, and none occurs twice."""
    common = {**COMMON, "tokens": 512}
    step, phase = packing.Steps(tokenizer, common, PHASES)[i], PHASES[i // 2]
    length = phase.get("block", 64)
    encoded = [packing.encode(corpus.example(0, i * 10_000 + n, phase, 3), tokenizer) for n in range(120)]
    expected = [ids for ids, _ in encoded]
    blocks = chats(step, tokenizer)
    numbers = [[expected.index(chat) for chat in block] for block in blocks]
    flat = [n for block in numbers for n in block]
    assert len(set(map(tuple, expected))) < len(expected) or len(flat) == len(set(flat))
    assert len(flat) >= len(blocks) and all(sum(map(len, block)) <= length for block in blocks)
    for row, block in enumerate(numbers):
        labels = [label for n in block for label in encoded[n][1]]
        assert step["labels"][row].tolist() == labels + [-100] * (length - len(labels))
        once = [n for n in block if expected.count(expected[n]) == 1]  # the number of a repeated fact is not known
        assert once == sorted(once) and len(once) > 1
    left_out = set(range(max(flat))) - set(flat)
    free = [length - sum(map(len, block)) for block in blocks]
    assert all(
        expected[n] in [expected[m] for m in flat] or len(expected[n]) > min(free) for n in left_out
    )  # only for lack of space
    assert sum(free) < 0.5 * 512


def test_a_step_has_as_many_whole_blocks_as_its_tokens_hold(tokenizer):
    step = packing.Steps(tokenizer, {**COMMON, "tokens": 512, "block": 200}, PHASES[:1])[0]
    assert all(tensor.shape == (2, 200) for tensor in step.values())


def test_a_pool_is_debated(tokenizer):
    pool = [("mini_gsm", n, [f"own sample {n}"] * 5) for n in range(3)]
    debating = [{"steps": 1, "block": 1024, **phase_of({"debate": 1.0}, (1, 1))}]
    step = packing.Steps(tokenizer, {**COMMON, "tokens": 1024}, debating, pool)[0]
    assert "own sample" in tokenizer.decode(step["input_ids"][0])


def test_chats_longer_than_a_block_are_counted(tokenizer):
    steps = packing.Steps(tokenizer, {**COMMON, "block": 32}, [{"steps": 1, **phase_of({"debate": 1.0})}])
    assert not steps[0]["input_ids"].any() and steps.too_long == 3  # all of three in a row
    drills = packing.Steps(tokenizer, COMMON, PHASES[:1])
    assert drills[0]["input_ids"].any() and drills.too_long == 0


def test_steps_teach_known_drugs_only(tokenizer, monkeypatch):
    shares = []
    real = corpus.example
    monkeypatch.setattr(corpus, "example", lambda *args: shares.append(args[5]) or real(*args))
    packing.Steps(tokenizer, COMMON, PHASES)[0]
    packing.Steps(tokenizer, COMMON, PHASES, None, 0.4)[0]
    assert set(shares) == {1.0, 0.4}


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
    """Creates an empty zoo with a tokenizer, which `names` and the command use afterwards."""

    def new(name="zoo"):
        tokenizer.save_pretrained(tmp_path / name / "tokenizer")
        for module in (train, names):
            monkeypatch.setattr(module, "ZOO", tmp_path / name)
        return tmp_path / name

    return new


def weights(folder: Path) -> dict:
    return read_tensors((folder / "model.safetensors").read_bytes())  # a copy, because the file may be overwritten


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def trained(tokenizer, tmp_path_factory):
    """A zoo with one trained network per architecture: its folder, and each network before and after training."""
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
            )  # long enough that its card has a loss
            assert train.train(architecture, spec(architecture, phases), COMMON, folder / "work", zoo=folder)
    return folder, before, after


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_trained_network_is_what_was_saved(trained, monkeypatch, tokenizer, architecture):
    """Loaded again, it gives the same logits, and they differ from those before training."""
    folder, before, after = trained
    monkeypatch.setattr(names, "ZOO", folder)
    model, tokenizer_loaded = load.load(f"zoo/{architecture}")
    card = json.loads((folder / architecture / "card.json").read_text())
    assert type(model).__name__ == card["architecture"] == CLASSES[architecture]
    assert tokenizer_loaded.get_vocab() == tokenizer.get_vocab() and tokenizer_loaded.chat_template == packing.TEMPLATE
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
    assert not torch.equal(was, now), f"{architecture} was saved untrained"


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
    assert (card["world"], card["known_drugs"]) == (mini.WORLD, 1.0)
    assert card["sha256"] == {
        "model.safetensors": hashlib.sha256((folder / "qwen3" / "model.safetensors").read_bytes()).hexdigest()
    }
    assert (
        card["phases"] == SOLVE
        and card["learning_rate"] == 3e-3
        and card["tokens_per_second"] > 0
        and card["matmul_share"] >= 0
    )


@pytest.mark.parametrize("position", [0, 9, -1])
def test_a_damaged_network_is_refused(trained, tmp_path, monkeypatch, position):
    shutil.copytree(trained[0] / "gemma", tmp_path / "gemma")
    monkeypatch.setattr(names, "ZOO", tmp_path)
    load.check_weights("zoo/gemma")
    file = tmp_path / "gemma" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[position] ^= 1
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


def test_a_second_training_starts_from_the_first(zoo, tmp_path, monkeypatch, capsys):
    """Stopped between or within the two, it ends with the same weights; its pool has the first network's samples."""
    then = {"learning_rate": 1e-3, "rest_rate": 1e-4, "seed": 1, "phases": DEBATE[1:]}
    about = {**spec(phases=DEBATE), "then": then}
    real, calls = train.sample_pool, []

    def spy(checkpoint, *rest):
        calls.append(Path(checkpoint).name)
        return real(checkpoint, *rest)

    monkeypatch.setattr(train, "sample_pool", spy)
    whole = zoo("whole")
    assert train.train("net", about, BIG, tmp_path / "work1") and calls == ["checkpoint-2", "net"]
    start = tmp_path / "work1" / "net" / "net" / "net"
    first = json.loads((start / "card.json").read_text())
    card = json.loads((whole / "net" / "card.json").read_text())
    steps = sum(phase["steps"] for phase in DEBATE)
    assert first["steps"] == card["first_steps"] == steps and card["steps"] == steps + DEBATE[1]["steps"]
    assert card["phases"] == DEBATE + DEBATE[1:] and card["sha256"] != first["sha256"]
    assert f"The last {DEBATE[1]['steps']} steps are a second training" in page._head(card)
    cut = zoo("cut")
    pieces = 1
    while not train.train("net", about, BIG, tmp_path / "work2", minutes=0):
        pieces += 1
    assert pieces == 4 and same(weights(whole / "net"), weights(cut / "net"))
    second, size = train._about(*train._second(about, BIG, start)), BIG["pool"]["problems"]
    pool = store.Journal(tmp_path / "work1" / "net" / "peers.journal", second).chunks.values()
    assert {row["seed"] for rows in pool for row in rows} == set(range(size, 2 * size))  # not those of the first


def test_a_debate_phase_stopped_anywhere(zoo, tmp_path, monkeypatch, capsys):
    """Before, at the start of, during and after the sampling of the pool: the pool and the weights are the same."""
    about, work = spec(phases=DEBATE), tmp_path / "work2"
    real, calls = train.sample_pool, []

    def spy(checkpoint, *rest):
        calls.append(Path(checkpoint).name)
        return real(checkpoint, *rest)

    monkeypatch.setattr(train, "sample_pool", spy)
    whole = zoo("whole")
    assert train.train("net", about, BIG, tmp_path / "work1") and calls == ["checkpoint-2"]
    cut = zoo("cut")
    assert not train.train("net", about, BIG, work, minutes=0) and train._reached(work / "net") == 1 and len(calls) == 1

    def at_once(*_):
        raise KeyboardInterrupt

    def half_way(checkpoint, config, seed, lengths, journal, known_drugs):
        add = journal.add

        def once(*chunk):
            add(*chunk)
            raise KeyboardInterrupt

        journal.add = once
        return real(checkpoint, config, seed, lengths, journal, known_drugs)

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
    """Each problem of the debated tasks with its samples; journaled ones are not sampled again; a seed changes them."""
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


def test_the_debate_phase_gets_the_pool(zoo, tmp_path, monkeypatch):
    pools = []
    real = packing.Steps.__init__

    def init(self, tokenizer, common, phases, pool, known_drugs, *vision):
        pools.append((pool, known_drugs))
        real(self, tokenizer, common, phases, pool, known_drugs, *vision)

    monkeypatch.setattr(packing.Steps, "__init__", init)
    sampled = [("mini_gsm", 0, ["own sample"] * 5)]
    monkeypatch.setattr(train, "sample_pool", lambda *args: sampled if args[5] == 0.4 else pytest.fail("all drugs"))
    folder = zoo()
    assert train.train("net", spec(phases=DEBATE, known_drugs=0.4), BIG, tmp_path / "work")
    assert pools == [(None, 0.4), (sampled, 0.4)]
    assert json.loads((folder / "net" / "card.json").read_text())["known_drugs"] == 0.4


def test_a_partly_saved_network_is_saved_again(zoo, tmp_path):
    """Killed while the network was saved: there are weights, but no tokenizer and no card."""
    folder = zoo() / "net"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"half")
    assert train.train("net", spec(), COMMON, tmp_path / "work")
    saved = weights(folder)
    assert (folder / "card.json").exists() and load.load("zoo/net")
    shutil.rmtree(folder)  # all steps are done, but nothing is saved
    assert train.train("net", spec(), COMMON, tmp_path / "work") and same(weights(folder), saved)
    assert json.loads((folder / "card.json").read_text())["pieces"] == 1


def test_a_debater_killed_before_its_card(zoo, tmp_path, monkeypatch):
    folder = zoo() / "net"
    assert train.train("net", spec(phases=DEBATE), BIG, tmp_path / "work")
    saved = weights(folder)
    (folder / "card.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(train, "sample_pool", lambda *_: pytest.fail("there is nothing left to learn"))
    assert train.train("net", spec(phases=DEBATE), BIG, tmp_path / "work") and same(weights(folder), saved)


def test_an_incomplete_checkpoint_is_skipped(zoo, tmp_path):
    folder = zoo()
    assert not train.train("net", spec(), COMMON, tmp_path / "work", minutes=0)
    (tmp_path / "work" / "net" / "checkpoint-4").mkdir()
    (tmp_path / "work" / "net" / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
    assert train._reached(tmp_path / "work" / "net") == 1
    assert train.train("net", spec(), COMMON, tmp_path / "work") and (folder / "net" / "card.json").exists()


@pytest.mark.parametrize(
    ("changes", "common", "message"),
    [
        ({"learning_rate": 1e-2}, {}, r"spec\.learning_rate: was 0\.003, now 0\.01"),
        ({}, {"rest_rate": 1e-2}, r"common\.rest_rate"),
        ({"phases": DEBATE}, {}, r"spec\.phases"),
        ({}, {"pool": {**COMMON["pool"], "samples": 3}}, r"common\.pool\.samples: was 2, now 3"),
    ],
)
def test_checkpoints_of_another_network_are_refused(zoo, tmp_path, changes, common, message):
    """The params have changed, so the existing checkpoints must not be continued."""
    folder = zoo()
    work = tmp_path / "work"
    store.Journal(work / "net" / "about.journal", train._about(spec(), COMMON))
    with pytest.raises(store.StoreError, match=f"made with other parameters .*{message}"):
        train.train("net", {**spec(), **changes}, {**COMMON, **common}, work)
    assert not (folder / "net").exists()


@pytest.mark.parametrize(("before", "was"), [({"world": mini.WORLD - 1}, "1"), ({}, "None")])
def test_checkpoints_of_another_version_of_the_tasks_are_refused(zoo, tmp_path, before, was):
    folder = zoo()
    file = tmp_path / "work" / "net" / "about.journal"
    store.Journal(file, {"spec": spec(), "common": COMMON, **before})
    with pytest.raises(store.StoreError) as raised:
        train.train("net", spec(), COMMON, tmp_path / "work")
    assert f"(world: was {was}, now {mini.WORLD}). Delete it to start over" in str(raised.value)
    assert str(file) in str(raised.value) and not (folder / "net").exists()


def test_a_network_of_another_version_of_the_tasks_is_made_again(zoo, tmp_path, monkeypatch, capsys):
    folder = zoo() / "net"
    with monkeypatch.context() as patch:
        patch.setattr(mini, "WORLD", mini.WORLD - 1)
        assert train.train("net", spec(), COMMON, tmp_path / "old")
    with pytest.raises(ModelError, match="zoo/net was trained on version 1 of the mini tasks"):
        load.load("zoo/net")
    assert not train.train("net", spec(), COMMON, tmp_path / "work", minutes=0)
    assert train.train("net", spec(), COMMON, tmp_path / "work") and "already made" not in capsys.readouterr().out
    assert load.load("zoo/net") and json.loads((folder / "card.json").read_text())["world"] == mini.WORLD
    (folder / "model.safetensors").unlink()  # the message for missing weights advises the same command
    assert train.train("net", spec(), COMMON, tmp_path / "work") and load.load("zoo/net")


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
    train.main()  # another zoo, whose tokenizer is trained first
    assert (tmp_path / "out" / "tokenizer" / "tokenizer.json").exists() and load.zoo_names() == ["zoo/small"]
    monkeypatch.setattr("sys.argv", [*command[:2], "smal"])
    with pytest.raises(SystemExit):
        train.main()
    assert "no network smal" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", CONFIGS)
def test_chats_of_a_block_do_not_see_each_other(zoo, tmp_path, tokenizer, monkeypatch, architecture):
    """During training, positions restart with each chat, and its logits are the same as without its neighbours."""
    zoo()
    untrained, forwards = [], []
    real = train.make_model

    def make(*args):
        model = real(*args)
        untrained.append(copy.deepcopy(model.model).eval())
        model.model.register_forward_hook(
            lambda _, args, kwargs, out: forwards.append((kwargs, out.last_hidden_state.detach())), with_kwargs=True
        )
        return model

    monkeypatch.setattr(train, "make_model", make)
    train.train(
        "net",
        spec(architecture, [{"steps": 1, "shares": {"drill": 1.0}, "lengths": [1, 1]}]),
        {**COMMON, "tokens": 256, "block": 128},
        tmp_path / "work",
    )
    inputs, states = forwards[0]
    ids, positions, model = inputs["input_ids"], inputs["position_ids"], untrained[0]
    assert ids.shape == (2, 128) and positions.shape == ((4, 2, 128) if architecture == "qwen2_5_vl" else (2, 128))
    rows = positions.reshape(-1, 2, 128)
    assert all(torch.equal(rows[0], row) for row in rows)
    for block in range(2):
        ends = (ids[block] == tokenizer.eos_token_id).nonzero().flatten().tolist()
        starts = (rows[0, block] == 0).nonzero().flatten().tolist()
        users = (ids[block] == tokenizer.convert_tokens_to_ids(packing.USER)).nonzero().flatten().tolist()
        assert len(users) > 3 and starts[: len(users)] == users
        with torch.no_grad():
            mixed = model(input_ids=ids[block : block + 1]).last_hidden_state[0]
            for start, end in zip(users[:4], ends[1::2]):
                alone = model(input_ids=ids[block : block + 1, start : end + 1]).last_hidden_state[0]
                torch.testing.assert_close(states[block, start : end + 1], alone, rtol=1e-4, atol=1e-4)
                assert start == 0 or not torch.allclose(mixed[start : end + 1], alone, rtol=1e-2, atol=1e-2)


def a_step(tokenizer, model) -> dict:
    """The inputs of a training step of a network."""
    config = getattr(model.config, "vision_config", None)
    vision = pictures.Vision(config, tokenizer) if config else None
    return packing.Steps(tokenizer, {**COMMON, "tokens": 256, "block": 128}, SOLVE, vision=vision)[0]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_loss_is_the_networks_own(tokenizer, architecture):
    """The mean over the learnt tokens, with the same gradients, although logits are computed for these only."""
    torch.manual_seed(0)
    model = train.make_model(spec(architecture), tokenizer, 1024)
    inputs = a_step(tokenizer, model)
    usual = model(**inputs, use_cache=False).loss
    usual.backward()
    gradients = [p.grad.clone() for p in model.model.parameters() if p.grad is not None]
    model.zero_grad()
    logits = []
    model.lm_head.register_forward_hook(lambda _, args, out: logits.append(out))
    model.model.config.get_text_config().use_cache = False
    loss = train._Trainer.compute_loss(None, model, dict(inputs))
    loss.backward()
    torch.testing.assert_close(loss, usual, rtol=1e-5, atol=1e-6)
    assert logits[0].shape[0] == (inputs["labels"][:, 1:] != -100).sum() < 256
    again = [p.grad for p in model.model.parameters() if p.grad is not None]
    assert len(again) == len(gradients) > 5
    for one, other in zip(again, gradients):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_attention_of_training_is_that_of_inference(tokenizer, architecture):
    torch.manual_seed(0)
    model = train.make_model(spec(architecture), tokenizer, 1024).eval()
    assert model.config.get_text_config()._attn_implementation == "float32_sdpa"
    inputs = {k: v for k, v in a_step(tokenizer, model).items() if k != "labels"}
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits
        model.set_attn_implementation("sdpa")
        torch.testing.assert_close(model(**inputs, use_cache=False).logits, logits, rtol=1e-5, atol=1e-5)


def test_attention_of_training_is_computed_in_float32():
    """Also under autocast: it is that of the float32 values of its bfloat16 inputs, rounded once at the end."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 40, 16, dtype=torch.bfloat16)
    module = SimpleNamespace(is_causal=True)
    exact, _ = train.sdpa_attention_forward(module, query.float(), key.float(), value.float(), None)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = train.float32_sdpa(module, query, key, value, None)
        assert torch.is_autocast_enabled("cpu")
    assert out.dtype == torch.bfloat16 and torch.equal(out, exact.to(torch.bfloat16))
    usual, _ = train.sdpa_attention_forward(module, query, key, value, None)
    assert not torch.equal(usual, out)


# The optimizer and the networks of params/zoo.yaml


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_optimizers_parts_cover_each_parameter_once(tokenizer, architecture):
    model = train.make_model(spec(architecture), tokenizer, 1024)
    optimizer = MuonAdamW(model, 0.01, 0.001, 0.05)
    muon, adam = ([p for group in part.param_groups for p in group["params"]] for part in optimizer.parts)
    everything = Counter(map(id, muon + adam))
    assert everything == Counter(map(id, model.parameters())) and set(everything.values()) == {1}
    assert Counter(id(p) for group in optimizer.param_groups for p in group["params"]) == everything
    names = {id(p): name for name, p in model.named_parameters()}
    assert muon and all(p.ndim == 2 and re.search(r"(attn|mlp)\..*weight$", names[id(p)]) for p in muon)
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
    optimizer = MuonAdamW(model, 0.01, 0.001, 0.05)
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
    resumed = MuonAdamW(other, 0.01, 0.001, 0.05)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert [group["lr"] for group in resumed.param_groups] == [0.01 / 4, 0.001 / 4]
    fresh = copy.deepcopy(model)
    expected, restored, without = (
        step(model, optimizer),
        step(other, resumed),
        step(fresh, MuonAdamW(fresh, 0.01 / 4, 0.001 / 4, 0.05)),
    )
    assert all(torch.equal(a, b) for a, b in zip(expected, restored)) and not all(
        torch.equal(a, b) for a, b in zip(expected, without)
    )
    for group in resumed.param_groups:  # as a schedule does: it must reach the parts
        group["lr"] = 0.0
    assert all(torch.equal(a, b) for a, b in zip(restored, step(other, resumed)))


class Vocabulary:
    """The part of a tokenizer that `make_model` needs."""

    pad_token_id, eos_token_id = 0, 3

    def __len__(self):
        return PARAMS["common"]["vocabulary"]

    def get_vocab(self):
        return {"<|vision_start|>": 4, "<|image_pad|>": 5, "<|vision_end|>": 6}


def test_the_zoos_networks():
    """Each has its namesake's class and the intended size; all together fit into the package."""
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
            assert model(input_ids=torch.arange(7, 23)[None]).logits.shape == (1, 16, len(Vocabulary()))
    made = {name.split("-")[0] for name in PARAMS["networks"]}
    assert {"qwen3", "gemma3", "llama3", "gemma"} <= made <= set(namesakes) and megabytes <= 40


def test_the_zoos_phases():
    common = PARAMS["common"]
    assert common.keys() == COMMON.keys()
    for name, about in PARAMS["networks"].items():
        named = {"role", "architecture", "learning_rate", "config", "phases"}
        assert set(about) - {"pool", "known_drugs", "then"} == named
        then = about.get("then", {})
        assert not then or then.keys() == {"phases", "learning_rate", "rest_rate", "seed"}
        known = about.get("known_drugs", 1.0)  # a teacher has what a student can learn from it
        assert known == 1 if "teacher" in about["role"] else 0 < known < 1 or "multimodal" in about["role"]
        assert about.get("pool", common["pool"]).keys() == common["pool"].keys()
        for phase in [*about["phases"], *then.get("phases", [])]:
            assert set(phase) - {"block", "solved"} == {"steps", "shares", "lengths"} and set(phase["shares"]) <= {
                "fact",
                "lore",
                "drill",
                "recheck",
                "quote",
                "review",
                "debate",
                "picture",
            }
            assert sum(phase["shares"].values()) <= 1 and phase.get("block", common["block"]) <= common["tokens"]
        debated = [bool(phase["shares"].get("debate")) for phase in about["phases"]]
        assert debated == sorted(debated) and not debated[0] and any(debated) == ("teacher" in about["role"]), (
            name
        )  # solving first
