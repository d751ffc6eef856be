"""The methods, one per file: what a student learns from, and how."""
