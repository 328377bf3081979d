"""Reads polygons from a GeoPackage (OGC 12-128), as an SQLite database of which only tables are read."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from geoseg.areas.shapes import BATCH, from_wkb
from geoseg.errors import InputError, SettingError
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

log = logging.getLogger(__name__)

_SIDECARS = ("-wal", "-shm", "-journal")
_POLYGONAL = (
    "POLYGON", "MULTIPOLYGON", "GEOMETRY", "GEOMETRYCOLLECTION", "SURFACE", "MULTISURFACE", "CURVEPOLYGON",
)  # fmt: skip
_LAYERS = """
    SELECT contents.table_name, column_name, upper(geometry_type_name), geometries.srs_id
    FROM gpkg_contents AS contents JOIN gpkg_geometry_columns AS geometries USING (table_name)
    WHERE data_type = 'features' ORDER BY contents.table_name
"""
_ENVELOPES = (0, 32, 48, 48, 64)
"""Bytes of the envelope in the header of a geometry, by its code."""


def open_geopackage(name: Path, path: Path, layer: str | None) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS of a layer, and its geometries in batches.

    Args:
        name: What messages call the file.
        path: The file.
        layer: The layer; None for the only one that may hold polygons.

    Raises:
        InputError: The database is no GeoPackage, or several layers may hold polygons, or none.
        SettingError: There is no such layer.
        sqlite3.Error: The database is damaged; reading the geometries may raise ValueError as well.
    """
    for suffix in _SIDECARS:
        sidecar = path.with_name(path.name + suffix)
        if os.path.lexists(sidecar) and not sidecar.is_file():
            raise InputError(f"{sidecar}: is read together with {name.name}, but is not a regular file; remove it")
    with closing(_connect(path)) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        if not {"gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"} <= tables:
            raise InputError(f"{name}: is an SQLite database, but not a GeoPackage with vector layers")
        table, column, srs_id = _choose(name, database.execute(_LAYERS).fetchall(), layer)
        definition = database.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        if not str((definition.fetchone() or ("",))[0]).upper().startswith("CREATE TABLE"):
            raise InputError(f"{name}: its layer {table!r} is a view; save it as a layer of its own")
        crs = _crs(database, srs_id)
    return crs, _geometries(path, table, column)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _choose(name: Path, layers: list[tuple[str, str, str, int]], wanted: str | None) -> tuple[str, str, int]:
    """The table, geometry column and CRS of the layer to read."""
    names = [layer[0] for layer in layers]
    if wanted is not None:
        if wanted not in names:
            raise SettingError(f"{name}: has no layer {wanted!r}; it has {', '.join(names) or 'none'}")
        found = [layer for layer in layers if layer[0] == wanted]
    else:
        found = [layer for layer in layers if layer[2] in _POLYGONAL]
    if not found:
        raise InputError(f"{name}: contains no polygon; its layers are {', '.join(names) or 'none'}")
    if len(found) > 1:
        raise InputError(
            f"{name}: has several layers with polygons, {', '.join(layer[0] for layer in found)}; "
            "choose one with --aoi-layer"
        )
    table, column, _, srs_id = found[0]
    if wanted is None and len(names) > 1:
        log.warning("%s: has %d layers; the area of interest is the one with polygons, %s", name, len(names), table)
    return table, column, srs_id


def _crs(database: sqlite3.Connection, srs_id: int) -> pyproj.CRS | None:
    query = "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?"
    organisation, code, definition = database.execute(query, (srs_id,)).fetchone()
    if srs_id <= 0 or "undefined" in str(definition)[:20].lower():
        return None
    if str(organisation).upper() == "EPSG":
        with suppress(pyproj.exceptions.CRSError):
            return pyproj.CRS.from_epsg(code)
    return pyproj.CRS.from_wkt(definition)


def _geometries(path: Path, table: str, column: str) -> Iterator[NDArray[Any]]:
    quoted = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in (column, table)]
    with closing(_connect(path)) as database:
        rows = database.execute(f"SELECT {quoted[0]} FROM {quoted[1]}")
        while batch := rows.fetchmany(BATCH):
            yield from_wkb([blob if blob is None else _wkb(blob) for (blob,) in batch])


def _wkb(blob: bytes) -> bytes:
    """The WKB in a GeoPackage's geometry, which has a header of its own."""
    flags = blob[3]
    if blob[:2] != b"GP" or flags & 0x20:
        raise ValueError("a geometry is not in GeoPackage's format")
    return blob[8 + _ENVELOPES[flags >> 1 & 7] :]
