"""How a file appears: complete and verified, or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import OutputError, WriteError

_NAME_MAX = 255
"""Bytes in the name of a file, on every file system in common use."""


def check_target(path: Path, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse, before any work is done, an output that cannot or must not be written.

    Raises:
        OutputError: the path is a folder, one of `inputs` (also by a link), exists without `overwrite`, lies in a
            folder that is missing or may not be written to, or its name is too long for what is written beside it.
    """
    if len(os.fsencode(f"{_temporary_name(path)}.aux.xml")) > _NAME_MAX:
        raise OutputError(f"{path}: its name is too long; choose a shorter one")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the path of a file")
    for source in inputs if path.exists() else ():
        if source.exists() and path.samefile(source):
            raise OutputError(f"{path}: is the input itself; choose another output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; --overwrite replaces it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: its folder {path.parent} may not be written to")


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; when the block ends well it is synced and takes its place.

    The old file stays intact until then. A link is followed, not replaced.

    Raises:
        WriteError: the file system failed; nothing is left behind.
    """
    target = path.resolve()
    temporary = target.with_name(_temporary_name(target))
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except OSError as error:
        if isinstance(error, WriteError | OutputError):
            raise
        raise WriteError(f"{path}: cannot be written ({error.strerror or error}); nothing was replaced") from error
    finally:
        for leftover in target.parent.glob(f"{glob.escape(temporary.name)}*"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def publish_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically.

    Raises:
        WriteError: the file system failed; the old file is intact.
    """
    with publishing(path) as temporary:
        temporary.write_bytes(data)


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_date() -> datetime | None:
    """Return the time that outputs are to bear, from SOURCE_DATE_EPOCH (reproducible-builds.org); None where it is not
    set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return None if epoch is None else datetime.fromtimestamp(float(epoch), UTC)


def _temporary_name(target: Path) -> str:
    # Host and process in the name: on a cluster two workers may publish the same part.
    return f".{target.stem}.{socket.gethostname()}.{os.getpid()}.tmp{target.suffix}"


def sync(path: Path) -> None:
    """Return once the disk has what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
