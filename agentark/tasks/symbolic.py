r"""math-verify in a separate process: whether two LaTeX formulas are equal, within a time limit.

Hostile LaTeX (towers of powers, deep nesting) makes sympy compute forever or kills its process, and the time limit of
math-verify works in the main thread only.  Formulas that are obviously too large are refused before (`too_large`).  All
others are sent to a process that has loaded math-verify and forks for each pair: the system ends the child when it has
used its processor time, whatever it is doing, and the process is ready for the next pair at once.  Processor time, and
not the time of the clock, so that a busy machine judges as an idle one does.

math-verify receives formulas only as LaTeX: its parser of plain expressions, which evaluates them as Python, is not
used.  Its comparison of numbers, which rounds to six places and takes 2^{-98} for 2^{-99}, is replaced by one that is
relative.

This file is also the program of such a process (`python symbolic.py`), so it imports nothing from the package.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from threading import Timer

SECONDS = 0.6  # of processor time for one pair; ordinary ones take 0.01 to 0.2 s
WALL_SECONDS = 20  # for one pair that waits for something else
START_SECONDS = 300.0  # for a new process to import math-verify (2 s on a free core), and for any answer
DEEPEST, LARGEST_POWER, LARGEST_FACTORIAL = 25, 10_000, 3_000  # larger ones are refused unseen
DIGITS, TOLERANCE = 40, 1e-6  # decimal places of irrational numbers; relative difference of one from a decimal
MEMORY = 4 << 30  # bytes of address space of a process, if the system supports such a limit


class AnswerError(RuntimeError):
    """Answers cannot be compared: the message says why and what to install."""


class Lost(Exception):
    """The process was killed ("timeout") or ended by itself ("crash")."""


@lru_cache(maxsize=65536)
def compare(x: str, y: str) -> tuple[bool, str]:
    """Whether two formulas (LaTeX within $…$) are equal by math-verify, with either of them as the gold answer.

    Returns whether they are equal, and how that was decided: "symbolic"; or unequal by "too large", by "no parse" (one
    of them is not a formula), "timeout" or "crash".  Each pair is sent only once in the life of a program.

    Raises AnswerError if math-verify is not installed.
    """
    if too_large(x) or too_large(y):
        return False, "too large"
    worker = _idle.pop() if _idle else Worker()
    try:
        verdict = worker.compare([x, y])
    except Lost as lost:
        return False, str(lost)
    except BaseException:
        worker.end()
        raise
    _idle.append(worker)
    return (verdict, "symbolic") if isinstance(verdict, bool) else (False, verdict)


_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(\s]*[-+]?\s*([0-9]+)")
_FACTORIAL = re.compile(r"([0-9]+)[\s})]*!")


def too_large(latex: str) -> bool:
    r"""Whether a formula nests too deeply, or has a power or factorial of too many digits: 2003^{2002^{2001}}."""
    level = 0
    for character in latex:
        level += (character in "([{") - (character in ")]}")
        if level > DEEPEST:
            return True
    exponents = [int(digits[:9]) for digits in _EXPONENT.findall(latex)]
    # a power in an exponent: its base and exponent
    exponents += [int(base[:9]) ** min(int(power[:9]), 40) for base, power in _towers(latex)]
    factorials = [int(digits[:9]) for digits in _FACTORIAL.findall(latex)]
    return max(exponents, default=0) > LARGEST_POWER or max(factorials, default=0) > LARGEST_FACTORIAL


def _towers(latex: str) -> list[tuple[str, str]]:
    return [match.groups() for match in re.finditer(_EXPONENT.pattern + r"\s*" + _EXPONENT.pattern, latex)]  # type: ignore[misc]


class Worker:
    """A process that compares pairs: a JSON line in, one out."""

    def __init__(self):
        # -P keeps this folder off the module path: it contains a math.py.
        command, pipe = [sys.executable, "-P", os.path.abspath(__file__)], subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        try:
            ready = self._line(START_SECONDS)
        except Lost as lost:
            raise AnswerError(f"the process that compares answers did not start ({lost}): run `{sys.executable} -P "
                              f"{__file__}` to see its error message") from None  # fmt: skip
        if ready != "ready":
            self.end()
            raise AnswerError(f"comparing formulas needs math-verify, which cannot be imported ({ready}): pip install "
                              "math-verify==0.9.0 antlr4-python3-runtime==4.13.2")  # fmt: skip

    def compare(self, pair: list[str]) -> bool | str:
        """Whether the two are equal, or why that is not known.  Raises Lost, after which the process is gone."""
        try:
            self.stdin.write(json.dumps([*pair, SECONDS]) + "\n")
            self.stdin.flush()
        except OSError:
            self.end()
            raise Lost("crash") from None
        return json.loads(self._line(START_SECONDS))

    def _line(self, seconds: float) -> str:
        fired: list[bool] = []

        def kill() -> None:
            fired.append(True)
            self.process.kill()

        late = Timer(seconds, kill)
        late.daemon = True
        late.start()
        line = self.stdout.readline()
        late.cancel()
        late.join()
        if fired or not line.endswith("\n"):
            self.end()
            raise Lost("timeout" if fired else "crash")
        return line.strip()

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):
                pipe.close()


_idle: list[Worker] = []  # started and waiting: as many as the threads that have compared at the same time


@atexit.register
def close() -> None:
    """End the waiting processes; the next comparison starts a new one."""
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):  # two programs must not share a process
    os.register_at_fork(after_in_child=_idle.clear)


def _serve() -> None:
    """The program of a process: compare pairs from standard input until it is closed, each in a child."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the output of libraries must not be read as an answer
    try:
        import logging

        from math_verify import grader
    except ImportError as error:
        print(error, file=out)
        return
    logging.disable(logging.CRITICAL)
    grader.sympy_numeric_eq = _same_number
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for x, y in WARM_UP:
        _verdict(f"${x}$", f"${y}$")
    print("ready", file=out)
    for line in sys.stdin:
        x, y, seconds = json.loads(line)
        print(json.dumps(_in_child(x, y, seconds)), file=out)


# Parsing and simplifying load and cache much when they are used first: these pairs do it before the children start.
WARM_UP = (
    ("(x-1)(x+1)", "x^2-1"), (r"[2,\infty)", r"x \ge 2"), ("(-1,2)", "-1<x<2"), (r"\tan^2(y)+1", r"\sec^2(y)"),
    ("3x+2y=6", "y=3-1.5x"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    (r"\frac{\sqrt{3}}{3}+2i", r"\frac{1}{\sqrt{3}}"), (r"\{1,x\}", r"\pm 2"), (r"e^{2x}", "(e^x)^2"),
    (r"\log_2 8", r"|{-3}|\cdot 4!"),
)  # fmt: skip


def _in_child(x: str, y: str, seconds: float) -> bool | str:
    """The verdict of a child process, or "timeout" or "crash" if it did not live to give one."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # the default action of both signals ends the process
        signal.alarm(WALL_SECONDS)
        os.write(writing, json.dumps(_verdict(x, y)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM)
    return json.loads(text) if text else "timeout" if late else "crash"


def _verdict(x: str, y: str) -> bool | str:
    from math_verify import LatexExtractionConfig, parse, verify

    try:
        first, second = (parse(latex, [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
                         for latex in (x, y))  # fmt: skip
        if not first or not second:
            return "no parse"
        return any(verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None)
                   for gold, answer in ((first, second), (second, first)))  # fmt: skip
    except Exception:  # including RecursionError and MemoryError: this formula cannot be compared
        return "no parse"


def _same_number(a, b, *_) -> bool:
    """Whether two expressions or matrices are equal: rationals exactly, others to DIGITS or (decimals) TOLERANCE."""
    from math_verify.grader import safe_sympy_doit
    from sympy import Float, MatrixBase

    a, b = safe_sympy_doit(a), safe_sympy_doit(b)
    if isinstance(a, MatrixBase) or isinstance(b, MatrixBase):
        same_shape = isinstance(a, MatrixBase) and isinstance(b, MatrixBase) and a.shape == b.shape
        return same_shape and all(_same_number(x, y) for x, y in zip(a.flat(), b.flat(), strict=True))
    if a == b:
        return True
    if not (a.is_number and b.is_number) or (a.is_Rational and b.is_Rational):
        return False
    if (a.is_Float or a.is_Rational) and (b.is_Float or b.is_Rational):
        x, y = (Fraction(str(n)) for n in (a, b))
        return x == y
    x, y = a.evalf(DIGITS), b.evalf(DIGITS)
    if not (x.is_finite and y.is_finite):
        return False
    places = TOLERANCE if a.has(Float) or b.has(Float) else 10 ** (5 - DIGITS)
    return bool(abs(x - y) <= places * max(abs(x), abs(y)))


if __name__ == "__main__":
    _serve()
