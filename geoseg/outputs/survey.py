"""One pass over a class raster: what its classes cover, and a small copy of it, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span
from geoseg.outputs.class_areas import AreaTally, ClassArea
from geoseg.raster.class_raster import ClassRaster, Confidence

MAX_SIDE = 2000
"""Longest side of a small copy in pixels."""

_PLACES = 8
"""Places that are remembered of a class that the small copy misses."""


class Survey:
    """What a class raster is made of. `steps` reads it; the rest is complete after that.

    The small copy has the value of the pixel in the middle of what each of its pixels stands for: no class is invented,
    and each class has its share, but for rare ones that it misses.

    Args:
        raster: The class raster.
        confidence: Its confidence.
        max_side: Longest side of the small copy in pixels.

    Attributes:
        raster: The class raster.
        rows: Rows of the raster that the small copy consists of, int64 (h,).
        cols: Its columns, int64 (w,).
        values: The small copy: values as `ClassRaster.read` returns them, (h, w).
        certainty: The confidence of these pixels in [0, 1], float32 (h, w); None without one.
        missed: Value -> up to eight places (row, col) of classes that the small copy misses in some span of rows.
    """

    def __init__(self, raster: ClassRaster, confidence: Confidence | None = None, max_side: int = MAX_SIDE) -> None:
        self.raster, self._confidence = raster, confidence
        shape = raster.scene.shape
        self.rows, self.cols = (_middles(length, max(shape) / max_side) for length in shape)
        self.values: NDArray[Any] = np.zeros((len(self.rows), len(self.cols)), np.uint8)
        self.certainty = None if confidence is None else np.zeros(self.values.shape, np.float32)
        self.missed: dict[int, list[tuple[int, int]]] = {}
        self._tally = AreaTally(raster, 255 if confidence is None else confidence.max_value)

    @property
    def total(self) -> int:
        """Number of steps."""
        return len(list(self.raster.spans))

    def steps(self) -> Iterator[Span]:
        """Read the raster, and yield each span of rows that was read.

        Raises:
            InputError: A block of the raster, or of its confidence, cannot be decoded.
        """
        with self.raster.scene.caching(max(map(len, self.raster.spans))):
            for rows in self.raster.spans:
                values = self.raster.read(rows)
                confidence = None if self._confidence is None else self._confidence.read(rows)
                self._tally.add(rows, values, confidence)
                self._copy(rows, values, confidence)
                yield rows

    @property
    def areas(self) -> dict[int, ClassArea]:
        """Class id -> what it covers, of the classes that occur."""
        return self._tally.areas()

    @property
    def scale(self) -> float:
        """Pixels of the raster along a side of a pixel of the small copy."""
        return max(float(full / small) for full, small in zip(self.raster.scene.shape, self.values.shape, strict=True))

    def _copy(self, rows: Span, values: NDArray[Any], confidence: NDArray[Any] | None) -> None:
        first, last = np.searchsorted(self.rows, (rows.start, rows.stop))
        chosen = np.ix_(self.rows[first:last] - rows.start, self.cols)
        if self.values.dtype != values.dtype:
            self.values = self.values.astype(values.dtype)
        self.values[first:last] = copied = values[chosen]
        if self._confidence is not None and confidence is not None and self.certainty is not None:
            self.certainty[first:last] = confidence[chosen] / np.float32(self._confidence.max_value)
        if values.dtype.itemsize <= 2:
            self._remember(rows, values, copied)

    def _remember(self, rows: Span, values: NDArray[Any], copied: NDArray[Any]) -> None:
        """Note a place of each class that occurs in these rows but not in their small copy."""
        there = set(np.flatnonzero(np.bincount(values.ravel())).tolist()) - {0, *np.unique(copied).tolist()}
        for value in sorted(there):
            places = self.missed.setdefault(value, [])
            if len(places) < _PLACES:
                row, col = divmod(int(np.argmax(values == value)), values.shape[1])
                places.append((rows.start + row, col))


def _middles(length: int, scale: float) -> NDArray[np.int64]:
    """The pixel in the middle of each piece, where an axis is cut into pieces of about `scale` pixels, at least 1."""
    count = max(1, round(length / max(1.0, scale)))
    return (np.arange(count) * 2 + 1) * length // (2 * count)
