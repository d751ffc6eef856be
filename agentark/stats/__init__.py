"""How certain a result is: intervals, paired tests, corrections, and the differences that a test can detect.

Two models that answered the same items are compared item by item: an unpaired comparison of paired data loses most
of its power, and uncorrected comparisons find a difference in any noise if there are enough of them.
"""

from .bootstrap import paired_bootstrap
from .crossed import Crossed, crossed
from .intervals import effective_size, mean_interval, t_interval, unpaired_difference, wilson
from .paired import mcnemar_exact, paired_p, smallest_detectable, smallest_detectable_of
from .ratios import ratio_of_means
from .verdicts import decided, holm, verdict

__all__ = [
    "Crossed", "crossed", "decided", "effective_size", "holm", "mcnemar_exact", "mean_interval", "paired_bootstrap",
    "paired_p", "ratio_of_means", "smallest_detectable", "smallest_detectable_of", "t_interval", "unpaired_difference",
    "verdict", "wilson",
]  # fmt: skip
