"""One line of the pixel lattice: how the outlines of regions continue from the row above it to the row below.

                       x, the corner at hand
        row above   a  |  b            north: edge below b, walked eastwards,   -->
    line  ----------- -+- -----------         with b to its left
        row below   c  |  d            south: edge above d, walked westwards,   <--
                                              with d to its left

The sweep visits the corners of a line at which one of the two rows changes its value, from left to right:

    row above      1  1  1 |2  2 |1  1      |  corner that is visited
    line           +-----+-+-----+-+--
    row below      1  1 |3  3  3 |1  1

Of the outlines only the horizontal edges are stored. An edge knows its line, the column at which its ring leaves it,
and the edge that follows; between two consecutive edges lies a vertical one. Connected edges form chains, each with two
open ends at the row swept last.

While regions grow, it is not known whether two pixels that meet at a corner will turn out to be of the same region: a
ring turns around its own pixel there, and marks the corner. `geoseg.vector.outlines` divides the rings that came back
to a marked corner.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

ROW, COL, NEXT, OTHER = range(4)
"""Columns of edges, int32 (n, 4).

ROW: the line. COL: 4 * the column at which the ring leaves the edge, + START, + END. NEXT: the next edge of the ring,
or of the list of free edges. OTHER: at either end of a chain, the edge at its other end; at the first edge of a closed
hole, that of the component's next hole."""

START, END = 1, 2
"""Bits of COL: the first or last vertex of the edge is a corner at which its region may meet itself."""

VALUE, PIXELS, WEIGHT, CONFIDENCE, CONFIDENT, EDGES, OUTER, HOLES = range(8)
"""Columns of closed components, int64 (n, 8).

VALUE: of the pixels. PIXELS: their number. WEIGHT, CONFIDENCE: sums over the pixels. CONFIDENT: number of pixels with a
confidence other than 0. EDGES: number of edges. OUTER, HOLES: an edge of the exterior, and of the first hole; NONE
without holes. While a component is open, OUTER is 0, or the number of one of its runs in the row that a stripe begins
with; see `geoseg.vector.cut_sweep`."""

LEFT, LABEL, HEAD, TAIL, NEW = range(5)
"""Columns of runs, int32.

LEFT: first column. LABEL: of the component. HEAD: the edge that follows the vertical side at LEFT of the run before,
which its ring walks northwards. TAIL: the edge that precedes the vertical side at LEFT of this run, which its ring
walks southwards. NEW: number of edges that the line above added to the run's component."""

FREE, USED, SPARE, FREE_LABELS, MERGED, CLOSED, CLOSED_EDGES, ABOVE = range(8)
"""Indices of the counters, int64 (8,).

FREE: first free edge, NONE without one. USED: edges ever used. SPARE: how many of these are free. FREE_LABELS, MERGED:
heights of the stacks of labels. CLOSED, CLOSED_EDGES: closed components, and their edges. ABOVE: which of the two rows
of runs, 0 or 1, is the one above the line."""

NONE = -1
BEYOND = np.iinfo(np.int32).max


class Runs(NamedTuple):
    """Runs of equal value in the rows above and below the line, which swap roles from line to line.

    Attributes:
        counts: int64 (2,), number of runs, with those of value 0 outside of the raster.
        places: int32 (2, cols + 3, 5), the columns from LEFT on.
        values: int64 (2, cols + 3), 0 outside of the raster.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int32]
    values: NDArray[np.int64]


class Labels(NamedTuple):
    """Labels of open components, n of them.

    Attributes:
        parents: int32 (n,), union-find forest.
        sums: int64 (n, 8), the columns from VALUE on.
        last_holes: int32 (n,), first edge of the last hole in each component's list of holes.
        merged: int32 (n,), stack of the labels that this row merged into others: in use until its end.
        free: int32 (n,), stack of the labels that are not in use.
    """

    parents: NDArray[np.int32]
    sums: NDArray[np.int64]
    last_holes: NDArray[np.int32]
    merged: NDArray[np.int32]
    free: NDArray[np.int32]


@inlined
def find(parents: Any, label: Any) -> Any:
    """Return the root of a label, halving the path to it."""
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


@inlined
def new_edge(edges: Any, counters: Any, row: int, col: int) -> Any:
    """Return an edge from the pool, as a chain of its own; col: the value of COL."""
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
def link(edges: Any, tail: int, head: int) -> bool:
    """Append the chain that begins with `head` to the one that ends with `tail`; return whether that closes a ring."""
    edges[tail, NEXT] = head
    first, last = edges[tail, OTHER], edges[head, OTHER]
    if first == head:
        return True
    edges[first, OTHER], edges[last, OTHER] = last, first
    return False


@compiled
def sweep_line(row: int, noded: bool, runs: Any, edges: Any, labels: Any, closed: Any, counters: Any) -> None:
    """Sweep one line, from corner to corner, as drawn above; row: its number.

    `north` and `south` are the edges that have begun, or NONE. As `south` is walked westwards, the sweep meets its last
    vertex first.
    """
    above = counters[ABOVE]
    below = 1 - above
    # Unpacked once: numba counts a reference at every access to a member.
    upper, lower, ups, downs = runs.places[above], runs.places[below], runs.values[above], runs.values[below]
    parents, sums, last_holes, merged, free = labels
    last, final = runs.counts[above], runs.counts[below]
    i = j = 1
    # int64 from the start, so that numba infers one type for each variable.
    a: Any = np.int64(0)
    c: Any = np.int64(0)
    north: Any = np.int64(NONE)
    south: Any = np.int64(NONE)
    while i < last or j < final:
        x = min(upper[i, LEFT], lower[j, LEFT])
        over, under = i - (upper[i, LEFT] != x), j - (lower[j, LEFT] != x)
        b, d = ups[over], downs[under]
        if a == c and b == d:
            # The common case: both rows change alike, and the vertical edges run straight on.
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
                keep_hole(find(parents, lower[j - 1, LABEL]), south, sums, last_holes, edges)
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
    """End the edge below pixel a; return whether that closes a ring, which is then the exterior of a's component."""
    edges[north, COL] += 4 * x
    if a == b:
        lower[j, TAIL] = north
        return False
    if a == d:
        edges[north, COL] += END
    return link(edges, north, upper[i, HEAD])


@inlined
def _end_south(b: int, c: int, d: int, south: int, i: int, j: int, upper: Any, lower: Any, edges: Any) -> bool:
    """Complete the edge above pixel c, whose ring enters it here; return whether that closes a ring, which is then a
    hole of c's component."""
    if c == d:
        return link(edges, upper[i, TAIL], south)
    lower[j, HEAD] = south
    if b == c:
        edges[south, COL] += START
    return False


@inlined
def _begin_north(
    a: int, b: int, c: int, row: int, i: int, j: int, upper: Any, lower: Any, edges: Any, counters: Any
) -> Any:
    """Begin the edge below pixel b, and return it."""
    if a == b:
        north = new_edge(edges, counters, row, 0)
        lower[j, HEAD] = north
    else:
        north = new_edge(edges, counters, row, START if b == c else 0)
        link(edges, upper[i, TAIL], north)
    return north


@inlined
def _begin_south(
    a: int, c: int, d: int, x: int, row: int, i: int, j: int, upper: Any, lower: Any, edges: Any, counters: Any
) -> Any:
    """Begin the edge above pixel d, whose ring leaves it here, and return it."""
    if c == d:
        south = new_edge(edges, counters, row, 4 * x)
        link(edges, south, upper[i, HEAD])
    else:
        south = new_edge(edges, counters, row, 4 * x + (END if a == d else 0))
        lower[j, TAIL] = south
    return south


@compiled
def _node(
    a: int, b: int, c: int, d: int, x: int, row: int, north: int, south: int, i: int, j: int,
    upper: Any, lower: Any, edges: Any, parents: Any, sums: Any, counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """Divide edges at which two other regions meet; return `north` and `south` as they are then.

    a  a            a | b
    --+--           --+ b     A horizontal edge is divided into two. A vertical one gets an edge without length
    c | d           c | b     here, so that the corner becomes a vertex.
    """
    if north >= 0 and c != d:
        edges[north, COL] += 4 * x
        edge = new_edge(edges, counters, row, 0)
        link(edges, north, edge)
        sums[find(parents, upper[i - 1, LABEL]), EDGES] += 1
        north = edge
    if south >= 0 and a != b:
        edge = new_edge(edges, counters, row, 4 * x)
        link(edges, edge, south)
        lower[j - 1, NEW] += 1
        south = edge
    if a != b and c != d and a == c:
        head = upper[i, HEAD]
        if b != d and a != 0:
            edge = new_edge(edges, counters, row, 4 * x)
            link(edges, edge, head)
            sums[find(parents, upper[i - 1, LABEL]), EDGES] += 1
            head = edge
        lower[j, HEAD] = head
    if a != b and c != d and b == d:
        tail = upper[i, TAIL]
        if a != c and b != 0:
            edge = new_edge(edges, counters, row, 4 * x)
            link(edges, tail, edge)
            sums[find(parents, upper[i, LABEL]), EDGES] += 1
            tail = edge
        lower[j, TAIL] = tail
    return north, south


@inlined
def _close(label: int, edge: int, sums: Any, free: Any, closed: Any, counters: Any) -> None:
    """Move a component, whose exterior ends with `edge`, to the closed ones."""
    count = counters[CLOSED]
    closed[count] = sums[label]
    closed[count, OUTER] = edge
    counters[CLOSED] += 1
    counters[CLOSED_EDGES] += closed[count, EDGES]
    free[counters[FREE_LABELS]] = label
    counters[FREE_LABELS] += 1


@inlined
def keep_hole(label: int, edge: int, sums: Any, last_holes: Any, edges: Any) -> None:
    """Put a hole in front of the list of its component's holes."""
    edges[edge, OTHER] = sums[label, HOLES]
    if sums[label, HOLES] < 0:
        last_holes[label] = edge
    sums[label, HOLES] = edge


@inlined
def _join(
    label: int, run: int, lower: Any, parents: Any, sums: Any, last_holes: Any, merged: Any, edges: Any, counters: Any
) -> None:
    """Give the run the label of a component above it; if it has another one already, merge the two components."""
    if lower[run, LABEL] < 0:
        lower[run, LABEL] = label
        return
    root = find(parents, label)
    other = find(parents, lower[run, LABEL])
    if root == other:
        return
    merge(root, other, parents, sums, last_holes, merged, edges, counters)


@inlined
def merge(
    root: int, other: int, parents: Any, sums: Any, last_holes: Any, merged: Any, edges: Any, counters: Any
) -> None:
    """Make two components one; both labels are roots."""
    parents[other] = root
    for column in range(PIXELS, OUTER):
        sums[root, column] += sums[other, column]
    if sums[root, OUTER] == 0:
        sums[root, OUTER] = sums[other, OUTER]
    if sums[other, HOLES] >= 0:
        edges[last_holes[other], OTHER] = sums[root, HOLES]
        if sums[root, HOLES] < 0:
            last_holes[root] = last_holes[other]
        sums[root, HOLES] = sums[other, HOLES]
    merged[counters[MERGED]] = other
    counters[MERGED] += 1
