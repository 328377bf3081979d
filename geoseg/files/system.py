"""What operating systems do differently with files and processes, in one place; CONTRIBUTING lists what is elsewhere.

POSIX replaces and removes files that are open. Windows refuses that as long as any program has them open, and QGIS has
those of every layer open; scanners for viruses and indexers open new files for a moment, which is waited for. Windows
flushes only files that are open for writing, and no folders: NTFS journals their entries by itself.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from geoseg.errors import OutputError, WriteError

WINDOWS = os.name == "nt"

BINARY = getattr(os, "O_BINARY", 0)
"""A flag of os.open, without which Windows changes line ends."""

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts at a file that another program has open."""

_SHARING = (5, 32, 33)
"""ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION: what Windows says of such a file."""

_QUERY, _STILL_ACTIVE, _DENIED = 0x1000, 259, 5
"""PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE and ERROR_ACCESS_DENIED."""

_LOCKED_BYTE = 1 << 30
"""Where the locked byte of a lock file lies: Windows lets nobody read it, so it lies behind the content."""


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk.

    Raises:
        OSError: The file system failed.
    """
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR | BINARY if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename a file, over one that may be there.

    Raises:
        WriteError: Another program has one of them open, on Windows.
        OSError: The file system failed.
    """
    _patiently(lambda: source.replace(target), target)


def remove(path: Path) -> None:
    """Remove a file that need not be there.

    Raises:
        WriteError: Another program has it open, on Windows.
        OSError: The file system failed.
    """
    _patiently(lambda: path.unlink(missing_ok=True), path)


def check_replaceable(path: Path) -> None:
    """Refuse, before any work, to replace an existing file that another program has open, on Windows.

    Raises:
        OutputError: It is open.
    """
    if not WINDOWS or not path.is_file():
        return
    try:
        # Windows refuses even this for a file that is open, and it changes nothing.
        _patiently(lambda: path.rename(path), path)
    except WriteError:
        raise OutputError(
            f"{path}: is open in another program, such as QGIS, and Windows replaces no open file; remove the layer "
            "there, or choose another output"
        ) from None


def link_folder(link: Path, folder: Path) -> None:
    """Make a link to a folder; on Windows a junction, for which no rights are needed.

    Raises:
        OSError: It cannot be made.
    """
    if WINDOWS:
        import _winapi

        _winapi.CreateJunction(str(folder), str(link))  # type: ignore[attr-defined, unused-ignore]
    else:
        link.symlink_to(folder, target_is_directory=True)


def _patiently(act: Callable[[], object], path: Path) -> None:
    """Act on a file; where another program has it open, wait for that to end."""
    for seconds in (*_WAITS, None):
        try:
            act()
            return
        except PermissionError as error:
            if not WINDOWS or getattr(error, "winerror", None) not in _SHARING:
                raise
            if seconds is None:
                raise WriteError(
                    f"{path}: cannot be replaced, because another program, such as QGIS, has it open, or because it is "
                    "write-protected; remove the layer there, and run the same command again"
                ) from error
            time.sleep(seconds)


def process_lives(process: int) -> bool:
    """Return whether this machine has a process with that id."""
    if WINDOWS:
        return _windows_process_lives(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _windows_process_lives(process: int) -> bool:
    """As `process_lives`. There, os.kill(process, 0) is no question: it sends Ctrl-C to the process."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_QUERY, False, ctypes.c_ulong(process & 0xFFFFFFFF))
    if not handle:
        # That of another user may not be opened, but is there.
        return bool(ctypes.get_last_error() == _DENIED)  # type: ignore[attr-defined, unused-ignore]
    try:
        code = ctypes.c_ulong()
        found = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        # The object of an ended process stays as long as anybody has it open.
        return not found or code.value == _STILL_ACTIVE
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def take_lock(file: int) -> bool | None:
    """Take the advisory lock on an open file, which ends with the process.

    Args:
        file: Its descriptor. The position in the file is its start afterwards.

    Returns:
        Whether it was free; None if the file system has no such locks.
    """
    try:
        if WINDOWS:
            return _take_windows_lock(file)
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _take_windows_lock(file: int) -> bool:
    import msvcrt

    os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK):
            return False
        raise
    finally:
        os.lseek(file, 0, os.SEEK_SET)
    return True
