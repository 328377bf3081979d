"""Edges of polygons on the lattice of a scene's pixels, and the pixels between them.

Vertices are rounded to 1/1024 of a pixel, counted from the scene's first pixel, and all further arithmetic is exact. So
a mask does not depend on the window it is made for, and a pixel whose centre lies on the common edge of two polygons
belongs to exactly one of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

UNIT = 1 << 10
"""Steps of the lattice per pixel."""

_CENTRE = UNIT // 2
_LONGEST = (1 << 20) * UNIT
"""Longest step of an edge along an axis: products of two of them fit into 64 bits."""
_ROWS = 256


class Edges(NamedTuple):
    """Edges that cross the centres of rows, each from its smaller row position to its larger one; int64 (n,).

    Attributes:
        x: Column position of the end with the smaller row position, in units of 1 / UNIT pixels.
        y: Its row position.
        dx: Column position of the other end, less x.
        dy: Row position of the other end, less y; positive.
        first: First row whose centre the edge crosses.
        stop: The row after the last one.
        sign: 1 or -1: what the edge adds to the number of polygons that cover the pixels to its right.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    dx: NDArray[np.int64]
    dy: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    sign: NDArray[np.int64]

    def of_rows(self, first: int, stop: int) -> Edges:
        """Return the edges that cross the centre of one of the rows."""
        chosen = (self.first < stop) & (self.stop > first)
        return Edges(*(column[chosen] for column in self))


def edges_of(vertices: NDArray[np.float64], ids: NDArray[np.int64], signs: NDArray[np.int8], extent: Window) -> Edges:
    """Return the edges that decide about pixels of the extent.

    Args:
        vertices: (n, 2), column and row positions of the vertices of rings, each of which ends where it begins.
        ids: (n,), the ring of each vertex.
        signs: (n,), what the edges of the ring count: 1 or -1.
        extent: The part of the scene that matters.
    """
    inner = ids[1:] == ids[:-1]
    lattice = np.rint(vertices * UNIT).astype(np.int64)
    start, end, sign = _split(lattice[:-1][inner], lattice[1:][inner], signs[:-1][inner].astype(np.int64))
    down = end[:, 1] > start[:, 1]
    upper, lower = np.where(down[:, None], start, end), np.where(down[:, None], end, start)
    rows = -((_CENTRE - np.column_stack([upper[:, 1], lower[:, 1]])) // UNIT)
    chosen = (rows[:, 0] < rows[:, 1]) & (rows[:, 0] < extent.rows.stop) & (rows[:, 1] > extent.rows.start)
    chosen &= np.minimum(upper[:, 0], lower[:, 0]) < extent.cols.stop * UNIT
    upper, lower, rows = upper[chosen], lower[chosen], rows[chosen]
    (x, y), (dx, dy) = upper.T, (lower - upper).T
    return Edges(x, y, dx, dy, rows[:, 0], rows[:, 1], np.where(down, -sign, sign)[chosen])


def joined(parts: list[Edges]) -> Edges:
    """Return the edges of all parts."""
    return Edges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def covered(edges: Edges, window: Window) -> NDArray[np.bool_]:
    """Return bool (rows, cols): the pixels of a window whose centres the polygons cover."""
    mask, edges = np.zeros(window.shape, np.bool_), edges.of_rows(window.rows.start, window.rows.stop)
    for first in range(window.rows.start, window.rows.stop, _ROWS):
        stop = min(first + _ROWS, window.rows.stop)
        counts = np.zeros((stop - first, len(window.cols) + 1), np.int32)
        row, col, sign = _crossings(edges.of_rows(first, stop), first, stop)
        col = np.clip(col - window.cols.start, 0, len(window.cols))
        np.add.at(counts, (row - first, col), sign)
        mask[first - window.rows.start : stop - window.rows.start] = np.cumsum(counts, axis=1)[:, :-1] != 0
    return mask


def any_covered(edges: Edges, window: Window) -> bool:
    """Return whether the polygons cover the centre of any pixel of a window."""
    for first in range(window.rows.start, window.rows.stop, _ROWS):
        stop = min(first + _ROWS, window.rows.stop)
        row, col, sign = _crossings(edges.of_rows(first, stop), first, stop)
        col = np.clip(col, window.cols.start, window.cols.stop)
        order = np.lexsort((col, row))
        row, col, count = row[order], col[order], np.cumsum(sign[order])
        # A row in which polygons begin left of the window and end right of it has crossings at both of its ends.
        after = np.append(np.where(row[1:] == row[:-1], col[1:], window.cols.stop), window.cols.stop)
        before = np.append(0, count[:-1])
        base = before[np.flatnonzero(np.diff(row, prepend=-1))] if len(row) else before[:0]
        counts = count - np.repeat(base, np.diff(np.append(np.flatnonzero(np.diff(row, prepend=-1)), len(row))))
        if ((counts != 0) & (after > col)).any():
            return True
    return False


def _split(
    start: NDArray[np.int64], end: NDArray[np.int64], sign: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Divide edges that are too long for exact arithmetic, at points of the lattice."""
    pieces = -(-np.abs(end - start).max(axis=1, initial=1) // _LONGEST)
    if (pieces <= 1).all():
        return start, end, sign
    owner = np.repeat(np.arange(len(start)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)

    def point(k: NDArray[np.int64]) -> NDArray[np.int64]:
        share = (k / pieces[owner])[:, None]
        between = np.rint(start[owner] + (end - start)[owner] * share).astype(np.int64)
        return np.where((k == pieces[owner])[:, None], end[owner], between)

    return point(number), point(number + 1), sign[owner]


def _crossings(edges: Edges, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where edges cross the centres of rows: row, the first column whose centre is right of it, and the sign."""
    begin, end = np.maximum(edges.first, first), np.minimum(edges.stop, stop)
    counts = end - begin
    owner = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + begin[owner]
    product = (row * UNIT + _CENTRE - edges.y[owner]) * edges.dx[owner]
    # A centre on the edge itself lies left of it, as in GDAL.
    col = (edges.x[owner] + product // edges.dy[owner] + _CENTRE) // UNIT
    return row, col, edges.sign[owner]
