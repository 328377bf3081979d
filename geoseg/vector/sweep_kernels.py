"""One line of the pixel lattice: how the outlines of regions go on between the row above it and the row below.

Of the outlines only the horizontal edges are kept: an edge knows the line it lies in, the column in which its ring
leaves it, and the edge that follows; between two edges that follow each other lies a vertical one. Edges that hang
together form chains, whose two ends wait at the row that was swept last.

While regions grow nobody knows whether two pixels that meet at a corner will prove to be of one: a ring turns around
its own pixel there, and marks the corner. `geoseg.vector.outlines` divides the rings that came back to one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

ROW, COL, NEXT, OTHER = range(4)
"""Columns of edges, int32 (n, 4): line; 4 * column where the ring leaves the edge + START, END; next edge of the ring,
or of the free ones; at the ends of a chain its other end, and at the first edge of a hole that of the next hole."""

START, END = 1, 2
"""Bits: the edge's first or last vertex is a corner at which its region may meet itself."""

VALUE, PIXELS, WEIGHT, CONFIDENCE, CONFIDENT, EDGES, OUTER, HOLES = range(8)
"""Columns of what is closed: value; number of pixels; sums of weights and confidences, and how many were not 0; number
of edges; the edges with which the outer ring and the first hole begin, -1 for none."""

LEFT, LABEL, HEAD, TAIL, NEW = range(5)
"""Columns of runs: column; label of the component; at the left side of the run, the edge to which the side of the run
before leads north, and that from which its own side leads south; number of new edges."""

FREE, USED, SPARE, FREE_LABELS, MERGED, CLOSED, CLOSED_EDGES, ABOVE = range(8)
"""Places of counters: the first free edge, edges that were ever used, and how many of these are free; heights of the
stacks of labels; what is closed, and its edges; which of the two rows of runs is above."""

NONE = -1
BEYOND = np.iinfo(np.int32).max


class Runs(NamedTuple):
    """Runs of equal value in the rows above and below the line, which take turns; outside of the raster the value is 0.
    counts: (2,). places: int32 (2, cols + 3, 5), columns from LEFT on. values: int64 (2, cols + 3)."""

    counts: NDArray[np.int64]
    places: NDArray[np.int32]
    values: NDArray[np.int64]


class Labels(NamedTuple):
    """Open components. parents: a forest. sums: int64 (n, 8), columns as of what is closed. last_holes: of each list.
    merged, free: stacks of labels that will not be in use after this row, and of those that are not."""

    parents: NDArray[np.int32]
    sums: NDArray[np.int64]
    last_holes: NDArray[np.int32]
    merged: NDArray[np.int32]
    free: NDArray[np.int32]


@inlined
def find(parents: Any, label: Any) -> Any:
    """Return the root of a label."""
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


@inlined
def _new(edges: Any, counters: Any, row: int, col: int) -> Any:
    edge = counters[FREE]
    if edge >= 0:
        counters[FREE] = edges[edge, NEXT]
        counters[SPARE] -= 1
    else:
        edge = counters[USED]
        counters[USED] += 1
    edges[edge, ROW], edges[edge, COL], edges[edge, OTHER] = row, col, edge
    return edge


@inlined
def _link(edges: Any, tail: int, head: int) -> bool:
    """Let the chain that begins with `head` follow the one that ends with `tail`; return whether that closes a ring."""
    edges[tail, NEXT] = head
    first, last = edges[tail, OTHER], edges[head, OTHER]
    if first == head:
        return True
    edges[first, OTHER], edges[last, OTHER] = last, first
    return False


@compiled
def sweep_line(row: int, noded: bool, runs: Any, edges: Any, labels: Any, closed: Any, counters: Any) -> None:
    """Go along a line, from corner to corner where one of the rows above and below it changes its value.

    Around a corner lie the pixels a, b above and c, d below. `north` is the edge along the region above that is under
    way, eastwards, and `south` the one along the region below, which is walked westwards: it begins where it ends here.
    """
    above = counters[ABOVE]
    below = 1 - above
    # Taken out of their tuples once: numba counts a reference whenever one is taken out.
    upper, lower, ups, downs = runs.places[above], runs.places[below], runs.values[above], runs.values[below]
    parents, sums, last_holes, merged, free = labels
    last, final = runs.counts[above], runs.counts[below]
    i = j = 1
    # Numbers of one type throughout, for the compiler's sake.
    a: Any = np.int64(0)
    c: Any = np.int64(0)
    north: Any = np.int64(NONE)
    south: Any = np.int64(NONE)
    while i < last or j < final:
        x = min(upper[i, LEFT], lower[j, LEFT])
        over, under = i - (upper[i, LEFT] != x), j - (lower[j, LEFT] != x)
        b, d = ups[over], downs[under]
        if a == c and b == d:
            # A vertical edge goes straight on, as most do: both rows change here.
            lower[j, HEAD], lower[j, TAIL] = upper[i, HEAD], upper[i, TAIL]
            lower[j, LABEL] = upper[i, LABEL]
            i, j, a, c = i + 1, j + 1, b, d
            continue
        if north >= 0 and (a != b or a == d):
            if _end_north(a, b, d, x, north, i, j, upper, lower, edges):
                _close(find(parents, upper[i - 1, LABEL]), north, sums, free, closed, counters)
            north = np.int64(NONE)
        if south >= 0 and (c != d or b == c):
            if _end_south(b, c, d, south, i, j, upper, lower, edges):
                _keep_hole(find(parents, lower[j - 1, LABEL]), south, sums, last_holes, edges)
            south = np.int64(NONE)
        if noded:
            north, south = _node(a, b, c, d, x, row, north, south, i, j, upper, lower, edges, parents, sums, counters)
        elif over == i and under == j:
            if a == c:
                lower[j, HEAD] = upper[i, HEAD]
            if b == d:
                lower[j, TAIL] = upper[i, TAIL]
        if b == d:
            if b != 0:
                _join(upper[over, LABEL], under, lower, parents, sums, last_holes, merged, edges, counters)
        else:
            if b != 0 and north < 0:
                north = _begin_north(a, b, c, row, i, j, upper, lower, edges, counters)
                sums[find(parents, upper[over, LABEL]), EDGES] += 1
            if d != 0 and south < 0:
                south = _begin_south(a, c, d, x, row, i, j, upper, lower, edges, counters)
                lower[under, NEW] += 1
        i, j, a, c = over + 1, under + 1, b, d


@inlined
def _end_north(a: int, b: int, d: int, x: int, north: int, i: int, j: int, upper: Any, lower: Any, edges: Any) -> bool:
    """End the edge below pixel a; return whether that closes a ring, the outer one of the pixel's component."""
    edges[north, COL] += 4 * x
    if a == b:
        lower[j, TAIL] = north
        return False
    if a == d:
        edges[north, COL] += END
    return _link(edges, north, upper[i, HEAD])


@inlined
def _end_south(b: int, c: int, d: int, south: int, i: int, j: int, upper: Any, lower: Any, edges: Any) -> bool:
    """Begin the edge above pixel c, walked westwards; return whether that closes a ring, a hole of its component."""
    if c == d:
        return _link(edges, upper[i, TAIL], south)
    lower[j, HEAD] = south
    if b == c:
        edges[south, COL] += START
    return False


@inlined
def _begin_north(
    a: int, b: int, c: int, row: int, i: int, j: int, upper: Any, lower: Any, edges: Any, counters: Any
) -> Any:
    """Begin the edge below pixel b."""
    if a == b:
        north = _new(edges, counters, row, 0)
        lower[j, HEAD] = north
    else:
        north = _new(edges, counters, row, START if b == c else 0)
        _link(edges, upper[i, TAIL], north)
    return north


@inlined
def _begin_south(
    a: int, c: int, d: int, x: int, row: int, i: int, j: int, upper: Any, lower: Any, edges: Any, counters: Any
) -> Any:
    """End the edge above pixel d, walked westwards."""
    if c == d:
        south = _new(edges, counters, row, 4 * x)
        _link(edges, south, upper[i, HEAD])
    else:
        south = _new(edges, counters, row, 4 * x + (END if a == d else 0))
        lower[j, TAIL] = south
    return south


@compiled
def _node(
    a: int, b: int, c: int, d: int, x: int, row: int, north: int, south: int, i: int, j: int,
    upper: Any, lower: Any, edges: Any, parents: Any, sums: Any, counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """Divide edges that go straight on where two other regions meet beside them, and lead vertical ones on to the row
    below, by way of an edge without length there; return the edges that are under way."""
    if north >= 0 and c != d:
        edges[north, COL] += 4 * x
        edge = _new(edges, counters, row, 0)
        _link(edges, north, edge)
        sums[find(parents, upper[i - 1, LABEL]), EDGES] += 1
        north = edge
    if south >= 0 and a != b:
        edge = _new(edges, counters, row, 4 * x)
        _link(edges, edge, south)
        lower[j - 1, NEW] += 1
        south = edge
    if a != b and c != d and a == c:
        head = upper[i, HEAD]
        if b != d and a != 0:
            edge = _new(edges, counters, row, 4 * x)
            _link(edges, edge, head)
            sums[find(parents, upper[i - 1, LABEL]), EDGES] += 1
            head = edge
        lower[j, HEAD] = head
    if a != b and c != d and b == d:
        tail = upper[i, TAIL]
        if a != c and b != 0:
            edge = _new(edges, counters, row, 4 * x)
            _link(edges, tail, edge)
            sums[find(parents, upper[i, LABEL]), EDGES] += 1
            tail = edge
        lower[j, TAIL] = tail
    return north, south


@inlined
def _close(label: int, edge: int, sums: Any, free: Any, closed: Any, counters: Any) -> None:
    count = counters[CLOSED]
    closed[count] = sums[label]
    closed[count, OUTER] = edge
    counters[CLOSED] += 1
    counters[CLOSED_EDGES] += closed[count, EDGES]
    free[counters[FREE_LABELS]] = label
    counters[FREE_LABELS] += 1


@inlined
def _keep_hole(label: int, edge: int, sums: Any, last_holes: Any, edges: Any) -> None:
    edges[edge, OTHER] = sums[label, HOLES]
    if sums[label, HOLES] < 0:
        last_holes[label] = edge
    sums[label, HOLES] = edge


@inlined
def _join(
    label: int, run: int, lower: Any, parents: Any, sums: Any, last_holes: Any, merged: Any, edges: Any, counters: Any
) -> None:
    """Let a run be of a component above it; where it is of another one too, the two become one."""
    if lower[run, LABEL] < 0:
        lower[run, LABEL] = label
        return
    root = find(parents, label)
    other = find(parents, lower[run, LABEL])
    if root == other:
        return
    parents[other] = root
    for column in range(PIXELS, OUTER):
        sums[root, column] += sums[other, column]
    if sums[other, HOLES] >= 0:
        edges[last_holes[other], OTHER] = sums[root, HOLES]
        if sums[root, HOLES] < 0:
            last_holes[root] = last_holes[other]
        sums[root, HOLES] = sums[other, HOLES]
    merged[counters[MERGED]] = other
    counters[MERGED] += 1
