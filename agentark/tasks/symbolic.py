"""math-verify in separate processes: whether two LaTeX formulas are equal, within a time limit.

Hostile LaTeX (towers of powers, deep nesting) makes sympy compute forever or kills its process, and the time limit of
math-verify works in the main thread only.  Each pair is therefore sent to a process that is killed and replaced if it
is late or dies.  math-verify receives formulas only as LaTeX: its parser of plain expressions, which evaluates them as
Python, is not used.

This file is also the program of such a process (`python symbolic.py`), so it imports nothing from the package.
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
MEMORY = 4 << 30  # bytes of address space of a process, if the system supports such a limit


class AnswerError(RuntimeError):
    """Answers cannot be compared: the message says why and what to install."""


class Lost(Exception):
    """The process was killed ("timeout") or ended by itself ("crash")."""


@lru_cache(maxsize=65536)
def compare(gold: str, answer: str) -> tuple[bool, str]:
    """Whether two formulas (LaTeX within $…$) are equal; the gold answer first, as math-verify is not symmetric.

    Returns whether they are equal, and how that was decided: "symbolic"; or unequal by "no parse" (one of them is not a
    formula), "timeout" or "crash" (the process was lost).  Each pair is sent only once in the life of a program.

    Raises AnswerError if math-verify is not installed.
    """
    worker = _idle.pop() if _idle else Worker()
    try:
        equal = worker.compare({"gold": gold, "answer": answer})
    except Lost as lost:
        return False, str(lost)
    except BaseException:
        worker.end()
        raise
    _idle.append(worker)
    return bool(equal), "no parse" if equal is None else "symbolic"


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

    def compare(self, pair: dict[str, str]) -> bool | None:
        """Whether the two are equal; None if one is not a formula.  Raises Lost, after which the process is gone."""
        try:
            self.stdin.write(json.dumps(pair) + "\n")
            self.stdin.flush()
        except OSError:
            self.end()
            raise Lost("crash") from None
        return json.loads(self._line(SECONDS))

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
    """The program of a process: compare pairs from standard input until it is closed."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the output of libraries must not be read as an answer
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
            gold, answer = (parse(pair[key], [LatexExtractionConfig()], fallback_mode="no_fallback",
                                  parsing_timeout=None) for key in ("gold", "answer"))  # fmt: skip
            readable = gold and answer
            equal = verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None) if readable else None
        except Exception:  # including RecursionError and MemoryError: this formula cannot be compared
            equal = None
        print(json.dumps(equal), file=out)


if __name__ == "__main__":
    _serve()
