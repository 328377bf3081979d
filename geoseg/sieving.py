"""The sieve over the parts of a run: new parts, with small regions given to their neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.areas import Ground
from geoseg.grid import Block, Window
from geoseg.raster import TIFF_BLOCK, RasterSpec, read_rows, write_part
from geoseg.sieve import Sieve
from geoseg.units import Area


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
    least, weighted = ground.least(area)
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
