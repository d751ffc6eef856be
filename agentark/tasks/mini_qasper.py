"""mini_qasper: questions on one detail of a longer paper, in the role that QASPER has in the paper.

A "paper" tells in sections what two or three systems with invented names are like; the question asks for one attribute of
one of them, or which of two scored more.  About a tenth of what is asked for is not stated: the answer is "unanswerable".
Nothing is to be known beforehand.  The split is a function of the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .mini_hotpot import TOWNS
from .problem import Problem, Task, bucket, equal_words, parse_words, take

SYSTEMS = (
    "rilo",
    "pado",
    "tesu",
    "niva",
    "kemo",
    "luba",
    "fosi",
    "gane",
    "hoku",
    "jira",
    "mavo",
    "sulo",
    "teka",
    "vidu",
    "zano",
    "bemi",
    "dulo",
    "wika",
    "pema",
    "rogu",
    "lito",
    "nesa",
    "kafu",
    "mobi",
)
LANGUAGES = tuple(
    f"{age} {name}"
    for age in ("old", "new", "high", "low")
    for name in ("Greek", "Latin", "Norse", "Irish", "Dutch", "Persian")
)
UNANSWERABLE = "unanswerable"


@dataclass(frozen=True)
class Attribute:
    """Where and how an attribute {v} of a system {x} is told, its values, the question's wordings and the answer's form."""

    section: str
    text: str
    values: tuple[str, ...]
    wordings: tuple[str, ...]
    answer: str = "{v}"


def _numbers(*of: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(*of))


ATTRIBUTES = {
    "town": Attribute(
        "Authors",
        "The authors of {x} live in {v}.",
        TOWNS,
        (
            "Where do the authors of {x} live?",
            "In which town do the authors of {x} live?",
            "The authors of {x} live in which town?",
        ),
    ),
    "pages": Attribute(
        "Data",
        "The corpus of {x} has {v} pages.",
        _numbers(100, 1000, 10),
        (
            "How many pages does the corpus of {x} have?",
            "How big is the corpus of {x}?",
            "The corpus of {x} has how many pages?",
        ),
        "{v} pages",
    ),
    "language": Attribute(
        "Data",
        "The texts of {x} are in {v}.",
        LANGUAGES,
        (
            "In which language are the texts of {x}?",
            "Which language are the texts of {x} in?",
            "The texts of {x} are in which language?",
        ),
    ),
    "layers": Attribute(
        "Model",
        "The model {x} has {v} layers.",
        _numbers(2, 41),
        (
            "How many layers does {x} have?",
            "What is the number of layers of {x}?",
            "The model {x} has how many layers?",
        ),
        "{v} layers",
    ),
    "heads": Attribute(
        "Model",
        "Each layer of {x} has {v} heads.",
        _numbers(2, 41),
        (
            "How many heads does each layer of {x} have?",
            "What is the number of heads of {x}?",
            "Each layer of {x} has how many heads?",
        ),
        "{v} heads",
    ),
    "hours": Attribute(
        "Results",
        "We trained {x} for {v} hours.",
        _numbers(5, 100),
        ("For how many hours was {x} trained?", "How long was {x} trained?", "They trained {x} for how many hours?"),
        "{v} hours",
    ),
    "points": Attribute(
        "Results",
        "On the test set {x} scored {v} points.",
        _numbers(20, 100),
        ("How many points did {x} score?", "What is the score of {x}?", "On the test set {x} scored how many points?"),
        "{v} points",
    ),
}
BETTER = (
    "Which scored more, {x} or {y}?",
    "Which is better on the test set, {x} or {y}?",
    "Did {x} or {y} score more points?",
)
ASKED = {**{name: attribute.wordings for name, attribute in ATTRIBUTES.items()}, "better": BETTER}
FILLERS = {
    "Authors": ("We thank all readers of this paper.", "Both towns paid for the work."),
    "Data": ("All texts are free to use.", "Two people read each text by hand."),
    "Model": ("The code is free to use.", "All models share the same code."),
    "Results": ("More work is needed here.", "All scores are given for one run."),
}
FRAMES = (
    "{paper}\n{question}",
    "{question}\n{paper}",
    "Paper:\n{paper}\nQuestion: {question}",
    "Read this.\n{paper}\n{question}",
)


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
    """A question's content: what is asked ("better", or an attribute) of which system (or two), and the paper's facts (sorted)."""

    asked: str
    about: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def paper(self) -> str:
        """What the paper states: what the split is a function of."""
        return " ".join(fact.text for fact in self.facts)

    @property
    def key(self) -> str:
        return f"{self.asked} {' '.join(self.about)} {self.paper}"

    @property
    def needed(self) -> list[Fact]:
        """The facts that the answer is read from: none where it is not stated."""
        attribute = "points" if self.asked == "better" else self.asked
        return [
            fact for system in self.about for fact in self.facts if (fact.attribute, fact.system) == (attribute, system)
        ]

    @property
    def answer(self) -> str:
        if self.asked == "better":
            return max(self.needed, key=lambda fact: int(fact.value)).system
        return self.needed[0].answer if self.needed else UNANSWERABLE

    @property
    def references(self) -> tuple[str, ...]:
        if self.answer == UNANSWERABLE:
            return UNANSWERABLE, "not stated"
        return (self.answer, self.needed[0].value) if self.answer.endswith(f" {self.asked}") else (self.answer,)


def template_split(template: str) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"mini_qasper template {template}", (50, 10, 40))


def _write(case: Case, rng: Random, facts: list[Fact], answer: str) -> str:
    lines = [fact.text for fact in facts] or [f"{case.asked} of {case.about[0]}: not stated."]
    if rng.random() < 0.5:
        lines.insert(0, f"asked: {case.asked} of {' or '.join(case.about)}.")
    return "\n".join([*lines, f"Answer: {answer}"])


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: the sentences that are looked up and the answer, or first what is asked."""
    return _write(case, rng, case.needed, case.answer)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: another system's sentence, a misread value, or nothing found; or the lower score taken."""
    if case.asked == "better":
        x, y = case.needed
        wrong = next(system for system in case.about if system != case.answer)
        facts = (
            [x, y]
            if rng.random() < 0.5
            else [Fact(x.attribute, x.system, y.value), Fact(x.attribute, y.system, x.value)]
        )
        return _write(case, rng, facts, wrong)
    others = [fact for fact in case.facts if fact.attribute == case.asked and fact.system != case.about[0]]
    values = [value for value in ATTRIBUTES[case.asked].values if value not in {fact.value for fact in case.needed}]
    wrong = rng.choice(others) if others and rng.random() < 0.6 else Fact(case.asked, case.about[0], rng.choice(values))
    if case.needed and rng.random() < 0.1:
        return _write(case, rng, [], UNANSWERABLE)
    return _write(case, rng, [wrong], wrong.answer)


def _case(rng: Random, asked: str) -> Case:
    """Three systems with five or six attributes each, or two with six or seven; the values of an attribute all differ."""
    systems = rng.sample(SYSTEMS, rng.choice((2, 3, 3)))
    values = {name: rng.sample(attribute.values, 3) for name, attribute in ATTRIBUTES.items()}
    unstated = asked != "better" and rng.random() < 0.12
    about = rng.sample(systems, 2 if asked == "better" else 1)
    facts = []
    for n, system in enumerate(systems):
        wanted = {"points" if asked == "better" else asked} if system in about else set()
        names = [name for name in ATTRIBUTES if name not in wanted]
        size = 6 - rng.randint(0, 1) if len(systems) == 3 else 7 - (unstated and system in about or rng.random() < 0.5)
        kept = rng.sample(names, size) if unstated else [*wanted, *rng.sample(names, size - len(wanted))]
        facts += [Fact(name, system, values[name][n]) for name in kept]
    return Case(asked, tuple(about), tuple(sorted(facts)))


def _tell(case: Case, rng: Random) -> str:
    """The paper: an opening that names its systems, and its facts by section with a few sentences that say nothing."""
    systems = sorted({fact.system for fact in case.facts})
    rng.shuffle(systems)
    told: dict[str, list[str]] = {section: [] for section in FILLERS}
    for fact in case.facts:
        told[ATTRIBUTES[fact.attribute].section].append(fact.text)
    for section in rng.sample(tuple(FILLERS), 4 if len(systems) == 2 else rng.randint(0, 1)):
        told[section].append(rng.choice(FILLERS[section]))
    for sentences in told.values():
        rng.shuffle(sentences)
    opening = f"We compare {', '.join(systems[:-1])} and {systems[-1]}."
    return "\n".join(
        [opening, *(f"{section}: {' '.join(sentences)}" for section, sentences in told.items() if sentences)]
    )


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split; in dev and test every other problem has a template of that split alone."""
    count = 0
    want_held_out = False
    while True:
        asked = rng.choice(tuple(ASKED))
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(ASKED[asked]))
        template = f"{asked}-{frame}-{wording}"
        home = template_split(template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        case = _case(rng, asked)
        if bucket(f"mini_qasper {case.paper}", (80, 10, 10)) != split:
            continue
        question = ASKED[asked][wording].format(x=case.about[0], y=case.about[-1])
        yield (
            case,
            Problem(
                f"mini_qasper/{split}/{count}",
                FRAMES[frame].format(paper=_tell(case, rng), question=question),
                case.answer,
                solve(case, rng),
                template,
                held_out,
                references=case.references,
            ),
        )
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_qasper {split}")))
    return take(keyed, n, f"mini_qasper/{split}")


TASK = Task(
    "mini_qasper", problems, parse_words, equal_words, sizes={"train": 4000, "dev": 500, "test": 1000}, measure="f1"
)
