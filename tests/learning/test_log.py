"""The log of a training is exact: whole lines, each step once, whatever happened."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from geoseg.errors import WriteError
from geoseg.learning.log import TrainingLog
from geoseg.learning.step import Step


def step(number: int, **more: Any) -> Step:
    return Step(number, 9, 0, 0.5, 0.1, 0.0, 0.0, 0.0, 3.0, 7.0, **more)


def steps_in(path: Path) -> list[int]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line)["step"] for line in text.splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of five steps."""
    path = tmp_path / "m.metrics.jsonl"
    with TrainingLog(path, 0) as open_log:
        for number in range(1, 6):
            open_log.add(step(number, note="raised: µ") if number == 3 else step(number, criterion=math.nan))
    return path


def test_a_line_is_there_at_once_and_has_no_nan(log: Path) -> None:
    assert steps_in(log) == [1, 2, 3, 4, 5]
    with TrainingLog(log, 5) as open_log:
        open_log.add(step(6, criterion=0.25))
        assert steps_in(log) == [1, 2, 3, 4, 5, 6]
    found = [json.loads(line)["criterion"] for line in log.read_text().splitlines()]
    assert found == [None, None, None, None, None, 0.25]


def test_a_training_begun_anew_has_a_new_log(log: Path) -> None:
    with TrainingLog(log, 0):
        assert log.read_bytes() == b""


@pytest.mark.parametrize(
    "tail",
    [
        b"", b'{"step": 6, "lo', b'{"step": 6}', b"\0" * 40, b"[6]\n", b"6\n", b'{"step": "6"}\n', b'{"step": 3}\n',
        b'{"loss": 1}\n', b"[" * 100_000 + b"\n",
    ],
)  # fmt: skip
def test_what_is_not_a_whole_line_of_a_step_that_counts_is_taken_away(log: Path, tail: bytes) -> None:
    whole = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(whole) + tail)
    with TrainingLog(log, 4) as open_log:
        assert log.read_bytes() == b"".join(whole[:4])
        open_log.add(step(5))
    assert steps_in(log) == [1, 2, 3, 4, 5]


def test_steps_that_are_missing_are_told(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[2:]))
    with TrainingLog(log, 5):
        pass
    assert "has 3 of the 5 completed steps" in caplog.text
    log.unlink()
    with TrainingLog(log, 5) as open_log:
        open_log.add(step(6))
    assert steps_in(log) == [6]


class Full:
    """A file on a disk that has room for ten more bytes."""

    def __init__(self, file: Any, short: bool) -> None:
        self._file, self._short = file, short

    def write(self, line: bytes) -> int:
        written: int = self._file.write(line[:10])
        if self._short:
            return written
        raise OSError(28, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk_leaves_no_half_line(log: Path, short: bool) -> None:
    before = log.read_bytes()
    with TrainingLog(log, 5) as open_log:
        file, inner = open_log._file, open_log
        inner._file = Full(file, short)  # type: ignore[assignment]
        with pytest.raises(WriteError, match=rf"{log.name}: cannot be written \(No space left"):
            open_log.add(step(6))
        assert log.read_bytes() == before
        inner._file = file
        open_log.add(step(6))
    assert steps_in(log) == [1, 2, 3, 4, 5, 6]


def test_a_line_that_lost_its_end_is_not_joined_to_the_next(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-1])
    with TrainingLog(log, 5) as open_log:
        open_log.add(step(6))
    assert steps_in(log) == [1, 2, 3, 4, 6]
