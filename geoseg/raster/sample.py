"""A small sample of a scene: windows on a lattice that includes its edges and corners, side by side in one array.

The sample depends on the scene alone, and what is read for it is bounded, whatever the size of the scene.
"""

from __future__ import annotations

import numpy as np

from geoseg.grid import Span, Window
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels

SIDE = 64
"""Side of a window in pixels."""

_CACHE = 64 << 20


def sample(scene: Scene, windows: int = 6) -> Pixels:
    """Return the pixels of `windows` x `windows` windows, evenly spaced from edge to edge.

    Args:
        scene: The scene; a side that is no longer than the windows together is read whole.
        windows: Number of windows along a side, at least 2.

    Returns:
        Pixels (bands, rows, cols) and validity (rows, cols). What lies at an edge of these arrays lies at an edge of
        the scene. Reading them warns of no values that may stand for nodata, which their user looks for.
    """
    height, width = scene.shape
    told, scene.nodata_told = scene.nodata_told, True
    try:
        with scene.caching(SIDE, _CACHE):
            bands = [_row(scene, rows, _spans(width, windows)) for rows in _spans(height, windows)]
    finally:
        scene.nodata_told = told
    return tuple(np.concatenate(parts, axis=-2) for parts in zip(*bands, strict=True))  # type: ignore[return-value]


def _row(scene: Scene, rows: Span, spans: list[Span]) -> Pixels:
    pixels, valid = zip(*(scene.read(Window(rows, cols)) for cols in spans), strict=True)
    return np.concatenate(pixels, axis=-1), np.concatenate(valid, axis=-1)


def _spans(length: int, windows: int) -> list[Span]:
    if length <= windows * SIDE:
        return [Span(0, length)]
    starts = [(length - SIDE) * i // (windows - 1) for i in range(windows)]
    return [Span(start, start + SIDE) for start in starts]
