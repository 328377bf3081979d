"""Polygons with what a sweep knows of them, as columns: cut, put together, put in order, and kept as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.raster.ground import Ground
from geoseg.vector.frames import Arrays
from geoseg.vector.outlines import outlines
from geoseg.vector.perimeter import perimeters
from geoseg.vector.rings import Rings, reordered
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import EDGES, OUTER


class Outlined(NamedTuple):
    """n polygons.

    Attributes:
        closed: int64 (n, 6), the columns from VALUE to EDGES of closed components; see `geoseg.vector.sweep_kernels`.
        lasts: int64 (n,), (row << 32) | column of the last vertex in raster order. A sweep closes components in this
            order.
        lengths: int64 (n, 2), see `geoseg.vector.outlines`.
        rings: outlines, labelled 0..n - 1.
        perimeters: float64 (n,), in m, where they are not a matter of the lengths alone; else None.
    """

    closed: NDArray[np.int64]
    lasts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rings: Rings
    perimeters: NDArray[np.float64] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """The line at which a sweep closes each polygon, (n,)."""
        return self.lasts >> 32

    @property
    def edges(self) -> NDArray[np.int64]:
        """Number of edges that the sweep kept of each polygon, (n,)."""
        return self.closed[:, EDGES]


def outlined(closed: NDArray[np.int64], sweep: Sweep, ground: Ground) -> Outlined:
    """Return closed components of a sweep, int64 (n, 8), with their outlines; their edges go back to its pool."""
    rings, lengths, freed = outlines(closed, sweep.edges)
    sweep.release(freed, int(closed[:, EDGES].sum()))
    measured = None if ground.uniform else perimeters(ground, lengths, rings)
    return Outlined(closed[:, :OUTER], last_vertices(rings), lengths, rings, measured)


def last_vertices(rings: Rings) -> NDArray[np.int64]:
    """Return (row << 32) | column of the last vertex in raster order of each label, int64."""
    if not len(rings.labels):
        return np.empty(0, np.int64)
    places = (rings.vertices[:, 0].astype(np.int64) << 32) | rings.vertices[:, 1]
    starts = rings.offsets[:-1][~rings.holes]
    lasts: NDArray[np.int64] = np.maximum.reduceat(places, starts)
    return lasts


def cut(polygons: Outlined, start: int, stop: int) -> Outlined:
    """Return the polygons start..stop - 1."""
    rings = polygons.rings
    first, last = np.searchsorted(rings.labels, [start, stop]).tolist()
    offsets = rings.offsets[first : last + 1]
    vertices = rings.vertices[offsets[0] : offsets[-1]]
    return Outlined(
        polygons.closed[start:stop], polygons.lasts[start:stop], polygons.lengths[start:stop],
        Rings(vertices, offsets - offsets[0], rings.labels[first:last] - start, rings.holes[first:last]),
        None if polygons.perimeters is None else polygons.perimeters[start:stop],
    )  # fmt: skip


def together(pieces: Sequence[Outlined]) -> Outlined:
    """Return the polygons of all pieces, at least one, in their order."""
    if len(pieces) == 1:
        return pieces[0]
    rings = [piece.rings for piece in pieces]
    measured = [piece.perimeters for piece in pieces if piece.perimeters is not None]
    begins = np.cumsum([0, *(len(piece.closed) for piece in pieces)])
    sizes = np.concatenate([np.diff(part.offsets) for part in rings])
    labels = [part.labels + np.int32(begin) for part, begin in zip(rings, begins.tolist(), strict=False)]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return Outlined(
        np.concatenate([piece.closed for piece in pieces]), np.concatenate([piece.lasts for piece in pieces]),
        np.concatenate([piece.lengths for piece in pieces]),
        Rings(
            np.concatenate([part.vertices for part in rings]), offsets, np.concatenate(labels),
            np.concatenate([part.holes for part in rings]),
        ),
        np.concatenate(measured) if measured else None,
    )  # fmt: skip


def in_order(polygons: Outlined) -> Outlined:
    """Return the polygons in the order in which a sweep over the whole raster closes them."""
    order = np.argsort(polygons.lasts, kind="stable")
    firsts = np.searchsorted(polygons.rings.labels, np.arange(len(order) + 1))
    counts = np.diff(firsts)[order]
    begins = np.cumsum(counts) - counts
    chosen = np.arange(counts.sum()) - np.repeat(begins, counts) + np.repeat(firsts[:-1][order], counts)
    rings = reordered(polygons.rings, chosen)
    labels = np.repeat(np.arange(len(order), dtype=np.int32), counts)
    return Outlined(
        polygons.closed[order], polygons.lasts[order], polygons.lengths[order],
        Rings(rings.vertices, rings.offsets, labels, rings.holes),
        None if polygons.perimeters is None else polygons.perimeters[order],
    )  # fmt: skip


def to_arrays(polygons: Outlined) -> Arrays:
    """Return polygons as arrays, which compress well: of a ring, the first vertex and the steps to the others."""
    rings = polygons.rings
    return {
        "closed": np.ascontiguousarray(polygons.closed.T), "lasts": polygons.lasts, "lengths": polygons.lengths,
        "labels": rings.labels, "sizes": np.diff(rings.offsets), "firsts": rings.vertices[rings.offsets[:-1]],
        "steps": _steps(rings.vertices, rings.offsets),
        **({} if polygons.perimeters is None else {"perimeters": polygons.perimeters}),
    }  # fmt: skip


def from_arrays(arrays: Arrays) -> Outlined:
    """Return the polygons of `to_arrays`, whose integers may have other types now."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(arrays["sizes"].astype(np.int64))])
    labels = arrays["labels"].astype(np.int32)
    vertices = _vertices(arrays["firsts"].astype(np.int32), arrays["steps"], offsets)
    closed, lasts, lengths = (arrays[name].astype(np.int64) for name in ("closed", "lasts", "lengths"))
    rings = Rings(vertices, offsets, labels, np.diff(labels, prepend=np.int32(-1)) == 0)
    return Outlined(np.ascontiguousarray(closed.T), lasts, lengths, rings, arrays.get("perimeters"))


@compiled
def _steps(vertices: Any, offsets: Any) -> Any:
    """Return, for each vertex but the first of a ring, 2 * the step from the one before it, + 1 along a row; int64."""
    steps, at = np.empty(len(vertices) - len(offsets) + 1, np.int64), 0
    for ring in range(len(offsets) - 1):
        for k in range(offsets[ring] + 1, offsets[ring + 1]):
            down = np.int64(vertices[k, 0]) - vertices[k - 1, 0]
            along = np.int64(vertices[k, 1]) - vertices[k - 1, 1]
            steps[at] = 2 * down if along == 0 else 2 * along + 1
            at += 1
    return steps


@compiled
def _vertices(firsts: Any, steps: Any, offsets: Any) -> Any:
    vertices, at = np.empty((offsets[-1], 2), np.int32), 0
    for ring in range(len(offsets) - 1):
        row, col = np.int64(firsts[ring, 0]), np.int64(firsts[ring, 1])
        for k in range(offsets[ring], offsets[ring + 1]):
            if k > offsets[ring]:
                step = np.int64(steps[at])
                at += 1
                if step & 1:
                    col += step >> 1
                else:
                    row += step >> 1
            vertices[k, 0], vertices[k, 1] = row, col
    return vertices
