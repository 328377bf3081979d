"""Integer pixel geometry: every index is (row, col), every range half-open, in pixels of the scene.

A *window* is what the network sees in one forward pass; windows lie on a lattice anchored at the scene's pixel (0, 0).
A *block* is what is written at once; blocks partition the raster that is written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import overload


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The half-open range [start, stop) along one axis, in pixels.

    Raises:
        ValueError: `stop` is less than `start`.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.stop < self.start:
            raise ValueError(f"a span cannot end at {self.stop} before it starts at {self.start}")

    def __len__(self) -> int:
        return self.stop - self.start

    def intersect(self, other: Span) -> Span:
        """Return the common part, of length 0 if there is none."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))

    def within(self, outer: Span) -> slice:
        """Return the slice that cuts this span out of an array that covers `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels: a span of rows and a span of columns."""

    rows: Span
    cols: Span

    @classmethod
    def of(cls, row: int, col: int, rows: int, cols: int) -> Window:
        """Return the window of `rows` x `cols` pixels whose first pixel is (row, col)."""
        return cls(Span(row, row + rows), Span(col, col + cols))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return len(self.rows), len(self.cols)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return len(self.rows) * len(self.cols)

    def intersect(self, other: Window) -> Window:
        """Return the common part, with no pixels if there is none."""
        return Window(self.rows.intersect(other.rows), self.cols.intersect(other.cols))

    def shifted(self, rows: int, cols: int) -> Window:
        """Return the window moved by a number of rows and columns."""
        return Window.of(self.rows.start + rows, self.cols.start + cols, *self.shape)

    def expand(self, margin: int, within: Window, multiple: int = 1) -> Window:
        """Return the window grown on all four sides.

        Args:
            margin: Pixels to add on each side.
            within: The result is clipped to this window.
            multiple: Before it is clipped, the result grows further until its edges are multiples of this.
        """
        return Window(
            _expand(self.rows, margin, within.rows, multiple), _expand(self.cols, margin, within.cols, multiple)
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices that cut this window out of an array that covers `outer`."""
        return self.rows.within(outer.rows), self.cols.within(outer.cols)


def _expand(span: Span, margin: int, within: Span, multiple: int) -> Span:
    start = (span.start - margin) // multiple * multiple
    stop = -(-(span.stop + margin) // multiple) * multiple
    return Span(max(within.start, start), min(within.stop, stop))


def hull(*windows: Window) -> Window:
    """Return the smallest window that holds those of the windows, of which there is one, that have a pixel."""
    given = [window for window in windows if window.pixels]
    rows, cols = [window.rows for window in given], [window.cols for window in given]
    return Window(*(Span(min(s.start for s in spans), max(s.stop for s in spans)) for spans in (rows, cols)))


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of work, of resume and of distribution.

    Attributes:
        index: Number of the block in raster order, from 0.
        window: Its pixels.
    """

    index: int
    window: Window


def lattice(length: int, tile_size: int, overlap: int) -> tuple[Span, ...]:
    """Return the spans that cover [0, length), one every `tile_size - overlap` pixels.

    The last span is clipped at `length`. If there are two or more it is still longer than `overlap`, so every span has
    pixels that its predecessor does not have.

    Args:
        length: Length of the axis in pixels, at least 1.
        tile_size: Length of every span but the last one, in pixels.
        overlap: Pixels that a span has in common with the next one, less than `tile_size`.
    """
    step = tile_size - overlap
    count = 1 if length <= tile_size else -(-(length - tile_size) // step) + 1
    return tuple(Span(i * step, min(i * step + tile_size, length)) for i in range(count))


def touching(spans: tuple[Span, ...], span: Span) -> range:
    """Return the indices of those `spans` of a lattice that share a pixel with `span`."""
    if not len(span):
        return range(0)
    # Both ends of the spans of a lattice ascend.
    first = bisect_right(spans, span.start, key=attrgetter("stop"))
    return range(first, max(first, bisect_left(spans, span.stop, key=attrgetter("start"))))


@dataclass(frozen=True)
class Grid:
    """The windows of a scene, on a lattice anchored at its pixel (0, 0).

    Attributes:
        shape: Size (rows, cols) of the scene.
        tile_size: Side of a window in pixels; windows at the bottom and right edges are clipped.
        overlap: Overlap of neighbouring windows in pixels. It is at most half of `tile_size`, so at most two windows
            cover a pixel along each axis.

    Raises:
        ValueError: The overlap is negative or more than half of the tile size.
    """

    shape: tuple[int, int]
    tile_size: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.overlap <= self.tile_size:
            raise ValueError(f"overlap {self.overlap} must be between 0 and half of the tile size {self.tile_size}")

    @property
    def extent(self) -> Window:
        """The window of the whole scene."""
        return Window.of(0, 0, *self.shape)

    @cached_property
    def row_spans(self) -> tuple[Span, ...]:
        """The spans of rows, from top to bottom."""
        return lattice(self.shape[0], self.tile_size, self.overlap)

    @cached_property
    def col_spans(self) -> tuple[Span, ...]:
        """The spans of columns, from left to right."""
        return lattice(self.shape[1], self.tile_size, self.overlap)

    def window(self, index: tuple[int, int]) -> Window:
        """Return the window at lattice position (row, col)."""
        return Window(self.row_spans[index[0]], self.col_spans[index[1]])

    def windows_touching(self, area: Window) -> list[tuple[int, int]]:
        """Return the lattice positions (row, col) of the windows that share a pixel with `area`, in raster order."""
        rows, cols = self._touching(area)
        return [(i, j) for i in rows for j in cols]

    def count_touching(self, area: Window) -> int:
        """Return the number of windows that share a pixel with `area`."""
        rows, cols = self._touching(area)
        return len(rows) * len(cols)

    def _touching(self, area: Window) -> tuple[range, range]:
        return touching(self.row_spans, area.rows), touching(self.col_spans, area.cols)


class Partition(Sequence[Block]):
    """The blocks that partition one or more windows. Each is made when it is asked for, so a million need no memory.

    Blocks are numbered in raster order from the first pixel of each window, through one window after the other. A slice
    is a Partition too, whose blocks keep their numbers.

    What a process keeps from block to block grows with the number of blocks between one and that below it. So blocks
    are best computed by their `rank`: each window in strips of columns of almost equal width, from left to right, and
    each strip in raster order.

    Args:
        windows: The pixels to partition; windows have no pixel in common.
        block_size: Side of a block in pixels; blocks at the bottom and right edges of a window are clipped.
        indices: Numbers of the blocks that the sequence has; None for all.
        strip: Largest width of a strip in pixels, if a block fits into it; None for one strip.

    Attributes:
        windows: Those with a pixel.
        block_size: As given.
        indices: As given.
        strip: As given.
    """

    def __init__(
        self, windows: Sequence[Window], block_size: int, indices: range | None = None, strip: int | None = None
    ) -> None:
        self.windows = tuple(window for window in windows if window.pixels)
        self.block_size = block_size
        shapes = [tuple(-(-length // block_size) for length in window.shape) for window in self.windows]
        self._widths = [cols for _, cols in shapes]
        self.strip = strip
        fitting = None if strip is None else max(1, strip // block_size)
        self._strips = [cols if fitting is None else -(-cols // -(-cols // fitting)) for cols in self._widths]
        # Number of the first block of each window, and the number of all blocks.
        self._firsts = [0, *accumulate(rows * cols for rows, cols in shapes)]
        self.indices = range(self._firsts[-1]) if indices is None else indices

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return self.windows, self.block_size, self.indices, self.strip

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, item: int) -> Block: ...

    @overload
    def __getitem__(self, item: slice) -> Partition: ...

    def __getitem__(self, item: int | slice) -> Block | Partition:
        if isinstance(item, slice):
            return Partition(self.windows, self.block_size, self.indices[item], self.strip)
        return self._block(self.indices[item])

    def __iter__(self) -> Iterator[Block]:
        return map(self._block, self.indices)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Block) and item.index in self.indices and self._block(item.index) == item

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) that hold every block; of a slice, every block of the whole."""
        rows, cols = (max((window.shape[axis] for window in self.windows), default=0) for axis in (0, 1))
        return min(rows, self.block_size), min(cols, self.block_size)

    @property
    def hull(self) -> Window:
        """The smallest window that holds all of the windows, of which there is at least one."""
        return hull(*self.windows)

    @property
    def strip_blocks(self) -> int:
        """Number of blocks from one to that below it in the widest strip, by rank."""
        return max(self._strips, default=0)

    @property
    def strip_cols(self) -> int:
        """Width in pixels of the widest strip."""
        widths = zip(self.windows, self._strips, strict=True)
        return max((min(len(window.cols), cols * self.block_size) for window, cols in widths), default=0)

    def rank(self, index: int) -> int:
        """Return the place of the block `index` in the order in which all blocks are best computed, from 0."""
        piece = bisect_right(self._firsts, index) - 1
        row, col = divmod(index - self._firsts[piece], self._widths[piece])
        return self._rank(piece, row, col)

    def at_rank(self, rank: int) -> Block:
        """Return the block of a `rank`."""
        piece = bisect_right(self._firsts, rank) - 1
        first, width, strip = self._firsts[piece], self._widths[piece], self._strips[piece]
        rows = (self._firsts[piece + 1] - first) // width
        left = (rank - first) // (rows * strip) * strip
        row, col = divmod(rank - first - rows * left, min(strip, width - left))
        return self._block(first + row * width + left + col)

    def ranks_touching(self, area: Window) -> list[int]:
        """Return the ranks of the blocks that share a pixel with `area`, in ascending order."""
        found: list[int] = []
        for piece, window in enumerate(self.windows):
            common = area.intersect(window)
            if common.pixels:
                rows, cols = (
                    range(
                        (part.start - whole.start) // self.block_size, -(-(part.stop - whole.start) // self.block_size)
                    )
                    for part, whole in ((common.rows, window.rows), (common.cols, window.cols))
                )
                found += sorted(self._rank(piece, row, col) for row in rows for col in cols)
        return found

    def _rank(self, piece: int, row: int, col: int) -> int:
        """The rank of the block at (row, col) of the grid of blocks of one window."""
        first, width, strip = self._firsts[piece], self._widths[piece], self._strips[piece]
        rows, left = (self._firsts[piece + 1] - first) // width, col // strip * strip
        return first + rows * left + row * min(strip, width - left) + col - left

    def _block(self, index: int) -> Block:
        piece = bisect_right(self._firsts, index) - 1
        window = self.windows[piece]
        row, col = divmod(index - self._firsts[piece], self._widths[piece])
        top, left = window.rows.start + row * self.block_size, window.cols.start + col * self.block_size
        rows = Span(top, min(top + self.block_size, window.rows.stop))
        return Block(index, Window(rows, Span(left, min(left + self.block_size, window.cols.stop))))


def partition(extent: Window, block_size: int, strip: int | None = None) -> Partition:
    """Return the blocks that partition `extent`, in raster order from its first pixel.

    Args:
        extent: The pixels to partition.
        block_size: Side of a block in pixels; blocks at the bottom and right edges are clipped.
        strip: See `Partition`.
    """
    return Partition((extent,), block_size, strip=strip)
