"""Polygons of the vertices that a reader found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy

if TYPE_CHECKING:
    import shapely
else:
    shapely = lazy("shapely")

BATCH = 4096
"""Geometries that are read at a time."""


def polygon(rings: Sequence[NDArray[np.float64]]) -> Any:
    """Return a polygon of rings (n, 2), the exterior first; a ring that is open is closed.

    Raises:
        ValueError: A vertex is not finite, or a ring has fewer than three.
    """
    closed = []
    for ring in rings:
        if not np.isfinite(ring).all():
            raise ValueError("a vertex is not finite")
        if len(ring) < 3:
            raise ValueError("a ring has fewer than three vertices")
        closed.append(ring if (ring[0] == ring[-1]).all() and len(ring) > 3 else np.vstack([ring, ring[:1]]))
    return shapely.Polygon(closed[0], closed[1:]) if closed else shapely.Polygon()


def feature(polygons: Sequence[Any]) -> Any:
    """Return the polygons of one feature as one geometry; an empty one if there are none."""
    if len(polygons) == 1:
        return polygons[0]
    return shapely.MultiPolygon(list(polygons)) if polygons else shapely.Polygon()


def from_wkb(blobs: Sequence[bytes | None]) -> NDArray[Any]:
    """Return the geometries of some WKB, in an array of dtype object, (n,), with None for None.

    Raises:
        shapely.errors.ShapelyError: One is malformed.
    """
    with np.errstate(invalid="ignore"):
        return np.array(shapely.from_wkb(np.array(blobs, object)), object, ndmin=1)


def batches(shapes: Iterable[Any]) -> Iterator[NDArray[Any]]:
    """Yield geometries in arrays of dtype object, (n,)."""
    batch = []
    for shape in shapes:
        batch.append(shape)
        if len(batch) == BATCH:
            yield np.array(batch, object)
            batch = []
    if batch:
        yield np.array(batch, object)
