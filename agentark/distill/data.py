"""Training sequences: prompts and completions with a weight, and their tokens; two completions with a preference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

from agentark.engines.tokens import content
from agentark.mas import prompts
from agentark.tasks import Problem

_ANSWER_LINE = re.compile(r"^[^\n]*\banswer\b[^\n]*\Z", re.IGNORECASE | re.MULTILINE)


class DistillError(RuntimeError):
    """A student that cannot be trained with this configuration; the message says why and what to do."""


@dataclass(frozen=True)
class Example:
    """One training sequence; `weight` multiplies its loss, and `image` is the key of the picture in its prompt."""

    problem: str
    prompt: str
    completion: str
    weight: float = 1.0
    image: str = ""


@dataclass(frozen=True)
class Pair:
    """Two completions of one prompt, of which a student is to prefer the first."""

    problem: str
    prompt: str
    preferred: str
    other: str


def check_columns(traces: pd.DataFrame) -> None:
    """Raise DistillError if a table of traces is older than its controls, and does not say what was cut off."""
    if "finish" not in traces:
        raise DistillError(
            "these traces do not say which of them were cut off and which are the controls of DA (they have no column "
            "`finish`): an earlier version made them; extract them anew (notebook 02_filtering)"
        )


def token_counts(examples: list[Example], tokenizer) -> list[int]:
    """The number of tokens of each completion, without the end of the turn."""
    if not examples:
        return []
    return [len(ids) for ids in tokenizer([e.completion for e in examples], add_special_tokens=False).input_ids]


def completion_tokens(examples: list[Example], tokenizer) -> int:
    """The number of tokens of the completions, without the end of the turn."""
    return sum(token_counts(examples, tokenizer))


def refuse_pictures(problems: Iterable[Problem], what: str) -> None:
    """Raise DistillError, with `what` cannot learn from them, if a problem has a picture."""
    if (first := next((p.id for p in problems if p.image), None)) is not None:
        raise DistillError(
            f"problem {first} has a picture, from which {what} cannot learn here: take a method that imitates (sft, "
            "rsft, da), or a task without pictures"
        )


def encode(example: Example, tokenizer, answer_weight: float, patches: int = 0) -> dict[str, list]:
    """Token ids, labels (-100 on the prompt: the loss is on the completion only) and a weight per token.

    Tokens of the final answer line weigh `answer_weight` (Eq. 1's λ), all others 1; both times the example's weight.
    A picture is `patches` tokens, and its key is added as `pictures`; a student for which that is 0 sees none.
    """
    if example.image and not patches:
        raise DistillError(
            f"problem {example.problem} has a picture, which a student without a vision tower cannot see: take "
            "another student, or a task without pictures"
        )
    chat = [content(turn) for turn in prompts.user_turn(example.prompt, example.image)]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": example.completion}], tokenize=False)
    if not whole.startswith(prompt):
        raise DistillError(
            "the chat template writes the prompt of a finished turn differently from that of an open one, so that its "
            "completion cannot be located"
        )
    answer = _ANSWER_LINE.search(example.completion.rstrip())
    answer_start = len(prompt) + answer.start() if answer else len(whole)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _ in encoded.offset_mapping]
    pairs = zip(encoded.input_ids, starts, strict=True)
    labels = [token if start >= len(prompt) else -100 for token, start in pairs]
    weights = [example.weight * (answer_weight if start >= answer_start else 1.0) for start in starts]
    row = {"input_ids": encoded.input_ids, "labels": labels, "weights": weights}
    if not example.image:
        return row
    from agentark.engines.images import IMAGE

    repeats = [patches if token == IMAGE else 1 for token in tokenizer.convert_ids_to_tokens(encoded.input_ids)]
    longer = {name: [x for x, n in zip(row[name], repeats, strict=True) for _ in range(n)] for name in row}
    return {**longer, "pictures": [example.image]}


def encode_all(
    examples: list[Example],
    tokenizer,
    answer_weight: float,
    max_length: int,
    max_dropped_share: float,
    patches: int = 0,
) -> tuple[list[dict], int]:
    """Return the encoded examples of at most `max_length` tokens, and how many longer ones are dropped (none is cut).

    Raises DistillError if all or more than `max_dropped_share` of them would be dropped.
    """
    rows = [encode(example, tokenizer, answer_weight, patches) for example in examples]
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    dropped = len(rows) - len(kept)
    if not kept or dropped > max_dropped_share * len(rows):
        longest = max(len(row["input_ids"]) for row in rows)
        long = f"{dropped} of {len(rows)} examples are longer than distill.max_length = {max_length} tokens"
        advice = f"raise it, or allow more by distill.max_dropped_share = {max_dropped_share}"
        raise DistillError(f"{long} (the longest has {longest}); {advice}")
    return kept, dropped
