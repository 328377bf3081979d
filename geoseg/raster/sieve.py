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

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.raster.cog import read_rows, write_part
from geoseg.raster.ground import Ground
from geoseg.raster.mosaic import TIFF_BLOCK, RasterSpec
from geoseg.raster.sieve_kernels import merge_small
from geoseg.units import Area


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
    """

    def __init__(self, min_area: int) -> None:
        self._min_area = min_area
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
        # Unsettled rows are examined again only with as many new ones, so that the work stays linear in rows.
        return self._settle(last=False) if self._new_rows >= max(self._examined_rows, 1) else band[:0]

    def finish(self) -> NDArray[Any]:
        """Return the remaining rows; no more rows may be pushed."""
        return self._settle(last=True) if self._values else np.empty((0, 0), np.uint8)

    def _settle(self, last: bool) -> NDArray[Any]:
        values, weights = np.concatenate(self._values), np.concatenate(self._weights)
        settled = merge_small(values, weights, self._min_area, bool(self._context_rows), last)
        done, kept = values[self._context_rows : settled], max(settled - 1, 0)
        self._context_rows = min(settled, 1)
        self._values, self._weights = [values[kept:].copy()], [weights[kept:]]
        self._examined_rows, self._new_rows = len(values) - settled, 0
        return done


def sieve_parts(
    folder: Path, spec: RasterSpec, parts: Sequence[tuple[Block, Path]], min_area: Area
) -> list[tuple[Block, Path]]:
    """Sieve a class raster that exists as parts, and return it as new parts.

    Args:
        folder: where to write the new parts, each of `TIFF_BLOCK` full rows.
        spec: of the raster.
        parts: its blocks and their files; a block without a part is nodata.
        min_area: smaller regions are sieved.

    Raises:
        SettingError: `min_area` is in square metres, and the raster has no CRS with metres.
        WriteError: the file system failed.
    """
    sieved = []
    extent, row = spec.extent, 0
    for index, slab in enumerate(_slabs(_settled(spec, parts, min_area))):
        window = Window.of(extent.rows.start + row, extent.cols.start, *slab.shape)
        path = folder / f"part-sieved-{index:06d}.tif"
        write_part(path, slab)
        sieved.append((Block(index, window), path))
        row += len(slab)
    return sieved


def _settled(spec: RasterSpec, parts: Sequence[tuple[Block, Path]], min_area: Area) -> Iterator[NDArray[Any]]:
    """Yield the sieved rows of the parts, in bands of any height, 0 included."""
    ground = Ground(spec.georeference, spec.extent.shape)
    min_sum, weighted = ground.threshold(min_area)
    sieve, row = Sieve(min_sum), 0
    for band in read_rows(spec, parts, TIFF_BLOCK):
        yield sieve.push(band, ground.weights(Window.of(row, 0, *band.shape)) if weighted else None)
        row += len(band)
    yield sieve.finish()


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
