"""Styles: exactly the classes, whatever their names and however many, for rasters and for polygons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap, LandClass
from geoseg.outputs.styles import FIELD, file_qml, layer_qml, raster_sld, vector_sld

# Any that XML can hold: letters of all scripts, quotes, brackets, ampersands, emoji, tabs.
letters = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn"), include_characters="\t<>&\"'")
names = st.lists(st.text(letters, min_size=1), unique=True, max_size=12)

SLD = {"sld": "http://www.opengis.net/sld", "ogc": "http://www.opengis.net/ogc"}
STYLES: list[Callable[[Any], bytes]] = [
    file_qml,
    layer_qml,
    lambda classes: raster_sld(classes, "map"),
    lambda classes: vector_sld(classes, "map"),
]


def classes_called(found: list[str]) -> list[LandClass]:
    return [LandClass(i, name, f"#{i:02x}80ff") for i, name in enumerate(found, 1)]


def palette(qml: bytes) -> list[tuple[str, str, str, str]]:
    """(value, label, colour, alpha) of a raster style's entries."""
    root = ElementTree.fromstring(qml)
    entries = root.iterfind("pipe/rasterrenderer/colorPalette/paletteEntry")
    return [tuple(entry.attrib[key] for key in ("value", "label", "color", "alpha")) for entry in entries]  # type: ignore[misc]


def categories(qml: bytes) -> list[tuple[str, str, str, str]]:
    """(value, label, fill, outline) of a vector style's categories, by way of their symbols."""
    (renderer,) = ElementTree.fromstring(qml).iterfind("renderer-v2")
    symbols = {symbol.attrib["name"]: symbol for symbol in renderer.iterfind("symbols/symbol")}
    assert {symbol.attrib["type"] for symbol in symbols.values()} <= {"fill"}
    found = []
    for category in renderer.iterfind("categories/category"):
        assert category.attrib["type"] == "long"
        assert category.attrib["render"] == "true"
        (layer,) = symbols.pop(category.attrib["symbol"]).iterfind("layer")
        options = {option.attrib["name"]: option.attrib["value"] for option in layer.iterfind("Option/Option")}
        assert layer.attrib["class"] == "SimpleFill"
        assert (options["style"], options["outline_style"]) == ("solid", "solid")
        assert float(options["outline_width"]) <= 0.1
        found.append((category.attrib["value"], category.attrib["label"], options["color"], options["outline_color"]))
    assert not symbols, "a symbol of no category"
    return found


@given(names)
def test_the_raster_style_has_exactly_the_classes(found: list[str]) -> None:
    classes = classes_called(found)
    assert palette(file_qml(classes)) == [(str(c.id), c.name, c.colour, "255") for c in classes]


@given(names)
def test_the_vector_style_has_exactly_the_classes(found: list[str]) -> None:
    classes = classes_called(found)
    colours = [",".join(map(str, (*c.rgb, 255))) for c in classes]
    expected = [(str(c.id), c.name, colour, colour) for c, colour in zip(classes, colours, strict=True)]
    assert categories(layer_qml(classes)) == expected
    assert categories(file_qml(classes)) == expected


@pytest.mark.parametrize("count", [0, 2, 254, 255, 300, 3000])
def test_styles_of_many_classes(count: int) -> None:
    classes = ClassMap.default(count).classes
    qml = file_qml(classes)
    assert [value for value, *_ in palette(qml)] == [value for value, *_ in categories(qml)]
    assert len(palette(qml)) == len({colour for _, _, colour, _ in palette(qml)} or []) or count > 254
    assert len(palette(qml)) == count


def test_the_raster_style_is_a_paletted_renderer_of_band_1_without_nodata() -> None:
    root = ElementTree.fromstring(file_qml(ClassMap.default(5).classes))
    assert root.tag == "qgis"
    assert root.attrib["styleCategories"] == "Symbology", "labels, forms and all else of a layer stay as they are"
    (renderer,) = root.iter("rasterrenderer")
    assert (renderer.attrib["type"], renderer.attrib["band"], renderer.attrib["opacity"]) == ("paletted", "1", "1")
    assert "0" not in {entry.attrib["value"] for entry in renderer.iter("paletteEntry")}


@pytest.mark.parametrize("field", [FIELD, "gridcode", "Nutzung_ä"])
def test_the_vector_style_is_categorized_by_the_field(field: str) -> None:
    for qml in (file_qml(ClassMap.default(3).classes, field), layer_qml(ClassMap.default(3).classes, field)):
        (renderer,) = ElementTree.fromstring(qml).iterfind("renderer-v2")
        assert (renderer.attrib["type"], renderer.attrib["attr"]) == ("categorizedSymbol", field)


def test_the_style_of_a_layer_is_for_polygons_and_no_raster() -> None:
    root = ElementTree.fromstring(layer_qml(ClassMap.default(3).classes))
    assert root.findtext("layerGeometryType") == "2"
    assert root.find("pipe") is None


@given(names)
def test_the_sld_of_a_raster_has_the_classes_and_hides_nodata(found: list[str]) -> None:
    classes = classes_called(found)
    (colours,) = ElementTree.fromstring(raster_sld(classes, "map")).iterfind(".//sld:ColorMap", SLD)
    assert colours.attrib == {"type": "values"}
    entries = [tuple(e.attrib[key] for key in ("quantity", "label", "color", "opacity")) for e in colours]
    assert entries == [
        ("0", "nodata", "#000000", "0"), *((str(c.id), c.name, c.colour, "1") for c in classes)
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "extended"), [(254, None), (255, "true"), (300, "true")])
def test_a_long_colour_map_says_so(count: int, extended: str | None) -> None:
    (colours,) = ElementTree.fromstring(raster_sld(ClassMap.default(count).classes, "m")).iterfind(
        ".//sld:ColorMap", SLD
    )
    assert colours.attrib.get("extended") == extended
    assert len(colours) == count + 1


@given(names, st.text(letters, min_size=1))
def test_the_sld_of_polygons_has_a_rule_per_class(found: list[str], field: str) -> None:
    classes = classes_called(found)
    root = ElementTree.fromstring(vector_sld(classes, "map", field))
    rules = []
    for rule in root.iterfind(".//sld:Rule", SLD):
        fill = {p.attrib["name"]: p.text for p in rule.iterfind("sld:PolygonSymbolizer/*/sld:CssParameter", SLD)}
        equal = rule.find("ogc:Filter/ogc:PropertyIsEqualTo", SLD)
        assert equal is not None
        assert fill["stroke"] == fill["fill"]
        assert equal.findtext("ogc:PropertyName", namespaces=SLD) == field
        rules.append(
            (equal.findtext("ogc:Literal", namespaces=SLD), rule.findtext("sld:Title", None, SLD), fill["fill"])
        )
    assert rules == [(str(c.id), c.name, c.colour) for c in classes]


@pytest.mark.parametrize("sld", STYLES[2:])
def test_an_sld_is_of_version_1_0_0_with_its_elements_in_order(sld: Callable[[Any], bytes]) -> None:
    content = sld(ClassMap.default(2).classes)
    assert content.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(content)
    assert (root.tag, root.attrib["version"]) == (f"{{{SLD['sld']}}}StyledLayerDescriptor", "1.0.0")
    assert root.findtext("sld:NamedLayer/sld:Name", None, SLD) == "map"
    tags = [[child.tag.partition("}")[2] for child in element] for element in root.iter()]
    assert ["Name", "UserStyle"] in tags
    assert ["Name", "FeatureTypeStyle"] in tags


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_text_in_utf_8_and_always_the_same(style: Callable[[Any], bytes]) -> None:
    classes = [LandClass(1, "水 <&\"'> ä", "#0072b2")]
    assert style(classes) == style(iter(classes))
    assert "水" in style(classes).decode()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("letter", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_a_letter_that_xml_cannot_hold_is_replaced(style: Callable[[Any], bytes], letter: str) -> None:
    content = style([LandClass(1, f"a{letter}b", "#0072b2")])
    ElementTree.fromstring(content)
    assert "a\ufffdb" in content.decode()


@pytest.mark.parametrize("class_id", [-7, 0, 255, 2**40])
def test_ids_of_foreign_rasters_are_kept(class_id: int) -> None:
    classes = [LandClass.default(class_id)]
    assert palette(file_qml(classes))[0][0] == categories(layer_qml(classes))[0][0] == str(class_id)
