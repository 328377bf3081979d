"""The orientation tag of images, which viewers follow and geoseg does not: told where there is no georeference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.rasters import landscape, make_raster
from PIL import Image

from geoseg.raster.orientation import orientation, warn_of_orientation
from geoseg.raster.scene import Scene


def photo(path: Path, value: int, **options: Any) -> Path:
    """An image with this orientation, as a camera or an annotation tool writes it."""
    image, exif = Image.fromarray(np.moveaxis(landscape(16, 20), 0, -1)), Image.Exif()
    exif[271], exif[274] = "a camera", value
    if path.suffix == ".tif":
        image.save(path, tiffinfo={274: value}, **options)
    else:
        image.save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("value", [1, 3, 6, 8])
def test_the_tag_is_read_from_every_format(suffix: str, value: int, tmp_path: Path) -> None:
    with Scene(photo(tmp_path / f"x{suffix}", value), quiet=True) as scene:
        assert orientation(scene) == value


def test_no_tag_a_senseless_one_and_a_georeference_are_upright(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(np.moveaxis(landscape(16, 20), 0, -1)).save(tmp_path / "plain.jpg")
    placed = photo(tmp_path / "placed.png", 3)
    placed.with_suffix(".pgw").write_text("1\n0\n0\n-1\n400000\n5800000\n")
    utm = make_raster(tmp_path / "utm.tif", landscape(16, 20))
    for path in (tmp_path / "plain.jpg", photo(tmp_path / "odd.jpg", 9), placed, utm):
        with Scene(path, quiet=True) as scene:
            assert orientation(scene) == 1, path
            warn_of_orientation([scene])
    assert not caplog.messages


def test_many_are_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenes = [Scene(photo(tmp_path / f"{value}.jpg", value), quiet=True) for value in (1, 6, 3)]
    warn_of_orientation(scenes)
    (told,) = caplog.messages
    assert told.startswith(f"{tmp_path / '6.jpg'} and 1 more: are shown turned by 90 degrees")
    for scene in scenes:
        scene.close()
