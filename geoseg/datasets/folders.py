"""Finds the files of a downloaded data set: what a folder contains, what is still packed, and what a list names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.guards import regular_file

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tar.gz", ".tgz")


def check_folder(folder: Path) -> None:
    """Raise InputMissingError where nothing is at the path of a data set, and InputError where it is not a folder."""
    if not folder.is_dir():
        regular_file(folder)
        raise InputError(f"{folder}: is a file; the folder of the data set is needed")


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first existing subfolder.

    Args:
        root: Where to look.
        names: Of the subfolders.

    Returns:
        The subfolder; the inner one where it contains a folder of its own name, as unpacked archives often do.
    """
    for name in names:
        found = root / name
        if found.is_dir():
            inner = found / found.name
            return inner if inner.is_dir() else found
    return None


def find_archive(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first archive called like one of `names`, in `root` or in the subfolder of that name."""
    for name in names:
        for place in (root, root / name):
            for suffix in _ARCHIVES:
                if (place / (name + suffix)).is_file():
                    return place / (name + suffix)
    return None


def require_folder(root: Path, names: Sequence[str], example: str) -> Path:
    """Return the first existing subfolder, as `find_folder` does.

    Args:
        root: Where to look.
        names: Of the subfolders.
        example: A file that has to exist, relative to `root`; for messages.

    Raises:
        InputError: The folder is still packed.
        InputMissingError: There is no such folder.
    """
    found = find_folder(root, names)
    packed = find_archive(root, names)
    if found is not None and (packed is None or _holds_more_than_archives(found)):
        return found
    if packed is not None:
        raise InputError(f"{packed}: is still packed; unpack it in {root}, so that there is {root / example}")
    raise InputMissingError(
        f"{root}: has {join_names(list_folder(root))}, but no {names[0]}; there should be {root / example}"
    )


def list_folder(folder: Path) -> list[str]:
    """Return the names of all entries of a folder but hidden ones, sorted; those of folders end in a slash."""
    with os.scandir(folder) as entries:
        found = [entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith(".")]
    return sorted(found)


def join_names(names: Sequence[str], max_names: int = 4) -> str:
    """Return names joined for a message: the first few, and how many more there are."""
    if not names:
        return "nothing in it"
    more = len(names) - max_names
    return ", ".join(names[:max_names]) + (f" and {more} more" if more > 0 else "")


def read_list(path: Path) -> list[str]:
    """Return the names in a list file, which has one per line, in its order and without repetitions.

    Raises:
        InputMissingError: The file does not exist.
        InputError: It is not text, or holds no name.
    """
    try:
        lines = regular_file(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text; a list has one name per line") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise InputError(f"{path}: holds no name; a list has one name per line")
    return names


def check_listed(list_path: Path, wanted: Sequence[str], existing: Collection[str], folder: Path, hint: str) -> None:
    """Raise InputError unless all files that a list names exist.

    Args:
        list_path: The list.
        wanted: Names of the files.
        existing: Names of the files in `folder`.
        folder: Where the files should be.
        hint: The way out, for the message.
    """
    absent = [name for name in wanted if name not in existing]
    if absent:
        raise InputError(
            f"{list_path}: {len(absent)} of the {len(wanted)} files it names are not in {folder}, the first is "
            f"{absent[0]}; {hint}"
        )


def _holds_more_than_archives(folder: Path) -> bool:
    return any(not name.endswith(_ARCHIVES) for name in list_folder(folder))
