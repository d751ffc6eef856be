"""mini_qasper: questions on one detail of a longer text, in the role of QASPER in the paper.

A text, the "paper", describes in sections two or three systems with invented names.  The question asks for one
attribute of one of them, or which of two scored more.  For about a tenth of the questions the text does not state the
answer, which is then "unanswerable".  No other knowledge is needed.  The split is a function of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import mini
from .mini_hotpot import TOWNS
from .problem import Problem, equal_words, parse_words

SYSTEMS = ("rilo", "pado", "tesu", "niva", "kemo", "luba", "fosi", "gane", "hoku", "jira", "mavo", "sulo",
           "teka", "vidu", "zano", "bemi", "dulo", "wika", "pema", "rogu", "lito", "nesa", "kafu", "mobi")  # fmt: skip
LANGUAGES = mini.pairs("old new high low", "Greek Latin Norse Irish Dutch Persian")
UNANSWERABLE = "unanswerable"


@dataclass(frozen=True)
class Attribute:
    """The section and sentence of an attribute {v} of a system {x}, its values, and the wordings of its questions."""

    section: str
    text: str
    values: tuple[str, ...]
    wordings: tuple[str, ...]
    answer: str = "{v}"


def _numbers(*bounds: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(*bounds))


ATTRIBUTES = {
    "town": Attribute("Authors", "The authors of {x} live in {v}.", TOWNS, (
        "Where do the authors of {x} live?", "In which town do the authors of {x} live?",
        "The authors of {x} live in which town?")),
    "pages": Attribute("Data", "The corpus of {x} has {v} pages.", _numbers(100, 1000, 10), (
        "How many pages does the corpus of {x} have?", "How big is the corpus of {x}?",
        "The corpus of {x} has how many pages?"), "{v} pages"),
    "language": Attribute("Data", "The texts of {x} are in {v}.", LANGUAGES, (
        "In which language are the texts of {x}?", "Which language are the texts of {x} in?",
        "The texts of {x} are in which language?")),
    "layers": Attribute("Model", "The model {x} has {v} layers.", _numbers(2, 41), (
        "How many layers does {x} have?", "What is the number of layers of {x}?",
        "The model {x} has how many layers?"), "{v} layers"),
    "heads": Attribute("Model", "Each layer of {x} has {v} heads.", _numbers(2, 41), (
        "How many heads does each layer of {x} have?", "What is the number of heads of {x}?",
        "Each layer of {x} has how many heads?"), "{v} heads"),
    "hours": Attribute("Results", "We trained {x} for {v} hours.", _numbers(5, 100), (
        "For how many hours was {x} trained?", "How long was {x} trained?", "They trained {x} for how many hours?"),
        "{v} hours"),
    "points": Attribute("Results", "On the test set {x} scored {v} points.", _numbers(20, 100), (
        "How many points did {x} score?", "What is the score of {x}?", "On the test set {x} scored how many points?"),
        "{v} points"),
}  # fmt: skip
BETTER = ("Which scored more, {x} or {y}?", "Which is better on the test set, {x} or {y}?",
          "Did {x} or {y} score more points?")  # fmt: skip
WORDINGS = {**{name: attribute.wordings for name, attribute in ATTRIBUTES.items()}, "better": BETTER}
FILLERS = {"Authors": ("We thank all readers of this paper.", "Both towns paid for the work."),
           "Data": ("All texts are free to use.", "Two people read each text by hand."),
           "Model": ("The code is free to use.", "All models share the same code."),
           "Results": ("More work is needed here.", "All scores are given for one run.")}  # fmt: skip
FRAMES = ("{paper}\n{question}", "{question}\n{paper}", "Paper:\n{paper}\nQuestion: {question}",
          "Read this.\n{paper}\n{question}")  # fmt: skip


@dataclass(frozen=True, order=True)
class Fact:
    attribute: str
    system: str
    value: str

    @property
    def text(self) -> str:
        return ATTRIBUTES[self.attribute].text.format(x=self.system, v=self.value)

    @property
    def answer(self) -> str:
        return ATTRIBUTES[self.attribute].answer.format(v=self.value)


@dataclass(frozen=True)
class Case:
    """The content of a question: its target ("better" or an attribute), its system or two, and all facts (sorted)."""

    target: str
    systems: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def paper(self) -> str:
        """The statements of the paper, of which the split is a function."""
        return " ".join(fact.text for fact in self.facts)

    @property
    def key(self) -> str:
        return f"{self.target} {' '.join(self.systems)} {self.paper}"

    @property
    def needed(self) -> list[Fact]:
        """The facts that state the answer; empty if it is not stated."""
        attribute = "points" if self.target == "better" else self.target
        facts = {(fact.attribute, fact.system): fact for fact in self.facts}
        return [facts[attribute, system] for system in self.systems if (attribute, system) in facts]

    @property
    def answer(self) -> str:
        if self.target == "better":
            return max(self.needed, key=lambda fact: int(fact.value)).system
        return self.needed[0].answer if self.needed else UNANSWERABLE

    @property
    def references(self) -> tuple[str, ...]:
        if self.answer == UNANSWERABLE:
            return UNANSWERABLE, "not stated"
        return (self.answer, self.needed[0].value) if self.answer.endswith(f" {self.target}") else (self.answer,)


def _write(case: Case, rng: Random, facts: list[Fact], answer: str) -> str:
    lines = [fact.text for fact in facts] or [f"{case.target} of {case.systems[0]}: not stated."]
    if rng.random() < 0.5:
        lines.insert(0, f"asked: {case.target} of {' or '.join(case.systems)}.")
    return "\n".join([*lines, f"Answer: {answer}"])


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: the sentences with the answer and the answer, or the target before them."""
    return _write(case, rng, case.needed, case.answer)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: another system's sentence, a misread value, "not stated", or the lower score."""
    if case.target == "better":
        x, y = case.needed
        loser = next(system for system in case.systems if system != case.answer)
        swapped = [Fact(x.attribute, x.system, y.value), Fact(x.attribute, y.system, x.value)]
        facts = [x, y] if rng.random() < 0.5 else swapped
        return _write(case, rng, facts, loser)
    others = [fact for fact in case.facts if fact.attribute == case.target and fact.system != case.systems[0]]
    values = [value for value in ATTRIBUTES[case.target].values if value not in {fact.value for fact in case.needed}]
    wrong = (
        rng.choice(others) if others and rng.random() < 0.6 else Fact(case.target, case.systems[0], rng.choice(values))
    )
    if case.needed and rng.random() < 0.1:
        return _write(case, rng, [], UNANSWERABLE)
    return _write(case, rng, [wrong], wrong.answer)


def _case(rng: Random, target: str) -> Case:
    """A case: three systems with five or six attributes each, or two with six or seven; no value occurs twice."""
    systems = rng.sample(SYSTEMS, rng.choice((2, 3, 3)))
    values = {name: rng.sample(attribute.values, 3) for name, attribute in ATTRIBUTES.items()}
    unstated = target != "better" and rng.random() < 0.12
    chosen = rng.sample(systems, 2 if target == "better" else 1)
    facts = []
    for n, system in enumerate(systems):
        needed = {"points" if target == "better" else target} if system in chosen else set()
        names = [name for name in ATTRIBUTES if name not in needed]
        is_short = len(systems) < 3 and ((unstated and system in chosen) or rng.random() < 0.5)
        size = 6 - rng.randint(0, 1) if len(systems) == 3 else 7 - is_short
        kept = rng.sample(names, size) if unstated else [*needed, *rng.sample(names, size - len(needed))]
        facts += [Fact(name, system, values[name][n]) for name in kept]
    return Case(target, tuple(chosen), tuple(sorted(facts)))


def _tell(case: Case, rng: Random) -> str:
    """The paper: an opening with the names of its systems, and its facts by section, with a few empty phrases."""
    systems = sorted({fact.system for fact in case.facts})
    rng.shuffle(systems)
    sections: dict[str, list[str]] = {section: [] for section in FILLERS}
    for fact in case.facts:
        sections[ATTRIBUTES[fact.attribute].section].append(fact.text)
    for section in rng.sample(tuple(FILLERS), 4 if len(systems) == 2 else rng.randint(0, 1)):
        sections[section].append(rng.choice(FILLERS[section]))
    for sentences in sections.values():
        rng.shuffle(sentences)
    lines = [f"{section}: {' '.join(sentences)}" for section, sentences in sections.items() if sentences]
    return "\n".join([f"We compare {', '.join(systems[:-1])} and {systems[-1]}.", *lines])


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only."""
    count = 0
    while True:
        target = rng.choice(tuple(WORDINGS))
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(WORDINGS[target]))
        template = f"{target}-{frame}-{wording}"
        home = mini.template_split("mini_qasper", template)
        if home != mini.next_home(split, count):
            continue
        case = _case(rng, target)
        if mini.split_of(f"mini_qasper {case.paper}") != split:
            continue
        question = WORDINGS[target][wording].format(x=case.systems[0], y=case.systems[-1])
        text, name = FRAMES[frame].format(paper=_tell(case, rng), question=question), f"mini_qasper/{split}/{count}"
        solution, held_out = solve(case, rng), home != "train"
        yield case, Problem(name, text, case.answer, solution, template, held_out, references=case.references)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    return mini.first("mini_qasper", stream, split, n)


TASK = mini.task("mini_qasper", problems, parse_words, equal_words, "f1")
TASKS = (TASK,)
