"""The header of a TIFF, walked by code of our own before any library trusts it.

Of every page it is known how large it is, how it is cut into blocks, which of them were never written, and how long the
file has to be to hold the others. No number in the file is believed: what it leads to is bounded by the file's size.
Layout: TIFF 6.0 and BigTIFF, both byte orders. Sizes are (rows, cols).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

MOST_PAGES = 10_000
MOST_BLOCKS = 1 << 26
_CHUNK = 1 << 20
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _SAMPLES, _ROWS, _PLANAR = 254, 256, 257, 258, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_PLACES = ((324, 325), (273, 279))


class MalformedError(ValueError):
    """A header that no TIFF has."""


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a file.

    number: its directory, counted from 1, which is at byte `at`. kind: NewSubfileType, a sum of 1 for an overview, 2
    for a page of several, 4 for a mask.
    planes: how often its blocks are there, once or once per band. bits: of a pixel in one of them.
    begin, end: bytes of the file between which its blocks lie; both 0 where none was ever written.
    absent: (planes, block rows, block cols), True where a block was never written; None where all were.
    """

    number: int
    at: int
    kind: int
    shape: tuple[int, int]
    block_shape: tuple[int, int]
    tiled: bool
    planes: int
    bits: int
    begin: int
    end: int
    absent: NDArray[np.bool_] | None

    @property
    def part(self) -> bool:
        """Whether it is an overview or a mask of another page."""
        return bool(self.kind & 5)

    @property
    def block_bytes(self) -> int:
        """Bytes of a decoded block."""
        return self.block_shape[0] * self.block_shape[1] * -(-self.bits // 8)

    def missing(self, window: Window, bands: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return where in `window` a block of one of `bands` was never written, (rows, cols); None: nowhere."""
        if self.absent is None:
            return None
        high, wide = self.block_shape
        rows, cols = window.rows, window.cols
        planes = [band - 1 for band in bands] if self.planes > 1 else [0]
        top, left = rows.start // high, cols.start // wide
        part = (slice(top, -(-rows.stop // high)), slice(left, -(-cols.stop // wide)))
        blocks: NDArray[np.bool_] = np.logical_or.reduce([self.absent[plane][part] for plane in planes])
        if not blocks.any():
            return None
        down = np.arange(rows.start, rows.stop) // high - top
        across = np.arange(cols.start, cols.stop) // wide - left
        found: NDArray[np.bool_] = blocks[down[:, None], across]
        return found


@dataclass(frozen=True)
class Header:
    """All pages of a file, in its order. circular: the last one leads back to one of them.

    needed: bytes that the file must have to hold all its header speaks of.
    """

    pages: tuple[Page, ...]
    circular: bool
    needed: int

    @property
    def images(self) -> tuple[Page, ...]:
        """The pages that are neither overviews nor masks; the first one always is."""
        return tuple(page for page in self.pages if not page.part or page is self.pages[0])


def read_header(file: BinaryIO) -> Header:
    """Walk the header of a TIFF, which `file` is open on.

    Raises:
        MalformedError: it is none, or its directories are more, or hold more, than a file of this size can.
    """
    return _Walker(file).walk()


class _Walker:
    """Reads within a file, and notes how long it would have to be."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = self.needed = file.seek(0, 2)
        self.budget, self.blocks = self.size, 0
        head = self._bytes(0, 16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\x00", b"\x00+")
        if len(head) < (16 if self.big else 8):
            raise MalformedError("it ends within its first bytes")
        self.first: int = self._unpack("Q" if self.big else "I", head, 8 if self.big else 4)

    def walk(self) -> Header:
        pages: list[Page] = []
        seen: set[int] = set()
        at = self.first
        while at and at not in seen:
            seen.add(at)
            if len(seen) > MOST_PAGES:
                raise MalformedError(f"it has more than {MOST_PAGES} pages")
            tags, following = self._directory(at)
            if tags:
                pages.append(self._page(len(seen), at, tags))
            at = following
        if not pages and self.needed <= self.size:
            raise MalformedError("it has no page")
        return Header(tuple(pages), bool(at), max([self.needed, *(page.end for page in pages)]))

    def _directory(self, at: int) -> tuple[dict[int, tuple[int, int, bytes]], int]:
        """Tag -> (type, count, value or its place), and where the next directory is; nothing beyond the file's end."""
        number, entry = ("Q", 20) if self.big else ("H", 12)
        head = struct.calcsize(number)
        raw = self._bytes(at, head)
        if len(raw) < head:
            return {}, 0
        count = self._unpack(number, raw)
        if count > 0xFFFF:
            raise MalformedError(f"a directory has {count} entries")
        body = self._bytes(at + head, count * entry + (8 if self.big else 4))
        if len(body) < count * entry:
            return {}, 0
        form = self.order + ("HHQ8s" if self.big else "HHI4s")
        tags = {tag: (kind, n, value) for tag, kind, n, value in struct.iter_unpack(form, body[: count * entry])}
        tail = body[count * entry :]
        whole = len(tail) == (8 if self.big else 4)
        return tags, self._unpack("Q" if self.big else "I", tail) if whole else 0

    def _page(self, number: int, at: int, tags: dict[int, tuple[int, int, bytes]]) -> Page:
        def first(tag: int, default: int = 0) -> int:
            values = self._values(tags, tag, 1)
            return int(values[0]) if values.size else default

        height, width, samples = first(_HEIGHT), first(_WIDTH), first(_SAMPLES, 1)
        tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
        block = (first(_TILE_HEIGHT), first(_TILE_WIDTH)) if tiled else (min(first(_ROWS, height), height), width)
        planes = samples if first(_PLANAR, 1) == 2 else 1
        bits = int(self._values(tags, _BITS, 64).max(initial=1)) * (1 if planes > 1 else samples)
        grid = (-(-height // max(1, block[0])), -(-width // max(1, block[1])))
        begin, end, absent = self._blocks(tags, planes, grid)
        return Page(number, at, first(_SUBFILE), (height, width), block, tiled, planes, bits, begin, end, absent)

    def _blocks(
        self, tags: dict[int, tuple[int, int, bytes]], planes: int, grid: tuple[int, int]
    ) -> tuple[int, int, NDArray[np.bool_] | None]:
        """Between which bytes the blocks lie, and which were never written."""
        count = planes * math.prod(grid)
        places = next((pair for pair in _PLACES if pair[0] in tags and pair[1] in tags), None)
        if places is None or not count:
            return 0, 0, None
        self.blocks += count
        if self.blocks > MOST_BLOCKS:
            raise MalformedError(f"it is cut into {self.blocks} blocks or more")
        begins: list[int] = []
        end, at = 0, 0
        absent = np.ones(count, dtype=bool)
        for offsets, sizes in zip(*(self._chunks(tags, tag, count) for tag in places), strict=False):
            n = min(len(offsets), len(sizes))
            there = (offsets[:n] != 0) & (sizes[:n] != 0)
            absent[at : at + n] = ~there
            at += n
            if there.any():
                begins.append(int(offsets[:n][there].min()))
                # In floats: a sum of two 64-bit numbers may not fit into one.
                ends = offsets[:n][there].astype(np.float64) + sizes[:n][there]
                last = int(ends.argmax())
                end = max(end, int(offsets[:n][there][last]) + int(sizes[:n][there][last]))
        return min(begins, default=0), end, absent.reshape(planes, *grid) if absent.any() else None

    def _values(self, tags: dict[int, tuple[int, int, bytes]], tag: int, most: int) -> NDArray[Any]:
        return next(self._chunks(tags, tag, most), np.empty(0, np.uint64))

    def _chunks(self, tags: dict[int, tuple[int, int, bytes]], tag: int, most: int) -> Iterator[NDArray[Any]]:
        """The whole numbers of a tag, at most `most` of them, some at a time."""
        kind, count, value = tags.get(tag, (0, 0, b""))
        if kind not in _WHOLE:
            return
        item = _SIZES[kind]
        dtype = np.dtype(self.order + _WHOLE[kind])
        if count * item <= len(value):
            yield np.frombuffer(value, dtype, count)[:most]
            return
        at = self._unpack("Q" if self.big else "I", value)
        self.needed = max(self.needed, at + count * item)
        count = min(count, most)
        self.budget -= count * item if at + count * item <= self.size else 0
        if self.budget < 0:
            raise MalformedError("its directories hold more than the file")
        for start in range(0, count, _CHUNK):
            raw = self._bytes(at + start * item, min(_CHUNK, count - start) * item)
            yield np.frombuffer(raw, dtype, len(raw) // item)
            if len(raw) < min(_CHUNK, count - start) * item:
                return

    def _bytes(self, at: int, length: int) -> bytes:
        self.needed = max(self.needed, at + length)
        if at >= self.size:
            return b""
        self.file.seek(at)
        return self.file.read(min(length, self.size - at))

    def _unpack(self, form: str, raw: bytes, at: int = 0) -> int:
        return int(struct.unpack_from(self.order + form, raw, at)[0])
