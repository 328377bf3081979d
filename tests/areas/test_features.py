"""The features of a vector file one by one: what belongs together stays together, whatever the format."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from helpers.rasters import TRANSFORM, UTM
from rasterio.crs import CRS
from shapely.geometry import MultiPolygon, Polygon, box

from geoseg.areas.features import features_of
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference

PLACE = Georeference(CRS.from_user_input(UTM), TRANSFORM)
EXTENT = Window.of(0, 0, 40, 60)


def place(left: float, top: float, right: float, bottom: float) -> Polygon:
    return box(*(TRANSFORM @ (left, bottom)), *(TRANSFORM @ (right, top)))


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb", "parquet"])
def test_a_feature_of_several_polygons_is_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"areas.{suffix}"
    shapes = [place(1, 2, 5, 7), None, MultiPolygon([place(10, 10, 14, 13), place(50, 30, 99, 99)]), place(3, 3, 9, 4)]
    table = geopandas.GeoDataFrame(geometry=shapes, crs=UTM)
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, **({"SPATIAL_INDEX": "NO"} if suffix == "fgb" else {}))
    found = {each.number: each for each in features_of(path, PLACE, EXTENT)}
    assert list(found) == [1, 3, 4]
    sizes = {number: int(each.mask(EXTENT).sum()) for number, each in found.items()}
    assert sizes == {1: 20, 3: 12 + 10 * 10, 4: 6}


def test_outside_of_its_window_a_feature_covers_nothing(tmp_path: Path) -> None:
    hole = Polygon(place(-5, 4, 70, 30).exterior, [place(20, 10, 55, 20).exterior])
    shapes = [place(10.4, 5, 20, 15), hole, place(-9, -9, -3, 50), place(55, 1, 70, 3), place(0, 38, 60, 90)]
    geopandas.GeoDataFrame(geometry=shapes, crs=UTM).to_file(tmp_path / "a.gpkg")
    for each in features_of(tmp_path / "a.gpkg", PLACE, EXTENT):
        whole = each.mask(EXTENT)
        for part in (EXTENT, Window.of(8, 0, 5, 60), Window.of(12, 25, 9, 35), Window.of(0, 0, 3, 60)):
            window, expected = each.window(part), np.zeros(EXTENT.shape, bool)
            expected[part.within(EXTENT)] = whole[part.within(EXTENT)]
            found = np.zeros(EXTENT.shape, bool)
            if window.pixels:
                assert window == window.intersect(part)
                found[window.within(EXTENT)] = each.mask(window)
            np.testing.assert_array_equal(found, expected)
    first, *_ = features_of(tmp_path / "a.gpkg", PLACE, EXTENT)
    assert first.window(EXTENT).pixels < 200


def test_a_rotated_lattice_is_no_trouble(tmp_path: Path) -> None:
    turned = Georeference(CRS.from_user_input(UTM), TRANSFORM @ Affine.rotation(30))
    geopandas.GeoDataFrame(geometry=[place(5, 5, 30, 30)], crs=UTM).to_file(tmp_path / "a.gpkg")
    (only,) = features_of(tmp_path / "a.gpkg", turned, EXTENT)
    assert only.mask(only.window(EXTENT)).sum() == only.mask(EXTENT).sum() > 100
