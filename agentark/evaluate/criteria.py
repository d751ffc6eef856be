"""What a reward model has to reach in its examination, stated before any was examined, and what it adds.

A criterion is passed if the lower end of the interval lies above the chance level by a margin.  A scorer that knows
which steps are right passes all of them, one that knows nothing none (a test holds both).
"""

from __future__ import annotations

import pandas as pd

from agentark import stats

from .process import Examined

MARGINS = {  # ours: by how much the lower end of the interval has to exceed chance
    "errors that lower the score": 0.35,  # so above 85 %
    "off-topic text below": 0.7,  # so above 80 %
    "step AUROC": 0.2,  # so above 0.7
    "answer AUROC": 0.1,  # so above 0.6
    "best of N": 0.03,  # better than one sample by more than noise
    "best of N - vote": 0.0,  # better than a vote, which needs no reward model: see `required`
}
USABLE = "usable as a reward"
REWARD_MODEL = "reward model"  # the scorer that is examined; the others are its controls
ADDS = "adds to"  # the beginning of the measures that compare it with a control


def required(measure: str, chance: float) -> float | None:
    """Return what the lower end of the interval has to exceed; None for a measure without a criterion.

    The vote is another chooser, not a chance level: the difference to it has to be above 0.
    """
    if measure not in MARGINS:
        return None
    return MARGINS[measure] if measure == "best of N - vote" else chance + MARGINS[measure]


def decide(examined: dict[str, Examined], level: float = 0.95) -> pd.DataFrame:
    """Decide the examination of a reward model and of its controls, by their names (REWARD_MODEL is its own).

    Returns the measures of all of them: scorer, measure, value, low, high, chance, n, required and passed (True, False
    or None).  Then, for the reward model: "adds to <control>", the difference of the accuracies of their choices on the
    same problems, passed if its interval is above 0; and USABLE, which needs all criteria of MARGINS.
    """
    table = pd.concat([each.measures.assign(scorer=name) for name, each in examined.items()], ignore_index=True)
    table["required"] = [required(m, c) for m, c in zip(table.measure, table.chance, strict=True)]
    table["passed"] = [
        None if pd.isna(bar) else bool(pd.notna(low) and low > bar)
        for low, bar in zip(table.low, table.required, strict=True)
    ]
    own, rows = examined[REWARD_MODEL].best, []
    for name, other in examined.items():
        if name == REWARD_MODEL:
            continue
        difference, low, high = stats.paired_bootstrap(other.best.loc[own.index], own, level=level)
        row = {"scorer": REWARD_MODEL, "measure": f"{ADDS} {name}", "value": difference, "low": low, "high": high}
        rows.append(row | {"chance": 0.0, "n": len(own), "required": 0.0, "passed": low > 0})
    decided = table[(table.scorer == REWARD_MODEL) & table.measure.isin(MARGINS)].passed
    usable = len(decided) == len(MARGINS) and all(passed is True for passed in decided)
    rows.append({"scorer": REWARD_MODEL, "measure": USABLE, "n": len(own), "passed": usable})
    columns = ["scorer", "measure", "value", "low", "high", "chance", "n", "required", "passed"]
    return pd.DataFrame([*table[columns].to_dict("records"), *rows], columns=columns)


def failed(decided: pd.DataFrame) -> list[str]:
    """Return the criteria that a reward model does not pass, with its value and what is required."""
    own = decided[(decided.scorer == REWARD_MODEL) & decided.measure.isin(MARGINS)]
    rows = own[own.passed.astype(str) != "True"].itertuples()
    return [f"{r.measure} {r.value:.2f} (from {r.low:.2f}; above {r.required:.2f} is required)" for r in rows]
