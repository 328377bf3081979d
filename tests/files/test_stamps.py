"""Inputs that change while they are read are noticed, by size or time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geoseg.errors import InputError
from geoseg.files.stamps import Stamps


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    path.write_bytes(b"old")
    return path


def test_a_file_that_stays_is_unchanged(path: Path) -> None:
    stamps = Stamps.of([path, path.with_name("none")])
    path.chmod(0o600)
    path.read_bytes()
    stamps.check(path, "wait")


def test_a_change_is_told_with_what_changed_and_the_way_out(path: Path) -> None:
    stamps = Stamps.of([path])
    path.write_bytes(b"longer")
    with pytest.raises(
        InputError, match=r"scene\.tif: changed while .* \(was modified at .*, 3 bytes .* 6 now\); wait$"
    ):
        stamps.check(path, "wait")
    with pytest.raises(InputError, match=r"all\.vrt: changed while it was read \(scene\.tif was modified"):
        stamps.check(path.with_name("all.vrt"), "wait")


def test_the_same_size_at_another_time_is_a_change(path: Path) -> None:
    stamps, status = Stamps.of([path]), path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    with pytest.raises(InputError, match="was modified at"):
        stamps.check(path, "wait")


def test_what_goes_or_comes_is_a_change(path: Path) -> None:
    new = path.with_name("new")
    stamps = Stamps.of([new])
    new.touch()
    with pytest.raises(InputError, match="changed"):
        stamps.check(new, "wait")
    stamps = Stamps.of([path])
    path.unlink()
    with pytest.raises(InputError, match="is no longer there"):
        stamps.check(path, "wait")
