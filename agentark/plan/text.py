"""The plan as text."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from typing import Any

from agentark import params, store
from agentark.graph.job import Job
from agentark.models import fit

from .context import too_many_agents
from .cost import cost
from .memory import disk, memory
from .rates import KINDS, devices, rates


def text(config: params.Params, limit: int, jobs: list[Job], pending: set[str], cores: int) -> str:
    """Return the whole plan.  `pending`: the outputs, relative to the root, that do not exist yet."""
    r = rates(config)
    costs = {job.name: cost(job, config, limit, r) for job in jobs}
    todo = {job.name: any(os.path.relpath(output, store.ROOT) in pending for output in job.outputs) for job in jobs}
    width = max(72, *(len(job.name) + 1 for job in jobs))
    lines = [f"{'notebook run':<{width}}{'state':<7}{'Mtokens':>9}{'minutes':>9}"]
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        c, state = costs[job.name], "to do" if todo[job.name] else "done"
        groups[job.notebook].append(job)
        figures = f"{sum(c.tokens.values()) / 1e6:9.2f}{c.wall_s / 60:9.1f}{' measured' * c.measured}"
        lines.append(f"{job.name:<{width}}{state:<7}{figures}")
    unit, kinds = f"{r.device}-hours", "".join(f"{kind:>11}" for kind in KINDS)
    lines += ["", f"{'notebook':<24}{'runs':>6}{'done':>6}{kinds}{unit:>12}   (of all runs; Mtokens)"]
    for notebook, runs in groups.items():
        sums = "".join(f"{sum(costs[job.name].tokens[kind] for job in runs) / 1e6:>11.2f}" for kind in KINDS)
        hours, done = sum(costs[job.name].device_s for job in runs) / 3600, sum(not todo[job.name] for job in runs)
        lines.append(f"{notebook:<24}{len(runs):>6}{done:>6}{sums}{hours:>12.2f}")
    s, left = config.study, [costs[job.name] for job in jobs if todo[job.name]]
    counts: dict[str, Any] = {"teachers": s.teachers, "students": s.students, "training sets": s.train_tasks}
    counts |= {"protocols": s.protocols, "methods": s.methods, "seeds": s.seeds}
    cells = " × ".join(f"{len(names)} {what}" for what, names in counts.items())
    cells += f" = {math.prod(map(len, counts.values()))}, each on {len(s.test_tasks)} test sets"
    trained = sum(len(job.coordinates["students"]) for job in jobs if job.coordinates.get("method") in s.methods)
    tokens = ", ".join(f"{sum(c.tokens[kind] for c in left) / 1e6:,.1f} M tokens {kind}" for kind in KINDS)
    wall = _hours(sum(c.wall_s for c in left) / (cores if r.device == "core" else 1))
    where = f"one run after the other, generating on {devices(config.engine)} GPUs and training on one"
    where = f"on {cores} cores" if r.device == "core" else where
    limit_gb = f" (! more than a device has: {r.device_gb:.0f})" if r.device_gb else ""
    space = disk(config, sum(c.tokens["generated"] + c.tokens["revised"] for c in costs.values()), r)
    lines += [
        "",
        f"cells: {cells}, in {len(jobs)} notebook runs, {len(jobs) - len(left)} of them done",
        *([f"with the values of {', '.join(s.axes)}: {trained} students to train"] if s.axes else []),
        *fit.left_out(config),
        f"left, at most: {tokens}",
        f"{unit} left: {sum(c.device_s for c in left) / 3600:,.1f}; wall time: {wall} {where}",
        "disk: " + ", ".join(f"{gb:,.1f} GB of {what}" for what, gb in space.items()),
        "",
        f"memory in GB, without activations{limit_gb}",
        f"{'network':<36}{'generates':>22}{'imitates':>10}{'by rewards':>13}{'as a reward model':>19}",
    ]
    columns = {"network": "<36", "generates": ">22", "imitates": ">10", "by rewards": ">13", "judges": ">19"}
    lines += ["".join(f"{row[name]:{width}}" for name, width in columns.items()) for row in memory(config, r)]
    if r.device == "core":
        lines.append(f"of the machine, with {cores} runs at a time: {cores} times what the largest takes")
    if refused := too_many_agents(config, r):
        lines += ["", *refused]
    per = f" × billions of parameters{'' if r.power == 1 else f' to the power {r.power:g}'}" if r.power else ""
    speeds = ", ".join(f"{getattr(r, kind):,.0f} {kind}" for kind in KINDS if getattr(r, kind) < math.inf)
    most = f"; at most {r.most:,.0f} generated" if r.most < math.inf else ""
    lines += ["", f"rates: {r.source}"]
    lines += [
        f"tokens a second of one {r.device}{per}: {speeds}{most}",
        f"a question has {r.question} tokens, a reply {r.reply}; {r.debating:.0%} of the problems go on to each later "
        f"round; {r.start_s:.0f} s to start a run",
    ]
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds < 7200 else f"about {seconds / 3600:,.0f} hours"
