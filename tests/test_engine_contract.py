"""What every engine keeps to: one contract, for the network in this process, behind a server, and (`make test-vllm`) in vLLM and `vllm serve`."""

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
from agentark.mas.prompts import ask
from agentark.models.load import load_tokenizer

MODEL = "zoo/qwen3-0.6b"
GREEDY = Sampling(0.0, 24)
STORY = "Ana has 12 apples. Ben gives Ana 5 apples. How many apples does Ana have now?"
MIXED = [ask(STORY), ask("2+2?"), ask(STORY.replace("12", "31")), ask(STORY * 3), ask("What is 7*3?")]


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
            yield make(MODEL, server.told())
    elif request.param == "vllm serve":
        with served(MODEL) as told:
            yield make(MODEL, told)
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


def test_greedy_is_one_reply(engine):
    assert texts(engine.generate(MIXED, GREEDY, 1)) == texts(engine.generate(MIXED, GREEDY, 2))


def test_seeds(engine):
    warm = Sampling(1.0, 16, top_p=0.95)
    chats = [ask(STORY)] * 4 + MIXED
    first, again, other = (texts(engine.generate(chats, warm, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first[:4])) > 1  # identical prompts are sampled apart


def test_finish_and_counts(engine, tokenizer):
    for most in (3, 120):
        for chat, made in zip(MIXED, engine.generate(MIXED, Sampling(0.0, most), 0)):
            assert made.tokens_in == len(
                tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            )
            assert made.tokens_out == len(made.token_ids) <= most
            assert made.finish == ("stop" if made.token_ids[-1] == tokenizer.eos_token_id else "length")
            assert made.text == tokenizer.decode(made.token_ids, skip_special_tokens=True)
            assert made.logprobs is None
            if most == 3:
                assert (made.finish, made.tokens_out) == ("length", 3)
    assert made.finish == "stop"


def test_logprobs_are_the_models_own(engine, local):
    for temperature in (0.0, 0.7):
        for chat, made in zip(MIXED, engine.generate(MIXED, Sampling(temperature, 6, 0.9, logprobs=True), 3)):
            prompt = local.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            with torch.no_grad():
                logits = local.model(torch.tensor([[*prompt, *made.token_ids]], device=local.model.device)).logits[0]
            expected = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(
                -1, torch.tensor(made.token_ids, device=logits.device)[:, None]
            )[:, 0]
            assert made.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_context_overflow(engine, tokenizer):
    long = ask("apples " * 4200)
    with pytest.raises(EngineError, match=r"prompt 1 .*context"):
        engine.generate([ask("2"), long], GREEDY, 0)
    assert engine.generate([ask("2")], GREEDY, 0)[0].text  # it is as well as before


def test_a_shared_prefix_is_reported(engine):
    traces = [f"gets 12+{k}={12 + k}\nAnswer: {12 + k}" for k in range(1, 6)]
    agents = [prompts.revise(STORY, traces, k, "shared", prompts.WORDINGS["terse"]) for k in range(1, 6)]
    made = engine.generate(agents, GREEDY, 0)
    assert all(0 <= c.tokens_cached < c.tokens_in for c in made)
    assert sum(c.tokens_cached for c in made) > 0.5 * sum(c.tokens_in for c in made)
    assert texts(made) == [engine.generate([chat], GREEDY, 0)[0].text for chat in agents]


def test_a_half_written_reply_goes_on(engine):
    [whole] = engine.generate([ask(STORY)], Sampling(0.0, 60), 0)
    head, _, tail = whole.text.partition("\n")
    assert tail
    [rest] = engine.generate([[*ask(STORY), {"role": "assistant", "content": head + "\n"}]], Sampling(0.0, 60), 0)
    assert rest.text == tail and rest.tokens_in + rest.tokens_out == whole.tokens_in + whole.tokens_out


@pytest.mark.parametrize("text", ["𝔘 日本 é \x00 \t", "🙂" * 5, "\u200f\u0301", "a\r\nb"])
def test_unicode(engine, tokenizer, text):
    [made] = engine.generate([ask(text)], GREEDY, 0)
    assert made.tokens_in == len(
        tokenizer.apply_chat_template(ask(text), add_generation_prompt=True, return_dict=False)
    )
    made.text.encode()


def test_half_a_character_is_refused(engine):
    with pytest.raises(EngineError, match=r"prompt 1 cannot be encoded"):
        engine.generate([ask("2"), ask("abc\udc80")], GREEDY, 0)


@pytest.mark.parametrize("choices", [("Yes", "No"), ("1", "10", "100"), ("so 2", "日本", "not sure\nat all")])
def test_choices(engine, choices):
    for sampling in (Sampling(0.0, 2, choices=choices), Sampling(1.0, 2, choices=choices, logprobs=True)):
        made = engine.generate(MIXED, sampling, 1)
        assert set(texts(made)) <= set(choices) and {c.finish for c in made} == {"stop"}
        assert texts(made) == texts(engine.generate(MIXED, sampling, 1))


def test_a_choice_ends_a_half_written_reply(engine):
    started = [*ask(STORY), {"role": "assistant", "content": "gets 12+5="}]
    assert texts(engine.generate([started], Sampling(0.0, 4, choices=("3", "17", "99")), 0)) == ["17"]


@pytest.mark.parametrize("choices", [(), ("one",), ("a", "a"), ("a", "")])
def test_choices_that_are_none(choices):
    with pytest.raises(ValueError, match="at least two different texts"):
        Sampling(0.0, 4, choices=choices)


# The transformers engine's choices: the likeliest, by forward passes over whole texts.


def scores(engine, chat, choices):
    """Log-probability of each choice from the first token that is not common to all; with the reply's end where it begins another."""
    text = engine.tokenizer.apply_chat_template(
        chat,
        tokenize=False,
        **{("continue_final_message" if chat[-1]["role"] == "assistant" else "add_generation_prompt"): True},
    )
    rows = [engine.tokenizer(text + choice, add_special_tokens=False).input_ids for choice in choices]
    start = next(k for k in range(10**6) if len({row[k] if k < len(row) else None for row in rows}) > 1)
    found = []
    for choice, row in zip(choices, rows):
        with torch.no_grad():
            logprobs = engine.model(torch.tensor([row])).logits[0].double().log_softmax(-1)
        total = sum(float(logprobs[k - 1, row[k]]) for k in range(start, len(row)))
        begins = any(other.startswith(choice) and other != choice for other in choices)
        found.append(
            total + (math.log(sum(math.exp(float(logprobs[-1, end])) for end in engine.ends)) if begins else 0)
        )
    return found


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gemma", "gemma3_text", "qwen2_5_vl"])
def test_the_likeliest_choice(architecture, networks):
    engine = TransformersEngine(networks[architecture], tiny.ENGINE)
    for choices in (("Yes", "No", "apples"), ("1", "12", "123", "2"), ("gets 5+5=10", "gets 5+7=12", "so")):
        chats = [*MIXED, [*ask("2+2?"), {"role": "assistant", "content": "Ans"}]]
        expected = [max(zip(scores(engine, chat, choices), choices))[1] for chat in chats]
        for batch in (2, 64):
            engine.told = tiny.but(tiny.ENGINE, batch=batch)
            assert texts(engine.generate(chats, Sampling(0.0, 4, choices=choices), 0)) == expected


def test_what_a_choice_reports(local):
    [made] = local.generate([ask(STORY)], Sampling(0.0, 1, choices=("gets 12+5=17", "gets 12+5=18"), logprobs=True), 0)
    assert made.text == "gets 12+5=17" and local.tokenizer.decode(made.token_ids) == made.text
    assert len(made.logprobs) == made.tokens_out == len(made.token_ids) > 1
    assert sum(made.logprobs[-1:]) == pytest.approx(
        scores(local, ask(STORY), ("gets 12+5=17", "gets 12+5=18"))[0], abs=1e-4
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_choices_are_sampled_from_their_softmax(local, temperature):
    choices = ("gets 12+5=17", "so", "gets")
    expected = (torch.tensor(scores(local, ask(STORY), choices)) / temperature).softmax(0)
    drawn = Counter(texts(local.generate([ask(STORY)] * 400, Sampling(temperature, 4, choices=choices), 0)))
    for choice, p in zip(choices, expected.tolist()):
        assert drawn[choice] / 400 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 400) + 1e-3)


def test_a_choice_needs_room(local):
    length = len(local.tokenizer.apply_chat_template(ask(STORY), add_generation_prompt=True, return_dict=False))
    local.context, before = length + 3, local.context
    try:
        assert local.generate([ask(STORY)], Sampling(0.0, 500, choices=("1 2", "3")), 0)[
            0
        ].text  # max_new_tokens does not apply
        with pytest.raises(EngineError, match="prompt 0"):
            local.generate([ask(STORY)], Sampling(0.0, 1, choices=("1 2 3 4", "5")), 0)
    finally:
        local.context = before
