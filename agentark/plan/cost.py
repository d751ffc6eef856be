"""The cost of a notebook run: as measured before, or its expected tokens over the rates."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from agentark import params, store
from agentark.graph import graph
from agentark.graph.job import Job, output_name

from .rates import KINDS, Rates, devices, judges, rates, speed


@dataclass(frozen=True)
class Cost:
    """Of a notebook run: expected tokens by kind, seconds of devices and of wall time; whether these were measured."""

    tokens: dict[str, float]
    device_s: float
    wall_s: float
    measured: bool


def expected(job: Job, config: params.Params, r: Rates) -> Cost:
    """Return the cost of a notebook run by the rates."""
    work, engines = job.tokens(r), judges(config)
    tokens = {kind: sum(n for (k, _), n in work.items() if k == kind) for kind in KINDS}
    device, wall = 0.0, r.start_s
    for (kind, model), n in work.items():
        seconds = n / speed(kind, model, r)
        device += seconds
        generates = r.device == "GPU" and kind in ("generated", "revised", "read")
        wall += seconds / (devices(engines.get(model, config.engine)) if generates else 1)
    device += r.start_s if r.device == "core" or work else 0
    return Cost(tokens, device, wall, False)


def cost(job: Job, config: params.Params, limit: int, r: Rates) -> Cost:
    """Return the cost of a notebook run: as the same run took in this study or its reference, or by the rates."""
    by_rates = expected(job, config, r)
    for folder in (output_name(config.study.name, limit), f"reference/{config.study.name}" if not limit else ""):
        file = store.ROOT / "results" / folder / "benchmarks" / f"{job.name}.tsv"
        if folder and file.exists():
            took = float(next(csv.DictReader(file.open(), delimiter="\t"))["s"])
            return Cost(by_rates.tokens, by_rates.device_s * took / by_rates.wall_s, took, True)
    return by_rates


def priorities(jobs: list[Job], config: params.Params, limit: int) -> dict[str, int]:
    """The priority of each job: the expected seconds of the longest chain of jobs that begins with it."""
    r = rates(config)
    return graph.priorities(jobs, lambda job: cost(job, config, limit, r).wall_s / 60)
