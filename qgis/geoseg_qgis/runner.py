"""Runs the `geoseg` command in a process of its own: nothing here imports QGIS, and geoseg is never imported into QGIS.

QGIS sets variables that make another Python load QGIS's libraries (`PYTHONHOME`, `PROJ_LIB`, `GDAL_DATA`, ...), so the
command gets an environment without them. Both of its pipes are read in threads, so it never waits for a reader, and
callbacks are called in the thread that called `run`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess  # nosec B404: this module exists to run a command
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Callable

MINIMUM_VERSION = (0, 1, 0)
"""The oldest geoseg whose options and progress this plugin knows."""

GRACE_SECONDS = 10.0
"""Time from the request to end until the command is killed. It needs about four seconds, to finish a library call."""

_POLL_SECONDS = 0.1
_PIPE_SECONDS = 2.0
"""Time to wait for the pipes after the command has ended; a process that it left behind may hold them open."""
_VERSION_SECONDS = 120.0
"""A first start from a slow disk, with a virus scanner, takes long."""
_LINE_BYTES = 1 << 20
_LINES_KEPT = 20
_STRIPPED = re.compile(
    r"PYTHON|PROJ_|GDAL_|OGR_|CPL_|QGIS_|QT_|GEOTIFF_CSV$|OSGEO4W|VIRTUAL_ENV|CONDA_|__PYVENV_LAUNCHER__", re.IGNORECASE
)
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH")
_LIBRARIES = ("libgdal*", "libproj*", "libqgis*", "libpython*")


class GeosegError(Exception):
    """geoseg cannot be run, or failed; the text is one line for the user."""


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


class Process:
    """A process whose pipes are drained and which does not outlive its context.

    Args:
        command: Program and arguments.
        variables: Variables to add to its environment.
        folder: Its working directory.
        grace_seconds: Time that it has to end when it is told to.
        merged: Whether its standard output is among the lines of `lines`, instead of in `output`.

    Raises:
        GeosegError: It cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        folder: str | None = None,
        grace_seconds: float = GRACE_SECONDS,
        merged: bool = False,
    ) -> None:
        self.cancelled = False
        self._grace_seconds, self._deadline = grace_seconds, float("inf")
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._output: list[bytes] = []
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            # A group of its own, because CTRL_BREAK goes to a group; and no console window beside QGIS.
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            self._process = subprocess.Popen(  # nosec B603: no shell; the program is the one that the user chose
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                env={**clean_environment(os.environ), **(variables or {}), "PYTHONUTF8": "1"},
                cwd=folder,
                **options,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise GeosegError(f"{command[0]}: {why}; choose an environment in the settings of geoseg") from None
        out, err = self._process.stdout, self._process.stderr
        listened, kept = (out, None) if merged else (err, out)
        self._readers = [threading.Thread(target=self._listen, args=(listened,), name="geoseg lines", daemon=True)]
        if kept is not None:
            self._readers.append(threading.Thread(target=self._keep, args=(kept,), name="geoseg output", daemon=True))
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:  # a callback raised
            self._tell_to_end()
            try:
                self._process.wait(self._grace_seconds)
            except subprocess.TimeoutExpired:
                self._kill()
                self._process.wait()
        end = time.monotonic() + _PIPE_SECONDS
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))

    @property
    def status(self) -> int:
        """The exit status, once the context has ended."""
        return self._process.wait()

    @property
    def output(self) -> str:
        """What was written to standard output, once the context has ended."""
        return b"".join(self._output).decode("utf-8", "replace")

    def lines(self, cancelled: Callable[[], bool] | None = None) -> Iterator[str]:
        """Yield each line as it is written, until the process has ended.

        Args:
            cancelled: Asked ten times a second; when it is true, the process is told to end, and killed if it does not.
        """
        listening, ended = True, float("inf")
        while listening:
            try:
                line = self._lines.get(timeout=_POLL_SECONDS)
                listening = line is not None
                if line:
                    yield line
            except queue.Empty:
                if self._process.poll() is not None:
                    ended = min(ended, time.monotonic())
                    listening = time.monotonic() < ended + _PIPE_SECONDS
            self._attend(cancelled)
        while self._process.poll() is None:  # it has closed its pipe, and goes on
            self._attend(cancelled)
            time.sleep(_POLL_SECONDS)

    def _attend(self, cancelled: Callable[[], bool] | None) -> None:
        if self._process.poll() is not None:
            return
        if not self.cancelled and cancelled is not None and cancelled():
            self.cancelled, self._deadline = True, time.monotonic() + self._grace_seconds
            self._tell_to_end()
        elif time.monotonic() > self._deadline:
            self._kill()

    def _tell_to_end(self) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._process.terminate()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:
            for line in iter(lambda: pipe.readline(_LINE_BYTES), b""):
                self._lines.put(line.decode("utf-8", "replace").rstrip())
        self._lines.put(None)

    def _keep(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:
            for chunk in iter(lambda: pipe.read1(_LINE_BYTES), b""):  # type: ignore[attr-defined]  # BufferedReader
                self._output.append(chunk)


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


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables for a program that is not QGIS's.

    Without those that make it use the Python, PROJ, GDAL or libraries of QGIS, or another virtual environment; folders
    of QGIS's own application are taken off the search path where QGIS is one bundle (Windows, macOS).

    Args:
        variables: Those of this process.
    """
    clean = {name: value for name, value in variables.items() if not _STRIPPED.match(name)}
    roots = _bundle(variables)
    for name, value in list(clean.items()):
        if name in _LIBRARY_PATHS:
            folders = [each for each in value.split(os.pathsep) if each and not _has_libraries(Path(each))]
        elif name.upper() == "PATH":
            folders = [each for each in value.split(os.pathsep) if each and not _within(each, roots)]
        else:
            continue
        clean[name] = os.pathsep.join(folders)
        if not folders:
            del clean[name]
    return clean


def _bundle(variables: Mapping[str, str]) -> list[str]:
    """Folders of the application that QGIS is part of; none where it is installed for the system."""
    if sys.platform == "win32":
        return [root for name in ("OSGEO4W_ROOT",) if (root := variables.get(name))]
    return [f"{before}.app" for before, found, _ in [sys.prefix.partition(".app/")] if found]


def _within(folder: str, roots: Sequence[str]) -> bool:
    path = os.path.normcase(str(Path(folder))) + os.sep
    return any(path.startswith(os.path.normcase(str(Path(root))) + os.sep) for root in roots)


def _has_libraries(folder: Path) -> bool:
    try:
        return any(next(folder.glob(pattern), None) is not None for pattern in _LIBRARIES)
    except OSError:
        return False
