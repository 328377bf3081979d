"""Overviews: by votes of classes and by means of quantities, the same however a raster is divided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from geoseg.grid import Window, partition
from geoseg.raster.overviews import AVERAGE, MODE, NEAREST, Pyramid, halve, halve_pixels, level_shapes

SMALL = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3))


def quads(values: NDArray[Any]) -> Iterator[tuple[int, int, list[int]]]:
    """Row and column of each pixel of the first overview, and the up to four pixels below it in raster order."""
    for row in range(0, values.shape[0], 2):
        for col in range(0, values.shape[1], 2):
            yield row // 2, col // 2, values[row : row + 2, col : col + 2].ravel().tolist()


def of_classes(count: int) -> NDArray[np.bool_]:
    return np.zeros(count, np.bool_)


@settings(max_examples=60, deadline=None)
@given(SMALL)
def test_the_most_frequent_class_wins_and_the_first_of_equals(values: NDArray[np.uint8]) -> None:
    seen = of_classes(256)
    halved, weights = halve_pixels(values, MODE, seen)
    for row, col, pixels in quads(values):
        votes = [value for value in pixels if value]
        expected = max(votes, key=lambda value: (votes.count(value), -votes.index(value)), default=0)
        assert (halved[row, col], weights[row, col]) == (expected, votes.count(expected))
    assert set(np.flatnonzero(seen)) - {0} == set(values.ravel().tolist()) - {0}


@settings(max_examples=60, deadline=None)
@given(SMALL)
def test_nodata_does_not_enter_a_mean_and_halves_are_rounded_to_even(values: NDArray[np.uint8]) -> None:
    halved, weights = halve_pixels(values, AVERAGE, of_classes(0))
    for row, col, pixels in quads(values):
        valid = [value for value in pixels if value]
        assert halved[row, col] == (round(sum(valid) / len(valid)) if valid else 0)
        assert weights[row, col] == len(valid)


def test_a_pixel_votes_with_the_pixels_that_it_stands_for() -> None:
    """Class 1 has two of the four pixels of the first overview, but class 2 most pixels below them."""
    values = np.array([[1, 1, 2, 2], [2, 3, 2, 2], [1, 1, 2, 2], [3, 2, 2, 2]], np.uint8)
    halved, weights = halve_pixels(values, MODE, of_classes(256))
    assert halved.tolist() == [[1, 2], [1, 2]]
    top, votes = halve(halved, weights, MODE)
    assert (top.tolist(), votes.tolist()) == ([[2]], [[8]])


def test_a_mean_counts_each_pixel_of_full_resolution_once() -> None:
    values = np.zeros((4, 4), np.uint8)
    values[:2, :2], values[3, 3] = 100, 200
    top, counts = halve(*halve_pixels(values, AVERAGE, of_classes(0)), AVERAGE)
    assert (top.tolist(), counts.tolist()) == ([[120]], [[5]])


def test_large_values_and_weights_do_not_overflow() -> None:
    values, weights = np.full((2, 2), (1 << 32) - 1, np.uint32), np.full((2, 2), 65535, np.uint16)
    for how in (MODE, AVERAGE):
        halved, sums = halve(values, weights, how)
        assert (halved.tolist(), sums.tolist()) == ([[(1 << 32) - 1]], [[65535]])


def whole(values: NDArray[Any], how: str, block: int) -> list[NDArray[Any]]:
    """All overviews, each made at once."""
    shapes = level_shapes(values.shape, block)
    found = halve_pixels(values, how, of_classes(1 << 16))
    made = [found[0]]
    for rows, cols in shapes[1:-1]:
        odd = ((0, rows % 2), (0, cols % 2))
        found = halve(np.pad(found[0], odd), np.pad(found[1], odd) if found[1].size else found[1], how)
        made.append(found[0])
    return made[: len(shapes) - 1]


@pytest.mark.parametrize("how", [MODE, AVERAGE, NEAREST])
@pytest.mark.parametrize(("shape", "size"), [((83, 109), 16), ((83, 109), 48), ((64, 128), 32), ((5, 200), 64)])
def test_law_2_overviews_do_not_depend_on_blocks(how: str, shape: tuple[int, int], size: int) -> None:
    """Some blocks are missing, as nodata has no part."""
    block, random = 16, np.random.default_rng(3)
    values = random.integers(0, 4, shape).astype(np.uint16)
    extent = Window.of(0, 0, *shape)
    blocks = [each for each in partition(extent, size) if each.index % 4 != 1]
    present = np.zeros(shape, np.uint16)
    for each in blocks:
        present[each.window.within(extent)] = values[each.window.within(extent)]
    pyramid = Pyramid(shape, "uint16", how, block)
    levels = [
        np.zeros((-(-rows // block) * block, -(-cols // block) * block), int) for rows, cols in pyramid.shapes[1:]
    ]

    def keep(found: Iterator[Any]) -> None:
        for one in found:
            place = np.s_[one.row * block :, one.col * block :]
            assert not levels[one.level - 1][place][:block, :block].any(), "a block comes once"
            levels[one.level - 1][place][:block, :block] = one.values

    for each in blocks:
        top, left = each.window.rows.start, each.window.cols.start
        keep(pyramid.settle(top))
        halved = halve_pixels(present[each.window.within(extent)], how, of_classes(1 << 16))
        keep(pyramid.add(1, top // 2, left // 2, halved))
    keep(pyramid.settle())
    for made, expected in zip(levels, whole(present, how, block), strict=True):
        np.testing.assert_array_equal(made[: expected.shape[0], : expected.shape[1]], expected)
        assert np.count_nonzero(made) == np.count_nonzero(expected)


def test_blocks_wait_only_for_rows_to_come() -> None:
    """What waits after a row of blocks is at most a row of blocks of each level that is not complete."""
    side, pyramid = 32, Pyramid((512, 512), "uint8", MODE, 8)
    waiting = []
    for each in partition(Window.of(0, 0, 512, 512), side):
        top, left = each.window.rows.start, each.window.cols.start
        for found in (pyramid.settle(top), pyramid.add(1, top // 2, left // 2, (
            np.ones((16, 16), np.uint8), np.ones((16, 16), np.uint16),
        ))):  # fmt: skip
            for _ in found:
                pass
        waiting.append(len(pyramid._waiting))
    assert max(waiting) <= 8 + 4 + 2 + 1
    assert waiting[-1] == 0
