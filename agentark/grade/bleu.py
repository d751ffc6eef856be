"""BLEU of one answer against one reference, by sacrebleu (Post 2018).

That is tokenisation "13a", n-grams up to four words, exponential smoothing, and effective order: an answer of two words
is scored by its words and pairs alone.  lm-eval's truthfulqa_gen leaves effective order off, so that an answer of fewer
than four words always scores 0 there; such answers are the rule in the mini tier.
"""

from __future__ import annotations

from functools import cache


@cache
def _metric():
    from sacrebleu.metrics import BLEU  # here, since only one notebook needs it

    return BLEU(effective_order=True)


def bleu(answer: str, reference: str) -> float:
    """Return the BLEU of an answer, from 0 to 1; 0 if it shares no word with the reference or is empty."""
    return min(1.0, _metric().sentence_score(answer, [reference]).score / 100)  # 100.00000000000004 for equal texts
