"""Outlines of closed components: from the edges that `geoseg.vector.sweep` kept to rings in a fixed form.

A ring begins with its first vertex in raster order, keeps its region to the left as seen with rows downwards, and never
touches itself: a ring that came back to a corner is divided there. The exterior of a component comes first, then its
holes in the order of their first vertices.

    +--------+
    | 1  1  1|      Around its own pixels, the ring of this region passes X twice: from the right it turns north,
    |  +--+  |      around the hole, comes back and goes on downwards. Divided at X, it is an exterior and a hole
    | 1| 0| 1|      that touch there.
    |  +--X--+
    | 1  1|
    +-----+
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined
from geoseg.vector.rings import Rings, reordered
from geoseg.vector.sweep_kernels import COL, EDGES, END, HOLES, NEXT, OTHER, OUTER, ROW, START

_AHEAD, _FETCHED = 16, 128
"""Components whose edges are fetched together, and how many edges of each at most."""


def outlines(closed: NDArray[np.int64], edges: NDArray[np.int32]) -> tuple[Rings, NDArray[np.int64], NDArray[np.int32]]:
    """Return the rings of closed components.

    Args:
        closed: int64 (n, 8), from `Sweep.take`.
        edges: int32 (m, 4), of the same sweep.

    Returns:
        The rings, labelled by the indices 0..n - 1 of their components;
        the total length of the vertical and of the horizontal edges of each component, int64 (n, 2), in pixels;
        and one edge of every ring that the sweep kept, int32, for `Sweep.release`.
    """
    vertices = 2 * int(closed[:, EDGES].sum())
    found = _outlines(closed, edges, np.empty((vertices, 2), np.int32), 2 * int(closed[:, EDGES].max(initial=0)))
    points, offsets, owners, lengths, freed = found
    firsts = points[offsets[:-1]]
    order = np.lexsort((firsts[:, 1], firsts[:, 0], owners))
    rings = reordered(Rings(points, offsets, owners, np.zeros(len(owners), np.bool_)), order)
    holes = np.diff(rings.labels, prepend=-1) == 0
    return Rings(rings.vertices, rings.offsets, rings.labels, holes), lengths, freed


@compiled
def _outlines(closed: Any, edges: Any, points: Any, max_vertices: int) -> Any:
    """Return vertices, offsets, owner of each ring, lengths and one edge of each ring walked; a ring before it is
    divided has at most `max_vertices`."""
    count = len(points) // 4
    offsets, owners = np.zeros(count + 1, np.int64), np.empty(count, np.int32)
    lengths, freed = np.zeros((len(closed), 2), np.int64), np.empty(count, np.int32)
    walked, flags = np.empty((max_vertices + 1, 2), np.int32), np.empty(max_vertices + 1, np.uint8)
    stack, table = np.empty(max_vertices + 1, np.int32), np.full((64, 2), -1, np.int64)
    rings = freed_count = 0
    ahead = np.empty(_AHEAD, np.int64)
    for place in range(len(closed)):
        if place % _AHEAD == 0:
            _fetch(closed[place : place + _AHEAD], edges, ahead)
        first, edge = rings, closed[place, OUTER]
        upcoming = closed[place, HOLES]
        while edge >= 0:
            length, marked = _walk(edges, edge, walked, flags, lengths[place])
            if marked < 2:
                rings = _put_undivided(walked, length, points, offsets, rings)
            else:
                while len(table) < 4 * marked:
                    table = np.full((2 * len(table), 2), -1, np.int64)
                rings = _divide(walked, flags, length, stack, table, marked, points, offsets, rings)
            freed[freed_count] = edge
            freed_count += 1
            edge = upcoming
            if edge >= 0:
                upcoming = edges[edge, OTHER]
        owners[first:rings] = place
    return points, offsets[: rings + 1].copy(), owners[:rings].copy(), lengths, freed[:freed_count].copy()


@inlined
def _fetch(closed: Any, edges: Any, ahead: Any) -> None:
    """Walk the exteriors of some components at the same time, up to `_FETCHED` edges of each, so that the processor has
    their edges at hand afterwards.

    An edge says where the next one is, so along one ring, every edge has to be waited for.
    """
    count, steps = len(closed), 0
    for k in range(count):
        ahead[k] = closed[k, OUTER]
        steps = max(steps, min(closed[k, EDGES], _FETCHED))
    for _ in range(steps):
        for k in range(count):
            ahead[k] = edges[ahead[k], NEXT]


@inlined
def _walk(edges: Any, first: int, walked: Any, flags: Any, lengths: Any) -> Any:
    """Write the vertices of the ring of the edge `first`, and whether each is marked as a corner that the ring may come
    back to; return how many vertices there are, and how many are marked.

    An edge that the sweep divided shares its vertex with the next one, and so does an edge without length.
    """
    count = marked = 0
    before = first
    row, packed = edges[first, ROW], edges[first, COL]
    while True:
        edge = edges[before, NEXT]
        from_row, from_packed = row, packed
        row, packed = edges[edge, ROW], edges[edge, COL]
        if row != from_row:
            walked[count, 0], walked[count, 1], flags[count] = row, from_packed >> 2, packed & START
            marked += packed & START
            lengths[0] += abs(row - from_row)
            count += 1
        if packed >> 2 != from_packed >> 2:
            walked[count, 0], walked[count, 1], flags[count] = row, packed >> 2, packed & END
            marked += (packed & END) >> 1
            lengths[1] += abs((packed >> 2) - (from_packed >> 2))
            count += 1
        before = edge
        if edge == first:
            return count, marked


@compiled
def _divide(
    walked: Any, flags: Any, length: int, stack: Any, table: Any, marked: int, points: Any, offsets: Any, rings: int
) -> int:
    """Append the rings into which a ring falls apart at the corners it comes back to; return the number of rings.

    Vertices go on a stack; a hash table (open addressing) knows where on it each marked corner is. At a corner that was
    met before, the vertices since then leave the stack as a ring. The pieces never interlock: by Jordan's theorem, two
    parts of a region that meet at a corner and are connected elsewhere separate what lies between them.
    """
    size = 16
    while size < 2 * marked:
        size *= 2
    table[:size, 0] = -1
    top = 0
    for k in range(length):
        if flags[k]:
            key: Any = (np.int64(walked[k, 0]) << 32) | np.int64(walked[k, 1])
            slot: Any = ((key * 0x9E3779B1) >> 20) & (size - 1)
            while table[slot, 0] not in (-1, key):
                slot = (slot + 1) & (size - 1)
            if table[slot, 0] == key:
                rings = _put(walked, stack, table[slot, 1], top, points, offsets, rings)
                top = table[slot, 1]
            table[slot, 0], table[slot, 1] = key, top
        stack[top] = k
        top += 1
    return _put(walked, stack, 0, top, points, offsets, rings)


@inlined
def _put_undivided(walked: Any, length: int, points: Any, offsets: Any, rings: int) -> int:
    """Append a ring as it was walked, but from its first vertex in raster order on."""
    first = 0
    for k in range(1, length):
        if walked[k, 0] < walked[first, 0] or (walked[k, 0] == walked[first, 0] and walked[k, 1] < walked[first, 1]):
            first = k
    at = offsets[rings] - first
    for k in range(first, length):
        points[at + k, 0], points[at + k, 1] = walked[k, 0], walked[k, 1]
    at += length
    for k in range(first):
        points[at + k, 0], points[at + k, 1] = walked[k, 0], walked[k, 1]
    offsets[rings + 1] = offsets[rings] + length
    return rings + 1


@inlined
def _put(walked: Any, stack: Any, start: int, stop: int, points: Any, offsets: Any, rings: int) -> int:
    """Append the ring of the vertices stack[start:stop], from its first vertex in raster order on."""
    first = start
    for k in range(start + 1, stop):
        best, other = stack[first], stack[k]
        if walked[other, 0] < walked[best, 0] or (
            walked[other, 0] == walked[best, 0] and walked[other, 1] < walked[best, 1]
        ):
            first = k
    at = offsets[rings]
    for k in range(first, stop):
        points[at, 0], points[at, 1] = walked[stack[k], 0], walked[stack[k], 1]
        at += 1
    for k in range(start, first):
        points[at, 0], points[at, 1] = walked[stack[k], 0], walked[stack[k], 1]
        at += 1
    offsets[rings + 1] = at
    return rings + 1
