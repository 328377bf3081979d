"""Simplification of a coverage: neighbours' common edges move together, so that neither gap nor overlap appears."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy
from geoseg.vector.wkb import Wkb

if TYPE_CHECKING:
    import shapely
else:
    shapely = lazy("shapely")


def simplify(batches: Sequence[Wkb], tolerance: float) -> list[Wkb]:
    """Return the polygons of all batches with fewer vertices (Visvalingam and Whyatt 1993, by GEOS).

    Edges on the boundary of the coverage, which are those of the raster and those next to nodata, stay as they are.

    Args:
        batches: together a coverage, in which neighbours share all vertices of their common edges.
        tolerance: square root of the largest area of a triangle of consecutive vertices whose middle one is removed, in
            units of the coordinates.
    """
    geometries = np.concatenate([_decode(batch) for batch in batches]) if batches else np.empty(0, object)
    simplified = shapely.coverage_simplify(geometries, tolerance, simplify_boundary=False)
    simplified = shapely.orient_polygons(simplified)
    ends = np.cumsum([0, *(len(offsets) - 1 for _, offsets in batches)])
    return [_encode(simplified[start:stop]) for start, stop in pairwise(ends.tolist())]


def _decode(batch: Wkb) -> NDArray[np.object_]:
    wkb, offsets = batch
    content = wkb.tobytes()
    geometries: NDArray[np.object_] = shapely.from_wkb(
        [content[start:stop] for start, stop in pairwise(offsets.tolist())]
    )
    return geometries


def _encode(geometries: NDArray[np.object_]) -> Wkb:
    pieces = shapely.to_wkb(geometries, byte_order=1).tolist()
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    return np.frombuffer(b"".join(pieces), np.uint8), offsets
