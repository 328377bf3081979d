"""The run directory: a run in a folder, on this machine or on a disk that several machines share."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from geoseg.errors import InputMissingError, LockedError, OutputError, WriteError
from geoseg.files.atomic import publish_bytes, remove_leftovers, sha256
from geoseg.files.folders import names, remove_files, remove_folder
from geoseg.files.lock import Holder, Lock, holder
from geoseg.files.own import PROBE, check_owner, is_plain, read_plain
from geoseg.files.system import WINDOWS

LOCK, MANIFEST = "lock", "manifest.json"

_BEGUN = rf"\.{Path(MANIFEST).stem}\..*|{re.escape(PROBE)}.*"
_KEPT = re.compile(rf"{re.escape(MANIFEST)}|\.?part-(sieved-)?\d{{6,}}.*|claim-\d{{6,}}|{_BEGUN}")
"""Names of the files in a run directory, except the lock."""

_MAX_BYTES = 64 << 20


class FolderStore:
    """A `geoseg.runs.store.Store` in a folder.

    Args:
        path: The folder. It may be a link to a folder on another disk.

    Attributes:
        path: The folder, with a link resolved.
        location, scratch: The same.
        width: 1.
    """

    width = 1

    def __init__(self, path: Path) -> None:
        self._is_link = path.is_symlink()
        if self._is_link:
            check_owner(path)
        try:
            self.path = path.resolve() if self._is_link else path
            if self._is_link and self.path.is_symlink():
                # From Python 3.13 on, links that lead back to themselves are no error, but left as they are.
                raise OSError(f"{path}: leads back to itself")
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{path}: is a link that leads nowhere; remove it") from error
        self.location = self.scratch = self.path

    def prepare(self) -> None:
        """Make the folder, and the one around it; refuse one that is not a run directory, or one hardly begun."""
        # A process killed before it wrote the manifest leaves only its lock and temporary files.
        if self.path.exists() and not self.exists() and not (self.path.is_dir() and self._is_begun()):
            raise OutputError(f"{self.path}: is in the way of the run directory; move it elsewhere")
        try:
            if self.path.parent.parent.is_dir():
                self.path.parent.mkdir(exist_ok=True)
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: the run directory cannot be created ({error.strerror})") from error

    def _is_begun(self) -> bool:
        return all(entry.name == LOCK or re.fullmatch(_BEGUN, entry.name) for entry in self.path.iterdir())

    def check_owner(self) -> None:
        """Refuse a folder that another user made, who could have written anything into the manifest."""
        check_owner(self.path)

    def exists(self) -> bool:
        """Return whether the folder has a manifest, damaged or not."""
        return is_plain(self.path / MANIFEST)

    def read(self, name: str, max_bytes: int = _MAX_BYTES) -> bytes | None:
        """Return the content of a plain file; None if there is none, or it is too large."""
        try:
            return read_plain(self.path / name, max_bytes)
        except OSError:
            return None

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Write a file atomically; whatever is there is replaced."""
        publish_bytes(self.path / name, data, own=True)

    def keep(self, name: str, make: Callable[[Path], None]) -> str:
        """Keep a file that `make` writes atomically; return its SHA-256."""
        make(self.path / name)
        return sha256(self.path / name)

    def holds(self, name: str, digest: str) -> bool:
        """Return whether there is a plain file with that SHA-256."""
        return Path(name).name == name and is_plain(self.path / name) and sha256(self.path / name) == digest

    def local(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the folder's entries that begin with `prefix`, in no order."""
        return (name for name in names(self.path) if name.startswith(prefix))

    def size(self) -> int:
        """Return the size of all files in bytes."""
        with os.scandir(self.path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file())

    def lock(self) -> Lock:
        """Take the lock of the run."""
        try:
            return _RunLock(self.path / LOCK)
        except OutputError:
            raise
        except OSError as error:
            raise WriteError(f"{self.path}: cannot be locked ({error.strerror})") from error

    def claim(self, name: str) -> Lock | None:
        """Claim what `name` stands for; None if a living process has it."""
        try:
            return Lock(self.path / name, name=self.path / name)
        except LockedError:
            if not self.path.exists():
                raise InputMissingError(f"{self.path}: is gone; another process has finished or removed it") from None
            return None
        except OSError as error:
            raise WriteError(f"{self.path}: {name} cannot be locked ({error.strerror})") from error

    def holder(self, name: str = LOCK) -> Holder | None:
        """Return the process that a lock file names; None if there is none."""
        return holder(self.path / name)

    def tidy(self) -> None:
        """Remove the temporary files of processes of this machine that have ended."""
        remove_leftovers(self.path)

    def empty(self) -> None:
        """Delete the files of the run, the manifest last: until then this is a run with fewer parts."""
        remove_files(self.path, lambda name: name != MANIFEST and _KEPT.fullmatch(name) is not None)
        (self.path / MANIFEST).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the folder with its content. A link and the folder that it leads to stay, empty."""
        if self._is_link or WINDOWS:
            # Windows renames no folder in which a file is open, such as the lock; with that, the folder goes.
            self.empty()
            return
        # Renamed first, so that another process finds no directory rather than half of one.
        renamed = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
        if renamed.is_symlink():
            renamed.unlink()
        self.path.rename(renamed)
        remove_folder(renamed)


class _RunLock(Lock):
    """The lock of a run; on Windows, the folder goes with it if nothing else is left in it."""

    def release(self) -> None:
        super().release()
        if WINDOWS and not self.path.parent.is_symlink():
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
