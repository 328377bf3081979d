"""Scenes that are learnt from together: of one kind of pixels, the same bands in one order; others are refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.rasters import TRANSFORM, landscape, make_raster
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp as C

from geoseg.datasets import open_dataset
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.errors import BandError, InputError

RGB = (C.red, C.green, C.blue)


def scene(path: Path, pixels: NDArray[Any], *names: str, **profile: Any) -> Path:
    """A scene, with descriptions of its bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_raster(path, pixels, **profile)
    if names:
        with rasterio.open(path, "r+") as file:
            file.descriptions = names
    return path


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return landscape(20, 24, 4)


def refused(folder: Path, *bands: int | str) -> str:
    with pytest.raises(InputError) as raised:
        open_dataset(folder, "orthophoto", bands or None)
    return str(raised.value)


def test_another_order_is_put_right_and_other_colours_are_refused(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    first = scene(tmp_path / "a.tif", pixels[:3], colorinterp=RGB)
    scene(tmp_path / "b.tif", pixels[2::-1], colorinterp=RGB[::-1])
    scene(tmp_path / "c.tif", pixels[[1, 2, 0]], "Green", "BLUE", "Red 665", photometric="minisblack")
    with open_dataset(tmp_path, "orthophoto") as found:
        assert found.bands == ("red", "green", "blue")
        for index in range(3):
            np.testing.assert_array_equal(found.image(index)[0], pixels[:3])
    infrared = scene(tmp_path / "d.tif", pixels[[3, 0, 1]], colorinterp=(C.nir, C.red, C.green))
    assert refused(tmp_path) == (
        f"{infrared}: has the bands nir, red, green, others such as {first.name} have red, green, blue; choose common "
        "ones with --bands, or train on them apart"
    )
    bad = BadImages(1)
    with open_dataset(tmp_path, "orthophoto", None, bad) as found:
        assert (found.count, list(bad.errors)) == (3, [infrared])
    with open_dataset(tmp_path, "orthophoto", ("green", "red")) as found:
        np.testing.assert_array_equal(found.image(3)[0], pixels[[1, 0]])


def test_the_colours_of_most_count_not_those_of_the_first(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    odd = scene(tmp_path / "a.tif", pixels[[3, 0, 1]], colorinterp=(C.nir, C.red, C.green))
    for name in ("b", "c"):
        scene(tmp_path / f"{name}.tif", pixels[:3], colorinterp=RGB)
    assert refused(tmp_path).startswith(f"{odd}: has the bands nir, red, green, others such as b.tif")


def test_bands_without_names_fit_all_and_incomparable_ones_are_told(
    tmp_path: Path, pixels: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    scene(tmp_path / "a.tif", pixels[:3], photometric="minisblack")
    scene(tmp_path / "b.tif", pixels[:3], colorinterp=RGB)
    with open_dataset(tmp_path, "orthophoto") as found:
        assert (found.count, found.bands) == (2, ("band 1", "band 2", "band 3"))
    assert not caplog.messages
    scene(tmp_path / "c.tif", pixels[:3], "B4", "B3", "B2", photometric="minisblack")
    with open_dataset(tmp_path, "orthophoto"):
        assert "c.tif: its bands B4, B3, B2 are taken for the red, green, blue of b.tif" in caplog.text


def test_chosen_bands_are_believed_with_a_warning(
    tmp_path: Path, pixels: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    scene(tmp_path / "a.tif", pixels[:3], colorinterp=RGB)
    scene(tmp_path / "b.tif", pixels[:3], colorinterp=RGB[::-1])
    with open_dataset(tmp_path, "orthophoto", (1, 2, 3)) as found:
        np.testing.assert_array_equal(found.image(1)[0], pixels[:3])
    assert caplog.messages == [
        f"{tmp_path / 'b.tif'}: --bands takes blue, green, red here, but red, green, blue in a.tif"
    ]


@pytest.mark.parametrize(
    ("dtype", "told"),
    [("uint16", "has 16-bit pixels (uint16), others such as a.tif have 8-bit"), ("float32", "floating")],
)
def test_mixed_depths_are_refused(dtype: str, told: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    scene(tmp_path / "a.tif", pixels[:3])
    scene(tmp_path / "b.tif", pixels[:3].astype(dtype))
    assert told in refused(tmp_path)
    assert refused(tmp_path, 1, 2).startswith(f"{tmp_path / 'b.tif'}: ")


def test_types_of_one_range_go_together(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    scene(tmp_path / "a.tif", pixels[:3].astype("uint16"))
    scene(tmp_path / "b.tif", pixels[:3].astype("int16"))
    with open_dataset(tmp_path, "orthophoto") as found:
        assert found.count == 2


def test_other_numbers_of_bands_are_refused_with_common_ones(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for name in ("b", "c"):
        scene(tmp_path / f"{name}.tif", pixels[:3], colorinterp=RGB)
    scene(tmp_path / "a.tif", pixels[[3, 0, 1, 2]], "NIR", "Red", "Green", "Blue", photometric="minisblack")
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / 'a.tif'}: has 4 bands (NIR, Red, Green, Blue), others such as b.tif have 3")
    assert message.endswith("choose common ones with --bands red,green,blue")
    with open_dataset(tmp_path, "orthophoto", ("red", "green", "blue")) as found:
        assert found.count == 3


def test_single_bands_of_one_scene_are_refused(
    tmp_path: Path, pixels: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    safe = tmp_path / "my data"
    for number, band in enumerate(("B02", "B03", "B8A")):
        scene(safe / f"T32_{band}_10m.tif", pixels[number : number + 1])
    message = refused(safe)
    assert message.startswith(f"{safe}: 3 files of one band (T32_B02_10m.tif, T32_B03_10m.tif ...) share one grid")
    assert f"gdalbuildvrt -separate '{safe / 'scene.vrt'}' '{safe / 'T32_B02_10m.tif'}' " in message
    assert "--allow-vrt" in message
    assert not caplog.messages
    with open_dataset(safe, "orthophoto", (1,)) as found:
        assert found.count == 3


@pytest.mark.parametrize("names", [("red", "green", "nir"), ("b1", "b2", "b3"), ("Band-4", "Band-3", "Band-2")])
def test_names_of_bands_in_names_of_files(names: tuple[str, ...], tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for number, name in enumerate(names):
        scene(tmp_path / f"m_12_{name}.tif", pixels[number : number + 1])
    assert "bands of one scene" in refused(tmp_path)


def test_grey_images_of_one_grid_may_be_dates_and_are_only_told(
    tmp_path: Path, pixels: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    for year in (1953, 1962):
        scene(tmp_path / f"area_{year}.tif", pixels[:1])
    with open_dataset(tmp_path, "orthophoto") as found:
        assert found.count == 2
    (told,) = caplog.messages
    assert (
        "2 files of one band (area_1953.tif, area_1962.tif) share one grid and are learnt from as grey images" in told
    )
    caplog.clear()
    # Neighbours, and images without a place, are neither bands nor dates.
    other = tmp_path / "tiles"
    scene(other / "b1.tif", pixels[:1])
    scene(other / "b2.tif", pixels[:1], transform=TRANSFORM @ Affine.translation(24, 0))
    for name in ("b3", "b4"):
        Image.fromarray(pixels[0]).save(other / f"{name}.png")
    with open_dataset(other, "orthophoto") as found:
        assert found.count == 4
    assert not caplog.messages


def test_very_different_pixel_sizes_are_told(
    tmp_path: Path, pixels: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    paths = [
        scene(tmp_path / f"{scale}.tif", pixels, transform=TRANSFORM @ Affine.scale(scale)) for scale in (1, 3, 3.8)
    ]
    with Orthophotos(paths):
        assert not caplog.messages
    degrees = scene(tmp_path / "d.tif", pixels, crs="EPSG:4326", transform=Affine(2e-5, 0, 9, 0, -2e-5, 60))
    with caplog.at_level(logging.WARNING), Orthophotos([*paths, degrees]):
        assert not caplog.messages  # 1.6 m: a degree is half as long there from west to east
    paths.append(scene(tmp_path / "coarse.tif", pixels, transform=TRANSFORM @ Affine.scale(5)))
    with Orthophotos(paths):
        (told,) = caplog.messages
    assert told.startswith("the scenes have pixels of 0.5 m (1.tif) to 2.5 m (coarse.tif)")


def test_files_reached_by_links_are_judged_by_the_names_of_the_links(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for number, band in enumerate(("B02", "B03")):
        kept = scene(tmp_path / "annex" / str(number) / f"{number}.tif", pixels[number : number + 1])
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{band}.tif").symlink_to(kept)
    with pytest.raises(InputError, match="bands of one scene"):
        open_dataset(tmp_path / "data", "orthophoto")


def test_damaged_and_misfitting_scenes_are_in_one_report(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for name in ("a", "b"):
        scene(tmp_path / f"{name}.tif", pixels[:3])
    scene(tmp_path / "c.tif", pixels[:2])
    (tmp_path / "d.tif").symlink_to("nowhere.tif")
    bad = BadImages(0)
    with open_dataset(tmp_path, "orthophoto", None, bad) as found, pytest.raises(InputError, match="2 of 4 images"):
        bad.enforce_limit(found.count + len(bad.errors))
    assert isinstance(bad.errors[tmp_path / "c.tif"], BandError)
    assert "it is a link to nowhere.tif" in str(bad.errors[tmp_path / "d.tif"])
