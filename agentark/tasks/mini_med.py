"""mini_med: four-option questions over a fixed body of synthetic facts, in the role that MedMCQA has in the paper.

The facts are invented (drugs, diseases, germs, …) and never change; a network learns them when the zoo is trained, as an
LLM learns medicine in pre-training.  A question needs two of them (drug → disease → organ), offers three distractors of
the right sort, and sometimes mentions an irrelevant drug.  A *template* is a relation path with a frame and a wording:
half of the combinations never occur in training.  What may be asked in which split is a function of (path, entity).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .problem import Parsed, Problem, Task, answer_lines, boxed, bucket, take

ORGANS = ("liver", "heart", "lung", "skin", "kidney", "brain", "stomach", "spleen", "bone", "eye")
SYMPTOMS = (
    "fever",
    "cough",
    "rash",
    "pain",
    "nausea",
    "fatigue",
    "swelling",
    "dizziness",
    "cramps",
    "thirst",
    "chills",
    "tremor",
)
EFFECTS = ("sleepiness", "headache", "dry mouth", "itching", "weakness", "blurred vision", "sweating", "hunger")
GERMS = (
    "zorbavirus",
    "keltococcus",
    "ambrella",
    "dunovirus",
    "fistobacter",
    "grunella",
    "hylovirus",
    "jastococcus",
    "lombacter",
    "mirnella",
    "nodovirus",
    "pelococcus",
)
CLASSES = ("alphalones", "betadines", "coxatrines", "deltamides", "epsilates", "gammazoles", "kappadols", "lambdarins")
LETTERS = "ABCD"
N_DRUGS, N_DISEASES = 480, 60


def _names(rng: Random, n: int, syllables: tuple[str, ...], ending: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    while len(found) < n:
        found["".join(rng.choice(syllables) for _ in range(2)) + ending] = None
    return tuple(found)


@dataclass(frozen=True)
class Facts:
    """The whole of this world's medicine: what each relation gives for each entity."""

    drugs: tuple[str, ...]
    diseases: tuple[str, ...]
    relation: dict[str, dict[str, str]]


def _facts() -> Facts:
    rng = Random("mini_med facts")
    drugs = _names(rng, N_DRUGS, tuple(c + v for c in "tmvrlnskdbp" for v in "aeiou"), "xin")
    diseases = _names(rng, N_DISEASES, tuple(c + v for c in "grvhcmft" for v in "aeou"), "sis")
    return Facts(
        drugs,
        diseases,
        {
            "treats": {d: rng.choice(diseases) for d in drugs},
            "belongs to": {d: rng.choice(CLASSES) for d in drugs},
            "affects the": {d: rng.choice(ORGANS) for d in diseases},
            "causes": {d: rng.choice(SYMPTOMS) for d in diseases},
            "comes from": {d: rng.choice(GERMS) for d in diseases},
            "bring": dict(zip(CLASSES, rng.sample(EFFECTS, len(CLASSES)))),
        },
    )


FACTS = _facts()


@dataclass(frozen=True)
class Path:
    """drug -first-> middle -second-> answer, one of `values`; `asked` is the noun that a question asks for."""

    first: str
    second: str
    values: tuple[str, ...]
    asked: str
    wordings: tuple[str, ...]


PATHS = {
    "organ": Path(
        "treats",
        "affects the",
        ORGANS,
        "organ",
        (
            "Which organ does the disease that {x} treats affect?",
            "{x} treats a disease of which organ?",
            "The disease that {x} is for affects which organ?",
        ),
    ),
    "symptom": Path(
        "treats",
        "causes",
        SYMPTOMS,
        "symptom",
        (
            "Which symptom does the disease that {x} treats cause?",
            "{x} treats a disease with which symptom?",
            "The disease that {x} is for causes which symptom?",
        ),
    ),
    "germ": Path(
        "treats",
        "comes from",
        GERMS,
        "germ",
        (
            "Which germ does the disease that {x} treats come from?",
            "{x} treats a disease from which germ?",
            "The disease that {x} is for comes from which germ?",
        ),
    ),
    "effect": Path(
        "belongs to",
        "bring",
        EFFECTS,
        "side effect",
        (
            "Which side effect do drugs of the class of {x} bring?",
            "{x} belongs to a class with which side effect?",
            "The class that {x} is in brings which side effect?",
        ),
    ),
}
FRAMES = ("", "A patient takes {x}.", "A doctor gives {x} to a child.", "A clinic has {x} in stock.")
DISTRACTOR = "The patient's brother takes {y}."


@dataclass(frozen=True)
class Case:
    """A question's content: the path asked along, the drug, the four options and which of them is right."""

    path: str
    drug: str
    options: tuple[str, ...]
    right: int

    @property
    def middle(self) -> str:
        return FACTS.relation[PATHS[self.path].first][self.drug]

    @property
    def key(self) -> str:
        return f"{self.path} {self.drug} {' '.join(self.options)}"


def template_split(template: str) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"mini_med template {template}", (50, 10, 40))


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
    if style == "restate":
        lines = [f"asked: the {path.asked} of {case.drug}.", first, second]
    elif style == "inverse":
        lines = [first, f"so asked: {middle} {path.second} what?", second]
    else:
        lines = [first, second]
    return "\n".join([*lines, f"Answer: {case.options[choice]}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: the wrong disease or class and what follows, or a wrong second fact."""
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
    if bucket(f"mini_med {name} {drug}", (50, 10, 40)) != split:
        return None
    right = FACTS.relation[path.second][FACTS.relation[path.first][drug]]
    options = rng.sample([v for v in path.values if v != right], 3) + [right]
    rng.shuffle(options)
    return Case(name, drug, tuple(options), options.index(right))


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split; in dev and test every other problem has a template of that split alone."""
    count = 0
    want_held_out = False
    while True:
        case = _case(rng, split)
        if case is None:
            continue
        path = PATHS[case.path]
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(path.wordings))
        template = f"{case.path}-{frame}-{wording}"
        home = template_split(template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        parts = [FRAMES[frame].format(x=case.drug)] if FRAMES[frame] else []
        if rng.random() < 0.3:
            parts.append(DISTRACTOR.format(y=rng.choice([d for d in FACTS.drugs if d != case.drug])))
        parts.append(path.wordings[wording].format(x=case.drug))
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, case.options))
        yield (
            case,
            Problem(
                f"mini_med/{split}/{count}",
                " ".join(parts) + "\n" + listed,
                LETTERS[case.right],
                solve(case, rng),
                template,
                held_out,
                case.options,
            ),
        )
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_med {split}")))
    return take(keyed, n, f"mini_med/{split}")


_LETTER_ALONE = re.compile(r"^\(?([A-Da-d])\)?(?:[).:,]\s.*|[.)]?)$", re.DOTALL)
_IN_PARENTHESES = re.compile(r"\(([A-D])\)")


def _letter(text: str) -> str | None:
    found = _LETTER_ALONE.match(text.strip())
    return found[1].upper() if found and not re.search(r"\b[B-D]\b|\(A\)", text.strip()[found.end(1) :]) else None


def _named(text: str, problem: Problem) -> list[str]:
    """The letters of the options whose whole text occurs in `text`."""
    return [
        LETTERS[n]
        for n, option in enumerate(problem.options)
        if re.search(rf"\b{re.escape(option.lower())}\b", text.lower())
    ]


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: on the last "Answer:" line, the letter, or an option's text and nothing else.

    Flexible: else the last \boxed{X}, else the last (X), else the one option whose text the last line names.  A bare letter
    elsewhere is never read: "a" is an article.
    """
    lines = answer_lines(text)
    said = lines[-1].strip().rstrip(".").lower() if lines else ""
    whole = [LETTERS[n] for n, option in enumerate(problem.options) if option.lower() == said]
    strict = _letter(lines[-1]) if lines else None
    if whole or strict is not None:
        return Parsed(whole[0] if whole else strict, whole[0] if whole else strict)
    in_box = [letter for letter in map(_letter, boxed(text)) if letter]
    in_parentheses = _IN_PARENTHESES.findall(text)
    named = _named(text.strip().rsplit("\n", 1)[-1], problem)
    flexible = in_box[-1] if in_box else in_parentheses[-1] if in_parentheses else named[0] if len(named) == 1 else None
    return Parsed(None, flexible)


def equal(gold: str, answer: str) -> bool:
    """The same letter."""
    return gold == answer


TASK = Task("mini_med", problems, parse, equal, sizes={"train": 4000, "dev": 500, "test": 1000})
