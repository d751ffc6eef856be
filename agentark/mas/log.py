"""The log of a protocol: chunks of prompts go in, journaled rows come out, one per (problem, round, agent)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agentark import params, store
from agentark.engines import Chat, Completion, Engine, Sampling
from agentark.tasks import Problem, Task

from . import prompts

Prompts = Sequence[tuple[int, Chat]]  # (agent, its prompt)


class Logger:
    """Generates the completions of a round in chunks of problems and journals each chunk.

    In each round the problems that are still in debate are cut into chunks again, so that batches stay full; they
    follow from the rounds before, so that a resumed run has the same chunks.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        task: Task,
        config: params.Debate,
        seed: int,
        journal: store.Journal,
        progress: Callable[[str, int, int], None],
    ):
        self.engine, self.task, self.config = engine, task, config
        self.seed, self.journal, self.progress = seed, journal, progress
        self.sampling = Sampling(config.temperature, config.max_new_tokens, config.top_p)

    def round(
        self,
        number: int,
        label: str,
        problems: list[Problem],
        prompts_of: Callable[[Problem], Prompts],
        logprobs: bool = False,
    ) -> list[dict]:
        """Return the rows of one round; finished chunks are read.  `prompts_of` gives the prompts of a problem.

        logprobs: whether rows have `log_prob`, that of the whole completion in nats.
        """
        sampling = replace(self.sampling, logprobs=logprobs)
        rows: list[dict] = []
        size = self.config.chunk
        chunks = [problems[start : start + size] for start in range(0, len(problems), size)]
        for index, chunk in enumerate(chunks):
            key = f"{label} {index}"
            if key not in self.journal.chunks:
                work = [(p, *prompt) for p in chunk for prompt in prompts_of(p)]
                seed = store.chunk_seed(self.seed, key)
                completions = self.engine().generate([chat for _, _, chat in work], sampling, seed)
                pairs = zip(work, completions, strict=True)
                self.journal.add(key, [self.row(p, number, agent, c) for (p, agent, _), c in pairs])
            rows += self.journal.chunks[key]
            self.progress(label, index + 1, len(chunks))
        return rows

    def independent(self, problems: list[Problem], samples: int, logprobs: bool = False) -> list[dict]:
        """Return `samples` independent answers to each problem, in round 1 (3.1): agents see the question alone."""

        def same(p: Problem) -> Prompts:
            return [(agent, prompts.user_turn(self.task.prompt(p), p.image)) for agent in range(1, samples + 1)]

        return self.round(1, "round 1", problems, same, logprobs)

    def row(self, problem: Problem, number: int, agent: int, c: Completion) -> dict:
        """Return a row of the log, with the answer as the protocol reads it; grading decides whether it is right."""
        parsed = self.task.parse(c.text, problem)
        row = {"problem": problem.id, "round": number, "agent": agent, "text": c.text}
        row |= {"answer": parsed.flexible, "strict": parsed.strict is not None, "finish": c.finish}
        row |= {} if c.logprobs is None else {"log_prob": sum(c.logprobs)}
        return row | {"tokens_in": c.tokens_in, "tokens_cached": c.tokens_cached, "tokens_out": c.tokens_out}
