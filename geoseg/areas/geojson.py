"""Reads polygons from GeoJSON (RFC 7946 and its predecessor of 2008) and from GeoJSON text sequences (RFC 8142)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.shapes import batches, feature, polygon
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_WGS84 = "OGC:CRS84"
_POLYGONAL = ("Polygon", "MultiPolygon")
_OTHERS = ("Point", "MultiPoint", "LineString", "MultiLineString")
_MAX_DEPTH = 8


def open_geojson(content: bytes) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS and the polygons of a text, in batches.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: The text is not GeoJSON; while the polygons are
            read, too.
        pyproj.exceptions.CRSError: The CRS is unknown.
    """
    documents = _documents(content.decode("utf-8-sig"))
    return _crs(documents[0]), batches(shape for document in documents for shape in _shapes(document))


def _documents(text: str) -> list[Any]:
    """The JSON values of the text: one, or in a sequence one for each line or record."""
    if "\x1e" not in text:
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
    records = text.split("\x1e") if "\x1e" in text else text.splitlines()
    return [json.loads(record) for record in records if record.strip()]


def _crs(document: Any) -> pyproj.CRS | None:
    if "crs" not in document:
        return pyproj.CRS.from_user_input(_WGS84)
    crs = document["crs"]
    if crs is None:
        return None
    if crs.get("type") != "name":
        raise ValueError("its member crs has no name")
    return pyproj.CRS.from_user_input(str(crs["properties"]["name"]))


def _shapes(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the polygons in a GeoJSON object, those of a feature as one geometry."""
    kind = None if value is None else value.get("type")
    if depth > _MAX_DEPTH:
        raise ValueError("collections are nested too deep")
    if kind == "FeatureCollection":
        for each in value["features"]:
            yield from _shapes(each, depth + 1)
    elif kind == "Feature":
        yield feature(list(_shapes(value["geometry"], depth + 1)))
    elif kind == "GeometryCollection":
        for geometry in value["geometries"]:
            yield from _shapes(geometry, depth + 1)
    elif kind in _POLYGONAL:
        parts = value["coordinates"]
        for part in [parts] if kind == "Polygon" else parts:
            yield polygon([np.array([vertex[:2] for vertex in ring], np.float64).reshape(-1, 2) for ring in part])
    elif value is not None and kind not in _OTHERS:
        raise ValueError(f"is JSON, but of type {str(kind)[:40]!r}")
