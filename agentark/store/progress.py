"""Progress of a stage that works in chunks, as lines on stderr."""

from __future__ import annotations

import sys
import time


def print_progress(label: str, done: int, total: int) -> None:
    """Print one line: the time, the label of the work, and how many of its chunks are done."""
    print(f"{time.strftime('%H:%M:%S')} {label}: chunk {done} of {total}", file=sys.stderr, flush=True)
