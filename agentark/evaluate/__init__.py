"""Evaluation: how good a model, a vote or a debate is."""
