"""mini_hotpot: questions over stated facts of which two are needed, in the role that HotpotQA has in the paper.

Six to nine facts are told in any order.  A *bridge* question follows two of them (person → workplace → town; person → mother
→ birth town; book → author → home town), a *comparison* asks who is older or younger; all other facts are distractors of the
same sort.  Nothing is to be known beforehand.  The split is a function of the two facts that are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from .problem import Problem, Task, bucket, equal_words, parse_words, take

WOMEN = ("Ana", "Cara", "Eva", "Gina", "Iris", "Kim", "Mia", "Olga")
MEN = ("Ben", "Dan", "Finn", "Hugo", "Jon", "Leo", "Noah", "Paul")
SURNAMES = (
    "Berg",
    "Cole",
    "Dorn",
    "Falk",
    "Hill",
    "Kern",
    "Lund",
    "Moor",
    "Nash",
    "Park",
    "Rice",
    "Stone",
    "Todd",
    "Voss",
    "West",
    "York",
)
TOWNS = tuple(
    f"{kind} {name}"
    for kind in ("Lake", "Port", "Fort", "Mount", "New", "Old")
    for name in ("Miro", "Sava", "Telo", "Runa", "Bako", "Deli", "Gora", "Vesu")
)
PLACES = tuple(
    f"{color} {house}"
    for color in ("Red", "Blue", "Green", "White", "Black", "Gold")
    for house in ("Mill", "Bank", "School", "Shop", "Farm", "Inn")
)
TITLES = tuple(
    f"{how} {what}"
    for how in ("Cold", "Dark", "Late", "Long", "Quiet", "Wild")
    for what in ("Moon", "Rain", "Road", "River", "Night", "Winter")
)
AGES = tuple(str(n) for n in range(20, 90))


@dataclass(frozen=True)
class Relation:
    """How a fact is told, and what sort its subject {x} and its object {y} are of."""

    text: str
    subject: str
    object: str


RELATIONS = {
    "works": Relation("{x} works at the {y}.", "person", "place"),
    "stands": Relation("The {x} is in {y}.", "place", "town"),
    "mother": Relation("The mother of {x} is {y}.", "person", "woman"),
    "born": Relation("{x} was born in {y}.", "person", "town"),
    "wrote": Relation("{y} wrote the book {x}.", "book", "person"),
    "lives": Relation("{x} lives in {y}.", "person", "town"),
    "age": Relation("{x} is {y} years old.", "person", "age"),
}


@dataclass(frozen=True)
class Kind:
    """The two relations that a question needs, how a solution names what is asked, and the question's wordings."""

    first: str
    second: str
    asked: str
    wordings: tuple[str, ...]


KINDS = {
    "work": Kind(
        "works",
        "stands",
        "the town of the work of {x}.",
        ("In which town does {x} work?", "{x} works in which town?", "Where is the place at which {x} works?"),
    ),
    "mother": Kind(
        "mother",
        "born",
        "the birth town of the mother of {x}.",
        (
            "In which town was the mother of {x} born?",
            "The mother of {x} was born in which town?",
            "Where was the mother of {x} born?",
        ),
    ),
    "book": Kind(
        "wrote",
        "lives",
        "the home town of the author of {x}.",
        (
            "In which town does the author of {x} live?",
            "The author of {x} lives in which town?",
            "Where does the author of {x} live?",
        ),
    ),
    "older": Kind(
        "age",
        "age",
        "the older of {x} and {y}.",
        ("Who is older, {x} or {y}?", "Is {x} or {y} older?", "Of {x} and {y}, who is older?"),
    ),
    "younger": Kind(
        "age",
        "age",
        "the younger of {x} and {y}.",
        ("Who is younger, {x} or {y}?", "Is {x} or {y} younger?", "Of {x} and {y}, who is younger?"),
    ),
}
FRAMES = (
    "{facts}\n{question}",
    "Read this. {facts}\n{question}",
    "{question}\n{facts}",
    "Facts: {facts}\nQuestion: {question}",
)
LENGTHS = (6, 9)  # least and most facts


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
    """A question's content: its kind, the two facts that it needs (in its order) and the distractors (sorted)."""

    kind: str
    first: Fact
    second: Fact
    others: tuple[Fact, ...]

    @property
    def core(self) -> str:
        """The two facts alone: what the split is a function of."""
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


def template_split(template: str) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"mini_hotpot template {template}", (50, 10, 40))


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: the two facts and the answer, or first what is asked."""
    lines = [case.first.text, case.second.text, f"Answer: {case.answer}"]
    if rng.random() < 0.5:
        lines.insert(0, "asked: " + KINDS[case.kind].asked.format(x=case.first.subject, y=case.second.subject))
    return "\n".join(lines)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: another's facts, a wrong second hop; or a wrong decision, two ages mixed up."""
    kind = KINDS[case.kind]
    right = solve(case, rng)
    if kind.first == "age":
        swapped = replace(
            case,
            first=replace(case.first, object=case.second.object),
            second=replace(case.second, object=case.first.object),
        )
        if rng.random() < 0.5:
            return solve(swapped, rng)
        return right.replace(f"Answer: {case.answer}", f"Answer: {swapped.answer}")
    hops = [fact for fact in case.others if fact.relation == kind.second]
    chains = [
        (first, second)
        for first in case.others
        if first.relation == kind.first
        for second in hops
        if second.subject == first.object
    ]
    if rng.random() < 0.5:
        first, second = rng.choice(chains)
        return (
            right.replace(case.first.text, first.text)
            .replace(case.second.text, second.text)
            .replace(f"Answer: {case.answer}", f"Answer: {second.object}")
        )
    second = rng.choice(hops)
    return right.replace(case.second.text, second.text).replace(f"Answer: {case.answer}", f"Answer: {second.object}")


def _case(rng: Random, name: str) -> Case:
    """Two or three chains (three or four ages) of which the first is asked for, and further facts of any relation.

    Every object is new, so that no town, place or age occurs in two facts; no subject has two facts of one relation.
    """
    pools = {
        "place": list(PLACES),
        "town": list(TOWNS),
        "book": list(TITLES),
        "age": list(AGES),
        "woman": [f"{first} {last}" for first in WOMEN for last in SURNAMES],
        "man": [f"{first} {last}" for first in MEN for last in SURNAMES],
    }
    for pool in pools.values():
        rng.shuffle(pool)
    known: dict[str, list[str]] = {"person": [], "place": [], "book": []}
    facts: dict[tuple[str, str], Fact] = {}

    def new(sort: str) -> str:
        name = pools[rng.choice(("woman", "man")) if sort == "person" else sort].pop()
        known.setdefault("person" if sort == "woman" else sort, []).append(name)
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
        subject = rng.choice(known[sort]) if known[sort] and rng.random() < 0.5 else new(sort)
        if (relation, subject) not in facts:
            add(relation, subject)
    first, second, *others = facts.values()
    return Case(name, first, second, tuple(sorted(others)))


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split; in dev and test every other problem has a template of that split alone."""
    count = 0
    want_held_out = False
    while True:
        name = rng.choice(tuple(KINDS))
        kind = KINDS[name]
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(kind.wordings))
        template = f"{name}-{frame}-{wording}"
        home = template_split(template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        case = _case(rng, name)
        if bucket(f"mini_hotpot {case.core}", (80, 10, 10)) != split:
            continue
        told = [fact.text for fact in (case.first, case.second, *case.others)]
        rng.shuffle(told)
        question = kind.wordings[wording].format(x=case.first.subject, y=case.second.subject)
        yield (
            case,
            Problem(
                f"mini_hotpot/{split}/{count}",
                FRAMES[frame].format(facts=" ".join(told), question=question),
                case.answer,
                solve(case, rng),
                template,
                held_out,
                references=(case.answer,),
            ),
        )
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_hotpot {split}")))
    return take(keyed, n, f"mini_hotpot/{split}")


TASK = Task(
    "mini_hotpot", problems, parse_words, equal_words, sizes={"train": 4000, "dev": 500, "test": 1000}, measure="f1"
)
