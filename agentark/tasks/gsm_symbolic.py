"""gsm_symbolic: GSM8K-like word problems from the templates of reasoning-gym (after Mirzadeh et al. 2024).

The problems are generated, not loaded, each with a worked answer.  As in the mini tasks, half of the templates never
occur in training; in dev and test every other problem has a template that only this split uses.  The split of a problem
with a shared template is a function of its question's hash, so that the splits are disjoint.

Some templates silently round down: "0.23*60 = 13".  A question is dropped and counted (`DROPPED`) if its worked answer
has a false equation or ends in another number than its answer, or if the answer is negative.  Of the 100 templates,
only the 85 that reasoning-gym itself uses are used here.
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

from agentark import assets

from . import answers, mini
from .problem import Problem, Task, bucket, take

WHEEL = "reasoning-gym"
INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: N", where N is the number.'
LEFT_OUT = frozenset((32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98))  # reasoning-gym: "tasks_need_fix"

DROPPED: Counter[str] = Counter()  # generated questions that were left out, by split, template and reason


@lru_cache(maxsize=1)
def _generators() -> dict[int, Callable]:
    """The function of each template, by number.

    The __init__ of reasoning_gym imports all its games and their dependencies (a SAT solver, a cube, …), which the
    templates do not need.  The packages above them are therefore replaced by empty ones during the import.  Raises
    assets.AssetError if the wheel is not installed.
    """
    folder = assets.data(WHEEL, "reasoning_gym/arithmetic/gsm_symbolic/generators_00_49.py").parent
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
    generators = {int(key.removeprefix("generate_")): generate for module in modules
                  for key, generate in vars(module).items() if re.fullmatch(r"generate_[0-9]+", key)}  # fmt: skip
    return {number: generators[number] for number in sorted(generators) if number not in LEFT_OUT}


_FIGURE = r"\$?([0-9][0-9,]*(?:\.[0-9]+)?)"
_BETWEEN = r"(?:\s[^0-9=$+*/().÷%-]{0,25})?"  # words before the next sign: "4 cans * 3 = 12"; none in 2x+70
_EQUATION = re.compile(rf"(?<![\w.$*/+%÷-])(?<![*/+÷-] )({_FIGURE}(?:{_BETWEEN}[-+*/]\s*{_FIGURE})+){_BETWEEN}"
                       rf"=\s*{_FIGURE}(?!\.?[0-9]|%|\s*[-+*/])")  # fmt: skip
_TIMES = re.compile(r"(?<=\s)x(?=\s)|×")
_TERM = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|[-+*/]")


def _value(expression: str) -> Fraction | None:
    """The value of a sum of products of numbers; None if it divides by 0."""
    terms = _TERM.findall(expression)
    total, sign, product = Fraction(0), 1, Fraction(terms[0].replace(",", ""))
    for op, term in zip(terms[1::2], terms[2::2], strict=True):
        x = Fraction(term.replace(",", ""))
        if op in "*/":
            if op == "/" and not x:
                return None
            product = product * x if op == "*" else product / x
        else:
            total, sign, product = total + sign * product, 1 if op == "+" else -1, x
    return total + sign * product


def contradiction(worked: str, answer: str) -> str:
    """Why a worked answer cannot be right; empty if no error was detected.  Results with decimals may be rounded."""
    steps, _, last = worked.rpartition("####")
    gold = answers.number(answer)
    if gold is None or answers.number(last) != gold:
        return "ends in another number"
    if gold[0] < 0:
        return "negative"
    for match in _EQUATION.finditer(_TIMES.sub("*", steps)):
        value, shown = _value(match[1]), match[match.lastindex or 0].replace(",", "")
        rounding = Fraction(1, 10 ** len(shown.partition(".")[2])) if "." in shown else 0
        slack = max(rounding, abs(Fraction(shown)) / 10**9)  # the second for 48 * 0.3333333333333333 = 16
        if value is not None and abs(value - Fraction(shown)) > slack:
            return "false equation"
    return ""


def stream(split: str, rng: Random) -> Iterator[tuple[str, Problem]]:
    """An endless stream of (question, problem); every other one of dev and test has a template of that split only."""
    generators = _generators()
    homes = {number: mini.template_split("gsm_symbolic", str(number)) for number in generators}
    shared, own = ([number for number in generators if homes[number] == home] for home in ("train", split))
    count = 0
    while True:
        held_out = mini.next_home(split, count) != "train"
        template = rng.choice(own if held_out else shared)
        generated = generators[template](Random(rng.getrandbits(64)), 1.0)
        question, worked = generated["question"].strip(), generated["metadata"]["answer_cot"]
        if not held_out and bucket(f"gsm_symbolic {question}", (50, 10, 40)) != split:
            continue
        if reason := contradiction(worked, generated["answer"]):
            DROPPED[f"{split}, template {template}: {reason}"] += 1
            continue
        gold = str(answers.figure(generated["answer"]))
        solution = f"{worked.rpartition('####')[0].strip()}\nAnswer: {gold}"
        yield question, Problem(f"gsm_symbolic/{split}/{count}", question, gold, solution, str(template), held_out)
        count += 1


@lru_cache(maxsize=8)
def _problems(split: str, n: int) -> tuple[Problem, ...]:
    for key in [key for key in DROPPED if key.startswith(split)]:
        del DROPPED[key]
    return tuple(take(stream(split, Random(f"gsm_symbolic {split}")), n, f"gsm_symbolic/{split}"))


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; assets.AssetError without reasoning-gym, ValueError if there are not as many."""
    return list(_problems(split, n))


TASK = Task("gsm_symbolic", problems, answers.parse_number, answers.equal, INSTRUCTION, mini.SIZES, measure="accuracy",
            licence="Apache-2.0", source="reasoning-gym 0.1.25 (PyPI), gsm_symbolic", dropped=DROPPED,
            compared=answers.COUNTS)  # fmt: skip
TASKS = (TASK,)
