"""Scores open-ended answers by their overlap with references: F1, exact match, ROUGE, and TruthfulQA's scores.

The headline numbers are F1 for short answers, ROUGE-L for summaries, and for TruthfulQA the fraction of questions whose
best match with a correct answer is higher than that with an incorrect one (DECISIONS 27 and 30).  All scores are
between 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from agentark.tasks.problem import Problem, normalize

VERDICTS = ("yes", "no", "noanswer")
ROUGES = ("rouge1", "rouge2", "rougeL")


def exact(answer: str, references: Iterable[str]) -> float:
    """Return SQuAD's exact match: 1 if the answer equals a reference after SQuAD's normalisation, else 0."""
    return float(normalize(answer) in {normalize(reference) for reference in references})


def f1(answer: str, references: Iterable[str]) -> float:
    """Return SQuAD's token F1, the best over the references (DECISIONS 27); two empty texts score 1."""
    return max(_f1(normalize(answer).split(), normalize(reference).split()) for reference in references)


def hotpot_f1(answer: str, references: Iterable[str]) -> float:
    """Return HotpotQA's token F1: SQuAD's, but 0 if one text is yes, no or noanswer and the other one differs.

    This is `f1_score` of the official hotpot_evaluate_v1.py (github.com/hotpotqa/hotpot).
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
    """Return the F-measures of ROUGE-1, ROUGE-2 and ROUGE-L by `rouge_score`, without stemming (DECISIONS 27)."""
    scores = _scorer().score(reference, answer)
    return {name: float(scores[name].fmeasure) for name in ROUGES}


def truthful(answer: str, correct: Iterable[str], incorrect: Iterable[str]) -> dict[str, float]:
    """Return TruthfulQA's generative scores as in lm-eval's truthfulqa_gen, on a scale from 0 to 1 (DECISIONS 30).

    For each of rougeL and rouge1: `…_max` is the best match with a correct answer, `…_diff` its margin over the best
    match with an incorrect one, and `…_acc` is 1 if the margin is positive (0 for a tie).
    """
    right, wrong = [[rouge(answer, reference) for reference in references] for references in (correct, incorrect)]
    scores: dict[str, float] = {}
    for name in ("rougeL", "rouge1"):
        best, worst = max(match[name] for match in right), max(match[name] for match in wrong)
        scores |= {f"{name}_max": best, f"{name}_diff": best - worst, f"{name}_acc": float(best > worst)}
    return scores


def score(text_answer: str | None, problem: Problem, measure: str) -> float:
    """Return the headline score of an answer, in [0, 1].

    `measure` is "f1" (SQuAD's), "hotpot_f1", "rouge" (ROUGE-L), each the best over the references, or "truth" (1 if
    truthful by ROUGE-L).  None as an answer scores 0.  Raises ValueError for another measure.
    """
    if measure not in ("f1", "hotpot_f1", "rouge", "truth"):
        raise ValueError(f"unknown measure {measure!r}; choose f1, hotpot_f1, rouge or truth")
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
