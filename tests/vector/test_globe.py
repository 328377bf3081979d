"""Polygons in longitude and latitude: cut at the antimeridian, valid, and where the projection has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.errors import InputError
from geoseg.raster.georeference import Georeference
from geoseg.vector.globe import Globe
from geoseg.vector.polygons import Polygonizer

PLACES = {
    "UTM 60 at Fiji": ("EPSG:32760", Affine(30, 0, 818_600, 0, -30, 8_118_400), True),
    "degrees beyond 180": ("EPSG:4326", Affine(0.001, 0, 190, 0, -0.001, -17), False),
    "degrees across 180": ("EPSG:4326", Affine(0.001, 0, 179.985, 0, -0.001, -17), True),
    "Web Mercator across 180": ("EPSG:3857", Affine(50, 0, 20037508.34 - 1000, 0, -50, 7e6), True),
    "degrees from 0 to 360": ("EPSG:4326", Affine(9, 0, 0, 0, -4, 60), True),
    "degrees from Greenwich and Paris": ("EPSG:4807", Affine(0.001, 0, 0, 0, -0.001, 50), False),
    "beside the North Pole": ("EPSG:3413", Affine(1000, 0, -20_000, 0, -1000, 33_000), True),
    "beside the South Pole, rotated": (
        "EPSG:3031",
        Affine.rotation(30) @ Affine(900, 0, -20_000, 0, -900, -3000),
        True,
    ),
    "a hemisphere": ("+proj=laea +lat_0=0 +lon_0=180", Affine(2e5, 0, -4e6, 0, -2e5, 3e6), True),
    "another planet's shape": ("+proj=utm +zone=33 +ellps=intl", Affine(30, 0, 4e5, 0, -30, 6e6), False),
}


def patches(rows: int = 30, cols: int = 40) -> NDArray[np.uint8]:
    """Fields with holes of one pixel, also next to their edges."""
    random = np.random.default_rng(3)
    values = np.kron(random.integers(1, 4, (rows // 10, cols // 10)), np.ones((10, 10))).astype(np.uint8)
    values[random.random(values.shape) < 0.1] = 4
    values[1, 1::2] = 5
    return values


def polygons(values: NDArray[np.uint8], place: Georeference) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Geometries in longitude and latitude, and areas in m²."""
    work = Polygonizer(values.shape[1], place, rows=len(values), noded=True, wgs84=True)
    batches = [*work.push(values), *work.finish()]
    shapes = [
        batch.wkb[0][start:stop].tobytes()
        for batch in batches
        for start, stop in zip(batch.wkb[1][:-1], batch.wkb[1][1:], strict=True)
    ]
    return shapely.from_wkb(shapes), np.concatenate([batch.area for batch in batches])


@pytest.mark.parametrize("name", sorted(PLACES))
def test_polygons_are_valid_cut_and_of_the_right_area(name: str) -> None:
    crs, transform, crossing = PLACES[name]
    values = patches()
    place = Georeference(CRS.from_user_input(crs), transform)
    Globe(place, values.shape).check()
    shapes, areas = polygons(values, place)
    parts = shapely.get_parts(shapes)
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(parts)).all()
    west, _, east, _ = shapely.bounds(parts).T
    assert west.min() >= -180
    assert east.max() <= 180
    assert (east - west).max() <= 180
    assert (len(parts) > len(shapes)) == crossing
    if crossing:
        assert (west.min(), east.max()) == (-180, 180)
        longitude, latitude = shapely.get_coordinates(parts).T
        assert set(latitude[longitude == 180]) >= set(latitude[longitude == -180]) or "360" in name
    # Cut along the antimeridian, neighbours still meet: no gap and no overlap.
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)
    equal = pyproj.Transformer.from_crs(4326, "+proj=cea +ellps=WGS84", always_xy=True)
    fine = shapely.segmentize(shapes, 0.05 if "360" not in name else 9)
    plane = shapely.transform(fine, lambda points: np.stack(equal.transform(*points.T), axis=1))
    np.testing.assert_allclose(shapely.area(plane), areas, rtol=6e-3)
    assert shapely.area(plane).sum() == pytest.approx(areas.sum(), rel=3e-3)


def test_what_spans_the_globe_is_joined_where_its_ends_meet() -> None:
    values = np.ones((10, 36), np.uint8)
    values[4:6] = 2
    shapes, _ = polygons(values, Georeference(CRS.from_epsg(4326), Affine(10, 0, 0, 0, -10, 50)))
    assert shapely.is_valid(shapes).all()
    assert shapely.bounds(shapes)[:, [0, 2]].tolist() == [[-180, 180]] * 3
    assert shapely.area(shapes).sum() == 360 * 100


def test_long_edges_follow_their_curves() -> None:
    """A straight edge of 120 km would cut off pixels next to it, and leave holes outside of their polygons."""
    values = np.ones((6, 12_000), np.uint8)
    values[1, 1::50] = 2
    place = Georeference(CRS.from_epsg(32633), Affine(10, 0, 4e5, 0, -10, 6.8e6))
    shapes, _ = polygons(values, place)
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert Globe(place, (6, 500)).spacing is None
    spacing = Globe(place, values.shape).spacing
    assert spacing is not None
    assert 100 < spacing < 12_000


REFUSED = {
    "a pole within": ("EPSG:3413", Affine(1000, 0, -20_000, 0, -1000, 15_000), "around a pole"),
    "a pole at a corner": ("EPSG:3031", Affine(1000, 0, 0, 0, -1000, 0), "around a pole"),
    "a pole on an edge": ("EPSG:3413", Affine(1000, 0, -13_370, 0, -1000, 0), "around a pole"),
    "space": ("+proj=geos +h=35785831", Affine(3e4, 0, 4.8e6, 0, -3e4, 4.4e6), "beyond what its CRS can place"),
    "folded over": ("+proj=sinu", Affine(5e4, 0, 1.9e7, 0, -5e4, 8e6), "beyond what its CRS can place"),
    "over a pole": ("EPSG:4326", Affine(1, 0, 0, 0, -1, 95), "beyond what its CRS can place"),
    "around twice": ("EPSG:4326", Affine(10, 0, -180, 0, -1, 5), "more than once"),
    "a site": ('LOCAL_CS["site",UNIT["metre",1]]', Affine(1, 0, 0, 0, -1, 0), "does not lead to"),
    "Mars": ("IAU_2015:49900", Affine(1, 0, 0, 0, -1, 0), "does not lead to"),
    "geocentric": ("EPSG:4978", Affine(1, 0, 0, 0, -1, 0), "does not lead to"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_outline_is_refused(name: str) -> None:
    crs, transform, word = REFUSED[name]
    globe = Globe(Georeference(CRS.from_user_input(crs), transform), (30, 40))
    with pytest.raises(InputError, match=word):
        globe.check()
