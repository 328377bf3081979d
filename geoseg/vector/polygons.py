"""The polygons of a class raster of any size, in batches: their outlines, and what is to be said of each.

A polygon is a 4-connected region of one class, along the edges of its pixels, with its holes. Polygons come in the
order in which they end: by the last line they reach and, along it, from left to right. Nothing depends on how many rows
come at once. In memory are the outlines of what is open, and one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.raster.class_raster import MAX_ID, ClassRaster
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.sieve import Sieve
from geoseg.units import Area
from geoseg.vector.outlines import outlines
from geoseg.vector.rings import Rings, corners, encode, polygons
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import CONFIDENCE, CONFIDENT, EDGES, PIXELS, VALUE, WEIGHT

if TYPE_CHECKING:
    import geopandas

WGS84 = pyproj.CRS.from_epsg(4326)

MEASURES = {True: ("area_m2", "perimeter_m"), False: ("area_px", "perimeter_px")}
"""Names of the columns of area and perimeter, with metres and without."""

_HEIGHT = 512


@dataclass(frozen=True)
class Placement:
    """Where pixels lie, and polygons of them. wgs84: these in longitude and latitude."""

    georeference: Georeference
    wgs84: bool = False

    @cached_property
    def ground(self) -> Ground:
        """What pixels measure."""
        return Ground(self.georeference)

    def encoded(self, rings: Rings) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return `geoseg.vector.rings.polygons` of the rings."""
        if not self.wgs84:
            return polygons(rings, self.georeference.transform, (0, 0))
        points = np.stack(self._reprojection.transform(*corners(rings, self.georeference.transform, (0, 0)).T), axis=1)
        return encode(points, rings, self._clockwise)

    @cached_property
    def _reprojection(self) -> pyproj.Transformer:
        return pyproj.Transformer.from_crs(self.georeference.wkt, WGS84, always_xy=True)

    @cached_property
    def _clockwise(self) -> bool:
        """Whether rings that are counter-clockwise with rows downwards are clockwise on the map, as they are but for
        rasters that are south-up, and CRS whose axes go west or south."""
        transform = self.georeference.transform
        x, y = zip(*(transform @ corner for corner in ((0, 0), (1, 0), (0, 1))), strict=True)
        (x0, x1, x2), (y0, y1, y2) = self._reprojection.transform(x, y)
        return bool((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) > 0)


@dataclass(frozen=True, eq=False)
class Features:
    """n polygons, of which most is computed when it is asked for, in whatever thread.

    closed: int64 (n, 8), as from `Sweep.take`. rings, lengths: of `geoseg.vector.outlines`. full: the confidence that
    stands for 1, or None.
    """

    closed: NDArray[np.int64]
    rings: Rings
    lengths: NDArray[np.int64]
    placement: Placement
    full: int | None

    def __len__(self) -> int:
        return len(self.closed)

    @property
    def values(self) -> NDArray[np.int64]:
        """Value of the pixels, (n,)."""
        return self.closed[:, VALUE]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """How many pixels, (n,)."""
        return self.closed[:, PIXELS]

    @property
    def area(self) -> NDArray[np.float64]:
        """In m², (n,); in pixels without metres."""
        return np.float64(self.placement.ground.step) * self.closed[:, WEIGHT]

    @property
    def perimeter(self) -> NDArray[np.float64]:
        """In m, (n,); in edges of pixels without metres."""
        return perimeters(self.placement.ground, self.lengths, self.rings)

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """Mean over the pixels that have any, (n,), in [0, 1]; NaN where none has."""
        if self.full is None:
            return None
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = self.closed[:, CONFIDENCE] / (self.closed[:, CONFIDENT] * self.full)
        return mean

    @cached_property
    def wkb(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All bytes of the little-endian WKB, and the places (n + 1,) between polygons."""
        return self.placement.encoded(self.rings)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in the CRS of the rectangle of pixels around all."""
        rows, cols = self.rings.vertices[:, 0], self.rings.vertices[:, 1]
        top, left = int(rows.min()), int(cols.min())
        window = Window.of(top, left, int(rows.max()) - top, int(cols.max()) - left)
        return self.placement.georeference.bounds(window)


class Polygonizer:
    """Takes the rows of a class raster from the top down, and gives polygons once they are complete.

    cols: pixels in a row. georeference: of the first pixel.
    min_area: regions below it are given to a neighbour first; see `geoseg.raster.sieve`.
    values: those to make polygons of, None for all but 0.
    confidence: returns that of some rows, unsigned (rows, cols), 0 where there is none; full: what stands for 1 there.
    noded: all that meet at a point have a vertex there, so that what is done to vertices makes no gaps.
    wgs84: coordinates are longitude and latitude.

    Raises:
        SettingError: an area in square metres where there are none.
    """

    def __init__(
        self, cols: int, georeference: Georeference, *, min_area: Area | None = None,
        values: NDArray[np.int64] | None = None, confidence: Callable[[Span], NDArray[Any]] | None = None,
        full: int = 255, noded: bool = False, wgs84: bool = False,
    ) -> None:  # fmt: skip
        self._placement = Placement(georeference, wgs84)
        self.ground = self._placement.ground
        self._values, self._confidence, self._full = values, confidence, full
        self._row = self._settled = 0
        self._sweep = Sweep(cols, noded)
        self._sieve: Sieve | None = None
        if min_area is not None:
            least, self._weighted = self.ground.threshold(min_area)
            self._sieve = Sieve(least)

    def push(self, band: NDArray[Any]) -> Iterator[Features]:
        """Take the next rows, integers (rows, cols) with 0 for nodata; yield what is complete, a batch at a time."""
        if not band.size:
            return
        if self._sieve is None:
            yield from self._trace(band)
            return
        weights = self.ground.weights(self._window(self._row, band)) if self._weighted else None
        self._row += len(band)
        yield from self._trace(self._sieve.push(band, weights))

    def finish(self) -> Iterator[Features]:
        """Yield the rest; no more rows will come."""
        if self._sieve is not None:
            yield from self._trace(self._sieve.finish())
        self._sweep.finish()
        yield from self._take()

    def _window(self, row: int, band: NDArray[Any]) -> Window:
        return Window.of(row, 0, *band.shape)

    def _trace(self, band: NDArray[Any]) -> Iterator[Features]:
        if not len(band):
            return
        window = self._window(self._settled, band)
        self._settled += len(band)
        if self._values is not None:
            band = np.where(np.isin(band, self._values), band, band.dtype.type(0))
        confidence = None if self._confidence is None else self._confidence(window.rows)
        weights, row = self.ground.weights(window), 0
        while row < len(band):
            row = self._sweep.advance(band, row, weights, confidence)
            if self._sweep.due:
                yield from self._take()

    def _take(self) -> Iterator[Features]:
        closed = self._sweep.take()
        if len(closed):
            rings, lengths, freed = outlines(closed, self._sweep.edges)
            self._sweep.release(freed, int(closed[:, EDGES].sum()))
            yield Features(closed, rings, lengths, self._placement, None if self._confidence is None else self._full)


def polygonize(raster: ClassRaster, **settings: Any) -> Iterator[Features]:
    """Yield the polygons of an open class raster; settings: of `Polygonizer`."""
    work = Polygonizer(raster.scene.shape[1], raster.scene.georeference, **settings)
    for rows in raster.spans:
        yield from work.push(raster.read(rows))
    yield from work.finish()


def to_geodataframe(
    source: Path | NDArray[Any], georeference: Georeference | None = None, names: Mapping[int, str] | None = None,
    min_area: Area | None = None,
) -> geopandas.GeoDataFrame:  # fmt: skip
    """Return the polygons of a class raster, all in memory, with the columns that `geoseg polygonize` writes.

    source: path of a class raster; or its pixels, integers (rows, cols), 0 is nodata.
    georeference, names: of pixels, where they lie (pixel space where it is None) and id -> name ('class N').
    min_area: regions below it are given to a neighbour first.

    Raises:
        InputMissingError, InputError, BandError, SettingError: see `ClassRaster`, `Polygonizer`.
        ValueError: pixels that are no integers from 0 to 2^62 - 1, or not (rows, cols).
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.dtype.kind not in "iu" or source.min(initial=0) < 0:
            raise ValueError(f"pixels must be integers (rows, cols), 0 or more, not {source.dtype} {source.shape}")
        if source.max(initial=0) >= MAX_ID:
            raise ValueError(f"pixels must be integers below {MAX_ID}, not {source.max()}")
        known = names or {}
        place = georeference or Georeference(None, Affine.identity())
        batches = _polygons_of(source.astype(source.dtype.newbyteorder("="), copy=False), place, min_area)
        return _frame(list(batches), Ground(place), lambda value: known.get(value, f"class {value}"), 0)
    with ClassRaster(source) as raster:
        batches = polygonize(raster, min_area=min_area)
        return _frame(
            list(batches), Ground(raster.scene.georeference), lambda value: raster.land_class(value).name, raster.offset
        )


def _polygons_of(pixels: NDArray[Any], place: Georeference, min_area: Area | None) -> Iterator[Features]:
    work = Polygonizer(pixels.shape[1], place, min_area=min_area)
    for start in range(0, len(pixels), _HEIGHT):
        yield from work.push(pixels[start : start + _HEIGHT])
    yield from work.finish()


def _frame(batches: list[Features], ground: Ground, name: Callable[[int], str], offset: int) -> geopandas.GeoDataFrame:
    import geopandas

    shapes = [
        batch.wkb[0][start:stop].tobytes() for batch in batches for start, stop in pairwise(batch.wkb[1].tolist())
    ]
    ids = np.concatenate([np.empty(0, np.int64), *(batch.values for batch in batches)]) - offset
    area, perimeter = MEASURES[ground.metric]
    columns = {
        "class_id": ids,
        "class": [name(value) for value in ids.tolist()],
        area: np.concatenate([np.empty(0), *(batch.area for batch in batches)]),
        perimeter: np.concatenate([np.empty(0), *(batch.perimeter for batch in batches)]),
    }
    return geopandas.GeoDataFrame(columns, geometry=geopandas.GeoSeries.from_wkb(shapes), crs=ground.georeference.wkt)


def perimeters(ground: Ground, lengths: NDArray[np.int64], rings: Rings) -> NDArray[np.float64]:
    """Return the lengths (n,) of outlines in m, or in edges of pixels without metres.

    lengths: (n, 2), in pixels along columns and along rows. rings: labelled 0..n - 1.
    Of a geographic CRS, each edge has the length of its course in (longitude, latitude) on the ellipsoid, from both
    radii of curvature at its ends and in the middle (Simpson's rule).
    """
    if ground.uniform:
        row, col = ground.georeference.pixel_size if ground.metric else (1.0, 1.0)
        return (lengths[:, 0] * row + lengths[:, 1] * col) * (ground.unit if ground.metric else 1.0)
    points = corners(rings, ground.georeference.transform, (0, 0)) * ground.unit
    after = np.arange(1, len(points) + 1)
    after[rings.offsets[1:] - 1] = rings.offsets[:-1]
    steps = points[after] - points
    ends = _speed(ground, points[:, 1], steps) + _speed(ground, points[after, 1], steps)
    edges = (ends + 4 * _speed(ground, points[:, 1] + steps[:, 1] / 2, steps)) / 6
    whose = np.repeat(rings.labels, np.diff(rings.offsets))
    sums: NDArray[np.float64] = np.bincount(whose, weights=edges, minlength=len(lengths)).astype(np.float64)
    return sums


def _speed(ground: Ground, latitude: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    major, minor = ground.crs.ellipsoid.semi_major_metre, ground.crs.ellipsoid.semi_minor_metre
    squeezed = 1 - (minor / major) ** 2
    flat = 1 - squeezed * np.sin(latitude) ** 2
    meridian, parallel = major * (1 - squeezed) / flat**1.5, major * np.cos(latitude) / np.sqrt(flat)
    length: NDArray[np.float64] = np.hypot(meridian * steps[:, 1], parallel * steps[:, 0])
    return length
