"""Where a run is kept: what a run needs of a folder, or of any other place that several machines see.

A store holds files by flat names, such as `manifest.json` and `part-000123-classes.tif`. Each is whole or absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from geoseg.errors import SettingError
from geoseg.files.bucket import is_bucket
from geoseg.files.lock import Holder
from geoseg.location import Location, Remote
from geoseg.runs.folder import FolderStore


class Claim(Protocol):
    """What this process holds and no other does, until it is released or the process ends."""

    def check(self) -> None:
        """Raise LockedError if another process has taken it, because this one seemed to be dead."""

    def release(self) -> None:
        """Give it up."""


class Store(Protocol):
    """The place of one run.

    Attributes:
        location: The place, for messages and commands.
        path: The place as a path, for messages.
        scratch: A folder on this machine for files of the run that only this process reads.
        width: How many files are best looked at at a time.
    """

    @property
    def location(self) -> Location: ...

    @property
    def path(self) -> Path: ...

    @property
    def scratch(self) -> Path: ...

    @property
    def width(self) -> int: ...

    def prepare(self) -> None:
        """Make the place, if it is not there.

        Raises:
            OutputError: Something else is there, or it cannot be made.
        """

    def check_owner(self) -> None:
        """Refuse a place that another user made, as far as that can be known.

        Raises:
            OutputError: It belongs to another user.
        """

    def exists(self) -> bool:
        """Return whether there is a run, damaged or not: its manifest decides."""

    def read(self, name: str, max_bytes: int = ...) -> bytes | None:
        """Return the content of a file; None if there is none, or it is too large."""

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Write a file: whole, or not at all.

        Args:
            name: Its name.
            data: Its content.
            replace: Whether a file with other content may be there; parts are the same whoever computes them.

        Raises:
            WriteError: The file system, or the server, failed.
        """

    def keep(self, name: str, make: Callable[[Path], None]) -> str:
        """Keep a file that `make` writes, whole and verified, at the path that it is given; return its SHA-256.

        Raises:
            WriteError: The file system, or the server, failed.
        """

    def holds(self, name: str, digest: str) -> bool:
        """Return whether there is a file with that SHA-256."""

    def local(self, name: str) -> Path:
        """Return the path of a file on this machine, to be read; it does not exist if the store has none."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that begin with `prefix`, in no order; there may be millions."""

    def size(self) -> int:
        """Return the size of all files in bytes."""

    def lock(self) -> Claim:
        """Take the lock of the run, which the process has that coordinates it.

        Raises:
            LockedError: Another process has it.
            WriteError: It cannot be created.
        """

    def claim(self, name: str) -> Claim | None:
        """Claim the work that `name` stands for; None if a living process has it. That of a dead one is taken over.

        Raises:
            InputMissingError: The run is gone.
            WriteError: The file system, or the server, failed.
        """

    def holder(self, name: str = ...) -> Holder | None:
        """Return the process that a claim, or by default the lock, names; None if there is none."""

    def tidy(self) -> None:
        """Remove what processes that have ended left half-written."""

    def empty(self) -> None:
        """Delete the files of the run, the manifest last."""

    def discard(self) -> None:
        """Delete the run."""


def open_store(location: Location) -> Store:
    """Return the store at a location.

    Raises:
        SettingError: No run can be kept there.
        UnavailableError: It is a cloud store, and obstore is not installed.
    """
    if not isinstance(location, Remote):
        return FolderStore(location)
    if not is_bucket(location):
        raise SettingError(f"{location}: a run is kept in a folder, or in a cloud store: s3://, gs:// or az://")
    from geoseg.runs.objects import ObjectStore

    return ObjectStore(location)
