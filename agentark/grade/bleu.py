"""BLEU of one answer against one reference, as sacrebleu 2.6's `sentence_bleu` has it by default (Post 2018).

That is tokenisation "13a", n-grams up to four words, exponential smoothing, and effective order: an answer of two words
is scored by its words and pairs alone.  lm-eval's truthfulqa_gen leaves effective order off, so that an answer of fewer
than four words always scores 0 there; such answers are the rule in the mini tier.
"""

from __future__ import annotations

import re
from collections import Counter
from math import exp, log

ORDER = 4  # the longest n-grams, in words
_ENTITIES = (("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_RULES = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),  # punctuation and symbols
        (r"([^0-9])([\.,])", r"\1 \2 "),  # a period or comma that no digit precedes
        (r"([\.,])([^0-9])", r" \1 \2"),  # or that no digit follows
        (r"([0-9])(-)", r"\1 \2 "),  # a dash after a digit
    )
)


def words(text: str) -> list[str]:
    """Return the tokens of a text by the rules of mteval-v13a."""
    for old, new in _ENTITIES:
        text = text.replace(old, new)
    text = f" {text.rstrip()} "
    for rule, to in _RULES:
        text = rule.sub(to, text)
    return text.split()


def bleu(answer: str, reference: str) -> float:
    """Return the BLEU of an answer, from 0 to 1; 0 if it shares no word with the reference or is empty."""
    ours, theirs = words(answer), words(reference)
    logs, smoothing = [], 1.0
    for n in range(1, min(ORDER, len(ours)) + 1):
        counts, known = (Counter(zip(*(text[i:] for i in range(n)))) for text in (ours, theirs))
        matched, total = sum((counts & known).values()), len(ours) - n + 1
        if n == 1 and not matched:
            return 0.0
        if not matched:  # the k-th order without a match counts as 1 / 2^k matches
            smoothing *= 2
        logs.append(log((matched or 1 / smoothing) / total))
    if not logs:
        return 0.0
    return min(1.0, exp(1 - len(theirs) / len(ours))) * exp(sum(logs) / len(logs))
