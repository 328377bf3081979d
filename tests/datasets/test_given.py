"""Which rasters arguments stand for: files, folders, patterns, lists; each once, and nothing of what geoseg wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from geoseg.datasets.given import find_given, places
from geoseg.errors import InputError, InputMissingError
from geoseg.location import Remote, locate

NAMES = ("b.tif", "a.tif", "north/a.tif", "north/deep/c.png", "south/d.jp2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files of NAMES and two others in the folder scenes."""
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "scenes", *NAMES, "notes.txt", "north/a.tfw")
    return tmp_path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(*given: str, maps: bool = False) -> list[str]:
    """What is found, without the name of the folder that has it all."""
    return [str(each.location).removeprefix("scenes/") for each in find_given([locate(text) for text in given], maps)]


def kept(*given: str) -> list[str]:
    """Where the outputs of what is found lie in a tree."""
    return [place.as_posix() for place in places(find_given([locate(text) for text in given]))]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["scenes/a.tif"], ["a.tif"]),
        (["scenes/b.tif", "scenes/a.tif"], ["b.tif", "a.tif"]),
        (["scenes"], ["a.tif", "b.tif", "north/a.tif", "north/deep/c.png", "south/d.jp2"]),
        (["scenes/*.tif"], ["a.tif", "b.tif"]),
        (["scenes/**/*.tif"], ["a.tif", "b.tif", "north/a.tif"]),
        (["scenes/[ab].tif", "scenes/sou*/*"], ["a.tif", "b.tif", "south/d.jp2"]),
        (["scenes/n*"], ["north/a.tif", "north/deep/c.png"]),
        (["scenes/north/*"], ["north/a.tif"]),
        (["scenes/missing.tif", "s3://b/x.tif"], ["missing.tif", "s3://b/x.tif"]),
    ],
)
def test_what_arguments_stand_for(folder: Path, given: Sequence[str], names: list[str]) -> None:
    assert found(*given) == names


def test_a_name_that_looks_like_a_pattern_or_a_list_is_the_file_of_that_name(folder: Path) -> None:
    touch(folder, "scenes/x[1].tif", "@list.tif")
    assert found("scenes/x[1].tif", "@list.tif") == ["x[1].tif", "@list.tif"]


@pytest.mark.parametrize(
    "content",
    [
        "# scenes\n\nscenes/b.tif\n  scenes/nor*/*.tif  \nhttps://host/c.tif?key=1#2\n",
        "\ufeff# BOM\r\nscenes/b.tif\r\nscenes/north/a.tif\r\nhttps://host/c.tif?key=1#2",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lists(folder: Path, content: str, encoding: str) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "l.txt").write_bytes(content.encode(encoding))
    assert find_given([Path("@lists/l.txt")])[-1].location == Remote("https://host/c.tif?key=1#2")
    assert found("@lists/l.txt", "scenes/a.tif") == ["b.tif", "north/a.tif", "https://host/c.tif", "a.tif"]


def test_a_list_from_standard_input_or_a_pipe(folder: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"scenes/b.tif\nscenes/a.tif\n")
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert found("-") == ["b.tif", "a.tif"]
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reader)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ("scenes/*.vrt", InputMissingError, r"scenes/\*.vrt: nothing matches"),
        ("scenes/no*s.*", InputMissingError, "no raster matches"),
        ("@none.txt", InputMissingError, "none.txt: no such list"),
        ("@empty.txt", InputError, "empty.txt: the list names nothing"),
        ("@latin.txt", InputError, r"latin.txt: is no list of paths in UTF-8 \(line 2\)"),
        ("@binary.txt", InputError, "binary.txt: is no list of paths"),
        ("@scenes", InputError, "the list cannot be read"),
        ("@scenes/beside.txt", InputMissingError, "a.tif is not in the working directory but beside the list"),
        ("s3://bucket/*.tif", InputError, "patterns are for local files"),
        ("nothing", InputError, "nothing: contains no imagery"),
    ],
)
def test_what_stands_for_nothing_is_refused(folder: Path, given: str, kind: type[Exception], words: str) -> None:
    (folder / "nothing").mkdir()
    for name, content in {
        "empty.txt": b"# nothing\n\n", "latin.txt": b"a.tif\nm\xfcnchen.tif\n", "binary.txt": b"II*\0\x08\0\0\0",
        "scenes/beside.txt": b"a.tif\n",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    with pytest.raises(kind, match=words):
        find_given([locate("scenes/a.tif"), locate(given)])


def test_what_is_given_twice_is_taken_once_and_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "other").symlink_to("scenes")
    (folder / "scenes" / "renamed.tif").symlink_to("a.tif")
    names = found("scenes/a.tif", "scenes", "other/b.tif", "./scenes/a.tif", "s3://b/x.tif", "s3://b/x.tif")
    # A link of another name has outputs of another name.
    assert names == ["a.tif", "b.tif", "north/a.tif", "north/deep/c.png", "renamed.tif", "south/d.jp2", "s3://b/x.tif"]
    assert caplog.messages == ["scenes/a.tif and 3 more: given more than once; taken once"]


def test_what_geoseg_wrote_is_no_scene_but_a_map(folder: Path) -> None:
    touch(folder, *(f"scenes/maps/{name}" for name in ("a-classes.tif", "a-classes.preview.png", "n.tif")))
    touch(folder, "scenes/sure/a-confidence.tif", "scenes/maps/u.tif.run/part-000000.tif")
    (folder / "scenes/maps/u.tif.run/manifest.json").write_text("{}")
    classes = [{"id": 1, "name": "a", "colour": "#ff0000"}]
    files = dict.fromkeys(("a-classes.tif", "a-classes.preview.png", "../sure/a-confidence.tif"), "")
    (folder / "scenes/maps/a-classes.geoseg.json").write_text(json.dumps({"files": files, "classes": classes}))
    # Superpixels have a record too, but no classes.
    (folder / "scenes/maps/n.geoseg.json").write_text(json.dumps({"files": {"n.tif": ""}}))
    assert found("scenes/**/*.tif") == ["a.tif", "b.tif", "north/a.tif"]
    with pytest.raises(InputError, match="matches only files that geoseg wrote"):
        find_given([Path("scenes/maps/*.tif")])
    assert found("scenes", maps=True) == ["maps/a-classes.tif"]
    assert found("scenes/maps/*.tif", maps=True) == ["maps/a-classes.tif", "maps/n.tif"]
    with pytest.raises(InputError, match=r"contains no map that geoseg wrote; .*'scenes/north/\*.tif'"):
        find_given([Path("scenes/north")], maps=True)


@pytest.mark.parametrize(
    ("given", "folders"),
    [
        (["scenes"], [".", ".", "north", "north/deep", "south"]),
        (["scenes/north"], [".", "deep"]),
        (["scenes/**/*.tif"], [".", ".", "north"]),
        (["scenes/*/*.tif"], ["north"]),
        (["scenes/north", "scenes/south"], ["north", "north/deep", "south"]),
        (["scenes/north/a.tif", "scenes/a.tif"], ["north", "."]),
        (["scenes/north/a.tif"], ["."]),
        (["s3://b/x/1.tif", "s3://b/y/z/1.tif", "scenes/a.tif"], ["x", "y/z", "."]),
    ],
)
def test_the_folders_of_a_tree_are_those_below_what_was_given(
    folder: Path, given: Sequence[str], folders: list[str]
) -> None:
    assert kept(*given) == folders
