"""Files appear complete or not at all, and outputs are checked before there is any work."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commandline import contents, untouched

from geoseg.errors import OutputError, WriteError
from geoseg.files.atomic import (
    Staging,
    abandon,
    interrupted,
    publish_bytes,
    publishing,
    remove_leftovers,
    sha256,
    temporary_name,
)
from geoseg.files.targets import check_space, check_target


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


def test_bytes_that_read_back_otherwise_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(b"old")
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: write(self, data[:-1]))
    with untouched(tmp_path), pytest.raises(WriteError, match=r"map\.json: reads back differently"):
        publish_bytes(path, b"new")


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


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """An old map with what belongs to it, its confidence in another folder."""
    classes, confidence = tmp_path / "maps" / "map.tif", tmp_path / "sure" / "map.tif"
    for path in (classes, confidence):
        path.parent.mkdir()
        path.write_bytes(b"old")
    classes.with_suffix(".json").write_bytes(b"old record")
    return classes, confidence


def test_staged_files_appear_together_and_the_first_is_the_target(
    tmp_path: Path, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    classes, confidence = places
    placed, replace = [], Path.replace

    def noting(self: Path, target: Path) -> Path:
        if ".tmp" not in target.name and ".tmp" not in target.parent.name:
            placed.append(target)
            assert not classes.with_suffix(".json").exists()
        return replace(self, target)

    with Staging(classes) as staging:
        for path in (classes.with_suffix(".aux"), confidence, classes):
            assert staging.path(path).name == path.name
            publish_bytes(staging.path(path), b"new")
        left = temporary_name(staging.path(classes)) + ".aux.xml"
        staging.path(classes).with_name(left).write_bytes(b"could not be removed")
        assert (classes.read_bytes(), confidence.read_bytes()) == (b"old", b"old")
        assert not interrupted(classes)
        monkeypatch.setattr(Path, "replace", noting)
        staging.commit([classes.with_suffix(".json"), classes.with_suffix(".none")])
        assert interrupted(classes)
    assert placed == [classes, classes.with_suffix(".aux"), confidence]
    assert not interrupted(classes)
    everything = {"maps", "maps/map.tif", "maps/map.aux", "sure", "sure/map.tif"}
    assert set(contents(tmp_path)) == everything
    assert (classes.read_bytes(), confidence.read_bytes()) == (b"new", b"new")


@pytest.mark.parametrize("error", [UnforeseenError, KeyboardInterrupt, WriteError])
def test_what_ends_before_files_are_put_in_place_leaves_all_as_it_was(
    error: type[BaseException], tmp_path: Path, places: tuple[Path, Path]
) -> None:
    def fail() -> None:
        with Staging(places[0]) as staging:
            for path in places:
                staging.path(path).write_bytes(b"new")
            raise error

    with untouched(tmp_path), pytest.raises(error):
        fail()
    assert not interrupted(places[0])


def test_what_ends_while_files_are_put_in_place_may_be_gone_on_with(
    tmp_path: Path, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    classes, confidence = places
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == confidence:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    def work() -> None:
        with Staging(classes) as staging:
            for path in places:
                staging.path(path).write_bytes(b"new")
            staging.commit([])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(WriteError, match=r"map\.tif: cannot be put in place \(Input/output error\)"):
            work()
    assert interrupted(classes)
    assert not interrupted(confidence)
    assert confidence.read_bytes() == b"old"
    remove_leftovers(classes.parent)
    assert interrupted(classes)
    work()
    assert not interrupted(classes)
    assert confidence.read_bytes() == b"new"
    assert not [path for path in contents(tmp_path) if "/." in path]


def test_what_another_process_left_half_placed_stays_until_a_later_work_ends_well(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = tmp_path / "map.tif"
    left = tmp_path / f".map.tif.{socket.gethostname()}.{ended.pid}.tmp"
    left.mkdir()
    (left / ".placing").touch()
    remove_leftovers(tmp_path)
    assert interrupted(path)
    with Staging(path) as staging:
        staging.path(path).write_bytes(b"new")
        staging.commit([])
        assert left.exists()
    assert contents(tmp_path) == {"map.tif": b"new"}


def test_errors_in_a_staging_tell_of_the_place_not_of_the_hidden_folder(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with pytest.raises(WriteError, match="No such file") as caught, Staging(path) as staging, publishing(
        staging.path(path)
    ):  # fmt: skip
        pass
    assert str(caught.value).startswith(f"{path}: cannot be written")


def test_staged_files_follow_links(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real.tif").write_bytes(b"old")
    link = tmp_path / "map.tif"
    link.symlink_to(tmp_path / "store" / "real.tif")
    with Staging(link) as staging:
        staging.path(link).write_bytes(b"new")
        staging.commit([])
    assert link.is_symlink()
    assert (tmp_path / "store" / "real.tif").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_staged_files_follow_links_to_another_file_system(tmp_path: Path) -> None:
    store = Path("/dev/shm") / f"geoseg-test-{os.getpid()}"
    store.mkdir()
    try:
        link = tmp_path / "map.tif"
        link.symlink_to(store / "real.tif")
        with Staging(link) as staging:
            staging.path(link).write_bytes(b"new")
            staging.commit([])
        assert contents(store) == {"real.tif": b"new"}
    finally:
        shutil.rmtree(store)


def test_a_process_about_to_be_ended_leaves_nothing(tmp_path: Path, places: tuple[Path, Path]) -> None:
    before = contents(tmp_path)
    with publishing(tmp_path / "other.tif") as temporary, Staging(places[0]) as staging:
        temporary.write_bytes(b"half")
        temporary.with_name(temporary.name + ".ovr.tmp").write_bytes(b"half")
        staging.path(places[1]).write_bytes(b"half")
        abandon()
        assert contents(tmp_path) == before
        temporary.write_bytes(b"whole")


def test_leftovers_of_processes_that_ended_go_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    gone = [f".map.{host}.{ended.pid}.tmp.tif", f".map.{host}.{ended.pid}.tmp.tif.ovr.tmp"]
    kept = [
        f".map.{host}.{os.getpid()}.tmp.tif", f".map.elsewhere.{ended.pid}.tmp.tif", f".other.{host}.{ended.pid}.tmp",
        "map.tif", ".map.tmp", f".map.{host}.{ended.pid}.tmporary",
    ]  # fmt: skip
    for name in (*gone, *kept):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f".map.tif.{host}.{ended.pid}.tmp").mkdir()
    (tmp_path / f".map.tif.{host}.{ended.pid}.tmp" / "map.tif").write_bytes(b"x")
    remove_leftovers(tmp_path, "map")
    assert sorted(contents(tmp_path)) == sorted(kept)
    remove_leftovers(tmp_path)
    assert sorted(contents(tmp_path)) == sorted(name for name in kept if not name.startswith(".other"))


def test_space(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    check_space(tmp_path, 1)
    with pytest.raises(WriteError, match=rf"{tmp_path}: \d+ MiB free, about \d+ MiB needed; free some"):
        check_space(tmp_path, 2 * free)
