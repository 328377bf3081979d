"""Checks on a path before any library opens it.

The path has to lead to a regular file whose first bytes, not its name, are those of a raster that geoseg reads. The
header of a TIFF is checked too.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from geoseg.config import Opening
from geoseg.errors import InputError, InputMissingError
from geoseg.files.targets import is_utf8
from geoseg.location import Location, Remote
from geoseg.raster.formats import describe_format, is_text, read_head
from geoseg.raster.tiff import Header, MalformedError, read_header

# First bytes -> driver. One driver is pinned, so that a file cannot choose the code that reads it.
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

MAX_BLOCK_BYTES = 256 << 20
"""Limit for a stored block, decoded: reading a single pixel decodes its whole block."""


def regular_file(path: Location) -> Path:
    """Return `path` with links resolved, after checking that it is a non-empty regular file.

    Args:
        path: As the user gave it.

    Raises:
        InputMissingError: Nothing is at the path.
        InputError: It is a folder, FIFO or device, an empty or unreadable file, or not in the file system at all.
    """
    if isinstance(path, Remote):
        raise InputError(f"{path}: is not a local file; download it first")
    if str(path).lstrip().startswith("<"):
        raise InputError(f"{' '.join(str(path).split())[:40]}...: is XML, not a path; save it to a file")
    try:
        # Before links are resolved: what standard input links to has no path of its own.
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if re.match(r"[A-Za-z][A-Za-z0-9_+]+:", str(path)):
            raise InputError(f"{path}: is a GDAL dataset name, not a path; give the path of the file") from None
        if path.is_symlink():
            raise InputMissingError(f"{path}: no such file, as it is a link to {path.readlink()}") from None
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
        raise InputError(f"{path}: is not readable by the current user; check its permissions")
    if not is_utf8(resolved := path.resolve()):
        raise InputError(f"{path}: its name, or that of a folder, is not UTF-8; rename it")
    return resolved


def raster_driver(path: Path, allow_vrt: bool = False) -> str:
    """Return the name of the GDAL driver for a file, by its first bytes.

    Args:
        path: A regular file.
        allow_vrt: Accept GDAL's virtual rasters.

    Raises:
        InputError: The file is not a raster that geoseg reads, or a VRT that is not allowed. The message says what the
            file looks like.
    """
    head = read_head(path)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((_VRT, b"<?xml")) and _VRT in start:
        if not allow_vrt:
            raise InputError(f"{path}: is a GDAL VRT, which refers to other files; --allow-vrt permits it")
        return "VRT"
    for magic, driver in _MAGIC:
        # Unless the driver is pinned, GDAL takes any file with this among its first bytes for a VRT.
        if head.startswith(magic) and _VRT not in head.lower():
            return driver
    for prefix, kind in _TEXTS:
        if start.startswith(prefix):
            raise InputError(f"{path}: is {kind}, not an image; give the raster itself")
    fault = describe_format(path, head)
    if fault:
        raise InputError(f"{path}: {fault}")
    kind = "text" if is_text(head) else "of unknown format"
    raise InputError(f"{path}: is {kind}, not a GeoTIFF, JPEG, PNG or JPEG 2000 image")


def tiff_header(name: object, path: Path, opening: Opening) -> Header:
    """Read the header of a TIFF and check that the file holds all that it refers to, within limits.

    Args:
        name: What messages call the file.
        path: A regular file.
        opening: Limits; see `Opening`.

    Raises:
        InputError: The file is not a TIFF or is truncated, or a page has too many pixels or too large blocks.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except MalformedError as error:
        raise InputError(f"{name}: cannot be read as a raster ({error}); copy or download it again") from error
    missing = header.min_file_size - path.stat().st_size
    if missing > 0:
        raise InputError(f"{name}: is truncated, at least {missing} bytes are missing; copy or download it again")
    for page in header.pages:
        check_pixels(name, page.shape, opening)
        if page.tiled:
            check_block(name, page.block_shape, page.block_bytes)
    return header


def check_pixels(name: object, shape: tuple[int, int], opening: Opening) -> None:
    """Raise InputError where a raster of `shape` (rows, cols) has more pixels than `opening` allows."""
    if shape[0] * shape[1] > opening.max_pixels:
        raise InputError(
            f"{name}: has {shape[1]} x {shape[0]} pixels, more than the {opening.max_pixels} that --max-pixels allows; "
            "raise the limit, or split the raster"
        )


def check_block(name: object, shape: tuple[int, int], size: int) -> None:
    """Raise InputError where blocks of `shape` (rows, cols) take more than MAX_BLOCK_BYTES when decoded.

    Args:
        name: What messages call the file.
        shape: (rows, cols) of a block.
        size: Bytes of a decoded block.
    """
    if size > MAX_BLOCK_BYTES:
        raise InputError(
            f"{name}: is stored in blocks of {shape[1]} x {shape[0]} pixels, {size >> 20} MiB each; retile it: "
            f"gdal_translate -co TILED=YES -co BIGTIFF=IF_SAFER {name} retiled.tif"
        )
