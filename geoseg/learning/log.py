"""The training log: one JSON object per line and step, consistent after a full disk, a kill and a resume."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geoseg.errors import WriteError
from geoseg.files.atomic import publish_bytes
from geoseg.learning.step import Step

log = logging.getLogger(__name__)


class TrainingLog:
    """A log file (JSON Lines) that is open for appending. A context manager.

    Opening it removes incomplete lines, and the lines of steps after `done`: a resumed training writes them again.

    Args:
        path: The log file.
        done: Number of steps that the training has completed; 0 starts a new log.

    Raises:
        WriteError: The file cannot be written.
    """

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        lines = list(_complete_lines(path, done)) if done else []
        if len(lines) < done:
            log.warning(
                "%s: has %d of the %d completed steps; the missing ones cannot be restored", path, len(lines), done
            )
        publish_bytes(path, b"".join(lines))
        self._size = sum(map(len, lines))
        # Unbuffered: each line is written at once, and an incomplete one can be cut off.
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: Step) -> None:
        """Append the line of one step.

        Raises:
            WriteError: The line cannot be written; the log then ends with the line before it.
        """
        line = json.dumps(_finite_or_null(asdict(step))).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError("No space left on device")
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise self._write_error(error) from error
        self._size += len(line)

    def sync(self) -> None:
        """Flush the log to disk: a checkpoint must never be ahead of it.

        Raises:
            WriteError: The file system failed.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> WriteError:
        return WriteError(
            f"{self.path}: cannot be written ({error.strerror or error}); --resume continues from the last checkpoint"
        )


def _complete_lines(path: Path, done: int) -> Iterator[bytes]:
    """Yield the complete lines of steps 1..`done`, each step once and in order."""
    last = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        step = _step_number(line)
        if last < step <= done:
            last = step
            yield line


def _step_number(line: bytes) -> int:
    """The step that a line belongs to; 0 if the line is incomplete or not of a log."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return 0
    step = entry.get("step") if isinstance(entry, dict) and line.endswith(b"\n") else 0
    return step if isinstance(step, int) else 0


def _finite_or_null(entry: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: the loss of a skipped step becomes null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
