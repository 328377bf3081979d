"""The graph of regions is the one that comparing all pixels finds, and the same in any window and with any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.regions import random_labels
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.segments.graph import RegionGraph, region_graph

Borders = dict[int, dict[int, int]]


def reference(labels: NDArray[Any], count: int) -> Borders:
    """Region -> its neighbours, in the order in which a raster scan meets them -> border."""
    found: Borders = {region: {} for region in range(1, count + 1)}
    for (row, col), label in np.ndenumerate(labels):
        left, above = labels[row, max(col - 1, 0)], labels[max(row - 1, 0), col]
        for other in (left, above):
            if label and other and label != other:
                for one, two in ((label, other), (other, label)):
                    found[int(one)][int(two)] = found[int(one)].get(int(two), 0) + 1
    return found


def borders(graph: RegionGraph) -> Borders:
    """The same of a graph."""
    assert (graph.start.dtype, graph.neighbours.dtype, graph.borders.dtype) == (np.int64, np.int32, np.int32)
    assert graph.start[0] == graph.start[1] == 0
    assert graph.start[-1] == len(graph.neighbours) == len(graph.borders)
    spans = [slice(graph.start[region], graph.start[region + 1]) for region in range(len(graph.start) - 1)]
    return {
        region: dict(zip(graph.neighbours[span].tolist(), graph.borders[span].tolist(), strict=True))
        for region, span in enumerate(spans)
        if region
    }


def assert_same(found: Borders, expected: Borders) -> None:
    """Both name the same neighbours in the same order, with the same borders."""
    assert {region: list(each.items()) for region, each in found.items()} == {
        region: list(each.items()) for region, each in expected.items()
    }


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30), st.integers(1, 60))
def test_the_graph_is_that_of_all_pairs_of_pixels(seed: int, rows: int, cols: int, count: int) -> None:
    labels = random_labels(np.random.default_rng(seed), rows, cols, count)
    assert_same(borders(region_graph(labels, count + 1)), reference(labels, count + 1))


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 5))
def test_the_graph_does_not_depend_on_threads(seed: int, rows: int, threads: int) -> None:
    labels = random_labels(np.random.default_rng(seed), rows, 25, 30)
    assert_same(borders(region_graph(labels, 30, threads)), borders(region_graph(labels, 30)))


@given(st.integers(0, 10_000), st.integers(0, 10), st.integers(0, 10))
def test_law_2_a_region_has_the_same_neighbours_in_any_window_around_it(seed: int, top: int, left: int) -> None:
    """A window, also one that is no array of its own, that holds a region and all pixels beside it."""
    labels = random_labels(np.random.default_rng(seed), 40, 40, 150, cell=4)
    window = labels[top : top + 30, left : left + 30]
    whole, part = (borders(region_graph(each, 150)) for each in (labels, window))
    edge = np.ones(labels.shape, bool)
    edge[top + 1 : top + 29, left + 1 : left + 29] = False
    inside = set(range(1, 151)) - set(np.unique(labels[edge]).tolist())
    assert_same({region: part[region] for region in inside}, {region: whole[region] for region in inside})


def test_a_region_may_have_any_number_of_neighbours() -> None:
    """10 000 holes of one pixel each in one region; a list of its neighbours searched in turn would take minutes."""
    labels = np.full((201, 201), 10_001, np.int32)
    labels[1::2, 1::2] = np.arange(1, 10_001).reshape(100, 100)
    graph = region_graph(labels, 10_001)
    assert np.array_equal(graph.neighbours, [10_001] * 10_000 + [*range(1, 10_001)])
    assert np.array_equal(graph.borders, [4] * 20_000)


def test_every_pixel_may_be_a_region() -> None:
    for shape in ((70, 90), (1, 3000), (3000, 1)):
        rows, cols = shape
        labels = np.random.default_rng(0).permutation(rows * cols).reshape(shape).astype(np.int32) + 1
        for threads in (1, 3):
            graph = region_graph(labels, rows * cols, threads)
            assert len(graph.neighbours) == 2 * (rows * (cols - 1) + (rows - 1) * cols)
            assert graph.borders.min() == graph.borders.max() == 1
        assert_same(borders(graph), reference(labels, rows * cols))


def test_there_may_be_no_regions_or_no_neighbours() -> None:
    for shape in ((0, 0), (0, 5), (5, 0), (1, 1), (4, 6)):
        for count in (0, 3):
            graph = region_graph(np.zeros(shape, np.int32), count, threads=2)
            assert borders(graph) == {region: {} for region in range(1, count + 1)}
    alone = np.array([[1, 1, 0, 2], [1, 1, 0, 2]], np.int32)
    assert borders(region_graph(alone, 4)) == {1: {}, 2: {}, 3: {}, 4: {}}
