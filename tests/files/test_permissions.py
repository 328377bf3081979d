"""Who may read an output that replaces a file: whoever could read that file, and nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from geoseg.files.atomic import Staging, publish_bytes, publishing
from geoseg.files.permissions import Permissions
from geoseg.files.record import write_record

OTHER = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An output that its owner alone may read."""
    path = tmp_path / "map.tif"
    path.write_bytes(b"old")
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_of_the_old_file_is_kept(path: Path) -> None:
    for kept in (0o600, 0o640, 0o666, 0o444):
        path.chmod(kept)
        publish_bytes(path, b"new")
        assert (mode(path), path.read_bytes()) == (kept, b"new")


def test_set_user_id_is_not_kept(path: Path) -> None:
    path.chmod(0o4755)
    publish_bytes(path, b"new")
    assert mode(path) == 0o755


def test_nobody_reads_the_new_content_while_it_is_written(path: Path) -> None:
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        write = Path.write_bytes
        patch.setattr(Path, "write_bytes", lambda self, data: (write(self, data), seen.append(mode(self)))[0])
        publish_bytes(path, b"new")
    assert seen == [0o600]


def test_a_new_file_has_the_mode_of_the_process(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        publish_bytes(tmp_path / "map.tif", b"new")
        with publishing(tmp_path / "map.png") as temporary:
            temporary.write_bytes(b"new")
    finally:
        os.umask(old)
    assert (mode(tmp_path / "map.tif"), mode(tmp_path / "map.png")) == (0o640, 0o640)


def test_staged_files_and_the_record_keep_theirs_though_they_are_removed_first(path: Path) -> None:
    style, record = path.with_suffix(".qml"), path.with_suffix(".geoseg.json")
    for file, kept in ((style, 0o640), (record, 0o604)):
        file.touch()
        file.chmod(kept)
    with Staging(path) as staging:
        for file in (path, style):
            staging.path(file).write_bytes(b"new")
        staging.commit([record, style])
        write_record(record, {}, [path], staging.permissions(record))
    assert (mode(path), mode(style), mode(record)) == (0o600, 0o640, 0o604)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")
def test_owner_and_group_are_kept_where_that_is_allowed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(path, OTHER, OTHER)
    path.chmod(0o640)
    publish_bytes(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (OTHER, OTHER, 0o640)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    publish_bytes(path, b"newer")
    assert (path.stat().st_gid, mode(path)) == (os.getgid(), 0o600)


def test_an_access_list_that_cannot_be_kept_takes_the_bits_of_the_group_along(path: Path) -> None:
    publish_bytes(path, b"new")
    status = path.stat()
    Permissions(0o660, status.st_uid, status.st_gid, b"no list").apply(path)
    assert mode(path) == 0o600
