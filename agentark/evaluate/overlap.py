"""How near an open-ended answer comes to the right ones: SQuAD's F1 and exact match, ROUGE, and TruthfulQA's comparison.

The headline numbers are F1 for short answers, ROUGE-L for summaries, and for TruthfulQA the fraction of questions whose best match
among the correct answers beats the best among the incorrect ones (DECISIONS 27 and 30).  All are between 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from agentark.tasks.problem import Problem, normalize

VERDICTS = ("yes", "no", "noanswer")
ROUGES = ("rouge1", "rouge2", "rougeL")


def exact(answer: str, references: Iterable[str]) -> float:
    """SQuAD's exact match: 1 where the answer is one of the references in SQuAD's normal form."""
    return float(normalize(answer) in {normalize(reference) for reference in references})


def f1(answer: str, references: Iterable[str]) -> float:
    """SQuAD's token F1 (in its normal form), the best over the references (DECISIONS 27).  Two empty texts agree: 1."""
    return max(_f1(normalize(answer).split(), normalize(reference).split()) for reference in references)


def hotpot_f1(answer: str, references: Iterable[str]) -> float:
    """HotpotQA's token F1: SQuAD's, but 0 where one side is just yes, no or noanswer and the other is not the same.

    So `f1_score` of the official hotpot_evaluate_v1.py (github.com/hotpotqa/hotpot): "yes, it is" is no half of "yes".
    """
    return max(_hotpot_f1(normalize(answer), normalize(reference)) for reference in references)


def _hotpot_f1(answer: str, reference: str) -> float:
    if answer != reference and (answer in VERDICTS or reference in VERDICTS):
        return 0.0
    return _f1(answer.split(), reference.split())


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = sum((Counter(answer) & Counter(reference)).values())
    return 2 * shared / (len(answer) + len(reference))


@cache
def _scorer():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGES), use_stemmer=False)


def rouge(answer: str, reference: str) -> dict[str, float]:
    """The F-measures of ROUGE-1, ROUGE-2 and ROUGE-L by the `rouge_score` library, without stemming (DECISIONS 27)."""
    found = _scorer().score(reference, answer)
    return {name: float(found[name].fmeasure) for name in ROUGES}


def truthful(answer: str, correct: Iterable[str], incorrect: Iterable[str]) -> dict[str, float]:
    """TruthfulQA's generative scores as in lm-eval's truthfulqa_gen, on a scale from 0 to 1 (DECISIONS 30).

    For each of rougeL and rouge1: `…_max`, the best match among the correct answers; `…_diff`, by how much it beats the best
    among the incorrect ones; `…_acc`, 1 where it beats it (a tie does not).
    """
    right, wrong = [[rouge(answer, reference) for reference in references] for references in (correct, incorrect)]
    scores = {}
    for name in ("rougeL", "rouge1"):
        best, worst = max(match[name] for match in right), max(match[name] for match in wrong)
        scores |= {f"{name}_max": best, f"{name}_diff": best - worst, f"{name}_acc": float(best > worst)}
    return scores


def score(text_answer: str | None, problem: Problem, measure: str) -> float:
    """The one headline number of an answer: F1 (SQuAD's or HotpotQA's), ROUGE-L (all the best over the references) or whether it is truthful by ROUGE-L.

    No answer scores 0.  Raises ValueError for another measure.
    """
    if measure not in ("f1", "hotpot_f1", "rouge", "truth"):
        raise ValueError(f"unknown measure {measure!r}; there are f1, hotpot_f1, rouge, truth")
    if text_answer is None:
        return 0.0
    references = problem.references or (problem.answer,)
    if measure == "f1":
        return f1(text_answer, references)
    if measure == "hotpot_f1":
        return hotpot_f1(text_answer, references)
    if measure == "rouge":
        return max(rouge(text_answer, reference)["rougeL"] for reference in references)
    return truthful(text_answer, references, problem.incorrect)["rougeL_acc"]
