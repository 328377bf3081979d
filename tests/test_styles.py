"""The QGIS style: exactly the classes, whatever their names."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap, LandClass
from geoseg.styles import raster_qml

names = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1), unique=True, max_size=12
)


def entries(qml: bytes) -> list[dict[str, str]]:
    """The palette's entries."""
    return [dict(entry.attrib) for entry in ElementTree.fromstring(qml).iterfind("pipe/rasterrenderer/colorPalette/*")]


@given(names)
def test_the_style_has_exactly_the_classes(found: list[str]) -> None:
    classes = ClassMap(tuple(LandClass(i, name, f"#{i:02x}80ff") for i, name in enumerate(found, 1)))
    assert entries(raster_qml(classes)) == [
        {"value": str(c.id), "color": c.colour, "alpha": "255", "label": c.name} for c in classes.classes
    ]


@pytest.mark.parametrize("count", [2, 8, 300])
def test_the_style_is_a_paletted_renderer_of_band_1(count: int) -> None:
    root = ElementTree.fromstring(raster_qml(ClassMap.default(count)))
    assert root.tag == "qgis"
    (renderer,) = root.iter("rasterrenderer")
    assert renderer.attrib["type"] == "paletted"
    assert renderer.attrib["band"] == "1"
    assert len(entries(raster_qml(ClassMap.default(count)))) == count


def test_nodata_has_no_entry() -> None:
    assert "0" not in {entry["value"] for entry in entries(raster_qml(ClassMap.default(5)))}


def test_the_style_is_text_in_utf_8_and_always_the_same() -> None:
    classes = ClassMap((LandClass(1, "水 <&\"'>", "#0072b2"),))
    assert raster_qml(classes) == raster_qml(classes)
    assert "水" in raster_qml(classes).decode()
