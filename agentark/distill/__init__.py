"""Distillation: how a student learns from traces."""
