"""Invalid pixels take the values of the nearest valid one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geoseg.raster.filling import fill_invalid


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.95])
def test_the_nearest_valid_pixel_is_taken_by_euclidean_distance(share: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        shape = tuple(int(side) for side in random.integers(1, 30, 2))
        valid = random.random(shape) < share
        if not valid.any():
            continue
        rows, cols = np.indices(shape)
        places = np.stack([rows, cols]).astype(np.float32)
        places[:, ~valid] = np.nan
        fill_invalid(places, valid)
        row, col = places.astype(int)
        assert valid[row, col].all()
        distance = np.hypot(row - rows, col - cols)
        assert np.allclose(distance, ndimage.distance_transform_edt(~valid))


def test_valid_pixels_stay_and_without_any_all_is_zero() -> None:
    image = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    before = image.copy()
    fill_invalid(image, np.ones((20, 30), bool))
    assert np.array_equal(image, before)
    fill_invalid(image, np.zeros((20, 30), bool))
    assert not image.any()
