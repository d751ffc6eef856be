"""gsm_symbolic: GSM8K-like word problems from the templates of reasoning-gym (after Mirzadeh et al. 2024), each with a worked answer.

Embedded: the problems are made, not loaded.  As in the mini tasks, half of the templates never occur in training; in dev and test every
other problem has a template of that split alone.  A problem of a shared template belongs to the split that the hash of its question says:
no question is in two.

Some templates round down in silence: "0.23*60 = 13".  A question whose worked answer has a false equation, or ends in another number than
its answer, is dropped and counted (`DROPPED`), as is one whose answer is negative.  Of the 100 templates, the 85 are used that
reasoning-gym itself uses.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from random import Random
from types import ModuleType

from agentark import wheels

from . import answers
from .problem import Problem, Task, bucket, take

WHEEL = "reasoning-gym"
INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: N", where N is the number.'
LEFT_OUT = frozenset((32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98))  # reasoning-gym: "tasks_need_fix"

DROPPED: Counter[str] = Counter()  # questions that were made and left out, by split, template and reason


@lru_cache(maxsize=1)
def _makers() -> dict[int, Callable]:
    """The function of each template, by number.

    The package's own __init__ imports all its games with what they need (a SAT solver, a cube, …).  The templates need none of it: for the
    time of their import the packages above them are empty ones.  Raises wheels.WheelError where the wheel is absent.
    """
    folder = wheels.data(WHEEL, "reasoning_gym/arithmetic/gsm_symbolic/generators_00_49.py").parent
    name = "reasoning_gym.arithmetic.gsm_symbolic"
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if key.split(".")[0] == "reasoning_gym"}
    try:
        for depth, path in enumerate((folder.parent.parent, folder.parent, folder), 1):
            package = ModuleType(".".join(name.split(".")[:depth]))
            package.__path__ = [str(Path(path))]
            sys.modules[package.__name__] = package
        modules = [importlib.import_module(f"{name}.{file}") for file in ("generators_00_49", "generators_50_99")]
    finally:
        for key in [key for key in sys.modules if key.split(".")[0] == "reasoning_gym"]:
            del sys.modules[key]
        sys.modules.update(before)
    makers = {
        int(key.removeprefix("generate_")): make
        for module in modules
        for key, make in vars(module).items()
        if re.fullmatch(r"generate_[0-9]+", key)
    }
    return {number: makers[number] for number in sorted(makers) if number not in LEFT_OUT}


# What is wrong with a worked answer

_FIGURE = r"\$?([0-9][0-9,]*(?:\.[0-9]+)?)"
_BETWEEN = (
    r"(?:\s[^0-9=$+*/().÷%-]{0,25})?"  # words between a number and the next sign: "4 cans * 3 = 12"; none in 2x+70
)
_EQUATION = re.compile(
    rf"(?<![\w.$*/+%÷-])(?<![*/+÷-] )({_FIGURE}(?:{_BETWEEN}[-+*/]\s*{_FIGURE})+){_BETWEEN}=\s*{_FIGURE}(?!\.?[0-9]|%|\s*[-+*/])"
)
_TIMES = re.compile(r"(?<=\s)x(?=\s)|×")
_TERM = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|[-+*/]")


def _value(expression: str) -> Fraction | None:
    """The value of a sum of products of numbers; None where it divides by 0."""
    terms = _TERM.findall(expression)
    total, sign, product = Fraction(0), 1, Fraction(terms[0].replace(",", ""))
    for op, term in zip(terms[1::2], terms[2::2]):
        x = Fraction(term.replace(",", ""))
        if op in "*/":
            if op == "/" and not x:
                return None
            product = product * x if op == "*" else product / x
        else:
            total, sign, product = total + sign * product, 1 if op == "+" else -1, x
    return total + sign * product


def contradiction(worked: str, answer: str) -> str:
    """Why a worked answer cannot be right; empty where nothing speaks against it.  Results with decimals may be rounded."""
    steps, _, last = worked.rpartition("####")
    if not answers.number(last) or answers.number(last) != answers.number(answer):
        return "ends in another number"
    if answers.number(answer)[0] < 0:
        return "negative"
    for found in _EQUATION.finditer(_TIMES.sub("*", steps)):
        value, shown = _value(found[1]), found[found.lastindex].replace(",", "")
        rounding = Fraction(1, 10 ** len(shown.partition(".")[2])) if "." in shown else 0
        slack = max(rounding, abs(Fraction(shown)) / 10**9)  # the latter for 48 * 0.3333333333333333 = 16
        if value is not None and abs(value - Fraction(shown)) > slack:
            return "false equation"
    return ""


# Problems


def template_split(template: int) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"gsm_symbolic template {template}", (50, 10, 40))


def stream(split: str, rng: Random) -> Iterator[tuple[str, Problem]]:
    """Endless (question, problem) of a split; in dev and test every other problem has a template of that split alone."""
    makers = _makers()
    shared, own = ([number for number in makers if template_split(number) == home] for home in ("train", split))
    count = 0
    held_out = False
    while True:
        template = rng.choice(own if held_out else shared)
        made = makers[template](Random(rng.getrandbits(64)), 1.0)
        question, worked = made["question"].strip(), made["metadata"]["answer_cot"]
        if not held_out and bucket(f"gsm_symbolic {question}", (50, 10, 40)) != split:
            continue
        if reason := contradiction(worked, made["answer"]):
            DROPPED[f"{split}, template {template}: {reason}"] += 1
            continue
        gold = answers.figure(made["answer"])
        solution = f"{worked.rpartition('####')[0].strip()}\nAnswer: {gold}"
        yield question, Problem(f"gsm_symbolic/{split}/{count}", question, gold, solution, str(template), held_out)
        count += 1
        held_out = split != "train" and not held_out


@lru_cache(maxsize=8)
def _problems(split: str, n: int) -> tuple[Problem, ...]:
    for key in [key for key in DROPPED if key.startswith(split)]:
        del DROPPED[key]
    return tuple(take(stream(split, Random(f"gsm_symbolic {split}")), n, f"gsm_symbolic/{split}"))


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split.  Raises wheels.WheelError where reasoning-gym is absent, ValueError where no more can be made."""
    return list(_problems(split, n))


TASK = Task(
    "gsm_symbolic",
    problems,
    answers.parse_number,
    answers.same,
    INSTRUCTION,
    {"train": 4000, "dev": 500, "test": 1000},
    licence="Apache-2.0",
    source="reasoning-gym 0.1.25 (PyPI), gsm_symbolic",
    dropped=DROPPED,
)
