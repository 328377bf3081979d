"""Rasters on the pixels of a scene: the same in every window, right against a whole warp, and invalid where unknown."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject, transform_bounds

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.extras import Extra, ExtraBands
from geoseg.grid import Window
from geoseg.indices import parse_indices
from geoseg.raster.derived import DerivedScene
from geoseg.raster.scene import Scene

SHAPE = (520, 610)


def surface(rows: int, cols: int) -> NDArray[np.float32]:
    """Heights with waves and steps, (1, rows, cols)."""
    y, x = np.mgrid[:rows, :cols]
    return (300 + 20 * np.sin(x / 9) * np.cos(y / 7) + 15 * ((x // 37 + y // 41) % 2)).astype(np.float32)[None]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "scene.tif", landscape(*SHAPE))


def degrees(path: Path, spacing: float, **profile: Any) -> Path:
    """A surface in EPSG:4326 around the scene, of another resolution."""
    right, bottom = TRANSFORM @ (SHAPE[1], SHAPE[0])
    west, south, east, north = transform_bounds(UTM, "EPSG:4326", TRANSFORM.c, bottom, right, TRANSFORM.f)
    edge = 10 * spacing
    cols, rows = int((east - west + 2 * edge) / spacing), int((north - south + 2 * edge) / spacing)
    place = Affine(spacing, 0, west - edge, 0, -spacing, north + edge)
    return make_raster(path, surface(rows, cols), crs="EPSG:4326", transform=place, **profile)


def opened(scene: Path, *extras: Extra, **more: Any) -> DerivedScene:
    return DerivedScene(scene, extras=extras, quiet=True, **more)


def test_on_the_pixels_of_the_scene_it_is_read_as_it_is(scene: Path, tmp_path: Path) -> None:
    """Whatever is beside it, it is neither shifted nor smoothed."""
    heights = surface(*SHAPE)
    path = make_raster(tmp_path / "dsm.tif", heights)
    with opened(scene, Extra("", path)) as found, Scene(scene, quiet=True) as plain:
        pixels, valid = found.read(found.extent)
        np.testing.assert_array_equal(pixels[3], heights[0])
        np.testing.assert_array_equal(pixels[:3], plain.read(plain.extent)[0])
        assert valid.all()
        assert found.band_names == ("red", "green", "blue", "dsm")
        assert (found.bands, found.file_bands, found.dtype) == ((1, 2, 3, 4), (1, 2, 3), np.float32)
        assert path in found.files


@pytest.mark.parametrize("spacing", [2e-6, 7e-6, 4e-5])
def test_law_2_a_resampled_raster_is_the_same_in_every_window(scene: Path, tmp_path: Path, spacing: float) -> None:
    """To the last bit, finer or coarser than the scene; and without a seam: as if all of it was warped at once."""
    path = degrees(tmp_path / "dsm.tif", spacing)
    with opened(scene, Extra("", path)) as found:
        whole, valid = found.read(found.extent)
        assert valid.all()
    for window in (Window.of(0, 0, 3, 610), Window.of(250, 250, 12, 12), Window.of(519, 609, 1, 1)):
        with opened(scene, Extra("", path)) as again:
            rows, cols = window.within(again.extent)
            np.testing.assert_array_equal(again.read(window)[0], whole[:, rows, cols])
    with rasterio.open(path) as file:
        size = dict(zip(("XSCALE", "YSCALE"), _scales(found), strict=True))
        expected = np.empty(SHAPE, np.float32)
        reproject(
            file.read(1), expected, src_transform=file.transform, src_crs=file.crs, dst_transform=TRANSFORM,
            dst_crs=UTM, resampling=Resampling.bilinear, tolerance=0, **size,
        )  # fmt: skip
    # Steps between neighbours are of 15: this is a hundredth of a pixel.
    np.testing.assert_allclose(whole[3], expected, rtol=0, atol=0.15)


def _scales(scene: DerivedScene) -> tuple[float, float]:
    rows, cols = scene.extras[0]._scale
    return 1 / cols, 1 / rows


def test_law_5_a_pixel_without_a_value_is_invalid_and_told(
    scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heights = surface(*SHAPE)
    heights[0, 100:120, 200:230] = -9999
    path = make_raster(tmp_path / "dsm.tif", heights, nodata=-9999)
    with DerivedScene(scene, extras=[Extra("", path)]) as found:
        for _ in range(2):
            _, valid = found.read(found.extent)
    expected = np.ones(SHAPE, bool)
    expected[100:120, 200:230] = False
    np.testing.assert_array_equal(valid, expected)
    (message,) = [text for text in caplog.messages if "has no value" in text]
    assert "dsm.tif" in message


def test_what_lies_beyond_it_is_invalid_and_told(scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a scene: no value is invented beyond the edge."""
    path = make_raster(
        tmp_path / "dsm.tif", surface(300, 200), transform=TRANSFORM @ Affine.scale(2) @ Affine.translation(-10, -10)
    )
    with caplog.at_level(logging.WARNING), DerivedScene(scene, extras=[Extra("", path)]) as found:
        _, valid = found.read(found.extent)
    (message,) = [text for text in caplog.messages if "dsm.tif" in text]
    assert re.search(r"covers (5|6)\d % of", message)
    assert valid[:, :379].all()
    assert not valid[:, 381:].any()


def test_indices_and_several_rasters_follow_in_order(scene: Path, tmp_path: Path) -> None:
    two = make_raster(tmp_path / "radar.tif", np.concatenate([surface(*SHAPE), surface(*SHAPE) + 1]))
    one = make_raster(tmp_path / "x.tif", surface(*SHAPE) + 2)
    with opened(scene, Extra("", two), Extra("dsm", one), indices=parse_indices(["exg"])) as found:
        assert found.band_names == ("red", "green", "blue", "radar 1", "radar 2", "dsm", "exg")
        pixels, _ = found.read(Window.of(0, 0, 5, 5))
        np.testing.assert_array_equal(pixels[3:6], np.stack([surface(5, 5)[0] + i for i in range(3)]))
        assert [extra.bands for extra in found.extras] == [ExtraBands("radar", 2), ExtraBands("dsm", 1)]
        assert [entry["name"] for entry in found.identity()["extras"]] == ["radar", "dsm"]
        one.touch()
        with pytest.raises(InputError, match=r"x\.tif"):
            found.check_unchanged("again")


def test_of_a_folder_each_scene_gets_the_raster_of_its_place(scene: Path, tmp_path: Path) -> None:
    folder = tmp_path / "heights"
    folder.mkdir()
    for name, shift in (("west", -700), ("here", 0), ("east", 500)):
        make_raster(folder / f"{name}.tif", surface(*SHAPE), transform=TRANSFORM @ Affine.translation(shift, 0))
    with opened(scene, Extra("", folder)) as found:
        assert found.extras[0].scene.path.name == "here.tif"
        assert found.band_names[3] == "heights"


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ({"transform": TRANSFORM @ Affine.translation(5000, 0)}, "does not cover"),
        ({"crs": None, "transform": Affine(2, 0, 0, 0, 2, 0)}, "has no CRS"),
        ({"transform": TRANSFORM @ Affine.scale(0.05)}, "20 times finer"),
    ],
)
def test_what_does_not_fit_is_refused(scene: Path, tmp_path: Path, profile: dict[str, Any], word: str) -> None:
    path = make_raster(tmp_path / "dsm.tif", surface(60, 70), **profile)
    with pytest.raises(InputError, match=word):
        opened(scene, Extra("", path))


def test_a_virtual_raster_needs_the_same_permission_as_a_scene(scene: Path, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "dsm.tif", surface(*SHAPE))
    vrt = tmp_path / "dsm.vrt"
    rasterio.shutil.copy(path, vrt, driver="VRT")
    with pytest.raises(InputError, match="VRT"):
        opened(scene, Extra("", vrt))
    with opened(scene, Extra("", vrt), opening=Opening(allow_vrt=True)) as found:
        assert found.read(found.extent)[1].all()
