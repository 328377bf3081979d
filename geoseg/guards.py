"""What is checked about a path before any library opens it: it exists, is a regular file, and is a raster
of a kind geoseg reads, by its first bytes and not by its name."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from geoseg.errors import InputError, InputMissingError

RASTER_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2")
"""Names that `train` takes for imagery when it looks through a folder."""

# (first bytes, driver): one driver is pinned, so that a file cannot choose the code that reads it.
_MAGIC = (
    (b"II*\x00", "GTiff"),
    (b"MM\x00*", "GTiff"),
    (b"II+\x00", "GTiff"),
    (b"MM\x00+", "GTiff"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\x00\x00\x00\x0cjP  ", "JP2OpenJPEG"),
)
_TEXTS = ((b"<vrtdataset", "a GDAL VRT"), (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"))


def regular_file(path: Path) -> Path:
    """Return `path` with links resolved, once it is known to be a non-empty regular file.

    Raises:
        InputMissingError: nothing is there.
        InputError: a folder, a FIFO, a device, an empty or an unreadable file.
    """
    try:
        # Before links are resolved: what standard input links to has no path of its own.
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputMissingError(f"{path}: no such file") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be reached ({error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; a file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file (a pipe, socket or device); save it to a file first")
    if status.st_size == 0:
        raise InputError(f"{path}: is empty; was its download or copy interrupted?")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read by this user")
    return path.resolve()


def raster_driver(path: Path) -> str:
    """Return the GDAL driver that the first bytes of the regular file `path` call for.

    Raises:
        InputError: no raster geoseg reads; the message says what the file looks like.
    """
    with path.open("rb") as file:
        head = file.read(512)
    for magic, driver in _MAGIC:
        if head.startswith(magic):
            return driver
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for prefix, what in _TEXTS:
        if start.startswith(prefix):
            raise InputError(f"{path}: is {what}, not an image; give the raster itself")
    what = "text" if _is_text(head) else "of an unknown kind"
    raise InputError(f"{path}: is {what}, not a GeoTIFF, JPEG, PNG or JPEG 2000 image")


def find_rasters(folder: Path) -> list[Path]:
    """Return every file under `folder` that is named like imagery, sorted; hidden folders are skipped, and so is
    what geoseg wrote there: maps and what their records name, parts of unfinished ones, pictures of trainings.

    A path that is no folder is taken for one file of imagery.

    Raises:
        InputMissingError: no such folder.
        InputError: the folder holds no imagery, or the path is neither folder nor regular file.
    """
    if not folder.is_dir():
        regular_file(folder)
        return [folder]
    ours = _own(folder)
    found = sorted(
        path
        for path in folder.rglob("*")
        if path not in ours
        and path.suffix.lower() in RASTER_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise InputError(f"{folder}: no imagery in it; looked for {', '.join(RASTER_SUFFIXES)}")
    return found


def _own(folder: Path) -> set[Path]:
    """The files named like imagery that geoseg itself wrote under `folder`."""
    records = folder.rglob("*.geoseg.json")
    maps = {Path(os.path.normpath(record.parent / name)) for record in records for name in _recorded(record)}
    parts = {part for manifest in folder.rglob("*.run/manifest.json") for part in manifest.parent.glob("part-*.tif")}
    logs = folder.rglob("*.metrics.jsonl")
    pictures = {log.with_name(log.name.removesuffix(".metrics.jsonl") + ".png") for log in logs}
    return maps | parts | pictures


def _recorded(record: Path) -> list[str]:
    try:
        return list(json.loads(record.read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\x0c" for byte in head)
