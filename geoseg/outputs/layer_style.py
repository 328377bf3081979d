"""The default style of a layer in a GeoPackage, in the table `layer_styles` as QGIS reads and writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from geoseg.classes import LandClass
from geoseg.errors import WriteError
from geoseg.files.record import source_date
from geoseg.outputs.styles import FIELD, layer_qml, vector_sld

_TABLE = "layer_styles"

# As in QGIS (QgsOgrProviderMetadata::saveStyle).
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)"""
_REGISTER = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)
VALUES (?, 'attributes', ?, '', ?, 0)"""
_FIND = "SELECT 1 FROM gpkg_geometry_columns WHERE table_name = ? AND column_name = ?"
_DELETE = f"DELETE FROM {_TABLE} WHERE f_table_name = ? AND f_geometry_column = ?"
# QGIS looks for f_table_schema = '', which NULL would not equal.
_INSERT = f"""
INSERT INTO {_TABLE} (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD,
    useAsDefault, description, owner, update_time)
VALUES ('', '', ?, ?, ?, ?, ?, 1, ?, '', ?)"""


def add_layer_style(
    path: Path, layer: str, geometry_column: str, classes: Iterable[LandClass], field: str = FIELD
) -> None:
    """Add a default style to a layer of a GeoPackage: QGIS then shows the classes with their names and colours.

    Any other style of the layer is replaced. The file is changed in place. With SOURCE_DATE_EPOCH set, the result is
    reproducible.

    Args:
        path: The GeoPackage.
        layer: Name of the layer.
        geometry_column: Name of its geometry column.
        classes: The classes to show.
        field: The column of class ids.

    Raises:
        WriteError: The file cannot be written to or is not a GeoPackage.
        ValueError: There is no such layer or geometry column; QGIS would silently ignore the style.
    """
    classes = tuple(classes)
    qml, sld = layer_qml(classes, field).decode(), vector_sld(classes, layer, field).decode()
    add_style(path, layer, geometry_column, qml, sld, "Classes, by geoseg")


def add_style(path: Path, layer: str, geometry_column: str, qml: str, sld: str, description: str) -> None:
    """Add any default style to a layer of a GeoPackage, as `add_layer_style` does.

    Args:
        path: The GeoPackage.
        layer: Name of the layer.
        geometry_column: Name of its geometry column.
        qml, sld: The style, for QGIS and for others.
        description: What QGIS says of it.

    Raises:
        WriteError, ValueError: See `add_layer_style`.
    """
    time = (source_date() or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    try:
        # mode=rw: a missing file is an error, not a new database.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database, database:
            if not database.execute(_FIND, (layer, geometry_column)).fetchone():
                raise ValueError(f"{path} has no layer {layer} with a geometry column {geometry_column}")
            database.execute(_CREATE)
            database.execute(_REGISTER, (_TABLE, _TABLE, time))
            database.execute(_DELETE, (layer, geometry_column))
            database.execute(_INSERT, (layer, geometry_column, layer, qml, sld, description, time))
    except sqlite3.Error as error:
        raise WriteError(
            f"{path}: the style of layer {layer} cannot be written ({error}); is the disk full?"
        ) from error
