"""What a vector file holds, in a few facts, without reading its geometries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import InputError, first_line
from geoseg.lazy import lazy
from geoseg.vector.tiles import PIECE, count_polygons

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
    from pyarrow import parquet
else:
    pa = lazy("pyarrow")
    parquet = lazy("pyarrow.parquet")
    pyogrio = lazy("pyogrio")

MARKS = {
    ".gpkg": (b"SQLite format 3\0", "GeoPackage"),
    ".fgb": (b"fgb", "FlatGeobuf"),
    ".parquet": (b"PAR1", "GeoParquet"),
    ".geojson": (b"{", "GeoJSON"),
    ".geojsonl": (b"{", "newline-delimited GeoJSON"),
    ".geojsons": (b"{", "newline-delimited GeoJSON"),
    ".shp": (b"\0\0\x27\x0a", "Shapefile"),
    ".pmtiles": (b"PMTiles\3", "PMTiles"),
}
"""Suffix -> how a file of the format begins, and the format's name."""

STYLES = "layer_styles"
"""The table of a GeoPackage in which QGIS keeps styles; it is no layer."""


def describe(path: Path) -> dict[str, Any]:
    """Return name -> JSON value of format, layer, crs, rows, geometry type, columns and bounds of the first layer.

    Args:
        path: A regular file with a suffix of `MARKS`.

    Raises:
        InputError: The file is not what its suffix says, or it cannot be read.
    """
    mark, name = MARKS[path.suffix.lower()]
    with path.open("rb") as file:
        # A record separator may come before each line, and a byte order mark before the first (RFC 8142).
        begin = file.read(64)
    if not begin.lstrip(b"\xef\xbb\xbf\x1e \t\r\n" if mark == b"{" else b"").startswith(mark):
        # GDAL would go by the content, which may name other files.
        raise InputError(f"{path}: is not a {name} file as its name says; give the file itself")
    try:
        facts = _parquet(path) if path.suffix.lower() == ".parquet" else _layer(path)
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pa.ArrowException,
        OSError,
        *_MALFORMED,
    ) as error:
        if name == "GeoPackage":
            raise InputError(
                f"{path}: has no polygons that can be read; if it holds tiles, gdal_translate converts them to a "
                "GeoTIFF, otherwise write it again"
            ) from error
        raise InputError(f"{path}: cannot be read ({first_line(error)}); write it again") from error
    return {"format": name, **facts}


_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


def _layer(path: Path) -> dict[str, Any]:
    names = [str(name) for name, _ in pyogrio.list_layers(path) if name != STYLES]
    if not names:
        raise ValueError("it has no layer")
    info = pyogrio.read_info(path, layer=names[0], force_feature_count=True, force_total_bounds=True)
    bounds = info["total_bounds"]
    return {
        "layer": ", ".join(names),
        "crs": info["crs"],
        # Tiles cut polygons into pieces.
        "rows": count_polygons(path) if path.suffix.lower() == ".pmtiles" else int(info["features"]),
        "geometry": str(info["geometry_type"]),
        "columns": [str(column) for column in info["fields"] if column != PIECE],
        "bounds": None if bounds is None else [float(value) for value in bounds],
    }


def _parquet(path: Path) -> dict[str, Any]:
    with parquet.ParquetFile(path) as file:
        geo = json.loads((file.metadata.metadata or {})[b"geo"])
        column = geo["columns"][geo["primary_column"]]
        crs = column.get("crs", "OGC:CRS84")
        if isinstance(crs, dict):
            code = crs.get("id")
            crs = f"{code['authority']}:{code['code']}" if code else crs.get("name")
        return {
            "layer": path.stem,
            "crs": crs,
            "rows": int(file.metadata.num_rows),
            "geometry": ", ".join(column.get("geometry_types", [])),
            "columns": [name for name in file.schema_arrow.names if name != geo["primary_column"]],
            "bounds": column.get("bbox"),
        }
