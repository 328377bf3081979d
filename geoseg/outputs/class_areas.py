"""The area of each class of a class raster, on the ground, and the table of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass
from geoseg.grid import Span, Window
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.ground import Ground

HECTARE = 10_000.0
"""In m²."""

_MIN_CACHE_BYTES = 8 << 20
_DENSE = 1 << 17
"""Values below it are counted by a table of all of them."""
_PIXELS = 1 << 22
"""Pixels that are counted at once, at eight bytes each."""


@dataclass(frozen=True)
class ClassArea:
    """How much of a raster has one class.

    Attributes:
        pixels: Number of its pixels.
        m2: Their area in m² on the ground: on the ellipsoid where the projection distorts areas. None where the raster
            has no CRS with a unit of length.
    """

    pixels: int
    m2: float | None


class AreaSums:
    """Adds up pixels and areas by value, in integers: the order makes no difference.

    Args:
        ground: What pixels measure.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._sums: dict[int, tuple[int, int]] = {}

    def add(self, window: Window, values: NDArray[Any]) -> None:
        """Add the pixels of a window.

        Args:
            window: Where they are.
            values: Integers (rows, cols), not negative; 0 is nothing.
        """
        height = max(1, _PIXELS // max(1, len(window.cols)))
        for start in range(0, len(window.rows), height):
            rows = Span(window.rows.start + start, min(window.rows.start + start + height, window.rows.stop))
            self._add(Window(rows, window.cols), values[start : start + height])

    def _add(self, window: Window, values: NDArray[Any]) -> None:
        largest = int(values.max(initial=0))
        if largest < _DENSE:
            unique, index = np.arange(largest + 1), values
        else:
            unique, index = np.unique(values, return_inverse=True)
        pixels = np.bincount(index.ravel(), minlength=len(unique))
        weights = pixels if self._ground.uniform else self._weigh(window, index.reshape(values.shape), len(unique))
        for value in np.flatnonzero(pixels).tolist():
            before = self._sums.get(int(unique[value]), (0, 0))
            self._sums[int(unique[value])] = before[0] + int(pixels[value]), before[1] + int(weights[value])

    def _weigh(self, window: Window, index: NDArray[Any], count: int) -> NDArray[np.int64]:
        """The sum of the weights of each index; that of a row is exact in floats."""
        sums = np.zeros(count, np.int64)
        weights = np.broadcast_to(self._ground.weights(window), index.shape)
        for row, weight in zip(index, weights, strict=True):
            sums += np.bincount(row, weight, minlength=count).astype(np.int64)
        return sums

    def total(self, offset: int = 0) -> dict[int, ClassArea]:
        """Return value - offset -> area, in ascending order."""
        step = self._ground.step if self._ground.metric else None
        return {
            value - offset: ClassArea(pixels, None if step is None else weight * step)
            for value, (pixels, weight) in sorted(self._sums.items())
            if value
        }


def class_areas(raster: ClassRaster, mask: Callable[[Window], NDArray[np.bool_]] | None = None) -> dict[int, ClassArea]:
    """Return class id -> area of every class that occurs in a class raster, by ascending id; read row by row.

    Args:
        raster: The class raster.
        mask: Window -> bool (rows, cols), the pixels that count; None counts all.

    Raises:
        InputError: A part of the raster cannot be read.
    """
    sums, spans = AreaSums(Ground(raster.scene.georeference, raster.scene.shape)), list(raster.spans)
    with raster.scene.caching(max(map(len, spans)), floor=_MIN_CACHE_BYTES):
        for rows in spans:
            values, window = raster.read(rows), raster.window(rows)
            sums.add(window, values if mask is None else np.where(mask(window), values, values.dtype.type(0)))
    return sums.total(raster.offset)


def shares(areas: Mapping[int, ClassArea]) -> dict[int, float]:
    """Return class id -> share of the whole, in [0, 1]: of the area, or of the pixels where areas are not known."""
    sizes = {value: float(area.pixels if area.m2 is None else area.m2) for value, area in areas.items()}
    whole = sum(sizes.values())
    return {value: size / whole if whole else 0.0 for value, size in sizes.items()}


def area_table(
    groups: Mapping[str, Mapping[int, ClassArea]], classes: Iterable[LandClass], heading: str | None = None
) -> bytes:
    """Return the table of areas as CSV (RFC 4180, UTF-8): a row for each class, in each group.

    Args:
        groups: Name of a group -> class id -> area.
        classes: The classes of the rows; one without pixels has a row of zeros.
        heading: Title of the column with the name of the group; None leaves it out.
    """
    rows = [[*([] if heading is None else [heading]), "class_id", "class", "pixels", "ha", "percent"]]
    known = any(area.m2 is not None for areas in groups.values() for area in areas.values())
    for name, areas in groups.items():
        share = shares(areas)
        for entry in classes:
            area = areas.get(entry.id, ClassArea(0, 0.0))
            hectares = f"{(area.m2 or 0.0) / HECTARE:.6f}" if known else ""
            cells = [str(entry.id), entry.name, str(area.pixels), hectares, f"{100 * share.get(entry.id, 0.0):.4f}"]
            rows.append([*([] if heading is None else [name]), *cells])
    return csv_bytes(rows)


def csv_bytes(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
