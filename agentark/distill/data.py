"""What each method teaches: pairs of prompt and completion with a weight, and their tokens.

| method        | completion                                                | weight of a sequence |
|---------------|-----------------------------------------------------------|----------------------|
| `sft`         | the gold solution's answer line alone (G.1)               | 1                    |
| `rsft`        | one correct debate trace a problem, corrective first (3.3.1) | 1                 |
| `da`          | k diverse correct debate traces a problem (3.3.2)         | 1/k (Eq. 2)          |
| `rsft_single` | control: as many correct traces from before the debate    | 1                    |
| `continued`   | control: gold solutions, as many tokens as `rsft` sees    | 1                    |
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import cycle
from random import Random

import pandas as pd

from agentark.tasks import Problem, Task

_ANSWER_LINE = re.compile(r"^[^\n]*\banswer\b[^\n]*\Z", re.IGNORECASE | re.MULTILINE)


class DistillError(RuntimeError):
    """A student that cannot be trained as told: the message says why and what to do."""


@dataclass(frozen=True)
class Example:
    """One training sequence; `weight` multiplies its loss."""

    problem: str
    prompt: str
    completion: str
    weight: float = 1.0


def examples(
    method: str, task: Task, problems: list[Problem], traces: pd.DataFrame, tokenizer, seed: int
) -> list[Example]:
    """The training examples of a method.  `traces` is extraction's table; raises DistillError where there are none."""
    prompts = {p.id: task.prompt(p) for p in problems}
    if method == "sft":
        made = [Example(p.id, prompts[p.id], p.solution.splitlines()[-1]) for p in problems]
    elif method == "continued":
        target = completion_tokens(examples("rsft", task, problems, traces, tokenizer, seed), tokenizer)
        made = _gold(problems, prompts, target, tokenizer, seed)
    else:
        source = "single" if method == "rsft_single" else "debate"
        mine = traces[traces.source == source]
        mine = mine[mine.diversity_rank >= 0] if method == "da" else mine[mine.rsft]
        # Eq. 2: 1/k for each of the k traces of a problem, so that a problem weighs one.
        k = Counter(mine.problem)
        made = [
            Example(t.problem, prompts[t.problem], t.text.strip(), 1 / k[t.problem] if method == "da" else 1.0)
            for t in mine.itertuples()
        ]
    if not made:
        raise DistillError(f"there is nothing to learn for {method}: extraction kept no trace; look at its counts")
    return made


def _gold(problems: list[Problem], prompts: dict[str, str], tokens: int, tokenizer, seed: int) -> list[Example]:
    """Gold solutions in seeded order, again from the start where needed, until they have as many completion tokens."""
    order = list(problems)
    Random(seed).shuffle(order)
    made: list[Example] = []
    seen = 0
    for problem in cycle(order):
        if seen >= tokens:
            return made
        made.append(Example(problem.id, prompts[problem.id], problem.solution))
        seen += completion_tokens(made[-1:], tokenizer)


def completion_tokens(made: list[Example], tokenizer) -> int:
    """How many tokens the completions have, the end of the turn not counted."""
    return sum(len(ids) for ids in tokenizer([e.completion for e in made], add_special_tokens=False).input_ids)


def encode(example: Example, tokenizer, answer_weight: float) -> dict[str, list]:
    """Token ids, labels (-100 on the prompt: the loss is on the completion only) and a weight per token.

    Tokens of the final answer line weigh `answer_weight` (Eq. 1's λ), all others 1; both times the example's weight.
    The boundary between prompt and completion is found in the rendered text, by character offsets.
    """
    chat = [{"role": "user", "content": example.prompt}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": example.completion}], tokenize=False)
    if not whole.startswith(prompt):
        raise DistillError(
            "the chat template writes the prompt of a finished turn otherwise than that of an open one: its completion cannot be told apart"
        )
    answer = _ANSWER_LINE.search(example.completion.rstrip())
    answer_at = len(prompt) + answer.start() if answer else len(whole)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _ in encoded.offset_mapping]
    return {
        "input_ids": encoded.input_ids,
        "labels": [token if start >= len(prompt) else -100 for token, start in zip(encoded.input_ids, starts)],
        "weights": [example.weight * (answer_weight if start >= answer_at else 1.0) for start in starts],
    }


def encode_all(
    made: list[Example], tokenizer, answer_weight: float, max_length: int, max_dropped_share: float
) -> tuple[list[dict], int]:
    """Encode examples; those longer than `max_length` tokens are dropped, never cut.

    Returns (rows, how many were dropped).  Raises DistillError where more than `max_dropped_share` would be.
    """
    rows = [encode(example, tokenizer, answer_weight) for example in made]
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    dropped = len(rows) - len(kept)
    if not kept or dropped > max_dropped_share * len(rows):
        longest = max(len(row["input_ids"]) for row in rows)
        raise DistillError(
            f"{dropped} of {len(rows)} examples are longer than distill.max_length = {max_length} tokens (the longest has {longest}); "
            f"raise it, or allow more by distill.max_dropped_share = {max_dropped_share}"
        )
    return kept, dropped
