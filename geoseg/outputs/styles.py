"""Styles from the class map, as XML: QML for QGIS, SLD 1.0.0 (OGC 02-070) for everything else.

QGIS loads a `<stem>.qml` beside a raster or a vector file on its own, and there it is the only way to have just the
classes, named and coloured, in the legend. Classes are any that have an id, a name and a colour.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.classes import NODATA, LandClass
from geoseg.errors import WriteError
from geoseg.files.record import source_date

FIELD = "class_id"
"""The column of class ids, unless another is named."""

_FILL = {"style": "solid", "outline_style": "solid", "outline_width": "0.1", "outline_width_unit": "MM"}
_OGC = "http://www.opengis.net/ogc"
_EXTENDED = 255
"""Classes from which on GeoServer needs to be told that the colour map is long."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def file_qml(classes: Iterable[LandClass], field: str = FIELD) -> bytes:
    """Return the QGIS style of a class raster, nodata left transparent, and of polygons with their ids in `field`.

    Both in one, because QGIS looks for both in the same file where raster and polygons differ only in their suffix.
    Each kind of layer passes over the other's renderer.
    """
    classes = tuple(classes)
    root = _qgis()
    _add_paletted(root, classes)
    _add_categorized(root, classes, field)
    return _qml(root)


def layer_qml(classes: Iterable[LandClass], field: str = FIELD) -> bytes:
    """Return the QGIS style of polygons alone: a category per class by its id in the column `field`."""
    root = _qgis()
    _add_categorized(root, tuple(classes), field)
    return _qml(root)


def raster_sld(classes: Iterable[LandClass], name: str) -> bytes:
    """Return the SLD of a class raster, in a layer called `name`: one colour per value, nodata transparent.

    The type of the colour map, "values", is what GeoServer and QGIS add to SLD 1.0.0.
    """
    classes = tuple(classes)
    root, style = _sld(name)
    symbolizer = SubElement(SubElement(style, "Rule"), "RasterSymbolizer")
    channel = SubElement(SubElement(symbolizer, "ChannelSelection"), "GrayChannel")
    SubElement(channel, "SourceChannelName").text = "1"
    colours = SubElement(symbolizer, "ColorMap", type="values")
    if len(classes) >= _EXTENDED:
        colours.set("extended", "true")
    SubElement(colours, "ColorMapEntry", color="#000000", quantity=str(NODATA), label="nodata", opacity="0")
    for entry in classes:
        SubElement(
            colours, "ColorMapEntry", color=entry.colour, quantity=str(entry.id), label=_plain(entry.name), opacity="1"
        )
    return _document(root, b'<?xml version="1.0" encoding="UTF-8"?>\n')


def vector_sld(classes: Iterable[LandClass], name: str, field: str = FIELD) -> bytes:
    """Return the SLD of polygons, in a layer called `name`: a rule per class, by its id in the column `field`."""
    root, style = _sld(name)
    for entry in classes:
        rule = SubElement(style, "Rule")
        SubElement(rule, "Name").text = f"class {entry.id}"
        SubElement(rule, "Title").text = _plain(entry.name)
        equal = SubElement(SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        SubElement(equal, "ogc:PropertyName").text = field
        SubElement(equal, "ogc:Literal").text = str(entry.id)
        symbolizer = SubElement(rule, "PolygonSymbolizer")
        _parameters(SubElement(symbolizer, "Fill"), {"fill": entry.colour})
        _parameters(SubElement(symbolizer, "Stroke"), {"stroke": entry.colour, "stroke-width": "0.3"})
    return _document(root, b'<?xml version="1.0" encoding="UTF-8"?>\n')


def _qgis() -> Element:
    return Element("qgis", version="3.22", styleCategories="Symbology")


def _add_paletted(root: Element, classes: tuple[LandClass, ...]) -> None:
    pipe = SubElement(root, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = SubElement(renderer, "colorPalette")
    for entry in classes:
        SubElement(
            palette, "paletteEntry", value=str(entry.id), color=entry.colour, alpha="255", label=_plain(entry.name)
        )
    SubElement(pipe, "rasterresampler", maxOversampling="2")


def _add_categorized(root: Element, classes: tuple[LandClass, ...], field: str) -> None:
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, forceraster="0", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, entry in enumerate(classes):
        # A 64-bit integer: anything else would not equal the ids of every format and raster.
        identity = {"value": str(entry.id), "type": "long", "label": _plain(entry.name)}
        SubElement(categories, "category", identity, symbol=str(number), render="true")
        symbol = SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1", clip_to_extent="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
        options = SubElement(layer, "Option", type="Map")
        # The outline has the colour of the fill: without any, the ground shines through between neighbours.
        colour = ",".join(map(str, (*entry.rgb, 255)))
        for name, value in {"color": colour, "outline_color": colour, **_FILL}.items():
            SubElement(options, "Option", name=name, type="QString", value=value)
    # QGIS refuses the style on a layer of lines or points.
    SubElement(root, "layerGeometryType").text = "2"


def _sld(name: str) -> tuple[Element, Element]:
    """The document, and the element that holds the rules."""
    spaces = {"xmlns": "http://www.opengis.net/sld", "xmlns:ogc": _OGC}
    root = Element("StyledLayerDescriptor", spaces, version="1.0.0")
    layer = SubElement(root, "NamedLayer")
    SubElement(layer, "Name").text = _plain(name)
    style = SubElement(layer, "UserStyle")
    SubElement(style, "Name").text = "geoseg"
    return root, SubElement(style, "FeatureTypeStyle")


def _parameters(parent: Element, values: dict[str, str]) -> None:
    for name, value in values.items():
        SubElement(parent, "CssParameter", name=name).text = value


def _qml(root: Element) -> bytes:
    return _document(root, b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n")


def _document(root: Element, head: bytes) -> bytes:
    ElementTree.indent(root)
    return head + ElementTree.tostring(root, encoding="unicode").encode() + b"\n"


def _plain(name: str) -> str:
    """The name with every character that has no place in XML, not even escaped, replaced."""
    return _NO_XML.sub("\ufffd", name)


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
