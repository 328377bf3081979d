"""Rings: the outlines of regions of pixels, exactly along the edges of the pixels.

A vertex is the (row, col) of a pixel's corner: pixel (r, c) has the corners (r, c), (r, c + 1), (r + 1, c + 1) and
(r + 1, c).

    (r, c) +--------+ (r, c + 1)        An exterior runs counter-clockwise as drawn here, rows
           | pixel  |                   downwards; a hole runs clockwise. So the region always
           | (r, c) |                   lies to the left of its rings.
    (r+1,c)+--------+ (r + 1, c + 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled


@dataclass(frozen=True, eq=False)
class Rings:
    """Outlines ordered by label; for each label the exterior comes first, then its holes.

    A ring has a vertex where it turns and, unless it was made with vertices at junctions (see `Sweep`), nowhere else.

    Attributes:
        vertices: int32 (n, 2), (row, col). Ring i is vertices[offsets[i] : offsets[i + 1]]; the first vertex is not
            repeated at its end.
        offsets: int64 (rings + 1,).
        labels: int32 (rings,), the region that the ring bounds.
        holes: bool (rings,).
    """

    vertices: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]
    holes: NDArray[np.bool_]


def reordered(rings: Rings, order: NDArray[np.int64]) -> Rings:
    """Return the same rings in the order of the indices `order`, (rings,)."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(rings.offsets)[order])])
    vertices: NDArray[np.int32] = _gather(rings.vertices, rings.offsets, order, offsets)
    return Rings(vertices, offsets, rings.labels[order], rings.holes[order])


@compiled
def _gather(vertices: Any, old_offsets: Any, order: Any, offsets: Any) -> Any:
    """Copy the vertices of ring order[i] to offsets[i] .. offsets[i + 1]."""
    gathered = np.empty((offsets[-1], 2), np.int32)
    for i in range(len(order)):
        gathered[offsets[i] : offsets[i + 1]] = vertices[old_offsets[order[i]] : old_offsets[order[i] + 1]]
    return gathered


def densified(rings: Rings, spacing: int) -> Rings:
    """Return the rings with a vertex wherever an edge crosses a row or a column that is a multiple of `spacing`.

    Rings that share an edge share these vertices as well.
    """
    vertices, count = rings.vertices.astype(np.int64), len(rings.vertices)
    following = np.arange(1, count + 1)
    following[rings.offsets[1:] - 1] = rings.offsets[:-1]
    axis = (vertices[:, 1] != vertices[following, 1]).astype(np.int64)
    start, stop = vertices[np.arange(count), axis], vertices[following, axis]
    first = np.minimum(start, stop) // spacing + 1
    last = (np.maximum(start, stop) - 1) // spacing
    sizes = 1 + np.maximum(last - first + 1, 0)
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    if begins[-1] == count:
        return rings
    owner = np.repeat(np.arange(count), sizes)
    step = np.arange(begins[-1]) - begins[owner]
    new = np.flatnonzero(step > 0)
    owners, steps = owner[new], step[new]
    dense = rings.vertices[owner]
    crossing = np.where(stop[owners] > start[owners], first[owners] + steps - 1, last[owners] - steps + 1)
    dense[new, axis[owners]] = crossing * spacing
    return Rings(dense, begins[rings.offsets], rings.labels, rings.holes)
