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
    CONFIDENCE,
    CONFIDENT,
    EDGES,
    FREE,
    FREE_LABELS,
    HOLES,
    LABEL,
    LEFT,
    MERGED,
    NEW,
    NEXT,
    NONE,
    PIXELS,
    SPARE,
    USED,
    VALUE,
    WEIGHT,
    Labels,
    Runs,
    find,
    sweep_line,
)

_BATCH = 1 << 12
_BATCH_EDGES = 1 << 15
"""Closed components, and edges of these, from which on they are due."""


class Sweep:
    """The state of a sweep over the rows of a raster, from top to bottom.

    Args:
        cols: pixels in a row.
        noded: whether rings also get a vertex where two other regions meet at their side, so that neighbours share all
            vertices.

    Attributes:
        edges: int32 (m, 4), the pool of edges; see `geoseg.vector.sweep_kernels`.
        row: number of rows swept.
    """

    def __init__(self, cols: int, noded: bool = False) -> None:
        self.noded, self.row = noded, 0
        size = cols + 3
        # One line adds at most four edges for each column. Space is checked before a line, but not before the last one,
        # in `finish`, which adds at most one.
        self._reserve = 6 * size
        self.edges = np.zeros((max(1 << 15, self._reserve), 4), np.int32)
        self._runs = Runs(np.ones(2, np.int64), np.full((2, size, 5), NONE, np.int32), np.zeros((2, size), np.int64))
        self._runs.places[:, 1, LEFT] = BEYOND
        names = np.arange(2 * size, dtype=np.int32)
        sums = np.zeros((2 * size, 8), np.int64)
        self._labels = Labels(names.copy(), sums, names.copy(), names, names.copy())
        self._closed = np.zeros((_BATCH + size, 8), np.int64)
        self._counters = np.array([NONE, 0, 0, 2 * size, 0, 0, 0, 0], np.int64)

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
            if not self._has_space:
                more = np.zeros((max(len(self.edges) // 2, self._reserve), 4), np.int32)
                self.edges = np.concatenate([self.edges, more])
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
        return bool(self._counters[CLOSED] >= _BATCH or self._counters[CLOSED_EDGES] >= _BATCH_EDGES)

    @property
    def kept(self) -> int:
        """Number of edges in use: those of open components, and of closed ones that were not released."""
        return int(self._counters[USED] - self._counters[SPARE])

    @property
    def _has_space(self) -> bool:
        return len(self.edges) - self.kept >= self._reserve

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
        due = counters[CLOSED] >= _BATCH or counters[CLOSED_EDGES] >= _BATCH_EDGES
        if due or len(edges) - counters[USED] + counters[SPARE] < reserve:
            return row
        below = 1 - counters[ABOVE]
        places, values = runs.places[below], runs.values[below]
        count = _encode(band[row], places, values)
        runs.counts[below] = count
        sweep_line(line + row, noded, runs, edges, labels, closed, counters)
        _settle(count, places, values, labels, counters)
        _add(count, places, values, labels.sums, weights[row])
        if len(confidence):
            _add_confidence(count, places, values, labels.sums, confidence[row])
        counters[ABOVE] = below
    return len(band)


@compiled
def _encode(row: Any, places: Any, values: Any) -> int:
    """Write the runs of a row of pixels, and return their number; run 0 lies left of the raster, with value 0.

    row     0 0 7 7 7 5          places[:, LEFT]   .  2  5  6  BEYOND
    run     0 0 1 1 1 2 3        values            0  7  5  0
    """
    count, before = 1, row[0]
    if before != 0:
        places[1, LEFT], values[1], count = 0, before, 2
    for col in range(1, len(row)):
        if row[col] != before:
            before = row[col]
            places[count, LEFT], values[count] = col, before
            count += 1
    if before != 0:
        places[count, LEFT], values[count] = len(row), 0
        count += 1
    places[count, LEFT] = BEYOND
    places[:count, LABEL] = NONE
    places[:count, NEW] = 0
    return count


@compiled
def _settle(count: int, places: Any, values: Any, labels: Any, counters: Any) -> None:
    """Give each run of a row the label of its component; labels that were merged into others become free."""
    sums = labels.sums
    for run in range(1, count):
        if values[run] == 0:
            continue
        label: Any = np.int64(places[run, LABEL])
        if label >= 0:
            label = np.int64(find(labels.parents, label))
        else:
            counters[FREE_LABELS] -= 1
            label = np.int64(labels.free[counters[FREE_LABELS]])
            labels.parents[label] = label
            sums[label, :] = 0
            sums[label, VALUE], sums[label, HOLES] = values[run], NONE
        places[run, LABEL] = label
        sums[label, EDGES] += places[run, NEW]
    for k in range(counters[MERGED]):
        labels.free[counters[FREE_LABELS]] = labels.merged[k]
        counters[FREE_LABELS] += 1
    counters[MERGED] = 0


@compiled
def _add(count: int, places: Any, values: Any, sums: Any, weights: Any) -> None:
    """Add the pixels of a row, and their weights, (1,) or (cols,), to the sums of their components."""
    for run in range(1, count):
        if values[run] == 0:
            continue
        label, start, stop = places[run, LABEL], places[run, LEFT], places[run + 1, LEFT]
        sums[label, PIXELS] += stop - start
        if len(weights) == 1:
            sums[label, WEIGHT] += weights[0] * (stop - start)
        else:
            for col in range(start, stop):
                sums[label, WEIGHT] += weights[col]


@compiled
def _add_confidence(count: int, places: Any, values: Any, sums: Any, confidence: Any) -> None:
    """Add the confidence (cols,) of the pixels of a row to the sums of their components."""
    for run in range(1, count):
        if values[run] == 0:
            continue
        total = confident = np.int64(0)
        for col in range(places[run, LEFT], places[run + 1, LEFT]):
            total += np.int64(confidence[col])
            confident += confidence[col] != 0
        sums[places[run, LABEL], CONFIDENCE] += total
        sums[places[run, LABEL], CONFIDENT] += confident
