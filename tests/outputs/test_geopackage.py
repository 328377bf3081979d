"""The default style in a GeoPackage: what QGIS looks for, and nothing else of the file changed."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
from helpers.rasters import UTM
from shapely.geometry import box

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import WriteError
from geoseg.outputs.layer_style import add_layer_style
from geoseg.outputs.styles import layer_qml, vector_sld

CLASSES = [LandClass(1, "water", "#0072b2"), LandClass(2, "Wald <&\"'> 水", "#e69f00")]
EPOCH = 1_600_000_000


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A GeoPackage with a layer 'classes', geometries in 'geom'."""
    return write(tmp_path / "polygons.gpkg")


def write(path: Path, layer: str = "classes") -> Path:
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2020-01-01T00:00:00.000Z"})
    try:
        frame = geopandas.GeoDataFrame({"class_id": [1, 2]}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs=UTM)
        frame.to_file(path, layer=layer)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
    return path


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as file:
        file.row_factory = sqlite3.Row
        yield file


def styles(path: Path) -> list[dict[str, Any]]:
    with opened(path) as file:
        return [dict(row) for row in file.execute("SELECT * FROM layer_styles ORDER BY id")]


def test_the_row_is_what_qgis_looks_for(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    add_layer_style(package, "classes", "geom", CLASSES)
    assert styles(package) == [
        {
            "id": 1,
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": "classes",
            "f_geometry_column": "geom",
            "styleName": "classes",
            "styleQML": layer_qml(CLASSES).decode(),
            "styleSLD": vector_sld(CLASSES, "classes").decode(),
            "useAsDefault": 1,
            "description": "Classes, by geoseg",
            "owner": "",
            "ui": None,
            "update_time": "2020-09-13T12:26:40.000Z",
        }
    ]


def test_the_columns_are_those_that_qgis_creates(package: Path) -> None:
    add_layer_style(package, "classes", "geom", CLASSES)
    with opened(package) as file:
        columns = {row["name"]: row["type"] for row in file.execute("PRAGMA table_info(layer_styles)")}
    assert columns == {
        "id": "INTEGER", "f_table_catalog": "TEXT(256)", "f_table_schema": "TEXT(256)", "f_table_name": "TEXT(256)",
        "f_geometry_column": "TEXT(256)", "styleName": "TEXT(30)", "styleQML": "TEXT", "styleSLD": "TEXT",
        "useAsDefault": "BOOLEAN", "description": "TEXT", "owner": "TEXT(30)", "ui": "TEXT(30)",
        "update_time": "DATETIME",
    }  # fmt: skip


def test_the_table_is_registered_as_attributes(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    add_layer_style(package, "classes", "geom", CLASSES)
    with opened(package) as file:
        (row,) = file.execute("SELECT * FROM gpkg_contents WHERE table_name = 'layer_styles'").fetchall()
        assert file.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
    assert (row["data_type"], row["identifier"], row["srs_id"]) == ("attributes", "layer_styles", 0)
    assert row["last_change"] == "2020-09-13T12:26:40.000Z"
    assert pyogrio.list_layers(package).tolist() == [["classes", "Polygon"], ["layer_styles", None]]


def test_the_features_are_untouched_and_the_layer_is_still_the_first(package: Path) -> None:
    before = geopandas.read_file(package)
    add_layer_style(package, "classes", "geom", CLASSES)
    with warnings.catch_warnings():
        # More than one layer: so it is with every file that QGIS saved a style to.
        warnings.simplefilter("ignore", UserWarning)
        after = geopandas.read_file(package)
    assert after.equals(before)
    assert after.crs == before.crs


@pytest.mark.parametrize("field", ["gridcode", "Nutzung"])
def test_the_field_is_that_which_is_named(package: Path, field: str) -> None:
    add_layer_style(package, "classes", "geom", CLASSES, field)
    (style,) = styles(package)
    assert style["styleQML"] == layer_qml(CLASSES, field).decode()
    assert style["styleSLD"] == vector_sld(CLASSES, "classes", field).decode()


def test_a_second_style_of_a_layer_takes_the_place_of_the_first(package: Path) -> None:
    add_layer_style(package, "classes", "geom", ClassMap.default(3).classes)
    add_layer_style(package, "classes", "geom", CLASSES)
    assert [style["styleQML"] for style in styles(package)] == [layer_qml(CLASSES).decode()]


def test_each_layer_has_a_style_of_its_own(package: Path) -> None:
    write(package, layer="o'more")
    add_layer_style(package, "classes", "geom", CLASSES)
    add_layer_style(package, "o'more", "geom", ClassMap.default(3).classes)
    found = {style["f_table_name"]: style["styleQML"] for style in styles(package)}
    assert found == {
        "classes": layer_qml(CLASSES).decode(),
        "o'more": layer_qml(ClassMap.default(3).classes).decode(),
    }


def test_bytes_are_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    contents = []
    for name in ("a", "b"):
        path = write(tmp_path / f"{name}.gpkg")
        add_layer_style(path, "classes", "geom", CLASSES)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_nothing_is_left_beside_the_file(package: Path) -> None:
    add_layer_style(package, "classes", "geom", CLASSES)
    assert [path.name for path in package.parent.iterdir()] == ["polygons.gpkg"]


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to be one" * 100])
def test_what_is_no_geopackage_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a ?.gpkg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WriteError, match=r"a \?\.gpkg: the style of layer classes"):
        add_layer_style(path, "classes", "geom", CLASSES)
    assert path.exists() == (content is not None)


@pytest.mark.parametrize(("layer", "column"), [("others", "geom"), ("classes", "geometry")])
def test_a_style_that_qgis_would_pass_over_is_an_error(package: Path, layer: str, column: str) -> None:
    before = package.read_bytes()
    with pytest.raises(ValueError, match=f"no layer {layer} with a geometry column {column}"):
        add_layer_style(package, layer, column, CLASSES)
    assert package.read_bytes() == before


def test_a_style_of_hundreds_of_classes(package: Path) -> None:
    classes = ClassMap.default(300).classes
    add_layer_style(package, "classes", "geom", classes)
    assert styles(package)[0]["styleQML"] == layer_qml(classes).decode()
