"""The cost of a study before it runs: tokens, device-hours, memory, disk and wall time, with the rates behind them.

Nothing is loaded or downloaded.  A notebook run that was measured, here or in the committed reference, counts with its
measured time, any other with its expected tokens over a rate.
"""

from .cost import cost, priorities
from .memory import disk, memory
from .progress import Progress
from .rates import KINDS, Rates, billions, rates
from .tables import beside_plan, paper_hours, planned, runs, tokens_beside_plan
from .text import text

__all__ = [
    "KINDS", "Progress", "Rates", "beside_plan", "billions", "cost", "disk", "memory", "paper_hours", "planned",
    "priorities", "rates", "runs", "text", "tokens_beside_plan",
]  # fmt: skip
