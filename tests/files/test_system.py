"""What operating systems do differently with files and processes: each of Windows' ways is imitated, and needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PureWindowsPath

import pytest
from helpers.windows import imitate

from geoseg.errors import LockedError, OutputError, WriteError
from geoseg.files import system
from geoseg.files.atomic import Staging, interrupted, publish_bytes
from geoseg.files.lock import Lock
from geoseg.files.targets import check_target, windows_refusal
from geoseg.location import locate, target


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Windows, which does not wait."""
    monkeypatch.setattr(system, "_WAITS", (0.0, 0.0))
    imitate(monkeypatch)
    return monkeypatch


def test_the_imitation_refuses_what_windows_refuses(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise, tests that pass there would tell nothing."""
    path = tmp_path / "a"
    path.touch()
    with path.open("rb") as file:
        for act in (path.unlink, lambda: path.rename(tmp_path / "b"), lambda: path.replace(tmp_path / "b")):
            with pytest.raises(PermissionError):
                act()
        with pytest.raises(OSError, match="Bad file"):
            os.fsync(file.fileno())
    with pytest.raises(PermissionError):
        os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(AssertionError):
        os.kill(os.getpid(), 0)
    (tmp_path / "b").touch()
    with pytest.raises(FileExistsError):
        path.rename(tmp_path / "b")


def test_a_file_is_published_over_another(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text in (b"old", b"new"):
        publish_bytes(path, text)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_open_for_a_moment_is_waited_for(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, waited = tmp_path / "a", []
    path.write_bytes(b"old")
    with path.open("rb") as file:
        windows.setattr("time.sleep", lambda seconds: (waited.append(seconds), file.close()))
        publish_bytes(path, b"new")
    assert waited == [0.0]
    assert path.read_bytes() == b"new"


def test_files_that_stay_open_are_kept_and_the_same_command_finishes(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"old")

    def publish() -> None:
        with Staging(path) as staging:
            staging.path(path).write_bytes(b"new")
            staging.commit([])

    with path.open("rb"), pytest.raises(WriteError, match=r"map\.tif: .* such as QGIS, has it open.* same command"):
        publish()
    assert path.read_bytes() == b"old"
    assert interrupted(path)
    publish()
    assert path.read_bytes() == b"new"
    assert not interrupted(path)


def test_an_output_that_is_open_is_refused_before_any_work(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    path.touch()
    with path.open("rb"):
        with pytest.raises(OutputError, match="is open in another program, such as QGIS"):
            check_target(path, overwrite=True)
        check_target(path, overwrite=True, is_open=True)
    check_target(path, overwrite=True)


def test_a_refusal_for_another_reason_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX refuses for want of rights alone."""
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waits"))

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError):
        system.replace(tmp_path / "a", tmp_path / "b")


def test_one_process_at_a_time_holds_a_lock(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    lock = Lock(path)
    with pytest.raises(LockedError, match=f"process {os.getpid()} "):
        Lock(path)
    lock.check()
    lock.release()
    assert not path.exists()
    Lock(path).release()


def test_a_lock_outlives_no_process_though_its_number_lives_on(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The locked byte decides, not the number, which another process may have by now."""
    path = tmp_path / "folder" / "lock"
    path.parent.mkdir()
    path.write_text(f'{{"host": "{os.uname().nodename}", "pid": {os.getppid()}}}')
    Lock(path).release()


def test_whether_a_process_lives_is_asked_without_a_signal(windows: pytest.MonkeyPatch) -> None:
    assert system.process_lives(os.getpid())
    assert not system.process_lives(2**22 + 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NUL", "device"), ("con.tif", "device"), ("Aux.geoseg.json", "device"), ("lpt1.tif", "device"),
        ("a:b.tif", "no names with :"), ("a?b.tif", "no names with [?]"), ("map.", "drops"), ("map.tif ", "drops"),
    ],
)  # fmt: skip
def test_names_that_windows_cannot_have(windows: pytest.MonkeyPatch, tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(OutputError, match=reason):
        check_target(tmp_path / name, overwrite=False)


@pytest.mark.parametrize("name", ["console.tif", "map 2020.tif", "a.nul", "com10.tif", ".hidden", "Größe.tif"])
def test_names_that_windows_can_have(name: str) -> None:
    assert windows_refusal(name) is None


@pytest.mark.parametrize(
    "text", ["C:\\data\\scene.tif", "C:/data/scene.tif", "c:scene.tif", "\\\\server\\share\\s.tif"]
)
def test_a_path_with_a_drive_is_a_path(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a URL nor a place in a cloud store."""
    monkeypatch.setattr("geoseg.location.Path", PureWindowsPath)
    assert locate(text) == PureWindowsPath(text)
    assert target(PureWindowsPath(text)) is None  # type: ignore[arg-type]
    remote = target(PureWindowsPath("s3://bucket/folder/map.tif"))  # type: ignore[arg-type]
    assert remote is not None
    assert remote.url == "s3://bucket/folder/map.tif"


def test_nothing_of_it_is_asked_on_posix() -> None:
    assert (os.name == "nt") == system.WINDOWS == (sys.platform == "win32")
