"""Rings: the outlines of labelled regions, exactly along the edges of pixels.

A vertex is the (row, col) of a pixel's corner: pixel (r, c) has the corners (r, c), (r, c + 1), (r + 1, c + 1) and
(r + 1, c). A ring has a vertex where it turns and nowhere else, and keeps its region to the left as seen with rows
downwards: an exterior is counter-clockwise, a hole clockwise.

Where a region meets itself at a corner only, a ring turns towards the region, around the pixel of the other side: what
lies around a region is 4-connected. So the rings of a 4-connected region may touch each other at a point, but none
touches itself, and they bound a valid polygon (OGC Simple Features 1.2.1, 6.1.11.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

_POLYGON = 3
# Headings west, south, east, north: each is the one before it after a turn to the left.
_STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))


def _move(heading: int, right: bool, left: bool) -> tuple[int, int, int]:
    """Return the (row, col) step from an edge's pixel to that of the next edge, and its heading; `right` and `left`:
    whether the pixels ahead, on either side of the line, are the region's."""
    ahead, aside = _STEPS[heading], _STEPS[heading - 1]
    if right:
        return ahead[0] + aside[0], ahead[1] + aside[1], (heading - 1) % 4
    return (*ahead, heading) if left else (0, 0, (heading + 1) % 4)


_MOVES = np.array([_move(heading, bool(code & 1), bool(code & 2)) for heading in range(4) for code in range(4)])
"""By 4 * heading + right + 2 * left. A table, not branches: nothing could predict the outline of a superpixel."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Outlines in the order of their labels; of a label, its exterior first, then its holes in raster order.

    vertices: int32 (n, 2), (row, col). Ring i is vertices[offsets[i] : offsets[i + 1]], its first vertex not repeated;
    offsets int64 (rings + 1,). labels: int32 (rings,). holes: bool (rings,).
    """

    vertices: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]
    holes: NDArray[np.bool_]


def trace(labels: NDArray[np.int32]) -> Rings:
    """Return the rings of every region of `labels`, int32 (rows, cols), each label one 4-connected region; 0 is none.

    Time is linear in pixels and in the length of the outlines. The rings of a region do not depend on what else
    there is, nor on where the array begins, but for the offset of their vertices.

    Raises ValueError for another shape or type.
    """
    if labels.ndim != 2 or labels.dtype != np.int32:
        raise ValueError(f"labels must be int32 (rows, cols), not {labels.dtype} {labels.shape}")
    padded = np.pad(labels, 1)
    vertices, offsets, found, holes = _trace(padded, _MOVES, _count_corners(padded))
    order = np.argsort(found, kind="stable")
    return arranged(vertices, offsets, found, holes[order], order)


def arranged(
    vertices: NDArray[np.int32], offsets: NDArray[np.int64], labels: NDArray[np.int32], holes: NDArray[np.bool_],
    order: NDArray[np.int64],
) -> Rings:  # fmt: skip
    """Return rings in another order; holes is in that order already."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(offsets)[order])])
    gathered: NDArray[np.int32] = _gather(vertices, offsets, order, ends)
    return Rings(gathered, ends, labels[order], holes)


def polygons(rings: Rings, transform: Any, origin: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return one polygon for each exterior with the holes that follow it, as WKB: all bytes, and the offsets
    (polygons + 1,) between them.

    transform: affine, from (col, row) of the scene to the CRS. origin: (row, col) in the scene of the traced
    array's first pixel. Exteriors are counter-clockwise in the CRS (RFC 7946), for either sense of the transform.
    """
    wkb: tuple[NDArray[np.uint8], NDArray[np.int64]]
    wkb = _placed(
        rings.vertices, rings.offsets, rings.holes, bool(transform.determinant > 0), np.array(origin, np.int64),
        np.array(transform[:6], np.float64),
    )  # fmt: skip
    return wkb


def corners(rings: Rings, transform: Any, origin: tuple[int, int]) -> NDArray[np.float64]:
    """Return the vertices of the rings in the CRS, (n, 2), x and y."""
    rows, cols = (rings.vertices[:, axis].astype(np.int64) + origin[axis] for axis in (0, 1))
    points = np.empty((len(rows), 2), "<f8")
    points[:, 0] = cols * transform.a + rows * transform.b + transform.c
    points[:, 1] = cols * transform.d + rows * transform.e + transform.f
    return points


def encode(points: NDArray[np.float64], rings: Rings, backwards: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return `polygons` of rings whose vertices lie at `points`, taken backwards where they are clockwise there."""
    wkb: tuple[NDArray[np.uint8], NDArray[np.int64]]
    wkb = _wkb(points.view(np.int64), rings.offsets, rings.holes, backwards)
    return wkb


@compiled
def _count_corners(labels: Any) -> int:
    """Return how many vertices all rings have; `labels` has a border of 0."""
    rows, cols = labels.shape
    count = 0
    for row in range(1, rows):
        for col in range(1, cols):
            # The four pixels around a corner of the lattice, each with its two neighbours and the one opposite.
            a, b = labels[row - 1, col - 1], labels[row - 1, col]
            c, d = labels[row, col - 1], labels[row, col]
            ab, cd, ac, bd = a == b, c == d, a == c, b == d
            count += (a != 0) & (ab == ac) & (not ab or a != d)
            count += (b != 0) & (ab == bd) & (not ab or b != c)
            count += (c != 0) & (cd == ac) & (not cd or c != b)
            count += (d != 0) & (cd == bd) & (not cd or d != a)
    return count


@compiled
def _trace(labels: Any, moves: Any, corners: int) -> Any:
    """Return vertices, offsets, labels and holes in the order of the rings' first pixels; `labels` has a border of 0.

    Every ring has an edge with its region below, so it is met as such an edge that no ring before has walked.
    """
    cols = labels.shape[1]
    flat, walked = labels.ravel(), np.zeros(labels.size, np.bool_)
    vertices, ends = np.empty((corners + 1, 2), np.int32), np.zeros(corners // 4 + 1, np.int64)
    found, holes = np.empty(corners // 4, np.int32), np.empty(corners // 4, np.bool_)
    rings = 0
    for first in range(cols, labels.size - cols):
        label = flat[first]
        if label == 0 or flat[first - cols] == label or walked[first]:
            continue
        ends[rings + 1], holes[rings] = _walk(flat, walked, cols, first, moves, vertices, ends[rings])
        found[rings] = label
        rings += 1
    return vertices[:corners], ends[: rings + 1].copy(), found[:rings].copy(), holes[:rings].copy()


@compiled
def _walk(flat: Any, walked: Any, cols: int, first: int, moves: Any, vertices: Any, count: int) -> tuple[int, bool]:
    """Walk the ring with the upper edge of pixel `first`; return the number of vertices now, and whether it is a hole.

    An edge is to the right, along the heading, of the pixel (row, col), which is the region's.
    """
    label = flat[first]
    row, col, heading, turns = first // cols, first % cols, 0, 0
    while True:
        at = row * cols + col
        walked[at] |= heading == 0
        left = at + moves[4 * heading + 2, 0] * cols + moves[4 * heading + 2, 1]
        aside = 4 * ((heading + 3) & 3) + 2
        right = left + moves[aside, 0] * cols + moves[aside, 1]
        code = 4 * heading + (flat[right] == label) + 2 * (flat[left] == label)
        # The end of the edge, without the border; it stays only where the ring turns.
        vertices[count, 0] = row - 1 + (heading == 1 or heading == 2)
        vertices[count, 1] = col - 1 + (heading >= 2)
        following = moves[code, 2]
        count += following != heading
        turns += ((following - heading + 1) & 3) - 1
        row, col, heading = row + moves[code, 0], col + moves[code, 1], following
        if heading == 0 and row * cols + col == first:
            return count, turns < 0


@compiled
def _gather(vertices: Any, offsets: Any, order: Any, ends: Any) -> Any:
    gathered = np.empty((ends[-1], 2), np.int32)
    for i in range(len(order)):
        gathered[ends[i] : ends[i + 1]] = vertices[offsets[order[i]] : offsets[order[i] + 1]]
    return gathered


@inlined
def _put(out: Any, at: int, value: int) -> int:
    for byte in range(4):
        out[at + byte] = (value >> (8 * byte)) & 255
    return at + 4


@inlined
def _put_word(out: Any, at: int, word: int) -> None:
    # Written out, for then the compiler makes one store of it.
    out[at], out[at + 1], out[at + 2], out[at + 3] = word, word >> 8, word >> 16, word >> 24
    out[at + 4], out[at + 5], out[at + 6], out[at + 7] = word >> 32, word >> 40, word >> 48, word >> 56


@compiled
def _wkb(words: Any, offsets: Any, holes: Any, backwards: bool) -> Any:
    """Return the little-endian WKB of all polygons, and where each begins. words: int64 (n, 2), the bits of x and y."""
    rings = len(holes)
    polygons = rings - holes.sum()
    out = np.empty(polygons * 9 + rings * 4 + (len(words) + rings) * 16, np.uint8)
    begins, at, count = np.zeros(polygons + 1, np.int64), 0, 0
    ring = 0
    while ring < rings:
        stop = ring + 1
        while stop < rings and holes[stop]:
            stop += 1
        out[at] = 1
        at = _put(out, _put(out, at + 1, _POLYGON), stop - ring)
        for i in range(ring, stop):
            start, length = offsets[i], offsets[i + 1] - offsets[i]
            at = _put(out, at, length + 1)
            point, step = start, 1
            if backwards:
                _put_word(out, at, words[start, 0])
                _put_word(out, at + 8, words[start, 1])
                at += 16
                point, step = start + length - 1, -1
            for _ in range(length):
                _put_word(out, at, words[point, 0])
                _put_word(out, at + 8, words[point, 1])
                at += 16
                point += step
            if not backwards:
                _put_word(out, at, words[start, 0])
                _put_word(out, at + 8, words[start, 1])
                at += 16
        ring = stop
        count += 1
        begins[count] = at
    return out, begins


@compiled
def _placed(vertices: Any, offsets: Any, holes: Any, backwards: bool, origin: Any, transform: Any) -> Any:
    """Return `_wkb` of vertices that are (row, col) from the scene's pixel `origin` on."""
    a, b, c, d, e, f = transform
    points = np.empty((len(vertices), 2), np.float64)
    for k in range(len(vertices)):
        row, col = np.float64(vertices[k, 0] + origin[0]), np.float64(vertices[k, 1] + origin[1])
        points[k, 0] = col * a + row * b + c
        points[k, 1] = col * d + row * e + f
    return _wkb(points.view(np.int64), offsets, holes, backwards)
