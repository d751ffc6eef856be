"""Extraction: which traces of a debate are kept, and for whom."""
