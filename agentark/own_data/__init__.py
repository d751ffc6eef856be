"""Distillation on your own questions: a student, its model card and a report from a file, a teacher and a student."""
