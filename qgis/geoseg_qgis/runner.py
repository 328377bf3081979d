"""Runs the `geoseg` command: its progress, its messages and its errors. Nothing here imports QGIS or geoseg.

Callbacks are called in the thread that called `run`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .process import GRACE_SECONDS, GeosegError, Process

__all__ = ["MINIMUM_VERSION", "Geoseg", "GeosegError", "Progress", "Result"]

MINIMUM_VERSION = (0, 1, 0)
"""The oldest geoseg whose options and progress this plugin knows."""

_VERSION_SECONDS = 120.0
"""A first start from a slow disk, with a virus scanner, takes long."""
_LINES_KEPT = 20


@dataclass(frozen=True)
class Progress:
    """How far a stage of the command is: the fields of docs/commands.md, "Progress for programs"."""

    stage: str
    done: int
    total: int
    unit: str
    seconds: float
    message: str

    @property
    def fraction(self) -> float:
        """The share that is done, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


OnProgress = Callable[[Progress], None]
OnMessage = Callable[[str, str], None]
"""Called with the kind of a message, "note", "warning" or "log", and its text."""


@dataclass
class Result:
    """How a command ended.

    Attributes:
        status: Its exit status; negative is the signal that ended it.
        output: What it wrote to standard output.
        error: Its one-line error; empty if it succeeded or was cancelled.
        details: Lines of an error with many faults.
        kept: After an interruption, what is kept and the command that continues, in geoseg's words.
        cancelled: Whether the caller asked it to end, and it ended because of that.
    """

    status: int = 0
    output: str = ""
    error: str = ""
    details: tuple[str, ...] = ()
    kept: str = ""
    cancelled: bool = False

    @property
    def ok(self) -> bool:
        """Whether the outputs are in place."""
        return self.status == 0

    def json(self) -> Any:
        """Return standard output, parsed: that of a command with `--json`.

        Raises:
            GeosegError: The command failed or was cancelled, or printed something else.
        """
        self.check()
        try:
            return json.loads(self.output)
        except ValueError as error:
            raise GeosegError(f"geoseg printed no JSON: {error}") from None

    def check(self) -> None:
        """Raise the error of the command, if it failed or was cancelled.

        Raises:
            GeosegError: With geoseg's own line.
        """
        if not self.ok:
            raise GeosegError(self.error or self.kept or "cancelled")


@dataclass
class Geoseg:
    """The geoseg of one Python environment.

    Attributes:
        program: The command without its arguments: `("/env/bin/python", "-P", "-m", "geoseg")` or `("/bin/geoseg",)`.
        variables: Variables to add to its environment, such as proxies.
        folder: Its working directory; None is that of this process.
        grace_seconds: Time that it has to end by itself when it is cancelled.
    """

    program: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    grace_seconds: float = GRACE_SECONDS

    def version(self) -> tuple[int, ...]:
        """Return the version of geoseg.

        Raises:
            GeosegError: It is not there, does not start, or is too old for this plugin.
        """
        end = time.monotonic() + _VERSION_SECONDS
        result = self._run(["--version"], None, None, lambda: time.monotonic() > end)
        if result.cancelled:
            raise GeosegError(f"{self.program[0]} gave no answer within {_VERSION_SECONDS:.0f} seconds")
        found = re.search(r"version\s+(\d+(?:\.\d+)*)", result.output)
        if not result.ok or found is None:
            why = result.error or f"it answers {' '.join(result.output.split())[:200]!r} to --version"
            raise GeosegError(f"{self.program[0]}: there is no geoseg that works: {why}")
        version = tuple(int(part) for part in found[1].split("."))
        if version < MINIMUM_VERSION:
            wanted = ".".join(map(str, MINIMUM_VERSION))
            raise GeosegError(
                f"{self.program[0]} has geoseg {found[1]}, but this plugin needs {wanted} or newer: update it there,"
                " or choose another environment in the settings of geoseg"
            )
        return version

    def run(
        self,
        arguments: Sequence[str],
        on_progress: OnProgress | None = None,
        on_message: OnMessage | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Result:
        """Run a command to its end.

        Args:
            arguments: The command and its options: `["predict", "scene.tif", "--out", "classes.tif"]`.
            on_progress: Called for each unit that is done.
            on_message: Called for each note, warning, and line that is no JSON.
            cancelled: Asked ten times a second; when it is true, the command is told to end, and killed if it does not.

        Returns:
            How it ended; an error of the command is in the result, not raised.

        Raises:
            GeosegError: The program cannot be started.
        """
        return self._run(["--progress", "json", *arguments], on_progress, on_message, cancelled)

    def _run(
        self,
        arguments: Sequence[str],
        on_progress: OnProgress | None,
        on_message: OnMessage | None,
        cancelled: Callable[[], bool] | None,
    ) -> Result:
        listener = _Listener(on_progress, on_message)
        with Process([*self.program, *arguments], self.variables, self.folder, self.grace_seconds) as process:
            for line in process.lines(cancelled):
                listener.hear(line)
        return listener.result(process)


class _Listener:
    """Sorts the lines on standard error of a command."""

    def __init__(self, on_progress: OnProgress | None, on_message: OnMessage | None) -> None:
        self._on_progress, self._on_message = on_progress, on_message
        self._result, self._plain = Result(), [""]

    def hear(self, line: str) -> None:
        """Take one line: an object of `--progress json`, or text of anything else."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
            self._plain = [*self._plain[-_LINES_KEPT:], line]
            self._say("log", line)
            return
        kind, message = event["kind"], str(event.get("message") or "")
        if kind == "error":
            self._result.error = message
            self._result.details = tuple(map(str, event.get("details") or ()))
        elif kind == "interrupted":
            self._result.kept = message
        elif kind in ("note", "warning", "log"):
            self._say(kind, message)
        if {"stage", "done", "total"} <= event.keys() and self._on_progress is not None:
            self._on_progress(_progress(event, message))

    def result(self, process: Process) -> Result:
        """The result of the process, which has ended."""
        result = self._result
        result.status, result.output = process.status, process.output
        result.cancelled = process.cancelled and not result.ok
        if result.ok or result.cancelled:
            result.error = ""
        elif not result.error:
            why = f"signal {-result.status}" if result.status < 0 else f"status {result.status}"
            last = next((line for line in reversed(self._plain) if line.strip()), "")
            result.error = result.kept or last.strip() or f"geoseg ended with {why} and without a word"
        return result

    def _say(self, kind: str, text: str) -> None:
        if self._on_message is not None and text.strip():
            self._on_message(kind, text)


def _progress(event: Mapping[str, Any], message: str) -> Progress:
    def number(name: str) -> float:
        value = event.get(name)
        return value if isinstance(value, (int, float)) else 0

    stage, unit = str(event["stage"] or ""), str(event.get("unit") or "")
    return Progress(stage, int(number("done")), int(number("total")), unit, float(number("seconds")), message)
