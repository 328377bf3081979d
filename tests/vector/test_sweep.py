"""Components and their outlines, against GDAL and shapely, whatever the rows that come at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import shapely
from helpers.class_rasters import HEIGHTS, PIXELS, bands, classes, rasterio_shapes
from hypothesis import given, settings
from numpy.typing import NDArray

from geoseg.vector.outlines import outlines
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import (
    CONFIDENCE,
    CONFIDENT,
    EDGES,
    FREE,
    FREE_LABELS,
    NEXT,
    SPARE,
    USED,
    VALUE,
    WEIGHT,
)
from geoseg.vector.sweep_kernels import PIXELS as COUNT
from geoseg.vector.wkb import encode

Found = list[tuple[list[int], list[int], bytes]]
"""Of each component: value, pixels, weight, confidence, confident; lengths of the outline; WKB."""


def swept(
    values: NDArray[Any], height: int, noded: bool = False, weights: Any = None, confidence: Any = None,
    sweep: Sweep | None = None,
) -> Found:  # fmt: skip
    """Sweep over an array in bands, and check that everything that was kept is released."""
    weights = np.ones((len(values), 1), np.int64) if weights is None else weights
    sweep, found, start = sweep or Sweep(values.shape[1], noded), [], 0
    for band in bands(values, height):
        rows, row = slice(start, start + height), 0
        while row < len(band):
            sure = None if confidence is None else confidence[rows]
            row = sweep.advance(band, row, weights[rows], sure)
            found += taken(sweep) if sweep.due else []
        start += height
    sweep.finish()
    found += taken(sweep)
    assert sweep.kept == 0
    assert sweep._counters[FREE_LABELS] == 2 * (values.shape[1] + 3)
    return found


def taken(sweep: Sweep) -> Found:
    closed = sweep.take()
    rings, lengths, freed = outlines(closed, sweep.edges)
    sweep.release(freed, int(closed[:, EDGES].sum()))
    wkb, offsets = encode(rings, PIXELS, (0, 0))
    said = closed[:, [VALUE, COUNT, WEIGHT, CONFIDENCE, CONFIDENT]].tolist()
    return [
        (numbers, outline, wkb[start:stop].tobytes())
        for numbers, outline, (start, stop) in zip(said, lengths.tolist(), pairwise(offsets), strict=True)
    ]


def shapes_of(found: Found) -> NDArray[Any]:
    return shapely.from_wkb([wkb for _, _, wkb in found])


@settings(max_examples=150)
@given(classes)
def test_components_are_those_of_gdal(values: NDArray[np.uint8]) -> None:
    found = swept(values, 3)
    shapes = shapes_of(found)
    assert sorted(
        (said[0], shapely.normalize(shape).wkb) for (said, _, _), shape in zip(found, shapes, strict=True)
    ) == (rasterio_shapes(values))
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert shapely.area(shapes).tolist() == [said[1] for said, _, _ in found]
    assert shapely.length(shapes).tolist() == [sum(lengths) for _, lengths, _ in found]


@given(classes)
def test_nothing_depends_on_the_rows_that_come_at_once(values: NDArray[np.uint8]) -> None:
    """Neither order nor bytes, with vertices where others meet or without."""
    for noded in (False, True):
        whole = swept(values, len(values), noded)
        assert all(swept(values, height, noded) == whole for height in HEIGHTS)


@given(classes)
def test_rings_have_a_fixed_form(values: NDArray[np.uint8]) -> None:
    """Each begins with its first vertex in raster order, the exterior first, then holes in that order; a vertex is
    where the ring turns."""
    for shape in shapes_of(swept(values, 2)):
        starts = []
        for ring in (shape.exterior, *shape.interiors):
            points = shapely.get_coordinates(ring)[:-1]
            corners = [(-y, x) for x, y in points.tolist()]
            assert corners[0] == min(corners)
            starts.append(corners[0])
            assert ((np.diff(points, axis=0, append=points[:1]) != 0).sum(axis=1) == 1).all()
            vertical = np.diff(points, axis=0, append=points[:1])[:, 0] == 0
            assert (vertical != np.roll(vertical, 1)).all()
        assert starts == sorted(starts)


@given(classes)
def test_noded_components_are_a_coverage(values: NDArray[np.uint8]) -> None:
    """The same regions, and neighbours share every vertex of their common edges."""
    plain, noded = swept(values, 3), swept(values, 3, noded=True)
    assert [entry[:2] for entry in noded] == [entry[:2] for entry in plain]
    shapes = shapes_of(noded)
    assert shapely.is_valid(shapes).all()
    assert shapely.equals(shapes, shapes_of(plain)).all()
    assert shapely.coverage_is_valid(shapes)
    for ring in shapely.get_rings(shapes):
        assert (np.diff(shapely.get_coordinates(ring), axis=0) != 0).any(axis=1).all()


def test_noded_holes_have_a_vertex_where_regions_within_them_meet() -> None:
    values = np.array([[1, 1, 1, 1], [1, 2, 3, 1], [1, 1, 1, 1]], np.uint8)
    found = swept(values, 1, noded=True)
    around = shapes_of(found)[[said[0] for said, _, _ in found].index(1)]
    assert shapely.get_coordinates(around.interiors[0]).tolist() == [
        [1, -1], [2, -1], [3, -1], [3, -2], [2, -2], [1, -2], [1, -1],
    ]  # fmt: skip


@given(classes)
def test_sums_are_those_of_the_pixels(values: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(int(values.sum()))
    each, rows = random.integers(1, 9, values.shape), random.integers(1, 9, (len(values), 1))
    confidence = random.integers(0, 3, values.shape).astype(np.uint8)
    for weights in (each, rows):
        found = swept(values, 2, weights=weights, confidence=confidence)
        total = np.broadcast_to(weights, values.shape)
        inside = values > 0
        sums = np.sum([said for said, _, _ in found], axis=0)[1:] if found else np.zeros(4)
        sure = confidence[inside]
        assert sums.tolist() == [inside.sum(), total[inside].sum(), sure.sum(), np.count_nonzero(sure)]
        for said, _, wkb in found:
            if said[1] == 1:
                col, row = shapely.get_coordinates(shapely.from_wkb(wkb))[0] * (1, -1)
                at = int(row), int(col)
                assert said[2:] == [total[at], confidence[at], confidence[at] != 0]


def test_corners_that_are_met_again() -> None:
    """Holes that touch the outline, or each other, at a corner, and regions that only meet there."""
    rows = ["11111", "10101", "11011", "10111", "11110", "00001"]
    values = np.array([[int(letter) for letter in row] for row in rows], np.uint8)
    assert sorted(
        (said[0], shapely.normalize(shape).wkb)
        for (said, _, _), shape in zip(swept(values, 2), shapes_of(swept(values, 2)), strict=True)
    ) == rasterio_shapes(values)
    checkers = np.indices((40, 41)).sum(axis=0) % 2 + 1
    assert len(swept(checkers.astype(np.uint16), 3)) == 40 * 41


def test_arms_that_are_joined_keep_their_holes() -> None:
    """One without a hole to one with, and these to a third, from either side."""
    rows = ["111010111", "101010101", "111010111", "111110111", "111111111"]
    values = np.array([[int(letter) for letter in row] for row in rows], np.uint8)
    for turned in (values, np.ascontiguousarray(values[:, ::-1])):
        (found,) = shapes_of(swept(turned, 1))
        assert len(found.interiors) == 2
        assert rasterio_shapes(turned) == [(1, shapely.normalize(found).wkb)]


def test_an_arch_that_is_joined_on_both_sides_in_one_row() -> None:
    """Its second leg is met when it has become part of another component."""
    rows = ["1111111", "1000001", "1010101", "1110111"]
    values = np.array([[int(letter) for letter in row] for row in rows], np.uint8)
    for turned in (values, np.ascontiguousarray(values[:, ::-1])):
        ((said, _, wkb),) = swept(turned, 1)
        assert said[1] == turned.sum() == shapely.area(shapely.from_wkb(wkb))


def test_nothing_depends_on_which_edges_are_free() -> None:
    """Any edge may be the first of a hole, of a ring, of the free ones."""
    rows = ["111010111", "101010101", "111010111", "111110111", "111111111", "101111101", "110000011", "111111111"]
    values = np.array([[int(letter) for letter in row] for row in rows], np.uint8)
    for turned in (values, np.ascontiguousarray(values[:, ::-1])):
        expected = swept(turned, 1)
        for seed in range(60):
            sweep, order = Sweep(9), np.random.default_rng(seed).permutation(60)
            sweep.edges[order, NEXT] = np.append(order[1:], -1)
            sweep._counters[[FREE, USED, SPARE]] = order[0], 60, 60
            assert swept(turned, 1, sweep=sweep) == expected


def test_what_is_closed_is_due() -> None:
    """However many rows come: there is room for a batch and what one row may close."""
    checkers = (np.indices((60, 300)).sum(axis=0) % 2 + 1).astype(np.uint8)
    sweep, row = Sweep(300), 0
    while row < len(checkers):
        row = sweep.advance(checkers, row, np.ones((60, 1), np.int64))
        assert not sweep.due or 4096 <= len(sweep.take()) < 4096 + 300


def test_many_components_close_in_one_row() -> None:
    """More than a batch of them, and more edges than the pool began with."""
    comb = np.ones((4, 30_000), np.uint8)
    comb[1:3, 1::2] = 2
    assert len(swept(comb, 4)) == 15_001
    checkers = np.indices((120, 300)).sum(axis=0) % 2 + 1
    assert len(swept(checkers.astype(np.uint8), 120)) == 120 * 300
    dots = np.zeros((3, 30_000), np.int64)
    dots[1, ::2] = np.arange(1, 15_001)
    found = swept(dots, 1)
    assert [said[0] for said, _, _ in found] == list(range(1, 15_001))


def test_memory_is_what_is_open() -> None:
    """The pool does not grow with the rows, and is as large as the outline of what is open."""
    random = np.random.default_rng(0)
    tile = random.integers(0, 3, (64, 300)).astype(np.uint8)
    sizes = []
    for repeats in (4, 40):
        sweep = Sweep(300)
        for _ in range(repeats):
            row = 0
            while row < len(tile):
                row = sweep.advance(tile, row, np.ones((64, 1), np.int64))
                if sweep.due:
                    taken(sweep)
        taken(sweep)
        sizes.append((len(sweep.edges), sweep.kept))
    assert sizes[0] == sizes[1]
    comb = Sweep(300)
    teeth = np.tile(np.array([[1] * 300, [1, 0] * 150], np.uint8), (200, 1))
    comb.advance(teeth, 0, np.ones((400, 1), np.int64))
    assert 200 * 298 < comb.kept < 200 * 303


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 1), (1, 5)])
def test_thin_rasters(shape: tuple[int, int]) -> None:
    values = np.ones(shape, np.uint8)
    assert [said[1] for said, _, _ in swept(values, 2)] == ([values.size] if values.size else [])
    assert swept(np.zeros_like(values), 2) == []
