"""The default style of a layer in a GeoPackage: QGIS takes it from a table of the file, `layer_styles`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from geoseg.classes import LandClass
from geoseg.errors import WriteError
from geoseg.files.atomic import source_date
from geoseg.styles import FIELD, layer_qml, vector_sld

_TABLE = "layer_styles"

# As QGIS creates it (QgsOgrProviderMetadata::saveStyle).
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
_FORGET = f"DELETE FROM {_TABLE} WHERE f_table_name = ? AND f_geometry_column = ?"
# f_table_schema: '' is what QGIS asks for; NULL would not equal it.
_INSERT = f"""
INSERT INTO {_TABLE} (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD,
    useAsDefault, description, owner, update_time)
VALUES ('', '', ?, ?, ?, ?, ?, 1, ?, '', ?)"""


def add_layer_style(
    path: Path, layer: str, geometry_column: str, classes: Iterable[LandClass], field: str = FIELD
) -> None:
    """Give `layer` of the GeoPackage `path` the default style by which QGIS shows its classes, named and coloured.

    It takes the place of any style the layer has. With SOURCE_DATE_EPOCH the bytes are reproducible. A file that others
    may read has to be changed before it is published.

    geometry_column: the layer's, by its real name. field: the column of class ids.

    Raises:
        WriteError: the file cannot be written to, or is no GeoPackage.
        ValueError: it has no such layer, or no such geometry column; QGIS would pass over the style without a word.
    """
    classes = tuple(classes)
    qml, sld = layer_qml(classes, field).decode(), vector_sld(classes, layer, field).decode()
    time = (source_date() or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    try:
        # By URI, so that a file that is not there is an error and not a new database.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as file, file:
            if not file.execute(_FIND, (layer, geometry_column)).fetchone():
                raise ValueError(f"{path} has no layer {layer} with a geometry column {geometry_column}")
            file.execute(_CREATE)
            file.execute(_REGISTER, (_TABLE, _TABLE, time))
            file.execute(_FORGET, (layer, geometry_column))
            file.execute(_INSERT, (layer, geometry_column, layer, qml, sld, "Classes, by geoseg", time))
    except sqlite3.Error as error:
        raise WriteError(
            f"{path}: the style of layer {layer} cannot be written ({error}); is the disk full?"
        ) from error
