"""The model card of a student: Markdown with the metadata of the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

import pandas as pd
import yaml

from agentark import tasks
from agentark.models import load, registry

from . import findings
from .findings import LICENCES, Results

USE = """```python
from agentark.models import load
model, tokenizer = load.load("FOLDER")  # the folder of this card
```"""


def card(results: Results, is_adapter: bool) -> str:
    """Return the model card of a LoRA adapter (`is_adapter`) or of a whole network."""
    entry, licence = registry.find(results.student), findings.licence(results.student)
    metadata = {
        "license": "apache-2.0" if licence.startswith("Apache-2.0") else "other" if entry else "unknown",
        "library_name": "peft" if is_adapter else "transformers",
        "tags": ["agentark", results.method],
    }
    if metadata["license"] == "other":
        metadata["license_name"] = licence
    if entry or load.on_hub(results.student):
        metadata["base_model"] = entry.hub if entry else results.student
    blocks = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False).strip()}\n---\n# {results.title}",
        "Trained with `agentark distill` after AgentArk (arXiv 2602.03955): agents debate, the right traces are kept, "
        "and a student learns from them.",
        f"**{findings.finding(results)}**",
        f"## Use\n\n{USE}",
        "The student learnt to answer a question that is followed by an empty line and: "
        f"*{tasks.get(results.data.task).instruction}*",
        f"## Accuracy on held-out problems, in %\n\n{_markdown(findings.accuracies(results))}",
        f"Paired comparisons on the same problems:\n\n{_markdown(findings.compared(results))}",
        f"## Data\n\n{_markdown(findings.data_counts(results))}",
        f"## Licences\n\n{_markdown(findings.licences(results))}\n\n{LICENCES}",
        f"## Training\n\n{_markdown(findings.provenance(results))}",
        f"```yaml\n{findings.settings(results).strip()}\n```\n",
    ]
    return "\n\n".join(blocks)


def _markdown(frame: pd.DataFrame) -> str:
    def cell(value) -> str:
        return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    rows: list[Any] = [frame.columns, ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)
