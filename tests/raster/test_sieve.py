"""The sieve against its rule, word by word, whatever the rows that come at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers.class_rasters import HEIGHTS, bands, classes, sieved
from helpers.commandline import first_band
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from skimage.measure import label

from geoseg.grid import Block, Window, partition
from geoseg.raster.cog import write_part
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.mosaic import RasterSpec
from geoseg.raster.sieve import Sieve, Surroundings, margin, sieve, sieve_parts
from geoseg.raster.sieve_cut import Cut
from geoseg.units import Area


def joined(values: NDArray[Any], least: int, height: int, weights: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """The array after the sieve, which gets it in bands."""
    before = values.copy()
    areas = None if weights is None else bands(weights, height)
    found = list(sieve(bands(values, height), least, areas))
    np.testing.assert_array_equal(values, before)
    return np.concatenate([values[:0], *found])


@settings(max_examples=60)
@given(classes, st.integers(1, 25))
def test_the_rule(values: NDArray[np.uint8], least: int) -> None:
    expected = sieved(values, least)
    for height in HEIGHTS:
        np.testing.assert_array_equal(joined(values, least, height), expected)


@given(classes, st.integers(1, 60), st.booleans(), st.integers(0, 99))
def test_the_rule_where_pixels_are_not_of_one_size(
    values: NDArray[np.uint8], least: int, by_row: bool, seed: int
) -> None:
    shape = (len(values), 1) if by_row else values.shape
    weights = np.random.default_rng(seed).integers(1, 6, shape)
    expected = sieved(values, least, weights)
    for height in HEIGHTS:
        np.testing.assert_array_equal(joined(values, least, height, weights), expected)


@given(classes, st.integers(2, 25))
def test_what_is_left(values: NDArray[np.uint8], least: int) -> None:
    """Nodata is neither taken nor given away; only regions with nothing but nodata around them are small."""
    found = joined(values, least, 5)
    np.testing.assert_array_equal(found == 0, values == 0)
    regions = label(found, background=0, connectivity=1)
    islands = label(values > 0, background=0, connectivity=1)
    for region in range(1, regions.max() + 1):
        inside = regions == region
        if inside.sum() < least:
            assert (inside == (islands == islands[inside][0])).all()
    np.testing.assert_array_equal(joined(found, least, 3), found)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The longest edge wins, over all neighbours of a value together.
        (["22222", "21133", "22133"], ["22222", "22233", "22233"]),
        (["2232", "2212", "2232", "2222"], ["2222", "2222", "2222", "2222"]),
        # Of equals, the value whose pixel comes first.
        (["3333", "3122", "2222"], ["3333", "3322", "2222"]),
        (["32", "12"], ["22", "22"]),
        # The smallest goes first, and may be what makes another large enough.
        (["1112", "1113", "1113"], ["1111", "1111", "1111"]),
    ],
)
def test_examples(rows: list[str], expected: list[str]) -> None:
    values = np.array([[int(letter) for letter in row] for row in rows], np.uint8)
    wanted = np.array([[int(letter) for letter in row] for row in expected], np.uint8)
    np.testing.assert_array_equal(sieved(values, 4), wanted)
    np.testing.assert_array_equal(joined(values, 4, 1), wanted)


def test_chains_of_regions_that_wait_for_each_other() -> None:
    """Each is a pixel larger than the one before, so the last one cannot be decided before the first."""
    rows = [np.full((1, 40), 1 + k % 5, np.uint8) for k in range(30)]
    for k, row in enumerate(rows):
        row[0, 5 + k :] = 0
    values = np.concatenate(rows)
    for turned in (values, values[::-1], values.T, values[::-1].T):
        turned = np.ascontiguousarray(turned)
        expected = sieved(turned, 40)
        for height in (1, 3, 7):
            np.testing.assert_array_equal(joined(turned, 40, height), expected)


def test_rows_leave_when_they_are_settled() -> None:
    """What waits depends on the regions, not on the raster."""
    random = np.random.default_rng(3)
    values = random.integers(1, 5, (4000, 60)).astype(np.uint8)
    work, given_out, most = Sieve(12), 0, 0
    for number, band in enumerate(bands(values, 20), start=1):
        given_out += len(work.push(band))
        most = max(most, 20 * number - given_out)
    given_out += len(work.finish())
    assert given_out == 4000
    assert most < 200


def test_large_ids_and_many_neighbours() -> None:
    values = np.full((3, 60), 0, np.int64)
    values[0] = values[2] = np.arange(1, 61) + (1 << 40)
    values[1] = 7
    expected = sieved(values, 61)
    np.testing.assert_array_equal(joined(values, 61, 2), expected)
    assert len(list(sieve([], 5))) == 0


def test_parts_of_a_map(tmp_path: Path) -> None:
    """They come back as full rows, sieved by areas that change from row to row, and what no part has stays nodata."""
    values = np.random.default_rng(4).integers(1, 4, (1300, 40)).astype(np.uint8)
    values[512:1024, 20:] = 0
    where = Georeference(CRS.from_epsg(4326), Affine(0.1, 0, 11, 0, -0.05, 65))
    extent = Window.of(100, 200, *values.shape)
    spec = RasterSpec(extent, where, "uint8", "classes", {})
    parts = []
    for block in partition(extent, 36):
        piece = values[block.window.within(extent)]
        if piece.any():
            write_part(tmp_path / f"{block.index}.tif", piece)
            parts.append((block, tmp_path / f"{block.index}.tif"))
    area, ground = Area(3e8), Ground(where)
    found, _ = sieve_parts(tmp_path, spec, parts, area)
    joined = np.zeros_like(values)
    for block, path in found:
        assert block.window.cols == extent.cols
        joined[block.window.within(extent)] = first_band(path)
    weights = ground.weights(Window.of(0, 0, *values.shape))
    assert weights[0] < 0.9 * weights[-1]
    least, weighted = ground.threshold(area)
    assert weighted
    np.testing.assert_array_equal(joined, np.concatenate(list(sieve([values], least, [weights]))))
    assert [len(block.window.rows) for block, _ in found] == [512, 512, 276]
    # What is settled at the end alone.
    found, _ = sieve_parts(tmp_path, spec, parts, Area(1e15))
    assert [len(block.window.rows) for block, _ in found] == [512, 512, 276]
    assert len({int(first_band(path).max()) for _, path in found}) == 1


def certain(values: NDArray[Any], least: int, cut: Cut, height: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The array after the sieve, which gets it in bands, and which pixels are in doubt."""
    work = Sieve(least, cut)
    found, doubts = [], []
    for step in [*[partial(work.push, band) for band in bands(values, height)], work.finish]:
        found.append(step())
        doubts.append(np.zeros(found[-1].shape, bool) if work.doubtful is None else work.doubtful)
        assert doubts[-1].shape == found[-1].shape
    return np.concatenate(found), np.concatenate(doubts)


@settings(max_examples=60)
@given(classes, st.integers(2, 25), st.data())
def test_law_2_what_is_certain_of_a_part_is_that_of_the_whole(
    values: NDArray[np.uint8], least: int, data: st.DataObject
) -> None:
    """Whatever is cut off on whichever sides, in bands of any height."""
    whole = sieved(values, least)
    rows, cols = values.shape
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, cols))
    part = values[top:bottom, left:right]
    for height in HEIGHTS[:2]:
        result, doubtful = certain(part, least, Cut(top > 0, bottom < rows, left > 0, right < cols), height)
        np.testing.assert_array_equal(result[~doubtful], whole[top:bottom, left:right][~doubtful])
        np.testing.assert_array_equal(result == 0, part == 0)
        if part.shape == values.shape:
            assert not doubtful.any()


def test_parts_of_a_part(tmp_path: Path) -> None:
    """The part that is wanted comes out, with the weights of the scene's pixels and the number of doubtful ones."""
    random = np.random.default_rng(5)
    values = np.kron(random.integers(1, 5, (40, 45)), np.ones((6, 6))).astype(np.uint8)
    scene, georeference = (
        Window.of(0, 0, *values.shape),
        Georeference(CRS.from_epsg(4326), Affine(1e-3, 0, 9, 0, -1e-3, 52)),
    )
    part, area = Window.of(80, 90, 70, 90), Area.parse("500000m2")
    around = margin(georeference, part, scene, area)
    assert around == part.expand(64, scene)

    def sieve_of(extent: Window, wanted: Window) -> tuple[NDArray[Any], int]:
        spec = RasterSpec(extent, georeference.shifted(extent), "uint8", "classes", {})
        path = tmp_path / "part.tif"
        write_part(path, values[extent.within(scene)])
        blocks = [(Block(0, extent), path)]
        found, doubtful = sieve_parts(tmp_path, spec, blocks, area, Surroundings(wanted, scene, georeference))
        result = np.zeros(wanted.shape, np.uint8)
        for block, piece in found:
            result[block.window.within(wanted)] = first_band(piece)
        return result, doubtful

    whole, none = sieve_of(scene, scene)
    assert none == 0
    found, doubtful = sieve_of(around, part)
    assert doubtful == 0
    np.testing.assert_array_equal(found, whole[part.within(scene)])
    found, doubtful = sieve_of(part, part)
    wrong = (found != whole[part.within(scene)]).sum()
    assert 0 < wrong <= doubtful < found.size


def test_a_small_region_at_a_cut_is_in_doubt_and_what_waits_for_it_too() -> None:
    rows = ["22222222", "11322222", "11342222", "22222222"]
    values = np.array([[int(value) for value in row] for row in rows], np.uint8)
    result, doubtful = certain(values, 5, Cut(left=True), 4)
    # 4 precedes 3, which precedes 1; what the latter becomes depends on what lies left of it.
    np.testing.assert_array_equal(doubtful, values == 1)
    np.testing.assert_array_equal(result[:, 2:], np.full((4, 6), 2))
