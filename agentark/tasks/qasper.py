"""QASPER: questions on NLP papers by readers of their abstracts (Dasigi et al. 2021).

A paper does not fit into every context: of its text, the paragraphs that annotators marked as evidence are always shown, and others in the paper's
order as far as WORDS words go.  That is easier than finding the evidence in the whole paper (a departure).  Each annotator's answer is a reference:
spans joined by commas, free text, Yes or No, or "Unanswerable".  A problem's template is the first reference's kind, with "-cut" where paragraphs
were left out.  Dev is the validation set, test the test set (416 papers); never used for distillation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from . import hub, sources
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words

REPO = "allenai/qasper"  # its conversion to Parquet, as its own files are a loading script
SPLITS = {"dev": "validation", "test": "test"}
WORDS = 2400  # about 3,300 tokens: with prompt and reply within 4,096
INSTRUCTION = SHORT + ' Answer "Yes" or "No" where that is asked, and "Unanswerable" where the text does not say it.'


def reference(answer: dict) -> tuple[str, str]:
    """An annotator's answer as (text, kind); the text is empty where the annotator left everything empty."""
    if answer["unanswerable"]:
        return "Unanswerable", "unanswerable"
    if answer["extractive_spans"]:
        return ", ".join(span.strip() for span in answer["extractive_spans"]), "extractive"
    if answer["free_form_answer"].strip():
        return " ".join(answer["free_form_answer"].split()), "abstractive"
    return ("", "empty") if answer["yes_no"] is None else ("Yes" if answer["yes_no"] else "No", "boolean")


def excerpt(row: dict, evidence: set[str], words: int) -> tuple[str, bool]:
    """The paper in its own order: title, abstract, evidence, and further paragraphs while `words` last; and whether any was left out.

    Captions of figures and tables that are evidence come last.
    """
    paper = [
        (section or "", paragraph)
        for section, paragraphs in zip(row["full_text"]["section_name"], row["full_text"]["paragraphs"])
        for paragraph in paragraphs
        if paragraph.strip()
    ]
    captions = [
        text.removeprefix("FLOAT SELECTED:").strip() for text in sorted(evidence) if text.startswith("FLOAT SELECTED:")
    ]
    shown = {at for at, (_, paragraph) in enumerate(paper) if paragraph in evidence}
    left = words - len(" ".join([row["title"], row["abstract"], *captions, *(paper[at][1] for at in shown)]).split())
    for at, (_, paragraph) in enumerate(paper):
        size = len(paragraph.split())
        if at not in shown and size > left:
            break
        if at not in shown:
            shown.add(at)
            left -= size
    lines, before = [f"Title: {row['title']}", f"Abstract: {row['abstract']}"], ""
    for at in sorted(shown):
        section, paragraph = paper[at]
        lines += [f"Section: {section}"] * (section != before) + [paragraph]
        before = section
    return "\n".join([*lines, *captions]), len(shown) < len(paper)


def _problems(row: dict, split: str) -> Iterator[Problem]:
    asked = sources.column(row, "qas", "qasper")
    for name, question, annotated in zip(asked["question_id"], asked["question"], asked["answers"]):
        found = {text: kind for text, kind in map(reference, annotated["answer"]) if text}
        if not found:
            continue
        evidence = list(
            dict.fromkeys(text for answer in annotated["answer"] for text in answer["evidence"] if text.strip())
        )
        told, is_cut = excerpt(row, set(evidence), WORDS)
        answer, kind = next(iter(found.items()))
        worked = (
            [" ".join(text.removeprefix("FLOAT SELECTED:").split()) for text in evidence]
            if kind != "unanswerable"
            else []
        )
        yield Problem(
            f"qasper/{split}/{name}",
            f"{told}\n\nQuestion: {question.strip()}",
            answer,
            "\n".join([*worked, f"Answer: {answer}"]),
            kind + "-cut" * is_cut,
            references=tuple(found),
        )


def problems(split: str, n: int) -> list[Problem]:
    """The first n questions of a split; hub.HubError where the data cannot be had."""
    rows = hub.load(REPO, sources.choose(SPLITS, split, "qasper"))
    return hub.first(
        list(islice((problem for row in rows for problem in _problems(row, split)), n)), n, "qasper", split
    )


TASK = Task(
    "qasper",
    problems,
    parse_short,
    equal_words,
    INSTRUCTION,
    measure="f1",
    licence="CC-BY-4.0",
    source=hub.source(REPO),
)
