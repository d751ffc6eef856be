"""The transformers engine: batching and sharing change only the time; counts, ends and log-probabilities are right."""

import pytest
import tiny
import torch

from agentark.engines import EngineError, Sampling
from agentark.engines.attention import grouped_sdpa
from agentark.engines.batching import LEAST_PREFIX, batches, group_by_prefix
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts
from agentark.mas.prompts import user_turn

GREEDY = Sampling(0.0, 8)
STORY = "Ana has 12 apples. Ben gives Ana 5 apples. Ana loses 3 apples. How many apples does Ana have now?"


def ids(completions):
    return [c.token_ids for c in completions]


@pytest.fixture(scope="module", params=["qwen3", "llama", "gemma", "gemma3_text", "qwen2_5_vl"])
def engine(request, networks):
    return TransformersEngine(networks[request.param], tiny.ENGINE)


@pytest.fixture
def qwen(networks):
    return TransformersEngine(networks["qwen3"], tiny.ENGINE)


def alone(engine, **changes):
    """The same network, with other params."""
    other = object.__new__(TransformersEngine)
    other.__dict__.update(engine.__dict__, config=tiny.but(tiny.ENGINE, **changes))
    return other


def round_two(agents, question=STORY):
    wording = prompts.WORDINGS["terse"]
    traces = [f"gets 12+{k}={12 + k}\nAnswer: {12 + k}" for k in range(1, agents + 1)]
    return [prompts.revise(question, traces, k, "shared", wording) for k in range(1, agents + 1)]


MIXED = [
    user_turn("1+1"),
    user_turn(STORY),
    user_turn("What comes from the liver and the heart and the lung?"),
    user_turn("2"),
    user_turn(STORY + " " + STORY),
]
GROUPS = [
    *[user_turn(STORY)] * 3,  # identical prompts
    user_turn("3*4"),  # alone in a batch of groups
    *round_two(11),  # "agent 9." and "agent 10.": suffixes of different length
    user_turn(STORY + " Say why."),
    user_turn(STORY),
    user_turn(STORY + " Say why, and how, and who has the other plums."),
    *round_two(3, "Ben has 3 plums. Ben finds 4 more plums."),
]


def test_a_batch_equals_single_prompts(engine):
    one = [alone(engine, batch=1, share_prefix=False).generate([chat], GREEDY, 0)[0] for chat in MIXED]
    for changes in (
        {"batch": 8, "share_prefix": False},
        {"batch": 2, "share_prefix": False},
        {"batch": 8},
        {"batch": 1},
    ):
        assert ids(alone(engine, **changes).generate(MIXED, GREEDY, 0)) == ids(one)
    assert len(set(ids(one))) == len(MIXED)  # the network reacts to its prompt, so the test can fail


@pytest.mark.parametrize("batch", [64, 8, 2])  # 2 and 8: smaller than a group
def test_a_shared_prefix_changes_nothing(engine, batch):
    plain = alone(engine, batch=64, share_prefix=False).generate(GROUPS, GREEDY, 0)
    shared = alone(engine, batch=batch).generate(GROUPS, GREEDY, 0)
    assert ids(shared) == ids(plain)
    assert [(c.text, c.finish, c.tokens_in, c.tokens_out) for c in shared] == [
        (c.text, c.finish, c.tokens_in, c.tokens_out) for c in plain
    ]
    assert sum(c.tokens_cached for c in shared) > 0 == sum(c.tokens_cached for c in plain)


def test_sharing_keeps_the_logprobs(engine):
    sampling = Sampling(0.0, 4, logprobs=True)
    plain = alone(engine, batch=64, share_prefix=False).generate(GROUPS, sampling, 0)
    shared = alone(engine, batch=64).generate(GROUPS, sampling, 0)
    for a, b in zip(plain, shared):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_seeds(engine):
    sampling = Sampling(1.0, 8)
    first, again, other = (engine.generate(GROUPS[:6], sampling, seed) for seed in (1, 1, 2))
    assert first == again
    assert ids(first) != ids(other)
    assert len(set(ids(first[:3]))) > 1  # identical prompts are sampled apart
    assert engine.generate(GROUPS[:6], GREEDY, 1) == engine.generate(GROUPS[:6], GREEDY, 2)


def test_a_narrow_nucleus_is_greedy(qwen):
    assert ids(qwen.generate(MIXED, Sampling(1.0, 8, top_p=1e-6), 5)) == ids(qwen.generate(MIXED, GREEDY, 0))


def test_completions_come_in_the_order_of_the_chats(qwen):
    forth = qwen.generate(MIXED, GREEDY, 0)
    back = qwen.generate(MIXED[::-1], GREEDY, 0)
    assert ids(forth) == ids(back)[::-1]
    assert [c.tokens_in for c in forth] == [
        len(qwen.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)) for chat in MIXED
    ]
    assert qwen.generate([], GREEDY, 0) == []


def test_cached_tokens_are_counted_once_a_group(qwen):
    chats = [*[user_turn(STORY)] * 3, user_turn("3*4")]
    completions = alone(qwen, batch=64).generate(chats, GREEDY, 0)
    long = completions[0].tokens_in
    assert [c.tokens_cached for c in completions] == [0, long - 1, long - 1, 0]
    assert [c.tokens_out for c in completions] == [len(c.token_ids) for c in completions]
    rendered = [
        qwen.tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False) for c in round_two(5)
    ]
    prefix = next(k for k, tokens in enumerate(zip(*rendered)) if len(set(tokens)) > 1)
    completions = alone(qwen, batch=64).generate(round_two(5), GREEDY, 0)
    assert [c.tokens_cached for c in completions] == [0, *[prefix] * 4]
    completions = alone(qwen, batch=2).generate(
        [user_turn(STORY)] * 3, GREEDY, 0
    )  # groups of 2 and 1: the third is computed whole
    assert [c.tokens_cached for c in completions] == [0, long - 1, 0]


def test_a_reply_ends_at_its_end(qwen):
    asked = [user_turn(f"{STORY} {n}") for n in range(20)]
    replies = zip(asked, qwen.generate(asked, GREEDY, 0))
    chat, whole = next((chat, reply) for chat, reply in replies if len(set(reply.token_ids)) > 1)
    assert (whole.finish, whole.tokens_out) == ("length", 8)
    token = next(t for t in whole.token_ids[1:] if t != whole.token_ids[0])
    position = whole.token_ids.index(token)
    qwen.ends = [token]
    [ended, other] = qwen.generate([chat, user_turn("2")], Sampling(0.0, 8, logprobs=True), 0)
    assert (ended.finish, ended.token_ids, ended.tokens_out) == ("stop", whole.token_ids[: position + 1], position + 1)
    assert ended.text == qwen.tokenizer.decode(list(whole.token_ids[:position]), skip_special_tokens=True)
    assert len(ended.logprobs) == position + 1
    assert other.tokens_out == len(other.token_ids) == len(other.logprobs)


def test_logprobs_are_those_of_a_forward_pass(engine):
    sampling = Sampling(0.7, 6, top_p=0.9, logprobs=True)  # they are those of the model, regardless of the sampling
    for chat, completion in zip(MIXED, engine.generate(MIXED, sampling, 4)):
        prompt = engine.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            logits = engine.model(torch.tensor([[*prompt, *completion.token_ids]], device=engine.model.device)).logits[
                0
            ]
        expected = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(
            -1, torch.tensor(completion.token_ids, device=logits.device)[:, None]
        )[:, 0]
        assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert all(c.logprobs is None for c in engine.generate(MIXED, GREEDY, 0))


def test_pad_may_equal_eos(qwen):
    before = qwen.generate(GROUPS, GREEDY, 0)
    pad = qwen.tokenizer.pad_token
    qwen.tokenizer.pad_token = qwen.tokenizer.eos_token
    assert qwen.tokenizer.pad_token_id == qwen.tokenizer.eos_token_id
    assert qwen.generate(GROUPS, GREEDY, 0) == before
    qwen.tokenizer.pad_token = pad


def test_padding_is_never_attended(qwen):
    before = qwen.generate(GROUPS, GREEDY, 0)
    qwen.tokenizer.pad_token = "7"
    assert ids(qwen.generate(GROUPS, GREEDY, 0)) == ids(before)


def test_a_prompt_without_room_is_refused(qwen):
    chats = [user_turn("2"), user_turn(STORY * 40)]
    length = len(qwen.tokenizer.apply_chat_template(chats[1], add_generation_prompt=True, return_dict=False))
    with pytest.raises(EngineError, match=rf"prompt 1 has {length} tokens.*max_new_tokens = 8.*context of 1024"):
        qwen.generate(chats, GREEDY, 0)
    room = qwen.tokenizer.apply_chat_template(user_turn(STORY), add_generation_prompt=True, return_dict=False)
    qwen.context = len(room) + 8
    assert qwen.generate([user_turn(STORY)], GREEDY, 0)[0].tokens_out == 8  # exactly full is not too much
    qwen.context -= 1
    with pytest.raises(EngineError):
        qwen.generate([user_turn(STORY)], GREEDY, 0)


def test_half_a_character_is_refused(qwen):
    with pytest.raises(EngineError, match=r"prompt 1 cannot be encoded: its user turn has '\\udc80' at character 3"):
        qwen.generate([user_turn("2"), user_turn("abc\udc80")], GREEDY, 0)
    assert qwen.generate([user_turn("𝔘日本 \x00")], GREEDY, 0)[0].tokens_in > 3


def test_group_by_prefix():
    common = list(range(100, 100 + 2 * LEAST_PREFIX))
    same, a, b = [*common, 1], [*common, 2, 3], [*common, 4]
    assert group_by_prefix([same, same, same], 8) == [[0, 1, 2]]
    assert group_by_prefix([same, a, b], 8) == [[0, 1, 2]]
    assert group_by_prefix([same, same, same, same, same], 2) == [[0, 1], [2, 3], [4]]
    assert group_by_prefix([[9], same, a, [8], b], 8) == [[0], [1, 2], [3], [4]]  # neighbours only
    assert group_by_prefix([[1, 2, 3], [1, 2, 3]], 8) == [[0], [1]]  # sharing so few tokens does not pay
    half = [*common[:LEAST_PREFIX], *[7] * 100]
    assert group_by_prefix([half, [*half[:-1], 5], same], 8) == [
        [0, 1],
        [2],
    ]  # a prompt with a short common prefix does not join
    assert group_by_prefix([], 8) == []
    prompt = list(range(LEAST_PREFIX))  # one token must be left to continue from
    assert group_by_prefix([prompt, prompt], 8) == [[0], [1]]
    assert group_by_prefix([[*prompt, 1], [*prompt, 1]], 8) == [[0, 1]]


def test_batches_are_whole_groups():
    assert list(batches([[0, 1], [2], [3, 4, 5], [6]], 4)) == [[[0, 1], [2]], [[3, 4, 5], [6]]]
    assert list(batches([[0, 1, 2]], 3)) == [[[0, 1, 2]]] and list(batches([], 3)) == []


@pytest.mark.parametrize("heads, shared", [(4, 2), (4, 1), (4, 4)])
def test_grouped_attention_is_attention(heads, shared):
    """Decoding one token without copying keys for each query head equals transformers' own attention, mask included."""
    from types import SimpleNamespace

    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    torch.manual_seed(0)
    query, key, value = torch.randn(3, heads, 1, 8), torch.randn(3, shared, 11, 8), torch.randn(3, shared, 11, 8)
    mask = torch.rand(3, 1, 1, 11) > 0.3
    module = SimpleNamespace(num_key_value_groups=heads // shared, is_causal=True)
    ours, _ = grouped_sdpa(module, query, key, value, mask, scaling=0.3)
    theirs, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(ours, theirs)
