"""Declared scale and offset: files that show the same radiometry agree, however they store it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.rasters import landscape, make_raster

from geoseg.raster.scaling import Conversion, Scaling, conversion
from geoseg.raster.scene import Scene

PLAIN = Scaling((1.0, 1.0), (0.0, 0.0))
SHIFTED = Scaling((1.0, 1.0), (-1000.0, -1000.0))
REFLECTANCE = Scaling((1e-4, 1e-4), (-0.1, -0.1))
NUMBERS = np.array([[[0, 700, 4000]], [[1, 900, 9000]]])
"""Digital numbers of reflectance x 10,000."""


@pytest.mark.parametrize(
    ("scene", "dtype", "stored", "target", "target_dtype", "expected"),
    [
        (SHIFTED, "uint16", NUMBERS + 1000, PLAIN, "uint16", NUMBERS),
        (REFLECTANCE, "uint16", NUMBERS + 1000, PLAIN, "uint16", NUMBERS),
        (REFLECTANCE, "uint16", NUMBERS + 1000, PLAIN, "int16", NUMBERS),
        (REFLECTANCE, "uint16", NUMBERS + 1000, PLAIN, "float32", NUMBERS / 10_000),
        (PLAIN, "float32", NUMBERS / 10_000, REFLECTANCE, "uint16", NUMBERS + 1000),
        (PLAIN, "uint16", NUMBERS, REFLECTANCE, "uint16", NUMBERS + 1000),
        (PLAIN, "uint16", NUMBERS, SHIFTED, "uint16", NUMBERS + 1000),
    ],
)
def test_the_same_radiometry_becomes_the_same_values(
    scene: Scaling, dtype: str, stored: np.ndarray, target: Scaling, target_dtype: str, expected: np.ndarray
) -> None:
    found = conversion(scene, np.dtype(dtype), target, np.dtype(target_dtype))
    assert found is not None
    converted = found.apply(stored.astype(dtype))
    assert converted.dtype == target_dtype
    np.testing.assert_allclose(converted, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scaling", [PLAIN, SHIFTED, REFLECTANCE])
def test_the_same_declaration_takes_stored_values(scaling: Scaling) -> None:
    assert conversion(scaling, np.dtype("uint16"), scaling, np.dtype("uint16")) is None


def test_a_scale_that_only_one_declares_changes_nothing_without_an_offset() -> None:
    scale = Scaling((1e-4,) * 2, (0.0,) * 2)
    assert conversion(scale, np.dtype("uint16"), PLAIN, np.dtype("uint16")) is None
    assert conversion(PLAIN, np.dtype("uint16"), scale, np.dtype("uint16")) is None


def test_what_a_type_cannot_hold_becomes_its_nearest_value() -> None:
    values = np.array([[[-3.0, 12.6, 300.0, np.nan]]])
    assert Conversion((1.0,), (0.0,), "uint8").apply(values).tolist() == [[[0, 13, 255, 0]]]


def test_a_scene_tells_what_is_declared_for_its_bands(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30))
    with Scene(path) as scene:
        assert not scene.scaling.declared
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (2.0, 0.0, 0.5), (1.0, 7.0, 0.0)
    with Scene(path, bands=(3, 2, 1)) as scene:
        assert scene.scaling == Scaling((0.5, 1.0, 2.0), (0.0, 0.0, 1.0))
        assert Scaling.from_json(scene.scaling.to_json()) == scene.scaling
        np.testing.assert_array_equal(scene.read(scene.extent)[0], landscape(20, 30)[::-1])
