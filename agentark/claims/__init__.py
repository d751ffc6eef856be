"""The paper's findings as claims that are stated before the results, and the verdicts on them.

`params/claims.yaml` says what is compared and what counts as holding; `read` checks it, `refuse` does so against a
study before it runs, and `evaluate.table` gives the verdicts from a study's per-item rows.
"""

from .file import PATH, Claim, Claims, Comparison, Place, read, refuse, unmade
from .verdicts import verdict

__all__ = ["PATH", "Claim", "Claims", "Comparison", "Place", "read", "refuse", "unmade", "verdict"]
