"""math-verify in processes of its own: whether two LaTeX formulas are equal, within a time limit.

Hostile LaTeX (towers of powers, deep nesting) makes sympy compute for ever, or ends its process; math-verify's own time limit works in the
main thread only.  So each pair goes to a process that is killed and replaced where it is late or dies.  Formulas reach math-verify as LaTeX
only: its reader of plain expressions evaluates them as Python, and is left out.

This file is also the program of such a process (`python symbolic.py`), so it imports nothing of the package.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from threading import Timer

SECONDS = 5.0  # for one pair; ordinary ones take 0.01 to 0.7 s on a busy core
START_SECONDS = 120.0  # for a new process to import math-verify (2 s on a free core)
MEMORY = 4 << 30  # bytes of address space of a process, where the system has such a limit


class AnswerError(RuntimeError):
    """Answers that cannot be compared: the message says why and what to install."""


class Lost(Exception):
    """A process that was killed ("timeout") or ended by itself ("crash")."""


@lru_cache(maxsize=65536)
def compare(gold: str, answer: str) -> tuple[bool, str]:
    """Whether two formulas (LaTeX within $…$) are equal, gold first: math-verify is not symmetric.

    Returns (equal, how): "symbolic", or "no parse" where one is no formula, "timeout" or "crash" where the process was lost; these are all unequal.
    A pair is sent once in the life of a program.  Raises AnswerError where math-verify is absent.
    """
    worker = _idle.pop() if _idle else Worker()
    try:
        told = worker.ask({"gold": gold, "answer": answer})
    except Lost as lost:
        return False, str(lost)
    except BaseException:
        worker.end()
        raise
    _idle.append(worker)
    return bool(told), "no parse" if told is None else "symbolic"


class Worker:
    """A process that compares pairs: a JSON line in, one out."""

    def __init__(self):
        # -P: this folder holds a math.py, and must not be where the process looks for modules first.
        self.process = subprocess.Popen(
            [sys.executable, "-P", os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            ready = self._line(START_SECONDS)
        except Lost as lost:
            raise AnswerError(
                f"the process that compares answers did not start ({lost}): see what `{sys.executable} -P {__file__}` says"
            ) from None
        if ready != "ready":
            self.end()
            raise AnswerError(
                f"answers that are no plain numbers need math-verify, which cannot be imported ({ready}): "
                "pip install math-verify==0.9.0 antlr4-python3-runtime==4.13.2"
            )

    def ask(self, pair: dict[str, str]) -> bool | None:
        """Whether the two are equal; None where one is no formula.  Raises Lost, after which the process is gone."""
        try:
            self.process.stdin.write(json.dumps(pair) + "\n")
            self.process.stdin.flush()
        except OSError:
            self.end()
            raise Lost("crash") from None
        return json.loads(self._line(SECONDS))

    def _line(self, seconds: float) -> str:
        fired = []
        late = Timer(seconds, lambda: (fired.append(True), self.process.kill()))
        late.daemon = True
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        late.join()
        if fired or not line.endswith("\n"):
            self.end()
            raise Lost("timeout" if fired else "crash")
        return line.strip()

    def end(self) -> None:
        """Kill the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()


_idle: list[Worker] = []  # started and waiting: as many as threads ever compared at once


@atexit.register
def close() -> None:
    """End the waiting processes; the next comparison starts a new one."""
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):  # two programs must not talk to one process
    os.register_at_fork(after_in_child=_idle.clear)


def _serve() -> None:
    """The program of a process: pairs from standard input, until it is closed."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        import logging

        from math_verify import LatexExtractionConfig, parse, verify
    except ImportError as error:
        print(error, file=out)
        return
    logging.disable(logging.CRITICAL)
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", file=out)
    for line in sys.stdin:
        pair = json.loads(line)
        try:
            gold, answer = (
                parse(pair[key], [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
                for key in ("gold", "answer")
            )
            told = verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None) if gold and answer else None
        except Exception:  # RecursionError and MemoryError among them: no formula that anybody can compare
            told = None
        print(json.dumps(told), file=out)


if __name__ == "__main__":
    _serve()
