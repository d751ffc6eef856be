"""The coordinates of a run, and the files that belong to them."""

from .cell import COORDINATES, Cell, fill_coordinates, slug
from .files import Artifact, Files

__all__ = ["COORDINATES", "Artifact", "Cell", "Files", "fill_coordinates", "slug"]
