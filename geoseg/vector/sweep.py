"""Connected components: the 4-connected regions of equal value in a raster that arrives row by row, with their outlines
and sums over their pixels.

    rows swept           1 1 1 2 2 2      2 is closed: the ring around it is complete
                         1 3 3 3 2 2
    row below the line   1 3 1 3 3 3      the two arms of 1 and all of 3 are open

A component is closed when the ring around it is; its holes were closed before. Nothing depends on how many rows arrive
at once, and only the outlines of open components are kept, at eight bytes for each vertex.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.vector.sweep_kernels import (
    ABOVE,
    BEYOND,
    CLOSED,
    CLOSED_EDGES,
    FREE,
    LEFT,
    NEXT,
    NONE,
    SPARE,
    USED,
    Labels,
    Runs,
    sweep_line,
)
from geoseg.vector.sweep_rows import add_confidence, add_pixels, encode_row, settle

BATCH = 1 << 12
BATCH_EDGES = 1 << 15
"""Closed components, and edges of these, from which on they are due."""


class Sweep:
    """The state of a sweep over the rows of a raster, from top to bottom.

    Args:
        cols: pixels in a row.
        noded: whether rings also get a vertex where two other regions meet at their side, so that neighbours share all
            vertices.
        row: row of the raster that the sweep begins with.
        rows_of_labels: for how many rows of pixels there are labels.

    Attributes:
        edges: int32 (m, 4), the pool of edges; see `geoseg.vector.sweep_kernels`.
        row: the row to sweep next.
    """

    def __init__(self, cols: int, noded: bool = False, row: int = 0, rows_of_labels: int = 2) -> None:
        self.noded, self.row = noded, row
        size = cols + 3
        # One line adds at most four edges for each column. Space is checked before a line, but not before the last one,
        # in `finish`, which adds at most one.
        self._reserve = 6 * size
        self.edges = np.zeros((max(1 << 15, self._reserve), 4), np.int32)
        self._runs = Runs(np.ones(2, np.int64), np.full((2, size, 5), NONE, np.int32), np.zeros((2, size), np.int64))
        self._runs.places[:, 1, LEFT] = BEYOND
        names = np.arange(rows_of_labels * size, dtype=np.int32)
        sums = np.zeros((len(names), 8), np.int64)
        self._labels = Labels(names.copy(), sums, names.copy(), names, names.copy())
        self._closed = np.zeros((BATCH + size, 8), np.int64)
        self._counters = np.array([NONE, 0, 0, len(names), 0, 0, 0, 0], np.int64)

    def advance(
        self, band: NDArray[Any], row: int, weights: NDArray[np.int64], confidence: NDArray[Any] | None = None
    ) -> int:
        """Sweep the rows of `band` from `row` on, until it ends or components are `due` to be taken.

        Args:
            band: integers (rows, cols); 0 belongs to no component.
            row: index in `band` of the first row to sweep.
            weights: int64 (rows, 1) or (rows, cols), summed over the pixels of each component.
            confidence: unsigned (rows, cols); values other than 0 are summed and counted.

        Returns:
            The index in `band` of the row to continue with; len(band) at its end.
        """
        confidence = band[:0] if confidence is None else confidence
        while row < len(band) and not self.due:
            self._make_space(self._reserve)
            done = _advance(
                band, confidence, weights, row, self.row - row, self._reserve, self.noded,
                self._runs, self.edges, self._labels, self._closed, self._counters,
            )  # fmt: skip
            self.row += done - row
            row = done
        return row

    def finish(self) -> None:
        """Close the components that reach the last row."""
        below = 1 - self._counters[ABOVE]
        self._runs.counts[below], self._runs.places[below, 1, LEFT] = 1, BEYOND
        sweep_line(self.row, self.noded, self._runs, self.edges, self._labels, self._closed, self._counters)

    @property
    def due(self) -> bool:
        """Whether so many components are closed that they must be taken; depends on the rows, not on the bands."""
        return bool(self._counters[CLOSED] >= BATCH or self._counters[CLOSED_EDGES] >= BATCH_EDGES)

    @property
    def kept(self) -> int:
        """Number of edges in use: those of open components, and of closed ones that were not released."""
        return int(self._counters[USED] - self._counters[SPARE])

    def _make_space(self, count: int) -> None:
        """Enlarge the pool unless it has `count` free edges."""
        if len(self.edges) - self.kept < count:
            more = np.zeros((max(len(self.edges) // 2, count), 4), np.int32)
            self.edges = np.concatenate([self.edges, more])

    def take(self) -> NDArray[np.int64]:
        """Return the closed components in the order in which they were closed, and forget all but their edges.

        Returns:
            int64 (n, 8); the columns are those from `VALUE` on in `geoseg.vector.sweep_kernels`.
        """
        closed: NDArray[np.int64] = self._closed[: self._counters[CLOSED]].copy()
        self._counters[CLOSED] = self._counters[CLOSED_EDGES] = 0
        return closed

    def release(self, rings: NDArray[np.int32], count: int) -> None:
        """Return the edges of rings to the pool; rings: one edge of each; count: how many edges they have in all."""
        self._counters[FREE] = _release(self.edges, rings, self._counters[FREE])
        self._counters[SPARE] += count


@compiled
def _release(edges: Any, rings: Any, free: int) -> int:
    for edge in rings:
        edges[edge, NEXT], free = free, edges[edge, NEXT]
    return free


@compiled
def _advance(
    band: Any, confidence: Any, weights: Any, first: int, line: int, reserve: int, noded: bool,
    runs: Any, edges: Any, labels: Any, closed: Any, counters: Any,
) -> int:  # fmt: skip
    """Sweep rows until too many components are closed or too few edges are left; return the row to continue with.

    The line above row r of the band is the line `line` + r of the raster.
    """
    for row in range(first, len(band)):
        due = counters[CLOSED] >= BATCH or counters[CLOSED_EDGES] >= BATCH_EDGES
        if due or len(edges) - counters[USED] + counters[SPARE] < reserve:
            return row
        below = 1 - counters[ABOVE]
        places, values = runs.places[below], runs.values[below]
        count = encode_row(band[row], places, values)
        runs.counts[below] = count
        sweep_line(line + row, noded, runs, edges, labels, closed, counters)
        settle(count, places, values, labels, counters)
        add_pixels(count, places, values, labels.sums, weights[row])
        if len(confidence):
            add_confidence(count, places, values, labels.sums, confidence[row])
        counters[ABOVE] = below
    return len(band)
