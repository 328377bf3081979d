"""Integer pixel geometry: every index is (row, col), every range half-open, in pixels of the scene.

A *window* is what the network sees in one forward pass; windows lie on a lattice anchored at the scene's pixel (0, 0).
A *block* is what is written at once; blocks partition the raster that is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property


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
    hits = [i for i, candidate in enumerate(spans) if len(candidate.intersect(span))]
    return range(hits[0], hits[-1] + 1) if hits else range(0)


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
        rows, cols = touching(self.row_spans, area.rows), touching(self.col_spans, area.cols)
        return [(i, j) for i in rows for j in cols]


def partition(extent: Window, block_size: int) -> Iterator[Block]:
    """Yield the blocks that partition `extent`, in raster order from its first pixel.

    Args:
        extent: The pixels to partition.
        block_size: Side of a block in pixels; blocks at the bottom and right edges are clipped.
    """
    index = 0
    for row in range(extent.rows.start, extent.rows.stop, block_size):
        for col in range(extent.cols.start, extent.cols.stop, block_size):
            window = Window.of(row, col, block_size, block_size).intersect(extent)
            yield Block(index, window)
            index += 1
