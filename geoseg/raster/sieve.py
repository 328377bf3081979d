"""The sieve: regions below a least area join the neighbour with the longest common edge, in a raster of any length.

The rule, as if all of the raster were at hand. Of the 4-connected regions of equal value that are smaller than the
least area and have a neighbour other than nodata, the one with the smallest area (of equals, the one whose first pixel
in raster order comes first) takes the value with which it has the longest common edge. Neighbours of one value count
together, for they become one region with it; of equals, the value counts whose adjacent pixel comes first in raster
order. This is repeated until no such region is left. Nodata, 0, is neither taken nor given away.

A region does not have to wait for its turn: it may go as soon as it comes before all its small neighbours, for nothing
that comes earlier can change those, or itself. A neighbour of which more may come counts with what is there, for it
can only grow. So rows leave as soon as all their regions are settled, and nothing depends on how many come at once.
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
    bands: Iterable[NDArray[Any]], least: int, weights: Iterable[NDArray[np.int64]] | None = None
) -> Iterator[NDArray[Any]]:
    """Yield the rows of a class raster, sieved, in bands of other heights than they came in.

    bands: (rows, cols) of class values from the top down; 0 is nodata. least, weights: see `Sieve`; of each band.
    """
    work = Sieve(least)
    for band, areas in zip(bands, repeat(None) if weights is None else weights, strict=False):
        settled = work.push(band, areas)
        if len(settled):
            yield settled
    settled = work.finish()
    if len(settled):
        yield settled


class Sieve:
    """Takes rows and gives them back once they are settled.

    least: the area below which a region is small: in pixels, or in the unit of the weights that come with the rows.

    In memory are the rows down from the first that small regions without a decision reach, and about as many more.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._values: list[NDArray[Any]] = []
        self._weights: list[NDArray[np.int64]] = []
        # Of the waiting rows, those that were looked at and not settled; before them, once there is one, is a row that
        # was settled.
        self._old = self._new = self._above = 0

    def push(self, band: NDArray[Any], weights: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Take the next rows (rows, cols); return those that are settled since, none or some.

        weights: areas of the pixels, int64, (rows, 1) or (rows, cols); 1 where there are none.
        """
        self._values.append(band)
        self._weights.append(np.ones((len(band), 1), np.int64) if weights is None else weights)
        self._new += len(band)
        # Another look at the old rows is worth it for as many new ones.
        return self._settle(last=False) if self._new >= max(self._old, 1) else band[:0]

    def finish(self) -> NDArray[Any]:
        """Return the rows that are left; no more will come."""
        return self._settle(last=True) if self._values else np.empty((0, 0), np.uint8)

    def _settle(self, last: bool) -> NDArray[Any]:
        values, weights = np.concatenate(self._values), np.concatenate(self._weights)
        settled = merge_small(values, weights, self._least, bool(self._above), last)
        done, kept = values[self._above : settled], max(settled - 1, 0)
        self._above = min(settled, 1)
        self._values, self._weights = [values[kept:].copy()], [weights[kept:]]
        self._old, self._new = len(values) - settled, 0
        return done


def sieve_parts(
    folder: Path, spec: RasterSpec, parts: Sequence[tuple[Block, Path]], least: Area
) -> list[tuple[Block, Path]]:
    """Write the class raster that `parts` make up, sieved, as parts of 512 full rows in `folder`, and return these.

    Raises:
        SettingError: an area in square metres where there are none. WriteError: the file system failed.
    """
    sieved = []
    extent, row = spec.extent, 0
    for index, slab in enumerate(_slabs(_settled(spec, parts, least))):
        window = Window.of(extent.rows.start + row, extent.cols.start, *slab.shape)
        path = folder / f"part-sieved-{index:06d}.tif"
        write_part(path, slab)
        sieved.append((Block(index, window), path))
        row += len(slab)
    return sieved


def _settled(spec: RasterSpec, parts: Sequence[tuple[Block, Path]], area: Area) -> Iterator[NDArray[Any]]:
    ground = Ground(spec.georeference)
    least, weighted = ground.threshold(area)
    sieve, row = Sieve(least), 0
    for band in read_rows(spec, parts, TIFF_BLOCK):
        yield sieve.push(band, ground.weights(Window.of(row, 0, *band.shape)) if weighted else None)
        row += len(band)
    yield sieve.finish()


def _slabs(bands: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the same rows, 512 at a time."""
    rows: NDArray[Any] | None = None
    for band in bands:
        if not len(band):
            continue
        rows = band if rows is None else np.concatenate([rows, band])
        while len(rows) >= TIFF_BLOCK:
            yield rows[:TIFF_BLOCK]
            rows = rows[TIFF_BLOCK:]
        # Not a view, so that what was yielded may go.
        rows = rows.copy()
    if rows is not None and len(rows):
        yield rows
