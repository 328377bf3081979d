"""What Windows does differently with files, processes and signals, imitated in this process on Linux.

Files that this process has open, or mapped, cannot be replaced, renamed or removed; folders cannot be opened; only
files open for writing can be flushed; what the modules os, signal and select have on POSIX alone is gone.
"""

from __future__ import annotations

import errno
import importlib
import os
import select
import signal
import struct
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

MODULES = (
    "geoseg.files.system", "geoseg.files.lock", "geoseg.files.permissions", "geoseg.files.plain",
    "geoseg.files.targets", "geoseg.runs.folder",
)  # fmt: skip
"""All modules that have `WINDOWS`."""

_POSIX = (
    (os, ("set_blocking", "getuid", "geteuid", "getgid", "fork", "chown", "getxattr", "setxattr", "killpg",
          "sched_getaffinity")),
    (signal, ("pthread_sigmask", "SIGHUP", "SIGKILL", "SIGUSR1")),
    (select, ("poll",)),
)  # fmt: skip

_STILL_ACTIVE, _SHARING_VIOLATION = 259, 32


def imitate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imitate Windows until the end of the test."""
    import fcntl

    for name in MODULES:
        monkeypatch.setattr(importlib.import_module(name), "WINDOWS", True)
    monkeypatch.setattr(signal, "set_wakeup_fd", _waking(signal.set_wakeup_fd, os.set_blocking))
    for module, names in _POSIX:
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    monkeypatch.setattr(os, "kill", _no_question)
    monkeypatch.setattr(importlib.import_module("ctypes"), "WinDLL", lambda *_, **__: Kernel(), raising=False)
    monkeypatch.setattr(importlib.import_module("ctypes"), "get_last_error", lambda: 87, raising=False)
    monkeypatch.setitem(sys.modules, "msvcrt", _msvcrt(fcntl))
    monkeypatch.setitem(sys.modules, "_winapi", _winapi())
    for name in ("fcntl", "resource", "pwd"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("unlink", "remove", "rmdir"):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name), 1))
    for name, renames in (("rename", True), ("replace", False)):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name), 2, renames))
    monkeypatch.setattr(os, "open", _opening(os.open))
    monkeypatch.setattr(os, "fsync", _flushing(os.fsync, fcntl))


class Kernel:
    """kernel32.dll, as far as it is asked whether a process is alive: those of this machine are."""

    def __init__(self) -> None:
        self.OpenProcess = _Opener()

    def GetExitCodeProcess(self, handle: Any, code: Any) -> bool:  # noqa: N802
        code._obj.value = _STILL_ACTIVE
        return True

    def CloseHandle(self, handle: Any) -> None:  # noqa: N802
        pass


class _Opener:
    restype: Any = None

    def __call__(self, access: int, inherit: bool, process: Any) -> int | None:
        return process.value if Path(f"/proc/{process.value}").exists() else None


def _waking(act: Callable[..., int], set_blocking: Callable[[int, bool], None]) -> Callable[..., int]:
    def waking(file: int, **more: bool) -> int:
        if file >= 0:
            set_blocking(file, False)  # Windows does without.
        return act(file, **more)

    return waking


def _no_question(process: int, number: int) -> None:
    raise AssertionError(f"on Windows, os.kill({process}, {number}) ends or interrupts the process")


def _msvcrt(fcntl: Any) -> types.ModuleType:
    """Locks of a byte of an open file, which open file descriptions of Linux have alike."""
    module = types.ModuleType("msvcrt")

    def locking(file: int, mode: int, count: int) -> None:
        place = os.lseek(file, 0, os.SEEK_CUR)
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, count, 0))
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module.LK_NBLCK, module.locking = 2, locking  # type: ignore[attr-defined]
    return module


def _winapi() -> types.ModuleType:
    module = types.ModuleType("_winapi")
    module.CreateJunction = lambda folder, link: Path(link).symlink_to(folder)  # type: ignore[attr-defined]
    return module


def open_files() -> Iterator[str]:
    """Yield the paths of the files that this process has open or mapped."""
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 (names)
        with suppress(OSError):  # That of the folder itself is gone.
            yield str(Path(f"/proc/self/fd/{number}").readlink())
    for line in Path("/proc/self/maps").read_text().splitlines():
        yield line.split(maxsplit=5)[5] if line.count("/") else ""


def _refusing(act: Callable[..., Any], count: int, renames: bool = False) -> Callable[..., Any]:
    def acting(*paths: Any, **more: Any) -> Any:
        for path in paths[:count] if not more else ():
            found = str(Path(path).parent.resolve() / Path(path).name)
            if any(each == found or each.startswith(f"{found}/") for each in open_files()):
                error = PermissionError(errno.EACCES, "The process cannot access the file", str(path))
                error.winerror = _SHARING_VIOLATION  # type: ignore[attr-defined, unused-ignore]
                raise error
        if renames and os.path.lexists(paths[1]) and not Path(paths[0]).samefile(paths[1]):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(paths[1]))
        return act(*paths, **more)

    return acting


def _opening(act: Callable[..., int]) -> Callable[..., int]:
    def opening(path: Any, flags: int, *more: Any, **others: Any) -> int:
        unnamed = flags & os.O_TMPFILE == os.O_TMPFILE  # How tempfile makes a file without a name, on Linux.
        if not others and not unnamed and Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return act(path, flags, *more, **others)

    return opening


def _flushing(act: Callable[[int], None], fcntl: Any) -> Callable[[int], None]:
    def flushing(file: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        act(file)

    return flushing
