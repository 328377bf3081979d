"""The bytes of a cloud-optimised GeoTIFF: directories first, then the blocks of the smallest overview to the largest.

A block lies between its size and its last four bytes, as GDAL's COG driver writes it, and the file says so at its
beginning, so that GDAL reads a block with a single request. A block of nodata alone is not stored: its offset and its
number of bytes are 0. Formats: TIFF 6.0, BigTIFF, and GDAL's "Cloud optimized GeoTIFF" driver for the rest.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_SUBFILE, _WIDTH, _HEIGHT, _OFFSETS, _SIZES = 254, 256, 257, 324, 325
_OF_OVERVIEWS = (258, 259, 262, 277, 284, 317, 320, 322, 323, 339, 42113)
"""Tags that overviews have as well: the form of pixels and blocks, the palette, and nodata."""

_LONG, _LONG8 = 4, 16
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Type of a tag -> bytes of one value (TIFF 6.0, p. 15)."""

_STRUCTURE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_LEADER, _FRAME = 4, 8
"""Bytes in front of a block, and all bytes around it."""

MAX_CLASSIC = (1 << 32) - 1
"""Bytes of a file beyond which it has to be a BigTIFF."""

Tags = dict[int, tuple[int, int, bytes]]
"""Tag -> type, number of values, values in little-endian order."""


def read_tags(data: bytes) -> Tags:
    """Return the tags of the first image of a classic little-endian TIFF that GDAL has written."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    tags: Tags = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from("<HHI", data, at)
        size, place = number * _TYPE_BYTES[kind], at + 8
        if size > 4:
            (place,) = struct.unpack_from("<I", data, place)
        tags[tag] = kind, number, data[place : place + size]
    return tags


def stored_blocks(data: bytes) -> list[bytes]:
    """Return the blocks of the first image of such a TIFF, in the order of their numbers."""
    tags = read_tags(data)
    starts, sizes = (
        np.frombuffer(tags[tag][2], "<u4" if tags[tag][0] == _LONG else "<u2") for tag in (_OFFSETS, _SIZES)
    )
    return [data[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]


@dataclass(frozen=True, eq=False)
class Level:
    """The blocks of the raster or of one overview.

    Attributes:
        shape: (rows, cols) in pixels.
        starts: int64 (block rows, block cols), where the block begins in the file of blocks.
        sizes: uint32 (block rows, block cols), its bytes; 0 for a block that is not stored.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    sizes: NDArray[np.uint32]

    @classmethod
    def empty(cls, shape: tuple[int, int], block: int) -> Level:
        """Return a level without blocks."""
        grid = -(-shape[0] // block), -(-shape[1] // block)
        return cls(shape, np.zeros(grid, np.int64), np.zeros(grid, np.uint32))


class Blocks:
    """Compressed blocks, in the order in which they come, in a file that is read when all are there.

    Args:
        path: The file.
        levels: The raster and its overviews, from the largest to the smallest.
    """

    def __init__(self, path: Path, levels: Sequence[Level]) -> None:
        self.levels = levels
        self._file: BinaryIO = path.open("w+b")
        self._end = 0

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, level: int, row: int, col: int, data: bytes) -> None:
        """Keep a block."""
        self._file.write(data)
        self.levels[level].starts[row, col] = self._end
        self.levels[level].sizes[row, col] = len(data)
        self._end += len(data)

    def file_size(self, tags: Tags) -> int:
        """Return the size of the TIFF in bytes."""
        return self._header(tags)[1]

    def write(self, path: Path, tags: Tags) -> str:
        """Write the TIFF; return the SHA-256 of what was written.

        Args:
            path: The file; it is replaced.
            tags: Those of the raster. Its size and its blocks are filled in, overviews are derived.
        """
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for data in (self._header(tags)[0], *self._framed()):
                file.write(data)
                digest.update(data)
        return digest.hexdigest()

    def _framed(self) -> Iterator[bytes]:
        """Yield the stored blocks in the order of the file, framed."""
        for level in reversed(self.levels):
            starts, sizes = level.starts.ravel(), level.sizes.ravel()
            for i in np.flatnonzero(sizes):
                self._file.seek(int(starts[i]))
                data = self._file.read(int(sizes[i]))
                yield b"".join((struct.pack("<I", len(data)), data, data[-4:]))

    def _header(self, tags: Tags) -> tuple[bytes, int]:
        """What comes before the blocks, and the size of the whole file: a BigTIFF only if it has to be."""
        header, size = _header(tags, self.levels, big=False)
        return (header, size) if size <= MAX_CLASSIC else _header(tags, self.levels, big=True)


def _header(tags: Tags, levels: Sequence[Level], big: bool) -> tuple[bytes, int]:
    """The file up to its blocks, and its size with them."""
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_STRUCTURE) + _STRUCTURE
    first = len(ghost) + (16 if big else 8)
    first += first % 2
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHI", b"II", 42, first)
    head = _padded(head + ghost)
    # Where blocks lie depends on the length of the directories, which does not depend on where blocks lie.
    nowhere = [np.zeros(level.starts.size, np.int64) for level in levels]
    length = len(_directories(_pages(tags, levels, nowhere, big), len(head), big))
    offsets, end = _offsets(levels, len(head) + length)
    directories = _directories(_pages(tags, levels, offsets, big), len(head), big)
    return head + directories, end


def _offsets(levels: Sequence[Level], start: int) -> tuple[list[NDArray[np.int64]], int]:
    """Where the blocks of each level lie in the file, 0 for those that are not stored; and where the file ends."""
    found: list[NDArray[np.int64]] = []
    for level in reversed(levels):
        sizes = level.sizes.ravel().astype(np.int64)
        framed = np.where(sizes > 0, sizes + _FRAME, 0)
        ends = start + np.cumsum(framed)
        found.insert(0, np.where(sizes > 0, ends - framed + _LEADER, 0))
        start = int(ends[-1])
    return found, start


def _pages(tags: Tags, levels: Sequence[Level], offsets: Sequence[NDArray[np.int64]], big: bool) -> list[Tags]:
    """The tags of all pages."""
    pages: list[Tags] = []
    for level, starts in zip(levels, offsets, strict=True):
        page = {tag: value for tag, value in tags.items() if not pages or tag in _OF_OVERVIEWS}
        if pages:
            page[_SUBFILE] = _LONG, 1, struct.pack("<I", 1)
        for tag, length in zip((_HEIGHT, _WIDTH), level.shape, strict=True):
            page[tag] = _LONG, 1, struct.pack("<I", length)
        page[_OFFSETS] = (_LONG8 if big else _LONG), starts.size, starts.astype("<u8" if big else "<u4").tobytes()
        page[_SIZES] = _LONG, starts.size, level.sizes.astype("<u4").tobytes()
        pages.append(page)
    return pages


def _directories(pages: Sequence[Tags], first: int, big: bool) -> bytes:
    """All directories, each followed by its values, and then the offsets and sizes of all blocks.

    Args:
        pages: The tags of each page.
        first: Where the first directory begins in the file.
        big: Whether it is a BigTIFF.
    """
    count, entry, word, inline = ("<Q", "<HHQ", "<Q", 8) if big else ("<H", "<HHI", "<I", 4)
    of_blocks = _OFFSETS, _SIZES
    sizes = [struct.calcsize(count) + len(page) * (struct.calcsize(entry) + inline) + inline for page in pages]
    starts = [first]
    for page, size in zip(pages, sizes, strict=True):
        values = (data for tag, (_, _, data) in page.items() if tag not in of_blocks and len(data) > inline)
        starts.append(starts[-1] + size + sum(len(_padded(data)) for data in values))
    found, late = bytearray(), bytearray()
    for number, (page, size) in enumerate(zip(pages, sizes, strict=True)):
        found += struct.pack(count, len(page))
        values_here = bytearray()
        for tag, (kind, length, data) in sorted(page.items()):
            found += struct.pack(entry, tag, kind, length)
            if len(data) <= inline:
                found += data.ljust(inline, b"\0")
            elif tag in of_blocks:
                found += struct.pack(word, starts[-1] + len(late))
                late += _padded(data)
            else:
                found += struct.pack(word, starts[number] + size + len(values_here))
                values_here += _padded(data)
        found += struct.pack(word, starts[number + 1] if number + 1 < len(pages) else 0) + values_here
    return bytes(found + late)


def _padded(data: bytes) -> bytes:
    """The bytes, one more where their number is odd: TIFF has values begin at even places."""
    return data + b"\0" * (len(data) % 2)
