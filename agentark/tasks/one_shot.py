"""asdiv_one_shot, gsm8k_one_shot: the questions of asdiv and gsm8k, each asked after one worked example.

A small instructed model that is only told the form of an answer often does not keep to it: Qwen2.5-Coder-1.5B-Instruct
gave 1 of 40 answers to ASDiv in the right form without an example, and 32 with one (4-bit weights; measured when its
packages were found).  The example is part of the question wherever it is asked: in every round of a debate, in
training, in tests, and before what scores a trace.  It is ours, and no problem of a split of either benchmark.

The prompt ends with "Solution:": a question that ends with the form of the answer, or with the example, was answered
without any reasoning (docs/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from . import asdiv, gsm8k
from .problem import Problem, Task

EXAMPLE = Problem(
    "one_shot/example",
    "Tom has 3 boxes of 12 pens and gives 8 pens away. How many pens are left?",
    "28",
    "There are 3 * 12 = 36 pens in the boxes.\nThen 36 - 8 = 28 pens are left.\nAnswer: 28",
    "number",
)
# All of the wording, on which stages depend (`tasks.sources`); the question takes the place of {question}.
INSTRUCTION = f"""\
Solve the second question as the first one is solved: step by step, with a last line of the form "Answer: X", where X \
is the answer alone.

Question: {EXAMPLE.question}
Solution:
{EXAMPLE.solution}

Question: {{question}}
Solution:"""


@dataclass(frozen=True)
class OneShot(Task):
    """A benchmark whose instruction stands around the question."""

    def prompt(self, problem: Problem) -> str:
        """The user's message for `problem`."""
        return self.instruction.replace("{question}", problem.question)


def one_shot(task: Task) -> OneShot:
    """The problems and the grader of `task`, under another name and with the example."""
    same = {field.name: getattr(task, field.name) for field in fields(task)}
    return OneShot(**same | {"name": f"{task.name}_one_shot", "instruction": INSTRUCTION})


TASKS = (one_shot(asdiv.TASK), one_shot(gsm8k.TASK))
