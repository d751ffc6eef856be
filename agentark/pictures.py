"""Small pictures, drawn by numpy alone: the text that stands for a picture is all that is stored of it.

A picture has 16 cells, four in a row, which are called A to P.  A cell is empty or holds one thing: a circle, a square,
a triangle or a digit, in one of three colours.  Its *key* has a code of two letters for each cell ("rc" is a red
circle, "b4" a blue 4, "--" nothing) and, after a slash, a number: the sizes of the things and their places within the
cells are a function of the key; a digit is always in the middle.  Pictures are therefore the same on every machine and
fit into a table or a chat as text.
"""

from __future__ import annotations

import base64
import struct
import zlib
from functools import cache
from random import Random
from string import ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # only a picture that is drawn needs it: tasks are imported by programs that draw none
    import numpy as np

CELLS, CELL = 4, 14  # cells in a row and in a column, and pixels of a cell: that many belong to a merged patch
SIDE = CELLS * CELL  # pixels
LETTERS = ascii_uppercase[: CELLS**2]  # the names of the cells, row by row
ROWS = [LETTERS[start : start + CELLS] for start in range(0, CELLS**2, CELLS)]
COLOURS = {"r": (220, 40, 40), "b": (40, 70, 220), "g": (40, 160, 60)}
SHAPES = "cst"
# Levels by which each further column of the paper has less red, and each further row less green.  The
# attention of the vision tower knows distances only, so that equal cells would look the same to it.
SHADE = 40
EMPTY = "--"
BLANK = " ".join([EMPTY] * CELLS**2) + "/0"  # nothing but paper: what is answered to it was not seen
SIZES = (9, 11)  # pixels of a circle, a square or a triangle
# Five rows of three pixels for each digit, drawn in double size.
_FONT = ("111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
         "111100111001111", "111100111101111", "111001010010010", "111101111101111", "111101111001111")  # fmt: skip


def key(cells: list[str], number: int) -> str:
    """The key of a picture of these cells, row by row; pictures of another number differ in sizes and places."""
    return f"{' '.join(cells)}/{number}"


def cells(picture: str) -> list[str]:
    """The codes of the 16 cells of a key.  Raises ValueError for a text that is no key."""
    codes = picture.rpartition("/")[0].split(" ")
    good = [code == EMPTY or (len(code) == 2 and code[0] in COLOURS and code[1] in SHAPES + "0123456789")
            for code in codes]  # fmt: skip
    if len(codes) != CELLS**2 or not all(good):
        raise ValueError(f"{picture!r} is not the key of a picture: it must have {CELLS**2} codes such as rc, b4 or "
                         "--, and a number after a slash")  # fmt: skip
    return codes


@cache
def _stencil(thing: str, size: int) -> np.ndarray:
    """The pixels of a thing, as booleans (height, width)."""
    import numpy as np

    if thing.isdigit():
        rows = np.array([pixel == "1" for pixel in _FONT[int(thing)]]).reshape(5, 3)
        return rows.repeat(2, axis=0).repeat(2, axis=1)
    y, x = np.mgrid[:size, :size]
    middle = (size - 1) / 2
    if thing == "c":
        return (x - middle) ** 2 + (y - middle) ** 2 <= (size / 2) ** 2
    return np.full((size, size), True) if thing == "s" else abs(x - middle) <= y / 2


def draw(picture: str) -> np.ndarray:
    """The pixels of a picture, (SIDE, SIDE, 3) from 0 to 255.  No two things touch each other."""
    import numpy as np

    pixels, rng = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8), Random(f"picture {picture}")
    shade = (np.arange(SIDE) // CELL * SHADE).astype(np.uint8)
    pixels[:, :, 0] -= shade[None, :]
    pixels[:, :, 1] -= shade[:, None]
    for n, code in enumerate(cells(picture)):
        if code == EMPTY:
            continue
        stencil = _stencil(code[1], rng.choice(SIZES))
        height, width = stencil.shape
        top, left = (CELL - height) // 2, (CELL - width) // 2  # of a digit; things lie anywhere in their cells
        if not code[1].isdigit():
            top, left = rng.randint(1, CELL - 1 - height), rng.randint(1, CELL - 1 - width)
        top, left = top + n // CELLS * CELL, left + n % CELLS * CELL
        pixels[top : top + height, left : left + width][stencil] = COLOURS[code[0]]
    return pixels


def png(picture: str) -> bytes:
    """The picture as a PNG file."""
    rows = b"".join(b"\0" + row.tobytes() for row in draw(picture))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)),
              (b"IEND", b""))  # fmt: skip
    written = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def data_url(picture: str) -> str:
    """The picture as a URL that holds it."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()
