"""The progress of a run: each line says how many notebook runs are done, the time spent and the time that is left."""

from __future__ import annotations

import subprocess
import time

from agentark import params
from agentark.graph.job import Job

from .cost import cost
from .rates import rates

# Lines of Snakemake that say nothing about the study.
QUIET = ("Select jobs to execute", "Execute ", "Assuming unrestricted", "Building DAG of jobs", "Using shell")


class Progress:
    """Follows the output of a run; expected times are those of the plan, scaled by how the finished runs compared."""

    def __init__(self, jobs: list[Job], config: params.Params, limit: int, cores: int, whole: bool = True):
        """`whole`: whether the command runs all of `jobs`; it may run a part of them, by an option such as --until."""
        r = rates(config)
        self.expected = {job.name: cost(job, config, limit, r).wall_s for job in jobs}
        self.cores, self.started, self.total, self.done = cores, time.monotonic(), len(jobs), 0
        self.whole = whole
        self.begun: dict[str, float] = {}
        self.spent, self.planned = 0.0, 0.0  # seconds of the finished runs, measured and planned

    def line(self, line: str) -> str:
        """A line of the run's output, with the progress if a notebook run starts or ends."""
        words = line.split()
        if len(words) != 3 or words[1] not in ("start", "done"):
            return line
        clock, event, name = words
        now = time.monotonic()
        if event == "start":
            self.begun[name] = now
            return f"{clock} {'start':<46} {name}"
        self.done += 1
        self.spent += now - self.begun.pop(name, now)
        self.planned += self.expected.pop(name, 0.0)
        count, minutes = f"done {self.done:>3}", f"{(now - self.started) / 60:.0f} min elapsed"
        if self.whole:
            count, minutes = f"{count}/{self.total}", f"{minutes}, about {self.remaining(now) / 60:.0f} left"
        return f"{clock} {f'{count}, {minutes}':<46} {name}"

    def remaining(self, now: float) -> float:
        """The expected seconds until the last run is done."""
        pace = self.spent / self.planned if self.planned else 1.0
        left = {name: pace * seconds for name, seconds in self.expected.items()}
        left |= {name: max(0.0, left.get(name, 0.0) - (now - begun)) for name, begun in self.begun.items()}
        return max(max(left.values(), default=0.0), sum(left.values()) / self.cores)

    def follow(self, command: list[str]) -> int:
        """Run a command, print its output with the progress, and return its exit status."""
        pipe: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "bufsize": 1}
        with subprocess.Popen(command, **pipe) as process:
            try:
                for line in process.stdout or ():
                    if not line.startswith(QUIET):
                        print(self.line(line.rstrip("\n")), flush=True)
            except KeyboardInterrupt:
                process.wait()
                raise
        return process.returncode
