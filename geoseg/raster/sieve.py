"""The sieve: regions below a minimum area join the neighbour with the longest common edge, in a raster of any length.

The rule, as if the whole raster were in memory: consider the 4-connected regions of equal value that are smaller than
the minimum and have a neighbour other than nodata. The smallest of them (of equals, the one whose first pixel comes
first in raster order) takes the value with which it has the longest common edge. Neighbours of one value count
together, because they become one region with it; of equals, the value whose adjacent pixel comes first in raster order
is taken. This is repeated until no such region is left. Nodata, 0, is neither sieved nor taken.

A region need not wait until it is the smallest of all: it may merge as soon as it precedes all its small neighbours,
because no earlier merge can change them or itself. A neighbour that may continue in later rows counts with its area so
far, as it can only grow. So rows are returned as soon as all their regions are settled, and nothing depends on how many
rows are pushed at once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Span, Window
from geoseg.raster.cog import read_rows, write_part
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.mosaic import TIFF_BLOCK, Parts, RasterSpec
from geoseg.raster.sieve_cut import Cut
from geoseg.raster.sieve_kernels import merge_small
from geoseg.units import Area

_MIN_MARGIN, _MAX_MARGIN = 64, 1024
"""Pixels around a part of a scene that are sieved with it."""


def sieve(
    bands: Iterable[NDArray[Any]], min_area: int, weights: Iterable[NDArray[np.int64]] | None = None
) -> Iterator[NDArray[Any]]:
    """Yield the sieved rows of a class raster, in bands of other heights than those of `bands`.

    Args:
        bands: class values (rows, cols) from top to bottom; 0 is nodata.
        min_area: see `Sieve`.
        weights: those of each band, see `Sieve.push`; None for 1 everywhere.
    """
    work = Sieve(min_area)
    for band, areas in zip(bands, repeat(None) if weights is None else weights, strict=False):
        settled = work.push(band, areas)
        if len(settled):
            yield settled
    settled = work.finish()
    if len(settled):
        yield settled


class Sieve:
    """Takes rows and returns them, sieved, once all their regions are settled.

    In memory are the rows from the first unsettled small region on, and about as many again.

    Args:
        min_area: area below which a region is small, in pixels, or in the unit of the weights pushed with the rows.
        cut: the sides at which the rows are cut off from a larger raster.

    Attributes:
        doubtful: bool, of the rows returned last: pixels that may have another value in the larger raster; None
            without a cut.
    """

    def __init__(self, min_area: int, cut: Cut = Cut()) -> None:  # noqa: B008
        self._min_area, self._cut = min_area, cut
        self.doubtful: NDArray[np.bool_] | None = None
        self._doubts: list[NDArray[np.bool_]] = []
        self._values: list[NDArray[Any]] = []
        self._weights: list[NDArray[np.int64]] = []
        # Rows that wait: the last settled row (1, or 0 at the top), examined rows that are not settled, and new ones.
        self._context_rows = self._examined_rows = self._new_rows = 0

    def push(self, band: NDArray[Any], weights: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Take the next rows (rows, cols); return the rows that are settled now, possibly none.

        weights: areas of the pixels, int64, (rows, 1) or (rows, cols); None for 1 everywhere.
        """
        self._values.append(band)
        self._weights.append(np.ones((len(band), 1), np.int64) if weights is None else weights)
        self._new_rows += len(band)
        if any(self._cut):
            self._doubts.append(np.zeros(band.shape, np.bool_))
            self.doubtful = self._doubts[-1][:0]
        # Unsettled rows are examined again only with as many new ones, so that the work stays linear in rows.
        return self._settle(last=False) if self._new_rows >= max(self._examined_rows, 1) else band[:0]

    def finish(self) -> NDArray[Any]:
        """Return the remaining rows; no more rows may be pushed."""
        return self._settle(last=True) if self._values else np.empty((0, 0), np.uint8)

    def _settle(self, last: bool) -> NDArray[Any]:
        values, weights = np.concatenate(self._values), np.concatenate(self._weights)
        doubts = np.concatenate(self._doubts) if self._doubts else None
        settled = merge_small(values, weights, self._min_area, bool(self._context_rows), last, self._cut, doubts)
        done, kept = values[self._context_rows : settled], max(settled - 1, 0)
        if doubts is not None:
            self.doubtful, self._doubts = doubts[self._context_rows : settled], [doubts[kept:].copy()]
        self._context_rows = min(settled, 1)
        self._values, self._weights = [values[kept:].copy()], [weights[kept:]]
        self._examined_rows, self._new_rows = len(values) - settled, 0
        return done


def margin(georeference: Georeference, part: Window, scene: Window, min_area: Area) -> Window:
    """Return the window to compute for a part of a scene, so that its sieved pixels are mostly those of the whole.

    What a region becomes depends on its neighbours as far as they are small. Few chains of small regions are longer
    than four times the side of a square of the minimum area.

    Args:
        georeference: Georeference of the scene.
        part: Pixels that are wanted.
        scene: All pixels of the scene.
        min_area: The minimum area.

    Raises:
        SettingError: `min_area` is in square metres, and the scene has no CRS with metres.
    """
    ground = Ground(georeference, scene.shape)
    min_sum, weighted = ground.threshold(min_area)
    middle = Window.of((part.rows.start + part.rows.stop) // 2, (part.cols.start + part.cols.stop) // 2, 1, 1)
    pixels = min_sum / max(1, int(ground.weights(middle)[0, 0])) if weighted else min_sum
    side = math.ceil(4 * math.sqrt(pixels))
    return part.expand(min(max(side, _MIN_MARGIN), _MAX_MARGIN), scene)


@dataclass(frozen=True)
class Surroundings:
    """What a part of a scene is cut from.

    Attributes:
        part: Pixels that are wanted.
        scene: All pixels of the scene.
        georeference: Georeference of the scene.
    """

    part: Window
    scene: Window
    georeference: Georeference

    def cut(self, extent: Window) -> Cut:
        """Return the sides at which `extent` is cut off from the scene."""
        rows, cols, scene = extent.rows, extent.cols, self.scene
        return Cut(
            rows.start > scene.rows.start, rows.stop < scene.rows.stop,
            cols.start > scene.cols.start, cols.stop < scene.cols.stop,
        )  # fmt: skip


def sieve_parts(
    folder: Path, spec: RasterSpec, parts: Parts, min_area: Area,
    surroundings: Surroundings | None = None,
) -> tuple[list[tuple[Block, Path]], int]:  # fmt: skip
    """Sieve a class raster that exists as parts, and return it as new parts.

    Args:
        folder: where to write the new parts, each of `TIFF_BLOCK` full rows.
        spec: of the raster.
        parts: its blocks and their files.
        min_area: smaller regions are sieved.
        surroundings: where only a part of a scene is wanted, of which `spec` is that part and a margin; None where the
            raster is the whole scene.

    Returns:
        The new parts, of the part that is wanted, and the number of its pixels that may have another value if the
        whole scene is sieved.

    Raises:
        SettingError: `min_area` is in square metres, and the raster has no CRS with metres.
        WriteError: the file system failed.
    """
    around = surroundings or Surroundings(spec.extent, spec.extent, spec.georeference)
    counts: list[int] = []
    sieved, row = [], around.part.rows.start
    for index, slab in enumerate(_slabs(_settled(folder, spec, parts, min_area, around, counts))):
        window = Window.of(row, around.part.cols.start, *slab.shape)
        path = folder / f"part-sieved-{index:06d}.tif"
        write_part(path, slab, threads=os.cpu_count() or 1)
        sieved.append((Block(index, window), path))
        row += len(slab)
    return sieved, sum(counts)


def _settled(
    folder: Path, spec: RasterSpec, parts: Parts, min_area: Area, around: Surroundings, counts: list[int]
) -> Iterator[NDArray[Any]]:
    """Yield the sieved rows of the part, in bands of any height, 0 included; append the numbers of doubtful pixels."""
    # Of the scene and not of the raster: rounding must not depend on where the raster begins.
    ground = Ground(around.georeference, around.scene.shape)
    first = spec.extent.rows.start - around.scene.rows.start, spec.extent.cols.start - around.scene.cols.start
    min_sum, weighted = ground.threshold(min_area)
    sieve, row, done = Sieve(min_sum, around.cut(spec.extent)), 0, spec.extent.rows.start
    cols = around.part.cols.within(spec.extent.cols)
    for band in chain(read_rows(spec, parts, TIFF_BLOCK, folder), [None]):
        if band is None:
            settled = sieve.finish()
        else:
            place = Window.of(first[0] + row, first[1], *band.shape)
            settled = sieve.push(band, ground.weights(place) if weighted else None)
            row += len(band)
        wanted = Span(done, done + len(settled)).intersect(around.part.rows).within(Span(done, done + len(settled)))
        if sieve.doubtful is not None:
            counts.append(int(sieve.doubtful[wanted, cols].sum()))
        yield settled[wanted, cols]
        done += len(settled)


def _slabs(bands: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the same rows, `TIFF_BLOCK` at a time."""
    rows: NDArray[Any] | None = None
    for band in bands:
        if not len(band):
            continue
        rows = band if rows is None else np.concatenate([rows, band])
        while len(rows) >= TIFF_BLOCK:
            yield rows[:TIFF_BLOCK]
            rows = rows[TIFF_BLOCK:]
        # A copy, so that the rows already yielded are not kept in memory.
        rows = rows.copy()
    if rows is not None and len(rows):
        yield rows
