"""Atomic writing: a file appears complete and verified, or not at all."""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import OutputError, WriteError
from geoseg.files.folders import names, remove_folder
from geoseg.files.own import create
from geoseg.files.permissions import Permissions
from geoseg.files.plain import plain_name
from geoseg.files.system import process_lives, remove, replace, sync

_MARKER = ".placing"
"""Name of an empty file in a staging folder. It exists while the staged files are moved to their places."""

_unfinished: set[Path] = set()
"""Temporary files and folders of this process. They are removed with all files whose names start with theirs."""


@contextmanager
def publishing(path: Path, own: bool = False, permissions: Permissions | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end of the block the file is synced and renamed to `path`.

    An old file stays intact until then; the new one has its permissions.

    Args:
        path: The file. A link is followed, not replaced.
        own: The file lies in a folder of geoseg's own, where a link is replaced, not followed.
        permissions: Those of an old file that is gone already.

    Raises:
        WriteError: The file system failed; the temporary file is removed.
    """
    target = path if own else path.resolve()
    temporary = target.with_name(temporary_name(target))
    _unfinished.add(temporary)
    try:
        if os.path.lexists(temporary):
            # Left by an ended process of the same number, or planted.
            remove(temporary)
        yield temporary
        if not own and (permissions := permissions or Permissions.of(target)) is not None:
            permissions.apply(temporary)
        sync(temporary)
        replace(temporary, target)
        sync(target.parent)
    except OSError as error:
        if isinstance(error, WriteError | OutputError):
            raise
        raise WriteError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        _remove(temporary, alone=own)


def publish_bytes(path: Path, data: bytes, own: bool = False, permissions: Permissions | None = None) -> None:
    """Write `data` to `path` atomically, after reading it back.

    Args:
        path: The file.
        data: Its content.
        own: See `publishing`.
        permissions: See `publishing`.

    Raises:
        WriteError: The file system failed, or the data read back differs; an old file is intact.
    """
    with publishing(path, own, permissions) as temporary:
        # Nobody who may not read the old file reads the new one while it is written.
        create(temporary, 0o666 if permissions is None and not path.exists() else 0o600)
        temporary.write_bytes(data)
        if temporary.read_bytes() != data:
            raise WriteError(f"{path}: reads back differently than it was written; is the disk full or failing?")


@contextmanager
def scratch_folder(target: Path, kind: str = "parts") -> Iterator[Path]:
    """Yield a hidden folder beside an output for intermediate files; it is removed at the end of the block.

    `remove_leftovers` removes that of a process that was killed.

    Args:
        target: The output.
        kind: What is in the folder: one word, which tells it from others of the same output.

    Raises:
        WriteError: The folder cannot be made.
    """
    folder = target.with_name(f".{plain_name(target.stem)}{_own_temporary()}.{kind}")
    _unfinished.add(folder)
    try:
        _make_folder(folder)
        yield folder
    except OSError as error:
        if isinstance(error, WriteError | OutputError):
            raise
        raise WriteError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        _remove(folder)


@atexit.register
def abandon() -> None:
    """Remove all temporary files of this process, before it ends.

    Normally there are none left; but where too many files were open, a folder could not be listed until now.
    """
    for temporary in tuple(_unfinished):
        _remove(temporary)


def remove_leftovers(folder: Path, stem: str = "*") -> None:
    """Remove the temporary files of ended processes of this machine.

    A staging folder that was being moved to its place stays: `interrupted` relies on it.

    Args:
        folder: Where to look.
        stem: Stem of the outputs whose temporary files are removed; all by default.
    """
    start = "." if stem == "*" else f".{plain_name(stem)}."
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for name in names(folder):
            process = _process_of(name) if name.startswith(start) else None
            if process is not None and not process_lives(process) and not (folder / name / _MARKER).exists():
                _delete(folder / name)


def _process_of(temporary: str) -> int | None:
    """The process of this machine that a temporary file belongs to, by its name; None if it is not one of this
    machine."""
    found = re.match(rf"\..*\.{re.escape(socket.gethostname())}\.(\d+)\.tmp(?![^.])", temporary)
    return int(found[1]) if found else None


def _in_use(temporary: Path) -> bool:
    """Whether a temporary file belongs to another process of this machine that has not ended."""
    process = _process_of(temporary.name)
    return process is not None and process != os.getpid() and process_lives(process)


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_name(target: Path) -> str:
    """Return the name of the temporary file that this process renames to `target` in the end."""
    # It names host and process, because on a cluster two workers may write the same part.
    return f".{plain_name(target.stem)}{_own_temporary()}{plain_name(target.suffix)}"


def _own_temporary() -> str:
    return f".{socket.gethostname()}.{os.getpid()}.tmp"


class Staging:
    """Files that appear together. A context manager.

    Each file is written under its own name into a hidden folder next to its place. `commit` moves all of them to their
    places; until then the old files stay intact.

    Args:
        target: The main output. It names the hidden folders and is moved first.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folders: dict[Path, Path] = {}
        self._permissions: dict[Path, Permissions] = {}

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if kind is None or not self._marker.exists():
            for folder in self._folders.values():
                _remove(folder)
        if isinstance(error, WriteError):
            # The message names the place of the file: users do not know the hidden folder.
            text = str(error)
            for place, folder in self._folders.items():
                text = text.replace(str(folder), str(place))
            error.args = (text,)
        if kind is None:
            for marker in _markers(self._target):
                if not _in_use(marker.parent):
                    _delete(marker.parent)

    def path(self, target: Path) -> Path:
        """Return the path at which to write the file that `commit` moves to `target`.

        Raises:
            WriteError: The hidden folder cannot be created.
        """
        folder = self._folders.get(target.parent)
        if folder is None:
            folder = self._folders[target.parent] = self._folder(target.parent)
            _unfinished.add(folder)
            try:
                _make_folder(folder)
            except OSError as error:
                raise WriteError(f"{target}: cannot be written ({error.strerror})") from error
        return folder / target.name

    def commit(self, stale: Iterable[Path]) -> None:
        """Remove `stale` files, then move all staged files to their places, the target first.

        If the process ends within the context from here on, `interrupted` is true until a later staging of the same
        target succeeds.

        Args:
            stale: Files that describe the old outputs; they need not exist.

        Raises:
            WriteError: The file system failed.
        """
        try:
            self.path(self._target)
            self._marker.touch()
            sync(self._marker.parent)
            for path in stale:
                if (permissions := Permissions.of(path)) is not None:
                    self._permissions[path] = permissions
                remove(path)
            for place, folder in self._folders.items():
                for file in sorted(folder.iterdir(), key=lambda file: (file.name != self._target.name, file.name)):
                    # A temporary file that could not be removed is not an output.
                    if file != self._marker and _own_temporary() not in file.name:
                        _place(file, place / file.name, self.permissions(place / file.name))
                sync(place)
        except OSError as error:
            if isinstance(error, WriteError):
                raise
            raise WriteError(
                f"{self._target}: cannot be put in place ({error.strerror or error}); run the same command again"
            ) from error

    def permissions(self, path: Path) -> Permissions | None:
        """Return the permissions of the file that `commit` removed from `path`; None if it removed none."""
        return self._permissions.get(path)

    @property
    def _marker(self) -> Path:
        return self._folder(self._target.parent) / _MARKER

    def _folder(self, place: Path) -> Path:
        return place / f".{plain_name(self._target.name)}{_own_temporary()}"


def interrupted(target: Path) -> bool:
    """Return whether a process ended while it moved staged files to `target`, so that they may be replaced."""
    return any(True for _ in _markers(target))


def _markers(target: Path) -> Iterator[Path]:
    return target.parent.glob(f".{glob.escape(plain_name(target.name))}.*.tmp/{_MARKER}")


def _make_folder(folder: Path) -> None:
    """Make a hidden folder that nobody else can look into."""
    if os.path.lexists(folder):
        # Left by an ended process of the same number, or planted. Its marker, if it has one, still counts.
        old = folder.with_name(f"{folder.name}.old.tmp")
        _delete(old)
        folder.rename(old)
        if not (old / _MARKER).exists():
            _delete(old)
    folder.mkdir(0o700)


def _place(file: Path, target: Path, permissions: Permissions | None) -> None:
    """Move a synced file. A link is followed, even to another file system."""
    real = target.resolve()
    if file.stat().st_dev == real.parent.stat().st_dev:
        permissions = permissions or Permissions.of(real)
        if permissions is not None:
            permissions.apply(file)
        replace(file, real)
        if real.parent != target.parent:
            sync(real.parent)
        return
    with publishing(real, permissions=permissions) as temporary:
        shutil.copyfile(file, temporary)


def _remove(temporary: Path, alone: bool = False) -> None:
    """Remove a temporary file together with files such as .aux.xml, whose names start with its name.

    Args:
        temporary: The file, which need not exist.
        alone: It is one of a folder of geoseg's own, which may have millions and is not listed: no other file belongs
            to it.
    """
    leftovers = [temporary] if alone else list(temporary.parent.glob(f"{glob.escape(temporary.name)}*"))
    for leftover in leftovers:
        _delete(leftover)
    if not any(map(os.path.lexists, leftovers)):
        _unfinished.discard(temporary)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink()
