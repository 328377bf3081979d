"""Files beside a raster: which of them are refused, and that the environment hides none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.rasters import landscape, make_raster
from rasterio.shutil import copy

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.raster.scene import Scene
from geoseg.raster.sidecars import check_sidecars

HOLE = np.zeros((40, 50), bool)
HOLE[5:20, 10:30] = True


def write_mask(path: Path, hole: np.ndarray = HOLE, tags: bool = True) -> None:
    """A mask file with a hole."""
    layout = {"driver": "GTiff", "count": 1, "height": hole.shape[0], "width": hole.shape[1], "dtype": "uint8"}
    with rasterio.open(path, "w", **layout) as file:
        file.write(np.where(hole, 0, 255).astype(np.uint8), 1)
        if tags:
            file.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": 2 for band in (1, 2, 3)})


@pytest.mark.parametrize(
    "name",
    [
        "s_rpc.txt", "s.RPB", "S.IMD", "s.xml", "s.aux", "s.tif.aux", "s.tif.MSK", "s.tif.ovr", "s.tfw", "s.tab",
        "s_METADATA.txt", "METADATA.DIM", "summary.txt", "RPC_1.xml",
    ],
)  # fmt: skip
def test_a_pipe_where_gdal_looks_for_metadata(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    path.touch()
    assert check_sidecars(path) == ()
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is not a regular file"):
        check_sidecars(path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is not a regular file"):
        check_sidecars(path)


def test_pipes_that_gdal_does_not_look_at(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    path.touch()
    for name in ("log", "other.xml", "s-progress", "ss.txt"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "s.txt").symlink_to(tmp_path / "gone")
    os.utime(tmp_path, (1, 1))
    for _ in range(2):
        assert check_sidecars(path) == ()
    os.mkfifo(tmp_path / "s.xml")
    with pytest.raises(InputError, match=r"s\.xml: is read together with s\.tif"):
        check_sidecars(path)


def test_a_pipe_that_comes_within_the_resolution_of_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    path.touch()
    changed = time.time_ns()
    os.utime(tmp_path, ns=(changed, changed))
    assert check_sidecars(path) == ()
    os.mkfifo(tmp_path / "s.xml")
    os.utime(tmp_path, ns=(changed, changed))
    with pytest.raises(InputError, match="is not a regular file"):
        check_sidecars(path)


def in_a_thread(work: Callable[[], None]) -> None:
    """Do it in a thread that ends: rasterio leaves options of the environment that it replaced to the thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@pytest.mark.parametrize("value", ["EMPTY_DIR", "TRUE"])
def test_the_environment_hides_nothing(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(40, 50))
    write_mask(tmp_path / "scene.tif.msk")
    image = make_raster(tmp_path / "image.png", landscape(40, 50), driver="PNG", crs=None, transform=None)
    (tmp_path / "image.png.aux.xml").unlink(missing_ok=True)
    (tmp_path / "image.pgw").write_text("2\n0\n0\n-2\n501\n899\n")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        masked = make_raster(tmp_path / "masked.tif", landscape(40, 50), mask=~HOLE)
    copy(masked, tmp_path / "masked.jpg", driver="JPEG")
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", value)
    monkeypatch.setenv("GDAL_PAM_ENABLED", "NO")
    monkeypatch.setenv("JPEG_READ_MASK", "NO")

    def look() -> None:
        for file in (path, tmp_path / "masked.jpg"):
            with Scene(file) as scene:
                np.testing.assert_array_equal(scene.read(scene.extent)[1], ~HOLE)
        with Scene(image) as scene:
            assert tuple(scene.georeference.transform)[:6] == (2, 0, 500, 0, -2, 900)

    in_a_thread(look)


def test_a_vrt_reads_what_lies_beside_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_raster(tmp_path / "scene.tif", landscape(40, 50, bands=1))
    write_mask(tmp_path / "scene.tif.msk")
    source = '<SimpleSource><SourceFilename relativeToVRT="1">scene.tif</SourceFilename><SourceBand>{}</SourceBand>'
    band = '<VRTRasterBand dataType="Byte">' + source + "</SimpleSource></VRTRasterBand>"
    path = tmp_path / "scene.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40">'
        f"<MaskBand>{band.format('mask,1')}</MaskBand>{band.format(1)}</VRTDataset>"
    )
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
    other = HOLE[::-1, ::-1]
    write_mask(tmp_path / "scene.vrt.msk", other)

    def look() -> None:
        with Scene(path, opening=Opening(allow_vrt=True)) as scene:
            np.testing.assert_array_equal(scene.read(scene.extent)[1], ~HOLE & ~other)
            assert tmp_path / "scene.vrt.msk" in scene.files

    in_a_thread(look)


@pytest.mark.parametrize("driver", ["GTiff", "JPEG"])
def test_a_mask_beside_one_inside(driver: str, tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = make_raster(tmp_path / "scene.tif", landscape(40, 50), mask=~HOLE)
    if driver == "JPEG":
        copy(path, tmp_path / "scene.jpg", driver="JPEG")
        path = tmp_path / "scene.jpg"
    other = HOLE[::-1, ::-1]
    write_mask(path.with_name(path.name + ".msk"), other)
    with Scene(path) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], ~HOLE & ~other)


def test_masks_that_do_not_fit_or_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(40, 50))
    write_mask(tmp_path / "scene.tif.msk", HOLE[:30])
    with pytest.raises(InputError, match=r"is 50 x 30 px, and the mask of a raster of 50 x 40 px; remove it"):
        Scene(path)
    write_mask(tmp_path / "scene.tif.msk", tags=False)
    with Scene(path) as scene:
        assert scene.read(scene.extent)[1].all()
        assert scene.masks == "none"
    assert ["marks no pixel" in message for message in caplog.messages] == [True]


def test_each_page_has_its_own_mask(tmp_path: Path) -> None:
    path, mask = make_raster(tmp_path / "scene.tif", landscape(40, 50)), ~HOLE
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        make_raster(path, landscape(40, 50, seed=1), mask=mask, APPEND_SUBDATASET="YES")
    with Scene(path) as scene:
        assert scene.read(scene.extent)[1].all()
    with Scene(path, opening=Opening(page=2)) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], mask)
    write_mask(tmp_path / "scene.tif.msk", HOLE[::-1])
    with Scene(path) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], ~HOLE[::-1])
