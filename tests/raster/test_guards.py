"""What a path has to be before any library opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.rasters import landscape, make_raster

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.guards import raster_driver, regular_file


def test_a_regular_file_comes_back_with_links_resolved(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x")
    link.symlink_to(file)
    assert regular_file(link) == regular_file(file) == file.resolve()


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputMissingError, match="no such file"):
        regular_file(tmp_path / "missing")
    with pytest.raises(InputMissingError, match="no such file"):
        regular_file(tmp_path / "empty" / "below")
    with pytest.raises(InputError, match="is a folder"):
        regular_file(tmp_path)
    with pytest.raises(InputError, match="is empty"):
        regular_file(tmp_path / "empty")
    with pytest.raises(InputError, match="not a regular file"):
        regular_file(Path(os.devnull))
    with pytest.raises(InputError, match="cannot be reached"):
        regular_file(tmp_path / "loop")
    with pytest.raises(InputError, match="cannot be reached"):
        regular_file(tmp_path / ("n" * 300))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.tif").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="is not readable by the current user"):
        regular_file(tmp_path / "secret.tif")


@pytest.mark.parametrize("driver", ["GTiff", "JPEG", "PNG", "JP2OpenJPEG"])
def test_the_first_bytes_choose_the_driver_not_the_name(driver: str, tmp_path: Path) -> None:
    suffix = ".jp2" if driver == "JP2OpenJPEG" else ".tif"
    made = make_raster(tmp_path / f"image{suffix}", landscape(40, 50), driver=driver)
    assert raster_driver(made) == driver
    assert raster_driver(made.rename(tmp_path / "image.png")) == driver


def test_big_tiff_and_both_byte_orders(tmp_path: Path) -> None:
    for number, size in enumerate(("YES", "NO")):
        for order in ("LITTLE", "BIG"):
            path = make_raster(tmp_path / f"{number}{order}.tif", landscape(40, 50), BIGTIFF=size, ENDIANNESS=order)
            assert raster_driver(path) == "GTiff"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"plain\ttext\r\n", "is text"),
        (b'<VRTDataset rasterXSize="1" rasterYSize="1">', "is a GDAL VRT"),
        (b"<!DOCTYPE html>", "is an HTML page"),
        (b"\x00\x01\x02", "is of unknown format"),
    ],
)
def test_anything_else_is_called_what_it_is(body: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(body)
    with pytest.raises(InputError, match=what):
        raster_driver(path)
