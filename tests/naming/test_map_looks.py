"""What the classes of a finished map look like, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers.rasters import TRANSFORM, make_raster
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.naming import map_looks as module
from geoseg.naming.map_looks import MapLooks, map_looks
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.scene import Scene

ROWS, COLS = 300, 90
"""More rows than are read at once."""

RANDOM = np.random.default_rng(0)
IDS = np.kron(RANDOM.integers(0, 4, (ROWS // 10, COLS // 10)), np.ones((10, 10), int)).astype(np.uint8)
IDS[IDS == 3] = 7
PIXELS = RANDOM.integers(1, 255, (2, ROWS + 20, COLS + 5)).astype(np.uint8)
ENDS = np.array([0.0, 0.0]), np.array([255.0, 255.0])
WITHIN = PIXELS[:, 20:, 5:]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are taken of several pieces of the rows."""
    monkeypatch.setattr(module, "_PIECE", 32)


def look(folder: Path, ids: NDArray[Any] = IDS, **more: Any) -> MapLooks:
    """What the classes look like in a map that begins 20 rows and 5 columns within its scene."""
    place = TRANSFORM @ Affine.translation(5, 20)
    make_raster(folder / "map.tif", ids[None], transform=place, nodata=0)
    make_raster(folder / "sure.tif", np.where(ids > 0, 51 * (1 + ids % 5), 0)[None].astype(np.uint8), transform=place)
    make_raster(folder / "scene.tif", PIXELS, **more)
    with (
        ClassRaster(folder / "map.tif") as raster, Scene(folder / "scene.tif", quiet=True) as scene,
        Confidence(folder / "sure.tif", raster.scene) as confidence,
    ):  # fmt: skip
        return map_looks(raster, confidence, scene, ENDS, borders=True)


def test_pixels_areas_means_and_confidence(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found.ids == (1, 2, 7)
    counts = [int((i == IDS).sum()) for i in found.ids]
    assert found.pixels.tolist() == counts
    assert found.area == pytest.approx([count * 0.25 for count in counts])
    assert found.appearance.shares == pytest.approx(np.array(counts) / sum(counts))
    for row, i in enumerate(found.ids):
        assert found.appearance.means[row] == pytest.approx(WITHIN[:, i == IDS].mean(axis=1))
        assert found.appearance.confidence[row] == pytest.approx((1 + i % 5) / 5)


def test_contrast_is_that_within_a_class_not_between_classes(tmp_path: Path) -> None:
    found = look(tmp_path)
    # Of the mean of two independent uniform bands; squares of 16 px lose little of it.
    assert found.appearance.contrast == pytest.approx(np.full(3, np.sqrt(1 / 24)), rel=0.05)


def test_borders_are_counted_once_each_also_between_the_rows_read_at_once(tmp_path: Path) -> None:
    ids = IDS.copy()
    ids[255], ids[256] = 1, 2
    found, expected = look(tmp_path, ids), np.zeros((8, 8), int)
    for one, other in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        differ = one != other
        np.add.at(expected, (one[differ], other[differ]), 1)
    expected += expected.T
    assert found.borders is not None
    assert np.array_equal(found.borders, expected[np.ix_(found.ids, found.ids)])
    assert found.borders[0, 1] >= COLS


def test_pixels_that_are_invalid_in_the_scene_do_not_count_for_colours(tmp_path: Path) -> None:
    found = look(tmp_path, nodata=40)
    valid = (WITHIN != 40).all(axis=0)
    for row, i in enumerate(found.ids):
        assert found.appearance.means[row] == pytest.approx(WITHIN[:, (i == IDS) & valid].mean(axis=1))


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (TRANSFORM @ Affine.translation(40, 0), "does not lie on its pixels"),
        (TRANSFORM @ Affine.translation(0.3, 0), "does not lie on its pixels"),
        (TRANSFORM @ Affine.scale(0.9), "does not lie on its pixels"),
    ],
)
def test_a_scene_that_lies_elsewhere_is_refused(transform: Affine, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        look(tmp_path, transform=transform)


def test_ids_of_more_than_16_bits_are_no_classes(tmp_path: Path) -> None:
    make_raster(tmp_path / "map.tif", IDS[None].astype(np.int32))
    with ClassRaster(tmp_path / "map.tif") as raster, pytest.raises(InputError, match="int32 values"):
        map_looks(raster)
    # Of other programs, and with another nodata value: values are ids moved by one.
    make_raster(tmp_path / "other.tif", IDS[None], nodata=7)
    with ClassRaster(tmp_path / "other.tif") as raster:
        found = map_looks(raster)
    assert found.ids == (0, 1, 2)
    assert found.pixels.tolist() == [int((i == IDS).sum()) for i in found.ids]
    assert found.borders is None


def test_borders_of_very_many_classes_are_not_counted(tmp_path: Path) -> None:
    make_raster(tmp_path / "map.tif", np.arange(1, 64 * 64 + 1, dtype=np.uint16).reshape(1, 64, 64))
    with ClassRaster(tmp_path / "map.tif") as raster:
        found = map_looks(raster, borders=True)
    assert found.borders is None
    assert found.pixels.tolist() == [1] * 64 * 64
