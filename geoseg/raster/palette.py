"""Palette images: one band of indices into a table of colours, which is read as red, green and blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.errors import BandError, InputError

_SIZES = {"uint8": 256, "uint16": 65536}
"""Type of the indices -> the number of colours that they can name."""


@dataclass(frozen=True, eq=False)
class Palette:
    """The palette of an image.

    Attributes:
        band: Number of the band of indices.
        colours: uint8 (values, 3) in red, green, blue.
    """

    band: int
    colours: NDArray[np.uint8]

    def expand(self, indices: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colours (3, rows, cols) of indices (rows, cols)."""
        return np.ascontiguousarray(np.moveaxis(self.colours[indices], -1, 0))


def read_palette(name: object, file: Any) -> Palette | None:
    """Return the palette of a raster whose only band, apart from alpha, holds indices; None for any other raster.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.

    Raises:
        InputError: The band has no palette though it is tagged so, or values that cannot be indices.
    """
    bands = [band for band in range(1, file.count + 1) if file.colorinterp[band - 1] != ColorInterp.alpha]
    if len(bands) != 1 or not is_indexed(file, bands[0]):
        return None
    kind, entries = file.dtypes[bands[0] - 1], colours_of(file, bands[0])
    if not entries or kind not in _SIZES:
        missing = f"a palette for values of {kind}" if entries else "a band tagged palette, but no palette"
        raise InputError(f"{name}: has {missing}; convert it to colours or values in another program")
    colours = np.zeros((_SIZES[kind], 3), dtype=np.uint8)
    for value, colour in entries.items():
        colours[value] = colour[:3]
    return Palette(bands[0], colours)


def refuse_indices(name: object, file: Any, bands: Sequence[int]) -> None:
    """Refuse to take indices into a palette for values, where other bands lie beside them.

    Raises:
        BandError: One of `bands` holds indices.
    """
    indexed = next((band for band in bands if is_indexed(file, band)), None)
    if indexed is not None:
        others = [str(band) for band in range(1, file.count + 1) if not is_indexed(file, band)]
        choice = f"choose others with --bands (it has {', '.join(others)}), or " if others else ""
        raise BandError(
            f"{name}: band {indexed} holds indices into a palette, not values; "
            f"{choice}expand it (gdal_translate -b {indexed} -expand rgb)"
        )


def is_indexed(file: Any, band: int) -> bool:
    """Return whether a band is tagged as indices into a palette."""
    return bool(file.colorinterp[band - 1] == ColorInterp.palette)


def colours_of(file: Any, band: int) -> Mapping[int, tuple[int, int, int, int]]:
    """Return value -> (red, green, blue, alpha) of a band; empty where it has no palette."""
    if not is_indexed(file, band):
        return {}
    try:
        found: Mapping[int, tuple[int, int, int, int]] = file.colormap(band)
    except ValueError:
        # It is tagged so, but there is no table.
        return {}
    return found
