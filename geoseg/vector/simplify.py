"""Simplification of a coverage: common edges move together, so that no gap and no overlap appears."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

Wkb = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""All bytes of some geometries, and the offsets between them."""


def simplify(parts: Sequence[Wkb], tolerance: float) -> list[Wkb]:
    """Return polygons with fewer vertices.

    parts: together a coverage, in which neighbours share all vertices of their common edges.
    tolerance: the square root of the area of the largest triangle of neighbouring vertices that may go (Visvalingam and
    Whyatt 1993, as GEOS takes it), in units of the coordinates. Edges with one side alone stay as they are: that of the
    raster, and those to nodata.
    """
    geometries = np.concatenate([_geometries(part) for part in parts]) if parts else np.empty(0, object)
    simple = shapely.coverage_simplify(geometries, tolerance, simplify_boundary=False)
    simple = shapely.orient_polygons(simple)
    ends = np.cumsum([0, *(len(offsets) - 1 for _, offsets in parts)])
    return [_wkb(simple[start:stop]) for start, stop in pairwise(ends.tolist())]


def _geometries(part: Wkb) -> NDArray[np.object_]:
    wkb, offsets = part
    content = wkb.tobytes()
    pieces = [content[start:stop] for start, stop in pairwise(offsets.tolist())]
    found: NDArray[np.object_] = shapely.from_wkb(pieces)
    return found


def _wkb(geometries: NDArray[np.object_]) -> Wkb:
    pieces = shapely.to_wkb(geometries, byte_order=1).tolist()
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    return np.frombuffer(b"".join(pieces), np.uint8), offsets
