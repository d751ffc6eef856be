"""The openai engine with a real server on this machine: each fault gives one sentence, and journaled work is kept."""

import asyncio
import email.utils
import json
import time

import pytest
import tiny
from fake_server import MODEL, FakeServer, completion, error_reply

from agentark import params
from agentark.cells import Cell
from agentark.engines import EngineError, Sampling, make, refusals
from agentark.engines import server as server_module
from agentark.mas import generation
from agentark.mas.prompts import user_turn

GREEDY, WARM = Sampling(0.0, 8), Sampling(0.7, 8, top_p=0.9)
KEY = "sk-very-secret-1234"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(server_module, "FIRST_WAIT_S", 0.01)
    refusals.of.cache_clear()


def echo(number, body):
    return completion(body["messages"][-1]["content"])


def texts(server, chats=3, sampling=GREEDY, model=MODEL, **changes):
    return [
        c.text
        for c in make(model, server.config(**changes)).generate([user_turn(f"q{k}") for k in range(chats)], sampling, 0)
    ]


def refused(server, **changes):
    with pytest.raises(EngineError) as caught:
        texts(server, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_completions_come_in_the_order_of_the_chats():
    def slow_first(number, body):
        time.sleep(0.2 if body["messages"][-1]["content"] == "q0" else 0)
        return echo(number, body)

    with FakeServer(slow_first) as server:
        assert texts(server, 12) == [f"q{k}" for k in range(12)]
        assert make(MODEL, server.config()).generate([], GREEDY, 0) == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency_is_bounded(concurrency):
    def slow(number, body):
        time.sleep(0.05)
        return echo(number, body)

    with FakeServer(slow) as server:
        texts(server, 12, concurrency=concurrency)
        assert server.most == concurrency


def test_the_body_of_a_request():
    with FakeServer(echo) as server:
        texts(server, 2, WARM)
        first, second = (body for _, body in sorted(server.requests, key=lambda r: r[1]["messages"][0]["content"]))
        assert first.pop("seed") != second.pop("seed")
        assert first == {
            "model": MODEL,
            "messages": [{"role": "user", "content": "q0"}],
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 8,
        }
        texts(server, 1, GREEDY)
        assert "seed" not in server.requests[-1][1]


def test_seeds_derive_from_the_seed_of_the_call():
    with FakeServer(echo) as server:
        engine = make(MODEL, server.config(concurrency=1))
        for seed in (1, 1, 2):
            engine.generate([user_turn("a"), user_turn("b")], WARM, seed)
        sent = [body["seed"] for _, body in server.requests]
        assert sent[:2] == sent[2:4] and len(set(sent)) == 4


def test_finish_usage_and_logprobs():
    steps = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
    with FakeServer(
        lambda n, body: completion("cut", "length", 40, 2, cached=32, token_ids=[5, 6], logprobs=steps)
    ) as server:
        [reply] = make(MODEL, server.config()).generate([user_turn("q")], Sampling(0.0, 2, logprobs=True), 0)
        assert server.requests[0][1]["logprobs"] is True
    assert (reply.finish, reply.tokens_in, reply.tokens_cached, reply.tokens_out) == ("length", 40, 32, 2)
    assert reply.token_ids == (5, 6) and reply.logprobs == (-0.5, -1.5)


def test_a_filtered_reply_has_that_finish():
    with FakeServer(lambda n, body: completion(None, "content_filter")) as server:
        [reply] = make(MODEL, server.config()).generate([user_turn("q")], GREEDY, 0)
    assert (reply.text, reply.finish) == ("", "content_filter")


def test_a_server_that_is_down():
    with FakeServer(echo) as server:
        config = server.config(retries=1)
    with pytest.raises(
        EngineError,
        match=rf"the server at {server.url} cannot be reached .*is it running\?; tried 2 times. "
        "Finished chunks are kept",
    ):
        make(MODEL, config)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(monkeypatch, status):
    monkeypatch.setenv("A_KEY", KEY)
    with FakeServer(lambda n, body: error_reply(status, f"Incorrect API key provided: {KEY}")) as server:
        message = refused(server, api_key_env="A_KEY")
        assert len(server.requests) <= 3  # at most one per chat: another try would not help
    assert (
        f"answers {status}" in message
        and "the key in A_KEY is not accepted" in message
        and "***" in message
        and KEY not in message
    )


def test_a_missing_key(monkeypatch):
    with FakeServer(echo, models=error_reply(401, "You didn't provide an API key")) as server:
        assert "it requires a key: name its environment variable in engine.api_key_env" in refused(server)
        assert "export NO_KEY=" in refused(server, api_key_env="NO_KEY")
        monkeypatch.setenv("NO_KEY", KEY + "\nX: y")  # would be another header
        message = refused(server, api_key_env="NO_KEY")
        assert "NO_KEY holds a character that no key has" in message and KEY not in message


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch, caplog, capfd, tmp_path):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("A_KEY", KEY)
    with FakeServer(lambda n, body: completion(f"{n}\nAnswer: 3")) as server:
        config = server.config(api_key_env="A_KEY")
        cell = Cell(teacher=MODEL, train="mini_gsm", protocol="single")
        generation.run(tmp_path / "debates.parquet", cell, 2, tiny.DEBATE, config)
        assert {headers["Authorization"] for headers, _ in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text + str(capfd.readouterr()) + repr(config)
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("retry_after", ["1", "date"])
def test_too_many_requests_honours_retry_after(retry_after):
    times = []

    def busy(number, body):
        times.append(time.monotonic())
        return (
            error_reply(
                429,
                "slow down",
                Retry_After="1" if retry_after == "1" else email.utils.formatdate(time.time() + 2, usegmt=True),
            )
            if number == 1
            else echo(number, body)
        )

    with FakeServer(busy) as server:
        assert texts(server, 1) == ["q0"]
    assert 0.9 < times[1] - times[0] < 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_recovers(status):
    with FakeServer(lambda n, body: error_reply(status, "oops") if n <= 2 else echo(n, body)) as server:
        assert texts(server, 1) == ["q0"] and len(server.requests) == 3


def test_a_server_that_does_not_recover():
    with FakeServer(lambda n, body: error_reply(500, "out of memory")) as server:
        assert "answers 500: 'out of memory'; tried 3 times" in refused(server, chats=1)
        assert len(server.requests) == 3


def test_a_bad_request_is_tried_once():
    with FakeServer(lambda n, body: error_reply(400, "temperature must be below 0.5")) as server:
        assert "answers 400: 'temperature must be below 0.5' (prompt 0)" in refused(server, chats=1)
        assert len(server.requests) == 1


def test_a_server_that_hangs():
    with FakeServer(lambda n, body: server.release.wait(20) and echo(n, body)) as server:
        start = time.monotonic()
        assert "gave no answer in 0.2 s (engine.timeout_s); tried 2 times" in refused(
            server, chats=2, timeout_s=0.2, retries=1
        )
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "garbage",
    [
        "<html>hello</html>",
        "",
        "{",
        {"choices": []},
        {"choices": [{"message": {"content": 3}}], "usage": {}},
        {"choices": [{"message": "x"}]},
        "[1]",
        "null",
    ],
)
def test_garbage(garbage):
    with FakeServer(lambda n, body: (200, garbage)) as server:
        message = refused(server, chats=1)
    assert f"the server at {server.url} answers 200" in message and "tried 3 times" in message


def test_garbage_is_tried_again():
    with FakeServer(lambda n, body: (200, "<html>starting</html>") if n == 1 else echo(n, body)) as server:
        assert texts(server, 1) == ["q0"]


@pytest.mark.parametrize("models", [(200, {"hello": 1}), (200, {"data": ["x"]})])
def test_a_server_of_another_kind(models):
    with FakeServer(echo, models=models) as server:
        assert "does not answer like OpenAI's" in refused(server)


def test_a_server_without_a_list_of_models():
    with FakeServer(echo, models=(404, {"error": "no"})) as server:
        assert texts(server, 1) == ["q0"]


def test_another_model():
    with FakeServer(echo) as server:
        assert f"does not serve 'other/model'; it has {MODEL}" in refused(server, model="other/model")


def test_a_wrong_address():
    with FakeServer(echo) as server:
        wrong = server.config(base_url=server.url.replace("/v1", "/v2"))
        with pytest.raises(EngineError, match=r"answers 404.*check engine.base_url"):
            engine = make(MODEL, wrong)
            engine.server.url += "/no"
            server.answer = lambda n, body: (404, {"detail": "Not Found"})
            engine.generate([user_turn("q")], GREEDY, 0)


@pytest.mark.parametrize(
    "server_message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "'max_tokens' is too large: 900",
        "the request exceeds the available context size (4096 tokens), try increasing it",
    ],
)
def test_context_overflow(server_message):
    with FakeServer(lambda n, body: error_reply(400, server_message)) as server:
        message = refused(server, chats=1)
    assert (
        message.startswith("prompt 0 with its reply is more than the context of the model")
        and "shorter replies" in message
    )


def test_requests_per_minute():
    with FakeServer(echo) as server:
        start = time.monotonic()
        texts(server, 5, requests_per_minute=600)  # one every 0.1 s; /models is the first
        assert 0.45 < time.monotonic() - start < 3


def test_half_written_replies_are_continued_if_the_server_can():
    chat = [*user_turn("q"), {"role": "assistant", "content": "so far"}]
    with FakeServer(echo, owner="vllm") as server:
        make(MODEL, server.config()).generate([chat], GREEDY, 0)
        body = server.requests[0][1]
        assert (
            body["continue_final_message"] is True
            and body["add_generation_prompt"] is False
            and body["return_token_ids"] is True
        )
    with FakeServer(echo) as server:
        with pytest.raises(
            EngineError,
            match="prompt 1 ends with a half-written reply, which the server at .* is not known to continue",
        ):
            make(MODEL, server.config()).generate([user_turn("q"), chat], GREEDY, 0)
        assert server.requests == []


def test_template_options_go_to_vllm_only():
    for owner, expected in (("vllm", {"enable_thinking": False}), ("somebody", None)):
        with FakeServer(echo, owner=owner, model="Qwen3-8B") as server:
            texts(server, 1, model="Qwen3-8B")
            assert server.requests[0][1].get("chat_template_kwargs") == expected


CHOICES = ("Yes", "No", "not sure")
CHOOSE = Sampling(0.0, 8, choices=CHOICES)


def test_choices_of_vllm():
    with FakeServer(lambda n, body: completion("No"), owner="vllm") as server:
        assert texts(server, 1, CHOOSE) == ["No"]
        assert (
            server.requests[0][1]["structured_outputs"] == {"choice": list(CHOICES)}
            and "response_format" not in server.requests[0][1]
        )


def test_choices_by_schema():
    def keep(number, body):
        enum = body["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"]
        return completion(json.dumps({"choice": enum[-1]}))

    with FakeServer(keep) as server:
        assert texts(server, 2, CHOOSE) == ["not sure", "not sure"]
        assert server.requests[0][1]["max_tokens"] > len('{"choice": "not sure"}')


def test_choices_in_free_text():
    replies = iter(["Yes", "**no.**", '"Not sure"', "Yes and no", "maybe"])

    def plain(number, body):
        return (
            error_reply(400, "response_format is not supported")
            if "response_format" in body
            else completion(next(replies))
        )

    with FakeServer(plain) as server:
        assert texts(server, 5, CHOOSE, concurrency=1) == [
            "Yes",
            "No",
            "not sure",
            "Yes and no",
            "maybe",
        ]  # the last two are not among the choices
        assert len(server.requests) == 6  # the schema was refused once
        assert server.requests[-1][1]["max_tokens"] == 8


def test_a_schema_that_is_not_kept():
    with FakeServer(lambda n, body: completion(["No", '{"choice": "Maybe"}', '{"choice": ', "[1]"][n - 1])) as server:
        assert texts(server, 4, CHOOSE, concurrency=1) == ["No", '{"choice": "Maybe"}', '{"choice": ', "[1]"]


def test_in_a_thread_with_an_event_loop():
    async def notebook(server):
        return texts(server, 2)

    with FakeServer(echo) as server:
        assert asyncio.run(notebook(server)) == ["q0", "q1"]


def test_half_a_character_is_refused():
    with FakeServer(echo) as server, pytest.raises(EngineError, match="prompt 1 cannot be encoded"):
        make(MODEL, server.config()).generate([user_turn("2"), user_turn("abc\udc80")], GREEDY, 0)


def test_wait_doubles_with_jitter(monkeypatch):
    monkeypatch.setattr(server_module, "FIRST_WAIT_S", 1.0)
    for tries in range(10):
        least = min(2**tries, 60)
        waits = {server_module.retry_wait(None, tries) for _ in range(20)}
        assert all(least <= wait <= 1.5 * least for wait in waits) and len(waits) == 20


def debate(path, server, **changes):
    cell = Cell(teacher=MODEL, train="mini_gsm", protocol="debate", seed=1)
    engine = server.config(retries=0, concurrency=1, **changes)
    return generation.run(path, cell, 6, tiny.but(tiny.DEBATE, max_new_tokens=8), engine, lambda *_: None)


def test_a_debate_resumes_after_the_server_failed(tmp_path):
    """The server dies in the second round, and the run reports it; with a new server, it ends with the same rows."""

    def answer(number, body):  # a function of the prompt and the seed
        return completion(f"Answer: {(len(body['messages'][-1]['content']) + body['seed']) % 3}")

    with FakeServer(answer) as server:
        whole = debate(tmp_path / "whole.parquet", server)
        requests = len(server.requests)
    with FakeServer(
        lambda n, body: answer(n, body) if n <= requests // 2 else error_reply(503, "going down")
    ) as server:
        with pytest.raises(EngineError, match="answers 503: 'going down'; tried 1 times. Finished chunks are kept"):
            debate(tmp_path / "resumed.parquet", server)
        port = server.port
    assert (tmp_path / "resumed.journal").read_text().count("\n") > 2
    with FakeServer(answer, port=port) as server:
        resumed = debate(tmp_path / "resumed.parquet", server)
        assert len(server.requests) < requests - requests // 2 + 6  # at most the interrupted chunk is requested again
    assert resumed.equals(whole)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "openai"}, "the engine openai needs base_url, concurrency, timeout_s, retries"),
        (
            {"name": "vllm", "batch": 8, "dtype": "auto", "share_prefix": True, "tensor_parallel": 1},
            "the engine vllm needs data_parallel",
        ),
        (
            {"name": "transformers", "batch": 8, "dtype": "auto", "share_prefix": True, "base_url": "http://x/v1"},
            "base_url belongs to another engine than transformers",
        ),
        (
            {"name": "openai", "base_url": "http://x/v1", "concurrency": 1, "timeout_s": 1.0, "retries": 0, "batch": 8},
            "batch belongs to another engine than openai",
        ),
    ],
)
def test_a_key_of_another_engine(keys, message):
    with pytest.raises(ValueError, match=message):
        params.Engine(**keys)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_an_address_that_is_invalid_or_holds_a_key(url):
    with pytest.raises(ValueError, match="base_url"):
        params.Engine(name="openai", base_url=url, concurrency=1, timeout_s=1.0, retries=0)


def test_the_address_of_the_server_is_not_part_of_the_manifest():
    with FakeServer(echo) as server:
        assert server.config(api_key_env="A_KEY", requests_per_minute=3).identity() == {"name": "openai"}
    assert tiny.ENGINE.identity() == {"name": "transformers", "batch": 8, "dtype": "float32", "share_prefix": True}
