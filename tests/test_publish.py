"""Files appear complete or not at all, and outputs are checked before there is any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commandline import contents, untouched

from geoseg.errors import OutputError, WriteError
from geoseg.publish import check_target, publish_bytes, publishing, sha256


class UnforeseenError(Exception):
    """What nobody foresees."""


def test_the_file_takes_its_place_when_all_is_well(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with publishing(path) as temporary:
        assert temporary.parent == tmp_path
        assert (temporary.suffix, temporary.name[0]) == (".tif", ".")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert contents(tmp_path) == {"map.tif": b"new"}
    publish_bytes(path, b"newer")
    assert contents(tmp_path) == {"map.tif": b"newer"}


@pytest.mark.parametrize("name", ["map.tif", "map", "map [1] *?.tif", "Karte für Übersicht.tif"])
@pytest.mark.parametrize("error", [UnforeseenError, KeyboardInterrupt, GeneratorExit])
def test_a_crash_leaves_the_old_file_and_nothing_else(name: str, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    (tmp_path / ".map.of-another.1.tmp.tif").write_bytes(b"another process at work")

    def crash() -> None:
        with publishing(path) as temporary:
            temporary.write_bytes(b"half")
            # What GDAL leaves beside the file it writes.
            temporary.with_name(temporary.name + ".aux.xml").write_bytes(b"half")
            temporary.with_name(temporary.name + ".ovr.tmp").write_bytes(b"half")
            raise error

    with untouched(tmp_path), pytest.raises(error):
        crash()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_is_a_write_error_and_the_old_file_is_intact(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"old")

    def failing(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), failing)
    with (
        untouched(tmp_path),
        pytest.raises(WriteError, match=r"map\.tif: .* \(No space left on device\)"),
    ):
        publish_bytes(path, b"new")


def test_the_content_is_synced_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "map.tif", []
    fsync, replace = os.fsync, Path.replace

    def noting_sync(descriptor: int) -> None:
        events.append("folder" if os.fstat(descriptor).st_ino == tmp_path.stat().st_ino else "file")
        fsync(descriptor)

    def noting_replace(self: Path, target: Path) -> Path:
        events.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    publish_bytes(path, b"new")
    assert events == ["file", "replace", "folder"]


def test_a_block_that_writes_nothing_is_a_write_error(tmp_path: Path) -> None:
    with untouched(tmp_path), pytest.raises(WriteError, match="No such file"), publishing(tmp_path / "map.tif"):
        pass


def test_errors_that_say_more_pass_as_they_are(tmp_path: Path) -> None:
    for error in (WriteError("the disk"), OutputError("the path")):
        with pytest.raises(type(error)) as caught, publishing(tmp_path / "map.tif"):
            raise error
        assert caught.value is error


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real.tif").write_bytes(b"old")
    link = tmp_path / "map.tif"
    link.symlink_to(Path("store") / "real.tif")
    publish_bytes(link, b"new")
    assert contents(tmp_path) == {
        "map.tif": Path("store") / "real.tif", "store": contents(tmp_path)["store"], "store/real.tif": b"new",
    }  # fmt: skip
    dangling = tmp_path / "dangling.tif"
    dangling.symlink_to(tmp_path / "store" / "to-be.tif")
    publish_bytes(dangling, b"new")
    assert (tmp_path / "store" / "to-be.tif").read_bytes() == b"new"
    assert dangling.is_symlink()


def test_targets_that_are_refused(tmp_path: Path) -> None:
    there, folder = tmp_path / "there.tif", tmp_path / "folder"
    there.write_bytes(b"x")
    folder.mkdir()
    for path, words in (
        (folder, "is a folder"),
        (there, "exists already; --overwrite replaces it"),
        (tmp_path / "no" / "map.tif", "does not exist; create it first"),
        (there / "map.tif", "does not exist; create it first"),
        (tmp_path / ("n" * 250 + ".tif"), "name is too long"),
        (tmp_path / ("ü" * 120 + ".tif"), "name is too long"),
        (tmp_path / ("n" * 1000), "name is too long"),
    ):
        with untouched(tmp_path), pytest.raises(OutputError, match=words):
            check_target(path, overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_target(Path("/"), overwrite=True)
    check_target(there, overwrite=True)
    check_target(tmp_path / "new.tif", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "there.tif"]


def test_an_input_is_never_a_target(tmp_path: Path) -> None:
    source = tmp_path / "scene.tif"
    source.write_bytes(b"x")
    (tmp_path / "symlink.tif").symlink_to(source)
    os.link(source, tmp_path / "hardlink.tif")
    inputs = (tmp_path / "missing.tif", source)
    for name in ("scene.tif", "symlink.tif", "hardlink.tif"):
        with pytest.raises(OutputError, match="is the input itself"):
            check_target(tmp_path / name, True, inputs)
    check_target(tmp_path / "map.tif", True, inputs)


def test_a_name_as_long_as_allowed_can_be_written(tmp_path: Path) -> None:
    length = next(n for n in range(250, 0, -1) if _allowed(tmp_path / ("n" * n + ".tif")))
    path = tmp_path / ("n" * length + ".tif")
    with publishing(path) as temporary:
        temporary.write_bytes(b"x")
        temporary.with_name(temporary.name + ".aux.xml").write_bytes(b"x")
    assert contents(tmp_path) == {path.name: b"x"}


def _allowed(path: Path) -> bool:
    try:
        check_target(path, overwrite=False)
    except OutputError:
        return False
    return True


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
