"""The sieve for a stripe of a raster: what its rows are after the whole raster was sieved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.raster.ground import Ground
from geoseg.raster.sieve import Sieve, margin
from geoseg.raster.sieve_cut import Cut
from geoseg.units import Area

_GROWTH = 4


class StripeSieve:
    """Sieves stripes of a raster, each with as many rows around it as decide what its small regions become.

    In memory are the stripe and the rows that wait to be settled.

    Args:
        read: returns the values of a span of rows, integers (rows, cols); 0 is nodata.
        ground: of the raster.
        shape: size (rows, cols) of the raster.
        min_area: the minimum area.
        height: rows to read at once.

    Raises:
        SettingError: `min_area` is in square metres, and the raster has no CRS with metres.
    """

    def __init__(
        self, read: Callable[[Span], NDArray[Any]], ground: Ground, shape: tuple[int, int], min_area: Area,
        height: int = 256,
    ) -> None:  # fmt: skip
        self._read, self._ground, self._shape, self._height = read, ground, shape, height
        self._min_area = min_area
        self._min_sum, self._weighted = ground.threshold(min_area)

    def read(self, rows: Span) -> NDArray[Any]:
        """Return the sieved values of the rows of a stripe, the same as if the whole raster were sieved at once."""
        around = self._around(rows)
        while True:
            found = self._sieved(rows, around)
            if found is not None:
                return found
            more = _GROWTH * max(rows.start - around.start, around.stop - rows.stop)
            around = Span(max(0, rows.start - more), min(self._shape[0], rows.stop + more))

    def _around(self, rows: Span) -> Span:
        scene = Window.of(0, 0, *self._shape)
        return margin(self._ground.georeference, Window(rows, scene.cols), scene, self._min_area).rows

    def _sieved(self, rows: Span, around: Span) -> NDArray[Any] | None:
        """Sieve `around`, and return `rows`; None if pixels of theirs depend on what is beyond it."""
        sieve = Sieve(self._min_sum, Cut(around.start > 0, around.stop < self._shape[0]))
        done, kept = around.start, []
        for settled in self._settled(sieve, around):
            given = Span(done, done + len(settled))
            wanted = rows.intersect(given).within(given)
            if sieve.doubtful is not None and sieve.doubtful[wanted].any():
                return None
            kept.append(settled[wanted].copy())
            done = given.stop
        return np.concatenate(kept)

    def _settled(self, sieve: Sieve, around: Span) -> Iterator[NDArray[Any]]:
        for start in range(around.start, around.stop, self._height):
            rows = Span(start, min(start + self._height, around.stop))
            place = Window(rows, Span(0, self._shape[1]))
            yield sieve.push(self._read(rows), self._ground.weights(place) if self._weighted else None)
        yield sieve.finish()
