"""Superpixels to look at next, as a GeoPackage that opens in QGIS with outlines, numbers and an empty field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from geoseg.outputs.layer_style import add_style
from geoseg.raster.georeference import Georeference
from geoseg.vector.arrow import Categorical, VectorSpec, record_batch
from geoseg.vector.tracing import trace
from geoseg.vector.wkb import encode
from geoseg.vector.writer import GEOPACKAGE_GEOMETRY, writing_layer

LAYER = "next"

_OUTLINE = "#ff00ff"


@dataclass(frozen=True, eq=False)
class Outlined:
    """A superpixel to write.

    Attributes:
        mask: bool (rows, cols), its pixels.
        origin: Row and column in the scene of the mask's first pixel.
        likely: The class that it probably is, and others that it may be, as text.
        probability: Of the first of these.
    """

    mask: NDArray[np.bool_]
    origin: tuple[int, int]
    likely: str
    probability: float


def write_suggestions(path: Path, superpixels: Sequence[Outlined], georeference: Georeference, field: str) -> None:
    """Write superpixels to a GeoPackage, with the empty field `field` for their class.

    Raises:
        WriteError: The file system failed.
    """
    names = {name: f"geoseg_{name}" if name == field else name for name in ("rank", "likely", "probability")}
    columns = {names["rank"]: "int32", field: "string", names["likely"]: "string", names["probability"]: "float64"}
    spec = VectorSpec("GPKG", LAYER, columns, georeference.wkt, georeference.epoch)
    with writing_layer(path, spec, finish=lambda file: _add_style(file, names["rank"])) as layer:
        for rank, superpixel in enumerate(superpixels, start=1):
            rings = trace(np.ascontiguousarray(superpixel.mask, np.int32))
            values: Mapping[str, Any] = {
                names["rank"]: np.array([rank], np.int32),
                field: Categorical(np.ma.masked_array([0], [True]), [""]),
                names["likely"]: Categorical(np.zeros(1, np.int32), [superpixel.likely]),
                names["probability"]: np.array([superpixel.probability]),
            }
            layer.put(record_batch(spec, values, *encode(rings, georeference.transform, superpixel.origin)))


def _add_style(path: Path, rank: str) -> None:
    add_style(path, LAYER, GEOPACKAGE_GEOMETRY, _qml(rank).encode(), b"", "Where to look next")


def _qml(rank: str) -> str:
    """The QGIS style: outlines only, with the rank of each superpixel beside it."""
    root = Element("qgis", version="3.22", styleCategories="Symbology|Labeling", labelsEnabled="1")
    renderer = SubElement(root, "renderer-v2", type="singleSymbol", forceraster="0", enableorderby="0")
    symbol = SubElement(SubElement(renderer, "symbols"), "symbol", type="fill", name="0", alpha="1")
    layer = SubElement(symbol, "layer", {"class": "SimpleLine"}, enabled="1", locked="0")
    options = SubElement(layer, "Option", type="Map")
    red, green, blue = (int(_OUTLINE[i : i + 2], 16) for i in (1, 3, 5))
    for name, value in {
        "line_color": f"{red},{green},{blue},255", "line_width": "0.6", "line_width_unit": "MM", "line_style": "solid",
    }.items():  # fmt: skip
        SubElement(options, "Option", name=name, type="QString", value=value)
    settings = SubElement(SubElement(root, "labeling", type="simple"), "settings")
    style = SubElement(
        settings, "text-style", fieldName=rank, isExpression="0", fontSize="11", fontWeight="75", fontSizeUnit="Point",
        textColor=f"{red},{green},{blue},255",
    )  # fmt: skip
    SubElement(
        style, "text-buffer", bufferDraw="1", bufferSize="1", bufferSizeUnits="MM", bufferColor="255,255,255,255"
    )
    SubElement(settings, "placement", placement="1", dist="0")
    SubElement(root, "layerGeometryType").text = "2"
    return ElementTree.tostring(root, encoding="unicode")
