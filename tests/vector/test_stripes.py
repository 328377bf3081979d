"""Polygons in stripes against one sweep over the whole raster: the same batches, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers.class_rasters import PIXELS, classes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.grid import Span
from geoseg.raster.georeference import Georeference
from geoseg.vector.frames import Frames, FrameWriter
from geoseg.vector.polygons import PolygonBatch, Polygonizer
from geoseg.vector.stripes import Joiner, StripePolygonizer
from geoseg.vector.sweep_kernels import FREE_LABELS

HEIGHTS = (1, 2, 3, 7)

PLACES = {
    "nowhere": Georeference(None, PIXELS),
    "UTM, rotated": Georeference(CRS.from_epsg(32633), Affine.translation(4e5, 5.8e6) @ Affine.rotation(30)),
    "degrees": Georeference(CRS.from_epsg(4326), Affine(0.1, 0, 11, 0, -0.1, 60)),
    "Web Mercator": Georeference(CRS.from_epsg(3857), Affine(0.5, 0, 1e6, 0, -0.5, 6e6)),
}
"""With pixels of one area, and of many, so that perimeters are computed from the outlines."""


def said(batch: PolygonBatch) -> tuple[Any, ...]:
    """All that a batch says of its polygons, in their order."""
    wkb, offsets = batch.wkb
    numbers = [batch.values, batch.pixels, batch.weights, batch.lengths, batch.rings.labels, batch.rings.holes]
    sure = batch.confidence
    return (
        *(array.astype(np.int64).tobytes() for array in numbers), batch.rings.vertices.tobytes(), offsets.tobytes(),
        wkb.tobytes(),
        batch.area.tobytes(), batch.perimeter.tobytes(), None if sure is None else sure.tobytes(), batch.bounds,
    )  # fmt: skip


class Case:
    """A raster and settings, polygonized in one sweep and in stripes."""

    def __init__(self, raster: NDArray[Any], place: str = "nowhere", **settings: Any) -> None:
        self.values, self.georeference, self.settings = raster, PLACES[place], settings
        self.sure = np.random.default_rng(int(raster.sum() % 97)).integers(0, 4, raster.shape).astype(np.uint8)

    def _confidence(self, rows: Span) -> NDArray[np.uint8]:
        return self.sure[rows.start : rows.stop]

    def whole(self) -> list[tuple[Any, ...]]:
        work = Polygonizer(
            self.values.shape[1], self.georeference, rows=len(self.values), confidence=self._confidence, **self.settings
        )
        return [said(batch) for batch in [*work.push(self.values), *work.finish()]]

    def part(self, start: int, stop: int, at_once: int = 1000) -> bytes:
        cols, rows = self.values.shape[1], len(self.values)
        work = StripePolygonizer(
            cols, self.georeference, start, rows=rows, confidence=self._confidence, **self.settings
        )
        for row in range(start, stop, at_once):
            work.take(self.values[row : min(row + at_once, stop)])
        return work.part()

    def joiner(self) -> Joiner:
        known = {name: value for name, value in self.settings.items() if name in ("noded", "wgs84")}
        return Joiner(self.values.shape, self.georeference, full=255, **known)

    def striped(self, height: int) -> list[tuple[Any, ...]]:
        joiner, found = self.joiner(), []
        for start in range(0, len(self.values), height):
            part = self.part(start, min(start + height, len(self.values)))
            found += [said(batch) for batch in joiner.push(part)]
        found += [said(batch) for batch in joiner.finish()]
        # All edges and labels are free again.
        assert joiner._sweep.kept == 0
        assert joiner._sweep._counters[FREE_LABELS] == len(joiner._sweep._labels.free)
        return found


@settings(max_examples=20)
@given(classes, st.booleans())
def test_stripes_are_one_sweep(values: NDArray[np.uint8], noded: bool) -> None:
    case = Case(values, noded=noded)
    whole = case.whole()
    for height in HEIGHTS:
        assert case.striped(height) == whole


@settings(max_examples=6)
@given(classes, st.sampled_from(sorted(PLACES)))
def test_stripes_of_any_place(values: NDArray[np.uint8], place: str) -> None:
    """Areas, perimeters and coordinates too; in degrees as GeoJSON has them, of some classes only."""
    wgs84 = place in ("degrees", "Web Mercator")
    for chosen in ({}, {"noded": True, "wgs84": wgs84, "values": np.array([1, 3])}):
        case = Case(values, place, **chosen)
        whole = case.whole()
        for height in (1, 3):
            assert case.striped(height) == whole


def spiral(size: int) -> NDArray[np.uint8]:
    """One arm of 1 that winds to the middle, in 2."""
    values = np.full((size, size), 2, np.uint8)
    row, col, down, right = 0, 0, 0, 1
    turns = 0
    while turns < 2:
        values[row, col] = 1
        ahead, beyond = (row + down, col + right), (row + 2 * down, col + 2 * right)
        free = all(0 <= place < size for place in ahead) and values[ahead] == 2
        if free and (not all(0 <= place < size for place in beyond) or values[beyond] == 2):
            row, col, turns = *ahead, 0
        else:
            down, right, turns = right, -down, turns + 1
    return values


def nested(size: int) -> NDArray[np.uint8]:
    """Holes in holes: square rings of 1, 2, 3 and nodata."""
    place = np.arange(size)
    depth = np.minimum(np.minimum.outer(place, place), np.minimum.outer(size - 1 - place, size - 1 - place))
    return np.array([1, 2, 0, 3], np.uint8)[depth % 4]


def maze(size: int) -> NDArray[np.uint8]:
    """Winding walls of 1, connected almost everywhere, in 0."""
    random = np.random.default_rng(3)
    values = np.ones((size, size), np.uint8)
    values[1:-1:2, 1:-1:2] = 0
    for row in range(1, size - 1, 2):
        for col in range(1, size - 3, 2):
            if random.random() < 0.6:
                values[row, col + 1] = 0
            elif row + 2 < size - 1:
                values[row + 1, col] = 0
    return values


CHECKERS = np.indices((30, 31)).sum(axis=0).astype(np.uint8) % 2 + 1
RASTERS = {
    "spiral": spiral(23), "turned spiral": spiral(23).T[::-1], "nested": nested(25), "maze": maze(31),
    "walls": 1 - maze(31), "checkers": CHECKERS, "one class": np.ones((20, 9), np.uint8),
    "nodata": np.zeros((20, 9), np.uint8), "comb": np.tile(np.array([1, 2], np.uint8), (20, 8)),
    "a column": np.repeat([[1], [1], [2], [0], [2]], 3, axis=0).astype(np.uint8),
    "legs": np.array([[1, 0, 0, 2, 2], [1, 0, 1, 2, 0], [1, 1, 1, 2, 2], [0, 3, 0, 0, 0]] * 2, np.uint8),
    "one row": np.array([[1, 1, 2, 0, 1]], np.uint8), "wide ids": CHECKERS.astype(np.int64) * (1 << 60),
}  # fmt: skip


@pytest.mark.parametrize("name", RASTERS)
def test_what_winds_across_stripes(name: str) -> None:
    values = np.ascontiguousarray(RASTERS[name])
    for noded in (False, True):
        case = Case(values, noded=noded)
        whole = case.whole()
        assert all(case.striped(height) == whole for height in HEIGHTS)


def test_batches_end_where_those_of_one_sweep_end() -> None:
    """They are row groups and transactions in the file, so its bytes depend on them."""
    random = np.random.default_rng(0)
    specks = random.integers(1, 4, (90, 400)).astype(np.uint8)
    fields = np.kron(random.integers(0, 3, (30, 40)), np.ones((3, 10))).astype(np.uint8)
    checkers = np.indices((60, 400)).sum(axis=0).astype(np.uint8) % 2 + 1
    few_polygons_of_many_edges = (random.random((900, 400)) < 0.58).astype(np.uint8)
    for values, most in (
        (np.concatenate([specks, fields, checkers, specks[:30]]), 4096 + 400),
        (few_polygons_of_many_edges, 4000),
    ):
        case = Case(values)
        whole = case.whole()
        assert len(whole) > 3
        assert all(len(batch[0]) < 8 * most for batch in whole)
        for height in (13, 64):
            assert case.striped(height) == whole


def test_a_part_is_the_same_whatever_rows_come_at_once() -> None:
    case = Case(np.random.default_rng(1).integers(0, 4, (40, 30)).astype(np.uint8))
    assert len({case.part(5, 33, at_once) for at_once in (1, 3, 28)}) == 1


def test_parts_have_an_order() -> None:
    case = Case(np.ones((9, 4), np.uint8))
    first, second = case.part(0, 4), case.part(4, 9)
    with pytest.raises(ValueError, match="begins with row 4 cannot follow row 0"):
        case.joiner().push(second)
    joiner = case.joiner()
    list(joiner.push(first))
    with pytest.raises(ValueError, match="end with row 4 of 9"):
        list(joiner.finish())


def stretches(tile: NDArray[Any], count: int) -> Iterator[tuple[Case, int]]:
    case = Case(np.concatenate([tile] * count))
    for index in range(count):
        yield case, index * len(tile)


def test_memory_for_joining_is_what_is_open() -> None:
    """The pool of edges and the waiting polygons do not grow with the stripes."""
    tile = np.random.default_rng(0).integers(0, 3, (32, 200)).astype(np.uint8)
    sizes = []
    for count in (4, 24):
        joiner, waiting = None, 0
        for case, start in stretches(tile, count):
            joiner = joiner or case.joiner()
            for _ in joiner.push(case.part(start, start + len(tile))):
                pass
            waiting = max(waiting, sum(len(piece.closed) for piece in joiner._waiting))
        assert joiner is not None
        sizes.append((len(joiner._sweep.edges), joiner._sweep.kept))
        assert waiting < 4096
    assert sizes[0] == sizes[1]


def test_frames_hold_arrays() -> None:
    random = np.random.default_rng(0)
    arrays = {
        "none": np.empty((0, 3), np.int32), "small": random.integers(-9, 9, (3, 5)), "odd": np.arange(7),
        "middle": np.array([1 << 30]), "large": np.array([[-1 << 60]]), "real": random.random(3),
    }  # fmt: skip
    frames = []
    for _ in range(2):
        writer = FrameWriter()
        for _ in range(3):
            writer.add(arrays)
        frames.append(writer.finish())
    assert frames[0] == frames[1]
    read = Frames(frames[0])
    assert len(read) == 3
    for name, array in read[2].items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.flags.aligned
    assert [read[0][name].dtype.str for name in arrays] == ["<i2", "<i2", "<i2", "<i4", "<i8", "<f8"]
