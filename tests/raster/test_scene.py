"""Scenes: which pixels are valid, which bands are read, and where they lie."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from geoseg.errors import BandError, InputError, InputMissingError, SettingError
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference
from geoseg.raster.scene import EVERY_BAND, Scene

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
RGBA = (*RGB, ColorInterp.alpha)

# A transverse Mercator grid of no authority: no EPSG code can stand for it.
LOCAL = (
    'PROJCS["works grid",GEOGCS["local",DATUM["site",SPHEROID["Bessel 1841",6377397.155,299.1528128]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",52.4186],PARAMETER["central_meridian",13.6272],PARAMETER["scale_factor",1.00002],'
    'PARAMETER["false_easting",40000],PARAMETER["false_northing",10000],UNIT["metre",1]]'
)


def read(path: Path, **how: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels and validity of all of a file."""
    with Scene(path, **how) as scene:
        return scene.read(scene.extent)


def test_what_a_scene_says_of_itself(scene_path: Path) -> None:
    with Scene(scene_path) as scene:
        assert (scene.shape, scene.count, scene.bands, scene.dtype) == ((300, 420), 3, (1, 2, 3), np.dtype("uint8"))
        assert scene.extent == Window.of(0, 0, 300, 420)
        assert scene.band_names == ("red", "green", "blue")
        assert (scene.block_shape, scene.driver, scene.masks) == ((256, 256), "GTiff", "none")
        assert scene.area_or_point == "Area"
        assert scene.bounds == (400_000, 5_799_850, 400_210, 5_800_000)
        assert scene.path == scene_path.resolve()


def test_windows_are_read_as_they_lie(scene_path: Path) -> None:
    whole, valid = read(scene_path)
    np.testing.assert_array_equal(whole, landscape(300, 420))
    assert valid.shape == (300, 420)
    assert valid.all()
    with Scene(scene_path) as scene:
        for window in (Window.of(0, 0, 1, 1), Window.of(200, 250, 100, 170), Window.of(299, 0, 1, 420)):
            pixels, valid = scene.read(window)
            np.testing.assert_array_equal(pixels, whole[(slice(None), *window.within(scene.extent))])
            assert valid.shape == window.shape


@pytest.mark.parametrize("window", [Window.of(290, 0, 11, 5), Window.of(0, 415, 5, 6), Window.of(-1, 0, 5, 5)])
def test_a_window_that_reaches_out_of_the_scene_is_an_error(window: Window, scene_path: Path) -> None:
    with Scene(scene_path) as scene, pytest.raises(ValueError, match="reaches beyond a scene of 300 x 420 pixels"):
        scene.read(window)


def test_threads_may_share_a_scene(scene_path: Path) -> None:
    whole, _ = read(scene_path)
    windows = [Window.of(row, col, 50, 70) for row in range(0, 300, 50) for col in range(0, 420, 70)] * 4
    with Scene(scene_path) as scene, ThreadPoolExecutor(8) as pool:
        for window, (pixels, _) in zip(windows, pool.map(scene.read, windows), strict=True):
            np.testing.assert_array_equal(pixels, whole[(slice(None), *window.within(scene.extent))])


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), nodata=st.sampled_from([None, 0.0, -7.5, np.nan]))
def test_a_pixel_is_valid_where_every_band_is_valid_and_finite(
    seed: int, nodata: float | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    random = np.random.default_rng(seed)
    pixels = random.normal(size=(3, 20, 30)).astype(np.float32)
    odd = np.array([np.nan, np.inf, -np.inf, 0, -7.5], np.float32)
    places = random.random(pixels.shape) < 0.2
    pixels[places] = random.choice(odd, places.sum())
    expected = np.isfinite(pixels) & (pixels != (np.nan if nodata is None else nodata))
    path = make_raster(tmp_path_factory.mktemp("scene") / "float.tif", pixels, nodata=nodata)
    _, valid = read(path)
    np.testing.assert_array_equal(valid, expected.all(axis=0))
    _, valid = read(path, bands=(3, 1))
    np.testing.assert_array_equal(valid, expected[[0, 2]].all(axis=0))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_nodata_of_every_type(dtype: str, tmp_path: Path) -> None:
    pixels = landscape(40, 50).astype(dtype)
    nodata = {"uint8": 255, "uint16": 65535, "int16": -32768}.get(dtype, float(np.finfo(np.float32).min))
    pixels[1, 5:9, 5:9] = nodata
    found, valid = read(make_raster(tmp_path / "scene.tif", pixels, nodata=nodata))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(valid, (pixels != pixels.dtype.type(nodata)).all(axis=0))
    assert (~valid).sum() >= 16


def test_alpha_is_a_mask(tmp_path: Path) -> None:
    alpha = np.repeat(np.array([[0, 1, 128, 255]], np.uint8), 40, axis=0).repeat(10, axis=1)
    pixels = np.concatenate([landscape(40, 40), alpha[None]])
    path = make_raster(tmp_path / "scene.tif", pixels, colorinterp=RGBA)
    with Scene(path) as scene:
        assert (scene.bands, scene.count, scene.masks) == ((1, 2, 3), 4, "alpha")
    found, valid = read(path)
    assert len(found) == 3
    np.testing.assert_array_equal(valid, alpha > 0)
    _, valid = read(path, bands=(3, 2))
    np.testing.assert_array_equal(valid, alpha > 0)


def test_alpha_chosen_as_data_is_no_mask(tmp_path: Path) -> None:
    pixels = landscape(40, 40, bands=4)
    pixels[3, :10] = 0
    path = make_raster(tmp_path / "nir.tif", pixels, colorinterp=RGBA)
    for bands in ((4, 1, 2), (1, 2, 3, 4), (4,)):
        with Scene(path, bands) as scene:
            assert scene.masks == "none"
        found, valid = read(path, bands=bands)
        np.testing.assert_array_equal(found, pixels[[band - 1 for band in bands or (1, 2, 3, 4)]])
        assert valid.all()


@pytest.mark.parametrize("internal", [True, False])
def test_masks_in_the_file_and_beside_it(internal: bool, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = make_raster(tmp_path / "scene.tif", landscape(40, 50), mask=mask)
    with Scene(path) as scene:
        assert scene.masks == "mask"
        window = Window.of(7, 11, 20, 30)
        np.testing.assert_array_equal(scene.read(window)[1], mask[window.within(scene.extent)])


def test_a_palette_is_expanded(tmp_path: Path) -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    path = make_raster(tmp_path / "scene.tif", indices, tiled=False, blockysize=16, blockxsize=16, nodata=9)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (*map(int, colour), 255) for i, colour in enumerate(colours)})
    with Scene(path) as scene:
        assert (scene.bands, scene.band_names, scene.dtype) == ((1, 2, 3), ("red", "green", "blue"), np.dtype("uint8"))
    found, valid = read(path)
    np.testing.assert_array_equal(found, colours[indices[0]].transpose(2, 0, 1))
    np.testing.assert_array_equal(valid, indices[0] != 9)
    with pytest.raises(BandError, match="leave --bands out"):
        Scene(path, (1, 1, 1))


@pytest.mark.parametrize("rows_a_strip", [1, 7, 90])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_strips(rows_a_strip: int, interleave: str, tmp_path: Path) -> None:
    pixels = landscape(90, 110)
    layout = {"tiled": False, "blockysize": rows_a_strip, "interleave": interleave, "compress": "deflate"}
    path = make_raster(tmp_path / "scene.tif", pixels, **layout)
    with Scene(path) as scene:
        assert scene.block_shape == (rows_a_strip, 110)
        np.testing.assert_array_equal(scene.read(Window.of(40, 50, 30, 20))[0], pixels[:, 40:70, 50:70])


def test_the_cache_is_as_large_as_needed_within_bounds(scene_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scene(scene_path) as scene:
        assert scene.cache_bytes(100) == 64 << 20
        # Two rows of blocks may be cut by 100 rows, and every block is 256 rows of 420 pixels of 3 bands.
        assert scene.cache_bytes(100, floor=0) == 2 * 256 * 420 * 3
        assert scene.cache_bytes(257, floor=0) == 3 * 256 * 420 * 3
        monkeypatch.setattr(Scene, "shape", (10**6, 10**6))
        assert scene.cache_bytes(100) == 512 << 20
        # A strip of 300 columns may cut three blocks, whose width is 256 too.
        assert scene.cache_bytes(257, floor=0, cols=300) == 3 * 256 * 3 * 256 * 3


@pytest.mark.parametrize(
    "transform",
    [
        TRANSFORM,
        Affine(0.1, 0, 400_000.3, 0, -0.1, 5_800_000.7),
        Affine(0.3, 0, 400_000.1, 0, 0.3, 5_800_000.7),
        Affine(0.31, 0.17, 400_000.1, 0.17, -0.31, 5_800_000.7),
        Affine(1e-6, 0, 13.123456789012345, 0, -1e-6, 52.98765432109876),
    ],
)
@pytest.mark.parametrize("crs", [UTM, LOCAL], ids=["EPSG", "local"])
def test_the_georeference_is_kept_exactly(transform: Affine, crs: str, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(40, 50), crs=crs, transform=transform)
    with Scene(path) as scene, rasterio.open(path) as file:
        assert scene.georeference.transform == transform
        assert scene.georeference.wkt == file.crs.to_wkt()
        if crs == LOCAL:
            assert "works grid" in file.crs.to_wkt()
            assert file.crs.to_epsg() is None


def test_pixel_sizes_and_parts_of_a_georeference() -> None:
    turned = Georeference(None, Affine.translation(100, 200) @ Affine.rotation(30) @ Affine.scale(3, -2))
    assert turned.pixel_size == pytest.approx((2, 3))
    assert turned.wkt is None
    window = Window.of(5, 7, 10, 10)
    assert turned.shifted(window).transform @ (0, 0) == pytest.approx(turned.transform @ (7, 5))
    assert turned.shifted(window).pixel_size == pytest.approx((2, 3))


def test_bounds_of_a_rotated_scene_hold_all_its_corners(tmp_path: Path) -> None:
    turned = Affine(3, 4, 1000, 4, -3, 2000)
    with Scene(make_raster(tmp_path / "scene.tif", landscape(20, 10), transform=turned)) as scene:
        assert scene.bounds == (1000, 1940, 1110, 2040)


def test_a_scene_without_a_crs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30), crs=None)
    with Scene(path) as scene:
        assert scene.georeference == Georeference(None, TRANSFORM)
    assert ["has no CRS" in message for message in caplog.messages] == [True]
    # Nothing is made from a raster that is only described.
    Scene(path, EVERY_BAND).close()
    with Scene(path, assume_crs=LOCAL) as scene:
        assert "works grid" in str(scene.georeference.wkt)
    assert len(caplog.messages) == 1
    for text in ("EPSG:0", "EPSG:none", "somewhere"):
        with pytest.raises(SettingError, match="--assume-crs"):
            Scene(path, assume_crs=text)


def test_an_assumed_crs_does_not_replace_one(scene_path: Path) -> None:
    with Scene(scene_path, assume_crs="EPSG:25832") as scene:
        assert scene.georeference.crs == CRS.from_epsg(32633)


def test_a_crs_without_a_transform_is_pixel_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30), transform=Affine.identity())
    with Scene(path) as scene:
        assert scene.georeference == Georeference(None, Affine.identity())
    assert ["treated as pixel space" in message for message in caplog.messages] == [True]


def test_bands_that_are_not_there(scene_path: Path, tmp_path: Path) -> None:
    for bands in ((4,), (0, 1, 2), (1, -1)):
        with pytest.raises(BandError, match="has bands 1 to 3"):
            Scene(scene_path, bands)
    many = make_raster(tmp_path / "many.tif", landscape(20, 30, bands=5))
    with pytest.raises(BandError, match="choose those to use with --bands"):
        Scene(many)
    with Scene(many, EVERY_BAND) as scene:
        assert scene.bands == (1, 2, 3, 4, 5)


def test_bands_are_named_by_colour_then_description_then_number(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30, bands=4), photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "near infrared")
        file.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.red, ColorInterp.undefined)
    with Scene(path) as scene:
        assert scene.band_names == ("band 1", "near infrared", "red", "band 4")
    with Scene(make_raster(tmp_path / "grey.tif", landscape(20, 30, bands=1))) as scene:
        assert scene.band_names == ("gray",)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30, bands=1).astype(np.complex64))
    with pytest.raises(InputError, match="complex"):
        Scene(path)


def test_a_block_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(512, 512), compress="deflate", interleave="pixel")
    with rasterio.open(path) as file:
        offset = file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1)
    data = bytearray(path.read_bytes())
    data[int(offset) : int(offset) + 200] = bytes(200)
    path.write_bytes(data)
    with Scene(path) as scene:
        scene.read(Window.of(0, 0, 256, 512))
        with pytest.raises(InputError, match=r"block of rows 256-512, columns 256-512 cannot be decoded .* again"):
            scene.read(Window.of(250, 250, 50, 50))


def test_a_missing_scene_and_one_that_is_closed(scene_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        Scene(tmp_path / "missing.tif")
    with Scene(scene_path) as scene:
        pass
    with pytest.raises(Exception, match="closed"):
        scene.read(scene.extent)


@pytest.mark.data
@pytest.mark.parametrize("name", ["odd/rasterio_RGBA.byte.tif", "odd/riotiler_pix4d_alpha_nodata.tif"])
def test_real_alpha(name: str, data: Any) -> None:
    path = data(name)
    _, valid = read(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(valid, file.dataset_mask() > 0)
    assert 0 < valid.mean() < 1


def test_names_of_bands_outlive_a_block_that_cannot_be_decoded(tmp_path: Path) -> None:
    """GDAL's error of the block came up again where the interpretation of a band was asked for."""
    path = make_raster(tmp_path / "scene.tif", landscape(512, 512), compress="deflate", tiled=True)
    with rasterio.open(path) as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    with Scene(path) as scene:
        with pytest.raises(InputError, match="cannot be decoded"):
            scene.read(scene.extent)
        assert scene.band_names == ("red", "green", "blue")
