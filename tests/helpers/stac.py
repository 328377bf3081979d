"""What a STAC Item has to be, by the letter of the specification."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pyproj
import pytest
from shapely.geometry import shape

DATA_TYPES = {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"}


def assert_stac(item: dict[str, Any]) -> None:
    """The item is by the letter of STAC 1.1.0 (item, common metadata, bands) and of the five extensions it names."""
    assert set(item) == {
        "type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "properties", "links", "assets"
    }  # fmt: skip
    assert (item["type"], item["stac_version"]) == ("Feature", "1.1.0")
    names = [
        re.fullmatch(r"https://stac-extensions\.github\.io/([a-z]+)/v(.+)/schema\.json", e)
        for e in item["stac_extensions"]
    ]
    assert {match[1]: match[2] for match in names if match} == {
        "projection": "2.0.0", "classification": "2.0.0", "raster": "2.0.0", "file": "2.1.0", "processing": "1.2.0"
    }  # fmt: skip
    assert len(names) == 5
    assert isinstance(item["id"], str)
    assert item["id"]
    assert item["links"] == []
    outline, bounds = shape(item["geometry"]), item["bbox"]
    assert outline.is_valid
    assert len(bounds) == 4
    west, south, east, north = bounds
    across = west > east
    assert outline.bounds == pytest.approx((-180 if across else west, south, 180 if across else east, north), abs=1e-6)
    _assert_properties(item["properties"])
    assert item["assets"]
    for asset in item["assets"].values():
        _assert_asset(asset)


def _assert_properties(properties: dict[str, Any]) -> None:
    times = [name for name in ("datetime", "start_datetime", "end_datetime", "created") if properties.get(name)]
    for name in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", properties[name])
        datetime.fromisoformat(properties[name])
    if properties["datetime"] is None:
        assert properties["start_datetime"] <= properties["end_datetime"]
    else:
        assert not {"start_datetime", "end_datetime"} & set(properties)
    projection = {name: value for name, value in properties.items() if name.startswith("proj:")}
    assert set(projection) - {"proj:wkt2", "proj:projjson"} == {
        "proj:code",
        "proj:shape",
        "proj:bbox",
        "proj:transform",
    }
    if projection["proj:code"] is None:
        assert pyproj.CRS.from_wkt(projection["proj:wkt2"]) == pyproj.CRS.from_json_dict(projection["proj:projjson"])
    else:
        assert re.fullmatch(r"[A-Z]+:[0-9A-Z]+", projection["proj:code"])
    assert [type(length) for length in projection["proj:shape"]] == [int, int]
    assert [type(value) for value in projection["proj:transform"]] == [float] * 6
    assert [type(value) for value in projection["proj:bbox"]] == [float] * 4
    assert properties["processing:level"] == "L4"
    assert isinstance(properties["processing:lineage"], str)
    assert all(isinstance(version, str) for version in properties["processing:software"].values())


def _assert_asset(asset: dict[str, Any]) -> None:
    assert set(asset) - {"bands"} == {"href", "title", "type", "roles", "file:size", "file:checksum"}
    assert re.fullmatch(r"\.\.?/[A-Za-z0-9_.~/%-]+", asset["href"])
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+(; .+)?", asset["type"])
    assert asset["roles"]
    assert re.fullmatch("1220[0-9a-f]{64}", asset["file:checksum"])
    assert isinstance(asset["file:size"], int)
    for band in asset.get("bands", []):
        assert band["data_type"] in DATA_TYPES
        assert (band["nodata"], band["raster:sampling"] in ("area", "point")) == (0, True)
        assert_classes(band.get("classification:classes", []))


def assert_classes(classes: list[dict[str, Any]]) -> None:
    """The list is that of the classification extension, values and names unique."""
    for entry in classes:
        assert set(entry) <= {"value", "name", "title", "color_hint", "nodata"}
        assert isinstance(entry["value"], int)
        assert re.fullmatch("[0-9A-Za-z_-]+", entry["name"])
        assert re.fullmatch("[0-9A-F]{6}", entry.get("color_hint", "000000"))
        assert entry.get("nodata", True) is True
    assert len({entry["name"] for entry in classes}) == len({entry["value"] for entry in classes}) == len(classes)
