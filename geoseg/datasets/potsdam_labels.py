"""Label maps of Potsdam: colours as ISPRS delivers them, or class indices 0..5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.dataset import Labels
from geoseg.errors import InputError

COLOURS = (
    ("road", (255, 255, 255)),
    ("building", (0, 0, 255)),
    ("low vegetation", (0, 255, 255)),
    ("tree", (0, 255, 0)),
    ("car", (255, 255, 0)),
    ("clutter", (255, 0, 0)),
)
"""Name and colour of the classes 0..5."""

TOLERANCE = 8
"""How far values of a colour may be off: some delivered tiles have such pixels, for instance (252, 255, 0)."""

_UNKNOWN = -1


def label_classes(pixels: NDArray[Any], path: object, first: tuple[int, int] = (0, 0), step: int = 1) -> Labels:
    """Return the classes of label pixels.

    Args:
        pixels: (1, rows, cols) of indices, or (3, rows, cols) of red, green, blue.
        path: The file that pixels were read from; for messages, as are the following.
        first: (row, col) of the first pixel in the file.
        step: Pixels of the file from one pixel to the next.

    Returns:
        Classes 0..5, int16 (rows, cols).

    Raises:
        InputError: A colour or index belongs to no class; the message counts such pixels and locates the first.
    """
    if len(pixels) not in (1, 3):
        raise InputError(f"{path}: has {len(pixels)} bands; labels have three of colours, or one of indices 0 to 5")
    classes = _from_colours(pixels) if len(pixels) == 3 else _from_indices(pixels[0])
    unknown = classes == _UNKNOWN
    if unknown.any():
        row, col = (int(i) for i in np.argwhere(unknown)[0])
        value = ", ".join(str(v) for v in pixels[:, row, col].tolist())
        kind = f"the colour ({value})" if len(pixels) == 3 else f"the index {value}"
        black = len(pixels) == 3 and not pixels[:, row, col].any()
        hint = "black marks boundaries: use the labels without _noBoundary in their names" if black else "copy it again"
        raise InputError(
            f"{path}: {int(unknown.sum())} of the {unknown.size} pixels read here belong to no class, the first has "
            f"{kind} at row {first[0] + row * step}, column {first[1] + col * step}; {hint}"
        )
    return classes


def _from_colours(pixels: NDArray[Any]) -> Labels:
    low, high = pixels <= TOLERANCE, pixels >= 255 - TOLERANCE
    table = np.full(8, _UNKNOWN, dtype=np.int16)
    for index, (_, colour) in enumerate(COLOURS):
        table[_code(*(np.uint8(value == 255) for value in colour))] = index
    return np.where((low | high).all(axis=0), table[_code(*high.astype(np.uint8))], np.int16(_UNKNOWN))


def _code(red: Any, green: Any, blue: Any) -> Any:
    """Three bits as one number, of arrays or numbers."""
    return red << 2 | green << 1 | blue


def _from_indices(values: NDArray[Any]) -> Labels:
    known = (values >= 0) & (values < len(COLOURS))
    return np.where(known, values, _UNKNOWN).astype(np.int16)
