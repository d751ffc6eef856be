"""Curves of training runs."""

from __future__ import annotations

from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure

from .figures import looks

TITLE_WIDTH = 34  # characters that fit above a panel


@looks
def training_loss(logs: dict[str, dict], unit: str = "nats per token") -> Figure:
    """The loss over training steps, one line per student; `logs` are training logs by the students' names."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.subplots()
    for name, log in logs.items():
        steps, losses = ([entry[key] for entry in log["loss"]] for key in ("step", "loss"))
        axes.plot(steps, losses, marker="o", markersize=3, label=name)
    axes.set(xlabel="training step", ylabel=f"loss ({unit})")
    figure.legend(loc="outside upper left", fontsize=8)
    return figure


@looks
def reward_and_truth(logs: dict[str, dict]) -> Figure:
    """The reward of a policy beside its accuracy, one row of panels per training run; `logs` by the names of the runs.

    Left: the mean reward of a step's completions.  Middle: the share of right answers, of these completions and of
    greedy answers to dev problems.  Right: KL divergence, length, and groups of equal rewards.  Step values are means
    of five steps. A reward that rises while the accuracy does not is exploited.
    """
    figure = Figure(figsize=(9.6, 2.7 * len(logs) + 0.5), layout="constrained")
    panels = figure.subplots(len(logs), 3, squeeze=False)
    named: dict = {}  # the legend: one entry per label, whichever runs have it
    for (left, middle, right), (name, log) in zip(panels, logs.items()):
        rows = pd.DataFrame(log["log"])
        smooth = rows.rolling(5, min_periods=1).mean()
        left.plot(rows.step, smooth.reward, color="#D55E00")
        left.set(title=fill(name, TITLE_WIDTH), xlabel="step", ylabel="reward")
        middle.plot(rows.step, smooth.accuracy, color="#0072B2", label="accuracy, sampled, training problems")
        if log["dev"]:
            dev = pd.DataFrame(log["dev"])
            look = {"color": "#222222", "marker": "o", "markersize": 4}
            middle.plot(dev.step, dev.accuracy, label="accuracy, greedy, dev", **look)
        middle.set(title="accuracy", xlabel="step", ylim=(0, 1))
        right.plot(rows.step, smooth.zero_variance, color="#009E73", label="share of groups with equal rewards")
        right.plot(rows.step, smooth.length / max(rows.length), color="#CC79A7", label="length (1: the longest step)")
        if "kl" in rows:
            right.plot(rows.step, smooth.kl, color="#777777", label="KL to the initial policy (nats per token)")
        right.set(title="health", xlabel="step", ylim=(0, None))
        for axes in (middle, right):
            named |= {line.get_label(): line for line in axes.lines}
    figure.legend(handles=list(named.values()), loc="outside lower center", ncols=3, fontsize=8)
    return figure
