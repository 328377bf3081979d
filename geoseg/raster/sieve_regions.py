"""Runs and regions of consecutive rows, for the kernels of the sieve."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined


class Regions(NamedTuple):
    """Regions of n runs; the attributes of a region are those at its first run in raster order.

    Attributes:
        parents: int32 (n,), union-find forest of runs.
        values: int64 (n,).
        areas: int64 (n,); the minimum area stands for anything larger.
        open: bool (n,), whether the region may continue in later rows.
        cut: bool (n,), whether the region may continue beyond a side at which the raster is cut off.
        isolated: bool (n,), whether the region is complete and has no neighbour but nodata.
        contacts: int32 (n, 2), first and last of its list of contacts; -1 for none.
    """

    parents: NDArray[np.int32]
    values: NDArray[np.int64]
    areas: NDArray[np.int64]
    open: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    isolated: NDArray[np.bool_]
    contacts: NDArray[np.int32]


class Contacts(NamedTuple):
    """Common edges of small regions with their neighbours, as linked lists.

    Attributes:
        runs: int32 (m,), a run of the neighbour.
        lengths: int32 (m,), in edges of pixels.
        pixels: int64 (m,), row * cols + col of the neighbour's first adjacent pixel.
        following: int32 (m,), the region's next contact; -1 for none.
    """

    runs: NDArray[np.int32]
    lengths: NDArray[np.int32]
    pixels: NDArray[np.int64]
    following: NDArray[np.int32]


@compiled
def find_runs(values: Any) -> Any:
    """Return the runs: where those of each row begin, int64 (rows + 1,), their first columns, int32 (n,), and their
    values, int64 (n,)."""
    rows, cols = values.shape
    offsets = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        changes = 1
        for col in range(1, cols):
            changes += values[row, col] != values[row, col - 1]
        offsets[row + 1] = offsets[row] + changes
    starts, found = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int64)
    at = 0
    for row in range(rows):
        for col in range(cols):
            if col == 0 or values[row, col] != values[row, col - 1]:
                starts[at], found[at] = col, values[row, col]
                at += 1
    return offsets, starts, found


@inlined
def root(parents: Any, run: int) -> int:
    """Return the first run of a run's region, halving the path to it."""
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@inlined
def unite(parents: Any, areas: Any, still_open: Any, one: int, other: int, min_area: int) -> int:
    """Unite two regions; return the first run of the result."""
    first, second = min(one, other), max(one, other)
    parents[second] = first
    areas[first] = min(areas[first] + areas[second], min_area)
    still_open[first] |= still_open[second]
    return first


@inlined
def run_stop(starts: Any, run: int, end: int, cols: int) -> int:
    """Return the column after a run; `end` is the first run of the next row."""
    return starts[run + 1] if run + 1 < end else cols


@compiled
def label_regions(
    offsets: Any, starts: Any, cols: int, weights: Any, regions: Any, min_area: int, above: bool, last: bool
) -> None:
    """Unite the runs to regions, and set areas and open."""
    parents, values, areas, still_open = regions.parents, regions.values, regions.areas, regions.open
    rows = len(offsets) - 1
    for row in range(rows):
        begin, end = offsets[row], offsets[row + 1]
        for run in range(begin, end):
            start, stop = starts[run], run_stop(starts, run, end, cols)
            area = (stop - start) * weights[row, 0]
            if weights.shape[1] > 1:
                area = np.int64(0)
                for col in range(start, stop):
                    area += weights[row, col]
            areas[run] = min_area if row == 0 and above else min(area, min_area)
            still_open[run] = row == rows - 1 and not last
        i, j = begin if row == 0 else offsets[row - 1], begin
        while i < begin and j < end:
            upper, lower = run_stop(starts, i, begin, cols), run_stop(starts, j, end, cols)
            if values[i] == values[j]:
                one, other = root(parents, i), root(parents, j)
                if one != other:
                    unite(parents, areas, still_open, one, other, min_area)
            i += upper <= lower
            j += lower <= upper
