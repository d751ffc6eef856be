"""mini_hotpot: questions on given facts of which two are needed, in the role of HotpotQA in the paper.

The question comes with six to nine facts in random order.  A *bridge* question follows two of them (person → workplace
→ town; person → mother → birth town; book → author → home town); a *comparison* asks who is older or younger.  All
other facts are distractors of the same kind.  No other knowledge is needed.  The split is a function of the two needed
facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from . import mini
from .problem import Problem, equal_words, parse_words

WOMEN = ("Ana", "Cara", "Eva", "Gina", "Iris", "Kim", "Mia", "Olga")
MEN = ("Ben", "Dan", "Finn", "Hugo", "Jon", "Leo", "Noah", "Paul")
SURNAMES = ("Berg", "Cole", "Dorn", "Falk", "Hill", "Kern", "Lund", "Moor",
            "Nash", "Park", "Rice", "Stone", "Todd", "Voss", "West", "York")  # fmt: skip
TOWNS = mini.pairs("Lake Port Fort Mount New Old", "Miro Sava Telo Runa Bako Deli Gora Vesu")
PLACES = mini.pairs("Red Blue Green White Black Gold", "Mill Bank School Shop Farm Inn")
TITLES = mini.pairs("Cold Dark Late Long Quiet Wild", "Moon Rain Road River Night Winter")
AGES = tuple(str(n) for n in range(20, 90))


@dataclass(frozen=True)
class Relation:
    """The sentence of a fact, and the sorts of its subject {x} and its object {y}."""

    text: str
    subject: str
    object: str


RELATIONS = {"works": Relation("{x} works at the {y}.", "person", "place"),
             "stands": Relation("The {x} is in {y}.", "place", "town"),
             "mother": Relation("The mother of {x} is {y}.", "person", "woman"),
             "born": Relation("{x} was born in {y}.", "person", "town"),
             "wrote": Relation("{y} wrote the book {x}.", "book", "person"),
             "lives": Relation("{x} lives in {y}.", "person", "town"),
             "age": Relation("{x} is {y} years old.", "person", "age")}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """The two relations that a question needs, the name of its goal in solutions, and its wordings."""

    first: str
    second: str
    goal: str
    wordings: tuple[str, ...]


KINDS = {
    "work": Kind("works", "stands", "the town of the work of {x}.", (
        "In which town does {x} work?", "{x} works in which town?", "Where is the place at which {x} works?")),
    "mother": Kind("mother", "born", "the birth town of the mother of {x}.", (
        "In which town was the mother of {x} born?", "The mother of {x} was born in which town?",
        "Where was the mother of {x} born?")),
    "book": Kind("wrote", "lives", "the home town of the author of {x}.", (
        "In which town does the author of {x} live?", "The author of {x} lives in which town?",
        "Where does the author of {x} live?")),
    "older": Kind("age", "age", "the older of {x} and {y}.", (
        "Who is older, {x} or {y}?", "Is {x} or {y} older?", "Of {x} and {y}, who is older?")),
    "younger": Kind("age", "age", "the younger of {x} and {y}.", (
        "Who is younger, {x} or {y}?", "Is {x} or {y} younger?", "Of {x} and {y}, who is younger?")),
}  # fmt: skip
FRAMES = ("{facts}\n{question}", "Read this. {facts}\n{question}", "{question}\n{facts}",
          "Facts: {facts}\nQuestion: {question}")  # fmt: skip
LENGTHS = (6, 9)  # least and greatest number of facts


@dataclass(frozen=True, order=True)
class Fact:
    relation: str
    subject: str
    object: str

    @property
    def text(self) -> str:
        return RELATIONS[self.relation].text.format(x=self.subject, y=self.object)


@dataclass(frozen=True)
class Case:
    """The content of a question: its kind, the two facts it needs (in this order) and the distractors (sorted)."""

    kind: str
    first: Fact
    second: Fact
    others: tuple[Fact, ...]

    @property
    def core(self) -> str:
        """The two needed facts, of which the split is a function."""
        return " ".join(sorted((self.first.text, self.second.text)))

    @property
    def key(self) -> str:
        return " ".join([self.kind, *(fact.text for fact in (self.first, self.second, *self.others))])

    @property
    def answer(self) -> str:
        if KINDS[self.kind].first != "age":
            return self.second.object
        by_age = sorted((self.first, self.second), key=lambda fact: int(fact.object))
        return by_age[self.kind == "older"].subject


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: the two facts and the answer, or the goal before them."""
    lines = [case.first.text, case.second.text, f"Answer: {case.answer}"]
    if rng.random() < 0.5:
        lines.insert(0, "asked: " + KINDS[case.kind].goal.format(x=case.first.subject, y=case.second.subject))
    return "\n".join(lines)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: the facts of another subject or a wrong second hop, or a wrong comparison of ages."""
    kind = KINDS[case.kind]
    right = solve(case, rng)
    if kind.first == "age":
        first, second = replace(case.first, object=case.second.object), replace(case.second, object=case.first.object)
        swapped = replace(case, first=first, second=second)
        if rng.random() < 0.5:
            return solve(swapped, rng)
        return right.replace(f"Answer: {case.answer}", f"Answer: {swapped.answer}")
    first_hops = [fact for fact in case.others if fact.relation == kind.first]
    second_hops = [fact for fact in case.others if fact.relation == kind.second]
    chains = [(first, second) for first in first_hops for second in second_hops if second.subject == first.object]
    first, second = rng.choice(chains) if rng.random() < 0.5 else (case.first, rng.choice(second_hops))
    wrong = right.replace(case.first.text, first.text).replace(case.second.text, second.text)
    return wrong.replace(f"Answer: {case.answer}", f"Answer: {second.object}")


def _case(rng: Random, name: str) -> Case:
    """A case: two or three chains of facts, of which the first is needed, and further facts of any relation.

    Every object is new, so that no town, place or age occurs in two facts, and no subject has two facts of one
    relation.
    """
    pools = {"place": list(PLACES), "town": list(TOWNS), "book": list(TITLES), "age": list(AGES)}
    for sort, first_names in (("woman", WOMEN), ("man", MEN)):
        pools[sort] = [f"{first} {last}" for first in first_names for last in SURNAMES]
    for pool in pools.values():
        rng.shuffle(pool)
    subjects: dict[str, list[str]] = {"person": [], "place": [], "book": []}
    facts: dict[tuple[str, str], Fact] = {}

    def new(sort: str) -> str:
        name = pools[rng.choice(("woman", "man")) if sort == "person" else sort].pop()
        subjects.setdefault("person" if sort == "woman" else sort, []).append(name)
        return name

    def add(relation: str, subject: str) -> Fact:
        return facts.setdefault((relation, subject), Fact(relation, subject, new(RELATIONS[relation].object)))

    kind = KINDS[name]
    for _ in range(rng.randint(2, 3)):
        first = add(kind.first, new(RELATIONS[kind.first].subject))
        add(kind.second, first.object if kind.first != "age" else new("person"))
    length = rng.randint(max(LENGTHS[0], len(facts)), LENGTHS[1])
    while len(facts) < length:
        relation = rng.choice(tuple(RELATIONS))
        sort = RELATIONS[relation].subject
        subject = rng.choice(subjects[sort]) if subjects[sort] and rng.random() < 0.5 else new(sort)
        if (relation, subject) not in facts:
            add(relation, subject)
    first, second, *others = facts.values()
    return Case(name, first, second, tuple(sorted(others)))


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only."""
    count = 0
    while True:
        name = rng.choice(tuple(KINDS))
        kind = KINDS[name]
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(kind.wordings))
        template = f"{name}-{frame}-{wording}"
        home = mini.template_split("mini_hotpot", template)
        if home != mini.next_home(split, count):
            continue
        case = _case(rng, name)
        if mini.split_of(f"mini_hotpot {case.core}") != split:
            continue
        sentences = [fact.text for fact in (case.first, case.second, *case.others)]
        rng.shuffle(sentences)
        question = kind.wordings[wording].format(x=case.first.subject, y=case.second.subject)
        text, name = FRAMES[frame].format(facts=" ".join(sentences), question=question), f"mini_hotpot/{split}/{count}"
        solution, held_out, references = solve(case, rng), home != "train", (case.answer,)
        yield case, Problem(name, text, case.answer, solution, template, held_out, references=references)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    return mini.first("mini_hotpot", stream, split, n)


TASK = mini.task("mini_hotpot", problems, parse_words, equal_words, "f1")
TASKS = (TASK,)
