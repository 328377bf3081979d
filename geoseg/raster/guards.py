"""What is checked about a path before any library opens it: it exists, is a regular file, and is a raster
of a kind geoseg reads, by its first bytes and not by its name. Of a TIFF, its header too."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from geoseg.config import Opening
from geoseg.errors import InputError, InputMissingError
from geoseg.files.record import RECORD, read_record
from geoseg.location import Location, Remote
from geoseg.raster.tiff import Header, MalformedError, read_header

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
_TEXTS = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"))
_VRT = b"<vrtdataset"

LARGEST_BLOCK = 256 << 20
"""Bytes of a stored block, decoded: it is decoded whole for a single pixel of it."""

_SIDECARS = (".msk", ".msk.ovr", ".ovr")


def regular_file(path: Location) -> Path:
    """Return `path` with links resolved, once it is known to be a non-empty regular file.

    Raises:
        InputMissingError: nothing is there.
        InputError: a folder, a FIFO, a device, an empty or an unreadable file, or nothing in the file system.
    """
    if isinstance(path, Remote):
        raise InputError(f"{path}: is not a file here; copy or download it first")
    if str(path).lstrip().startswith("<"):
        raise InputError(f"{' '.join(str(path).split())[:40]}...: is XML, not a path; save it to a file")
    try:
        # Before links are resolved: what standard input links to has no path of its own.
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if re.match(r"[A-Za-z][A-Za-z0-9_+]+:", str(path)):
            raise InputError(f"{path}: is not a path but a name that GDAL resolves; give the file itself") from None
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


def raster_driver(path: Path, allow_vrt: bool = False) -> str:
    """Return the GDAL driver that the first bytes of the regular file `path` call for.

    Raises:
        InputError: no raster geoseg reads, or a VRT unless they are allowed; the message says what the file looks like.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((_VRT, b"<?xml")) and _VRT in start:
        if not allow_vrt:
            raise InputError(f"{path}: is a GDAL VRT, which reads other files; --allow-vrt takes it")
        return "VRT"
    for magic, driver in _MAGIC:
        # GDAL takes whatever has this in its first bytes for a VRT, where the driver is not pinned.
        if head.startswith(magic) and _VRT not in head.lower():
            return driver
    for prefix, what in _TEXTS:
        if start.startswith(prefix):
            raise InputError(f"{path}: is {what}, not an image; give the raster itself")
    what = "text" if _is_text(head) else "of an unknown kind"
    raise InputError(f"{path}: is {what}, not a GeoTIFF, JPEG, PNG or JPEG 2000 image")


def tiff_header(name: object, path: Path, opening: Opening) -> Header:
    """Return the header of a TIFF, once it is known that the file holds what it speaks of, within limits.

    Raises:
        InputError: it is none, or cut short; a page of more pixels than `opening` allows, or of too large blocks.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except MalformedError as error:
        raise InputError(f"{name}: cannot be read as a raster ({error}); copy or download it again") from error
    missing = header.needed - path.stat().st_size
    if missing > 0:
        raise InputError(f"{name}: is cut short, at least {missing} bytes are missing; copy or download it again")
    for page in header.pages:
        check_pixels(name, page.shape, opening)
        if page.tiled:
            check_block(name, page.block_shape, page.block_bytes)
    return header


def check_pixels(name: object, shape: tuple[int, int], opening: Opening) -> None:
    """Raise InputError for a raster of more pixels than are allowed."""
    if shape[0] * shape[1] > opening.max_pixels:
        raise InputError(
            f"{name}: has {shape[1]} x {shape[0]} pixels, more than the {opening.max_pixels} that --max-pixels allows; "
            "raise it, or cut the raster into several"
        )


def check_block(name: object, shape: tuple[int, int], size: int) -> None:
    """Raise InputError for blocks of (rows, cols) that take more than LARGEST_BLOCK bytes, decoded."""
    if size > LARGEST_BLOCK:
        raise InputError(
            f"{name}: is stored in blocks of {shape[1]} x {shape[0]} pixels, {size >> 20} MiB each; retile it: "
            f"gdal_translate -co TILED=YES -co BIGTIFF=IF_SAFER {name} retiled.tif"
        )


def check_sidecars(path: Path) -> tuple[Path, ...]:
    """Return the masks and overviews beside `path`, which GDAL opens with it, once they are known to be TIFFs.

    Raises:
        InputError: one is no regular file, or another thing than a TIFF.
    """
    beside = [path.with_name(path.name + suffix) for suffix in _SIDECARS]
    found = [sidecar for sidecar in beside if os.path.lexists(sidecar)]
    notes = path.with_name(f"{path.name}.aux.xml")
    if os.path.lexists(notes) and not notes.is_file():
        raise InputError(f"{notes}: lies beside {path.name}, but is no regular file; remove it")
    for sidecar in found:
        if raster_driver(regular_file(sidecar)) != "GTiff":
            raise InputError(f"{sidecar}: lies beside {path.name} as its mask or overviews, but is no TIFF; remove it")
        tiff_header(sidecar, sidecar, Opening())
    return tuple(found)


def find_rasters(folder: Location) -> list[Location]:
    """Return every file under `folder` that is named like imagery, sorted; hidden folders are skipped, and so is
    what geoseg wrote there: maps and what their records name, parts of unfinished ones, pictures of trainings.

    A path that is no folder is taken for one file of imagery, and so is what is no path.

    Raises:
        InputMissingError: no such folder.
        InputError: the folder holds no imagery, or the path is neither folder nor regular file.
    """
    if isinstance(folder, Remote):
        return [folder]
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
    return list(found)


def _own(folder: Path) -> set[Path]:
    """The files named like imagery that geoseg itself wrote under `folder`."""
    records = folder.rglob(f"*{RECORD}")
    maps = {Path(os.path.normpath(path)) for record in records for path in _recorded(record)}
    parts = {part for manifest in folder.rglob("*.run/manifest.json") for part in manifest.parent.glob("part-*.tif")}
    logs = folder.rglob("*.metrics.jsonl")
    pictures = {log.with_name(log.name.removesuffix(".metrics.jsonl") + ".png") for log in logs}
    return maps | parts | pictures


def _recorded(record: Path) -> list[Path]:
    try:
        return list(read_record(record).files)
    except (InputError, InputMissingError):
        return []


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\x0c" for byte in head)
