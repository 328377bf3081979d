"""A STAC Item of one map: where and when it is, what its files are, and how they came to be, for catalogues.

STAC 1.1.0 with the extensions of `_EXTENSIONS`; the Item lies beside the files and names them by relative paths.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyproj
from numpy.typing import NDArray
from shapely import Polygon, box, get_parts, union_all
from shapely.affinity import translate
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from geoseg.classes import NODATA, LandClass
from geoseg.errors import InputError
from geoseg.files.record import source_date
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference, true_code
from geoseg.units import Period, stamp

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0", "classification/v2.0.0", "raster/v2.0.0", "file/v2.1.0", "processing/v1.2.0",
    )
)  # fmt: skip

_LEVEL = "L4"
"""What is derived from measurements by a model, after CEOS."""

_MULTIHASH_SHA256 = "1220"
"""Prefix of a SHA-256 as a multihash: the function's code, and 32 bytes."""

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class Asset:
    """A file of the map: what it is, its media type and roles, its SHA-256 (hexadecimal) and its bands, if any."""

    path: Path
    title: str
    media_type: str
    roles: tuple[str, ...]
    sha256: str
    bands: tuple[Mapping[str, Any], ...] = field(default=())


def stac_item(
    path: Path, identity: str, georeference: Georeference, shape: tuple[int, int], period: Period,
    assets: Mapping[str, Asset], properties: Mapping[str, Any],
) -> bytes:  # fmt: skip
    """Return the Item that is to lie at `path`, as JSON.

    georeference: of the first pixel of the rasters; shape: theirs, (rows, cols). period: when the scene was taken.
    properties: others; see `processing`. With SOURCE_DATE_EPOCH it is also the time of creation.

    Raises:
        InputError: rasters that have no place on the globe; see `footprint`.
    """
    geometry, bbox = footprint(georeference, Window.of(0, 0, *shape))
    instant = period.start == period.end
    times = {"datetime": stamp(period.start)} if instant else {
        "datetime": None, "start_datetime": stamp(period.start), "end_datetime": stamp(period.end)
    }  # fmt: skip
    created = source_date()
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": identity,
        "geometry": geometry,
        "bbox": bbox,
        "properties": {
            **times,
            **({"created": stamp(created)} if created else {}),
            **_projection(georeference, shape),
            **properties,
        },
        "links": [],
        "assets": {name: _asset(asset, path.parent) for name, asset in assets.items()},
    }
    return (json.dumps(item, indent=1, ensure_ascii=False) + "\n").encode()


def processing(lineage: str, software: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties that say how the map was made: a sentence, and the version of each software."""
    return {"processing:level": _LEVEL, "processing:lineage": lineage, "processing:software": dict(software)}


def class_band(name: str, dtype: str, classes: Iterable[LandClass], sampling: str) -> dict[str, Any]:
    """Return the band of a class raster. sampling: 'Area' or 'Point', what a pixel stands for."""
    nodata = {"value": NODATA, "name": "nodata", "title": "nodata", "nodata": True}
    return {**_band(name, dtype, sampling), "classification:classes": [nodata, *_classes(classes)]}


def confidence_band(name: str, sampling: str) -> dict[str, Any]:
    """Return the band of a confidence raster: 1..255, in units of 1/255."""
    return {**_band(name, "uint8", sampling), "raster:scale": 1 / 255, "raster:offset": 0}


def _band(name: str, dtype: str, sampling: str) -> dict[str, Any]:
    return {"name": name, "data_type": dtype, "nodata": NODATA, "raster:sampling": sampling.lower()}


def _classes(classes: Iterable[LandClass]) -> list[dict[str, Any]]:
    """The classes; a name for machines has letters, digits, - and _ only, and no two are alike."""
    taken = {"nodata"}
    described = []
    for entry in classes:
        latin = unicodedata.normalize("NFKD", entry.name).encode("ascii", "ignore").decode()
        name = re.sub(r"[^0-9a-z]+", "-", latin.lower()).strip("-") or f"class-{entry.id}"
        while name in taken:
            name = f"{name}-{entry.id}"
        taken.add(name)
        hint = entry.colour.removeprefix("#").upper()
        described.append({"value": entry.id, "name": name, "title": entry.name, "color_hint": hint})
    return described


def _projection(georeference: Georeference, shape: Sequence[int]) -> dict[str, Any]:
    crs = pyproj.CRS.from_wkt(str(georeference.wkt))
    code = true_code(crs)
    # A code stands for the CRS only where there is one; else its whole description does.
    place = {"proj:code": ":".join(code)} if code else {
        "proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019"), "proj:projjson": crs.to_json_dict()
    }  # fmt: skip
    t = georeference.transform
    bounds = georeference.bounds(Window.of(0, 0, *shape))
    return {
        **place, "proj:shape": list(shape), "proj:bbox": list(bounds), "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f]
    }  # fmt: skip


def _asset(asset: Asset, folder: Path) -> dict[str, Any]:
    relative = Path(os.path.relpath(asset.path, folder)).as_posix()
    return {
        "href": quote(relative if relative.startswith("../") else f"./{relative}"),
        "title": asset.title,
        "type": asset.media_type,
        "roles": list(asset.roles),
        "file:size": asset.path.stat().st_size,
        "file:checksum": _MULTIHASH_SHA256 + asset.sha256,
        **({"bands": [dict(band) for band in asset.bands]} if asset.bands else {}),
    }


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
