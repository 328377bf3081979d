"""The state of a segmentation, and its steps in bands of rows, each in whatever thread is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Each, Rows, stripes
from geoseg.segments import assignment, cells, connection

PASSES = 3
"""How often orphans may join a region."""

SMALL = 65536
"""Pixels up to which one thread is as fast as several."""


@dataclass(frozen=True)
class Area:
    """The part of an array of the scene that is computed, and the cells whose choices are wanted.

    corner, shape: its first pixel in the array, and pixels. inside: (rows, cols) of the scene from that pixel on.
    rows, cols: the wanted cells, counted from its first.
    """

    corner: tuple[int, int]
    shape: tuple[int, int]
    inside: tuple[int, int]
    rows: Rows
    cols: Rows


@dataclass(frozen=True)
class Rule:
    """What decides the choices: side of a cell in pixels, weight of position, iterations."""

    size: int
    compactness: float
    iterations: int


Chooser = Callable[[NDArray[np.int16], NDArray[np.bool_], Area, Rule, int, Each], NDArray[np.uint8]]
"""Computes the choices of the wanted cells, (cell rows, cell cols, T), from features, validity, area, rule, threads."""


def choose(
    features: NDArray[np.int16], valid: NDArray[np.bool_], area: Area, rule: Rule, threads: int, each: Each
) -> NDArray[np.uint8]:
    """Return the choices of the wanted cells, by the kernels for the CPU."""
    lattice = Lattice(features, valid, area, rule, threads, each)
    lattice.run(rule.iterations, area.rows, area.cols)
    return lattice.choice[slice(*area.rows), slice(*area.cols)]


class Lattice:
    """The cells of an array and their centres: the state that the iterations move."""

    def __init__(
        self,
        features: NDArray[np.int16],
        valid: NDArray[np.bool_],
        area: Area,
        rule: Rule,
        threads: int,
        each: Each,
    ) -> None:
        (H, W), size, pairs = area.shape, rule.size, -(-len(features) // 2)
        shape, pixels = (-(-H // size), -(-W // size)), cells.tile_pixels(size)
        self.size, self.shape, self.each = size, shape, each
        self.pitch, factor, bound = cells.scale(rule.compactness, len(features))
        self.place = cells.places(size, self.pitch)
        self.tiles = np.empty((*shape, pairs, pixels, 2), np.int16)
        joined = self.tiles.view(np.int32)[..., 0]
        self.choice = np.empty((*shape, pixels), np.uint8)
        self.holes = np.empty(shape, np.bool_)
        self.alive = np.empty(shape, np.bool_)
        self.moved = np.ones(shape, np.bool_)
        self.centres = np.zeros((*shape, 2 * pairs + 2), np.int32)
        self.threads = threads if H * W > SMALL else 1
        self.bands = stripes(0, shape[0], self.threads)
        self.slots = 2 * np.arange(len(self.bands)) + 1
        self.edges = np.array([0, *(stop for _, stop in self.bands)])
        self.sums = np.zeros((shape[0] + 2 * len(self.bands), shape[1], 2 * pairs + 3), np.int64)

        def fill(band: int) -> None:
            rows, slot = self.bands[band], int(self.slots[band])
            measures = size, factor, bound, rows
            cells.pack(features, valid, area.corner, area.shape, *measures, joined, self.choice, self.holes)
            seeds = self.sums, self.centres, self.alive
            cells.start(joined, self.choice, self.holes, self.place, size, rows, area.inside, slot, *seeds)

        self._each_band(fill)
        self.started = False

    def _each_band(self, work: Callable[[int], Any]) -> None:
        self.each(lambda band: work(band[0]), [(b, b + 1) for b in range(len(self.bands))])

    def run(self, iterations: int, rows: Rows, cols: Rows) -> None:
        """Iterate until the choices in the cells rows x cols are those of `iterations` iterations of all cells.

        A choice depends on centres one cell away, and they on choices one cell further: each iteration needs two
        cells less on every side than the one before.
        """
        for remaining in reversed(range(iterations)):
            self._iterate(widen(rows, 2 * remaining), widen(cols, 2 * remaining))

    def _iterate(self, rows: Rows, cols: Rows) -> None:
        """Move the centres, but not before the first iteration, then assign the pixels of the cells rows x cols."""
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


def connect(
    choice: NDArray[np.uint8],
    size: int,
    min_size: int,
    first: tuple[int, int],
    scene_shape: tuple[int, int],
    painted: NDArray[np.int32],
    threads: int,
    each: Each,
) -> NDArray[np.uint32]:
    """Paint the regions of the cells of `choice` into `painted`, as local indices; return their ids.

    painted (rows, cols) has the pixels of these cells; `first` is the cell of the scene that they begin with.
    """
    height, width = painted.shape
    pieces = stripes(0, height, threads if height * width > SMALL else 1)
    found = each(lambda r: connection.find_runs(choice, size, width, r), pieces)
    starts, labels, counts = (np.concatenate([run[k] for run in found]) for k in range(3))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    component, cell, rank = _regions(starts, labels, bounds, width, choice.shape, size, min_size)
    # The lattice of `slic.connection` begins one cell earlier.
    row = cell // (choice.shape[1] + 2) + first[0] - 1
    col = cell % (choice.shape[1] + 2) + first[1] - 1
    ids, inverse = np.unique(_ids(row, col, rank, size, scene_shape), return_inverse=True)
    local: NDArray[np.int32] = np.add(inverse, 1, dtype=np.int32, casting="same_kind")
    each(lambda r: connection.paint(starts, bounds, component, local, r, painted), pieces)
    return np.concatenate([np.zeros(1, np.uint32), ids])


def _regions(
    starts: NDArray[np.int32],
    labels: NDArray[np.int32],
    bounds: NDArray[np.int64],
    width: int,
    cells: tuple[int, ...],
    size: int,
    min_size: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Find components and merge orphans: (component of each run, cell and rank that name each component's region)."""
    stride = cells[1] + 2
    component, n = connection.join_runs(starts, labels, bounds, width)
    label, pixels, begin, extent = connection.measure(starts, labels, bounds, width, component, n, size, stride)
    main = connection.choose_main(label, pixels, (cells[0] + 2) * stride)
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
) -> NDArray[np.uint32]:
    """Return the scene-wide ids of regions of cell (row, col) in the scene, rank 0 for that of the seed itself."""
    cell_rows, cell_cols = (-(-extent // size) for extent in scene_shape)
    ids = rank * (cell_rows * cell_cols) + row * cell_cols + col + 1
    if ids.size and ids.max() > np.iinfo(np.uint32).max:
        raise ValueError(
            f"superpixels of size {size} in a scene of {scene_shape} have no 32-bit ids: use a larger size"
        )
    return ids.astype(np.uint32)


def widen(span: Rows, by: int) -> Rows:
    return span[0] - by, span[1] + by


def clip(span: Rows, stop: int, start: int = 0) -> Rows:
    """Return the part of `span` within [start, stop), possibly empty."""
    low = max(span[0], start)
    return low, max(low, min(span[1], stop))
