"""Reads the header of a TIFF with code of our own, before any library trusts it.

For every page it finds the size, the block layout, which blocks were never written, and how long the file has to be to
hold the others. No number in the file is believed: memory and time are bounded by the size of the file.
Layout: TIFF 6.0 and BigTIFF, both byte orders. Sizes are (rows, cols).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window

MAX_PAGES = 10_000
MAX_BLOCKS = 1 << 26
_MAX_ENTRIES = 0xFFFF
_CHUNK = 1 << 20
"""Values of a tag that are read at a time."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type of a tag -> bytes of one value (TIFF 6.0, p. 15; BigTIFF adds 16 to 18)."""
_UNSIGNED = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""The types that hold unsigned integers."""

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _SAMPLES, _ROWS, _PLANAR = 254, 256, 257, 258, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_BLOCK_TAGS = ((324, 325), (273, 279))
"""Tags of the offsets and byte counts of tiles, and of strips."""

_OVERVIEW, _MASK = 1, 4

_Tags = dict[int, tuple[int, int, bytes]]
"""Tag -> (type, count, value; or its offset where it does not fit there)."""


class MalformedError(ValueError):
    """A header that no valid TIFF has."""


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a file.

    Attributes:
        number: Of its directory, counted from 1.
        offset: Byte at which its directory begins.
        subfile_type: NewSubfileType: a sum of 1 for an overview, 2 for one page of several, 4 for a mask.
        shape: (rows, cols).
        block_shape: (rows, cols) of a tile, or of a strip.
        tiled: Whether blocks are tiles.
        planes: How often the grid of blocks is stored: once, or once per band.
        bits: Of one pixel in one plane.
        data_start: Byte at which its first block begins; 0 where none was ever written.
        data_end: Byte at which its last block ends; 0 where none was ever written.
        unwritten: bool (planes, block rows, block cols), True where a block was never written; None where all were.
    """

    number: int
    offset: int
    subfile_type: int
    shape: tuple[int, int]
    block_shape: tuple[int, int]
    tiled: bool
    planes: int
    bits: int
    data_start: int
    data_end: int
    unwritten: NDArray[np.bool_] | None

    @property
    def is_auxiliary(self) -> bool:
        """Whether it is an overview or a mask of another page."""
        return bool(self.subfile_type & (_OVERVIEW | _MASK))

    @property
    def block_bytes(self) -> int:
        """Bytes of a decoded block."""
        return self.block_shape[0] * self.block_shape[1] * -(-self.bits // 8)

    def unwritten_pixels(self, window: Window, bands: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return which pixels lie in a block that was never written for at least one band.

        Args:
            window: Within the page.
            bands: Band numbers from 1.

        Returns:
            bool (rows, cols) of the window; None where there are no such pixels.
        """
        height, width = self.block_shape
        rows, cols = window.rows, window.cols
        top, left = rows.start // height, cols.start // width
        touched = (slice(top, -(-rows.stop // height)), slice(left, -(-cols.stop // width)))
        blocks = self._unwritten(bands, touched)
        if blocks is None or not blocks.any():
            return None
        block_rows = np.arange(rows.start, rows.stop) // height - top
        block_cols = np.arange(cols.start, cols.stop) // width - left
        pixels: NDArray[np.bool_] = blocks[block_rows[:, None], block_cols]
        return pixels

    def unwritten_windows(
        self, rows: Sequence[Span], cols: Sequence[Span], bands: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """Return which windows lie wholly in blocks that were never written for at least one band.

        Args:
            rows, cols: Within the page; each of `rows` makes a window with each of `cols`.
            bands: Band numbers from 1.

        Returns:
            bool (len(rows), len(cols)); None where all blocks were written.
        """
        unwritten = self._unwritten(bands)
        if unwritten is None:
            return None
        sums = np.zeros((unwritten.shape[0] + 1, unwritten.shape[1] + 1), np.int32)
        sums[1:, 1:] = np.cumsum(np.cumsum(~unwritten, 0, np.int32), 1)
        (top, bottom), (left, right) = (
            (
                np.array([span.start // side for span in spans], np.int64),
                np.array([-(-span.stop // side) for span in spans], np.int64),
            )
            for spans, side in zip((rows, cols), self.block_shape, strict=True)
        )
        across = sums[:, right] - sums[:, left]
        empty: NDArray[np.bool_] = across[bottom] == across[top]
        return empty

    def _unwritten(
        self, bands: tuple[int, ...], touched: tuple[slice, ...] = (slice(None), slice(None))
    ) -> NDArray[np.bool_] | None:
        """Which of the blocks `touched` were never written for at least one band, bool (block rows, block cols)."""
        if self.unwritten is None:
            return None
        planes = [band - 1 for band in bands] if self.planes > 1 else [0]
        found: NDArray[np.bool_] = np.logical_or.reduce([self.unwritten[plane][touched] for plane in planes])
        return found


@dataclass(frozen=True)
class Header:
    """All pages of a file.

    Attributes:
        pages: In the order of the file.
        circular: Whether the last directory refers back to an earlier one.
        min_file_size: Bytes that the file needs to hold all that the header refers to.
    """

    pages: tuple[Page, ...]
    circular: bool
    min_file_size: int

    @property
    def images(self) -> tuple[Page, ...]:
        """The pages that are neither overviews nor masks; the first page always counts as an image."""
        return tuple(page for page in self.pages if not page.is_auxiliary or page is self.pages[0])

    def mask_of(self, image: Page) -> Page | None:
        """Return the mask that follows one of `images` in the file, before the next image; None where there is none."""
        for page in self.pages[self.pages.index(image) + 1 :]:
            if not page.is_auxiliary:
                return None
            if page.subfile_type & (_OVERVIEW | _MASK) == _MASK and page.shape == image.shape:
                return page
        return None


def read_header(file: BinaryIO) -> Header:
    """Parse the header of a TIFF.

    Args:
        file: Open for reading, seekable.

    Raises:
        MalformedError: The file is not a TIFF, or its directories hold more than a file of its size can.
    """
    return _Parser(file).parse()


class _Parser:
    """Reads within a file and keeps track of how long it would have to be."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = self.needed = file.seek(0, 2)
        # Bytes of tag values still allowed, so that directories which share their values cannot multiply the work.
        self.budget = self.size
        self.blocks = 0
        head = self._bytes(0, 16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\x00", b"\x00+")
        if len(head) < (16 if self.big else 8):
            raise MalformedError("it ends within its first bytes")
        self.first: int = self._unpack("Q" if self.big else "I", head, 8 if self.big else 4)

    def parse(self) -> Header:
        pages: list[Page] = []
        visited: set[int] = set()
        offset = self.first
        while offset and offset not in visited:
            visited.add(offset)
            if len(visited) > MAX_PAGES:
                raise MalformedError(f"it has more than {MAX_PAGES} pages")
            tags, following = self._directory(offset)
            if tags:
                pages.append(self._page(len(visited), offset, tags))
            offset = following
        if not pages and self.needed <= self.size:
            raise MalformedError("it has no page")
        return Header(tuple(pages), bool(offset), max([self.needed, *(page.data_end for page in pages)]))

    def _directory(self, offset: int) -> tuple[_Tags, int]:
        """The tags of a directory and the offset of the next one; no tags where it reaches beyond the file's end."""
        number, entry = ("Q", 20) if self.big else ("H", 12)
        head = struct.calcsize(number)
        raw = self._bytes(offset, head)
        if len(raw) < head:
            return {}, 0
        count = self._unpack(number, raw)
        if count > _MAX_ENTRIES:
            raise MalformedError(f"a directory has {count} entries")
        link = "Q" if self.big else "I"
        body = self._bytes(offset + head, count * entry + struct.calcsize(link))
        if len(body) < count * entry:
            return {}, 0
        form = self.order + ("HHQ8s" if self.big else "HHI4s")
        tags = {tag: (kind, n, value) for tag, kind, n, value in struct.iter_unpack(form, body[: count * entry])}
        tail = body[count * entry :]
        complete = len(tail) == struct.calcsize(link)
        return tags, self._unpack(link, tail) if complete else 0

    def _page(self, number: int, offset: int, tags: _Tags) -> Page:
        def first(tag: int, default: int = 0) -> int:
            values = self._values(tags, tag, 1)
            return int(values[0]) if values.size else default

        height, width, samples = first(_HEIGHT), first(_WIDTH), first(_SAMPLES, 1)
        tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
        block = (first(_TILE_HEIGHT), first(_TILE_WIDTH)) if tiled else (min(first(_ROWS, height), height), width)
        planes = samples if first(_PLANAR, 1) == 2 else 1
        bits = int(self._values(tags, _BITS, 64).max(initial=1)) * (1 if planes > 1 else samples)
        grid = (-(-height // max(1, block[0])), -(-width // max(1, block[1])))
        start, end, unwritten = self._blocks(tags, planes, grid)
        return Page(number, offset, first(_SUBFILE), (height, width), block, tiled, planes, bits, start, end, unwritten)

    def _blocks(self, tags: _Tags, planes: int, grid: tuple[int, int]) -> tuple[int, int, NDArray[np.bool_] | None]:
        """The bytes between which the blocks lie, and which blocks were never written."""
        count = planes * math.prod(grid)
        stored = next((pair for pair in _BLOCK_TAGS if pair[0] in tags and pair[1] in tags), None)
        if stored is None or not count:
            return 0, 0, None
        self.blocks += count
        if self.blocks > MAX_BLOCKS:
            raise MalformedError(f"it is cut into {self.blocks} blocks or more")
        starts: list[int] = []
        end, done = 0, 0
        unwritten = np.ones(count, dtype=bool)
        for offsets, sizes in zip(*(self._chunks(tags, tag, count) for tag in stored), strict=False):
            n = min(len(offsets), len(sizes))
            written = (offsets[:n] != 0) & (sizes[:n] != 0)
            unwritten[done : done + n] = ~written
            done += n
            if written.any():
                starts.append(int(offsets[:n][written].min()))
                # In floats: a sum of two 64-bit numbers may not fit into one.
                ends = offsets[:n][written].astype(np.float64) + sizes[:n][written]
                last = int(ends.argmax())
                end = max(end, int(offsets[:n][written][last]) + int(sizes[:n][written][last]))
        return min(starts, default=0), end, unwritten.reshape(planes, *grid) if unwritten.any() else None

    def _values(self, tags: _Tags, tag: int, max_values: int) -> NDArray[Any]:
        return next(self._chunks(tags, tag, max_values), np.empty(0, np.uint64))

    def _chunks(self, tags: _Tags, tag: int, max_values: int) -> Iterator[NDArray[Any]]:
        """The first `max_values` unsigned integers of a tag, in chunks."""
        kind, count, value = tags.get(tag, (0, 0, b""))
        if kind not in _UNSIGNED:
            return
        item = _SIZES[kind]
        dtype = np.dtype(self.order + _UNSIGNED[kind])
        if count * item <= len(value):
            yield np.frombuffer(value, dtype, count)[:max_values]
            return
        offset = self._unpack("Q" if self.big else "I", value)
        self.needed = max(self.needed, offset + count * item)
        count = min(count, max_values)
        self.budget -= count * item if offset + count * item <= self.size else 0
        if self.budget < 0:
            raise MalformedError("its directories hold more than the file")
        for start in range(0, count, _CHUNK):
            raw = self._bytes(offset + start * item, min(_CHUNK, count - start) * item)
            yield np.frombuffer(raw, dtype, len(raw) // item)
            if len(raw) < min(_CHUNK, count - start) * item:
                return

    def _bytes(self, offset: int, length: int) -> bytes:
        """The bytes that the file has there, at most `length`."""
        self.needed = max(self.needed, offset + length)
        if offset >= self.size:
            return b""
        self.file.seek(offset)
        return self.file.read(min(length, self.size - offset))

    def _unpack(self, form: str, raw: bytes, offset: int = 0) -> int:
        return int(struct.unpack_from(self.order + form, raw, offset)[0])
