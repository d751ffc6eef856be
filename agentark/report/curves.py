"""Curves of training runs."""

from __future__ import annotations

from matplotlib.figure import Figure

from .figures import looks


@looks
def training_loss(logs: dict[str, dict]) -> Figure:
    """Loss per completion token (nats) over training steps, a line a student; `logs` are training logs by the student's name."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.subplots()
    for name, log in logs.items():
        axes.plot([entry["step"] for entry in log["loss"]], [entry["loss"] for entry in log["loss"]], marker="o", markersize=3, label=name)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss (nats per token)")
    axes.legend(frameon=False)
    return figure
