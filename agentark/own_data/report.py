"""The report of a run as one HTML page: the tables of the model card, figures, and examples of answers and debates."""

from __future__ import annotations

from agentark import tasks
from agentark.evaluate import group
from agentark.models import load
from agentark.report.tables import main_results

from . import findings
from .findings import LICENCES, Results

ROUNDS = ["round", "problems", "debating", "single_accuracy", "consensus_accuracy", "corrected", "corrupted", "copied"]


def report(results: Results) -> str:
    """Return the report as HTML."""
    from agentark.report import curves, figures, page

    level, data = results.config.stats.level, results.data
    by_method = figures.by_method(main_results(results.rows, level).assign(test="held-out problems"), level)
    parts = {
        "Accuracy on held-out problems, in %": page.table(findings.accuracies(results))
        + page.picture(by_method, "accuracy with intervals, as in the table above"),
        "Paired comparisons on the same problems": page.table(findings.compared(results))
        + page.paragraph("Problems on which the student's answer is right now and was wrong before, or the reverse:")
        + page.table(findings.changed(results)),
        "Data": page.table(findings.data_counts(results)),
    }
    if any(data.dropped.values()):
        parts["Data"] += page.table(findings.unused(results))
    if results.log is not None:
        questions = {p.id: p.question for p in tasks.problems(data.task, "train", data.sizes["train"])}
        rounds = group.rounds(results.log, data.task)[ROUNDS].round(3)
        debates = page.table(rounds) + page.debates(results.log, questions)
        parts["The teacher's debate of the training problems"] = debates
    curve = curves.reward_and_truth if "log" in results.training else curves.training_loss
    training = curve({load.slug(results.student): results.training})
    parts |= {
        "Learning curve": page.picture(training, "the course of the training, step by step"),
        "Licences": page.table(findings.licences(results)) + page.paragraph(LICENCES),
        "Training": page.table(findings.provenance(results)) + page.listing(findings.settings(results)),
    }
    return page.page(results.title, findings.finding(results), parts)
