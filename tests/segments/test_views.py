"""Views of superpixels: neighbours' means are those of numpy, and the same to the last bit in any window."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from helpers.rasters import landscape
from helpers.regions import local_labels, random_labels
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.recipes import Start
from geoseg.segments.descriptors import region_descriptors
from geoseg.segments.graph import region_graph
from geoseg.segments.views import dimensions, needs_graph, neighbour_means, superpixel_views, views_of

LOW, HIGH = (10.0, 20.0, 0.0), (200.0, 230.0, 180.0)


def mean_of_neighbours(labels: NDArray[Any], values: NDArray[Any], region: int) -> NDArray[Any]:
    """The mean over the pixel sides of a region that touch other regions; its own values if there are none."""
    pairs = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    sides = [*pairs, *((b, a) for a, b in pairs)]
    others = np.concatenate([there[(here == region) & (there != region) & (there > 0)] for here, there in sides])
    return np.asarray(values[others - 1].astype(float).mean(axis=0) if len(others) else values[region - 1])


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 20), st.integers(1, 30))
def test_the_view_of_neighbours_is_their_mean_along_the_border(seed: int, rows: int, cols: int, count: int) -> None:
    """Of regions that are missing or touch none too."""
    random = np.random.default_rng(seed)
    labels = random_labels(random, rows, cols, count)
    values = random.normal(size=(count + 1, 3)).astype(np.float32)
    before = values.copy()
    found = neighbour_means(region_graph(labels, count + 1), values)
    assert found.dtype == np.float32
    expected = [mean_of_neighbours(labels, values, region) for region in range(1, count + 2)]
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    assert np.array_equal(values, before)


def test_a_superpixel_without_neighbours_is_seen_among_its_like() -> None:
    labels = np.zeros((12, 12), np.int32)
    labels[1:5, 1:5], labels[7:11, 7:11] = 1, 2
    own, around = np.split(superpixel_views(landscape(12, 12), labels, 2, LOW, HIGH, "surroundings"), 2, axis=1)
    assert np.array_equal(own, around)
    assert not np.allclose(own[0], own[1])


@pytest.mark.parametrize("start", get_args(Start))
def test_views_stand_side_by_side(start: Start) -> None:
    pixels, labels = landscape(60, 60), local_labels(np.random.default_rng(0), 60, 60, 8)
    count = int(labels.max())
    graph = region_graph(labels, count)
    found = superpixel_views(pixels, labels, count, LOW, HIGH, start, threads=3)
    assert (found.shape, found.dtype) == ((count, dimensions(start, 3)), np.float32)
    tone = "brightness" if start == "brightness" else "hue"
    own = region_descriptors(pixels, labels, count, LOW, HIGH, tone)
    expected = [own] if len(views_of(start)) == 1 else [own, neighbour_means(graph, own)]
    assert np.array_equal(found, np.hstack(expected))
    assert needs_graph(start) == (start == "surroundings")
    assert np.array_equal(found, superpixel_views(pixels, labels, count, LOW, HIGH, start, graph))


@given(st.integers(0, 10_000), st.integers(0, 8), st.integers(0, 8))
def test_law_2_views_are_the_same_in_any_window_with_the_neighbours(seed: int, top: int, left: int) -> None:
    """A window has other numbers for its superpixels, in the same order."""
    labels, pixels = local_labels(np.random.default_rng(seed), 60, 60, 6), landscape(60, 60, seed=seed)
    rows, cols = slice(top, top + 52), slice(left, left + 52)
    ids, window = np.unique(labels[rows, cols], return_inverse=True)
    if ids[0]:
        ids, window = np.insert(ids, 0, 0), window + 1
    window = window.reshape(52, 52).astype(np.int32)
    whole = superpixel_views(pixels, labels, int(labels.max()), LOW, HIGH, "surroundings")
    part = superpixel_views(pixels[:, rows, cols], window, len(ids) - 1, LOW, HIGH, "surroundings")
    # A region has 12 rows and columns at most: those with a pixel in the middle have all neighbours in the window.
    middle = np.setdiff1d(labels[top + 25 : top + 27, left + 25 : left + 27], [0])
    assert np.array_equal(part[np.searchsorted(ids, middle) - 1], whole[middle - 1])
