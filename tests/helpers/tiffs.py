"""TIFFs written tag by tag, with headers that no library would write, and TIFFs of several pages."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

_CODES = {"H": 3, "I": 4, "Q": 16}


def make_tiff(
    path: Path,
    shape: tuple[int, int],
    tile: tuple[int, int] | None,
    offsets: NDArray[np.integer],
    sizes: NDArray[np.integer],
    *,
    samples: int = 1,
    bits: int = 8,
    compression: int = 1,
    floats: bool = False,
    big: bool = True,
    order: str = "<",
    body: bytes = b"",
    following: int = 0,
) -> Path:
    """Write a TIFF of one page: `body` lies at byte 16, the directory behind it, then the arrays."""
    number = "Q" if big else "I"
    tags: list[tuple[int, str, NDArray[np.integer]]] = [
        (256, "I", np.array([shape[1]])), (257, "I", np.array([shape[0]])), (258, "H", np.full(samples, bits)),
        (259, "H", np.array([compression])), (262, "H", np.array([2 if samples == 3 else 1])),
        (277, "H", np.array([samples])), (339, "H", np.full(samples, 3 if floats else 1)),
    ]  # fmt: skip
    if tile is None:
        tags += [(273, number, offsets), (278, "I", np.array([shape[0]])), (279, number, sizes)]
    else:
        tags += [(322, "I", np.array([tile[1]])), (323, "I", np.array([tile[0]])), (324, number, offsets)]
        tags += [(325, number, sizes)]
    tags.sort(key=lambda entry: entry[0])
    start = 16 + len(body)
    head, entry = (8, 20) if big else (2, 12)
    at = start + head + entry * len(tags) + (8 if big else 4)
    directory = struct.pack(order + ("Q" if big else "H"), len(tags))
    arrays = b""
    for tag, form, values in tags:
        raw = values.astype(np.dtype(order + {"H": "u2", "I": "u4", "Q": "u8"}[form])).tobytes()
        room = 8 if big else 4
        place = raw.ljust(room, b"\0") if len(raw) <= room else struct.pack(order + number, at + len(arrays))
        arrays += raw if len(raw) > room else b""
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, _CODES[form], len(values)) + place
    directory += struct.pack(order + number, following)
    mark = b"II" if order == "<" else b"MM"
    magic = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start) + bytes(8)
    path.write_bytes(mark + magic + body + directory + arrays)
    return path


def first_directory(path: Path) -> int:
    """Where the first directory of a little-endian classic TIFF begins."""
    return int(struct.unpack_from("<I", path.read_bytes(), 4)[0])


def set_following(path: Path, page: int, at: int) -> None:
    """Let the directory of `page`, counted from 0, of a little-endian classic TIFF lead to the one at byte `at`."""
    data = bytearray(path.read_bytes())
    start = first_directory(path)
    for _ in range(page):
        (count,) = struct.unpack_from("<H", data, start)
        (start,) = struct.unpack_from("<I", data, start + 2 + 12 * count)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, at)
    path.write_bytes(data)


def pages(path: Path, *images: NDArray[np.uint8]) -> Path:
    """A TIFF of several pages."""
    bands, rows, cols = images[0].shape
    layout = {"driver": "GTiff", "height": rows, "width": cols, "count": bands, "dtype": "uint8", "crs": "EPSG:32633"}
    for image in images:
        more = {"APPEND_SUBDATASET": True} if path.exists() else {}
        with rasterio.open(path, "w", **layout, **more, transform=Affine(1, 0, 9, 0, -1, 9)) as file:
            file.write(image)
    return path
