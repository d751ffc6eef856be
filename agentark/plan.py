"""What a study costs before it runs: tokens, device-hours, memory, disk and wall time, with the rates behind them.

Only arithmetic: nothing is loaded or downloaded.  A notebook run that was measured (here, or in the committed reference) counts with its
measured time, any other with its expected tokens over a rate.  Rates were measured on the machines of the mini and smollm2 tiers; those of GPUs are
assumptions, and are printed as such.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import params, store, study
from .models import load, registry

KINDS = ("generated", "sampled", "read", "trained")


@dataclass(frozen=True)
class Rates:
    """What one device does in a second, and what its texts are like.

    In tokens a second: `generated` (debates, answers), `sampled` (generated within training by rewards), `read` (prompt tokens that no other prompt
    shares) and `trained` (forward and backward); where `scaled`, times the network's billions of parameters, `most` being the most that is generated.
    question, reply: their mean tokens.  `debating`: share of the problems that go on to each later round.  `start_s`: before a notebook run's first token.
    `device_gb`: a device's memory; None: the machine's.
    """

    device: str
    source: str
    generated: float
    sampled: float
    read: float
    trained: float
    question: int
    reply: int
    debating: float
    start_s: float
    scaled: bool = False
    most: float = math.inf
    device_gb: float | None = None


MINI = Rates(
    "core",
    "measured: the committed reference run of params/mini.yaml on two AMD EPYC cores; reading is within generating",
    generated=5000,
    sampled=5000,
    read=math.inf,
    trained=3000,  # results/reference/mini: benchmarks/, training_cost.csv
    question=54,
    reply=40,
    debating=0.45,
    start_s=12,
)  # inference_cost.csv, debate_rounds.csv
SMOLLM2 = Rates(
    "core",
    "measured: the committed reference run of params/smollm2.yaml on two AMD EPYC cores in bfloat16",
    generated=170,
    sampled=30,
    read=250,
    trained=110,
    question=80,
    reply=30,
    debating=0.92,
    start_s=20,
)
# H100, bfloat16.  generated: vLLM with Qwen3-32B on one H100 gave 2,353 tokens a second on ShareGPT, of which about half were generated
# (docs.gpustack.ai/2.0/performance-lab/qwen3-32b/h100): 1,170 × 32.8.  sampled: transformers' generate, a tenth of that.  read, trained: 2 and 6 FLOP
# a token and parameter at 30 and 15 % of 989 TFLOP/s.  Texts: GSM8K's and MATH's lengths, told not to think.
GPU = Rates(
    "GPU",
    "ASSUMED, nothing of it was measured here: an H100 with 80 GB, vLLM; see agentark/plan.py",
    generated=38_000,
    sampled=3_800,
    read=148_000,
    trained=24_700,
    question=150,
    reply=300,
    debating=0.4,
    start_s=180,
    scaled=True,
    most=20_000,
    device_gb=80,
)

MEMORY_GB = 0.9  # of a mini-tier job: the largest peak of the reference run (benchmarks/*.tsv)
ROW_BYTES = 3  # a token in a Parquet table: ours, from the reference rows
STEPS = 6  # of a trace: assumed; only the labeller `rollout` generates from each
VERDICT = 60  # tokens that ask whether an answer is right, beside the question: assumed


def models(told: params.Params) -> list[str]:
    """Every network of a study that is run or taught, each once; its judges are apart."""
    backbone = [] if told.prm.backbone == "student" else [told.prm.backbone]
    return list(dict.fromkeys([*told.study.teachers, *told.study.students, *backbone]))


def judges(told: params.Params) -> dict[str, params.Engine]:
    """The language models that verify, choose and judge, with their engines."""
    asked = (told.judges.verifier, told.judges.diversity, told.judges.distiller, told.judges.quality)
    return {ask.model: ask.engine or told.engine for ask in asked if ask}


@cache
def billions(name: str) -> float:
    """A network's parameters in billions: the registry's, its card's, its files', or what its name says; 8 where nothing says."""
    if known := registry.find(name):
        return known.parameters
    if name.startswith("zoo/"):
        return load.cards()[name]["parameters"] / 1e9
    if files := list(Path(name).glob("*.safetensors")):
        return sum(file.stat().st_size for file in files) / 4e9
    said = re.search(r"(\d+(?:\.\d+)?)b(?![a-z])", name, re.IGNORECASE)
    return float(said[1]) if said else 8.0


def rates(told: params.Params) -> Rates:
    """The rates of a study's tier, by the size of its networks."""
    largest = max(map(billions, models(told)))
    return MINI if largest < 0.02 else SMOLLM2 if largest < 0.2 else GPU


Work = dict[tuple[str, str], float]  # (kind, network) -> tokens


def expected(job: study.Job, told: params.Params, limit: int, r: Rates) -> Work:
    """The tokens of a notebook run, at most: every completion has a mean reply, and every training problem gives its examples."""
    at, debate, made = job.at, told.debate, defaultdict(float)
    task, students = at.get("task", ""), at.get("students", [])

    def size(what: str, of: str = task) -> int:
        n = told.sizes.of(what, of)
        return min(n, limit) if limit else n

    def reply(model: str, completions: float, questions: float, kind: str = "generated", longer: float = 0.0) -> None:
        made[kind, model] += completions * r.reply
        made["read", model] += questions * (r.question + longer)

    def answers(model: str, samples: int) -> None:
        for test in told.study.test_tasks:
            reply(model, (1 + samples) * size("test", test), size("test", test) * (1 + (samples > 0)))

    later = r.debating * (debate.rounds - 1)  # rounds after the first, a problem
    if job.notebook == "01_debate_generation":
        n, model = size("debate_test" if at["split"] == "test" else at["split"]), at["teacher"]
        summed_up = debate.aggregator == "llm"
        if at["protocol"] in ("debate", "shuffled"):
            reply(model, n * debate.agents, n)
            reply(model, n * debate.agents * later, n * later, longer=debate.agents * r.reply)
            reply(model, n * summed_up, n * summed_up, longer=debate.agents * r.reply)
        else:
            reply(
                model, n * (debate.agents * debate.rounds + summed_up if at["protocol"] == "self_consistency" else 1), n
            )
    traces = size("train") * debate.agents * (1 + later) if task else 0
    if (
        job.notebook == "02_filtering"
    ):  # a verdict of each completion; a question for each trace that is chosen; a rewritten trace
        asked, chosen = told.judges, size("train") * told.extract.max_traces
        if asked.verifier:
            made["read", asked.verifier.model] += traces * (r.question + VERDICT)
        if told.extract.diversity != "structural":
            made["read", asked.diversity.model] += chosen * (r.question + debate.agents * r.reply)
        if told.extract.diversity == "extract":
            reply(asked.distiller.model, chosen, chosen, longer=r.reply)
    if job.notebook == "06_prm":
        if (
            told.prm.loss == "contrastive"
        ):  # learns from problems with right and wrong traces: about those that go on to debate
            traces = size("train") * r.debating * debate.agents * debate.rounds
        if told.prm.labeller == "rollout":
            reply(at["teacher"], traces * STEPS * told.prm.rollouts / 2, traces * STEPS)
        for student in students:
            reply(student, size("dev") * (1 + told.evaluate.base_votes), 2 * size("dev"))
            backbone = student if told.prm.backbone == "student" else told.prm.backbone
            epochs = told.prm.stage1_epochs / 3 + told.prm.stage2_epochs  # stage I has hardly a backward pass
            made["trained", backbone] += 2 * traces * epochs * (r.question + r.reply)  # and the control
    method = at.get("method", "")
    if method:
        for student in students:
            answers(student, told.evaluate.base_votes if method == "base" else told.evaluate.samples)
            if method in params.RL_METHODS:
                steps = max(1, round(told.rl.steps * size("train") / told.sizes.of("train", task)))
                completions = steps * told.rl.prompts_per_step * told.rl.generations
                reply(student, completions, steps * told.rl.prompts_per_step, "sampled")
                reply(student, (steps // told.rl.dev_every + 2) * min(told.rl.dev_problems, size("dev")), 0, "sampled")
                made["trained", student] += (
                    completions * (r.question + r.reply) * (5 / 3)
                )  # π_ref and R_φ: a forward pass each
            elif method != "base":
                copies = (
                    told.extract.max_traces
                    if method == "da"
                    else debate.agents
                    if told.extract.rsft_traces == "all" and method != "sft"
                    else 1
                )
                length = r.question + (8 if method == "sft" else r.reply)  # "Answer: 42" and the end of the turn
                made["trained", student] += size("train") * copies * told.distill.epochs * length
    return {key: tokens for key, tokens in made.items() if tokens}


def speed(kind: str, model: str, r: Rates) -> float:
    """Tokens a second of one device."""
    value = getattr(r, kind) / (billions(model) if r.scaled else 1)
    return min(value, r.most) if kind in ("generated", "sampled") else value


def devices(engine: params.Engine) -> int:
    """How many GPUs generate together; training takes one."""
    return (engine.tensor_parallel or 1) * (engine.data_parallel or 1)


@dataclass(frozen=True)
class Cost:
    """A notebook run's: expected tokens by kind, seconds of devices, seconds of wall time, and whether these were measured."""

    tokens: dict[str, float]
    device_s: float
    wall_s: float
    measured: bool


def cost(job: study.Job, told: params.Params, limit: int, r: Rates) -> Cost:
    """What a notebook run takes: as this study's, or the reference's, same run took; else its tokens over the rates."""
    work, asked = expected(job, told, limit, r), judges(told)
    tokens = {kind: sum(n for (k, _), n in work.items() if k == kind) for kind in KINDS}
    device, wall = 0.0, r.start_s
    for (kind, model), n in work.items():
        seconds = n / speed(kind, model, r)
        device += seconds
        wall += seconds / (
            devices(asked.get(model, told.engine)) if r.device == "GPU" and kind in ("generated", "read") else 1
        )
    device += r.start_s if r.device == "core" or work else 0
    for folder in (study.output_name(told.study.name, limit), f"reference/{told.study.name}" if not limit else ""):
        file = store.ROOT / "results" / folder / "benchmarks" / f"{job.name}.tsv"
        if folder and file.exists():
            took = float(next(csv.DictReader(file.open(), delimiter="\t"))["s"])
            return Cost(tokens, device * took / wall, took, True)
    return Cost(tokens, device, wall, False)


def memory(told: params.Params, r: Rates) -> list[dict[str, str]]:
    """GB that each network takes, a row each, without activations: to generate; taught by imitation, by rewards; as a reward model."""
    lora, rl = told.distill.lora, set(told.study.methods) & set(params.RL_METHODS)
    whole = 2 if told.engine.dtype == "float32" else 1
    rows = []
    for name in models(told):
        p, known = billions(name), registry.find(name)
        row = {"network": name, "generates": "", "imitates": "", "by rewards": "", "judges": ""}
        rows.append(row)
        if r is MINI:
            row["generates"] = f"{MEMORY_GB} (all)"
            continue
        longest = r.question + (told.debate.agents + 1) * told.debate.max_new_tokens
        if known and r.device == "GPU":
            row["generates"] = f"{known.memory_gb():.1f} ({known.weights_gb:.1f} + cache)"
        else:
            row["generates"] = (
                f"{whole * known.memory_gb(told.engine.batch or 1, longest):.1f}"
                if known
                else f"{2 * whole * p:.1f} + cache"
            )
        student, weights = (
            name in told.study.students,
            2 if r.device == "GPU" else 4,
        )  # bfloat16 on a GPU, float32 elsewhere
        judge = student if told.prm.backbone == "student" else name == told.prm.backbone
        if student and set(told.study.methods) - set(params.RL_METHODS):
            row["imitates"] = f"{weights * p * (1 if lora else 4):.2g}"
        if student and rl:
            backbone = p if told.prm.backbone == "student" else billions(told.prm.backbone)
            row["by rewards"] = _flag(
                16 * p + (4 * p if told.rl.beta else 0) + (4 * backbone if rl - {"rlvr"} else 0), r
            )
        if judge and rl - {"rlvr"}:
            row["judges"] = _flag(16 * p, r)  # stage II: weights, gradients, two moments, in float32
    for name in judges(told):
        known = registry.find(name)
        generate = (
            f"{known.memory_gb():.1f} ({known.weights_gb:.1f} + cache)"
            if known
            else f"{2 * billions(name):.1f} + cache"
        )
        rows.append(
            {"network": f"{name} (asked)", "generates": generate, "imitates": "", "by rewards": "", "judges": ""}
        )
    return rows


def _flag(gb: float, r: Rates) -> str:
    return (
        f"{gb:.2g}" if gb < 10 else f"{gb:.0f}" + (f" > {r.device_gb:.0f}!" if r.device_gb and gb > r.device_gb else "")
    )


def disk(told: params.Params, tokens: float, r: Rates) -> dict[str, float]:
    """GB on disk: downloads (bfloat16), checkpoints of students and reward models, rows."""
    s, weights = told.study, 2 if r.device == "GPU" else 4
    taught = len(s.teachers) * len(s.train_tasks) * len(s.seeds)
    imitated, rewarded = (
        [m for m in s.methods if (m in params.RL_METHODS) == by_reward] for by_reward in (False, True)
    )
    size = sum(map(billions, s.students))
    scorers = size if told.prm.backbone == "student" else len(s.students) * billions(told.prm.backbone)
    return {
        "downloads": sum(2 * billions(m) for m in models(told) if load.on_hub(m))
        + sum(
            2 * billions(m)
            for m, engine in judges(told).items()
            if engine.name != "openai" and load.on_hub(m) and m not in models(told)
        ),
        "checkpoints": taught
        * (
            len(imitated) * size * weights * (0.05 if told.distill.lora else 1)
            + len(rewarded) * size * 4
            + (2 * scorers * 4 if set(rewarded) - {"rlvr"} else 0)
        ),
        "rows": tokens * ROW_BYTES / 1e9,
    }


def text(told: params.Params, at: params.Coordinates, jobs: list[study.Job], pending: set[str], cores: int) -> str:
    """The whole plan.  `pending`: the outputs, relative to the root, that are not there yet."""
    r = rates(told)
    costs = {job.name: cost(job, told, at.limit, r) for job in jobs}
    todo = {job.name: any(os.path.relpath(output, store.ROOT) in pending for output in job.outputs) for job in jobs}
    lines = [f"{'notebook run':<72}{'state':<7}{'Mtokens':>9}{'minutes':>9}"]
    groups: dict[str, list[study.Job]] = defaultdict(list)
    for job in jobs:
        c = costs[job.name]
        groups[job.notebook].append(job)
        lines.append(
            f"{job.name:<72}{'to do' if todo[job.name] else 'done':<7}{sum(c.tokens.values()) / 1e6:9.2f}{c.wall_s / 60:9.1f}{' measured' * c.measured}"
        )
    unit = f"{r.device}-hours"
    lines += [
        "",
        f"{'notebook':<24}{'runs':>6}{'done':>6}"
        + "".join(f"{kind:>11}" for kind in KINDS)
        + f"{unit:>12}   (of all runs; Mtokens)",
    ]
    for notebook, mine in groups.items():
        sums = [sum(costs[j.name].tokens[kind] for j in mine) / 1e6 for kind in KINDS]
        hours = sum(costs[j.name].device_s for j in mine) / 3600
        lines.append(
            f"{notebook:<24}{len(mine):>6}{sum(not todo[j.name] for j in mine):>6}"
            + "".join(f"{n:>11.2f}" for n in sums)
            + f"{hours:>12.2f}"
        )
    s, left = told.study, [costs[job.name] for job in jobs if todo[job.name]]
    cells = len(s.teachers) * len(s.students) * len(s.train_tasks) * len(s.methods) * len(s.seeds)
    tokens = {kind: sum(c.tokens[kind] for c in left) for kind in KINDS}
    wall = sum(c.wall_s for c in left) / (cores if r.device == "core" else 1)
    where = (
        f"on {cores} cores"
        if r.device == "core"
        else f"one run after the other, generating on {devices(told.engine)} GPUs and training on one"
    )
    lines += [
        "",
        f"cells: {len(s.teachers)} teachers × {len(s.students)} students × {len(s.train_tasks)} training sets × {len(s.methods)} methods × {len(s.seeds)} seeds "
        f"= {cells}, each on {len(s.test_tasks)} test sets, in {len(jobs)} notebook runs, {len(jobs) - len(left)} of them done",
        "left, at most: " + ", ".join(f"{n / 1e6:,.1f} M tokens {kind}" for kind, n in tokens.items()),
        f"{unit} left: {sum(c.device_s for c in left) / 3600:,.1f}; wall time: {_hours(wall)} {where}",
        "disk: "
        + ", ".join(
            f"{gb:,.1f} GB of {what}"
            for what, gb in disk(told, sum(c.tokens["generated"] for c in costs.values()), r).items()
        ),
        "",
        "memory in GB, without activations"
        + (f" (! more than a device has: {r.device_gb:.0f})" if r.device_gb else ""),
        f"{'network':<36}{'generates':>22}{'imitates':>10}{'by rewards':>13}{'as a reward model':>19}",
    ]
    lines += [
        f"{row['network']:<36}{row['generates']:>22}{row['imitates']:>10}{row['by rewards']:>13}{row['judges']:>19}"
        for row in memory(told, r)
    ]
    if r.device == "core":
        lines.append(f"of the machine, with {cores} runs at a time: {cores} times what the largest takes")
    per = " × billions of parameters" if r.scaled else ""
    lines += [
        "",
        f"rates: {r.source}",
        "tokens a second of one "
        + r.device
        + per
        + ": "
        + ", ".join(f"{getattr(r, kind):,.0f} {kind}" for kind in KINDS if getattr(r, kind) < math.inf)
        + (f"; at most {r.most:,.0f} generated" if r.most < math.inf else ""),
        f"a question has {r.question} tokens, a reply {r.reply}; {r.debating:.0%} of the problems go on to each later round; {r.start_s:.0f} s to start a run",
    ]
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds < 7200 else f"about {seconds / 3600:,.0f} hours"
