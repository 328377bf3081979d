"""STAC Items: by the letter of STAC 1.1.0 and of each extension they name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyproj
import pytest
from affine import Affine
from helpers.stac import assert_classes, assert_stac
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely.geometry import box, shape

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError
from geoseg.outputs.stac import COG, Asset, class_band, confidence_band, processing, stac_item
from geoseg.raster.georeference import Georeference
from geoseg.units import Period

PLACE = Georeference(CRS.from_epsg(32633), Affine(0.5, 0.1, 400_000, 0.2, -0.5, 5_800_000))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that makes an item of one file."""
    raster = tmp_path / "map 50%.tif"
    raster.write_bytes(b"pixels")
    digest = hashlib.sha256(b"pixels").hexdigest()

    def make(
        place: Georeference = PLACE, period: str = "2020-07-14T10:30:00Z", item: str = "map.stac.json"
    ) -> dict[str, Any]:
        band = class_band("classes", "uint8", ClassMap.default(3).classes, "Area")
        assets = {"classes": Asset(raster, "Classes", COG, ("data",), digest, (band,))}
        found: dict[str, Any] = json.loads(
            stac_item(
                tmp_path / item, "scene-classes", place, (100, 200), Period.parse(period), assets,
                processing("by hand", {"geoseg": "1"}),
            )
        )  # fmt: skip
        assert_stac(found)
        return found

    return make


def test_the_place_is_that_of_the_raster(made: Callable[..., dict[str, Any]]) -> None:
    item = made()
    properties = item["properties"]
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [100, 200]
    assert properties["proj:transform"] == [0.5, 0.1, 400_000, 0.2, -0.5, 5_800_000]
    assert properties["proj:bbox"] == [400_000, 5_799_950, 400_110, 5_800_040]
    assert item["id"] == "scene-classes"


@pytest.mark.parametrize(
    "crs",
    [
        "+proj=tmerc +lat_0=0 +lon_0=13 +k=1 +x_0=500000 +ellps=bessel +units=m",
        # A code that stands for another CRS.
        CRS.from_epsg(32633).to_wkt().replace('"central_meridian",15', '"central_meridian",14'),
    ],
)
def test_a_crs_without_a_code_is_described(made: Callable[..., dict[str, Any]], crs: str) -> None:
    place = Georeference(CRS.from_user_input(crs), PLACE.transform)
    properties = made(place)["properties"]
    assert properties["proj:code"] is None
    same = pyproj.CRS.from_wkt(properties["proj:wkt2"])
    assert same.equals(pyproj.CRS.from_wkt(place.wkt), ignore_axis_order=True)


@pytest.mark.parametrize(
    ("period", "times"),
    [
        ("2020-07-14T10:30:00Z", {"datetime": "2020-07-14T10:30:00Z"}),
        (
            "2020-07",
            {
                "datetime": None,
                "start_datetime": "2020-07-01T00:00:00Z",
                "end_datetime": "2020-07-31T23:59:59Z",
            },
        ),
    ],
)
def test_an_instant_is_a_datetime_and_a_period_start_and_end(
    made: Callable[..., dict[str, Any]], period: str, times: dict[str, str | None]
) -> None:
    properties = made(period=period)["properties"]
    assert {name: value for name, value in properties.items() if "datetime" in name} == times


def test_it_says_when_it_was_made_only_by_source_date_epoch(
    made: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert "created" not in made()["properties"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert made()["properties"]["created"] == "2020-09-13T12:26:40Z"


def test_a_file_is_named_by_a_relative_uri_with_its_size_and_multihash(made: Callable[..., dict[str, Any]]) -> None:
    asset = made()["assets"]["classes"]
    assert asset["href"] == "./map%2050%25.tif"
    assert asset["file:size"] == 6
    assert asset["file:checksum"] == "1220" + hashlib.sha256(b"pixels").hexdigest()
    assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert made(item="deeper/item.json")["assets"]["classes"]["href"] == "../map%2050%25.tif"


def test_classes_have_values_names_and_colours() -> None:
    classes = [
        LandClass(1, "Wald (Bäume)", "#0072b2"),
        LandClass(2, "水", "#e69f00"),
        LandClass(3, "wald bäume", "#009e73"),
    ]
    band = class_band("classes", "uint16", classes, "Point")
    assert band == {
        "name": "classes",
        "data_type": "uint16",
        "nodata": 0,
        "raster:sampling": "point",
        "classification:classes": [
            {"value": 0, "name": "nodata", "title": "nodata", "nodata": True},
            {"value": 1, "name": "wald-baume", "title": "Wald (Bäume)", "color_hint": "0072B2"},
            {"value": 2, "name": "class-2", "title": "水", "color_hint": "E69F00"},
            {"value": 3, "name": "wald-baume-3", "title": "wald bäume", "color_hint": "009E73"},
        ],
    }


@given(
    st.lists(
        st.one_of(st.text(), st.sampled_from(["a", "A", "a-2", "a-3", "a 3", "nodata", "class-4", "水"])), unique=True
    )
)
def test_names_for_machines_are_plain_and_no_two_alike(names: list[str]) -> None:
    classes = [LandClass(i, name, "#a0b0c0") for i, name in enumerate(names, 1)]
    found = class_band("classes", "uint8", classes, "Area")["classification:classes"]
    assert_classes(found)
    assert [entry["title"] for entry in found[1:]] == names


def test_a_name_that_was_made_to_differ_differs_from_all() -> None:
    classes = [LandClass(i, name, "#000000") for i, name in enumerate(["x-3", "x", "X", "Nodata"], 1)]
    found = class_band("classes", "uint8", classes, "Area")["classification:classes"]
    assert [entry["name"] for entry in found] == ["nodata", "x-3", "x", "x-3-3", "nodata-4"]


def test_hundreds_of_classes() -> None:
    found = class_band("classes", "uint16", ClassMap.default(300).classes, "Area")["classification:classes"]
    assert_classes(found)
    assert [entry["value"] for entry in found] == list(range(301))


def test_confidence_is_scaled_to_1() -> None:
    band = confidence_band("confidence", "Area")
    assert band["data_type"] == "uint8"
    assert 255 * band["raster:scale"] + band["raster:offset"] == 1


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CRS"):
        stac_item(tmp_path / "i", "i", Georeference(None, Affine.identity()), (1, 1), Period.parse("2020"), {}, {})


def test_across_the_antimeridian(made: Callable[..., dict[str, Any]]) -> None:
    item = made(Georeference(CRS.from_epsg(3832), Affine(1000, 0, 3_250_000, 0, -1000, 1_000_000)))
    west, _, east, _ = item["bbox"]
    assert west > 0 > east
    assert not shape(item["geometry"]).intersects(box(-170, -90, 170, 90))
