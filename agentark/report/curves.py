"""Curves of training runs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .figures import looks


@looks
def training_loss(logs: dict[str, dict]) -> Figure:
    """Loss per completion token (nats) over training steps, a line a student; `logs` are training logs by the student's name."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.subplots()
    for name, log in logs.items():
        axes.plot(
            [entry["step"] for entry in log["loss"]],
            [entry["loss"] for entry in log["loss"]],
            marker="o",
            markersize=3,
            label=name,
        )
    axes.set_xlabel("training step")
    axes.set_ylabel("loss (nats per token)")
    axes.legend(frameon=False)
    return figure


@looks
def reward_and_truth(logs: dict[str, dict]) -> Figure:
    """What a policy was paid and what it can do: reward a step (mean over its completions), and beside it the share of sampled
    training answers that are right and of greedy dev answers; then KL, length, and groups without variance.  A panel row a student.

    A reward that rises while the truth does not is a hacked one.
    """
    figure = Figure(figsize=(9.6, 2.6 * len(logs)), layout="constrained")
    panels = figure.subplots(len(logs), 3, squeeze=False)
    for (left, middle, right), (name, log) in zip(panels, logs.items()):
        rows = pd.DataFrame(log["log"])
        smooth = rows.rolling(5, min_periods=1).mean()
        left.plot(rows.step, smooth.reward, color="#D55E00")
        left.set(title=name, xlabel="step", ylabel="reward")
        middle.plot(rows.step, smooth.accuracy, color="#0072B2", label="sampled, training problems")
        if log["dev"]:
            dev = pd.DataFrame(log["dev"])
            middle.plot(dev.step, dev.accuracy, color="#222222", marker="o", markersize=4, label="greedy, dev problems")
        middle.set(title="true accuracy", xlabel="step", ylim=(0, 1))
        middle.legend()
        right.plot(rows.step, smooth.zero_variance, color="#009E73", label="groups without variance (share)")
        right.plot(
            rows.step,
            smooth.length / max(rows.length),
            color="#CC79A7",
            label=f"length (1 = {rows.length.max():.0f} tokens)",
        )
        if "kl" in rows:
            right.plot(rows.step, smooth.kl, color="#777777", label="KL to the initial policy (nats per token)")
        right.set(title="health", xlabel="step", ylim=(0, None))
        right.legend()
    return figure
