"""Any OpenAI-compatible server: each fault of server_faults.py passes, is learnt once, or is refused in one sentence."""

import json
import random
import shutil
import subprocess

import pytest
import tiny
from fake_server import MODEL, FakeServer, completion, error_reply
from server_faults import FILTERED, FINISHES, NO_SCHEMA, ODD, PASSING, REFUSED, TOO_LONG, with_choice, with_message

from agentark import engines, notebook, params, store
from agentark.cells import Cell
from agentark.engines import EngineError, Sampling, make, refusals
from agentark.engines import server as server_module
from agentark.evaluate import group
from agentark.graph import graph
from agentark.graph.job import Job
from agentark.mas import generation
from agentark.mas.prompts import user_turn

GREEDY, WARM = Sampling(0.0, 8), Sampling(0.7, 8, top_p=0.9, logprobs=True)
CHOOSE = Sampling(0.0, 8, choices=("Yes", "No"))
KEY = "sk-very-secret-1234"
FINE = completion("fine")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(server_module, "FIRST_WAIT_S", 0.01)
    refusals.of.cache_clear()


def replies(server, chats=1, sampling=GREEDY, model=MODEL, **changes):
    engine = make(model, server.config(**{"retries": 1, **changes}))
    return engine.generate([user_turn(f"q{k}") for k in range(chats)], sampling, 0)


def texts(*args, **changes):
    return [reply.text for reply in replies(*args, **changes)]


def refused(server, **changes):
    with pytest.raises(EngineError) as caught:
        replies(server, **changes)
    assert "\n" not in str(caught.value) and server.url in str(caught.value) and MODEL in str(caught.value)
    return str(caught.value)


# Faults that pass.


@pytest.mark.parametrize("fault", PASSING)
def test_another_try(fault):
    with FakeServer(lambda n, body: PASSING[fault] if n == 1 else FINE) as server:
        assert texts(server) == ["fine"] and len(server.requests) == 2


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_does_not_pass(fault):
    with FakeServer(lambda n, body: PASSING[fault]) as server:
        assert "tried 2 times. Finished chunks are kept" in refused(server) and len(server.requests) == 2


def answer(number, body):
    """A completion that is a function of the prompt and the seed."""
    return completion(f"Answer: {(len(body['messages'][-1]['content']) + body['seed']) % 3}")


def debate(path, server, **changes):
    cell = Cell(teacher=MODEL, train="mini_gsm", protocol="debate", seed=1)
    config = tiny.but(tiny.DEBATE, max_new_tokens=8)
    return generation.run(path, cell, 6, config, server.config(**changes), lambda *_: None)


@pytest.mark.parametrize("seed", range(3))
def test_ten_faults_in_a_debate_change_no_row(tmp_path, seed):
    with FakeServer(answer) as server:
        whole = debate(tmp_path / "whole.parquet", server)
        requests = len(server.requests)
    rng = random.Random(seed)
    faults = dict(zip(rng.sample(range(1, requests + 1), 10), rng.sample([*PASSING, *ODD], 10)))

    def disturbed(number, body):
        fault = faults.get(number)
        return PASSING[fault] if fault in PASSING else ODD.get(fault, lambda body: body)(answer(number, body))

    with FakeServer(disturbed) as server:
        assert debate(tmp_path / "disturbed.parquet", server, retries=10).equals(whole)
        assert len(server.requests) == requests + sum(fault in PASSING for fault in faults.values())


@pytest.mark.parametrize("wait", ["0.01", "-5", "soon", "nan", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_forms_of_retry_after(wait):
    with FakeServer(lambda n, body: error_reply(429, "slow down", Retry_After=wait) if n == 1 else FINE) as server:
        assert texts(server) == ["fine"]


def test_a_wait_of_hours_is_left_to_the_user():
    with FakeServer(lambda n, body: error_reply(429, "daily limit", Retry_After="80000")) as server:
        assert "it asks to wait for 80000 s. Finished chunks are kept" in refused(server)


def test_an_account_without_credit_is_not_asked_again():
    quota = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
    with FakeServer(lambda n, body: (429, {"error": quota})) as server:
        assert "its account has no credit left" in refused(server, retries=5) and len(server.requests) == 1


@pytest.mark.parametrize("server_name", TOO_LONG)
def test_a_prompt_that_does_not_fit(server_name):
    with FakeServer(lambda n, body: TOO_LONG[server_name]) as server:
        message = refused(server)
        assert message.startswith("prompt 0 with its reply is more than the context") and len(server.requests) == 1


def test_what_a_provider_behind_the_server_said_is_shown():
    with FakeServer(lambda n, body: PASSING["OpenRouter's error in a body"]) as server:
        assert "answers 200 with error 429: 'Provider returned error (z-ai/glm-4.5 is temporarily" in refused(server)


def test_a_key_in_an_error_is_hidden(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    for reply in (
        (200, {"error": f"bad key {KEY}"}),
        (400, {"error": f"Unknown parameter seed for {KEY}"}),
        (500, KEY),
    ):
        with FakeServer(lambda n, body, reply=reply: reply) as server:
            message = refused(server, api_key_env="A_KEY", sampling=GREEDY)
            assert KEY not in message and "***" in message


# Parameters that a server refuses.


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_parameter_is_left_out(case, capsys):
    name, error = REFUSED[case]
    with FakeServer(lambda n, body: error if name in body else FINE) as server:
        engine = make(MODEL, server.config(concurrency=2))
        for _ in range(2):
            assert [c.text for c in engine.generate([user_turn(f"q{k}") for k in range(6)], WARM, 0)] == ["fine"] * 6
        again = make(MODEL, server.config())  # another engine of this process knows it
        again.generate([user_turn("q")], WARM, 0)
        assert sum(name in body for _, body in server.requests) <= 2  # those that were on their way together
        others = {"temperature", "top_p", "seed", "logprobs", "max_tokens"} - {name}
        assert others <= server.requests[-1][1].keys()
        found = engines.notes(MODEL, server.config())["server_refused"]
    assert capsys.readouterr().err.count(f"refuses the parameter {name}") == 1
    if name == "max_tokens":
        assert server.requests[-1][1]["max_completion_tokens"] == WARM.max_new_tokens
        assert found == {"omitted": [], "renamed": {"max_tokens": "max_completion_tokens"}}
    else:
        assert found == {"omitted": [name], "renamed": {}}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Unknown parameter: 'seed'.", "seed"),
        ("create() got an unexpected keyword argument 'seed'", "seed"),
        ("Additional properties are not allowed ('top_p' was unexpected)", "top_p"),
        ("invalid temperature: only 1 is allowed for this model", "temperature"),
        ("`temperature` may only be set to 1 when thinking is enabled.", "temperature"),
        ("Input validation error: `temperature` must be strictly positive", "temperature"),
        ("Logprobs is not supported for the current model.", "logprobs"),
        ("maxTokens isn't available", "max_tokens"),
        ("logprobs and seed are not yet supported", "logprobs"),  # the other one with the next error
        ("max_tokens is too large: 9000. This model supports at most 4096 completion tokens", None),
        ("temperature must be between 0 and 2", None),
        ("The model does not exist", None),
        ("an image is not supported", None),
    ],
)
def test_which_parameter_an_error_refuses(said, name):
    body = dict.fromkeys(("model", "messages", "temperature", "top_p", "max_tokens", "seed", "logprobs"))
    assert refusals.refused(body, {"error": {"message": said, "param": None}}, said) == name


def test_a_server_that_refuses_everything_optional():
    names = {"temperature", "top_p", "seed", "logprobs", "max_tokens", "max_completion_tokens"}

    def bare(number, body):
        wrong = sorted(names & body.keys())
        return error_reply(400, f"Unsupported parameter: '{wrong[0]}'") if wrong else FINE

    with FakeServer(bare) as server:
        assert texts(server, 3, WARM) == ["fine"] * 3
        assert server.requests[-1][1].keys() == {"model", "messages"}


@pytest.mark.parametrize("said", ["temperature must be below 0.5", "seed must be a positive integer", "Bad Request"])
def test_a_refused_value_is_not_a_refused_parameter(said):
    with FakeServer(lambda n, body: error_reply(400, said)) as server:
        message = refused(server, sampling=WARM)
        assert f"answers 400: {said!r} (prompt 0)" in message
        assert "leave it out by engine.omit" in message and "temperature, max_tokens, seed, top_p" in message
        assert len(server.requests) == 1


def test_what_the_server_refused_is_in_the_manifest(tmp_path):
    def answer(number, body):
        error = REFUSED["Mistral, seed"][1]
        return error if "seed" in body else completion(f"Answer: {len(body['messages'][-1]['content']) % 3}")

    with FakeServer(answer) as server:
        debate(tmp_path / "debates.parquet", server)
    manifest = json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())
    assert manifest["server_refused"] == {"omitted": ["seed"], "renamed": {}} and manifest["unknown_usage"] == 0


def test_parameters_of_the_params():
    with FakeServer(lambda n, body: FINE) as server:
        changes = {"omit": ["seed"], "rename": {"max_tokens": "max_completion_tokens"}}
        config = server.config(**changes, extra={"reasoning_effort": "none"})
        make(MODEL, config).generate([user_turn("q")], WARM, 0)
        body = server.requests[0][1]
    assert body.keys() == {"model", "messages", "temperature", "top_p", "logprobs", "max_completion_tokens",
                           "reasoning_effort"}  # fmt: skip
    assert config.identity() == {"name": "openai", **changes, "extra": {"reasoning_effort": "none"}}


def test_a_field_of_the_params_is_not_left_out():
    said = "Unsupported parameter: chat_template_kwargs"
    with FakeServer(lambda n, body: error_reply(400, said)) as server:
        assert said in refused(server, extra={"chat_template_kwargs": {"enable_thinking": False}})
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"omit": ["sed"]}, "omit: unknown parameter 'sed'; did you mean 'seed'"),
        ({"rename": {"max_token": "x"}}, "rename: unknown parameter 'max_token'; did you mean 'max_tokens'"),
        ({"extra": {"seed": 1}}, "extra: seed is set by the engine itself"),
        ({"extra": {"stream": True}}, "extra: stream is set by the engine itself"),
    ],
)
def test_invalid_parameters_of_the_params(keys, message):
    with FakeServer(lambda n, body: FINE) as server, pytest.raises(ValueError, match=message):
        server.config(**keys)


# Choices.


@pytest.mark.parametrize("server_name", NO_SCHEMA)
def test_choices_without_schemas(server_name):
    error = NO_SCHEMA[server_name]
    with FakeServer(lambda n, body: error if "response_format" in body else completion("**Yes.**")) as server:
        assert texts(server, 3, CHOOSE, concurrency=1) == ["Yes"] * 3 and len(server.requests) == 4


def test_choices_of_an_old_vllm():
    def old(number, body):
        names = [name for name in ("structured_outputs", "response_format") if name in body]
        return error_reply(400, f"{names[0]} is not supported") if names else completion("No")

    with FakeServer(old, owner="vllm") as server:
        assert texts(server, 1, CHOOSE) == ["No"]
        sent = [
            [name for name in ("structured_outputs", "response_format") if name in body] for _, body in server.requests
        ]
        assert sent == [["structured_outputs"], ["response_format"], []]


@pytest.mark.parametrize("text", ["Yes", '{"choice": "Yes"}', '```json\n{"answer": "Yes"}\n```', '"Yes"', " yes.\n"])
def test_a_choice_in_any_form(text):
    with FakeServer(lambda n, body: completion(text)) as server:
        assert texts(server, 1, CHOOSE) == ["Yes"]


# Replies in other forms.


@pytest.mark.parametrize("form", ODD)
def test_a_completion_in_another_form(form):
    with FakeServer(lambda n, body: ODD[form](FINE)) as server:
        [reply] = replies(server)
    assert (reply.text, reply.finish, reply.tokens_in, reply.tokens_out) == ("fine", "stop", 7, 3)


@pytest.mark.parametrize(("reason", "finish"), FINISHES.items())
def test_finish_reasons(reason, finish):
    with FakeServer(lambda n, body: completion("x", reason)) as server:
        assert replies(server)[0].finish == finish


def test_a_reply_without_a_reason_that_is_as_long_as_allowed():
    with FakeServer(lambda n, body: completion("x", None, tokens_out=8)) as server:
        assert replies(server)[0].finish == "length"


def test_a_refusal_is_the_text():
    with FakeServer(lambda n, body: with_message(FINE, content=None, refusal="I cannot")) as server:
        assert texts(server) == ["I cannot"]


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": "hm"},
        {"content": "", "reasoning": "hm"},
        {"content": "<think>\nhm, so"},
        {"content": "<think>\nhm\n</think>\n"},
    ],
)
def test_reasoning_without_an_answer(message, capsys):
    silent = with_choice(with_message(FINE, **message), finish_reason="length")
    with FakeServer(lambda n, body: silent) as server:
        said = refused(server, chats=2)
        assert "gives reasoning without an answer in 2 of 2 replies" in said
        assert "enable_thinking" in said and "reasoning_effort" in said and "max_new_tokens" in said
    with FakeServer(lambda n, body: silent if n == 2 else FINE) as server:
        assert sorted(texts(server, 3)) == sorted([message["content"] or "", "fine", "fine"])
    assert "gives reasoning without an answer in 1 of 3 replies" in capsys.readouterr().err


@pytest.mark.parametrize("server_name", FILTERED)
def test_one_prompt_that_is_filtered(server_name, capsys):
    with FakeServer(lambda n, body: FILTERED[server_name] if n == 2 else FINE) as server:
        found = sorted((reply.finish, reply.text) for reply in replies(server, 3))
    assert found == [("content_filter", ""), ("stop", "fine"), ("stop", "fine")]
    assert "which has no reply" in capsys.readouterr().err


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"total_tokens": 3}, "?"])
def test_unknown_usage(usage):
    with FakeServer(lambda n, body: {**FINE, "usage": usage}) as server:
        [reply] = replies(server)
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.tokens_cached) == ("fine", None, None, 0)


def test_unknown_usage_is_counted(tmp_path):
    def uncounted(number, body):
        return {k: v for k, v in answer(number, body).items() if k != "usage"}

    with FakeServer(answer) as server:
        counted = debate(tmp_path / "counted.parquet", server)
    with FakeServer(uncounted) as server:
        rows = debate(tmp_path / "rows.parquet", server)
    tokens = ["tokens_in", "tokens_out"]
    assert rows.drop(columns=tokens).equals(counted.drop(columns=tokens)) and rows[tokens].isna().all(axis=None)
    assert json.loads(store.manifest_path(tmp_path / "rows.parquet").read_text())["unknown_usage"] == len(rows)
    graded = {"correct": True, "score": 1.0}
    [known, unknown] = [group.single(log.assign(**graded), "mini_gsm", {}) for log in (counted, rows)]
    assert (unknown.calls == known.calls).all() and unknown.tokens_in.isna().all() and (known.tokens_in == 7).all()


# The list of models, addresses and certificates.


@pytest.mark.parametrize(
    "models",
    [
        {"object": "list", "data": None},
        {"object": "list", "data": []},
        {"data": [{"name": "something"}]},
        (403, {"error": "this key may not list models"}),
        (404, "not found"),
        (405, {"detail": "Method Not Allowed"}),
        (200, f'[{{"id": "{MODEL}"}}]'),
    ],
)
def test_lists_of_models(models):
    with FakeServer(lambda n, body: FINE, models=models) as server:
        assert texts(server) == ["fine"]


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("llama3.2:latest", "llama3.2:latest"),
        ("llama3.2", "llama3.2:latest"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("x.gguf", "x.gguf"),
        ("x.gguf", "/models/x.gguf"),
        ("hf.co/a/b:Q4", "hf.co/a/b:Q4"),
        ("gemini-2.0-flash", "models/gemini-2.0-flash"),
        ("openai/gpt-4o", "openai/*"),
    ],
)
def test_names_of_models(tmp_path, name, listed):
    with FakeServer(answer, model=listed) as server:
        cell = Cell(teacher=name, train="mini_gsm", protocol="single", seed=1)
        generation.run(tmp_path / "debates.parquet", cell, 2, tiny.DEBATE, server.config(), lambda *_: None)
        assert {body["model"] for _, body in server.requests} == {name}
    assert json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())["about"]["revision"] == name


def test_a_name_that_the_server_does_not_have():
    with FakeServer(lambda n, body: FINE, model="llama3.2:latest") as server:
        with pytest.raises(EngineError, match=r"does not serve 'llama3.1'; it has llama3.2:latest; did you mean"):
            engines.check_served([("llama3.1", server.config())])
        assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_get_the_same_request(status):
    def elsewhere(path):
        return (status, path.replace("/old", "")) if path.startswith("/old") else None

    with FakeServer(lambda n, body: FINE, redirect=elsewhere) as server:
        assert texts(server, base_url=server.url.replace("/v1", "/old/v1")) == ["fine"]


def test_a_key_is_not_redirected_to_another_host(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    with FakeServer(lambda n, body: FINE) as target:
        address = target.url.replace("127.0.0.1", "localhost")
        with FakeServer(None, redirect=lambda path: (307, address.removesuffix("/v1") + path)) as server:
            assert texts(server) == ["fine"]
            assert f"redirects to {address}/models, which is not followed" in refused(server, api_key_env="A_KEY")
    with FakeServer(None, redirect=lambda path: (302, path)) as server:
        assert "set engine.base_url to the address that answers" in refused(server)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    file = tmp_path_factory.mktemp("certificate") / "server.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, *subject, "-keyout", file, "-out", file.with_suffix(".crt")]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


def test_a_certificate_that_no_authority_signed(certificate, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with FakeServer(lambda n, body: FINE, certificate=certificate) as server:
        message = refused(server)
        assert "a certificate that this machine does not trust" in message and "SSL_CERT_FILE" in message
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
        assert texts(server) == ["fine"]
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
        with pytest.raises(EngineError, match=r"SSL_CERT_FILE = /nowhere.pem .* cannot be read"):
            replies(server)


def test_https_to_a_server_without_it():
    with FakeServer(lambda n, body: FINE) as server:
        with pytest.raises(EngineError, match="does not speak https .* write http:// in engine.base_url"):
            replies(server, base_url=server.url.replace("http:", "https:"))


# Roles.


def served(**changes):
    return {"name": "openai", "base_url": "http://localhost:1/v1", "concurrency": 1, "timeout_s": 1.0, "retries": 0,
            **changes}  # fmt: skip


def study(**sections):
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    names = {"teachers": ["llama3.2:latest"], "students": ["gpt-4o-mini"], "methods": []}
    keys = config.model_dump()
    return {**keys, "study": {**keys["study"], **names}, **sections}


def test_served_names_are_not_looked_up_here():
    run = notebook.check(study(engine=served()), "here")
    assert [name for name, _ in run.params.served()] == ["llama3.2:latest", "gpt-4o-mini"]
    teacher_only = study()
    teacher_only["debate"]["engine"] = served()
    with pytest.raises(params.ParamsError, match="'gpt-4o-mini' is no network"):
        notebook.check(teacher_only, "here")
    teacher_only["study"]["students"] = ["zoo/qwen3-0.6b"]
    assert [name for name, _ in notebook.check(teacher_only, "here").params.served()] == ["llama3.2:latest"]


def test_the_key_of_a_job_does_not_look_up_served_names():
    config = notebook.check(study(engine=served()), "here").base
    job = Job("01_debate_generation", {}, (), (), (), (), models=("llama3.2:latest",), params=config)
    assert graph.key(job, 0, pytest.fail)


def test_a_teacher_on_a_server_of_its_own(tmp_path):
    with FakeServer(answer) as server:
        cell = Cell(teacher=MODEL, train="mini_gsm", protocol="single", seed=1)
        config = tiny.but(tiny.DEBATE, engine=server.config().model_dump())
        rows = generation.run(tmp_path / "debates.parquet", cell, 2, config, tiny.ENGINE, lambda *_: None)
        assert len(rows) == len(server.requests) == 2
    about = json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())["about"]
    assert about["engine"] == {"name": "openai"} and "engine" not in about["debate"]
