"""The record beside an output: one writer, and one reader that takes nothing on trust."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap
from geoseg.errors import InputError, InputMissingError
from geoseg.files.atomic import sha256
from geoseg.files.record import RECORD, find_record, provenance_tags, read_record, record_path, versions, write_record

SHA = "ab" * 32


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A map of two files with its record."""
    for name in ("map.tif", "map.qml", "other.tif"):
        (tmp_path / name).write_bytes(name.encode())
    facts = {"geoseg": "1", "classes": ClassMap.default(2).to_json()}
    write_record(tmp_path / "map.geoseg.json", facts, [tmp_path / "map.tif", tmp_path / "map.qml"])
    return tmp_path


def test_what_was_written_is_read(result: Path) -> None:
    record = read_record(result / "map.geoseg.json")
    assert record.content["geoseg"] == "1"
    assert record.classes == ClassMap.default(2)
    assert record.files == {result / name: sha256(result / name) for name in ("map.tif", "map.qml")}


def test_files_in_other_folders_are_named_relative_to_the_record(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "confidence.tif"
    file.write_bytes(b"x")
    (tmp_path / "b").mkdir()
    write_record(tmp_path / "b" / "map.geoseg.json", {}, {file: SHA})
    assert json.loads((tmp_path / "b" / "map.geoseg.json").read_text())["files"] == {"../a/confidence.tif": SHA}
    assert read_record(tmp_path / "b" / "map.geoseg.json").names(file)


@pytest.mark.parametrize(
    ("output", "record"),
    [("map.tif", "map"), ("map.TIFF", "map"), ("map.gpkg", "map.gpkg"), ("a.b.fgb", "a.b.fgb"), ("map.png", "map.png")],
)
def test_a_raster_and_vector_data_of_one_stem_have_records_of_their_own(output: str, record: str) -> None:
    assert record_path(Path("folder") / output) == Path("folder") / f"{record}{RECORD}"


def test_a_file_is_found_in_the_record_that_names_it(result: Path) -> None:
    found = find_record(result / "map.tif")
    assert found is not None
    assert found.path == result / "map.geoseg.json"
    assert find_record(result / "map.qml") is None
    anywhere = find_record(result / "map.qml", search_folder=True)
    assert anywhere is not None
    assert anywhere.path == found.path
    assert find_record(result / "other.tif", search_folder=True) is None


def test_a_record_that_names_another_file_is_not_that_of_this_one(result: Path) -> None:
    (result / "map.geoseg.json").rename(result / "other.geoseg.json")
    assert find_record(result / "other.tif") is None


DAMAGED = [
    b"", b"{", b"[]", b"null", b"{}", b'{"files": []}', b'{"files": {}}', b'{"files": 3}', b"\xff\xfe", b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_an_error_and_belongs_to_no_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "map.tif").write_bytes(b"x")
    path = tmp_path / "map.geoseg.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"map\.geoseg\.json: is damaged"):
        read_record(path)
    assert find_record(tmp_path / "map.tif", search_folder=True) is None


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(ANYTHING)
def test_classes_of_any_shape_are_classes_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, classes: object
) -> None:
    path = tmp_path_factory.mktemp("record") / "map.geoseg.json"
    path.write_text(json.dumps({"files": {"map.tif": SHA}, "classes": classes}))
    if classes == []:
        assert read_record(path).classes == ClassMap(())
        return
    with pytest.raises(InputError, match=r"map\.geoseg\.json: is damaged"):
        read_record(path)


ENTRY = {"id": 1, "name": "water", "colour": "#0000ff"}


@pytest.mark.parametrize(
    "entries",
    [
        {"files": {"map.tif": 7}}, {"scene": [1]}, {"settings": "x"}, {"model_sha256": 7}, {"polygons": True},
        {"superpixels": "7"}, {"raster": {}}, {"raster": {"name": 7}}, {"raster": {"name": "a", "bytes": "7"}},
        {"geoseg": [1]}, {"classes": [{**ENTRY, "name": None}]}, {"classes": [{**ENTRY, "id": float("inf")}]},
        {"classes": [{**ENTRY, "id": float("nan")}]}, {"classes": [{**ENTRY, "colour": 7}]},
        {"classes": [ENTRY, ENTRY]},
    ],
    ids=str,
)  # fmt: skip
def test_a_known_entry_of_another_kind_is_damage(
    entries: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "map.tif").write_bytes(b"x")
    path = tmp_path / "map.geoseg.json"
    path.write_text(json.dumps({"files": {"map.tif": SHA}, "unknown": [1], **entries}))
    with pytest.raises(InputError, match=r"map\.geoseg\.json: is damaged .* make the result again, or remove"):
        read_record(path)
    assert find_record(tmp_path / "map.tif") is None
    assert f"passed over: {path}: is damaged" in caplog.text


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes(b"x")
    os.mkfifo(tmp_path / "map.geoseg.json")
    (tmp_path / "other.geoseg.json").symlink_to("/dev/zero")
    assert find_record(tmp_path / "map.tif", search_folder=True) is None
    for name in ("map", "other"):
        with pytest.raises(InputError, match="no regular file"):
            read_record(tmp_path / f"{name}.geoseg.json")


def test_names_that_are_no_paths_are_names_of_no_file(tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes(b"x")
    for name in ("y" * 300, "a\0b", "../" * 3000):
        (tmp_path / "a.geoseg.json").write_text(json.dumps({"files": {name: SHA}}))
        assert find_record(tmp_path / "map.tif", search_folder=True) is None


def test_files_are_found_behind_folders_that_are_links(tmp_path: Path) -> None:
    """There, ".." is the folder above the one that the link leads to."""
    real, other = tmp_path / "disk" / "maps", tmp_path / "other"
    for folder in (real, other):
        folder.mkdir(parents=True)
        (folder / "map.tif").write_bytes(b"x")
    (tmp_path / "maps").symlink_to(real)
    record = tmp_path / "maps" / "map.geoseg.json"
    write_record(record, {}, [tmp_path / "maps" / "map.tif", other / "map.tif"])
    assert json.loads(record.read_text())["files"].keys() == {"map.tif", "../../other/map.tif"}
    for path in (record, real / "map.geoseg.json"):
        found = read_record(path)
        assert found.names(other / "map.tif")
        assert all(file.exists() for file in found.files)


def test_a_record_is_found_by_another_spelling_of_the_path(result: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(result, target_is_directory=True)
    assert read_record(result / "map.geoseg.json").names(tmp_path / "link" / "map.tif")
    assert read_record(result / "map.geoseg.json").names(result / "elsewhere" / ".." / "map.tif")


def test_the_same_result_has_the_same_record(tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes(b"x")
    written = []
    for facts in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        record = write_record(tmp_path / "map.geoseg.json", facts, [tmp_path / "map.tif"])
        assert record == read_record(record.path)
        written.append(record.path.read_bytes())
    assert written[0] == written[1]
    assert written[0].endswith(b"}\n")


def test_the_time_of_a_raster_is_that_of_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert provenance_tags({})["TIFFTAG_DATETIME"] == "1970:01:01 00:00:00"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert "TIFFTAG_DATETIME" not in provenance_tags({})


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no such record"):
        read_record(tmp_path / "map.geoseg.json")
    assert find_record(tmp_path / "map.tif") is None


def test_versions_name_what_was_asked_for() -> None:
    assert list(versions("numba", "torch")) == ["geoseg", "numpy", "numba", "torch", "python"]
