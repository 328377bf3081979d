"""What the classes of a finished map look like: one pass over its rows, those of the scene and the confidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Span, Window
from geoseg.model.appearance import Appearance
from geoseg.naming.origin import place_in
from geoseg.outputs.class_areas import AreaTally, ClassArea
from geoseg.raster.class_raster import ClassRaster, Confidence, is_own
from geoseg.raster.scene import Scene

_CELL = 16
"""Side in pixels of the squares within which contrast is measured, about that of a superpixel."""
_MIN_PIXELS = 16
"""Pixels of a class in a square that its contrast is measured of."""
_PIECE = 4096
_MOST_SUMS = 1 << 24
_MOST_BORDERS = 1 << 11
"""Above so many ids, borders are not counted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MapLooks:
    """The classes that occur in a map, n of them.

    Attributes:
        ids: Their ids, in ascending order.
        pixels: int64 (n,).
        area: float64 (n,), in m²; None where the map has no unit of length.
        appearance: Of the n classes; its means are empty (n, 0) without a scene.
        borders: int64 (n, n), pairs of neighbouring pixels of two classes, (i, i) is 0; None where not asked for,
            or of more than 2047 classes.
    """

    ids: tuple[int, ...]
    pixels: NDArray[np.int64]
    area: Floats | None
    appearance: Appearance
    borders: NDArray[np.int64] | None


def map_looks(
    raster: ClassRaster,
    confidence: Confidence | None = None,
    scene: Scene | None = None,
    ends: tuple[Floats, Floats] | None = None,
    borders: bool = False,
) -> MapLooks:
    """Read a map from end to end, in memory that hardly depends on its size: some hundred rows of ids, fewer of floats.

    Args:
        raster: The map.
        confidence: Its confidence.
        scene: The scene that it was made from, or one that contains it on the same grid of pixels.
        ends: Dark and bright end of each band of the scene, (bands,) each, in which contrast is measured.
        borders: Whether borders are counted.

    Raises:
        InputError: A block cannot be decoded, the scene does not lie where the map does, or ids are no classes.
    """
    place = None if scene is None else place_in(scene, raster)
    sums = _Sums(raster, scene, ends, borders)
    tally = AreaTally(raster, 255 if confidence is None else confidence.max_value)
    above: NDArray[Any] | None = None
    with (scene or raster.scene).caching(1024):
        for rows in raster.spans:
            values = raster.read(rows)
            if int(values.max(initial=0)) >= sums.size:
                raise InputError(f"{raster.path}: has ids above {sums.size - 1 - raster.offset}, which no class has")
            tally.add(rows, values, None if confidence is None else confidence.read(rows))
            if scene is not None and place is not None:
                for cols in _pieces(values.shape[1]):
                    pixels, valid = scene.read(_moved(Window(rows, cols), place))
                    sums.add_pixels(np.where(valid, values[:, cols.start : cols.stop], 0), pixels)
            if sums.wants_borders:
                sums.add_pairs(values[:, :-1], values[:, 1:])
                below = values if above is None else np.concatenate([above, values])
                sums.add_pairs(below[:-1], below[1:])
                above = values[-1:]
    return sums.result(tally.areas())


def _pieces(width: int) -> Iterator[Span]:
    """Spans of columns that are summed at once, whole squares wide."""
    return (Span(start, min(start + _PIECE, width)) for start in range(0, width, _PIECE))


def _moved(window: Window, place: Window) -> Window:
    down, right, rows, cols = place.rows.start, place.cols.start, window.rows, window.cols
    return Window(Span(rows.start + down, rows.stop + down), Span(cols.start + right, cols.stop + right))


@dataclass
class _Sums:
    """Sums by the value of a pixel."""

    raster: ClassRaster
    scene: Scene | None
    ends: tuple[Floats, Floats] | None
    wants_borders: bool
    size: int = field(init=False)

    def __post_init__(self) -> None:
        raster = self.raster
        if raster.scene.dtype.itemsize > 2:
            raise InputError(f"{raster.path}: has {raster.scene.dtype} values; a map of classes has 8 or 16 bits")
        known = max(raster.classes, default=0) if is_own(raster.scene) else 0
        self.size = (known or int(np.iinfo(raster.scene.dtype).max)) + raster.offset + 1
        self.wants_borders = self.wants_borders and self.size <= _MOST_BORDERS
        bands = 0 if self.scene is None else len(self.scene.bands)
        self.seen = np.zeros(self.size, np.int64)
        self.contrast, self.measured = np.zeros(self.size), np.zeros(self.size)
        self.values = np.zeros((self.size, bands))
        self.touching = np.zeros((self.size, self.size) if self.wants_borders else (0, 0), np.int64)

    def total(self, values: NDArray[Any], weights: Any) -> Floats:
        """The sum of weights of the pixels of each value."""
        return np.bincount(values.ravel(), np.ravel(weights), self.size).astype(np.float64)

    def add_pixels(self, values: NDArray[Any], pixels: NDArray[Any]) -> None:
        """Add the values of bands, and the contrast where there are ends."""
        self.seen += np.bincount(values.ravel(), minlength=self.size)
        numbers = [np.nan_to_num(band.astype(np.float64), posinf=0, neginf=0) for band in pixels]
        for band, each in enumerate(numbers):
            self.values[:, band] += self.total(values, each)
        if self.ends is None:
            return
        low, high = self.ends
        scaled = [(each - low[i]) / (high[i] - low[i]) for i, each in enumerate(numbers)]
        self._add_contrast(values, np.clip(scaled, -2, 2).mean(axis=0))

    def _add_contrast(self, values: NDArray[Any], grey: Floats) -> None:
        """Add the standard deviation of grey within each square, by value."""
        rows, cols = values.shape
        across = -(-cols // _CELL)
        count = -(-rows // _CELL) * across
        known = np.flatnonzero(np.bincount(values.ravel(), minlength=self.size))
        if count * len(known) > _MOST_SUMS:
            return
        index = np.zeros(self.size, np.int64)
        index[known] = np.arange(len(known))
        cell = (np.arange(rows) // _CELL * across)[:, None] + np.arange(cols) // _CELL
        key = (cell * len(known) + index[values]).ravel()
        size = count * len(known)
        n = np.bincount(key, minlength=size)
        first, second = (np.bincount(key, weights.ravel(), size) for weights in (grey, grey**2))
        enough = np.where(n >= _MIN_PIXELS, n, 0)
        deviation = np.sqrt(np.maximum(second / np.maximum(n, 1) - (first / np.maximum(n, 1)) ** 2, 0))
        for weights, sums in ((enough * deviation, self.contrast), (enough, self.measured)):
            sums[known] += weights.reshape(count, -1).sum(axis=0)

    def add_pairs(self, one: NDArray[Any], other: NDArray[Any]) -> None:
        """Add the border between neighbours, two arrays of one shape."""
        differ = (one != other) & (one > 0) & (other > 0)
        key = one[differ].astype(np.int64) * self.size + other[differ]
        self.touching += np.bincount(key, minlength=self.touching.size).reshape(self.touching.shape)

    def result(self, areas: Mapping[int, ClassArea]) -> MapLooks:
        """Return what was found of the classes that occur.

        Args:
            areas: Id of each of them -> what it covers, in ascending order of the ids.
        """
        found = np.array([class_id + self.raster.offset for class_id in areas], np.int64)
        divisor = np.where(self.seen[found] > 0, self.seen[found], np.nan)[:, None]
        measured = np.where(self.measured[found] > 0, self.measured[found], np.nan)
        pixels = np.array([area.pixels for area in areas.values()], np.int64)
        confidence = np.array([np.nan if area.confidence is None else area.confidence for area in areas.values()])
        ground = [area.m2 for area in areas.values() if area.m2 is not None]
        appearance = Appearance(
            pixels / max(1, int(pixels.sum())),
            self.values[found] / divisor,
            self.contrast[found] / measured,
            confidence,
        )
        touching = self.touching + self.touching.T
        return MapLooks(
            tuple(areas), pixels, np.array(ground) if len(ground) == len(areas) else None, appearance,
            touching[np.ix_(found, found)] if self.wants_borders else None,
        )  # fmt: skip
