"""The `vllm` engine: offline vLLM, each replica in a process of its own, never in that of a training.

Prompts are rendered, measured and cut into tokens here; a child gets token ids through a pipe and sends token ids back.  Tensor
parallelism is vLLM's; data parallelism is as many children, each with its own GPUs and a share of the chats, neighbours together.

So that a killed run resumes with the same rows, each completion has a seed of its own, and the prefix cache is emptied before each call: what is
cached would depend on the calls before.  Within a call the agents of a problem still share their prefix.

`choices` are vLLM's structured outputs: tokens are masked one by one, so that where choices begin alike the reply may be another than
the one that is likeliest as a whole, which the transformers engine takes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from multiprocessing.util import Finalize
from pathlib import Path

from agentark import params, store
from agentark.models import load as models

from . import Chat, Completion, EngineError, Sampling, tokens

CLOSING_S = 30  # seconds that a child has to end by itself
NOT_INSTALLED = (
    "the engine vllm needs the package vllm, which is not installed: on a machine with an NVIDIA GPU pip install 'agentark[vllm]', "
    "on a CPU make test-vllm, which makes .venv-vllm; or take engine.name: transformers"
)


class VllmEngine:
    """Generates with vLLM in child processes; `close` ends them, and so does the end of this process."""

    name = "vllm"

    def __init__(self, model: str, told: params.Engine):
        """Start the children and wait until the network is loaded.  Raises EngineError where vLLM is missing or does not start."""
        if find_spec("vllm") is None:
            raise EngineError(NOT_INSTALLED)
        from transformers import AutoConfig, GenerationConfig

        folder = models.folder(model)
        models.check_weights(model)
        self.tokenizer = models.load_tokenizer(model)
        try:
            eos = GenerationConfig.from_pretrained(folder).eos_token_id
        except OSError:  # it has none
            eos = AutoConfig.from_pretrained(folder).eos_token_id if (Path(folder) / "config.json").exists() else None
        self.ends = tokens.end_tokens(self.tokenizer, eos)
        self._replicas = [
            _Replica(model, folder, told, devices) for devices in _devices(told.tensor_parallel, told.data_parallel)
        ]
        self._close = Finalize(
            self, _close, args=(self._replicas,), exitpriority=10
        )  # before multiprocessing waits for children
        try:
            self.context = min(replica.receive() for replica in self._replicas)
        except BaseException:
            self.close()
            raise

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  Raises EngineError also where a child has ended; make a new engine then."""
        prompts = [tokens.encode(self.tokenizer, text) for text in tokens.prompt_texts(self.tokenizer, chats)]
        tokens.check_rooms(self.tokenizer, prompts, sampling, self.context)
        reply = sampling.max_new_tokens
        if sampling.choices:
            reply = max(len(choice.encode()) for choice in sampling.choices) + 1  # a token is a byte at least
        told = {
            "temperature": sampling.temperature,
            "top_p": 1.0 if sampling.choices else sampling.top_p,
            "stop_token_ids": self.ends,
            "max_tokens": reply,
            "logprobs": 0 if sampling.logprobs else None,
            "detokenize": False,
        }
        share = -(-len(prompts) // len(self._replicas))
        parts = [range(k * share, min((k + 1) * share, len(prompts))) for k in range(len(self._replicas))]
        busy = [(replica, part) for replica, part in zip(self._replicas, parts) if part]
        for replica, part in busy:
            replica.send(
                ([prompts[n] for n in part], told, sampling.choices, [store.chunk_seed(seed, n) for n in part])
            )
        made = [reply for replica, part in busy for reply in replica.receive()]
        return [
            tokens.completion(self.tokenizer, self.ends, ids, len(prompt), cached, logprobs)
            for prompt, (ids, cached, logprobs) in zip(prompts, made, strict=True)
        ]

    def close(self) -> None:
        """End the children.  Nothing can be generated any more."""
        self._close()


def _devices(tensor_parallel: int, data_parallel: int) -> list[str | None]:
    """For each replica its CUDA_VISIBLE_DEVICES; None leaves it as it is.  EngineError where there are too few GPUs."""
    import torch

    there = torch.cuda.device_count()  # asks the driver, starts nothing
    if there == 0:
        return [None] * data_parallel
    if there < tensor_parallel * data_parallel:
        raise EngineError(
            f"tensor_parallel × data_parallel = {tensor_parallel * data_parallel} GPUs, but there are {there}: lower one of them"
        )
    names = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(there)))).split(",")
    return [",".join(names[k * tensor_parallel : (k + 1) * tensor_parallel]) for k in range(data_parallel)]


class _Replica:
    """A child with vLLM in it, and this end of its pipe."""

    def __init__(self, model: str, folder: str, told: params.Engine, devices: str | None):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(theirs, model, folder, told, devices), name="agentark-vllm")
        self.process.start()
        self.asked = 0
        theirs.close()  # or the child's death would not be noticed

    def send(self, request: tuple) -> None:
        self.asked += 1
        with self._alive():
            self.pipe.send((self.asked, request))

    def receive(self):
        """The answer to the last request, or, before any, the context in tokens.  What an interrupted call did not wait for is passed over."""
        number = None
        while number != self.asked:
            with self._alive():
                number, kind, what = self.pipe.recv()
        if kind == "failed":
            raise EngineError(what)
        return what

    @contextlib.contextmanager
    def _alive(self):
        try:
            yield
        except (EOFError, OSError):
            self.process.join(CLOSING_S)
            self.end()
            code = self.process.exitcode
            how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
            raise EngineError(
                f"vLLM's process {how}"
                + (", most often for want of memory" if code == -signal.SIGKILL else "")
                + ": what it last said is above; lower engine.batch, max_model_len or gpu_memory_utilization and run again, "
                "finished chunks are kept"
            ) from None

    def end(self) -> None:
        """End the child and whatever it started, which is all in its process group."""
        self.pipe.close()
        self.process.join(CLOSING_S if self.process.is_alive() else 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def _close(replicas: list[_Replica]) -> None:
    for replica in replicas:
        replica.pipe.close()  # all at once; each ends when it reads this
    for replica in replicas:
        replica.end()


# What follows runs in the child.


def _child(pipe, model: str, folder: str, told: params.Engine, devices: str | None) -> None:
    """Load the network, say so, then answer requests until the pipe is closed."""
    os.setsid()  # an interrupt at the keyboard is the parent's to deal with
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            llm = _load(model, folder, told)
        except Exception as error:
            pipe.send((0, "failed", f"vLLM does not start with {model}: {_sentence(error)}"))
            return
        pipe.send((0, "ready", llm.model_config.max_model_len))
        try:
            while True:
                number, request = pipe.recv()
                try:
                    answer = number, "made", _made(llm, *request)
                except Exception as error:
                    answer = number, "failed", f"vLLM could not generate: {_sentence(error)}"
                pipe.send(answer)
        finally:
            llm.llm_engine.engine_core.shutdown()  # its processes end before this one, with what they share


def _sentence(error: Exception) -> str:
    """The first line of an error that says something; the whole of it goes to stderr."""
    import traceback

    traceback.print_exception(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no more is said'} (more is above)"


def _load(model: str, folder: str, told: params.Engine):
    """vLLM's LLM with the network in it.  An adapter is merged into its base first."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="agentark-merged-") as merged:
        if (Path(folder) / "adapter_config.json").exists():
            network, tokenizer = models.load(model, told.dtype)
            network.save_pretrained(merged)
            tokenizer.save_pretrained(merged)
            folder = merged
            del network
        from vllm import LLM
        from vllm.platforms import current_platform

        optional = {"gpu_memory_utilization": told.gpu_memory_utilization, "max_model_len": told.max_model_len}
        if current_platform.is_cpu():
            # Compiling takes a minute more; a prompt computed in pieces ends vLLM 0.32 where its reply has a seed; blocks are multiples of 32.
            optional |= {"enforce_eager": True, "enable_chunked_prefill": False, "block_size": 32}
        llm = LLM(
            folder,
            dtype=params.best_dtype() if told.dtype == "auto" else told.dtype,
            tensor_parallel_size=told.tensor_parallel,
            max_num_seqs=told.batch,
            enable_prefix_caching=told.share_prefix,
            generation_config="vllm",
            trust_remote_code=False,
            seed=0,
            load_format="safetensors",
            disable_log_stats=True,
            **{key: value for key, value in optional.items() if value is not None},
        )
    return llm


def _made(llm, prompts: list[list[int]], told: dict, choices: tuple[str, ...] | None, seeds: list[int]) -> list[tuple]:
    """(token ids, how many of the prompt's were cached, log-probabilities or None) of each prompt."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm.reset_prefix_cache()
    sampling = [
        SamplingParams(
            **told,
            seed=None if told["temperature"] == 0 else seed,
            structured_outputs=StructuredOutputsParams(choice=list(choices)) if choices else None,
        )
        for seed in seeds
    ]
    made = []
    for result in llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False):
        [out] = result.outputs
        if out.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"a request ended as {out.finish_reason!r}")
        logprobs = (
            [step[token].logprob for step, token in zip(out.logprobs, out.token_ids)]
            if out.logprobs is not None
            else None
        )
        made.append((list(out.token_ids), result.num_cached_tokens or 0, logprobs))
    return made
