"""Scenes with indices: their values, validity, units, and the same pixels in any window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.rasters import make_raster

from geoseg.grid import Window
from geoseg.indices import FORMULAS, IndexBand, parse_indices
from geoseg.raster.derived import DerivedScene, index_values, open_bands
from geoseg.raster.scene import Scene

ALL = (1, 2, 3, 4)
NAMES = ("red", "green", "blue", "NIR")
EXPECTED = {
    # Of red 10, green 30, blue 20, nir 50 and red edge 40.
    "ndvi": 40 / 60, "gndvi": 20 / 80, "ndre": 10 / 90, "ndwi": -20 / 80,
    "exg": 30 / 60, "gli": 30 / 90, "vari": 20 / 20,
}  # fmt: skip


def four_bands(path: Path, pixels: np.ndarray, **settings: object) -> Path:
    make_raster(path, pixels, photometric="MINISBLACK", **settings)
    with rasterio.open(path, "r+") as file:
        file.descriptions = NAMES
    return path


def test_the_formulas() -> None:
    values = {"red": 10, "green": 30, "blue": 20, "nir": 50, "red edge": 40}
    for name, formula in FORMULAS.items():
        pixels = np.array([[[values[role]]] for role in formula.roles], np.uint8)
        count = len(pixels)
        found = index_values(IndexBand(name, tuple(range(count))), pixels, (1.0,) * count, (0.0,) * count)
        assert found[0, 0] == pytest.approx(EXPECTED[name]), name


def test_an_index_is_0_where_its_denominator_is_and_clipped_elsewhere() -> None:
    pixels = np.array([[[0.0, 3.0, -1.0, np.nan]], [[0.0, -2.0, 1.0, 1.0]]])
    found = index_values(IndexBand("ndvi", (0, 1)), pixels, (1.0, 1.0), (0.0, 0.0))
    np.testing.assert_array_equal(found, [[0, 1, 0, np.nan]])


def test_what_the_file_declares_for_its_values_counts(tmp_path: Path) -> None:
    """An offset changes a ratio."""
    path = four_bands(tmp_path / "scene.tif", np.full((4, 8, 8), [[[3000]], [[1]], [[1]], [[5000]]], np.uint16))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,) * 4, (-0.1,) * 4
    with DerivedScene(path, ALL, indices=parse_indices(["ndvi"])) as scene:
        assert scene.read(scene.extent)[0][4, 0, 0] == pytest.approx(0.2 / 0.6)
        assert (scene.scaling.scale[3:], scene.scaling.offset[3:]) == ((1e-4, 1.0), (-0.1, 0.0))


def test_law_2_indices_are_the_same_in_every_window(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4, (4, 300, 280), np.uint8)
    path = four_bands(tmp_path / "scene.tif", pixels)
    with DerivedScene(path, ALL, indices=parse_indices(["ndvi", "vari"])) as scene:
        whole, valid = scene.read(scene.extent)
        for window in (Window.of(0, 0, 7, 280), Window.of(255, 250, 40, 30), Window.of(299, 279, 1, 1)):
            part, part_valid = scene.read(window)
            rows, cols = window.within(scene.extent)
            np.testing.assert_array_equal(part, whole[:, rows, cols])
            np.testing.assert_array_equal(part_valid, valid[rows, cols])


def test_law_5_valid_is_what_is_valid_without_indices(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (4, 60, 70), np.uint8)
    path = four_bands(tmp_path / "scene.tif", pixels, nodata=2)
    with Scene(path, ALL, quiet=True) as plain, DerivedScene(path, ALL, indices=parse_indices(["ndvi"])) as scene:
        own, expected = plain.read(plain.extent)
        found, valid = scene.read(scene.extent)
        np.testing.assert_array_equal(valid, expected)
        np.testing.assert_array_equal(found[:4][:, valid], own[:, valid])
        assert np.isfinite(found[4][valid]).all()
        assert (scene.dtype, found.dtype, plain.dtype) == (np.float32, np.float32, np.uint8)
        assert (scene.bands, scene.file_bands) == ((1, 2, 3, 4, 5), (1, 2, 3, 4))
        assert scene.band_names == ("red", "green", "blue", "NIR", "ndvi")


def test_without_indices_a_scene_is_as_it_was(tmp_path: Path) -> None:
    path = four_bands(tmp_path / "scene.tif", np.ones((4, 8, 8), np.uint8))
    with open_bands(path, ALL) as scene:
        assert type(scene) is Scene
        assert scene.dtype == np.uint8
