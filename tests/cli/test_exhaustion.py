"""What the system refuses (memory, threads, open files) is told in one line, with a status of its own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commandline import assert_refused, geoseg
from helpers.rasters import landscape, make_raster
from rasterio.errors import RasterioIOError

from geoseg.cli.exhaustion import exhaustion
from geoseg.errors import WriteError
from geoseg.jobs.superpixels import SuperpixelsJob


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "scene.tif", landscape(64, 64))


def raised(action: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011 (whatever a library raises)
        action()
    return found.value


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory (MemoryError); give fewer --workers"),
        (raised(lambda: np.empty(1 << 55)), "out of memory (Unable to allocate 256. PiB"),
        (raised(lambda: torch.empty(1 << 55)), "out of memory ([enforce fail"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0"), "(CUDA out of memory);"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "out of memory"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "out of memory (libtorch.so"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.tif"), "a.tif: cannot be opened, as too many files"),
        (caused(WriteError("a.tif: no"), RasterioIOError("x: Too many open files")), "a.tif: cannot be opened, as too"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused_is_told_apart(error: Exception, words: str) -> None:
    found = exhaustion(error, "superpixels")
    assert found is not None
    assert words in str(found)
    assert found.exit_code == 71


@pytest.mark.parametrize(
    "error", [ValueError("memory"), OSError(errno.ENOSPC, "full"), RuntimeError("no"), WriteError("a.tif: is full")]
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert exhaustion(error, "superpixels") is None


def test_the_command_line_says_so_in_one_line(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: SuperpixelsJob, __: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(SuperpixelsJob, "_publish", refuse)
    outcome = geoseg(capsys, "-q", "superpixels", scene, "-o", scene.with_name("ids.tif"))
    assert_refused(outcome, 71, "out of memory (Unable to allocate 9 GiB); give fewer --workers")


def test_no_thread_to_be_had(scene: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands that need none work; the others say so in one line, and leave no lock behind."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert geoseg(capsys, "info", scene).code == 0
    out = scene.with_name("ids.tif")
    assert_refused(geoseg(capsys, "superpixels", scene, "-o", out), 71, "no further thread can be started")
    monkeypatch.undo()
    assert geoseg(capsys, "superpixels", scene, "-o", out).code == 0
