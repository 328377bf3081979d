"""The layout of a TIFF, from its own bytes: whether it is a cloud-optimised GeoTIFF, and whether all of it is there.

What is asked is what rio-cogeo's validation asks (github.com/cogeotiff/rio-cogeo, BSD-3), and of every block instead of
the first; a truncated file keeps its directories, which come first, and passes there.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError

_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WIDTH, _HEIGHT, _KIND, _TILE_WIDTH = 256, 257, 254, 322
_OFFSETS, _COUNTS = (324, 273), (325, 279)
_WANTED = {_WIDTH, _HEIGHT, _KIND, _TILE_WIDTH, *_OFFSETS, *_COUNTS}

_MOST_DIRECTORIES = 4096
_SMALL = 512
_FIRST = 300
"""Bytes before which the first directory begins, after what GDAL says of the layout."""

_GHOST, _CHANGED = 512, b"KNOWN_INCOMPATIBLE_EDITION=YES"
"""GDAL's word on the layout is in the first bytes, and changes when it writes to the file."""


@dataclass(frozen=True, eq=False)
class Directory:
    """One image of the file: where its directory is, its size, its kind (1: reduced, 4: a mask), and where its blocks
    are: offsets and counts in bytes, 0 for one that is left out."""

    offset: int
    rows: int
    cols: int
    kind: int
    tiled: bool
    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]

    @property
    def data(self) -> tuple[int, int] | None:
        """First byte of the blocks, and the one after the last; None where there are none."""
        there = self.counts > 0
        if not there.any():
            return None
        return int(self.offsets[there].min()), int((self.offsets[there] + self.counts[there]).max())


def read_directories(path: Path) -> list[Directory]:
    """Return the images of a TIFF, in the order of the file.

    Raises:
        InputError: it is no TIFF, or its directories are damaged.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(16)
            order = {b"II": "<", b"MM": ">"}[head[:2]]
            big = int(np.frombuffer(head, f"{order}u2", 1, 2)[0]) == 43
            offset = int(np.frombuffer(head, f"{order}u8" if big else f"{order}u4", 1, 8 if big else 4)[0])
            found: list[Directory] = []
            seen: set[int] = set()
            while offset:
                if offset in seen or len(seen) >= _MOST_DIRECTORIES or offset >= size:
                    raise ValueError("a directory that is in a loop, or not in the file")
                seen.add(offset)
                directory, offset = _directory(file, offset, order, big, size)
                found.append(directory)
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: has TIFF directories that cannot be followed ({error})") from error
    return found


def layout_faults(path: Path) -> list[str]:
    """Return what keeps the file from being a whole, cloud-optimised GeoTIFF.

    Raises:
        InputError: see `read_directories`.
    """
    directories, size = read_directories(path), path.stat().st_size
    if not directories:
        return ["has no image in it"]
    faults = [
        f"its image {index} is not all there: blocks end at byte {each.data[1]} of {size}"
        for index, each in enumerate(directories)
        if each.data and each.data[1] > size
    ]
    with path.open("rb") as file:
        if _CHANGED in file.read(_GHOST):
            faults.append("was changed after it was written, and has lost its layout")
    main, *others = directories
    levels = [main, *(each for each in others if each.kind & 1 and not each.kind & 4)]
    large = max(main.rows, main.cols) > _SMALL
    if path.with_name(path.name + ".ovr").exists():
        faults.append("has overviews in a file of their own (.ovr)")
    if large and not main.tiled:
        faults.append("is not tiled")
    if large and len(levels) == 1:
        faults.append("has no overviews")
    if main.offset > _FIRST:
        faults.append(f"its first directory begins at byte {main.offset}, not at the front")
    return faults + _disorder(levels)


def _disorder(levels: list[Directory]) -> list[str]:
    """What is not in the order of a COG: directories by size, large ones first; their blocks the other way round."""
    faults = []
    for large, small in itertools.pairwise(levels):
        if small.rows > large.rows or small.cols > large.cols or small.offset < large.offset:
            faults.append("its overviews are not in the order of their sizes")
        before, after = small.data, large.data
        if before and after and before[1] > after[0]:
            faults.append(
                f"blocks of its overview of {small.cols} x {small.rows} are not before those of the next larger"
            )
    data = [each.data[0] for each in levels if each.data]
    if data and max(each.offset for each in levels) > min(data):
        faults.append("its directories are not all before its blocks")
    return faults


def _directory(file: BinaryIO, offset: int, order: str, big: bool, size: int) -> tuple[Directory, int]:
    """Return the directory at `offset`, and the offset of the next one."""
    length, word = (8, f"{order}u8") if big else (2, f"{order}u4")
    count = int(_read(file, offset, 1, f"{order}u8" if big else f"{order}u2")[0])
    entry = 20 if big else 12
    if count * entry > size:
        raise ValueError(f"{count} entries")
    table = _read(file, offset + length, count * entry, "u1").reshape(count, entry)
    following = int(_read(file, offset + length + count * entry, 1, word)[0])
    values: dict[int, NDArray[np.uint64]] = {}
    for raw in table:
        tag, kind = (int(value) for value in raw[:4].copy().view(f"{order}u2"))
        if tag in _WANTED and kind in _TYPES:
            values[tag] = _values(file, raw, order, big, size, f"{order}{_TYPES[kind]}")
    none = np.zeros(0, np.uint64)
    offsets, counts = (next((values[tag] for tag in tags if tag in values), none) for tags in (_OFFSETS, _COUNTS))
    if len(offsets) != len(counts):
        raise ValueError(f"{len(offsets)} offsets, and {len(counts)} sizes of blocks")
    rows, cols = int(values[_HEIGHT][0]), int(values[_WIDTH][0])
    reduced = int(values[_KIND][0]) if _KIND in values else 0
    return Directory(offset, rows, cols, reduced, _TILE_WIDTH in values, offsets, counts), following


def _values(file: BinaryIO, raw: NDArray[Any], order: str, big: bool, size: int, kind: str) -> NDArray[np.uint64]:
    """The values of an entry: in it where they are short enough, else where it says."""
    word = f"{order}u8" if big else f"{order}u4"
    split = 12 if big else 8
    count, room = int(raw[4:split].copy().view(word)[0]), len(raw) - split
    needed = count * np.dtype(kind).itemsize
    if needed > size:
        raise ValueError(f"{count} values")
    if needed <= room:
        return raw[split : split + needed].copy().view(kind).astype(np.uint64)
    return _read(file, int(raw[split:].copy().view(word)[0]), count, kind).astype(np.uint64)


def _read(file: BinaryIO, offset: int, count: int, kind: str) -> NDArray[Any]:
    file.seek(offset, os.SEEK_SET)
    data = file.read(count * np.dtype(kind).itemsize)
    values: NDArray[Any] = np.frombuffer(data, kind, count)
    return values
