"""The state of a segmentation and its steps, which run in bands of cell rows, each in any thread that is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import ParallelMap, Range, stripes
from geoseg.segments import assignment, cells, connection

_CHUNK_PIXELS = 1 << 17
"""Pixels whose colours are made at a time: they are packed while they are in the processor's cache."""

PASSES = 3
"""Number of passes in which orphans may join a region."""

SINGLE_THREAD_PIXELS = 65536
"""Pixels up to which one thread is as fast as several."""


@dataclass(frozen=True)
class Domain:
    """The part of an array of the scene that is computed, and the cells in it whose choices are returned.

    Attributes:
        corner: (row, col) of its first pixel in the array.
        shape: (rows, cols) of pixels.
        inside: (rows, cols) of the scene from its first pixel on.
        rows, cols: ranges of the returned cells, counted from its first cell.
    """

    corner: tuple[int, int]
    shape: tuple[int, int]
    inside: tuple[int, int]
    rows: Range
    cols: Range


@dataclass(frozen=True)
class SlicParameters:
    """What decides which seed a pixel chooses.

    Attributes:
        size: pixels on a side of a cell.
        compactness: weight of position against colour.
        iterations: of assigning pixels and moving centres.
    """

    size: int
    compactness: float
    iterations: int


Colours = Callable[[tuple[slice, slice]], NDArray[np.int16]]
"""Returns the colours of a part (rows, cols) of an array, int16 (channels, rows, cols)."""

Backend = Callable[[Colours, NDArray[np.bool_], Domain, SlicParameters, int, ParallelMap], NDArray[np.uint8]]
"""Computes the choices of the cells of a domain, uint8 (cell rows, cell cols, T), from colours, validity, domain,
parameters, number of threads, and the map that uses these."""


def colours_of(colours: NDArray[np.int16]) -> Colours:
    """Return the colours of an array, int16 (channels, rows, cols), that were all made before."""
    return lambda part: colours[(slice(None), *part)]


class CpuBackend:
    """The kernels for the CPU; see `Backend`. It keeps the memory of its largest array from call to call.

    To map that memory anew for each block took five times as long as to fill it. Threads may share a backend.
    """

    def __init__(self) -> None:
        self._spare: list[NDArray[np.int16]] = []

    def __call__(
        self,
        colours: Colours,
        valid: NDArray[np.bool_],
        domain: Domain,
        parameters: SlicParameters,
        threads: int,
        parallel_map: ParallelMap,
    ) -> NDArray[np.uint8]:
        """Return the choices of the domain's cells."""
        memory = self._spare.pop() if self._spare else np.empty(0, np.int16)
        lattice = Lattice(colours, valid, domain, parameters, threads, parallel_map, memory)
        lattice.run(parameters.iterations, domain.rows, domain.cols)
        self._spare.append(lattice.memory)
        return lattice.choice[slice(*domain.rows), slice(*domain.cols)]


class Lattice:
    """The cells of an array and their centres: the state of the iterations. For the arrays see `geoseg.segments.cells`.

    Args:
        colours: of an array; each part is asked for once, with the pixels beside it.
        valid: bool (rows, cols), of the array.
        domain: the part of it to compute.
        parameters: of the segmentation.
        threads: number of threads.
        parallel_map: map that uses them.
        memory: int16 (n,), of any length: where `tiles` may lie.

    Attributes:
        memory: int16 (n,), where they lie.
    """

    def __init__(
        self,
        colours: Colours,
        valid: NDArray[np.bool_],
        domain: Domain,
        parameters: SlicParameters,
        threads: int,
        parallel_map: ParallelMap,
        memory: NDArray[np.int16],
    ) -> None:
        (H, W), size, channels = domain.shape, parameters.size, len(colours((slice(0, 1), slice(0, 1))))
        shape, pixels, pairs = (-(-H // size), -(-W // size)), cells.tile_pixels(size), -(-channels // 2)
        self.size, self.shape, self._map = size, shape, parallel_map
        self.pitch, factor, bound = cells.scale(parameters.compactness, channels)
        self.place = cells.places(size, self.pitch)
        length = 2 * shape[0] * shape[1] * pairs * pixels
        self.memory = memory if len(memory) >= length else np.empty(length, np.int16)
        self.tiles = self.memory[:length].reshape(*shape, pairs, pixels, 2)
        joined = self.tiles.view(np.int32)[..., 0]
        self.choice = np.empty((*shape, pixels), np.uint8)
        self.holes = np.empty(shape, np.bool_)
        self.alive = np.empty(shape, np.bool_)
        self.moved = np.ones(shape, np.bool_)
        self.centres = np.zeros((*shape, 2 * pairs + 2), np.int32)
        self.bands = stripes(0, shape[0], threads if H * W > SINGLE_THREAD_PIXELS else 1)
        self.slots = 2 * np.arange(len(self.bands)) + 1
        self.edges = np.array([0, *(stop for _, stop in self.bands)])
        self.sums = np.zeros((shape[0] + 2 * len(self.bands), shape[1], 2 * pairs + 3), np.int64)

        step = max(1, _CHUNK_PIXELS // (size * W))

        def fill(band: int) -> None:
            rows, slot = self.bands[band], int(self.slots[band])
            for first in range(rows[0], rows[1], step):
                chunk = first, min(first + step, rows[1])
                part, corner = _around(domain, chunk, size)
                near, ok = np.ascontiguousarray(colours(part)), np.ascontiguousarray(valid[part])
                measures = size, factor, bound, chunk
                cells.pack(near, ok, corner, domain.shape, *measures, joined, self.choice, self.holes)
                seeds = self.sums, self.centres, self.alive
                cells.start(joined, self.choice, self.holes, self.place, size, chunk, domain.inside, slot, *seeds)

        self._each_band(fill)
        self.started = False

    def _each_band(self, work: Callable[[int], Any]) -> None:
        self._map(lambda band: work(band[0]), [(b, b + 1) for b in range(len(self.bands))])

    def run(self, iterations: int, rows: Range, cols: Range) -> None:
        """Iterate until the choices in the cells rows x cols are those after `iterations` iterations of all cells.

        A choice depends on centres one cell away, and these depend on choices one cell further. So each iteration needs
        two cells less on every side than the one before it.
        """
        for remaining in reversed(range(iterations)):
            self._iterate(widen(rows, 2 * remaining), widen(cols, 2 * remaining))

    def _iterate(self, rows: Range, cols: Range) -> None:
        """Move the centres, unless it is the first iteration, then assign the pixels of the cells rows x cols."""
        near, cols = widen(rows, 1), clip(cols, self.shape[1])
        seed_cols = clip(widen(cols, 1), self.shape[1])

        def move(band: int) -> None:
            own = clip(self.bands[band], near[1], near[0])
            assignment.update_centres(self.sums, self.slots, self.edges, own, seed_cols, self.centres, self.moved)

        def assign(band: int) -> None:
            own = clip(self.bands[band], rows[1], rows[0])
            choice = self.choice
            pixels = self.tiles, choice, choice.view(np.uint64), self.holes
            seeds = self.centres, self.alive, self.moved
            slot = int(self.slots[band])
            assignment.assign(*pixels, *seeds, self.place, self.pitch, own, cols, slot, self.sums)

        if self.started:
            self._each_band(move)
        self._each_band(assign)
        self.started = True


def _around(domain: Domain, rows: Range, size: int) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Return the part of the array that holds some cell rows of the domain with a pixel around them, and (row, col) of
    the first pixel of the domain, counted from the first of that part."""
    (top, left), (height, width) = domain.corner, domain.shape
    above, before = max(top + rows[0] * size - 1, 0), max(left - 1, 0)
    part = slice(above, top + min(rows[1] * size, height) + 1), slice(before, left + width + 1)
    return part, (top - above, left - before)


def connect(
    choice: NDArray[np.uint8],
    size: int,
    min_size: int,
    first: tuple[int, int],
    scene_shape: tuple[int, int],
    extent: tuple[int, int],
    place: tuple[int, int],
    painted: NDArray[np.int32],
    threads: int,
    parallel_map: ParallelMap,
) -> NDArray[np.unsignedinteger[Any]]:
    """Make connected regions of choices, and paint them as local indices.

    Args:
        choice: uint8 (cell rows, cell cols, T).
        size: pixels on a side of a cell.
        min_size: pixels below which a main component is an orphan.
        first: (row, col) in the scene of the first cell of `choice`.
        scene_shape: (rows, cols) of pixels.
        extent: (rows, cols) of pixels that these cells have.
        place: (row, col), counted from the first of these pixels, of the first pixel of `painted`.
        painted: int32 (rows, cols); those of these pixels that it holds are set to 1..n, or 0 without a region.
        threads: number of threads.
        parallel_map: map that uses them.

    Returns:
        The ids of the regions, (n + 1,), ascending; ids[0] is 0. uint32, or uint64 if one of them does not fit there.
    """
    height, width = extent
    pieces = stripes(0, height, threads if height * width > SINGLE_THREAD_PIXELS else 1)
    found = parallel_map(lambda r: connection.find_runs(choice, size, width, r), pieces)
    starts, labels, counts = (np.concatenate([run[k] for run in found]) for k in range(3))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    component, cell, rank = _regions(starts, labels, bounds, width, choice.shape, size, min_size)
    # The lattice of `connection` begins one cell earlier in both directions.
    row = cell // (choice.shape[1] + 2) + first[0] - 1
    col = cell % (choice.shape[1] + 2) + first[1] - 1
    ids, inverse = np.unique(_ids(row, col, rank, size, scene_shape), return_inverse=True)
    local: NDArray[np.int32] = np.add(inverse, 1, dtype=np.int32, casting="same_kind")
    parallel_map(lambda r: connection.paint(starts, bounds, width, component, local, r, *place, painted), pieces)
    return np.concatenate([np.zeros(1, np.uint32), ids])


def _regions(
    starts: NDArray[np.int32],
    labels: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    cell_shape: tuple[int, ...],
    size: int,
    min_size: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Find components and merge orphans; return the component of each run, and the cell and the rank that make the id
    of each component's region."""
    stride = cell_shape[1] + 2
    component, n = connection.join_runs(starts, labels, bounds, width)
    label, pixels, begin, extent = connection.measure(starts, labels, bounds, width, component, n, size, stride)
    main = connection.choose_main(label, pixels, (cell_shape[0] + 2) * stride)
    is_main = main[label] == np.arange(n)
    owner = np.where(is_main & (pixels >= min_size), label, -1).astype(np.int32)
    for _ in range(PASSES):
        connection.merge_orphans(starts, bounds, width, component, label, extent, owner, stride)
    owner = np.where((owner < 0) & is_main, label, owner)
    rank = np.where(owner < 0, connection.rank_orphans(label, begin, main), 0)
    return component, np.where(owner < 0, begin, owner).astype(np.int64), rank.astype(np.int64)


def _ids(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    rank: NDArray[np.int64],
    size: int,
    scene_shape: tuple[int, int],
) -> NDArray[np.unsignedinteger[Any]]:
    """Return the ids of regions from their cells (row, col) in the scene and their ranks, 0 for that of the seed."""
    cell_rows, cell_cols = (-(-extent // size) for extent in scene_shape)
    ids = rank * (cell_rows * cell_cols) + row * cell_cols + col + 1
    return ids.astype(np.uint32 if ids.max(initial=0) <= np.iinfo(np.uint32).max else np.uint64)


def widen(span: Range, by: int) -> Range:
    """Return the range with `by` more on either side."""
    return span[0] - by, span[1] + by


def clip(span: Range, stop: int, start: int = 0) -> Range:
    """Return the part of `span` within [start, stop); it may be empty."""
    low = max(span[0], start)
    return low, max(low, min(span[1], stop))
