"""The cost of a study before it runs: tokens, device-hours, memory, disk and wall time, with the rates behind them.

Nothing is loaded or downloaded.  A notebook run that was measured, here or in the committed reference, counts with its
measured time, any other with its expected tokens over a rate.
"""

from .cost import cost, priorities
from .memory import disk, memory
from .progress import Progress
from .rates import KINDS, Rates, billions, rates
from .text import text

__all__ = ["KINDS", "Progress", "Rates", "billions", "cost", "disk", "memory", "priorities", "rates", "text"]
