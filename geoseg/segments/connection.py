"""Connectivity: labels become connected regions, by runs, and small components join a neighbour.

A run is a maximal piece of a pixel row with one label:

    pixels    5 5 5 5 - - 6 6 5      starts   0  4  6  8        The runs of a row tile it, those
                                     labels   5 -1  6  5        without a label (-1) included.

    5 5 5 5 6 6 6      The label 5 has two components. The larger one is its main component; the other one is an
    5 5 5 6 6 5 6      orphan, which joins the region with which it has the longest border, here that of 6.
    5 5 5 6 6 6 6

A label is the number of the seed's cell, in raster order on a lattice of `stride` columns that has one more cell on
every side than the array: pixels at the array's edge may belong to seeds outside of it. Components are numbered in the
raster order of their first pixels. All work is linear in pixels or in runs.

Arrays of runs: `starts` int32 (runs,), first column; `labels` int32 (runs,); `component` int32 (runs,), -1 without a
label; `bounds` int64 (rows + 1,), the runs of pixel row y are bounds[y] .. bounds[y + 1]. `width` is the number of
columns. Arrays of components: `label`, `pixels` and `first`, the cell of the first pixel, int32 (n,); `extent` int8
(n, 4); `owner` int32 (n,), the label of the region that the component belongs to, -1 for an orphan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined
from geoseg.segments.cells import NONE


@compiled
def find_runs(choice: NDArray[np.uint8], size: int, width: int, rows: tuple[int, int]) -> Any:
    """Cut the pixel rows `rows` into runs: return starts, labels, and int64 (rows,) the number of runs of each row.

    choice: uint8 (cell rows, cell cols, T), see `geoseg.segments.cells`. size: pixels on a side of a cell.
    """
    cell_cols = choice.shape[1]
    stride = cell_cols + 2
    step = np.empty(NONE, np.int32)
    for k in range(NONE):
        step[k] = (k // 3 - 1) * stride + k % 3 - 1
    capacity = 2 * width + (rows[1] - rows[0]) * width // 6
    starts = np.empty(capacity, np.int32)
    labels = np.empty(capacity, np.int32)
    counts = np.zeros(rows[1] - rows[0], np.int64)
    n = 0
    for row in range(rows[0], rows[1]):
        if capacity - n < width:
            capacity = 2 * capacity
            starts = _grown(starts, n, capacity)
            labels = _grown(labels, n, capacity)
        first = n
        i = row // size
        offset = (row % size) * size
        label = np.int32(-2)
        for j in range(cell_cols):
            cell = np.int32((i + 1) * stride + j + 1)
            previous = np.uint8(255)
            for x in range(min(size, width - j * size)):
                k = choice[i, j, offset + x]
                if k == previous:
                    continue
                previous = k
                new_label = np.int32(-1) if k == NONE else cell + step[k]
                if new_label != label:
                    label = new_label
                    starts[n] = j * size + x
                    labels[n] = label
                    n += 1
        counts[row - rows[0]] = n - first
    return starts[:n], labels[:n], counts


@compiled
def _grown(array: NDArray[np.int32], n: int, capacity: int) -> NDArray[np.int32]:
    """Return an array of `capacity` values that begins with the first n of `array`."""
    grown = np.empty(capacity, np.int32)
    grown[:n] = array[:n]
    return grown


@inlined
def _root(parent: NDArray[np.int32], run: int) -> Any:
    """Return the root of a run, halving the path to it."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@compiled
def join_runs(starts: NDArray[np.int32], labels: NDArray[np.int32], bounds: NDArray[np.int64], width: int) -> Any:
    """Return the 4-connected component of each run, and the number of components (union-find, row by row)."""
    parent = np.arange(starts.shape[0]).astype(np.int32)
    for row in range(bounds.shape[0] - 2):
        a, b = bounds[row], bounds[row + 1]
        a_stop, b_stop = bounds[row + 1], bounds[row + 2]
        while a < a_stop and b < b_stop:
            a_end = starts[a + 1] if a + 1 < a_stop else width
            b_end = starts[b + 1] if b + 1 < b_stop else width
            if labels[a] == labels[b] and labels[a] >= 0:
                above, below = _root(parent, a), _root(parent, b)
                if above < below:
                    parent[below] = above
                else:
                    parent[above] = below
            if a_end <= b_end:
                a += 1
            if b_end <= a_end:
                b += 1
    n = 0
    for run in range(parent.shape[0]):
        if labels[run] < 0:
            parent[run] = -1
        elif parent[run] == run:
            parent[run] = n
            n += 1
        else:
            parent[run] = parent[parent[run]]
    return parent, n


@compiled
def measure(
    starts: NDArray[np.int32],
    labels: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    component: NDArray[np.int32],
    n: int,
    size: int,
    stride: int,
) -> Any:
    """Return label, pixels, first and extent of n components.

    Extent is the first and last cell row, then the first and last cell column that the component touches, relative to
    the seed's cell: -1, 0 or 1.
    """
    label = np.empty(n, np.int32)
    pixels = np.zeros(n, np.int32)
    first = np.full(n, -1, np.int32)
    extent = np.empty((n, 4), np.int8)
    extent[:, 0::2] = 1
    extent[:, 1::2] = -1
    for row in range(bounds.shape[0] - 1):
        i = row // size + 1
        for run in range(bounds[row], bounds[row + 1]):
            c = component[run]
            if c < 0:
                continue
            end = starts[run + 1] if run + 1 < bounds[row + 1] else width
            left, right = starts[run] // size + 1, (end - 1) // size + 1
            if first[c] < 0:
                first[c] = i * stride + left
                label[c] = labels[run]
            pixels[c] += end - starts[run]
            seed_row, seed_col = label[c] // stride, label[c] % stride
            extent[c, 0] = min(extent[c, 0], i - seed_row)
            extent[c, 1] = max(extent[c, 1], i - seed_row)
            extent[c, 2] = min(extent[c, 2], left - seed_col)
            extent[c, 3] = max(extent[c, 3], right - seed_col)
    return label, pixels, first, extent


@compiled
def choose_main(label: NDArray[np.int32], pixels: NDArray[np.int32], labels: int) -> Any:
    """Return the largest component of each label, the first of equals: int32 (labels,); -1 for a label without any."""
    main = np.full(labels, -1, np.int32)
    for c in range(label.shape[0]):
        rival = main[label[c]]
        if rival < 0 or pixels[c] > pixels[rival]:
            main[label[c]] = c
    return main


@inlined
def _place(region: int, corner_row: int, corner_col: int, stride: int) -> Any:
    """Return which of the 3 x 3 cells from the corner on is the cell of the region's seed: 0..8, or -1 for none."""
    down = region // stride - corner_row
    right = region % stride - corner_col
    return 3 * down + right if 0 <= down < 3 and 0 <= right < 3 else -1


@compiled
def _run_at(starts: NDArray[np.int32], first: int, stop: int, col: int) -> Any:
    """Return the run in first .. stop that contains the column, by bisection."""
    while stop - first > 1:
        middle = (first + stop) // 2
        if starts[middle] <= col:
            first = middle
        else:
            stop = middle
    return first


@compiled
def _count_borders(
    starts: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    component: NDArray[np.int32],
    owner: NDArray[np.int32],
    orphans: NDArray[np.int32],
    count: int,
    corner: NDArray[np.int32],
    stride: int,
) -> NDArray[np.int32]:
    """Count the pairs of adjacent pixels of each orphan and the regions whose seeds lie in the 3 x 3 cells from its
    corner on: int32 (count, 9). orphans: int32 (n,), index of a component among all `count`, else -1."""
    borders = np.zeros((count, 9), np.int32)
    rows = bounds.shape[0] - 1
    for row in range(rows):
        for run in range(bounds[row], bounds[row + 1]):
            c = component[run]
            if c < 0 or owner[c] >= 0:
                continue
            start = starts[run]
            end = starts[run + 1] if run + 1 < bounds[row + 1] else width
            for y in range(max(row - 1, 0), min(row + 2, rows)):
                first, stop = bounds[y], bounds[y + 1]
                other = max(run - 1, first) if y == row else _run_at(starts, first, stop, start)
                while other < stop and starts[other] <= (end if y == row else end - 1):
                    d = component[other]
                    if d >= 0 and owner[d] >= 0:
                        k = _place(owner[d], corner[c, 0], corner[c, 1], stride)
                        if k >= 0:
                            other_end = starts[other + 1] if other + 1 < stop else width
                            shared = 1 if y == row else min(end, other_end) - max(start, starts[other])
                            borders[orphans[c], k] += shared
                    other += 1
    return borders


@compiled
def merge_orphans(
    starts: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    component: NDArray[np.int32],
    label: NDArray[np.int32],
    extent: NDArray[np.int8],
    owner: NDArray[np.int32],
    stride: int,
) -> None:
    """Let every orphan join the region with which it has the longest border, of equals that with the least id.

    This is one pass; it updates `owner`, and all orphans decide on the state before it. Candidates are the regions that
    with the orphan still lie within the 3 x 3 cells of their seeds. Those seeds lie in the 3 x 3 cells around the first
    cell row and column that the orphan touches (`corner` is the first of the nine), at most one cell from the last.
    """
    n = label.shape[0]
    orphans = np.full(n, -1, np.int32)
    corner = np.empty((n, 2), np.int32)
    count = 0
    for c in range(n):
        corner[c, 0] = label[c] // stride + extent[c, 0] - 1
        corner[c, 1] = label[c] % stride + extent[c, 2] - 1
        if owner[c] < 0:
            orphans[c] = count
            count += 1
    borders = _count_borders(starts, bounds, width, component, owner, orphans, count, corner, stride)
    for c in range(n):
        if orphans[c] < 0:
            continue
        longest = 0
        for k in range(9):
            down, right = k // 3, k % 3
            fits = down >= extent[c, 1] - extent[c, 0] and right >= extent[c, 3] - extent[c, 2]
            if fits and borders[orphans[c], k] > longest:
                longest = borders[orphans[c], k]
                owner[c] = (corner[c, 0] + down) * stride + corner[c, 1] + right


@compiled
def rank_orphans(label: NDArray[np.int32], first: NDArray[np.int32], main: NDArray[np.int32]) -> Any:
    """Return the rank of each component, int32 (n,): the number of components up to it, itself included, that are not
    main and begin in the same cell; 0 for a main component.

    Merged orphans count too, so that the rank depends on nothing further away than the labels of these components.
    """
    counts = np.zeros(main.shape[0], np.int32)
    rank = np.zeros(label.shape[0], np.int32)
    for c in range(label.shape[0]):
        if main[label[c]] != c:
            counts[first[c]] += 1
            rank[c] = counts[first[c]]
    return rank


@compiled
def paint(
    starts: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    component: NDArray[np.int32],
    local: NDArray[np.int32],
    rows: tuple[int, int],
    top: int,
    left: int,
    painted: NDArray[np.int32],
) -> None:
    """Write local[component], int32, of each run in the pixel rows `rows` into `painted`, int32 (rows, cols), whose
    first pixel is (top, left), as far as it reaches; 0 for runs without a component."""
    height, length = painted.shape
    for row in range(max(rows[0], top), min(rows[1], top + height)):
        line = painted[row - top]
        for run in range(bounds[row], bounds[row + 1]):
            end = starts[run + 1] if run + 1 < bounds[row + 1] else width
            value = local[component[run]] if component[run] >= 0 else np.int32(0)
            for x in range(max(starts[run] - left, 0), min(end - left, length)):
                line[x] = value
