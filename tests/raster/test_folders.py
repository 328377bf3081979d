"""Which files of a folder are imagery: through links, without what geoseg wrote, and nothing passed over in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.folders import RASTER_SUFFIXES, find_rasters


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


def test_linked_folders_are_searched_each_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    near = _touch(data, "b.tif", "real/c.tif")
    _touch(tmp_path, "outside.tif")
    _touch(tmp_path / "share", "2020/a.tif", "2021/d.png")
    for link, target in (
        ("2020", tmp_path / "share" / "2020"), ("again", tmp_path / "share" / "2020"), ("a-link", data / "real"),
        ("loop", data), ("real/up", tmp_path), ("more", tmp_path / "share"),
    ):  # fmt: skip
        (data / link).symlink_to(target)
    (tmp_path / "share" / "2021" / "back").symlink_to(tmp_path / "share")
    # `more` leads to both years, of which one is listed by its own link already.
    assert find_rasters(data) == sorted([*near, data / "2020" / "a.tif", data / "more" / "2021" / "d.png"])
    assert find_rasters(data / "2020") == [data / "2020" / "a.tif"]
    assert not caplog.messages


def test_what_cannot_be_read_is_not_passed_over_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (scene,) = _touch(tmp_path, "a.tif")
    for name in ("gone.tif", "loop.tif", "gone", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / (name if name == "loop.tif" else "nowhere"))
    os.mkfifo(tmp_path / "pipe.tif")
    assert find_rasters(tmp_path) == [scene, *(tmp_path / f"{name}.tif" for name in ("gone", "loop", "pipe"))]
    assert caplog.messages == [f"{tmp_path / 'gone'}: cannot be read; passed over, with all that is in it"]


def test_files_of_other_formats_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(tmp_path, "a.tif", "b.img", "c/d.NTF", "e.tif.gz", "notes.gz", "a.tif.aux.xml", "a.shp", "a.dat", "no.dat")
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 3\n")
    find_rasters(tmp_path)
    (told,) = caplog.messages
    assert told.startswith(
        f"{tmp_path}: 4 files of other formats (.dat, .img, .ntf, .tif.gz) passed over; gdal_translate"
    )
    with pytest.raises(
        InputError, match=r"no imagery; looked for .*; 1 file of other formats \(.ntf\) can be converted"
    ):
        find_rasters(tmp_path / "c")
