"""How much of a map each class covers: pixels, areas on the ground, and mean confidence, in one pass over its rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.ground import Ground

_COLS = 4096
"""Columns that are counted at once, so that memory does not grow with the width of the raster."""


@dataclass(frozen=True)
class ClassArea:
    """What a class covers.

    Attributes:
        pixels: Number of pixels, at least 1.
        m2: Area on the ground in square metres, see `geoseg.raster.ground`; None where it is not known.
        confidence: Mean confidence of the pixels in [0, 1]; None where there is no raster of it.
    """

    pixels: int
    m2: float | None
    confidence: float | None = None


def class_areas(raster: ClassRaster) -> dict[int, ClassArea]:
    """Return class id -> what it covers, of the classes that occur, in ascending order of their ids.

    The raster is read once, in spans of rows; all sums are of integers.

    Raises:
        InputError: A block of the raster cannot be decoded.
    """
    tally = AreaTally(raster)
    with raster.scene.caching(max(map(len, raster.spans))):
        for rows in raster.spans:
            tally.add(rows, raster.read(rows))
    return tally.areas()


def percent(share: float) -> str:
    """Return a share in [0, 1] as text: "12.3 %"; what is not nothing is not shown as 0."""
    return f"{share:.1%}".replace("%", " %") if share >= 0.001 or not share else "< 0.1 %"


def hectares(m2: float) -> str:
    """Return square metres as text in hectares, to three digits or whole hectares: "1,235", "12.0", "0.0123"."""
    value = m2 / 1e4
    if not value:
        return "0"
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}" if value >= 0.001 else "< 0.001"


class AreaTally:
    """Sums up pixels, areas and confidences of classes while the rows of a raster are read.

    Args:
        raster: The class raster.
        max_confidence: The value that stands for a confidence of 1.
    """

    def __init__(self, raster: ClassRaster, max_confidence: int = 255) -> None:
        self._raster, self._max_confidence = raster, max_confidence
        self._ground = Ground(raster.scene.georeference, raster.scene.shape)
        self._pixels: defaultdict[int, int] = defaultdict(int)
        self._weights: defaultdict[int, int] = defaultdict(int)
        self._confidences: defaultdict[int, int] | None = None

    def add(self, rows: Span, values: NDArray[Any], confidence: NDArray[Any] | None = None) -> None:
        """Add some rows.

        Args:
            rows: The rows.
            values: What `ClassRaster.read` returns for them, (rows, cols).
            confidence: What `Confidence.read` returns for them; given for all rows, or for none.
        """
        if confidence is not None and self._confidences is None:
            self._confidences = defaultdict(int)
        for start in range(0, values.shape[1], _COLS):
            cols = Span(start, min(start + _COLS, values.shape[1]))
            part = values[:, cols.start : cols.stop]
            ids, places = _numbered(part)
            _add(self._pixels, ids, np.bincount(places, minlength=len(ids)))
            if not self._ground.uniform:
                weights = np.broadcast_to(self._ground.weights(Window(rows, cols)), part.shape)
                # float64 holds these sums exactly: fewer than 2^22 pixels, of weights around 2^24.
                _add(self._weights, ids, np.bincount(places, weights.ravel(), len(ids)))
            if confidence is not None and self._confidences is not None:
                certainty = confidence[:, cols.start : cols.stop].ravel()
                _add(self._confidences, ids, np.bincount(places, certainty, len(ids)))

    def areas(self) -> dict[int, ClassArea]:
        """Return class id -> what it covers in all rows that were added."""
        return {
            value - self._raster.offset: ClassArea(pixels, self._m2(value, pixels), self._confidence(value, pixels))
            for value, pixels in sorted(self._pixels.items())
            if value and pixels
        }

    def _m2(self, value: int, pixels: int) -> float | None:
        if not self._ground.metric:
            return None
        return (pixels if self._ground.uniform else self._weights[value]) * self._ground.step

    def _confidence(self, value: int, pixels: int) -> float | None:
        return None if self._confidences is None else self._confidences[value] / (pixels * self._max_confidence)


def _numbered(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values, ascending, of which some may not occur, and the index into them of each pixel."""
    if values.dtype.itemsize <= 2:
        return np.arange(int(values.max(initial=0)) + 1), values.ravel()
    ids, places = np.unique(values, return_inverse=True)
    return ids, places.ravel()


def _add(sums: defaultdict[int, int], ids: NDArray[Any], more: NDArray[Any]) -> None:
    for i in np.flatnonzero(more).tolist():
        sums[int(ids[i])] += int(more[i])
