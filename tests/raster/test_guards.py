"""What a path has to be before any library opens it, and which files of a folder are imagery."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.rasters import landscape, make_raster

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.guards import RASTER_SUFFIXES, find_rasters, raster_driver, regular_file


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


def _touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_imagery_is_found_by_its_name_sorted_and_below(tmp_path: Path) -> None:
    wanted = _touch(tmp_path, *(f"sub/image{suffix}" for suffix in RASTER_SUFFIXES), "A.TIF", "b.tiff")
    _touch(tmp_path, "notes.txt", "tif", "scene.tif.aux.xml", "scene.tfw")
    (tmp_path / "folder.tif").mkdir()
    assert find_rasters(tmp_path) == sorted(wanted)


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "data"
    wanted = _touch(root, "scene.tif")
    _touch(root, ".hidden.tif", ".trash/scene.tif", "sub/.thumbs/scene.tif")
    # What hides the folder that was asked for does not hide its content.
    assert find_rasters(root) == wanted


def test_geosegs_own_outputs_are_skipped(tmp_path: Path) -> None:
    wanted = _touch(tmp_path, "scene.tif", "scene.png", "a.run/part-000000-classes.tif", "other/map.tif")
    _touch(tmp_path, "maps/map.tif", "maps/map.preview.png", "confidence/map.tif")
    record = {"files": dict.fromkeys(("map.tif", "map.preview.png", "../confidence/map.tif"), "")}
    (tmp_path / "maps" / "map.geoseg.json").write_text(json.dumps(record))
    _touch(tmp_path, "new.tif.run/part-000000-classes.tif", "new.tif.run/manifest.json")
    _touch(tmp_path, "my.model.png", "my.model.metrics.jsonl")
    assert find_rasters(tmp_path) == sorted(wanted)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": null}', '{"files": 3}'])
def test_a_record_that_is_none_hides_nothing(text: str, tmp_path: Path) -> None:
    wanted = _touch(tmp_path, "map.tif")
    (tmp_path / "map.geoseg.json").write_text(text)
    assert find_rasters(tmp_path) == wanted


def test_a_folder_without_imagery_a_file_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no imagery; looked for"):
        find_rasters(tmp_path)
    with pytest.raises(InputMissingError, match="missing"):
        find_rasters(tmp_path / "missing")
    with pytest.raises(InputError, match="not a regular file"):
        find_rasters(Path(os.devnull))
    (file,) = _touch(tmp_path, "any.name")
    assert find_rasters(file) == [file]
