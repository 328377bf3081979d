"""Areas of classes: every pixel is counted once, and areas are those on the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from helpers.maps import quilt
from helpers.rasters import make_raster

from geoseg.outputs.class_areas import class_areas, hectares, percent
from geoseg.outputs.survey import Survey
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.ground import Ground


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)),
        ("EPSG:3857", Affine(100, 0, 1_000_000, 0, -100, 8_000_000)),
        ("EPSG:4326", Affine(0.01, 0.001, 10, 0.001, -0.01, 60)),
        (None, Affine.identity()),
    ],
)
def test_areas_are_sums_over_pixels(tmp_path: Path, crs: str | None, transform: Affine) -> None:
    values = quilt(300, 90, 5)
    values[:50, :20] = 0
    path = make_raster(tmp_path / "map.tif", values[None], nodata=0, crs=crs, transform=transform)
    with ClassRaster(path) as raster:
        found = class_areas(raster)
        ground = Ground(raster.scene.georeference, values.shape).areas(raster.scene.extent)
    assert list(found) == [1, 2, 3, 4, 5]
    for value, area in found.items():
        assert area.pixels == np.count_nonzero(values == value)
        if ground is None:
            assert area.m2 is None
        else:
            expected = np.broadcast_to(ground, values.shape)[values == value].sum()
            assert area.m2 == pytest.approx(expected, rel=1e-6)


def test_web_mercator_is_measured_on_the_ellipsoid(tmp_path: Path) -> None:
    transform = Affine(100, 0, 1_000_000, 0, -100, 8_000_000)  # 58 degrees north, where lengths are doubled
    path = make_raster(tmp_path / "map.tif", np.ones((1, 20, 20), np.uint8), crs="EPSG:3857", transform=transform)
    with ClassRaster(path) as raster:
        assert 0.25 < (class_areas(raster)[1].m2 or 0) / (400 * 100**2) < 0.3


def test_ids_of_any_type_are_those_of_the_file(tmp_path: Path) -> None:
    values = np.array([[-5, 7, 7, 70_000]], np.int32)
    path = make_raster(tmp_path / "map.tif", values[None], tiled=False, blockxsize=None, blockysize=None)
    with ClassRaster(path) as raster:
        assert {value: area.pixels for value, area in class_areas(raster).items()} == {-5: 1, 7: 2, 70_000: 1}


def test_a_survey_copies_pixels_as_they_are_and_remembers_what_it_misses(tmp_path: Path) -> None:
    values = quilt(600, 500, 4)
    values[333, 77] = 9
    path = make_raster(tmp_path / "map.tif", values[None], nodata=0)
    sure = make_raster(tmp_path / "sure.tif", np.full((1, 600, 500), 51, np.uint8), nodata=0)
    with ClassRaster(path) as raster, Confidence(sure, raster.scene) as confidence:
        survey = Survey(raster, confidence, max_side=60)
        for _ in survey.steps():
            pass
    assert survey.values.shape == (60, 50)
    np.testing.assert_array_equal(survey.values, values[np.ix_(survey.rows, survey.cols)])
    assert survey.certainty is not None
    assert survey.certainty.min() == pytest.approx(0.2)
    assert survey.missed[9] == [(333, 77)]
    assert survey.areas[9].pixels == 1
    assert survey.areas[1].confidence == pytest.approx(0.2)


def test_numbers_are_told_to_three_digits() -> None:
    assert [hectares(m2) for m2 in (0, 1, 123.4, 120_000, 12_345_678)] == ["0", "< 0.001", "0.0123", "12.0", "1,235"]
    assert [percent(share) for share in (0, 0.0001, 0.0126, 1)] == ["0.0 %", "< 0.1 %", "1.3 %", "100.0 %"]
