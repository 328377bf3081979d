"""Polygons whose longitudes run on beyond 180 degrees, cut there (RFC 7946, 3.1.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy
from geoseg.vector.rings import Rings
from geoseg.vector.wkb import Wkb, encode_points

if TYPE_CHECKING:
    import shapely
    from shapely import affinity, geometry
else:
    shapely = lazy("shapely")
    affinity = lazy("shapely.affinity")
    geometry = lazy("shapely.geometry")

Floats = NDArray[np.float64]

_DIGITS = 9
"""Decimals of a degree that are written."""

_CLOSE = 1.0001e-7
"""Degrees from the antimeridian within which GDAL writes 180: a number with so many nines counts as a rounded one."""


def cut_at_antimeridian(points: Floats, rings: Rings, clockwise: bool) -> Wkb:
    """Return the WKB of polygons with longitudes from -180 to 180; one that crosses 180 degrees becomes two or more.

    Args:
        points: (n, 2), longitude and latitude of each vertex of `rings`; longitudes are continuous along a ring.
        rings: outlines; their own vertices are not used.
        clockwise: whether their exteriors are clockwise in longitude and latitude.
    """
    points = points.copy()
    longitude = points[:, 0]
    # Otherwise a sliver in between would become a line in the file.
    nearest = 360 * np.rint((longitude - 180) / 360) + 180
    close = np.abs(longitude - nearest) <= _CLOSE
    longitude[close] = nearest[close]
    first_rings = np.flatnonzero(~rings.holes)
    starts = rings.offsets[first_rings]
    west, east = (extreme.reduceat(longitude, starts) for extreme in (np.minimum, np.maximum))
    turns = np.floor((west + 180) / 360)
    longitude -= 360 * np.repeat(turns, np.diff(np.append(starts, len(points))))
    crossing = np.flatnonzero(east - 360 * turns > 180)
    content, ends = encode_points(points, rings, clockwise)
    if not len(crossing):
        return content, ends
    pieces: list[NDArray[np.uint8]] = []
    sizes = np.diff(ends)
    done = 0
    last_rings = np.append(first_rings, len(rings.holes))
    for polygon in crossing.tolist():
        outlines = [
            points[rings.offsets[ring] : rings.offsets[ring + 1]]
            for ring in range(last_rings[polygon], last_rings[polygon + 1])
        ]
        wkb = np.frombuffer(shapely.to_wkb(_cut(outlines), byte_order=1), np.uint8)
        pieces += [content[done : ends[polygon]], wkb]
        sizes[polygon], done = len(wkb), ends[polygon + 1]
    pieces.append(content[done:])
    return np.concatenate(pieces), np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _cut(outlines: list[Floats]) -> Any:
    """The polygon of an exterior and holes, whose longitudes begin within -180 to 180, as geometry within them."""
    whole = shapely.Polygon(outlines[0], outlines[1:])
    west, _, east, _ = whole.bounds
    parts = []
    for turn in range(int(np.ceil((east - 180) / 360)) + 1):
        side = whole.intersection(shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90))
        parts += [affinity.translate(part, -360 * turn) for part in _polygons(side)]
    if east - west >= 360:
        # It goes all the way around, so that its ends meet.
        parts = _polygons(shapely.union_all(parts))
    if not parts:
        # Narrower than what can be written: pixels of less than two centimetres.
        return shapely.transform(whole, lambda points: np.clip(points, -180, 180))
    return (
        shapely.MultiPolygon([geometry.polygon.orient(part) for part in parts])
        if len(parts) > 1
        else geometry.polygon.orient(parts[0])
    )


def _polygons(geometry: Any) -> list[Any]:
    """The polygons of a geometry that are still polygons when their coordinates are rounded."""
    found = []
    for part in shapely.get_parts(geometry):
        if part.geom_type == "Polygon":
            rounded = shapely.transform(part, lambda points: np.round(points, _DIGITS))
            found += [part] if rounded.is_valid and rounded.area > 0 else _polygons_of_grid(part)
    return found


def _polygons_of_grid(part: Any) -> list[Any]:
    snapped = shapely.set_precision(part, 10.0**-_DIGITS)
    return [piece for piece in shapely.get_parts(snapped) if piece.geom_type == "Polygon" and piece.area > 0]
