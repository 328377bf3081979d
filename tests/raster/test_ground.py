"""Areas of pixels against pyproj's geodesics."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from helpers.rasters import TRANSFORM
from rasterio.crs import CRS

from geoseg.grid import Window
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.units import Area


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "EPSG:4267"])
@pytest.mark.parametrize("latitude", [0.0, 52.0, -77.0])
@pytest.mark.parametrize("angle", [0, 30])
def test_geographic_pixels_have_the_area_of_the_ellipsoid(crs: str, latitude: float, angle: int) -> None:
    transform = Affine.translation(9, latitude) @ Affine.rotation(angle) @ Affine.scale(1e-4, -1e-4)
    areas = Ground(Georeference(CRS.from_string(crs), transform)).areas(Window.of(7, 20, 30, 40))
    assert isinstance(areas, np.ndarray)
    assert areas.shape == (30, 40)
    corners = [transform @ (col, row) for row, col in ((7, 20), (37, 20), (37, 60), (7, 60))]
    geodesic, _ = pyproj.CRS(crs).get_geod().polygon_area_perimeter(*zip(*corners, strict=True))
    assert areas.sum() == pytest.approx(abs(geodesic), rel=1e-6)


def test_the_area_of_a_pixel_does_not_depend_on_the_window() -> None:
    georeference = Georeference(CRS.from_epsg(4326), Affine(1e-3, 1e-4, 9, 1e-4, -1e-3, 52))
    whole, part = (Ground(georeference).areas(window) for window in (Window.of(0, 0, 50, 60), Window.of(13, 21, 9, 8)))
    assert np.array_equal(whole[13:22, 21:29], part)


def test_an_angle_may_be_in_grads() -> None:
    degrees = Georeference(CRS.from_epsg(4275), Affine(1e-3, 0, 2, 0, -1e-3, 45))
    grads = Georeference(CRS.from_epsg(4807), Affine(1e-3 / 0.9, 0, 0, 0, -1e-3 / 0.9, 50))
    window = Window.of(0, 0, 3, 4)
    np.testing.assert_allclose(Ground(grads).areas(window), Ground(degrees).areas(window), rtol=1e-9)


@pytest.mark.parametrize(
    ("crs", "transform", "area"),
    [
        ("EPSG:32633", TRANSFORM, 0.25),
        ("EPSG:32633", Affine.rotation(30) @ Affine.scale(2, 3), 6),
        ("EPSG:2263", Affine(10, 0, 0, 0, -10, 0), 100 * (1200 / 3937) ** 2),
    ],
)
def test_projected_pixels_have_the_area_of_the_map_in_metres(crs: str, transform: Affine, area: float) -> None:
    found = Ground(Georeference(CRS.from_string(crs), transform)).areas(Window.of(0, 0, 1, 1))
    assert isinstance(found, float)
    assert found == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize("unit", [None, 'UNIT["unknown",1]', 'UNIT["degree",0.0174532925199433]'])
def test_without_a_unit_of_length_there_is_no_area(unit: str | None) -> None:
    crs = None if unit is None else CRS.from_wkt(f'LOCAL_CS["site",{unit}]')
    assert Ground(Georeference(crs, TRANSFORM)).areas(Window.of(0, 0, 1, 1)) is None


@pytest.mark.parametrize(("unit", "metres"), [('UNIT["metre",1]', 1.0), ('UNIT["foot",0.3048]', 0.3048)])
def test_a_site_has_areas_by_its_unit(unit: str, metres: float) -> None:
    ground = Ground(Georeference(CRS.from_wkt(f'LOCAL_CS["site grid",{unit}]'), TRANSFORM))
    assert ground.areas(Window.of(0, 0, 1, 1)) == pytest.approx(0.25 * metres**2)
    assert ground.threshold(Area(0.25 * metres**2 * 5)) == (5, False)


MAPS = {
    "Web Mercator": ("EPSG:3857", Affine(100, 0, 1e6, 0, -100, 8.4e6)),
    "Web Mercator, rotated": (
        "EPSG:3857",
        Affine.translation(1e6, 8.4e6) @ Affine.rotation(30) @ Affine.scale(100, -90),
    ),
    "over the North Pole": ("EPSG:3413", Affine(10_000, 0, -640_000, 0, -10_000, 480_000)),
    "near the South Pole": ("EPSG:3031", Affine(250, 0, -2000, 0, -250, -900)),
    "across the antimeridian": ("+proj=stere +lat_0=0 +lon_0=180", Affine(2e4, 0, -9e5, 0, -2e4, 1e6)),
    "far from its meridian": ("EPSG:32633", Affine(100, 0, 1_900_000, 0, -100, 7_800_000)),
    "in feet": ("+proj=lcc +lat_1=20 +lat_2=60 +units=us-ft", Affine(100, 0, 1e7, 0, -100, 1e7)),
}


@pytest.mark.parametrize("name", sorted(MAPS))
def test_areas_of_a_map_are_those_of_the_ground(name: str) -> None:
    """Where a map is not true to area, pixels have the area that a projection true to area gives their outline."""
    crs, transform = MAPS[name]
    ground, window = Ground(Georeference(CRS.from_user_input(crs), transform), (130, 90)), Window.of(3, 5, 120, 80)
    assert ground.distorted
    areas = ground.areas(window)
    assert isinstance(areas, np.ndarray)
    sides = (np.array([3, 123, 123, 3, 3]), np.array([5, 5, 85, 85, 5]))
    row, col = (np.interp(np.linspace(0, 4, 801), range(5), side) for side in sides)
    x, y = transform.a * col + transform.b * row + transform.c, transform.d * col + transform.e * row + transform.f
    plane, globe = pyproj.CRS(crs), pyproj.CRS(crs).geodetic_crs
    to_globe = pyproj.Transformer.from_crs(plane, globe, always_xy=True)
    longitude, latitude = to_globe.transform(float(x.mean()), float(y.mean()))
    equal = f"+proj=laea +lat_0={latitude} +lon_0={longitude} +ellps=WGS84"
    outline = shapely.Polygon(np.stack(pyproj.Transformer.from_crs(plane, equal, always_xy=True).transform(x, y), 1))
    assert areas.sum() == pytest.approx(outline.area, rel=1e-5)
    weights = np.broadcast_to(ground.weights(window), window.shape)
    assert weights.sum() * ground.step == pytest.approx(outline.area, rel=1e-5)
    assert abs(ground.planar_area * window.pixels / outline.area - 1) > 0.005
    part = ground.areas(Window.of(70, 40, 9, 11))
    np.testing.assert_array_equal(areas[67:76, 35:46], part)


def test_pixels_off_the_globe_have_no_area() -> None:
    """At its edge, where interpolation would not do, pixels have exactly their own area."""
    disk = CRS.from_user_input("+proj=geos +h=35785831 +lon_0=0 +sweep=y")
    ground = Ground(Georeference(disk, Affine(600, 0, 4.37e6, 0, -600, 3.23e6)), (90, 120))
    areas = ground.areas(Window.of(0, 0, 90, 120))
    assert isinstance(areas, np.ndarray)
    assert ground.distorted
    rows, cols = (axis.ravel() for axis in np.mgrid[:90, :120])
    exact = np.nan_to_num(ground.ellipsoid.at(rows + 0.5, cols + 0.5)).reshape(areas.shape)
    np.testing.assert_allclose(areas, exact, rtol=1e-5)
    assert 0.2 < (areas == 0).mean() < 0.8
    assert areas[areas > 0].min() > 2 * ground.planar_area


@pytest.mark.parametrize(
    ("crs", "place", "distorted"),
    [
        ("EPSG:32633", (500_000, 5_800_000), False),
        ("EPSG:2154", (1_230_000, 6_050_000), False),
        ("EPSG:3035", (4_000_000, 3_000_000), False),
        ("EPSG:6933", (1e6, 4e6), False),
        # At the equator it is true to area; but it is not meant for the equator alone.
        ("EPSG:3857", (1e6, 0), True),
        ("EPSG:32633", (1_900_000, 7_800_000), True),
        ("EPSG:4326", (10.0, 50.0), False),
        (None, (10.0, 50.0), False),
    ],
)
def test_areas_of_survey_grids_are_those_of_the_map(
    crs: str | None, place: tuple[float, float], distorted: bool
) -> None:
    pixel = 1e-5 if crs == "EPSG:4326" else 0.5
    transform = Affine(pixel, 0, place[0], 0, -pixel, place[1])
    ground = Ground(Georeference(CRS.from_user_input(crs) if crs else None, transform), (10, 10))
    assert ground.distorted == distorted
    assert ground.uniform == (not distorted and crs != "EPSG:4326")
