"""Distil what several debating agents know into one model: the compendium of arXiv 2602.03955."""

__version__ = "0.1.0"
