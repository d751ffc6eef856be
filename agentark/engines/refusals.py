"""Parameters of a request that a server refuses: which one, and what is sent from then on.

A parameter is left out as soon as an error of the server names it as unsupported; `max_tokens` becomes
`max_completion_tokens` first.  An error about the *value* of a parameter is not a refusal.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

NEW_NAME = {"max_tokens": "max_completion_tokens"}
# What a request may do without, that which matters least first: a server that excludes two together loses the first.
OPTIONAL = ("return_token_ids", "logprobs", "seed", "top_p", "chat_template_kwargs", "structured_outputs",
            "response_format", "max_completion_tokens", "max_tokens", "temperature")  # fmt: skip
CONSTRAINTS = ("structured_outputs", "response_format")  # of which any complaint is a refusal
EFFECT = {
    "logprobs": "log-probabilities are missing",
    "seed": "a run that is repeated samples other replies",
    "top_p": "the server's default applies",
    "temperature": "the server's default applies, also where a greedy reply was requested",
    "max_tokens": "replies are as long as the server allows",
    "max_completion_tokens": "replies are as long as the server allows",
    "structured_outputs": "choices are requested as a JSON schema",
    "response_format": "choices are read from free text",
}
_REFUSES = re.compile(
    r"(?:un|not |n't )(?:yet |currently |an? )?"
    r"(?:support|recogni[sz]ed|known|expected|permitted|available|allowed|enabled|implemented|accept|valid param)"
    r"|forbidden|deprecated|no longer|no such|cannot (?:both )?be (?:specified|set|used)|cannot find field"
    r"|(?:only|must be) the default|only \S+ is (?:allowed|supported)|may only be set|must be strictly positive",
    re.IGNORECASE,
)
_SCHEMA = re.compile(r"response.?format|json.?schema|structured|grammar|guided", re.IGNORECASE)


@dataclass
class Refusals:
    """What one server refuses for one model: names that are left out, and names that are sent under another."""

    omitted: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """A body without the names that are left out, and with the other names."""
        return {self.renamed.get(k, k): v for k, v in body.items() if not {k, self.renamed.get(k, k)} & self.omitted}

    def learn(self, body: dict[str, Any], error: Any, message: str, where: str) -> bool:
        """Whether an error refuses a parameter of `body`, which is then left out or renamed, and reported on stderr.

        error: the body of the response; message: what it says.
        """
        name = refused(body, error, message)
        if name is None:
            return False
        if name in self.omitted or name in self.renamed:  # another request has learnt it while this one was sent
            return True
        if name in NEW_NAME:
            self.renamed[name] = NEW_NAME[name]
            change = f"it is sent as {NEW_NAME[name]}"
        else:
            self.omitted.add(name)
            change = f"it is left out: {EFFECT[name]}" if name in EFFECT else "it is left out"
        print(f"{where} refuses the parameter {name} ({message}); {change}", file=sys.stderr, flush=True)
        return True


@cache
def of(url: str, model: str) -> Refusals:
    """What a server has refused so far, which all engines of this process share."""
    return Refusals()


def refused(body: dict[str, Any], error: Any, message: str) -> str | None:
    """The parameter of a request that an error refuses, or None."""
    fields = error.get("error") if isinstance(error, dict) else None
    named = fields.get("param") if isinstance(fields, dict) else None
    sent = [name for name in OPTIONAL if name in body]
    if _REFUSES.search(message):
        if named in sent:
            return named
        # topP, `top_p` and 'top_p' are one word
        words = {word.replace("_", "").lower() for word in re.findall(r"[A-Za-z_]+", message)}
        if found := next((name for name in sent if name.replace("_", "") in words), None):
            return found
    constraints = [name for name in CONSTRAINTS if name in body]
    return constraints[0] if constraints and _SCHEMA.search(message) else None
