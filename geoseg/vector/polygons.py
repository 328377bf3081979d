"""The polygons of a class raster of any size, in batches: their outlines and their attributes.

A polygon is a 4-connected region of one class, along the edges of its pixels, with its holes. Polygons are ordered by
the last pixel row that they reach and, within it, from left to right. Nothing depends on how many rows are pushed at
once. Only the outlines of regions that are still open, and one batch, are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.sieve import Sieve
from geoseg.units import Area
from geoseg.vector.globe import Globe
from geoseg.vector.outlines import outlines
from geoseg.vector.perimeter import perimeters
from geoseg.vector.rings import Rings
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import CONFIDENCE, CONFIDENT, EDGES, PIXELS, VALUE, WEIGHT
from geoseg.vector.wkb import Wkb, encode


def measures(ground: Ground) -> tuple[str, ...]:
    """Return the names of the columns of area and perimeter, in the order of `PolygonBatch.measured`."""
    if not ground.metric:
        return "area_px", "perimeter_px"
    return ("area_m2", "planar_m2", "perimeter_m") if ground.distorted else ("area_m2", "perimeter_m")


@dataclass(frozen=True)
class Placement:
    """From pixels to coordinates.

    Attributes:
        georeference: of the raster.
        wgs84: whether coordinates are longitude and latitude (EPSG:4326) instead of those of the raster's CRS.
        shape: size (rows, cols) of the raster.
    """

    georeference: Georeference
    wgs84: bool = False
    shape: tuple[int, int] = (1, 1)

    @cached_property
    def ground(self) -> Ground:
        """What pixels measure."""
        return Ground(self.georeference, self.shape)

    def encode(self, rings: Rings) -> Wkb:
        """Return the WKB of the polygons; exteriors are counter-clockwise, holes clockwise."""
        return self._globe.encode(rings) if self.wgs84 else encode(rings, self.georeference.transform)

    @cached_property
    def _globe(self) -> Globe:
        return Globe(self.georeference, self.shape)


@dataclass(frozen=True, eq=False)
class PolygonBatch:
    """n polygons. Attributes and geometries are computed on access, in the thread that asks for them.

    Attributes:
        closed: int64 (n, 8), from `Sweep.take`.
        rings: outlines, labelled 0..n - 1.
        lengths: int64 (n, 2), see `geoseg.vector.outlines`.
        placement: where the pixels lie.
        full: the value of the confidence raster that stands for 1; None without confidence.
        perimeters: perimeters (n,) in m if they are known already.
    """

    closed: NDArray[np.int64]
    rings: Rings
    lengths: NDArray[np.int64]
    placement: Placement
    full: int | None
    perimeters: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.closed)

    @property
    def values(self) -> NDArray[np.int64]:
        """Value of the pixels, (n,)."""
        return self.closed[:, VALUE]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Number of pixels, (n,)."""
        return self.closed[:, PIXELS]

    @property
    def weights(self) -> NDArray[np.int64]:
        """Area in steps of `Ground.step`, (n,)."""
        return self.closed[:, WEIGHT]

    @property
    def area(self) -> NDArray[np.float64]:
        """Area in m², (n,); in pixels where there are no metres."""
        return np.float64(self.placement.ground.step) * self.weights

    @property
    def perimeter(self) -> NDArray[np.float64]:
        """Perimeter in m, (n,); in edges of pixels where there are no metres."""
        if self.perimeters is not None:
            return self.perimeters
        return perimeters(self.placement.ground, self.lengths, self.rings)

    @property
    def measured(self) -> list[Any]:
        """The columns that `measures` names."""
        ground = self.placement.ground
        planar = [self.pixels * np.float64(ground.planar_area)] if ground.distorted else []
        return [self.area, *planar, self.perimeter]

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """Mean confidence in [0, 1] over the pixels that have any, (n,); NaN where no pixel has."""
        if self.full is None:
            return None
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = self.closed[:, CONFIDENCE] / (self.closed[:, CONFIDENT] * self.full)
        return mean

    @cached_property
    def wkb(self) -> Wkb:
        """The geometries as little-endian WKB: all bytes, and offsets (n + 1,)."""
        return self.placement.encode(self.rings)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in the raster's CRS of the smallest window of pixels around all polygons."""
        rows, cols = self.rings.vertices[:, 0], self.rings.vertices[:, 1]
        top, left = int(rows.min()), int(cols.min())
        window = Window.of(top, left, int(rows.max()) - top, int(cols.max()) - left)
        return self.placement.georeference.bounds(window)


class Polygonizer:
    """Takes the rows of a class raster from top to bottom, and returns polygons as they are completed.

    Args:
        cols: pixels in a row.
        georeference: of the raster; its first pixel is that of the first row pushed.
        min_area: smaller regions are merged into a neighbour first; see `geoseg.raster.sieve`.
        values: the values to polygonize, int64 (n,); None for all but 0.
        confidence: returns the confidence of a span of rows, unsigned (rows, cols), 0 where there is none.
        full: the confidence value that stands for 1.
        noded: whether all polygons that meet at a point get a vertex there, so that moving vertices opens no gaps.
        wgs84: whether coordinates are longitude and latitude.
        rows: how many rows will be pushed, if that is known; see `Ground` for what depends on it.

    Raises:
        SettingError: `min_area` is in square metres, and the raster has no CRS with metres.
    """

    def __init__(
        self, cols: int, georeference: Georeference, *, min_area: Area | None = None,
        values: NDArray[np.int64] | None = None, confidence: Callable[[Span], NDArray[Any]] | None = None,
        full: int = 255, noded: bool = False, wgs84: bool = False, rows: int = 1,
    ) -> None:  # fmt: skip
        self._placement = Placement(georeference, wgs84, (rows, cols))
        self.ground = self._placement.ground
        self._values, self._confidence, self._full = values, confidence, full
        self._pushed_rows = self._swept_rows = 0
        self._sweep = Sweep(cols, noded)
        self._sieve: Sieve | None = None
        if min_area is not None:
            min_sum, self._weighted = self.ground.threshold(min_area)
            self._sieve = Sieve(min_sum)

    def push(self, band: NDArray[Any]) -> Iterator[PolygonBatch]:
        """Take the next rows, integers (rows, cols) with 0 for nodata; yield completed polygons, a batch at a time."""
        if not band.size:
            return
        if self._sieve is None:
            yield from self._trace(band)
            return
        weights = self.ground.weights(Window.of(self._pushed_rows, 0, *band.shape)) if self._weighted else None
        self._pushed_rows += len(band)
        yield from self._trace(self._sieve.push(band, weights))

    def finish(self) -> Iterator[PolygonBatch]:
        """Yield the remaining polygons; no more rows may be pushed."""
        if self._sieve is not None:
            yield from self._trace(self._sieve.finish())
        self._sweep.finish()
        yield from self._take()

    def _trace(self, band: NDArray[Any]) -> Iterator[PolygonBatch]:
        if not len(band):
            return
        window = Window.of(self._swept_rows, 0, *band.shape)
        self._swept_rows += len(band)
        if self._values is not None:
            band = np.where(np.isin(band, self._values), band, band.dtype.type(0))
        confidence = None if self._confidence is None else self._confidence(window.rows)
        weights, row = self.ground.weights(window), 0
        while row < len(band):
            row = self._sweep.advance(band, row, weights, confidence)
            if self._sweep.due:
                yield from self._take()

    def _take(self) -> Iterator[PolygonBatch]:
        closed = self._sweep.take()
        if len(closed):
            rings, lengths, freed = outlines(closed, self._sweep.edges)
            self._sweep.release(freed, int(closed[:, EDGES].sum()))
            yield PolygonBatch(
                closed, rings, lengths, self._placement, None if self._confidence is None else self._full
            )


def polygonize(raster: ClassRaster, **settings: Any) -> Iterator[PolygonBatch]:
    """Yield the polygons of an open class raster, a batch at a time; settings: keyword arguments of `Polygonizer`."""
    rows, cols = raster.scene.shape
    polygonizer = Polygonizer(cols, raster.scene.georeference, rows=rows, **settings)
    for span in raster.spans:
        yield from polygonizer.push(raster.read(span))
    yield from polygonizer.finish()
