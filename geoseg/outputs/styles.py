"""Styles from classes, as XML: QML for QGIS, SLD 1.0.0 (OGC 02-070) for other software.

QGIS loads `<stem>.qml` along with the raster or vector file beside it. For a raster that is the only way to get a
legend of exactly the classes, with their names and colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.classes import NODATA, LandClass

FIELD = "class_id"
"""Default name of the column of class ids."""

_FILL = {"style": "solid", "outline_style": "solid", "outline_width": "0.1", "outline_width_unit": "MM"}
_OUTLINE = "#ffff00"
_VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
"""Five steps of a scale of even lightness, which the colour-blind can read (van der Walt and Smith 2015)."""

_OGC = "http://www.opengis.net/ogc"
_XML_PROLOG = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_QML_PROLOG = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

_MIN_EXTENDED = 255
"""Number of classes from which on GeoServer needs extended="true" on the colour map."""

_INVALID_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def file_qml(classes: Iterable[LandClass], field: str = FIELD) -> bytes:
    """Return one QGIS style for both a class raster, with nodata transparent, and polygons.

    QGIS looks for both styles in the same file if raster and polygons have the same stem. Each kind of layer ignores
    the renderer of the other.

    Args:
        classes: The classes.
        field: The column of class ids in the polygons.
    """
    classes = tuple(classes)
    root = _qgis()
    _add_paletted(root, classes)
    _add_categorized(root, classes, field)
    return _qml(root)


def layer_qml(classes: Iterable[LandClass], field: str = FIELD) -> bytes:
    """Return the QGIS style of polygons: a category per class, by its id in the column `field`."""
    root = _qgis()
    _add_categorized(root, tuple(classes), field)
    return _qml(root)


def confidence_qml() -> bytes:
    """Return the QGIS style of a raster of confidence, 1..255 in units of 1/255: a ramp with a legend in per cent."""
    root = _qgis()
    pipe = SubElement(root, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1", alphaBand="-1", nodataColor="",
        classificationMin="0", classificationMax="255",
    )  # fmt: skip
    ramp = SubElement(
        SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED", classificationMode="1",
        clip="0", minimumValue="0", maximumValue="255",
    )  # fmt: skip
    for share, colour in zip((0, 25, 50, 75, 100), _VIRIDIS, strict=True):
        SubElement(ramp, "item", value=f"{share * 2.55:g}", color=colour, alpha="255", label=f"{share} %")
    # A continuous legend would show the values of pixels instead of the labels.
    SubElement(ramp, "rampLegendSettings", useContinuousLegend="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    return _qml(root)


def ids_qml() -> bytes:
    """Return the QGIS style of a raster of superpixel ids: their borders, as the relief that ids make for heights.

    Ids mean nothing by their size, and there are too many for a colour each.
    """
    root = _qgis()
    pipe = SubElement(root, "pipe")
    SubElement(
        pipe, "rasterrenderer", type="hillshade", band="1", opacity="1", alphaBand="-1", nodataColor="", azimuth="315",
        angle="45", zfactor="1000000", multidirection="1",
    )  # fmt: skip
    # What is even is as bright as the cosine of 45 degrees. At that angle it does not matter whether QGIS counts it
    # from the horizon, as its dialogue says, or from the zenith, as 3.22 does.
    SubElement(pipe, "brightnesscontrast", brightness="75", contrast="0", gamma="1")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    # 6: multiply, so that only borders darken the imagery below.
    SubElement(root, "blendMode").text = "6"
    return _qml(root)


def outline_qml() -> bytes:
    """Return the QGIS style of polygons of which only the outlines are drawn."""
    root = _qgis()
    renderer = SubElement(root, "renderer-v2", type="singleSymbol", forceraster="0", enableorderby="0")
    symbol = SubElement(SubElement(renderer, "symbols"), "symbol", type="fill", name="0", alpha="1", clip_to_extent="1")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
    options = SubElement(layer, "Option", type="Map")
    red, green, blue = (int(_OUTLINE[i : i + 2], 16) for i in (1, 3, 5))
    for name, value in {**_FILL, "style": "no", "outline_color": f"{red},{green},{blue},255"}.items():
        SubElement(options, "Option", name=name, type="QString", value=value)
    SubElement(root, "layerGeometryType").text = "2"
    return _qml(root)


def outline_sld(name: str) -> bytes:
    """Return the SLD of polygons, in a layer called `name`, of which only the outlines are drawn."""
    root, style = _sld(name)
    symbolizer = SubElement(SubElement(style, "Rule"), "PolygonSymbolizer")
    _parameters(SubElement(symbolizer, "Stroke"), {"stroke": _OUTLINE, "stroke-width": "0.3"})
    return _document(root, _XML_PROLOG)


def raster_sld(classes: Iterable[LandClass], name: str) -> bytes:
    """Return the SLD of a class raster, in a layer called `name`: one colour per class, nodata transparent.

    The colour map is of type "values", an extension of SLD 1.0.0 in GeoServer and QGIS.
    """
    classes = tuple(classes)
    root, style = _sld(name)
    symbolizer = SubElement(SubElement(style, "Rule"), "RasterSymbolizer")
    channel = SubElement(SubElement(symbolizer, "ChannelSelection"), "GrayChannel")
    SubElement(channel, "SourceChannelName").text = "1"
    colours = SubElement(symbolizer, "ColorMap", type="values")
    if len(classes) >= _MIN_EXTENDED:
        colours.set("extended", "true")
    SubElement(colours, "ColorMapEntry", color="#000000", quantity=str(NODATA), label="nodata", opacity="0")
    for entry in classes:
        label = _xml_text(entry.name)
        SubElement(colours, "ColorMapEntry", color=entry.colour, quantity=str(entry.id), label=label, opacity="1")
    return _document(root, _XML_PROLOG)


def vector_sld(classes: Iterable[LandClass], name: str, field: str = FIELD) -> bytes:
    """Return the SLD of polygons, in a layer called `name`: a rule per class, by its id in the column `field`."""
    root, style = _sld(name)
    for entry in classes:
        rule = SubElement(style, "Rule")
        SubElement(rule, "Name").text = f"class {entry.id}"
        SubElement(rule, "Title").text = _xml_text(entry.name)
        equal = SubElement(SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        SubElement(equal, "ogc:PropertyName").text = field
        SubElement(equal, "ogc:Literal").text = str(entry.id)
        symbolizer = SubElement(rule, "PolygonSymbolizer")
        _parameters(SubElement(symbolizer, "Fill"), {"fill": entry.colour})
        _parameters(SubElement(symbolizer, "Stroke"), {"stroke": entry.colour, "stroke-width": "0.3"})
    return _document(root, _XML_PROLOG)


def _qgis() -> Element:
    return Element("qgis", version="3.22", styleCategories="Symbology")


def _add_paletted(root: Element, classes: tuple[LandClass, ...]) -> None:
    pipe = SubElement(root, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = SubElement(renderer, "colorPalette")
    for entry in classes:
        label = _xml_text(entry.name)
        SubElement(palette, "paletteEntry", value=str(entry.id), color=entry.colour, alpha="255", label=label)
    SubElement(pipe, "rasterresampler", maxOversampling="2")


def _add_categorized(root: Element, classes: tuple[LandClass, ...], field: str) -> None:
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, forceraster="0", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, entry in enumerate(classes):
        # "long", a 64-bit integer, is the one type that equals the ids of every format.
        category = {"value": str(entry.id), "type": "long", "label": _xml_text(entry.name)}
        SubElement(categories, "category", category, symbol=str(number), render="true")
        symbol = SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1", clip_to_extent="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
        options = SubElement(layer, "Option", type="Map")
        # An outline in the colour of the fill closes the gaps that rendering leaves between neighbours.
        colour = ",".join(map(str, (*entry.rgb, 255)))
        for name, value in {"color": colour, "outline_color": colour, **_FILL}.items():
            SubElement(options, "Option", name=name, type="QString", value=value)
    # 2: polygons. QGIS refuses the style for lines and points.
    SubElement(root, "layerGeometryType").text = "2"


def _sld(name: str) -> tuple[Element, Element]:
    """Return the root element and the element for the rules."""
    namespaces = {"xmlns": "http://www.opengis.net/sld", "xmlns:ogc": _OGC}
    root = Element("StyledLayerDescriptor", namespaces, version="1.0.0")
    layer = SubElement(root, "NamedLayer")
    SubElement(layer, "Name").text = _xml_text(name)
    style = SubElement(layer, "UserStyle")
    SubElement(style, "Name").text = "geoseg"
    return root, SubElement(style, "FeatureTypeStyle")


def _parameters(parent: Element, values: dict[str, str]) -> None:
    for name, value in values.items():
        SubElement(parent, "CssParameter", name=name).text = value


def _qml(root: Element) -> bytes:
    return _document(root, _QML_PROLOG)


def _document(root: Element, prolog: bytes) -> bytes:
    ElementTree.indent(root)
    return prolog + ElementTree.tostring(root, encoding="unicode").encode() + b"\n"


def _xml_text(name: str) -> str:
    """Replace the characters that XML cannot hold, not even escaped."""
    return _INVALID_XML.sub("\ufffd", name)
