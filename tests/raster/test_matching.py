"""Values of a scene that are given the statistics of a model."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.rasters import landscape

from geoseg.raster.matching import Curve, matching
from geoseg.raster.statistics import BandStats

LEARNT = BandStats((90.0, 120.0, 100.0), (20.0, 31.0, 25.0), (50.0, 61.0, 55.0), (140.0, 190.0, 160.0), 1000)


def stats_of(pixels: np.ndarray) -> BandStats:
    values = pixels.reshape(len(pixels), -1).astype(np.float64)
    low, high = np.percentile(values, (2, 98), axis=1, method="inverted_cdf")
    columns = (values.mean(1), values.std(1), low, high)
    return BandStats(*(tuple(map(float, column)) for column in columns), values.shape[1])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_moments_and_percentiles_become_those_of_the_model(dtype: type) -> None:
    pixels = (landscape(80, 90).astype(np.int64) * 37 + 900).astype(dtype)
    stats = stats_of(pixels)
    matched = stats_of(matching(stats, LEARNT, "float32", "moments").apply(pixels))
    np.testing.assert_allclose(matched.mean, LEARNT.mean, rtol=1e-4)
    np.testing.assert_allclose(matched.std, LEARNT.std, rtol=1e-4)
    curve = matching(stats, LEARNT, "float32", "percentiles")
    matched = stats_of(curve.apply(pixels))
    np.testing.assert_allclose(matched.low, LEARNT.low, rtol=1e-4)
    np.testing.assert_allclose(matched.high, LEARNT.high, rtol=1e-4)
    middle = np.array(stats.mean, np.float64)[:, None, None]
    np.testing.assert_allclose(curve.apply(middle)[:, 0, 0], LEARNT.mean, rtol=1e-6)


def test_whole_numbers_are_rounded_and_stay_in_their_type() -> None:
    curve = Curve(((10.0, 20.0, 30.0),), ((100.0, 150.0, 151.0),), "uint8")
    values = [0, 10, 15, 20, 25, 30, 40, 200, 60000]
    expected = [50, 100, 125, 150, 150, 151, 152, 168, 255]
    for dtype in (np.uint16, np.float64):
        assert curve.apply(np.array(values, dtype)[None, None])[0, 0].tolist() == expected
    assert curve.apply(np.array([-30, -1], np.int8)[None, None])[0, 0].tolist() == [0, 45]
    assert curve.apply(np.array([[[np.nan]]]))[0, 0, 0] == 0


def test_a_band_that_percentiles_do_not_describe_is_matched_by_its_moments() -> None:
    constant = BandStats((7.0,) * 3, (1.0,) * 3, (7.0,) * 3, (8.0,) * 3, 10)
    found = matching(constant, LEARNT, "float32", "percentiles").apply(np.full((3, 1, 2), 7, np.uint8))
    np.testing.assert_allclose(found[:, 0, 0], LEARNT.mean)
    sparse = BandStats((1.0,) * 3, (5.0,) * 3, (0.0,) * 3, (0.5,) * 3, 10)
    found = matching(sparse, LEARNT, "float32", "percentiles").apply(np.full((3, 1, 2), 6.0))
    np.testing.assert_allclose(found[:, 0, 0], np.add(LEARNT.mean, LEARNT.std))
