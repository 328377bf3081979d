"""Folders of any number of files, gone through one by one: no list of a million names or paths is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def names(folder: Path) -> Iterator[str]:
    """Yield the names of the entries of a folder, in no order.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def remove_files(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Delete the files of a folder whose names are wanted; links are deleted, not followed.

    Raises:
        OSError: One cannot be deleted.
    """
    # Not every file system tells all entries while some are being deleted: until there are none, ask again.
    while sum(_unlink(folder / name) for name in names(folder) if wanted(name)):
        pass


def remove_folder(folder: Path) -> None:
    """Delete a folder with all that is in it; links are deleted, not followed.

    Raises:
        OSError: An entry cannot be deleted.
    """
    while sum(_remove(folder / name) for name in names(folder)):
        pass
    folder.rmdir()


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
        return True
    return _unlink(path)


def _unlink(path: Path) -> bool:
    """Delete a file, unless another process has just done so; return True."""
    path.unlink(missing_ok=True)
    return True
