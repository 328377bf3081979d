"""What is recorded of imagery, and told of it, beyond what is learnt."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import geoseg
from helpers.rasters import landscape, make_raster

from geoseg.config import Opening
from geoseg.jobs.imagery import in_common_units, pixel_size_of, scaling_of, warn_of_fills
from geoseg.raster.scaling import ConvertedImage, Scaling
from geoseg.raster.scene import Scene


@pytest.mark.parametrize("value", [-9999, 1e20])
def test_one_warning_for_a_set_of_scenes(value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = landscape(60, 70).astype(np.float32)
    filled = pixels.copy()
    filled[:, :, :20] = value
    with ExitStack() as stack:
        scenes = [
            stack.enter_context(Scene(make_raster(tmp_path / f"{i}.tif", image), opening=opening))
            for i, (image, opening) in enumerate(
                [(pixels, None), (filled, None), (filled, None), (filled, Opening(nodata=value))]
            )
        ]
        warn_of_fills(scenes)
        for scene in scenes:
            scene.read(scene.extent)
    assert [scenes[1].path.name in message and "give --nodata" in message for message in caplog.messages] == [True]
    assert "(2 of 3 scenes are like this)" in caplog.messages[0]


def test_superpixels_tell_of_a_fill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = landscape(40, 50)
    pixels[:, :, :20] = 0
    scene = make_raster(tmp_path / "scene.tif", pixels)
    for given, told in (((), [True]), (("--nodata", 0), [])):
        caplog.clear()
        assert geoseg(capsys, "superpixels", scene, "-o", tmp_path / "ids.tif", "--overwrite", *given).code == 0
        assert ["give --nodata 0" in message for message in caplog.messages] == told


def test_scenes_are_learnt_in_the_units_of_the_first(tmp_path: Path) -> None:
    numbers = landscape(40, 50).astype(np.int64) * 20
    paths = []
    for i, (stored, scale, offset) in enumerate([(numbers, 1, 0), (numbers + 1000, 1, -1000), (numbers, 1, 0)]):
        paths.append(make_raster(tmp_path / f"{i}.tif", stored.astype(np.uint16)))
        with rasterio.open(paths[-1], "r+") as file:
            file.scales, file.offsets = (scale,) * 3, (offset,) * 3
    with ExitStack() as stack:
        scenes = [stack.enter_context(Scene(path)) for path in paths]
        images = in_common_units(scenes)
        assert [isinstance(image, ConvertedImage) for image in images] == [False, True, False]
        for image in images:
            np.testing.assert_array_equal(image.read(image.extent)[0], numbers)
        assert scaling_of(images) is None
        assert scaling_of(images[1:]) == Scaling((1.0,) * 3, (-1000.0,) * 3)


def test_pixel_sizes_are_metres_on_the_ground(tmp_path: Path) -> None:
    degree = 111_194.9
    places = [
        ("EPSG:32633", Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)),
        ("EPSG:3857", Affine(1, 0, 0, 0, -1, 8_399_737.9)),  # 60 degrees north, where it doubles lengths
        ("EPSG:4326", Affine(2 / degree, 0, 9, 0, -2 / degree, 0)),
        (None, Affine(7, 0, 0, 0, -7, 0)),
    ]
    with ExitStack() as stack:
        paths = [
            make_raster(tmp_path / f"{i}.tif", landscape(20, 20), crs=crs, transform=transform)
            for i, (crs, transform) in enumerate(places)
        ]
        scenes = [stack.enter_context(Scene(path, quiet=True)) for path in paths]
        for scene, expected in zip(scenes, (0.5, 0.5, 2.0), strict=False):
            assert pixel_size_of([scene]) == pytest.approx((expected, expected), rel=0.01)
        assert pixel_size_of(scenes[3:]) is None
        assert pixel_size_of(scenes) == pytest.approx((0.5, 2.0), rel=0.01)
