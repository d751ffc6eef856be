"""The configuration of a run: strict, typed sections of a YAML file.

An unknown key, a value of the wrong type (YAML reads `1e-5` as text; write `1.0e-5`) or an impossible combination
raises a `ParamsError`, which names the key, what is allowed and the nearest match. Nothing heavy is imported here, so
that an invalid file fails before any model is loaded. The names of methods, protocols, models and benchmarks are not
checked here: other files declare them.
"""

from .base import ParamsError, Positive, Section, Share
from .debate import Debate
from .engine import Engine, best_dtype, keys_of
from .evaluate import Evaluate, Stats
from .extract import Extract, Judge, Judges, LanguageModel
from .file import COORDINATES, SECTIONS, Coordinates, check, load
from .messages import unknown
from .sections import Params
from .study import Size, Sizes, Study
from .training import Distill, Dpo, Lora, Prm, Rl

__all__ = [
    "COORDINATES", "SECTIONS", "Coordinates", "Debate", "Distill", "Dpo", "Engine", "Evaluate", "Extract", "Judge",
    "Judges", "LanguageModel", "Lora", "Params", "ParamsError", "Positive", "Prm", "Rl", "Section", "Share", "Size",
    "Sizes", "Stats", "Study", "best_dtype", "check", "keys_of", "load", "unknown",
]  # fmt: skip
