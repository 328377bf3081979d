"""Faults, installed by the process under test in itself before its command line starts.

Every operation with a lasting effect (write, fsync, rename, removal, a raster or layer written) on a path under one
folder is numbered from 1 and reported, and may be the point where the process exits, fails or receives a signal.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CRASHED = 137
"""Exit status of a process that ended at a crash point: what a shell reports for SIGKILL."""

_ROUNDS = 50_000

MOMENTS = {
    "part": ("geoseg.runs.run", "Run.keep"),
    "forward": ("geoseg.prediction.predictor", "Predictor._forward"),
    "copy": ("geoseg.raster.cog_layout", "Blocks.write"),
    "layer": ("pyogrio", "write_arrow"),
    "step": ("geoseg.learning.trainer", "Trainer.advance"),
}
"""Moment at which a signal may arrive -> the function whose call it is; "start" is another moment."""

_MOVES = ("replace", "rename", "link")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and where.

    Attributes:
        folder: only operations on paths under this folder count.
        at: number of the operation, or of the call of `moment`, from 1; 0 for none.
        when: "before" or "after" the operation, after "half" of its bytes, or "lost": part of what was written silently
            becomes zeros.
        errno: the operation fails with this error; 0: the process exits there, or receives `signal`.
        signal: number of the signal; 0 for none.
        moment: a key of MOMENTS, or "start": the signal arrives during that call instead of at an operation.
        hold: seconds that the call of `moment` spends in C code, where no Python signal handler runs.
    """

    folder: str = ""
    at: int = 0
    when: str = "before"
    errno: int = 0
    signal: int = 0
    moment: str = ""
    hold: float = 0.0


class _Operations:
    """Numbers and reports operations, and lets the fault happen at its number."""

    def __init__(self, fault: Fault, tell: int) -> None:
        self._fault, self._tell = fault, tell
        self._count = 0
        self._lock = threading.Lock()

    def wrap(self, owner: Any, name: str, kind: str, target: Callable[..., str], error: Any = OSError) -> None:
        """Wrap a function: a call whose `target` path lies in the folder is an operation; it fails with `error`."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def counted(*arguments: Any, **options: Any) -> Any:
            path = target(*arguments, **options)
            if not path.startswith(self._fault.folder):
                return original(*arguments, **options)
            mine = self._begin(kind, path, error, arguments[0] if kind in _MOVES else None)
            if mine and self._fault.when == "half":
                original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self._strike(path, error)
            try:
                return original(*arguments, **options)
            finally:
                # Also after a legitimate failure, such as removing a file that does not exist.
                if mine and self._fault.when == "after":
                    self._strike(path, error)
                elif mine and self._fault.when == "lost":
                    lose(Path(path))

        setattr(owner, name, counted)

    def _begin(self, kind: str, path: str, error: Any, source: Any) -> bool:
        with self._lock:
            self._count += 1
            number = self._count
        names = [os.path.relpath(each, self._fault.folder) for each in (path, source) if each]
        os.write(self._tell, f"{kind} {' from '.join(names)}\n".encode())
        mine = number == self._fault.at and not self._fault.moment
        if mine and self._fault.when == "before":
            self._strike(path, error)
        return mine

    def _strike(self, path: str, error: Any) -> None:
        if self._fault.errno:
            words = os.strerror(self._fault.errno)
            raise OSError(self._fault.errno, words, path) if error is OSError else error(f"{path}: {words}")
        if self._fault.signal:
            send(self._fault.signal, self._tell)
        else:
            os._exit(CRASHED)


def install(fault: Fault, tell: int) -> None:
    """Install `fault` in this process; a line for each operation goes to the file descriptor `tell`."""
    operations = _Operations(fault, tell)
    for name in _MOVES:
        operations.wrap(os, name, name, _second)
    for name in ("unlink", "remove", "mkdir", "rmdir"):
        operations.wrap(os, name, name, _first)
    operations.wrap(os, "fsync", "fsync", lambda descriptor: _absolute("", descriptor))
    operations.wrap(Path, "write_bytes", "write", lambda path, _: str(path))
    _install_libraries(operations)
    if fault.moment == "start":
        sys.meta_path.insert(0, _AtImport(fault.signal, tell))
    elif fault.moment:
        _install_signal(fault, tell)


def _install_libraries(operations: _Operations) -> None:
    """Wrap the library calls that write files without Python's own functions."""
    from pyogrio.errors import DataSourceError
    from rasterio.errors import RasterioIOError

    geopackage = importlib.import_module("geoseg.outputs.polygons")
    blocks, layer = importlib.import_module("geoseg.raster.cog_layout").Blocks, importlib.import_module("pyogrio")
    geoseg_raster = importlib.import_module("geoseg.raster.cog")
    operations.wrap(_Closing, "close", "close", lambda _file, path: str(path), RasterioIOError)
    geoseg_raster.rasterio = _Rasterio(geoseg_raster.rasterio)
    operations.wrap(blocks, "write", "copy", lambda _blocks, path, _tags: str(path))
    operations.wrap(layer, "write_arrow", "layer", lambda _source, path, **_: str(path), DataSourceError)
    operations.wrap(geopackage, "add_layer_style", "style", lambda path, *_: str(path))


class _Rasterio:
    """The module `rasterio`, except that closing a raster opened for writing is an operation."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Open a raster."""
        file = self._module.open(path, mode, **options)
        return _Closing(file, path) if mode == "w" else file


class _Closing:
    """A context manager whose exit calls `close`, which can be wrapped."""

    def __init__(self, file: Any, path: Any) -> None:
        self._file, self._path = file, path

    def __enter__(self) -> Any:
        return self._file

    def __exit__(self, *_: object) -> None:
        self.close(self._path)

    def close(self, _path: Any) -> None:
        """Close the file."""
        self._file.close()


def lose(path: Path) -> None:
    """Overwrite the second half of the file with zeros, as if the disk had lost it.

    In a FlatGeobuf only a coordinate on the left edge of the raster is overwritten, so that the file still opens.
    """
    from helpers.rasters import TRANSFORM  # imports rasterio, which the faults of other files come before

    size = path.stat().st_size
    place, lost = size // 2, size - size // 2
    if path.suffix == ".fgb":
        edge = struct.pack("<d", TRANSFORM.c)
        place, lost = path.read_bytes().rindex(edge), len(edge)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(lost))


def _install_signal(fault: Fault, tell: int) -> None:
    owner, name = _owner(*MOMENTS[fault.moment])
    original, calls = getattr(owner, name), []

    @functools.wraps(original)
    def struck(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) != fault.at:
            return original(*arguments, **options)
        # A part counts once it is kept; every other moment is interrupted in the middle of the call.
        result = original(*arguments, **options) if fault.moment == "part" else None
        if fault.signal:
            threading.Timer(0.05, send, (fault.signal, tell)).start()
        _stay_in_c(0.1 + fault.hold)
        return result if fault.moment == "part" else original(*arguments, **options)

    setattr(owner, name, struck)


def _stay_in_c(seconds: float) -> None:
    """Spend about `seconds` in one C call that releases the GIL and that no signal interrupts, like GDAL's copy."""
    began = time.perf_counter()
    hashlib.pbkdf2_hmac("sha256", b"", b"", _ROUNDS)
    rounds = round(seconds / (time.perf_counter() - began) * _ROUNDS)
    hashlib.pbkdf2_hmac("sha256", b"", b"", max(1, rounds))


def _owner(module: str, path: str) -> tuple[Any, str]:
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


class _AtImport:
    """Sends a signal when the import of torch begins: the command has started but is not working yet."""

    def __init__(self, number: int, tell: int) -> None:
        self._number, self._tell = number, tell

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing."""
        if name == "torch" and self._number:
            number, self._number = self._number, 0
            send(number, self._tell)


def send(number: int, tell: int) -> None:
    """Send this process a signal, and report when."""
    os.write(tell, f"signal {time.monotonic()}\n".encode())
    os.kill(os.getpid(), signal.Signals(number))


def _first(path: Any, *_: object, dir_fd: int | None = None, **__: object) -> str:
    """The absolute path of an operation's first argument, relative to the folder descriptor if there is one."""
    return _absolute(path, dir_fd)


def _second(_source: Any, path: Any, *, dst_dir_fd: int | None = None, **_: object) -> str:
    return _absolute(path, dst_dir_fd)


def _absolute(path: Any, folder: int | None) -> str:
    start = Path.cwd() if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
    return str(start / path)
