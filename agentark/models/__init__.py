"""Models: which network a name means, and how it is loaded."""

from . import coder  # noqa: F401  (adds its models to the registry)
