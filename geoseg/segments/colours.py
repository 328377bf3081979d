"""Colours for superpixels: int16 steps of 1 / STEPS of a unit of CIELAB lightness, by table look-up."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled

STEPS = 64
"""Integer steps in one unit of L*, a* or b* (or of the L*-like scale of other bands)."""

LEVELS = 65536
"""Levels of the tables: a value in 0..1 is quantised to 0..LEVELS - 1."""

# Linear sRGB to CIE XYZ, IEC 61966-2-1; each row is divided by its sum, the D65 white point, so that white is 1, 1, 1.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@cache
def root_table() -> NDArray[np.float32]:
    """Return f(t) of CIELAB (CIE 15) for t = 0, 1 / (LEVELS - 1), .., 1: the cube root, linear near black."""
    t = np.arange(LEVELS) / (LEVELS - 1)
    return np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29).astype(np.float32)


def xyz_table(srgb: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what each level of each band adds to X, Y and Z relative to white, times LEVELS - 1.

    Args:
        srgb: float64 (3 bands, levels), the sRGB value in [0, 1] of every level of a band.

    Returns:
        float32 (3 bands, levels, 4): X, Y, Z and padding.
    """
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    table = np.zeros((*srgb.shape, 4), np.float32)
    white = _XYZ / _XYZ.sum(axis=1, keepdims=True)
    table[..., :3] = linear[..., None] * white.T[:, None, :] * (LEVELS - 1)
    return table


@lru_cache(maxsize=4)
def table_of_bytes(offset: tuple[float, ...], scale: tuple[float, ...]) -> NDArray[np.float32]:
    """Return `xyz_table` of the bytes 0..255 with an offset and a scale for each band; (byte - offset) * scale."""
    levels = (np.arange(256) - np.array(offset)[:, None]) * np.array(scale)[:, None]
    return xyz_table(np.clip(levels, 0, 1))


@cache
def table_of_levels() -> NDArray[np.float32]:
    """Return `xyz_table` of all LEVELS."""
    return xyz_table(np.broadcast_to(np.linspace(0, 1, LEVELS), (3, LEVELS)))


@compiled
def _write_lab(
    table: NDArray[np.float32],
    root: NDArray[np.float32],
    r: int,
    g: int,
    b: int,
    lab: NDArray[np.int16],
    row: int,
    col: int,
) -> None:
    """Write L*, a*, b* of the pixel with the levels r, g, b to lab[:, row, col], in steps."""
    half = np.float32(0.5)
    x = root[np.int64(table[0, r, 0] + table[1, g, 0] + table[2, b, 0] + half)]
    y = root[np.int64(table[0, r, 1] + table[1, g, 1] + table[2, b, 1] + half)]
    z = root[np.int64(table[0, r, 2] + table[1, g, 2] + table[2, b, 2] + half)]
    lab[0, row, col] = np.int16(np.rint((np.float32(116) * y - np.float32(16)) * np.float32(STEPS)))
    lab[1, row, col] = np.int16(np.rint(np.float32(500 * STEPS) * (x - y)))
    lab[2, row, col] = np.int16(np.rint(np.float32(200 * STEPS) * (y - z)))


@compiled
def lab_of_bytes(
    pixels: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    table: NDArray[np.float32],
    root: NDArray[np.float32],
    rows: tuple[int, int],
    lab: NDArray[np.int16],
) -> None:
    """Convert a range of pixel rows of uint8 (3, rows, cols) to `lab` of the same shape; a level is the byte itself."""
    for row in range(rows[0], rows[1]):
        for col in range(pixels.shape[2]):
            if valid[row, col]:
                r, g, b = pixels[0, row, col], pixels[1, row, col], pixels[2, row, col]
                _write_lab(table, root, r, g, b, lab, row, col)
            else:
                lab[0, row, col] = lab[1, row, col] = lab[2, row, col] = 0


@compiled
def _unit(value: Any, offset: float, scale: float) -> Any:
    """Normalise a value and clip it to [0, 1]; NaN stays NaN."""
    unit = (np.float64(value) - offset) * scale
    return min(max(unit, 0.0), 1.0) if unit == unit else unit


@compiled
def lab_of_numbers(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    table: NDArray[np.float32],
    root: NDArray[np.float32],
    rows: tuple[int, int],
    lab: NDArray[np.int16],
) -> None:
    """Convert a range of pixel rows (3, rows, cols) of any real dtype to `lab`; pixels with a NaN become 0.

    A level is the normalised value, (value - offset) * scale, times LEVELS - 1.
    """
    for row in range(rows[0], rows[1]):
        for col in range(pixels.shape[2]):
            r = _unit(pixels[0, row, col], offset[0], scale[0])
            g = _unit(pixels[1, row, col], offset[1], scale[1])
            b = _unit(pixels[2, row, col], offset[2], scale[2])
            total = r + g + b
            if valid[row, col] and total == total:
                top = LEVELS - 1
                _write_lab(
                    table,
                    root,
                    int(r * top + 0.5),
                    int(g * top + 0.5),
                    int(b * top + 0.5),
                    lab,
                    row,
                    col,
                )
            else:
                lab[0, row, col] = lab[1, row, col] = lab[2, row, col] = 0


@compiled
def scaled(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    steps: float,
    rows: tuple[int, int],
    colours: NDArray[np.int16],
) -> None:
    """Normalise a range of pixel rows (bands, rows, cols) to 0..steps in `colours`; a pixel with a NaN becomes 0."""
    bands = pixels.shape[0]
    for row in range(rows[0], rows[1]):
        for band in range(bands):
            for col in range(pixels.shape[2]):
                unit = _unit(pixels[band, row, col], offset[band], scale[band])
                ok = valid[row, col] and unit == unit
                colours[band, row, col] = np.int16(unit * steps + 0.5) if ok else np.int16(0)
        for band in range(bands):
            for col in range(pixels.shape[2]):
                value = np.float64(pixels[band, row, col])
                if value != value:
                    colours[:, row, col] = 0
