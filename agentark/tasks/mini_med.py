"""mini_med: four-option questions on a fixed body of synthetic facts, in the role of MedMCQA in the paper.

The facts are invented (drugs, diseases, germs, …) and never change; a network learns them when the zoo is trained, as
an LLM learns medicine in pre-training; a student is taught the facts of some of the drugs only, and can learn the
others from its teacher.  A question needs two facts (drug → disease → organ), has three wrong options of the right
kind, and sometimes mentions an irrelevant drug.  A *template* is a relation path with a frame and a wording: half of
the combinations never occur in training.  The split of a question is a function of (path, drug): no two test problems
have the same one, and problems of one drug and first relation are a cluster, as they need the same first fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import mini
from .problem import Parsed, Problem, answer_lines, boxed

ORGANS = ("liver", "heart", "lung", "skin", "kidney", "brain", "stomach", "spleen", "bone", "eye")
SYMPTOMS = ("fever", "cough", "rash", "pain", "nausea", "fatigue",
            "swelling", "dizziness", "cramps", "thirst", "chills", "tremor")  # fmt: skip
EFFECTS = ("sleepiness", "headache", "dry mouth", "itching", "weakness", "blurred vision", "sweating", "hunger")
GERMS = ("zorbavirus", "keltococcus", "ambrella", "dunovirus", "fistobacter", "grunella",
         "hylovirus", "jastococcus", "lombacter", "mirnella", "nodovirus", "pelococcus")  # fmt: skip
GROUPS = ("babies", "children", "sailors", "farmers", "miners", "nurses", "hunters", "bakers", "weavers", "old people")
CARRIERS = ("ticks", "rats", "bats", "flies", "fleas", "geese", "goats", "snails", "mites", "crabs")
CLASSES = ("alphalones", "betadines", "coxatrines", "deltamides", "epsilates", "gammazoles", "kappadols", "lambdarins")
LETTERS = "ABCD"
N_DRUGS, N_DISEASES = 600, 60
SHARES = (15, 40, 13, 32)  # percentages of (path, drug): 1,152 for test, and few for pretrain, which also has the facts


def _names(rng: Random, n: int, syllables: tuple[str, ...], ending: str) -> tuple[str, ...]:
    names: dict[str, None] = {}
    while len(names) < n:
        names["".join(rng.choice(syllables) for _ in range(2)) + ending] = None
    return tuple(names)


@dataclass(frozen=True)
class Facts:
    """All the medicine of this world: for each relation the object of each subject."""

    drugs: tuple[str, ...]
    diseases: tuple[str, ...]
    relation: dict[str, dict[str, str]]


def _facts() -> Facts:
    rng = Random("mini_med facts")
    drugs = _names(rng, N_DRUGS, tuple(c + v for c in "tmvrlnskdbp" for v in "aeiou"), "xin")
    diseases = _names(rng, N_DISEASES, tuple(c + v for c in "grvhcmft" for v in "aeou"), "sis")
    relation = {"treats": {drug: rng.choice(diseases) for drug in drugs},
                "belongs to": {drug: rng.choice(CLASSES) for drug in drugs},
                "affects the": {disease: rng.choice(ORGANS) for disease in diseases},
                "causes": {disease: rng.choice(SYMPTOMS) for disease in diseases},
                "comes from": {disease: rng.choice(GERMS) for disease in diseases},
                "strikes": {disease: rng.choice(GROUPS) for disease in diseases},
                "spreads by": {disease: rng.choice(CARRIERS) for disease in diseases},
                "bring": dict(zip(CLASSES, rng.sample(EFFECTS, len(CLASSES)), strict=True))}  # fmt: skip
    return Facts(drugs, diseases, relation)


FACTS = _facts()
DRUGS = frozenset(FACTS.drugs)


@dataclass(frozen=True)
class Path:
    """drug -first-> middle -second-> answer, one of `values`, which the questions call `noun`."""

    first: str
    second: str
    values: tuple[str, ...]
    noun: str
    wordings: tuple[str, ...]


PATHS = {
    "organ": Path("treats", "affects the", ORGANS, "organ", (
        "Which organ does the disease that {x} treats affect?", "{x} treats a disease of which organ?",
        "The disease that {x} is for affects which organ?")),
    "symptom": Path("treats", "causes", SYMPTOMS, "symptom", (
        "Which symptom does the disease that {x} treats cause?", "{x} treats a disease with which symptom?",
        "The disease that {x} is for causes which symptom?")),
    "germ": Path("treats", "comes from", GERMS, "germ", (
        "Which germ does the disease that {x} treats come from?", "{x} treats a disease from which germ?",
        "The disease that {x} is for comes from which germ?")),
    "group": Path("treats", "strikes", GROUPS, "group", (
        "Which group does the disease that {x} treats strike?", "{x} treats a disease of which group?",
        "The disease that {x} is for strikes which group?")),
    "carrier": Path("treats", "spreads by", CARRIERS, "carrier", (
        "Which carrier does the disease that {x} treats spread by?", "{x} treats a disease with which carrier?",
        "The disease that {x} is for spreads by which carrier?")),
    "effect": Path("belongs to", "bring", EFFECTS, "side effect", (
        "Which side effect do drugs of the class of {x} bring?", "{x} belongs to a class with which side effect?",
        "The class that {x} is in brings which side effect?")),
}  # fmt: skip
FRAMES = ("", "A patient takes {x}.", "A doctor gives {x} to a child.", "A clinic has {x} in stock.")
DISTRACTOR = "The patient's brother takes {y}."


@dataclass(frozen=True)
class Case:
    """The content of a question: the path, the drug, the four options and the index of the right one."""

    path: str
    drug: str
    options: tuple[str, ...]
    right: int

    @property
    def middle(self) -> str:
        return FACTS.relation[PATHS[self.path].first][self.drug]

    @property
    def pair(self) -> str:
        return f"{self.path} {self.drug}"

    @property
    def key(self) -> str:
        return f"{self.pair} {' '.join(self.options)}"


def recall(subject: str, relation: str, value: str) -> str:
    """A fact as a line of a solution."""
    return f"{subject} {relation} {value}."


def solve(case: Case, rng: Random, middle: str | None = None, choice: int | None = None) -> str:
    """A solution in one of three styles; `middle` and `choice` replace the right ones in a wrong solution."""
    path = PATHS[case.path]
    middle = case.middle if middle is None else middle
    choice = case.right if choice is None else choice
    first, second = recall(case.drug, path.first, middle), recall(middle, path.second, case.options[choice])
    style = rng.choice(("chain", "restate", "inverse"))
    lines = [first, second]
    if style == "restate":
        lines.insert(0, f"asked: the {path.noun} of {case.drug}.")
    elif style == "inverse":
        lines.insert(1, f"so asked: {middle} {path.second} what?")
    return "\n".join([*lines, f"Answer: {case.options[choice]}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: the wrong disease or class and its consequence, or a wrong second fact."""
    choice = rng.choice([n for n in range(4) if n != case.right])
    path = PATHS[case.path]
    middles = [m for m, value in FACTS.relation[path.second].items() if value == case.options[choice]]
    if middles and rng.random() < 0.5:
        return solve(case, rng, rng.choice(middles), choice)
    return solve(case, rng, None, choice)


def _case(rng: Random, split: str) -> Case | None:
    name = rng.choice(tuple(PATHS))
    path = PATHS[name]
    drug = rng.choice(FACTS.drugs)
    if mini.split_of(f"mini_med {name} {drug}", SHARES) != split:
        return None
    right = FACTS.relation[path.second][FACTS.relation[path.first][drug]]
    options = [*rng.sample([value for value in path.values if value != right], 3), right]
    rng.shuffle(options)
    return Case(name, drug, tuple(options), options.index(right))


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only."""
    count = 0
    while True:
        case = _case(rng, split)
        if case is None:
            continue
        path = PATHS[case.path]
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(path.wordings))
        template = f"{case.path}-{frame}-{wording}"
        home = mini.template_split("mini_med", template)
        if home != mini.next_home(split, count):
            continue
        parts = [FRAMES[frame].format(x=case.drug)] if FRAMES[frame] else []
        if rng.random() < 0.3:
            parts.append(DISTRACTOR.format(y=rng.choice([d for d in FACTS.drugs if d != case.drug])))
        parts.append(path.wordings[wording].format(x=case.drug))
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, case.options, strict=True))
        question = " ".join(parts) + "\n" + listed
        solution, held_out = solve(case, rng), home != "train"
        name, letter = f"mini_med/{split}/{count}", LETTERS[case.right]
        cluster = f"{case.drug} {path.first}"
        yield case, Problem(name, question, letter, solution, template, held_out, case.options, cluster=cluster)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; no two of the test split have the same path and drug."""
    cases = stream(split, Random(f"mini_med {split}"))
    return mini.taken(((c.pair if split == "test" else c.key, p) for c, p in cases), n, "mini_med", split)


_LETTER_ALONE = re.compile(r"^\(?([A-Da-d])\)?(?:[).:,]\s.*|[.)]?)$", re.DOTALL)
_IN_PARENTHESES = re.compile(r"\(([A-D])\)")


def _letter(text: str) -> str | None:
    match = _LETTER_ALONE.match(text.strip())
    return match[1].upper() if match and not re.search(r"\b[B-D]\b|\(A\)", text.strip()[match.end(1) :]) else None


def _named(text: str, problem: Problem) -> list[str]:
    """The letters of the options whose whole text occurs in `text`."""
    patterns = [rf"\b{re.escape(option.lower())}\b" for option in problem.options]
    return [LETTERS[n] for n, pattern in enumerate(patterns) if re.search(pattern, text.lower())]


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: the letter on the last "Answer:" line, or the option whose text is the whole line.

    Flexible: otherwise the last \boxed{X}, otherwise the last (X), otherwise the only option whose text is on the last
    line.  A bare letter elsewhere is never read, as "a" is an article.
    """
    lines = answer_lines(text)
    last = lines[-1].strip().rstrip(".").lower() if lines else ""
    whole = [LETTERS[n] for n, option in enumerate(problem.options) if option.lower() == last]
    strict = _letter(lines[-1]) if lines else None
    if whole or strict is not None:
        return Parsed(whole[0] if whole else strict, whole[0] if whole else strict)
    in_box = [letter for letter in map(_letter, boxed(text)) if letter]
    in_parentheses = _IN_PARENTHESES.findall(text)
    named = _named(text.strip().rsplit("\n", 1)[-1], problem)
    flexible = in_box[-1] if in_box else in_parentheses[-1] if in_parentheses else named[0] if len(named) == 1 else None
    return Parsed(None, flexible)


def equal(gold: str, answer: str) -> bool:
    """Whether two answers are the same letter."""
    return gold == answer


TASK = mini.task("mini_med", problems, parse, equal, "accuracy")
TASKS = (TASK,)
