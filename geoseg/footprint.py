"""Where a raster lies on the globe: its outline in longitude and latitude (WGS 84), as GeoJSON (RFC 7946)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from shapely import Polygon, box, get_parts, union_all
from shapely.affinity import translate
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference

_POINTS = 64
"""Points along each side of the raster, before those are taken away that the outline does not need."""
_DIGITS = 7
"""Decimals of a degree: a centimetre."""
_TOLERANCE = 1e-5
"""Of the size of the raster: how far its outline may be from what is written."""


def footprint(georeference: Georeference, window: Window) -> tuple[dict[str, Any], list[float]]:
    """Return (geometry, bbox) of the outline of `window`: a Polygon, or a MultiPolygon cut at the antimeridian where it
    lies across; bbox is west, south, east, north, with west > east in that case.

    Raises:
        InputError: no CRS, one that does not lie on the globe, an outline that leaves it, or one around a pole.
    """
    longitude, latitude = _outline(georeference, window)
    # Neighbours along the outline are near each other, wherever the numbers jump.
    longitude = np.unwrap(longitude, period=360)
    if abs(longitude[-1] - longitude[0]) > 180:
        raise InputError("lies around a pole, which an outline in longitude and latitude cannot")
    longitude -= 360 * np.floor((longitude.min() + 180) / 360)
    latitude = latitude.clip(-90, 90)
    points = np.stack([longitude, latitude], axis=1)
    west, south, east, north = (round(float(v), _DIGITS) for v in (*points.min(axis=0), *points.max(axis=0)))
    ring = Polygon(points).simplify(_TOLERANCE * max(east - west, north - south))
    if east <= 180:
        return _geojson([ring]), [west, south, east, north]
    parts = [ring.intersection(box(-180, -90, 180, 90)), translate(ring.intersection(box(180, -90, 540, 90)), -360)]
    # Where they meet on the far side as well, they are the whole way round.
    polygons = [part for part in get_parts(union_all(parts)) if part.geom_type == "Polygon"]
    span = [-180.0, south, 180.0, north] if east - west >= 360 else [west, south, round(east - 360, _DIGITS), north]
    return _geojson(polygons), span


def _outline(georeference: Georeference, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of points along the outline, the first of them last too."""
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
        raise InputError("has a CRS that does not lead to longitude and latitude") from error
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise InputError("reaches out of what its CRS can show")
    return np.asarray(longitude), np.asarray(latitude)


def _geojson(polygons: list[Any]) -> dict[str, Any]:
    shapes = [mapping(orient(polygon))["coordinates"] for polygon in polygons]
    coordinates = [[np.round(ring, _DIGITS).tolist() for ring in shape] for shape in shapes]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}
