"""The STAC Item of a map: its position and time, its files, and how they were made, for catalogues.

STAC 1.1.0 with the extensions in `_EXTENSIONS`. The Item lies beside the files and names them by relative paths.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from geoseg.classes import NODATA, LandClass
from geoseg.files.record import source_date
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.outputs.footprint import footprint
from geoseg.raster.georeference import Georeference, authority_code
from geoseg.units import Period, stamp

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0", "classification/v2.0.0", "raster/v2.0.0", "file/v2.1.0", "processing/v1.2.0",
    )
)  # fmt: skip

_LEVEL = "L4"
"""CEOS processing level: derived from measurements by a model."""

MULTIHASH_SHA256 = "1220"
"""Prefix of a SHA-256 as a multihash: the code of the hash function and the length, 32 bytes."""

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
"""Media type of a cloud-optimised GeoTIFF."""


@dataclass(frozen=True)
class Asset:
    """A file of the map.

    Attributes:
        path: The file; it exists.
        title: What it is, for people.
        media_type: Its media type.
        roles: Its roles in STAC, such as 'data' or 'metadata'.
        sha256: Its SHA-256, hexadecimal.
        bands: Its bands by `class_band` or `confidence_band`; empty for all but rasters.
    """

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
    """Return the Item as JSON.

    With SOURCE_DATE_EPOCH set, that is the time of creation.

    Args:
        path: Where the Item will be written; paths of assets are relative to its folder.
        identity: Its id.
        georeference: Georeference of the rasters.
        shape: Size (rows, cols) of the rasters.
        period: When the scene was taken.
        assets: Key -> file.
        properties: Further properties, such as those by `processing`.

    Raises:
        InputError: The rasters have no outline on the globe; see `footprint`.
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
    """Return the properties of the processing extension.

    Args:
        lineage: How the map was made, in a sentence.
        software: Name -> version.
    """
    return {"processing:level": _LEVEL, "processing:lineage": lineage, "processing:software": dict(software)}


def class_band(name: str, dtype: str, classes: Iterable[LandClass], sampling: str) -> dict[str, Any]:
    """Return the band of a class raster.

    Args:
        name: Name of the band.
        dtype: Type of its pixels.
        classes: Its classes.
        sampling: 'Area' or 'Point', what a pixel represents.
    """
    nodata = {"value": NODATA, "name": "nodata", "title": "nodata", "nodata": True}
    return {**_band(name, dtype, sampling), "classification:classes": [nodata, *class_entries(classes)]}


def confidence_band(name: str, sampling: str) -> dict[str, Any]:
    """Return the band of a confidence raster, with values 1..255 in units of 1/255. sampling: see `class_band`."""
    return {**_band(name, "uint8", sampling), "raster:scale": 1 / 255, "raster:offset": 0}


def _band(name: str, dtype: str, sampling: str) -> dict[str, Any]:
    return {"name": name, "data_type": dtype, "nodata": NODATA, "raster:sampling": sampling.lower()}


def class_entries(classes: Iterable[LandClass]) -> list[dict[str, Any]]:
    """Describe the classes; STAC's class names have only letters, digits and hyphens here, and are unique."""
    taken = {"nodata"}
    found = []
    for entry in classes:
        latin = unicodedata.normalize("NFKD", entry.name).encode("ascii", "ignore").decode()
        name = re.sub(r"[^0-9a-z]+", "-", latin.lower()).strip("-") or f"class-{entry.id}"
        while name in taken:
            name = f"{name}-{entry.id}"
        taken.add(name)
        hint = entry.colour.removeprefix("#").upper()
        found.append({"value": entry.id, "name": name, "title": entry.name, "color_hint": hint})
    return found


def _projection(georeference: Georeference, shape: Sequence[int]) -> dict[str, Any]:
    crs = pyproj.CRS.from_wkt(str(georeference.wkt))
    code = authority_code(crs)
    # If no code stands for exactly this CRS, it is described in full.
    description = {"proj:code": ":".join(code)} if code else {
        "proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019"), "proj:projjson": crs.to_json_dict()
    }  # fmt: skip
    t = georeference.transform
    bounds = georeference.bounds(Window.of(0, 0, *shape))
    return {
        **description,
        # The projection extension has no field for it.
        **({} if georeference.epoch is None else {"geoseg:coordinate_epoch": georeference.epoch}),
        "proj:shape": list(shape),
        "proj:bbox": list(bounds),
        "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
    }


def _asset(asset: Asset, folder: Path) -> dict[str, Any]:
    relative = Path(os.path.relpath(asset.path, folder)).as_posix()
    return {
        "href": quote(relative if relative.startswith("../") else f"./{relative}"),
        "title": asset.title,
        "type": asset.media_type,
        "roles": list(asset.roles),
        "file:size": asset.path.stat().st_size,
        "file:checksum": MULTIHASH_SHA256 + asset.sha256,
        **({"bands": [dict(band) for band in asset.bands]} if asset.bands else {}),
    }
