"""The continuous batch: a row's tokens are those it would have alone, and each token is computed once."""

import json
import shutil

import miniatures
import numpy as np
import pytest
import tiny
import torch
from test_engine import MIXED, STORY, alone, ids, round_two
from transformers import TopPLogitsWarper

from agentark.engines import EngineError, Sampling, decoding
from agentark.engines.decoding import Row, decode, sample
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas.prompts import user_turn
from agentark.models import load

CHATS = [user_turn("2"), *[user_turn(STORY)] * 3, user_turn("3*4"), *round_two(5), *MIXED[2:], user_turn(STORY * 4)]
NEW = 12
WINDOW = 16  # tokens of "gemma3 with a window"
NAMES = ("qwen3", "llama", "gemma", "gemma3 with a window", "qwen2_5_vl", "qwen2", "smollm2")


@pytest.fixture(scope="module")
def folders(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    window = folder / "window"
    shutil.copytree(networks["gemma3_text"], window)
    config = json.loads((window / "config.json").read_text())
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
    (window / "config.json").write_text(json.dumps(config | kinds))
    more = {name: miniatures.save(name, folder / name) for name in ("qwen2", "smollm2")}
    return {**networks, **more, "gemma3 with a window": str(window)}


@pytest.fixture(scope="module", params=NAMES)
def case(request, folders):
    """An engine with several end tokens, which end replies at different lengths, and transformers' own replies."""
    engine = TransformersEngine(folders[request.param], tiny.ENGINE)
    network, tokenizer = load.load(folders[request.param])  # with transformers' own attention
    prompts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False) for chat in CHATS]

    def generate(ends):
        options = {"do_sample": False, "max_new_tokens": NEW, "eos_token_id": ends, "pad_token_id": 0}
        return [network.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                 **options)[0, len(prompt) :].tolist() for prompt in prompts]  # fmt: skip

    replies = generate(engine.ends)
    held = {token: sum(token in reply for reply in replies) for reply in replies for token in reply}
    more = sorted(held, key=lambda token: abs(4 * held[token] - len(replies)))[:3]  # each in about a quarter of them
    engine.ends = sorted({*engine.ends, *more})
    return engine, generate(engine.ends)


@pytest.mark.parametrize("batch, share", [(1, False), (3, True), (7, False), (64, True)])
def test_greedy_is_that_of_transformers(case, batch, share):
    engine, expected = case
    replies = alone(engine, batch=batch, share_prefix=share).generate(CHATS, Sampling(0.0, NEW), 0)
    assert [list(reply) for reply in ids(replies)] == expected
    assert {c.finish for c in replies} == {"stop", "length"} and len({c.tokens_out for c in replies}) > 2


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_sample_depends_on_seed_and_index_only(case, top_p):
    engine, _ = case
    sampling = Sampling(1.3, NEW, top_p)
    # The logits of random networks are close to each other, so that rounding decides some samples: not with this seed.
    expected = ids(alone(engine, batch=1, share_prefix=False).generate(CHATS, sampling, 11))
    assert len(set(expected[1:4])) == 3  # identical prompts are sampled apart
    for batch in (5, 64):
        assert ids(alone(engine, batch=batch).generate(CHATS, sampling, 11)) == expected
    reordered = [*CHATS[4:0:-1], CHATS[0], *CHATS[:4:-1]]
    again = ids(alone(engine, batch=5).generate(reordered, sampling, 11))
    same = [k for k, chat in enumerate(CHATS) if reordered[k] == chat]
    assert same and [again[k] for k in same] == [expected[k] for k in same]
    assert ids(alone(engine, batch=5).generate(CHATS[:5], sampling, 11)) == expected[:5]
    assert ids(alone(engine, batch=5).generate(CHATS, sampling, 8)) != expected


def test_logprobs_are_those_of_a_forward_pass(case):
    engine, _ = case
    for chat, reply in zip(CHATS, alone(engine, batch=5).generate(CHATS, Sampling(0.8, NEW, 0.9, logprobs=True), 3)):
        prompt = engine.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            logits = engine.model(torch.tensor([[*prompt, *reply.token_ids]])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(reply.token_ids)[:, None])[:, 0]
        assert reply.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ["qwen3", "gemma3 with a window", "qwen2_5_vl"])
def test_prompts_of_one_token_and_up_to_the_limit_of_the_context(folders, name):
    network, _ = load.load(folders[name])
    context = network.config.get_text_config().max_position_embeddings
    torch.manual_seed(0)
    prompts = [torch.randint(5, 300, (length,)).tolist() for length in (1, context - NEW, 2, 300, 1)]
    rows = [Row(prompt, k, len(prompt) - 1, seed=k) for k, prompt in enumerate(prompts)]
    decode(network, rows, Sampling(0.0, NEW), [-1], 2)
    for row in rows:
        out = network.generate(torch.tensor([row.prompt]), do_sample=False, max_new_tokens=NEW, eos_token_id=None)
        assert out[0, len(row.prompt) :].tolist() == row.reply and len(row.reply) == NEW


def test_slots_grow(case, monkeypatch):
    engine, expected = case
    monkeypatch.setattr(decoding, "BLOCK", 3)
    monkeypatch.setattr(decoding, "PREFILL", 40)
    replies = alone(engine, batch=5).generate(CHATS, Sampling(0.0, NEW), 0)
    assert [list(reply) for reply in ids(replies)] == expected


def test_bfloat16(folders):
    network, tokenizer = load.load(folders["qwen3"], "bfloat16")
    engine = TransformersEngine.around(network, tokenizer, tiny.ENGINE)
    replies = engine.generate(MIXED, Sampling(0.8, NEW, 0.9, logprobs=True), 0)
    assert all(np.isfinite(c.logprobs).all() and len(c.logprobs) == c.tokens_out for c in replies)


def test_offsets_of_an_earlier_image_do_not_count(folders):
    engine = TransformersEngine(folders["qwen2_5_vl"], tiny.ENGINE)
    expected = ids(engine.generate(MIXED, Sampling(0.0, NEW), 0))
    engine.model.base_model.rope_deltas = torch.full((1, 1), 7)
    assert ids(engine.generate(MIXED, Sampling(0.0, NEW), 0)) == expected


@pytest.mark.parametrize("batch", [2, 5, 64])  # 2 and 5: groups are admitted in parts
def test_every_token_is_computed_once(case, batch, monkeypatch):
    engine, _ = case
    prefill, step = decoding.Batch.prefill, decoding.Batch.step
    prefilled, decoded, rows = [], [], []

    def count_texts(self, texts):
        prefilled.extend(len(text) for text, _, _ in texts)
        prefill(self, texts)

    def count_rows(self):
        rows.append(int((self.row >= 0).sum()))
        decoded.append(self.used)
        step(self)

    monkeypatch.setattr(decoding.Batch, "prefill", count_texts)
    monkeypatch.setattr(decoding.Batch, "step", count_rows)
    replies = alone(engine, batch=batch).generate(CHATS, Sampling(0.0, NEW), 0)
    assert sum(prefilled) == sum(c.tokens_in - 1 - c.tokens_cached for c in replies)
    assert sum(rows) == sum(c.tokens_out for c in replies)
    assert max(decoded) <= batch and all(4 * (n - active) < max(n, 1) for n, active in zip(decoded, rows))


def test_the_common_prefix_of_a_group_is_copied_even_if_its_rows_have_ended(case):
    engine, _ = case
    replies = alone(engine, batch=4).generate([user_turn(STORY)] * 4 + [user_turn(STORY)] * 4, Sampling(0.0, NEW), 0)
    assert len(set(ids(replies))) == 1
    shared = replies[0].tokens_in - 1
    assert [c.tokens_cached for c in replies] == [0, shared, shared, shared] * 2


def test_other_kinds_of_layers_are_refused(folders):
    engine = TransformersEngine(folders["qwen3"], tiny.ENGINE)
    engine.model.config.layer_types[0] = "linear_attention"
    with pytest.raises(EngineError, match="cannot decode layers of the kind linear_attention"):
        engine.generate(MIXED, Sampling(0.0, NEW), 0)


# The choice of a token


def by_hand(logits, temperature, top_p, uniform):
    """The token of one row, from the definition."""
    p = np.exp(np.array(logits, dtype=float) / temperature)
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda token: -p[token]) if top_p < 1 else list(range(len(p)))
    kept, mass = [], 0.0
    for token in order:  # the nucleus: the likeliest tokens until their mass is top_p
        if top_p < 1 and mass >= top_p:
            break
        kept.append(token)
        mass += p[token]
    passed = 0.0
    for token in kept:
        passed += p[token]
        if passed > uniform * mass:
            return token
    raise AssertionError("no token")


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.7, 1.0), (1.0, 0.5), (2.0, 0.9), (0.5, 1e-6)])
def test_a_token_is_chosen_by_its_random_number(temperature, top_p):
    torch.manual_seed(0)
    logits, uniform = 2 * torch.randn(300, 9), torch.rand(300, dtype=torch.float64)
    chosen = sample(logits, Sampling(temperature, 1, top_p), uniform).tolist()
    assert chosen == [by_hand(row, temperature, top_p, u) for row, u in zip(logits.tolist(), uniform.tolist())]


def test_the_nucleus_is_that_of_transformers():
    torch.manual_seed(0)
    logits = torch.randn(1, 50).expand(4000, -1)
    chosen = sample(logits, Sampling(1.0, 1, 0.6), torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1])
    kept = TopPLogitsWarper(0.6)(None, logits[:1].clone())[0]
    assert set(chosen.tolist()) == set(kept.isfinite().nonzero()[:, 0].tolist())
    share = torch.bincount(chosen, minlength=50) / 4000
    torch.testing.assert_close(share, kept.softmax(0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_an_impossible_token_is_never_chosen(top_p):
    logits = torch.full((2, 5), -torch.inf)
    logits[:, 2] = 0.0
    edges = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert sample(logits, Sampling(1.0, 1, top_p), edges).tolist() == [2, 2]
