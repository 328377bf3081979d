"""The log of a training: one JSON object a line and a step, exact after a full disk, a kill and a resume."""

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
from geoseg.learning.trainer import Step

log = logging.getLogger(__name__)


class Metrics:
    """The log at `path`, open to be added to. A context manager.

    done: steps that are done already; what the log says of later ones, and lines that are not whole, are taken away.

    Raises:
        WriteError: the file system failed.
    """

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        lines = list(_lines(path, done)) if done else []
        if len(lines) < done:
            log.warning("%s: tells of %d of the %d steps that are done; the others stay out", path, len(lines), done)
        publish_bytes(path, b"".join(lines))
        self._size = sum(map(len, lines))
        # Not buffered: a line is there whole or not at all, and at once.
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: Step) -> None:
        """Add a line.

        Raises:
            WriteError: the file system failed; the log ends with the line before.
        """
        line = json.dumps(_finite(asdict(step))).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError("No space left on device")
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise self._failed(error) from error
        self._size += len(line)

    def sync(self) -> None:
        """Return once the disk has the log: a checkpoint must not be ahead of it.

        Raises:
            WriteError: the file system failed.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> WriteError:
        return WriteError(
            f"{self.path}: cannot be written ({error.strerror or error}); --resume goes on from the last checkpoint"
        )


def _lines(path: Path, done: int) -> Iterator[bytes]:
    """Yield the whole lines of the steps up to `done`, each step once and in order."""
    last = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        step = _step(line)
        if last < step <= done:
            last = step
            yield line


def _step(line: bytes) -> int:
    """The step that a line tells of; 0 where it is not whole."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return 0
    step = said.get("step") if isinstance(said, dict) and line.endswith(b"\n") else 0
    return step if isinstance(step, int) else 0


def _finite(step: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a skipped step's loss is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in step.items()}
