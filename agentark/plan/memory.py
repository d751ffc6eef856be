"""The memory and disk that a study needs."""

from __future__ import annotations

from agentark import params
from agentark.distill.method import Method, methods
from agentark.models import load, registry

from .rates import MINI, Rates, billions, judges, models

MEMORY_GB = 0.9  # of a mini-tier job: the largest peak of the reference run (benchmarks/*.tsv)
ROW_BYTES = 3  # a token in a Parquet table: ours, from the reference rows


JUDGED = ("prm", "shuffled", "likelihood")  # the rewards for which a network besides the policy is loaded


def by_reward(config: params.Params) -> tuple[list[Method], list[Method]]:
    """Return the study's methods that imitate, and those that learn from rewards."""
    chosen = [methods()[name] for name in config.study.methods]
    return [m for m in chosen if not m.reward], [m for m in chosen if m.reward]


def memory(config: params.Params, r: Rates) -> list[dict[str, str]]:
    """Return each network's GB without activations: to generate, to learn by imitation or rewards, to be a scorer."""
    lora, (imitating, rewarded) = config.distill.lora, by_reward(config)
    judged = any(method.reward in JUDGED for method in rewarded)
    whole = 2 if config.engine.dtype == "float32" else 1
    weights = 2 if r.device == "GPU" else 4  # bfloat16 on a GPU, float32 elsewhere
    empty, rows = dict.fromkeys(("network", "generates", "imitates", "by rewards", "judges"), ""), []
    for name in models(config):
        p, entry = billions(name), registry.find(name)
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
        judge = student if config.prm.backbone == "student" else name == config.prm.backbone
        if student and imitating:
            reference = any(method.pairs for method in imitating)  # which an adapter, switched off, is by itself
            row["imitates"] = f"{weights * p * (1 if lora else 4 + reference):.2g}"
        if student and rewarded:
            backbone = p if config.prm.backbone == "student" else billions(config.prm.backbone)
            row["by rewards"] = _flag(16 * p + (4 * p if config.rl.beta else 0) + (4 * backbone if judged else 0), r)
        if judge and judged:
            row["judges"] = _flag(16 * p, r)  # stage II: weights, gradients, two moments, in float32
    for name in judges(config):
        rows.append(empty | {"network": f"{name} (asked)", "generates": _generating(name)})
    return rows


def _generating(name: str, whole: int = 1) -> str:
    """The GB of a network that generates by vLLM, as text; whole: 2 for float32, if the registry does not know it."""
    if entry := registry.find(name):
        return f"{entry.memory_gb():.1f} ({entry.weights_gb:.1f} + cache)"
    return f"{2 * whole * billions(name):.1f} + cache"


def _flag(gb: float, r: Rates) -> str:
    excess = f" > {r.device_gb:.0f}!" if r.device_gb and gb > r.device_gb else ""
    return f"{gb:.2g}" if gb < 10 else f"{gb:.0f}{excess}"


def disk(config: params.Params, tokens: float, r: Rates) -> dict[str, float]:
    """Return the GB on disk: downloads (bfloat16), checkpoints of students and reward models, rows."""
    s, weights = config.study, 2 if r.device == "GPU" else 4
    imitating, rewarded = by_reward(config)
    size = sum(map(billions, s.students))
    scorers = size if config.prm.backbone == "student" else len(s.students) * billions(config.prm.backbone)
    local = [name for name, engine in judges(config).items() if not engine.serves]
    downloads = sum(2 * billions(m) for m in dict.fromkeys([*models(config), *local]) if load.on_hub(m))
    checkpoints = len(imitating) * size * weights * (0.05 if config.distill.lora else 1) + len(rewarded) * size * 4
    checkpoints += 2 * scorers * 4 if any(m.reward in ("prm", "shuffled") for m in rewarded) else 0
    cells = len(s.teachers) * len(s.train_tasks) * len(s.seeds)
    return {"downloads": downloads, "checkpoints": cells * checkpoints, "rows": tokens * ROW_BYTES / 1e9}
