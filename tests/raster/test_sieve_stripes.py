"""Stripes of a raster, each sieved with a margin, against the whole raster sieved at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine
from helpers.class_rasters import classes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.grid import Span, Window
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.sieve import sieve
from geoseg.raster.sieve_stripes import StripeSieve
from geoseg.units import Area

DEGREES = Georeference(CRS.from_epsg(4326), Affine(1, 0, 11, 0, -1, 60))
"""Pixels of a degree, whose areas differ from row to row."""


def whole(values: NDArray[Any], ground: Ground, area: Area) -> NDArray[Any]:
    least, weighted = ground.threshold(area)
    weights = [ground.weights(Window.of(0, 0, *values.shape))] if weighted else None
    return np.concatenate(list(sieve([values], least, weights)))


class Narrow(StripeSieve):
    """Begins with a margin of one row, which is seldom enough."""

    def _around(self, rows: Span) -> Span:
        return Span(max(0, rows.start - 1), min(self._shape[0], rows.stop + 1))


@settings(max_examples=12)
@given(classes, st.integers(2, 25), st.booleans())
def test_stripes_are_the_whole(values: NDArray[np.uint8], least: int, in_degrees: bool) -> None:
    georeference = DEGREES if in_degrees else Georeference(None, Affine.identity())
    area = Area(least * 6e9, "m2") if in_degrees else Area(least, "px")
    ground = Ground(georeference, values.shape)
    expected = whole(values, ground, area)
    for height in (1, 3, 7):
        work = Narrow(lambda rows: values[rows.start : rows.stop].copy(), ground, values.shape, area, height=4)
        found = [work.read(Span(row, min(row + height, len(values)))) for row in range(0, len(values), height)]
        np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_margin_grows_as_far_as_it_must() -> None:
    """Columns of ever smaller steps down to the last row, where what they become is decided; elsewhere it is near."""
    values = np.full((600, 9), 9, np.uint8)
    for k in range(300):
        values[2 * k : 2 * k + 2, 3:6] = 1 + k % 7
    ground, read = Ground(Georeference(None, Affine.identity()), values.shape), []

    def rows_of(rows: Span) -> NDArray[np.uint8]:
        read.append(rows)
        return values[rows.start : rows.stop].copy()

    for area, most in ((Area(3, "px"), 5 + 2 * 64), (Area(7, "px"), 600)):
        work = StripeSieve(rows_of, ground, values.shape, area)
        expected = whole(values, ground, area)
        read.clear()
        np.testing.assert_array_equal(work.read(Span(300, 305)), expected[300:305])
        assert max(span.stop for span in read) - min(span.start for span in read) == most
