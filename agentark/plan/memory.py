"""The memory and disk that a study needs."""

from __future__ import annotations

from agentark import params
from agentark.distill.chains import JUDGED_BY
from agentark.distill.method import Method, methods
from agentark.models import load

from .rates import MINI, QUANTISED, Rates, backbones, billions, judges, models, record

MEMORY_GB = 0.9  # of a mini-tier job: the largest peak of the reference run (benchmarks/*.tsv)
ROW_BYTES = 3  # a token in a Parquet table: ours, from the reference rows
ADAPTER = 0.05  # of a network's weights: assumed, generously
LAST_LAYER = 0.1  # of a reward model's weights, what stage I trains and a model without stage II saves: assumed


def by_reward(config: params.Params) -> tuple[list[Method], list[Method]]:
    """Return the study's methods that imitate, and those that learn from rewards."""
    chosen = [methods()[name] for name in config.study.methods]
    return [m for m in chosen if not m.reward], [m for m in chosen if m.reward]


def memory(config: params.Params, r: Rates) -> list[dict[str, str]]:
    """Return each network's GB without activations: to generate, to learn by imitation or rewards, to be a scorer."""
    lora, (imitating, rewarded) = config.distill.lora, by_reward(config)
    judged = any(method.reward in JUDGED_BY for method in rewarded)
    on = backbones(config)
    whole = 2 if config.engine.dtype == "float32" else 1
    weights = 2 if r.device == "GPU" else 4  # bfloat16 on a GPU, float32 elsewhere
    empty, rows = dict.fromkeys(("network", "generates", "imitates", "by rewards", "judges"), ""), []
    for name in models(config):
        p, entry = billions(name), record(name)
        rows.append(row := {**empty, "network": name})
        if r is MINI:
            row["generates"] = f"{MEMORY_GB} (all)"
            continue
        longest = r.question + (config.debate.agents + 1) * config.debate.max_new_tokens
        if r.device == "GPU":
            row["generates"] = _generating(name, whole)
        elif entry:
            row["generates"] = f"{whole * entry.memory_gb(config.engine.batch or 1, longest):.1f}"
        else:
            row["generates"] = f"{2 * whole * p:.1f} + cache"
        student = name in config.study.students
        imitation = weights * p * (1 if lora else 4)
        if student and imitating:
            reference = any(method.pairs for method in imitating)  # which an adapter, switched off, is by itself
            row["imitates"] = f"{weights * p * (1 if lora else 4 + reference):.2g}"
        if student and rewarded:
            judge = 4 * max(p if backbone == "student" else billions(backbone) for backbone in on) if judged else 0
            row["by rewards"] = _flag(max(_policy(method, p, imitation, config) for method in rewarded) + judge, r)
        if judged and (name in on or (student and "student" in on)):
            row["judges"] = _flag(16 * p, r)  # in float32: stage II with two moments, or an examination's four scorers
    for name in judges(config):
        rows.append(empty | {"network": f"{name} (asked)", "generates": _generating(name)})
    return rows


def _policy(method: Method, p: float, imitation: float, config: params.Params) -> float:
    """The GB of a policy of p billion parameters that learns from rewards, without what judges it.

    Selection holds the network that wrote the samples beside the one that imitates them, which `imitation` GB are for.
    """
    if method.optimiser == "select":
        return (4 if config.engine.dtype == "float32" else 2) * p + imitation
    return 16 * p + (4 * p if config.rl.beta else 0)


def _generating(name: str, whole: int = 1) -> str:
    """The GB of a network that generates by vLLM, as text; whole: 2 for float32, if the registry does not know it."""
    if entry := record(name):
        return f"{entry.memory_gb():.1f} ({entry.weights_gb:.1f} + cache)"
    return f"{2 * whole * billions(name):.1f} + cache"


def _flag(gb: float, r: Rates) -> str:
    excess = f" > {r.device_gb:.0f}!" if r.device_gb and gb > r.device_gb else ""
    return f"{gb:.2g}" if gb < 10 else f"{gb:.0f}{excess}"


def disk(config: params.Params, tokens: float, r: Rates) -> dict[str, float]:
    """Return the GB on disk: downloads (bfloat16), checkpoints of students and reward models, rows.

    A reward model is counted with its control; one that is not on the student is trained once for all students, and
    one without stage II is saved as what it trained (`distill.prm_model`).  The students of a network that judges are
    counted for each backbone of the study.
    """
    s, weights, on = config.study, 2 if r.device == "GPU" else 4, backbones(config)
    imitating, rewarded = by_reward(config)
    size, adapter = sum(map(billions, s.students)), ADAPTER if config.distill.lora else 1
    scorers = sum(size if backbone == "student" else billions(backbone) for backbone in on)
    local = [name for name, engine in judges(config).items() if not engine.serves]
    brought = [m for m in dict.fromkeys([*models(config), *local]) if load.on_hub(m) or m in QUANTISED]
    checkpoints = len(imitating) * size * weights * adapter
    for method in rewarded:
        students = size * (weights * adapter if method.optimiser == "select" else 4)
        checkpoints += students * (len(on) if method.reward in JUDGED_BY else 1)
    if any(m.reward in ("prm", "shuffled") for m in rewarded):
        checkpoints += 2 * scorers * 4 * (1 if config.prm.stage2_epochs else LAST_LAYER)
    downloads = sum(2 * billions(m) for m in brought)
    cells = len(s.teachers) * len(s.train_tasks) * len(s.seeds)
    return {"downloads": downloads, "checkpoints": cells * checkpoints, "rows": tokens * ROW_BYTES / 1e9}
