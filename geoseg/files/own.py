"""What lies in folders of geoseg's own: run directories and folders of checkpoints.

Others may be able to write to the folder around them, and may have made such a folder beforehand. So a folder of
another user is refused, and what lies inside is a plain file or is replaced: a link that somebody planted there is
never followed, neither to write nor to read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.files.system import BINARY

PROBE = ".clock."
"""How the names of probes begin; see `probe`."""

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | BINARY  # Windows has no O_NOFOLLOW.
_MAX_BYTES = 16 << 20


def is_plain(path: Path) -> bool:
    """Return whether there is a regular file at `path` itself, not at the end of a link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def read_plain(path: Path, max_bytes: float = _MAX_BYTES) -> bytes:
    """Return the content of a file of at most `max_bytes`.

    Raises:
        OSError: There is no regular file at the path itself, or it is too large or cannot be read.
    """
    file = os.open(path, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise OSError(f"{path}: is no regular file, or too large")
        return stream.read()


def open_plain(path: Path) -> int:
    """Return a descriptor of the file at `path` for reading and writing; it is created if it is missing.

    Anything else, also a link or a second name of a file elsewhere, is replaced by an empty file.

    Raises:
        FileNotFoundError: The folder is missing.
        OSError: The file cannot be opened.
    """
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | getattr(os, "O_NONBLOCK", 0), 0o666)
        except OSError:
            if not path.is_symlink():
                raise
        else:
            status = os.fstat(file)
            if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
                return file
            os.close(file)
        path.unlink(missing_ok=True)


def create(path: Path, mode: int = 0o666) -> None:
    """Make an empty file at `path`; whatever is there is removed first.

    Raises:
        OSError: The file system failed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    try:
        file = os.open(path, flags, mode)
    except FileExistsError:
        path.unlink()
        file = os.open(path, flags, mode)
    os.close(file)


def probe(folder: Path) -> os.stat_result:
    """Return the status of a file that this process has just made in `folder`; the file is removed again.

    Its times are by the clock of the file system, and its owner is this user as the file system has it: both may be
    those of another machine.

    Raises:
        OSError: No file can be made there.
    """
    path = folder / f"{PROBE}{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        create(path)
        return path.lstat()
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def check_owner(folder: Path) -> None:
    """Refuse a folder that another user made, and a link that another user made to a folder.

    Raises:
        OutputError: The folder belongs to another user.
    """
    owners = []
    # Without permission to write, what comes next fails by itself.
    with contextlib.suppress(OSError):
        if folder.is_symlink():
            owners.append((folder.lstat().st_uid, probe(folder.parent).st_uid))
        owners.append((folder.stat().st_uid, probe(folder).st_uid))
    for found, own in owners:
        if found != own:
            raise OutputError(
                f"{folder}: belongs to another user ({_user(found)}), who could change what is kept there; continue as "
                "that user, or remove it"
            )


def _user(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"number {number}"
