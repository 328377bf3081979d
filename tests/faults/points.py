"""Faults, as the process under test installs them in itself, before its command line starts.

Every operation that lasts (a write, fsync, rename, removal, a raster or a layer) on a path under one folder is counted
from 1, told, and may be where the process ends, fails or gets a signal.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CRASHED = 137
"""Exit status of a process that ended at a crash point: that of SIGKILL, as a shell tells it."""

_ROUNDS = 50_000

MOMENTS = {
    "part": ("geoseg.runs.directory", "Run.keep"),
    "forward": ("geoseg.prediction.predictor", "Predictor._forward"),
    "copy": ("rasterio.shutil", "copy"),
    "layer": ("pyogrio", "write_arrow"),
    "step": ("geoseg.learning.trainer", "Trainer.advance"),
}
"""Moments at which a signal may come, besides "start", and the function each is a call of."""


_MOVES = ("replace", "rename", "link")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, in the process of which paths under `folder` count.

    at: the operation, or call of the moment, counted from 1; 0 for none. when: "before" it, "after" it, or when
    "half" of the bytes are written. errno: it fails so; unless given, the process ends there, or gets `signal`; but
    when "lost", a part of what was written is zeros, without a word.
    moment: see MOMENTS, or "start"; the signal, if any, comes then, and that thread is in C for `hold` seconds.
    """

    folder: str = ""
    at: int = 0
    when: str = "before"
    errno: int = 0
    signal: int = 0
    moment: str = ""
    hold: float = 0.0


class _Operations:
    """Counts operations, tells of each, and lets the fault happen at its own."""

    def __init__(self, fault: Fault, tell: int) -> None:
        self._fault, self._tell = fault, tell
        self._count = 0
        self._lock = threading.Lock()

    def wrap(self, owner: Any, name: str, kind: str, target: Callable[..., str], error: Any = OSError) -> None:
        """Count the calls of a function whose `target`, a path, lies in the folder; error: what its failure raises."""
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
                # Also after what fails for a good reason, such as the removal of what is not there.
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
    """Install `fault` in this process; tell: descriptor that gets a line for each operation."""
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
    """Count what writes without Python's functions, where it is called from."""
    from pyogrio.errors import DataSourceError
    from rasterio.errors import RasterioIOError

    geopackage = importlib.import_module("geoseg.outputs.polygons")
    raster, layer = importlib.import_module("rasterio.shutil"), importlib.import_module("pyogrio")
    geoseg_raster = importlib.import_module("geoseg.raster.cog")
    operations.wrap(_Closing, "close", "close", lambda _file, path: str(path), RasterioIOError)
    geoseg_raster.rasterio = _Rasterio(geoseg_raster.rasterio)
    operations.wrap(raster, "copy", "copy", lambda _source, path, **_: str(path), RasterioIOError)
    operations.wrap(layer, "write_arrow", "layer", lambda _source, path, **_: str(path), DataSourceError)
    operations.wrap(geopackage, "add_layer_style", "style", lambda path, *_: str(path))


class _Rasterio:
    """The module `rasterio`, but that closing a raster that was written is an operation."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Open a raster."""
        file = self._module.open(path, mode, **options)
        return _Closing(file, path) if mode == "w" else file


class _Closing:
    """A context manager that is left by way of `close`."""

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
    """Put zeros in the place of the second half of the file, as a disk does that lost it; of a FlatGeobuf in that of a
    few coordinates, so that it can be read as before."""
    size = path.stat().st_size
    lost = 16 if path.suffix == ".fgb" else size - size // 2
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(lost))


def _install_signal(fault: Fault, tell: int) -> None:
    owner, name = _owner(*MOMENTS[fault.moment])
    original, calls = getattr(owner, name), []

    @functools.wraps(original)
    def struck(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) != fault.at:
            return original(*arguments, **options)
        # A part counts once it is kept; of everything else the midst is wanted.
        result = original(*arguments, **options) if fault.moment == "part" else None
        if fault.signal:
            threading.Timer(0.05, send, (fault.signal, tell)).start()
        _stay_in_c(0.1 + fault.hold)
        return result if fault.moment == "part" else original(*arguments, **options)

    setattr(owner, name, struck)


def _stay_in_c(seconds: float) -> None:
    """Spend about so long in one call that no signal interrupts and that holds no lock of Python, as GDAL's copy is."""
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
    """Sends a signal when torch begins to be imported: the command has started, and is not yet at work."""

    def __init__(self, number: int, tell: int) -> None:
        self._number, self._tell = number, tell

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing."""
        if name == "torch" and self._number:
            number, self._number = self._number, 0
            send(number, self._tell)


def send(number: int, tell: int) -> None:
    """Send this process a signal, and tell when."""
    os.write(tell, f"signal {time.monotonic()}\n".encode())
    os.kill(os.getpid(), signal.Signals(number))


def _first(path: Any, *_: object, dir_fd: int | None = None, **__: object) -> str:
    """The path that an operation in an open folder is about."""
    return _absolute(path, dir_fd)


def _second(_source: Any, path: Any, *, dst_dir_fd: int | None = None, **_: object) -> str:
    return _absolute(path, dst_dir_fd)


def _absolute(path: Any, folder: int | None) -> str:
    start = Path.cwd() if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
    return str(start / path)
