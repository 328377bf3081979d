"""The outline of a raster on the globe: it covers every pixel, goes the right way round, and minds the antimeridian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely import MultiPoint, Point
from shapely.geometry import Polygon, shape

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.outputs.footprint import footprint
from geoseg.raster.georeference import Georeference


def outline(
    crs: str | None, transform: Affine, rows: int = 100, cols: int = 200
) -> tuple[Any, dict[str, Any], list[float]]:
    """(shape, GeoJSON, bbox)."""
    place = Georeference(CRS.from_user_input(crs) if crs else None, transform)
    geometry, bbox = footprint(place, Window.of(0, 0, rows, cols))
    found = shape(geometry)
    assert found.is_valid
    for ring in [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]:
        assert ring[0][0] == ring[0][-1]
        assert Polygon(ring[0]).exterior.is_ccw, "RFC 7946: counterclockwise"
        assert len(ring) == 1
    longitudes = np.array(
        [point[0] for polygon in getattr(found, "geoms", [found]) for point in polygon.exterior.coords]
    )
    assert (np.abs(longitudes) <= 180).all()
    return found, geometry, bbox


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000),
        Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000),
        Affine.translation(400_000, 5_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5),
        Affine(1000, 0, 300_000, 0, -1000, 5_800_000),
    ],
)
def test_it_covers_all_pixels_and_little_else(transform: Affine) -> None:
    found, geometry, bbox = outline("EPSG:32633", transform)
    assert geometry["type"] == "Polygon"
    rows, cols = np.mgrid[0:101:4, 0:201:4]
    x, y = transform @ (cols.ravel(), rows.ravel())
    longitude, latitude = pyproj.Transformer.from_crs("EPSG:32633", 4326, always_xy=True).transform(x, y)
    size = max(np.ptp(longitude), np.ptp(latitude))
    points = MultiPoint(np.stack([longitude, latitude], axis=1))
    assert found.buffer(2e-5 * size + 2e-7).covers(points)
    assert points.convex_hull.buffer(0.02 * size).covers(found)
    assert bbox == pytest.approx([longitude.min(), latitude.min(), longitude.max(), latitude.max()], abs=1e-3 * size)
    assert found.bounds == pytest.approx(bbox, abs=2e-5 * size + 2e-7)


def test_a_small_raster_has_four_corners_and_a_large_one_as_many_points_as_it_needs() -> None:
    small, *_ = outline("EPSG:32633", Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000))
    large, *_ = outline("EPSG:32633", Affine(1000, 0, 300_000, 0, -1000, 5_800_000))
    assert len(small.exterior.coords) == 5
    assert 5 < len(large.exterior.coords) < 200


def test_only_the_window_is_outlined() -> None:
    place = Georeference(CRS.from_epsg(4326), Affine(0.1, 0, 10, 0, -0.1, 50))
    _, bbox = footprint(place, Window.of(10, 20, 30, 40))
    assert bbox == [12.0, 46.0, 16.0, 49.0]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32660", Affine(1000, 0, 600_000, 0, -1000, 7_000_000)),
        ("EPSG:32601", Affine(1000, 0, 300_000, 0, -1000, 7_000_000)),
        ("EPSG:3832", Affine(1000, 0, 3_300_000, 0, -1000, 1_000_000)),
        ("EPSG:4326", Affine(0.1, 0, 170, 0, -0.1, 50)),
        ("EPSG:4326", Affine(0.1, 0, -190, 0, -0.1, 50)),
        ("EPSG:4326", Affine(-0.1, 0, 190, 0, 0.1, 40)),
    ],
)
def test_across_the_antimeridian_it_is_cut_in_two(crs: str, transform: Affine) -> None:
    found, geometry, (west, south, east, north) = outline(crs, transform)
    assert geometry["type"] == "MultiPolygon"
    assert len(found.geoms) == 2
    assert west > 0 > east, "RFC 7946: west of the antimeridian to east of it"
    assert south < north
    globe = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    for col, row in ((100, 50), (1, 1), (199, 99), (1, 99), (199, 1)):
        longitude, latitude = globe.transform(*(transform @ (col, row)))
        assert found.covers(Point((longitude + 180) % 360 - 180, latitude))
    assert found.area <= 200 + 1e-6, "not the rest of the world"


def test_on_one_side_of_the_antimeridian_it_is_not_cut() -> None:
    for left in (-180.0, 160.0, 180.0):
        _, geometry, bbox = outline("EPSG:4326", Affine(0.1, 0, left, 0, -0.1, 50))
        assert geometry["type"] == "Polygon"
        assert bbox[2] - bbox[0] == pytest.approx(20)


@given(st.floats(-720, 720), st.floats(0.01, 1.7), st.floats(-80, 80))
def test_longitudes_are_those_of_the_globe_wherever_a_raster_counts_from(left: float, step: float, top: float) -> None:
    found, geometry, (west, _, east, _) = outline("EPSG:4326", Affine(step, 0, left, 0, -0.05, top))
    assert found.area == pytest.approx(200 * step * 5, rel=1e-3)
    assert (east - west) % 360 == pytest.approx(200 * step % 360, abs=1e-5)
    assert (geometry["type"] == "MultiPolygon") == (west > east)


@pytest.mark.parametrize("left", [-180.0, 0.0, -10.0])
def test_the_whole_globe(left: float) -> None:
    found, _, bbox = outline("EPSG:4326", Affine(1.8, 0, left, 0, -1.8, 90))
    assert bbox == [-180.0, -90.0, 180.0, 90.0]
    assert found.area == pytest.approx(360 * 180)


def test_a_latitude_beyond_the_pole_is_that_of_the_pole() -> None:
    found, _, bbox = outline("EPSG:4326", Affine(0.1, 0, 10, 0, -0.1, 90.05))
    assert found.bounds == pytest.approx((10, 80.05, 30, 90))
    assert bbox[3] == 90


def test_around_a_pole_it_is_refused_and_beside_it_not() -> None:
    with pytest.raises(InputError, match="pole"):
        outline("EPSG:3031", Affine(1000, 0, -100_000, 0, -1000, 50_000))
    outline("EPSG:3031", Affine(1000, 0, 100_000, 0, -1000, 50_000))


@pytest.mark.parametrize(
    ("crs", "transform", "words"),
    [
        (None, Affine.identity(), "no CRS"),
        ('LOCAL_CS["site",UNIT["metre",1]]', Affine(1, 0, 0, 0, -1, 0), "cannot be transformed to longitude"),
        ("EPSG:32633", Affine(1e9, 0, 1e5, 0, -1e9, 5e4), "beyond the area"),
    ],
)
def test_what_has_no_place_on_the_globe_is_refused(crs: str | None, transform: Affine, words: str) -> None:
    with pytest.raises(InputError, match=words):
        outline(crs, transform)
