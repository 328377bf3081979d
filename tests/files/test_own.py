"""Folders of geoseg's own: nothing that somebody planted there is followed, and nobody else's folder is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.errors import OutputError
from geoseg.files.atomic import Staging, publish_bytes, publishing, temporary_name
from geoseg.files.lock import Lock, holder
from geoseg.files.own import check_owner, create, is_plain, open_plain, probe, read_plain

SOMEBODY = 65534


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file elsewhere that must not change."""
    path = tmp_path / "elsewhere" / "precious.txt"
    path.parent.mkdir()
    path.write_bytes(b"precious")
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.mkdir()
    return path


PLANTED: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("none")),
    "second name": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, _: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_planted_is_replaced(kind: str, own: Path, victim: Path) -> None:
    writers: dict[str, Callable[[Path], object]] = {
        "create": create,
        "open": lambda path: os.close(open_plain(path)),
        "publish": lambda path: publish_bytes(path, b"new", own=True),
        "lock": lambda path: Lock(path).release(),
    }
    for name, write in writers.items():
        path = own / name
        PLANTED[kind](path, victim)
        write(path)
        assert name == "lock" or is_plain(path)
        assert (victim.read_bytes(), list(victim.parent.iterdir())) == (b"precious", [victim])


def test_a_planted_name_of_a_temporary_file_is_replaced(tmp_path: Path, victim: Path) -> None:
    """Names of temporary files can be guessed, also beside outputs."""
    path = tmp_path / "map.tif"
    for _ in range(2):
        path.with_name(temporary_name(path)).symlink_to(victim)
        publish_bytes(path, b"new")
        assert (path.read_bytes(), victim.read_bytes()) == (b"new", b"precious")
    path.with_name(temporary_name(path)).symlink_to(victim)
    with publishing(path) as temporary:
        temporary.write_bytes(b"newer")
    assert (path.read_bytes(), victim.read_bytes()) == (b"newer", b"precious")


@pytest.mark.parametrize("planted", ["link", "folder"])
def test_a_planted_staging_folder_is_not_used(planted: str, tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "map.tif"
    with Staging(path) as staging:
        hidden = staging.path(path).parent
    if planted == "link":
        hidden.symlink_to(victim.parent)
    else:
        hidden.mkdir()
        (hidden / "planted.tif").touch()
    with Staging(path) as staging:
        staging.path(path).write_bytes(b"new")
        assert hidden.stat().st_mode & 0o77 == 0
        staging.commit([])
    assert {entry.name for entry in tmp_path.iterdir()} == {"map.tif", "elsewhere"}
    assert list(victim.parent.iterdir()) == [victim]


def test_links_and_large_files_are_not_read(own: Path, victim: Path) -> None:
    (own / "link").symlink_to(victim)
    os.mkfifo(own / "pipe")
    (own / "large").write_bytes(bytes(11))
    for name in ("link", "pipe", "large", "none"):
        with pytest.raises(OSError, match=r".+"):
            read_plain(own / name, max_bytes=10)
    assert read_plain(own / "large", max_bytes=11) == bytes(11)
    assert holder(own / "link") is None


def test_a_probe_leaves_nothing(own: Path) -> None:
    assert probe(own).st_uid == own.stat().st_uid
    assert list(own.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make folders of others")
def test_a_folder_of_another_user_is_refused(tmp_path: Path, own: Path) -> None:
    check_owner(own)
    link = tmp_path / "link"
    link.symlink_to(own)
    check_owner(link)
    os.chown(link, SOMEBODY, -1, follow_symlinks=False)
    with pytest.raises(OutputError, match=r"link: belongs to another user"):
        check_owner(link)
    os.chown(own, SOMEBODY, -1)
    with pytest.raises(OutputError, match=r"own: belongs to another user \(nobody\).* remove it"):
        Lock(own / "lock")
    assert list(own.iterdir()) == []
