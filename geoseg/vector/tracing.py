"""Rings of an array of labels: the sweep of `geoseg.vector.sweep`, for an array that is all there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.outlines import outlines
from geoseg.vector.rings import Rings, reordered
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import EDGES, VALUE


def trace(labels: NDArray[np.int32]) -> Rings:
    """Return the rings of all regions, ordered by label.

    The rings of a region depend neither on the other regions nor, but for an offset of all vertices, on where the
    array begins. Time is linear in the number of pixels and the length of the outlines.

    Args:
        labels: int32 (rows, cols); every label is one 4-connected region, 0 is no region.

    Raises:
        ValueError: another shape or dtype.
    """
    if labels.ndim != 2 or labels.dtype != np.int32:
        raise ValueError(f"labels must be int32 (rows, cols), not {labels.dtype} {labels.shape}")
    if not labels.size:
        return _joined([])
    sweep, weights, batches, row = Sweep(labels.shape[1]), np.ones((len(labels), 1), np.int64), [], 0
    while row < len(labels):
        row = sweep.advance(labels, row, weights)
        if sweep.due:
            batches.append(_take(sweep))
    sweep.finish()
    return _joined([*batches, _take(sweep)])


def _take(sweep: Sweep) -> Rings:
    closed = sweep.take()
    rings, _, freed = outlines(closed, sweep.edges)
    sweep.release(freed, int(closed[:, EDGES].sum()))
    return Rings(rings.vertices, rings.offsets, closed[rings.labels, VALUE].astype(np.int32), rings.holes)


def _joined(batches: list[Rings]) -> Rings:
    """Return the rings of all batches by label, holes in the raster order of the pixels below their first edges."""
    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(batch.offsets) for batch in batches)])
    vertices = np.concatenate([np.empty((0, 2), np.int32), *(batch.vertices for batch in batches)])
    labels = np.concatenate([np.empty(0, np.int32), *(batch.labels for batch in batches)])
    holes = np.concatenate([np.empty(0, np.bool_), *(batch.holes for batch in batches)])
    rings = Rings(vertices, np.cumsum(lengths), labels, holes)
    for hole in np.flatnonzero(holes):
        ring = vertices[rings.offsets[hole] : rings.offsets[hole + 1]]
        ring[:] = _from_lower_edge(ring)
    first = vertices[rings.offsets[:-1]]
    return reordered(rings, np.lexsort((first[:, 1], first[:, 0], holes, labels)))


def _from_lower_edge(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a hole that begins at the first corner, in raster order, where an edge above the region ends."""
    before = np.roll(ring, 1, axis=0)
    ends = np.flatnonzero(before[:, 1] > ring[:, 1])
    return np.roll(ring, -ends[np.lexsort((ring[ends, 1], ring[ends, 0]))[0]], axis=0)
