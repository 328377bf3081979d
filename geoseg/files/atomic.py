"""How a file appears: complete and verified, or not at all."""

from __future__ import annotations

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
from geoseg.files.lock import process_lives

_NAME_MAX = 255
"""Bytes in the name of a file, on every file system in common use."""

_MARKER = ".placing"
"""In the folder of a staging: its files are being put in place."""

_unfinished: set[Path] = set()
"""Temporaries of this process; whatever begins with such a name goes with it."""


def check_target(path: Path, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse, before any work is done, an output that cannot or must not be written.

    Raises:
        OutputError: the path is a folder, one of `inputs` (also by a link), exists without `overwrite`, lies in a
            folder that is missing or may not be written to, or its name is too long for what is written beside it.
    """
    if len(os.fsencode(f"{temporary_name(path)}.aux.xml")) > _NAME_MAX:
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


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        WriteError: fewer than `needed` bytes are free where `folder` is.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{free >> 20} MiB free, about {-(-needed >> 20)} MiB needed"
        raise WriteError(f"{folder}: {sizes}; free some, or choose --out elsewhere")


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; when the block ends well it is synced and takes its place.

    The old file stays intact until then. A link is followed, not replaced.

    Raises:
        WriteError: the file system failed; nothing is left behind.
    """
    target = path.resolve()
    temporary = target.with_name(temporary_name(target))
    _unfinished.add(temporary)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except OSError as error:
        if isinstance(error, WriteError | OutputError):
            raise
        raise WriteError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        _remove(temporary)


def publish_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically, once it reads back as it was written.

    Raises:
        WriteError: the file system failed, or what reads back differs; the old file is intact.
    """
    with publishing(path) as temporary:
        temporary.write_bytes(data)
        if temporary.read_bytes() != data:
            raise WriteError(f"{path}: reads back otherwise than it was written; is the disk full or failing?")


def abandon() -> None:
    """Remove every temporary of this process, which is about to be ended by force."""
    for temporary in tuple(_unfinished):
        _remove(temporary)


def remove_leftovers(folder: Path, stem: str = "*") -> None:
    """Remove temporaries in `folder` whose processes, on this machine, have ended: of files called `stem`, or of any.

    What was being put in place stays, for it says that.
    """
    pattern = re.compile(rf"\..*\.{re.escape(socket.gethostname())}\.(\d+)\.tmp(?![^.])")
    for entry in folder.glob(f".{stem if stem == '*' else glob.escape(stem)}.*.tmp*"):
        found = pattern.match(entry.name)
        if found and not process_lives(int(found[1])) and not (entry / _MARKER).exists():
            _delete(entry)


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_name(target: Path) -> str:
    """Return the name under which this process writes what is to become `target`."""
    # Host and process in the name: on a cluster two workers may publish the same part.
    return f".{target.stem}{_own_temporary()}{target.suffix}"


def _own_temporary() -> str:
    return f".{socket.gethostname()}.{os.getpid()}.tmp"


def sync(path: Path) -> None:
    """Return once the disk has what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Staging:
    """Files that appear together: each is written, under its own name, in a hidden folder beside its place, and all
    are put in place at once. Until then what is there stays intact; a context manager.

    target: the file that names the work, the first to be put in place.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folders: dict[Path, Path] = {}

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if kind is None or not self._marker.exists():
            for folder in self._folders.values():
                _remove(folder)
        if isinstance(error, WriteError):
            # Nobody knows the hidden folder: what cannot be written is the file in its own place.
            text = str(error)
            for place, folder in self._folders.items():
                text = text.replace(str(folder), str(place))
            error.args = (text,)
        if kind is None:
            for marker in _markers(self._target):
                _delete(marker.parent)

    def path(self, target: Path) -> Path:
        """Return where to write what is to become `target`.

        Raises:
            WriteError: the hidden folder cannot be made.
        """
        folder = self._folders.get(target.parent)
        if folder is None:
            folder = self._folders[target.parent] = self._folder(target.parent)
            _unfinished.add(folder)
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise WriteError(f"{target}: cannot be written ({error.strerror})") from error
        return folder / target.name

    def commit(self, stale: Iterable[Path]) -> None:
        """Remove `stale` files, which tell of what was there, and put everything in place, the target first.

        If the process ends before the context, `interrupted` says so from then on, until a later work ends well.

        Raises:
            WriteError: the file system failed.
        """
        try:
            self.path(self._target)
            self._marker.touch()
            sync(self._marker.parent)
            for path in stale:
                path.unlink(missing_ok=True)
            for place, folder in self._folders.items():
                for file in sorted(folder.iterdir(), key=lambda file: (file.name != self._target.name, file.name)):
                    # A temporary that could not be removed is none of the files.
                    if file != self._marker and _own_temporary() not in file.name:
                        _place(file, place / file.name)
                sync(place)
        except OSError as error:
            if isinstance(error, WriteError):
                raise
            raise WriteError(
                f"{self._target}: cannot be put in place ({error.strerror or error}); the same command goes on"
            ) from error

    @property
    def _marker(self) -> Path:
        return self._folder(self._target.parent) / _MARKER

    def _folder(self, place: Path) -> Path:
        return place / f".{self._target.name}{_own_temporary()}"


def interrupted(target: Path) -> bool:
    """Return whether a process ended while it was putting `target` in place: what is there may be replaced."""
    return any(True for _ in _markers(target))


def _markers(target: Path) -> Iterator[Path]:
    return target.parent.glob(f".{glob.escape(target.name)}.*.tmp/{_MARKER}")


def _place(file: Path, target: Path) -> None:
    """Move a file that is synced; a link is followed, to another file system too."""
    real = target.resolve()
    if file.stat().st_dev == real.parent.stat().st_dev:
        file.replace(real)
        if real.parent != target.parent:
            sync(real.parent)
        return
    with publishing(real) as temporary:
        shutil.copyfile(file, temporary)


def _remove(temporary: Path) -> None:
    """Remove a temporary with all that was written beside it under longer names."""
    for leftover in temporary.parent.glob(f"{glob.escape(temporary.name)}*"):
        _delete(leftover)
    _unfinished.discard(temporary)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
