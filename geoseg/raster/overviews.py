"""Overviews of a raster, made while its pixels pass by once: each level has half the rows and columns of the one below.

An overview of level n is cut into the same blocks as the raster, from its first pixel; a block is made of the four
blocks of level n - 1 that it covers, as soon as these are complete. So an overview depends on the pixels alone, and
what is in memory are the blocks that wait for others: at most 400 bytes for each column of a raster of one byte whose
parts have 2048 rows and come in raster order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.overview_kernels import MAX_WEIGHT, average, elect, elect_pixels

MODE, AVERAGE, NEAREST = "MODE", "AVERAGE", "NEAREST"
"""How four pixels become one: by the most frequent value, by their mean, or as the first of them."""

_NO_WEIGHTS = np.empty((0, 0), np.uint16)

Halved = tuple[NDArray[Any], NDArray[np.uint16]]
"""Values (rows, cols) of an overview, and their weights, see `overview_kernels`; (0, 0) where there are none."""


def level_shapes(shape: tuple[int, int], block: int) -> list[tuple[int, int]]:
    """Return the sizes (rows, cols) of a raster and of its overviews, down to the first that is a single block."""
    shapes = [shape]
    while max(shapes[-1]) > block:
        rows, cols = shapes[-1]
        shapes.append((-(-rows // 2), -(-cols // 2)))
    return shapes


def halve_pixels(values: NDArray[Any], how: str, seen: NDArray[np.bool_]) -> Halved:
    """Halve pixels of full resolution.

    Args:
        values: (rows, cols), unsigned integers.
        how: MODE, AVERAGE or NEAREST.
        seen: With MODE, each value that occurs sets its element to True.
    """
    even = _even(values)
    if how == NEAREST:
        return np.ascontiguousarray(even[::2, ::2]), _NO_WEIGHTS
    halved, weights = _empty(even)
    if how == MODE:
        elect_pixels(even, halved, weights, seen)
    else:
        average(even, _NO_WEIGHTS, halved, weights, MAX_WEIGHT)
    return halved, weights


def halve(values: NDArray[Any], weights: NDArray[np.uint16], how: str) -> Halved:
    """Halve a block of an overview, which has an even number of rows and columns."""
    if how == NEAREST:
        return np.ascontiguousarray(values[::2, ::2]), _NO_WEIGHTS
    halved, new_weights = _empty(values)
    (elect if how == MODE else average)(values, weights, halved, new_weights, MAX_WEIGHT)
    return halved, new_weights


@dataclass(frozen=True, eq=False)
class OverviewBlock:
    """A complete block of an overview.

    Attributes:
        level: 1 for the largest overview.
        row, col: Its place among the blocks of the level.
        values: (block, block), 0 beyond the edges of the raster.
    """

    level: int
    row: int
    col: int
    values: NDArray[Any]


@dataclass(eq=False)
class _Waiting:
    """A block that waits for pixels, of which `missing` are not there yet."""

    values: NDArray[Any]
    weights: NDArray[np.uint16]
    missing: int


class Pyramid:
    """The overviews of one raster.

    Args:
        shape: (rows, cols) of the raster.
        dtype: Of its values.
        how: MODE, AVERAGE or NEAREST.
        block: Side of a block in pixels.

    Attributes:
        shapes: (rows, cols) of the raster and of its overviews.
    """

    def __init__(self, shape: tuple[int, int], dtype: str, how: str, block: int) -> None:
        self.shapes = level_shapes(shape, block)
        self._dtype, self._how, self._block = np.dtype(dtype), how, block
        self._waiting: dict[tuple[int, int, int], _Waiting] = {}

    def add(self, level: int, row: int, col: int, halved: Halved) -> Iterator[OverviewBlock]:
        """Take pixels of an overview; yield the blocks of all levels that are complete now, unless they are nodata.

        Args:
            level: Of the overview.
            row: Of the first pixel within that overview.
            col: Likewise.
            halved: The pixels, clipped to the overview.
        """
        if level >= len(self.shapes):
            return
        values, weights = halved
        side = self._block
        rows, cols = (min(n, end - at) for n, end, at in zip(values.shape, self.shapes[level], (row, col), strict=True))
        for i in range(row // side, -(-(row + rows) // side)):
            for j in range(col // side, -(-(col + cols) // side)):
                top, bottom = max(row, i * side), min(row + rows, (i + 1) * side)
                left, right = max(col, j * side), min(col + cols, (j + 1) * side)
                source = slice(top - row, bottom - row), slice(left - col, right - col)
                target = slice(top - i * side, bottom - i * side), slice(left - j * side, right - j * side)
                waiting = self._block_at(level, i, j)
                waiting.values[target] = values[source]
                if weights.size:
                    waiting.weights[target] = weights[source]
                waiting.missing -= (bottom - top) * (right - left)
                if not waiting.missing:
                    yield from self._complete(level, i, j)

    def settle(self, row: int | None = None) -> Iterator[OverviewBlock]:
        """Yield the blocks to which nothing will be added any more, unless they are nodata.

        Args:
            row: The row of the raster above which there are no more pixels; None at its end.
        """
        for level in range(1, len(self.shapes)):
            height = self._block << level
            ready = [key for key in self._waiting if key[0] == level and (row is None or (key[1] + 1) * height <= row)]
            for key in sorted(ready):
                yield from self._complete(*key)

    def _block_at(self, level: int, row: int, col: int) -> _Waiting:
        found = self._waiting.get((level, row, col))
        if found is None:
            side = self._block
            rows, cols = (min(side, end - i * side) for end, i in zip(self.shapes[level], (row, col), strict=True))
            weights = _NO_WEIGHTS if self._how == NEAREST else np.zeros((side, side), np.uint16)
            found = _Waiting(np.zeros((side, side), self._dtype), weights, rows * cols)
            self._waiting[level, row, col] = found
        return found

    def _complete(self, level: int, row: int, col: int) -> Iterator[OverviewBlock]:
        """Yield a block, and those above it that it completes."""
        waiting = self._waiting.pop((level, row, col))
        if waiting.values.any():
            yield OverviewBlock(level, row, col, waiting.values)
        if level + 1 < len(self.shapes):
            half = self._block // 2
            halved = halve(waiting.values, waiting.weights, self._how)
            yield from self.add(level + 1, row * half, col * half, halved)


def _even(values: NDArray[Any]) -> NDArray[Any]:
    """The values with a row or column of nodata more where their number is odd, as it is only at the raster's edges."""
    rows, cols = values.shape
    if rows % 2 or cols % 2:
        return np.pad(values, ((0, rows % 2), (0, cols % 2)))
    return values


def _empty(values: NDArray[Any]) -> Halved:
    shape = values.shape[0] // 2, values.shape[1] // 2
    return np.empty(shape, values.dtype), np.empty(shape, np.uint16)
