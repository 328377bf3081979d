"""The outline of a raster in longitude and latitude, as GeoJSON (RFC 7946)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyproj
    import shapely
    from shapely import affinity, geometry
else:
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")
    affinity = lazy("shapely.affinity")
    geometry = lazy("shapely.geometry")

_POINTS = 64
"""Points along each side of the raster, before the outline is simplified."""

_DIGITS = 7
"""Decimals of a degree; the last one is about a centimetre."""

_TOLERANCE = 1e-5
"""Tolerance of the simplification, as a share of the size of the raster."""


def footprint(georeference: Georeference, window: Window) -> tuple[dict[str, Any], list[float]]:
    """Return the outline of a window.

    Args:
        georeference: Georeference of the raster.
        window: Pixels to outline.

    Returns:
        The geometry, a Polygon, or a MultiPolygon cut at the antimeridian if the window crosses it; and its bounding
        box (west, south, east, north) in degrees, with west > east in the latter case.

    Raises:
        InputError: The raster has no CRS, its CRS does not lead to longitude and latitude, or the outline leaves the
            area of the CRS or encloses a pole. The message is meant to follow the path of the raster.
    """
    longitude, latitude = _outline(georeference, window)
    # Neighbouring points are close together, so a jump in longitude is a crossing of the antimeridian.
    longitude = np.unwrap(longitude, period=360)
    if abs(longitude[-1] - longitude[0]) > 180:
        raise InputError("encloses a pole, so it has no outline in longitude and latitude")
    longitude -= 360 * np.floor((longitude.min() + 180) / 360)
    latitude = latitude.clip(-90, 90)
    points = np.stack([longitude, latitude], axis=1)
    west, south, east, north = (round(float(v), _DIGITS) for v in (*points.min(axis=0), *points.max(axis=0)))
    ring = shapely.Polygon(points).simplify(_TOLERANCE * max(east - west, north - south))
    if east <= 180:
        return _geojson([ring]), [west, south, east, north]
    sides = [
        ring.intersection(shapely.box(-180, -90, 180, 90)),
        affinity.translate(ring.intersection(shapely.box(180, -90, 540, 90)), -360),
    ]
    # Where the raster goes all the way around, the parts meet at their other ends as well and are joined.
    polygons = [part for part in shapely.get_parts(shapely.union_all(sides)) if part.geom_type == "Polygon"]
    bbox = [-180.0, south, 180.0, north] if east - west >= 360 else [west, south, round(east - 360, _DIGITS), north]
    return _geojson(polygons), bbox


def _outline(georeference: Georeference, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of points along the outline; the last point is the first one."""
    if georeference.wkt is None:
        raise InputError("has no CRS")
    (top, bottom), (left, right) = [(span.start, span.stop) for span in (window.rows, window.cols)]
    corners = np.array([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], dtype=np.float64)
    along = np.linspace(0, 1, _POINTS, endpoint=False)[:, None]
    sides = [a + along * (b - a) for a, b in pairwise(corners)]
    cols, rows = np.concatenate([*sides, corners[:1]]).T
    t = georeference.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    try:
        globe = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(georeference.wkt), "EPSG:4326", always_xy=True)
        longitude, latitude = globe.transform(x, y)
    except pyproj.exceptions.ProjError as error:
        raise InputError("has a CRS that cannot be transformed to longitude and latitude") from error
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise InputError("extends beyond the area where its CRS is valid")
    return np.asarray(longitude), np.asarray(latitude)


def _geojson(polygons: list[Any]) -> dict[str, Any]:
    rings = [geometry.mapping(geometry.polygon.orient(part))["coordinates"] for part in polygons]
    coordinates = [[np.round(ring, _DIGITS).tolist() for ring in polygon] for polygon in rings]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}
