"""The `vllm` engine: offline vLLM, each replica in a process of its own, never in that of a training.

Prompts are rendered, measured and tokenized here.  A child process receives token ids through a pipe and returns token
ids.  Tensor parallelism is vLLM's; data parallelism is several children, each with its own GPUs and a part of the
chats, neighbours together.

So that a killed run resumes with the same rows, each completion has its own seed, and the prefix cache is emptied
before each call, because its content would depend on the calls before.  Within a call, the agents of a problem still
share their prefix.

`choices` are vLLM's structured outputs, which mask one token after another.  If choices start alike, the reply may
therefore differ from the one that is likeliest as a whole, which the transformers engine takes.
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

from . import Chat, Completion, EngineError, Sampling, refuse_pictures, tokens

CLOSING_S = 30  # seconds in which a child has to end by itself
NOT_INSTALLED = (
    "the engine vllm needs the package vllm, which is not installed: on a machine with an NVIDIA GPU "
    "pip install 'agentark[vllm]', on a CPU make test-vllm, which makes .venv-vllm; or set engine.name: transformers"
)


class VllmEngine:
    """Generates with vLLM in child processes, which end with `close` or with this process."""

    name = "vllm"

    def __init__(self, model: str, config: params.Engine):
        """Start the children and wait for the network; EngineError if vLLM is not installed or does not start."""
        if find_spec("vllm") is None:
            raise EngineError(NOT_INSTALLED)
        from transformers import AutoConfig, GenerationConfig

        folder = models.folder(model)
        models.check_weights(model)
        self.tokenizer = models.load_tokenizer(model)
        try:
            eos = GenerationConfig.from_pretrained(folder).eos_token_id
        except OSError:  # it has no generation config
            eos = AutoConfig.from_pretrained(folder).eos_token_id if (Path(folder) / "config.json").exists() else None
        self.ends = tokens.end_tokens(self.tokenizer, eos)
        assert config.tensor_parallel and config.data_parallel  # the params of this engine have them
        devices = _devices(config.tensor_parallel, config.data_parallel)
        self._replicas = [_Replica(model, folder, config, visible) for visible in devices]
        # The priority is higher than that at which multiprocessing waits for its children.
        self._close = Finalize(self, _close, args=(self._replicas,), exitpriority=10)
        try:
            self.context = min(replica.receive() for replica in self._replicas)
        except BaseException:
            self.close()
            raise

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  Also raises EngineError if a child has ended; create a new engine then."""
        refuse_pictures(chats, "and the engine vllm of this package sends texts only: use transformers or openai")
        prompts = [tokens.encode(self.tokenizer, text) for text in tokens.prompt_texts(self.tokenizer, chats)]
        tokens.check_lengths(self.tokenizer, prompts, sampling, self.context)
        max_tokens = sampling.max_new_tokens
        if sampling.choices:
            max_tokens = max(len(choice.encode()) for choice in sampling.choices) + 1  # a token has at least one byte
        options = {"temperature": sampling.temperature, "top_p": 1.0 if sampling.choices else sampling.top_p,
                   "stop_token_ids": self.ends, "max_tokens": max_tokens, "logprobs": 0 if sampling.logprobs else None,
                   "detokenize": False}  # fmt: skip
        share = -(-len(prompts) // len(self._replicas))
        parts = [range(k * share, min((k + 1) * share, len(prompts))) for k in range(len(self._replicas))]
        busy = [(replica, part) for replica, part in zip(self._replicas, parts, strict=True) if part]
        for replica, part in busy:
            seeds = [store.chunk_seed(seed, n) for n in part]
            replica.send(([prompts[n] for n in part], options, sampling.choices, seeds))
        replies = [reply for replica, _ in busy for reply in replica.receive()]
        return [tokens.completion(self.tokenizer, self.ends, ids, len(prompt), cached, logprobs)
                for prompt, (ids, cached, logprobs) in zip(prompts, replies, strict=True)]  # fmt: skip

    def close(self) -> None:
        """End the children.  Nothing can be generated afterwards."""
        self._close()


def _devices(tensor_parallel: int, data_parallel: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each replica; None leaves it unchanged.  Raises EngineError if there are too few GPUs."""
    import torch

    available, needed = torch.cuda.device_count(), tensor_parallel * data_parallel  # this initialises no GPU
    if available == 0:
        return [None] * data_parallel
    if available < needed:
        raise EngineError(f"tensor_parallel × data_parallel = {needed} GPUs, but there are {available}: lower one of "
                          "them")  # fmt: skip
    names = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(available)))).split(",")
    return [",".join(names[k * tensor_parallel : (k + 1) * tensor_parallel]) for k in range(data_parallel)]


class _Replica:
    """A child process that runs vLLM, and this end of its pipe."""

    def __init__(self, model: str, folder: str, config: params.Engine, devices: str | None):
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        arguments = (child_pipe, model, folder, config, devices)
        self.process = context.Process(target=_child, args=arguments, name="agentark-vllm")
        self.process.start()
        self.requests = 0
        child_pipe.close()  # otherwise the end of the child would not be noticed

    def send(self, request: tuple) -> None:
        self.requests += 1
        with self._alive():
            self.pipe.send((self.requests, request))

    def receive(self):
        """The answer to the last request, without those of interrupted calls; at first the context in tokens."""
        number = None
        while number != self.requests:
            with self._alive():
                number, kind, answer = self.pipe.recv()
        if kind == "failed":
            raise EngineError(answer)
        return answer

    @contextlib.contextmanager
    def _alive(self):
        try:
            yield
        except (EOFError, OSError):
            self.process.join(CLOSING_S)
            self.end()
            code = self.process.exitcode
            how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
            cause = ", most often for lack of memory" if code == -signal.SIGKILL else ""
            raise EngineError(
                f"vLLM's process {how}{cause}: its last messages are above; lower engine.batch, max_model_len or "
                "gpu_memory_utilization and run again, finished chunks are kept"
            ) from None

    def end(self) -> None:
        """End the child and all processes that it started, which are in its process group."""
        self.pipe.close()
        self.process.join(CLOSING_S if self.process.is_alive() else 0)
        assert self.process.pid is not None  # it was started
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def _close(replicas: list[_Replica]) -> None:
    for replica in replicas:
        replica.pipe.close()  # all of them first; each child ends when it reads this
    for replica in replicas:
        replica.end()


# The functions below run in the child.


def _child(pipe, model: str, folder: str, config: params.Engine, devices: str | None) -> None:
    """Load the network, report it, then answer requests until the pipe is closed."""
    os.setsid()  # so that the parent handles an interrupt at the keyboard
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            llm = _load(model, folder, config)
        except Exception as error:  # the parent raises it
            pipe.send((0, "failed", f"vLLM does not start with {model}: {_sentence(error)}"))
            return
        pipe.send((0, "ready", llm.model_config.max_model_len))
        try:
            while True:
                number, request = pipe.recv()
                try:
                    answer: tuple = (number, "generated", _generate(llm, *request))
                except Exception as error:  # the parent raises it
                    answer = number, "failed", f"vLLM could not generate: {_sentence(error)}"
                pipe.send(answer)
        finally:
            llm.llm_engine.engine_core.shutdown()  # its processes end before this one, which shares memory with them


def _sentence(error: Exception) -> str:
    """The first line of an error that is not blank; the whole traceback goes to stderr."""
    import traceback

    traceback.print_exception(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'} (more is above)"


def _load(model: str, folder: str, config: params.Engine):
    """vLLM's LLM with the network.  An adapter is merged into its base first."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="agentark-merged-") as merged:
        if (Path(folder) / "adapter_config.json").exists():
            network, tokenizer = models.load(model, config.dtype or "float32")
            network.save_pretrained(merged)
            tokenizer.save_pretrained(merged)
            folder = merged
            del network
        from vllm import LLM
        from vllm.platforms import current_platform

        sizes = {"gpu_memory_utilization": config.gpu_memory_utilization, "max_model_len": config.max_model_len}
        optional = {key: value for key, value in sizes.items() if value is not None}
        if current_platform.is_cpu():
            # Compiling takes a minute more.  A prompt computed in pieces ends vLLM 0.32 if its reply has a seed.
            # Blocks must be multiples of 32.
            optional |= {"enforce_eager": True, "enable_chunked_prefill": False, "block_size": 32}
        dtype = params.best_dtype() if config.dtype == "auto" else config.dtype
        llm = LLM(
            folder, dtype=dtype, load_format="safetensors", seed=0, max_num_seqs=config.batch, trust_remote_code=False,
            tensor_parallel_size=config.tensor_parallel, enable_prefix_caching=config.share_prefix,
            generation_config="vllm", disable_log_stats=True, **optional,
        )  # fmt: skip
    return llm


def _generate(llm, prompts: list[list[int]], options: dict, choices: tuple[str, ...] | None,
              seeds: list[int]) -> list[tuple]:  # fmt: skip
    """(token ids, number of cached tokens of the prompt, log-probabilities or None) of each prompt."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm.reset_prefix_cache()
    sampling = []
    for seed in seeds:
        constraint = StructuredOutputsParams(choice=list(choices)) if choices else None
        own_seed = None if options["temperature"] == 0 else seed
        sampling.append(SamplingParams(**options, seed=own_seed, structured_outputs=constraint))
    replies = []
    for result in llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False):
        [out] = result.outputs
        if out.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"a request ended as {out.finish_reason!r}")
        logprobs = None
        if out.logprobs is not None:
            logprobs = [step[token].logprob for step, token in zip(out.logprobs, out.token_ids, strict=True)]
        replies.append((list(out.token_ids), result.num_cached_tokens or 0, logprobs))
    return replies
