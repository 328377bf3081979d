"""Standard output and standard error that are closed, full, missing, or no longer read: the exit status then."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.rasters import landscape, make_raster

from geoseg.cli import streams
from geoseg.cli.main import main
from geoseg.files.record import read_record

Run = Callable[..., int]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A scene of three blocks of 512 px."""
    return make_raster(tmp_path / "wide.tif", landscape(64, 1400))


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """The path of an output."""
    return tmp_path / "ids.tif"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A raster of which a block cannot be decoded; `check` says something good of it first."""
    path = make_raster(tmp_path / "damaged.tif", landscape(300, 300), compress="deflate")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    return path


@pytest.fixture
def unread() -> Iterator[Any]:
    """A stream into a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    yield stream
    stream.close()


@pytest.fixture
def full() -> Iterator[Any]:
    """A stream to a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as stream:
        yield stream


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function: run the command line with these streams, and return its status."""

    def status(*arguments: object, **streams: Any) -> int:
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return status


@pytest.mark.parametrize("display", ["plain", "bar", "json"])
@pytest.mark.parametrize("stream", ["unread", "full"])
def test_progress_that_cannot_be_told_does_not_end_the_work(
    stream: str, display: str, wide: Path, ids: Path, run: Run, request: pytest.FixtureRequest
) -> None:
    stderr = request.getfixturevalue(stream)
    assert run("--progress", display, "superpixels", wide, "-o", ids, "--block-size", 512, stderr=stderr) == 0
    assert read_record(ids.with_suffix(".geoseg.json")).names(ids)
    assert not ids.with_name("ids.tif.run").exists()


def test_an_error_that_cannot_be_told_keeps_its_status(tmp_path: Path, full: Any, run: Run) -> None:
    assert run("superpixels", tmp_path / "none.tif", "-o", tmp_path / "ids.tif", stderr=full) == 66


def test_wrong_usage_that_cannot_be_told_keeps_its_status(full: Any, run: Run) -> None:
    assert run("superpixels", stderr=full) == 2


def test_neither_stream_is_needed(wide: Path, ids: Path, run: Run) -> None:
    assert run("superpixels", wide, "-o", ids, stdout=None, stderr=None) == 0
    assert ids.exists()


def test_check_keeps_its_status_when_its_reader_leaves(damaged: Path, wide: Path, unread: Any, run: Run) -> None:
    assert run("check", damaged, stdout=unread) == 65
    assert run("check", wide, stdout=unread) == 0


def test_a_result_for_a_reader_who_left_is_no_error(wide: Path, unread: Any, run: Run) -> None:
    assert run("info", wide, stdout=unread) == 0


def test_a_result_that_is_lost_is_an_error(wide: Path, full: Any, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", wide, stdout=full) == 74
    assert capsys.readouterr().err.startswith("geoseg: error: standard output: cannot be written (No space left")


def test_faults_that_were_found_are_told_by_the_status_all_the_same(damaged: Path, full: Any, run: Run) -> None:
    assert run("check", damaged, stdout=full) == 65


@pytest.mark.parametrize("stream", ["unread", "full"])
def test_outputs_in_place_are_success(
    stream: str, wide: Path, ids: Path, run: Run, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    stdout = request.getfixturevalue(stream)
    assert run("-q", "superpixels", wide, "-o", ids, stdout=stdout) == 0
    assert ids.exists()
    assert [record.getMessage() for record in caplog.records] == (
        [] if stream == "unread" else [f"standard output: No space left on device; the output is {ids}"]
    )


@pytest.mark.parametrize("arguments", ["--help", "superpixels --help", "--version"])
def test_a_process_whose_streams_are_closed_ends_in_silence(arguments: str) -> None:
    """No traceback either when Python itself writes what remains, on its way out."""
    command = f"{sys.executable} -m geoseg {arguments}"
    script = f"{{ {command}; echo status $? >&3; }} 3>&2 2>&1 | true; {command} >&- 2>&-; echo status $? >&2"
    done = subprocess.run(["bash", "-c", script], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr.splitlines() == ["status 0", "status 0"]


def test_characters_that_an_encoding_lacks_are_written_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe on Windows has the encoding of the system's language."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", errors="strict"))
    streams.open_missing()
    streams.show("Größe, 水")
    sys.stdout.flush()
    assert raw.getvalue().decode("cp1252").splitlines() == [r"Größe, \u6c34"]
