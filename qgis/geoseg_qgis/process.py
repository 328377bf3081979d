"""A process that is not QGIS's own: its environment, its pipes, and its end. Nothing here imports QGIS.

QGIS sets variables that make another Python load QGIS's libraries (`PYTHONHOME`, `PROJ_LIB`, `GDAL_DATA`, ...), so a
process gets an environment without them. Its pipes are read in threads, so it never waits for a reader.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal

# This module exists to run programs that the user chose, without a shell:
import subprocess  # nosec B404
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

GRACE_SECONDS = 10.0
"""Time from the request to end until the command is killed. It needs about four seconds, to finish a library call."""

_POLL_SECONDS = 0.1
_PIPE_SECONDS = 2.0
"""Time to wait for the pipes after the command has ended; a process that it left behind may hold them open."""
_LINE_BYTES = 1 << 20
_STRIPPED = re.compile(
    r"PYTHON|PROJ_|GDAL_|OGR_|CPL_|QGIS_|QT_|GEOTIFF_CSV$|OSGEO4W|VIRTUAL_ENV|CONDA_|__PYVENV_LAUNCHER__", re.IGNORECASE
)
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH")
_LIBRARIES = ("libgdal*", "libproj*", "libqgis*", "libpython*")


class GeosegError(Exception):
    """geoseg cannot be run, or failed; the text is one line for the user."""


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
            self._process = subprocess.Popen(  # nosec B603
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
        if sys.platform == "win32":
            try:
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            except OSError:  # without a console, as in QGIS itself, there is nothing to send it by
                self._kill()
        else:
            with contextlib.suppress(OSError):
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
