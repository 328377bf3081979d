"""Finding one's way in a downloaded folder: what is there, what is still packed, and what a list names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.guards import regular_file

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tar.gz", ".tgz")


def check_folder(folder: Path) -> None:
    """Raise InputMissingError or InputError where `folder` is no folder."""
    if not folder.is_dir():
        regular_file(folder)
        raise InputError(f"{folder}: is a file; the folder of the data set is needed")


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first of the folders `names` in `root`; of one that holds nothing but a folder of its own name, as
    archives unpack, the inner one."""
    for name in names:
        found = root / name
        if found.is_dir():
            inner = found / found.name
            return inner if inner.is_dir() else found
    return None


def find_archive(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first archive in `root`, or one folder deeper, that is called like one of `names`."""
    for name in names:
        for place in (root, root / name):
            for suffix in _ARCHIVES:
                if (place / (name + suffix)).is_file():
                    return place / (name + suffix)
    return None


def need_folder(root: Path, names: Sequence[str], example: str) -> Path:
    """Return `find_folder(root, names)`.

    example: a file that has to be there, below `root`.

    Raises:
        InputError: it is still packed. InputMissingError: it is not there.
    """
    found = find_folder(root, names)
    packed = find_archive(root, names)
    if found is not None and (packed is None or _holds_more(found)):
        return found
    if packed is not None:
        raise InputError(f"{packed}: is still packed; unpack it in {root}, so that there is {root / example}")
    raise InputMissingError(f"{root}: has {listed(content(root))}, but no {names[0]}; there should be {root / example}")


def content(folder: Path) -> list[str]:
    """Return the names of all that is in `folder`, sorted, hidden ones left out; folders end in a slash."""
    with os.scandir(folder) as entries:
        found = [entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith(".")]
    return sorted(found)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the names as a person would list them: the first few, and how many more there are."""
    if not names:
        return "nothing in it"
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def read_list(path: Path) -> list[str]:
    """Return the names in a list file, one a line, in its order and each once.

    Raises:
        InputMissingError, InputError: no file, no text, or no name in it.
    """
    try:
        lines = regular_file(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text; a list has one name a line") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise InputError(f"{path}: names nothing; a list has one name a line")
    return names


def check_listed(list_path: Path, wanted: Sequence[str], there: Collection[str], place: Path, way_out: str) -> None:
    """Raise InputError unless every file `wanted` is among those `there` in `place`."""
    absent = [name for name in wanted if name not in there]
    if absent:
        raise InputError(
            f"{list_path}: {len(absent)} of the {len(wanted)} files it asks for are not in {place}, the first is "
            f"{absent[0]}; {way_out}"
        )


def _holds_more(folder: Path) -> bool:
    return any(not name.endswith(_ARCHIVES) for name in content(folder))
