"""Label maps of Potsdam: colours as ISPRS delivers them, or the class indices 0..5 they stand for."""

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
"""How far a colour's values may be off: delivered tiles hold a few that are, such as (252, 255, 0)."""

_UNKNOWN = -1


def label_classes(pixels: NDArray[Any], path: object, first: tuple[int, int] = (0, 0), step: int = 1) -> Labels:
    """Return the classes 0..5 (rows, cols) of label pixels: one band of indices, or red, green, blue.

    path, first, step: pixels are those of the file `path` from (row, col) `first` on, each `step`th; for messages.

    Raises:
        InputError: a colour or index that stands for no class; the message counts them and says where the first is.
    """
    if len(pixels) not in (1, 3):
        raise InputError(f"{path}: has {len(pixels)} bands; labels are three of colours, or one of indices 0 to 5")
    classes = _of_colours(pixels) if len(pixels) == 3 else _of_indices(pixels[0])
    strange = classes == _UNKNOWN
    if strange.any():
        row, col = (int(i) for i in np.argwhere(strange)[0])
        value = ", ".join(str(v) for v in pixels[:, row, col].tolist())
        what = f"the colour ({value})" if len(pixels) == 3 else f"the index {value}"
        black = len(pixels) == 3 and not pixels[:, row, col].any()
        raise InputError(
            f"{path}: {int(strange.sum())} of the {strange.size} pixels read here are of no class, the first has "
            f"{what} at row {first[0] + row * step}, column {first[1] + col * step}; "
            + ("black is a boundary, which only the labels without _noBoundary leave out" if black else "copy it again")
        )
    return classes


def _of_colours(pixels: NDArray[Any]) -> Labels:
    low, high = pixels <= TOLERANCE, pixels >= 255 - TOLERANCE
    table = np.full(8, _UNKNOWN, dtype=np.int16)
    for index, (_, colour) in enumerate(COLOURS):
        table[_code(*(np.uint8(value == 255) for value in colour))] = index
    return np.where((low | high).all(axis=0), table[_code(*high.astype(np.uint8))], np.int16(_UNKNOWN))


def _code(red: Any, green: Any, blue: Any) -> Any:
    """One bit per colour, of arrays or numbers."""
    return red << 2 | green << 1 | blue


def _of_indices(values: NDArray[Any]) -> Labels:
    known = (values >= 0) & (values < len(COLOURS))
    return np.where(known, values, _UNKNOWN).astype(np.int16)
