"""One contract for every engine: in this process, behind a server, and (`make test-vllm`) in vLLM and `vllm serve`."""

import math
from collections import Counter

import pytest
import tiny
import torch
from fake_server import FakeServer, vllm_like
from test_vllm import MARKED, served, started

from agentark.engines import EngineError, Sampling, make
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts
from agentark.mas.prompts import user_turn
from agentark.models.load import load_tokenizer

MODEL = "zoo/qwen3-0.6b"
GREEDY = Sampling(0.0, 24)
STORY = "Ana has 12 apples. Ben gives Ana 5 apples. How many apples does Ana have now?"
MIXED = [
    user_turn(STORY),
    user_turn("2+2?"),
    user_turn(STORY.replace("12", "31")),
    user_turn(STORY * 3),
    user_turn("What is 7*3?"),
]


@pytest.fixture(scope="module")
def local():
    return TransformersEngine(MODEL, tiny.ENGINE)


@pytest.fixture(
    scope="module",
    params=["transformers", "openai", pytest.param("vllm", marks=MARKED), pytest.param("vllm serve", marks=MARKED)],
)
def engine(request, local):
    if request.param == "openai":
        with FakeServer(vllm_like(local), owner="vllm", model=MODEL) as server:
            yield make(MODEL, server.config())
    elif request.param == "vllm serve":
        with served(MODEL) as config:
            yield make(MODEL, config)
    else:
        yield local if request.param == "transformers" else started(MODEL)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(MODEL)


def texts(completions):
    return [c.text for c in completions]


def test_its_name(engine):
    assert engine.name in type(engine).__module__


def test_order_is_kept(engine):
    forth, back = engine.generate(MIXED, GREEDY, 0), engine.generate(MIXED[::-1], GREEDY, 0)
    assert texts(forth) == texts(back)[::-1] and len(set(texts(forth))) > 2
    assert engine.generate([], GREEDY, 0) == []


def test_greedy_does_not_depend_on_the_seed(engine):
    assert texts(engine.generate(MIXED, GREEDY, 1)) == texts(engine.generate(MIXED, GREEDY, 2))


def test_seeds(engine):
    warm = Sampling(1.0, 16, top_p=0.95)
    chats = [user_turn(STORY)] * 4 + MIXED
    first, again, other = (texts(engine.generate(chats, warm, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first[:4])) > 1  # identical prompts are sampled apart


def test_finish_and_counts(engine, tokenizer):
    for limit in (3, 120):
        for chat, completion in zip(MIXED, engine.generate(MIXED, Sampling(0.0, limit), 0)):
            assert completion.tokens_in == len(
                tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            )
            assert completion.tokens_out == len(completion.token_ids) <= limit
            assert completion.finish == ("stop" if completion.token_ids[-1] == tokenizer.eos_token_id else "length")
            assert completion.text == tokenizer.decode(completion.token_ids, skip_special_tokens=True)
            assert completion.logprobs is None
            if limit == 3:
                assert (completion.finish, completion.tokens_out) == ("length", 3)
    assert completion.finish == "stop"


def test_logprobs_are_the_models_own(engine, local):
    for temperature in (0.0, 0.7):
        for chat, completion in zip(MIXED, engine.generate(MIXED, Sampling(temperature, 6, 0.9, logprobs=True), 3)):
            prompt = local.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            with torch.no_grad():
                logits = local.model(
                    torch.tensor([[*prompt, *completion.token_ids]], device=local.model.device)
                ).logits[0]
            expected = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(
                -1, torch.tensor(completion.token_ids, device=logits.device)[:, None]
            )[:, 0]
            assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_context_overflow(engine, tokenizer):
    long = user_turn("apples " * 4200)
    with pytest.raises(EngineError, match=r"prompt 1 .*context"):
        engine.generate([user_turn("2"), long], GREEDY, 0)
    assert engine.generate([user_turn("2")], GREEDY, 0)[0].text  # it still works


def test_a_shared_prefix_is_reported(engine):
    traces = [f"gets 12+{k}={12 + k}\nAnswer: {12 + k}" for k in range(1, 6)]
    agents = [prompts.revise(STORY, traces, k, "shared", prompts.WORDINGS["terse"]) for k in range(1, 6)]
    completions = engine.generate(agents, GREEDY, 0)
    assert all(0 <= c.tokens_cached < c.tokens_in for c in completions)
    assert sum(c.tokens_cached for c in completions) > 0.5 * sum(c.tokens_in for c in completions)
    assert texts(completions) == [engine.generate([chat], GREEDY, 0)[0].text for chat in agents]


def test_a_half_written_reply_is_continued(engine):
    [whole] = engine.generate([user_turn(STORY)], Sampling(0.0, 60), 0)
    head, _, tail = whole.text.partition("\n")
    assert tail
    [rest] = engine.generate([[*user_turn(STORY), {"role": "assistant", "content": head + "\n"}]], Sampling(0.0, 60), 0)
    assert rest.text == tail and rest.tokens_in + rest.tokens_out == whole.tokens_in + whole.tokens_out


@pytest.mark.parametrize("text", ["𝔘 日本 é \x00 \t", "🙂" * 5, "\u200f\u0301", "a\r\nb"])
def test_unicode(engine, tokenizer, text):
    [completion] = engine.generate([user_turn(text)], GREEDY, 0)
    assert completion.tokens_in == len(
        tokenizer.apply_chat_template(user_turn(text), add_generation_prompt=True, return_dict=False)
    )
    completion.text.encode()


def test_half_a_character_is_refused(engine):
    with pytest.raises(EngineError, match=r"prompt 1 cannot be encoded"):
        engine.generate([user_turn("2"), user_turn("abc\udc80")], GREEDY, 0)


@pytest.mark.parametrize("choices", [("Yes", "No"), ("1", "10", "100"), ("so 2", "日本", "not sure\nat all")])
def test_choices(engine, choices):
    for sampling in (Sampling(0.0, 2, choices=choices), Sampling(1.0, 2, choices=choices, logprobs=True)):
        completions = engine.generate(MIXED, sampling, 1)
        assert set(texts(completions)) <= set(choices) and {c.finish for c in completions} == {"stop"}
        assert texts(completions) == texts(engine.generate(MIXED, sampling, 1))


def test_a_choice_ends_a_half_written_reply(engine):
    started = [*user_turn(STORY), {"role": "assistant", "content": "gets 12+5="}]
    assert texts(engine.generate([started], Sampling(0.0, 4, choices=("3", "17", "99")), 0)) == ["17"]


@pytest.mark.parametrize("choices", [(), ("one",), ("a", "a"), ("a", "")])
def test_invalid_choices(choices):
    with pytest.raises(ValueError, match="at least two different texts"):
        Sampling(0.0, 4, choices=choices)


# The transformers engine's choices: the likeliest, by forward passes over whole texts.


def scores(engine, chat, choices):
    """Log-probability of each choice from the first differing token, with the reply's end if another starts with it."""
    text = engine.tokenizer.apply_chat_template(
        chat,
        tokenize=False,
        **{("continue_final_message" if chat[-1]["role"] == "assistant" else "add_generation_prompt"): True},
    )
    rows = [engine.tokenizer(text + choice, add_special_tokens=False).input_ids for choice in choices]
    start = next(k for k in range(10**6) if len({row[k] if k < len(row) else None for row in rows}) > 1)
    totals = []
    for choice, row in zip(choices, rows):
        with torch.no_grad():
            logprobs = engine.model(torch.tensor([row])).logits[0].double().log_softmax(-1)
        total = sum(float(logprobs[k - 1, row[k]]) for k in range(start, len(row)))
        begins = any(other.startswith(choice) and other != choice for other in choices)
        totals.append(
            total + (math.log(sum(math.exp(float(logprobs[-1, end])) for end in engine.ends)) if begins else 0)
        )
    return totals


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gemma", "gemma3_text", "qwen2_5_vl"])
def test_the_likeliest_choice(architecture, networks):
    engine = TransformersEngine(networks[architecture], tiny.ENGINE)
    for choices in (("Yes", "No", "apples"), ("1", "12", "123", "2"), ("gets 5+5=10", "gets 5+7=12", "so")):
        chats = [*MIXED, [*user_turn("2+2?"), {"role": "assistant", "content": "Ans"}]]
        expected = [max(zip(scores(engine, chat, choices), choices))[1] for chat in chats]
        for batch in (2, 64):
            engine.config = tiny.but(tiny.ENGINE, batch=batch)
            assert texts(engine.generate(chats, Sampling(0.0, 4, choices=choices), 0)) == expected


def test_what_a_choice_reports(local):
    [completion] = local.generate(
        [user_turn(STORY)], Sampling(0.0, 1, choices=("gets 12+5=17", "gets 12+5=18"), logprobs=True), 0
    )
    assert completion.text == "gets 12+5=17" and local.tokenizer.decode(completion.token_ids) == completion.text
    assert len(completion.logprobs) == completion.tokens_out == len(completion.token_ids) > 1
    assert sum(completion.logprobs[-1:]) == pytest.approx(
        scores(local, user_turn(STORY), ("gets 12+5=17", "gets 12+5=18"))[0], abs=1e-4
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_choices_are_sampled_from_their_softmax(local, temperature):
    choices = ("gets 12+5=17", "so", "gets")
    expected = (torch.tensor(scores(local, user_turn(STORY), choices)) / temperature).softmax(0)
    counts = Counter(texts(local.generate([user_turn(STORY)] * 400, Sampling(temperature, 4, choices=choices), 0)))
    for choice, p in zip(choices, expected.tolist()):
        assert counts[choice] / 400 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 400) + 1e-3)


def test_a_choice_needs_room(local):
    length = len(local.tokenizer.apply_chat_template(user_turn(STORY), add_generation_prompt=True, return_dict=False))
    local.context, before = length + 3, local.context
    try:
        assert local.generate([user_turn(STORY)], Sampling(0.0, 500, choices=("1 2", "3")), 0)[
            0
        ].text  # max_new_tokens does not apply
        with pytest.raises(EngineError, match="prompt 0"):
            local.generate([user_turn(STORY)], Sampling(0.0, 1, choices=("1 2 3 4", "5")), 0)
    finally:
        local.context = before
