"""Checks of outputs before any work: their names, their folders, and the space on the disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from geoseg.errors import OutputError, WriteError
from geoseg.files.atomic import temporary_name
from geoseg.files.system import WINDOWS, check_replaceable
from geoseg.location import target

_MAX_NAME_BYTES = 255
"""Longest file name on the file systems in common use."""

_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³")}
"""Names that Windows has for devices (Naming Files, Paths, and Namespaces, Win32)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_target(
    path: Path,
    overwrite: bool,
    inputs: tuple[Path, ...] = (),
    new_folders: Collection[Path] = (),
    is_open: bool = False,
) -> None:
    """Refuse an output that cannot or must not be written, before any work is done.

    Args:
        path: The output.
        overwrite: Whether an existing file may be replaced.
        inputs: Files that must not be overwritten, whatever `overwrite` says.
        new_folders: Folders that will be made if they are missing.
        is_open: This process has the file open, and closes it before it replaces it.

    Raises:
        OutputError: The path is a folder, is one of `inputs` (possibly through a link), exists without `overwrite`,
            is in a cloud store, lies in a folder that is missing or not writable, is a link that leads nowhere, or its
            name is too long for the temporary files beside it, has control characters or is not UTF-8. On Windows also:
            another program has the file open, or the name is one that Windows has for devices, or cannot have.
    """
    if (remote := target(path)) is not None:
        raise OutputError(f"{remote}: this command writes on this machine; write it here, and copy it there")
    _check_name(path)
    if len(os.fsencode(f"{temporary_name(path)}.aux.xml")) > _MAX_NAME_BYTES:
        raise OutputError(f"{path}: its name is too long; choose a shorter one")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the path of a file")
    for source in inputs if path.exists() else ():
        if source.exists() and path.samefile(source):
            raise OutputError(f"{path}: is the input itself; choose another output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; --overwrite replaces it")
    existing = first_existing(path.parent, new_folders)
    made = existing != path.parent
    if not existing.is_dir():
        raise OutputError(f"{path}: its folder {existing} does not exist; create it first")
    folder = existing if made else _target(path).parent
    if not folder.is_dir():
        raise OutputError(
            f"{path}: is a link into the folder {folder}, which does not exist; create it, or remove the link"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: its folder {folder if path.is_symlink() else path.parent} is not writable")
    if not is_open:
        check_replaceable(path)


def first_existing(folder: Path, new: Collection[Path]) -> Path:
    """Return the folder that has to exist: `folder`, or the next one above it if that is made when missing."""
    while folder in new and not folder.exists():
        folder = folder.parent
    return folder


def _check_name(path: Path) -> None:
    """Refuse names that other programs could not open, or that would not be shown as they are."""
    if _CONTROL.search(path.name):
        raise OutputError(f"{path}: its name has control characters; choose another one")
    if WINDOWS and (reason := windows_refusal(path.name)):
        raise OutputError(f"{path}: {reason}; choose another name")
    if not is_utf8(_target(path)):
        raise OutputError(f"{path}: its name, or that of a folder, is not UTF-8; choose or rename it")


def windows_refusal(name: str) -> str | None:
    """Return why Windows has no file of that name; None if it can have one."""
    if name.split(".")[0].rstrip(" ").upper() in _DEVICES:
        return f"{name.split('.')[0]} is a device of Windows, with any suffix"
    if found := set(name) & set('<>:"/\\|?*'):
        return f"Windows has no names with {' '.join(sorted(found))}"
    return "Windows drops the dot or space at the end of a name" if name.endswith((".", " ")) else None


def is_utf8(path: Path) -> bool:
    """Return whether a path is UTF-8. GDAL, JSON and XML have no other names."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return False
    return True


def _target(path: Path) -> Path:
    """The path with links resolved.

    Raises:
        OutputError: Links lead back to themselves.
    """
    with suppress(OSError, RuntimeError):
        found = path.resolve()
        # From Python 3.13 on, such links are no error, but left as they are.
        if not os.path.islink(found):  # noqa: PTH114 (also false where a name is too long)
            return found
    raise OutputError(f"{path}: is a link that leads back to itself; remove it")


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start work that does not fit on the disk.

    Args:
        folder: A folder of the file system in question.
        needed: Bytes that will be written.

    Raises:
        WriteError: Fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{free >> 20} MiB free, about {-(-needed >> 20)} MiB needed"
        raise WriteError(f"{folder}: {sizes}; free some, or choose --out elsewhere")
