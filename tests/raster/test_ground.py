"""Areas of pixels against pyproj's geodesics."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
from affine import Affine
from helpers.rasters import TRANSFORM
from rasterio.crs import CRS

from geoseg.grid import Window
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground, pixel_area


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "EPSG:4267"])
@pytest.mark.parametrize("latitude", [0.0, 52.0, -77.0])
@pytest.mark.parametrize("angle", [0, 30])
def test_geographic_pixels_have_the_area_of_the_ellipsoid(crs: str, latitude: float, angle: int) -> None:
    transform = Affine.translation(9, latitude) @ Affine.rotation(angle) @ Affine.scale(1e-4, -1e-4)
    areas = pixel_area(Georeference(CRS.from_string(crs), transform), Window.of(7, 20, 30, 40))
    assert isinstance(areas, np.ndarray)
    assert areas.shape == (30, 40)
    corners = [transform @ (col, row) for row, col in ((7, 20), (37, 20), (37, 60), (7, 60))]
    geodesic, _ = pyproj.CRS(crs).get_geod().polygon_area_perimeter(*zip(*corners, strict=True))
    assert areas.sum() == pytest.approx(abs(geodesic), rel=1e-6)


def test_the_area_of_a_pixel_does_not_depend_on_the_window() -> None:
    georeference = Georeference(CRS.from_epsg(4326), Affine(1e-3, 1e-4, 9, 1e-4, -1e-3, 52))
    whole, part = (pixel_area(georeference, window) for window in (Window.of(0, 0, 50, 60), Window.of(13, 21, 9, 8)))
    assert np.array_equal(whole[13:22, 21:29], part)


def test_an_angle_may_be_in_grads() -> None:
    degrees = Georeference(CRS.from_epsg(4275), Affine(1e-3, 0, 2, 0, -1e-3, 45))
    grads = Georeference(CRS.from_epsg(4807), Affine(1e-3 / 0.9, 0, 0, 0, -1e-3 / 0.9, 50))
    window = Window.of(0, 0, 3, 4)
    np.testing.assert_allclose(pixel_area(grads, window), pixel_area(degrees, window), rtol=1e-9)


@pytest.mark.parametrize(
    ("crs", "transform", "area"),
    [
        ("EPSG:32633", TRANSFORM, 0.25),
        ("EPSG:32633", Affine.rotation(30) @ Affine.scale(2, 3), 6),
        ("EPSG:2263", Affine(10, 0, 0, 0, -10, 0), 100 * (1200 / 3937) ** 2),
    ],
)
def test_projected_pixels_have_the_area_of_the_map_in_metres(crs: str, transform: Affine, area: float) -> None:
    found = pixel_area(Georeference(CRS.from_string(crs), transform), Window.of(0, 0, 1, 1))
    assert isinstance(found, float)
    assert found == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize("crs", [None, CRS.from_wkt('LOCAL_CS["site",UNIT["unknown",1]]')])
def test_without_a_crs_of_the_earth_there_is_no_area(crs: CRS | None) -> None:
    assert pixel_area(Georeference(crs, TRANSFORM), Window.of(0, 0, 1, 1)) is None


@pytest.mark.parametrize(
    ("crs", "place", "excess"),
    [
        # Of Web Mercator it is 1 / cos² of the latitude, but for the flattening.
        ("EPSG:3857", (-8.5e6, 3.6e6), 1 / math.cos(math.radians(30.7475)) ** 2 - 1),
        ("EPSG:32633", (500_000, 5_800_000), 0.9996**2 - 1),
        ("EPSG:6933", (1e6, 4e6), 0.0),
        ("EPSG:4326", (10.0, 50.0), 0.0),
        (None, (10.0, 50.0), 0.0),
    ],
)
def test_by_how_much_areas_of_a_map_are_too_large(crs: str | None, place: tuple[float, float], excess: float) -> None:
    pixel = 1e-5 if crs == "EPSG:4326" else 0.5
    georeference = Georeference(
        CRS.from_user_input(crs) if crs else None, Affine(pixel, 0, place[0], 0, -pixel, place[1])
    )
    ground = Ground(georeference)
    window = Window.of(0, 0, 10, 10)
    assert ground.distortion(window) == pytest.approx(excess, abs=0.01 * abs(excess) + 1e-6)
    told = ground.distortion_message(window)
    assert (told is not None) == (crs == "EPSG:3857")
    assert told is None or told.startswith("areas in m² are those of the map projection, here 35% larger than")
