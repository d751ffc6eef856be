"""The zoo's making: its corpus, its tokenizer, and a training that stops and goes on."""

import json
import re
from pathlib import Path
from random import Random

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from agentark import tasks
from agentark.models import load
from agentark.tasks import mini_gsm, mini_med
from agentark.zoo import corpus, train

SHARES = {"fact": 0.25, "drill": 0.25, "debate": 0.25}


@pytest.fixture(scope="module")
def tokenizer():
    return train.make_tokenizer(vocab_size=400, chats=200, seed=0, context=1024)


# The corpus

def test_examples_are_a_function_of_seed_and_number():
    def some(seed, numbers):
        return [corpus.example(seed, i, SHARES, (1, 3), 4) for i in numbers]

    assert some(0, range(30)) == some(0, range(29, -1, -1))[::-1] != some(1, range(30))
    assert len({str(chat) for chat in some(0, range(300))}) > 290


def test_shares():
    kinds = [corpus.example(0, i, {"fact": 1.0}, (1, 3), 4)[0]["content"] for i in range(50)]
    assert all(kind.endswith(" what?") for kind in kinds)
    kinds = [corpus.example(0, i, {"drill": 1.0}, (1, 3), 4)[0]["content"] for i in range(50)]
    assert all(re.fullmatch(r"\d+[-+*/]\d+|.+\?\nA\) .+\nB\) .+\nC\) .+\nD\) .+", kind) for kind in kinds)
    kinds = [corpus.example(0, i, {"fact": 0.0}, (1, 3), 4)[0]["content"] for i in range(50)]
    assert not any("Solutions:" in kind or kind.endswith(" what?") for kind in kinds)


def test_facts_are_true():
    seen = set()
    for i in range(600):
        question, reply = corpus.fact(Random(i))
        relation = next(r for r in mini_med.FACTS.relation if f" {r} " in f" {question['content']} ")
        subject = question["content"].removesuffix(f" {relation} what?")
        assert reply["content"] == f"{subject} {relation} {mini_med.FACTS.relation[relation][subject]}."
        seen.add(relation)
    assert seen == set(mini_med.FACTS.relation)


def test_sums_are_right():
    for i in range(600):
        question, reply = (turn["content"] for turn in corpus.drill(Random(i)))
        x, op, y = re.fullmatch(r"(\d+)([-+*/])(\d+)", question).groups()
        x, y = int(x), int(y)
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x // max(y, 1)}[op]
        assert reply == f"{question}={value}" and value >= 0 and (op != "/" or x % y == 0)


@pytest.mark.parametrize("task", ["mini_gsm", "mini_med"])
def test_replies_are_right_and_some_peers_are_not(task, monkeypatch):
    """Every reply verifies as right; of the peers' solutions before it, some do and some do not."""
    asked = []
    for name in ("mini_gsm", "mini_med"):
        module = {"mini_gsm": mini_gsm, "mini_med": mini_med}[name]

        def stream(*args, real=module.stream):
            for found in real(*args):
                asked.append(found[1])
                yield found

        monkeypatch.setattr(module, "stream", stream)
    grader = tasks.get(task)
    peers = []
    for i in range(150):
        chat = corpus.debating(Random(i), task, (1, 4), 5)
        problem = asked[-1]
        assert chat[0]["content"].startswith(problem.question) and [turn["role"] for turn in chat][-1] == "assistant"
        assert grader.verify(chat[-1]["content"], problem)[1:] == (True, True)
        listed = re.split(r"\nAgent \d+:\n", "\n".join(turn["content"] for turn in chat[:-1]))[1:]
        assert 1 <= len(listed) <= 5
        peers += [grader.verify(re.split(r"\n\n(?:You are|Find|Sum)", trace)[0], problem)[2] for trace in listed]
        chat = corpus.solving(Random(i), task, (1, 4))
        assert grader.verify(chat[-1]["content"], asked[-1])[1:] == (True, True)
    assert 0.3 < sum(peers) / len(peers) < 0.7


def test_training_never_meets_dev_or_test_problems():
    kept = {p.question for split in ("dev", "test") for task in ("mini_gsm", "mini_med") for p in tasks.problems(task, split, 100)}
    assert not kept & {corpus.solving(Random(i), task, (3, 5))[0]["content"] for i in range(200) for task in ("mini_gsm", "mini_med")}


# The tokenizer

@pytest.mark.parametrize("text", ["Ana has 12 apples.", "Zażółć gęślą jaźń", "日本語 и кириллица", "🦊👩‍👩‍👧‍👦 𝔘", "tabs\tand\n\n  spaces ", "0123456789", "\x00\x7f", "", "<|en d|>"])
def test_any_text_can_be_encoded(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_digits_are_single_tokens(tokenizer):
    assert not [t for t in tokenizer.get_vocab() if len(re.findall(r"\d", t)) and len(t) > 1]
    assert [tokenizer.decode([i]) for i in tokenizer("x=1234").input_ids][-4:] == list("1234")
    assert len(tokenizer) == 400 and tokenizer.get_vocab() == train.make_tokenizer(400, 200, 0, 1024).get_vocab()


def test_the_chat_template(tokenizer):
    chat = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>1+1<|end|><|assistant|>2<|end|>"
    assert tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True) == "<|user|>1+1<|end|><|assistant|>"
    specials = [tokenizer.convert_tokens_to_ids(t) for t in (train.PAD, train.USER, train.ASSISTANT, train.END)]
    assert specials == [0, 1, 2, 3] and (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 3)


def test_blocks(tokenizer):
    phases = [{"steps": 2, "shares": {"drill": 1.0}, "lengths": (1, 2)}, {"steps": 3, "shares": {"fact": 1.0}, "lengths": (1, 2)}]
    blocks = train.Blocks(tokenizer, 0, 64, phases, 4, 3)
    assert len(blocks) == 20 and all(torch.equal(blocks[7][k], blocks[7][k]) for k in ("input_ids", "labels"))
    assert "what?" in tokenizer.decode(blocks[8]["input_ids"]) and "what?" not in tokenizer.decode(blocks[7]["input_ids"])
    for i in (0, 7, 8, 19):
        ids, labels = blocks[i]["input_ids"], blocks[i]["labels"]
        assert len(ids) == len(labels) == 64 and ((labels == ids) | (labels == -100)).all()
        for learnt in re.findall(r"<\|assistant\|>(.*?<\|end\|>)", tokenizer.decode(ids)):
            assert learnt in tokenizer.decode(ids[labels != -100])
        assert "<|user|>" not in tokenizer.decode(ids[labels != -100])


# Training

COMMON = {"seed": 0, "vocabulary": 400, "tokenizer_chats": 50, "context": 256, "block": 32, "batch": 1, "max_peers": 3, "weight_decay": 0.05, "bf16": False}
SPECS = {architecture: {
    "role": "student", "architecture": architecture, "learning_rate": 3e-3,
    "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8},
    "phases": [{"steps": 40, "shares": {"drill": 1.0}, "lengths": [1, 2]}, {"steps": 32, "shares": {"fact": 0.5}, "lengths": [1, 2]}],
} for architecture in ("qwen3", "llama")}


@pytest.fixture
def zoo(tmp_path, monkeypatch, tokenizer):
    """An empty zoo with a tokenizer."""
    def new(name):
        tokenizer.save_pretrained(tmp_path / name / "tokenizer")
        for module in (train, load):
            monkeypatch.setattr(module, "ZOO", tmp_path / name)
        return tmp_path / name

    return new


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
def test_a_stopped_training_ends_with_the_same_weights(zoo, tmp_path, architecture, capsys):
    spec = SPECS[architecture]
    whole = zoo("whole")
    assert train.train("net", spec, COMMON, tmp_path / "work1")
    cut = zoo("cut")
    for step in (1, 2):
        assert not train.train("net", spec, COMMON, tmp_path / "work2", minutes=0)
        assert f"{step} of 72 steps" in capsys.readouterr().out and not (cut / "net").exists()
    assert train.train("net", spec, COMMON, tmp_path / "work2")
    a, b = load_file(whole / "net" / "model.safetensors"), load_file(cut / "net" / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    card = json.loads((whole / "net" / "card.json").read_text())
    assert (card["name"], card["tokens"], card["seed"], card["resumed"]) == ("net", 72 * 32, 0, False) and card["loss"][0] > 0
    assert card["parameters"] == sum(p.numel() for p in load.load("zoo/net")[0].parameters())
    before = (cut / "net" / "model.safetensors").stat().st_mtime_ns
    assert train.train("net", spec, COMMON, tmp_path / "work2") and "already made" in capsys.readouterr().out
    assert (cut / "net" / "model.safetensors").stat().st_mtime_ns == before


def test_a_half_saved_network_is_not_made(zoo, tmp_path, monkeypatch):
    """Killed while the network was saved: its weights are there, its tokenizer and card are not."""
    folder = zoo("zoo") / "net"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"half")
    assert train.train("net", SPECS["qwen3"], COMMON, tmp_path / "work")
    assert (folder / "card.json").exists() and load.load("zoo/net")


def test_a_half_written_checkpoint_is_passed_over(zoo, tmp_path):
    zoo("zoo")
    assert not train.train("net", SPECS["qwen3"], COMMON, tmp_path / "work", minutes=0)
    (tmp_path / "work" / "net" / "checkpoint-9").mkdir()
    assert train.train("net", SPECS["qwen3"], COMMON, tmp_path / "work")


def test_checkpoints_of_another_network_are_refused(zoo, tmp_path):
    """The learning rate has changed since: the rest may not be trained on top of what was there."""
    zoo("zoo")
    assert not train.train("net", SPECS["qwen3"], COMMON, tmp_path / "work", minutes=0)
    zoo("fresh")
    assert train.train("net", {**SPECS["qwen3"], "learning_rate": 1e-2}, COMMON, tmp_path / "anew")
    expected = load_file(tmp_path / "fresh" / "net" / "model.safetensors")
    zoo("zoo")
    try:
        train.train("net", {**SPECS["qwen3"], "learning_rate": 1e-2}, COMMON, tmp_path / "work")
    except (RuntimeError, ValueError):
        return
    made = load_file(tmp_path / "zoo" / "net" / "model.safetensors")
    assert all(torch.equal(made[k], expected[k]) for k in expected)


def test_the_command(zoo, tmp_path, monkeypatch, capsys):
    folder = zoo("zoo")
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"common": COMMON, "networks": {"small": SPECS["llama"], "other": SPECS["qwen3"]}}))
    command = ["train", str(tmp_path / "zoo.yaml"), "small", "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", command)
    train.main()
    assert load.zoo_names() == ["zoo/small"] and not (folder / "other").exists()
    monkeypatch.setattr("sys.argv", [*command[:2], "smal"])
    with pytest.raises(SystemExit):
        train.main()
    assert "no network smal" in capsys.readouterr().err


def test_the_params_of_the_zoo_can_be_built():
    """Every network of params/zoo.yaml has a config that its architecture takes."""
    told = yaml.safe_load((Path(__file__).resolve().parents[1] / "params" / "zoo.yaml").read_text())
    for spec in told["networks"].values():
        config = AutoConfig.for_model(spec["architecture"], **spec["config"])
        assert config.hidden_size == spec["config"]["hidden_size"] and config.num_attention_heads % config.num_key_value_heads == 0


def test_chats_of_a_block_do_not_see_each_other(tokenizer):
    """Positions start anew with each chat, and a chat's logits are what they are without its neighbours."""
    block = train.Blocks(tokenizer, 0, 128, [{"steps": 1, "shares": {"drill": 1.0}, "lengths": [1, 2]}], 1, 3)[0]
    ids, positions = block["input_ids"], block["position_ids"]
    starts = (ids == tokenizer.convert_tokens_to_ids("<|user|>")).nonzero().flatten().tolist()
    assert len(starts) > 2 and (positions == 0).nonzero().flatten().tolist() == starts
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3", **SPECS["qwen3"]["config"], vocab_size=len(tokenizer), pad_token_id=None, initializer_range=0.3)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        packed = model(input_ids=ids[None], position_ids=positions[None], use_cache=False).logits[0, starts[1]:starts[2]]
        alone = model(input_ids=ids[None, starts[1]:starts[2]]).logits[0]
        mixed = model(input_ids=ids[None]).logits[0, starts[1]:starts[2]]
    torch.testing.assert_close(packed, alone)
    assert not torch.allclose(mixed, alone)
