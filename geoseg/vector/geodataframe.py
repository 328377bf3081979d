"""The polygons of a class raster as a GeoDataFrame, for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.raster.class_raster import MAX_ID, ClassRaster
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.units import Area
from geoseg.vector.polygons import PolygonBatch, Polygonizer, measures, polygonize

if TYPE_CHECKING:
    import geopandas

_ROWS = 512
"""Rows of an array that are polygonized at once."""


def to_geodataframe(
    source: Path | NDArray[Any], georeference: Georeference | None = None, names: Mapping[int, str] | None = None,
    min_area: Area | None = None,
) -> geopandas.GeoDataFrame:  # fmt: skip
    """Return the polygons of a class raster, all in memory, with the columns that `geoseg polygonize` writes.

    Args:
        source: path of a class raster; or class ids, integers (rows, cols), where 0 is nodata.
        georeference: position of an array; None for pixel coordinates. Ignored for a path.
        names: class id -> name of an array's classes; any other is called "class N". Ignored for a path.
        min_area: smaller regions are merged into a neighbour first; see `geoseg.raster.sieve`.

    Raises:
        InputMissingError, InputError, BandError: the file is not a class raster; see `ClassRaster`.
        SettingError: `min_area` is in square metres, and the raster has no CRS with metres.
        ValueError: an array that is not integers from 0 to 2^62 - 1, or not (rows, cols).
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.dtype.kind not in "iu" or source.min(initial=0) < 0:
            raise ValueError(f"pixels must be integers (rows, cols), 0 or more, not {source.dtype} {source.shape}")
        if source.max(initial=0) >= MAX_ID:
            raise ValueError(f"pixels must be integers below {MAX_ID}, not {source.max()}")
        known = names or {}
        position = georeference or Georeference(None, Affine.identity())
        batches = _polygons_of(source.astype(source.dtype.newbyteorder("="), copy=False), position, min_area)
        return _frame(
            list(batches), Ground(position, source.shape), lambda value: known.get(value, f"class {value}"), 0
        )
    with ClassRaster(source) as raster:
        batches = polygonize(raster, min_area=min_area)
        ground = Ground(raster.scene.georeference, raster.scene.shape)
        return _frame(list(batches), ground, lambda value: raster.land_class(value).name, raster.offset)


def _polygons_of(pixels: NDArray[Any], georeference: Georeference, min_area: Area | None) -> Iterator[PolygonBatch]:
    polygonizer = Polygonizer(pixels.shape[1], georeference, min_area=min_area, rows=len(pixels))
    for start in range(0, len(pixels), _ROWS):
        yield from polygonizer.push(pixels[start : start + _ROWS])
    yield from polygonizer.finish()


def _frame(
    batches: list[PolygonBatch], ground: Ground, name: Callable[[int], str], offset: int
) -> geopandas.GeoDataFrame:
    import geopandas

    shapes = [
        batch.wkb[0][start:stop].tobytes() for batch in batches for start, stop in pairwise(batch.wkb[1].tolist())
    ]
    ids = np.concatenate([np.empty(0, np.int64), *(batch.values for batch in batches)]) - offset
    names = measures(ground)
    values = zip(*(batch.measured for batch in batches), strict=True) if batches else ([] for _ in names)
    columns = {
        "class_id": ids,
        "class": [name(value) for value in ids.tolist()],
        **{measure: np.concatenate([np.empty(0), *found]) for measure, found in zip(names, values, strict=True)},
    }
    return geopandas.GeoDataFrame(columns, geometry=geopandas.GeoSeries.from_wkb(shapes), crs=ground.georeference.wkt)
