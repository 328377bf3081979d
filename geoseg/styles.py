"""QGIS styles from the class map. A `<stem>.qml` beside a raster is loaded by QGIS on its own, and is the only
way to have just the classes there, named and coloured, in its legend."""

from __future__ import annotations

from xml.etree import ElementTree

from geoseg.classes import ClassMap


def raster_qml(classes: ClassMap) -> bytes:
    """Return the QGIS style of a class raster: paletted, one entry per class, nodata left transparent."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in classes.classes:
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(entry.id), color=entry.colour, alpha="255", label=entry.name
        )
    ElementTree.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ElementTree.indent(root)
    head = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return head + ElementTree.tostring(root, encoding="unicode").encode() + b"\n"
