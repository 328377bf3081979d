"""Mean field is that of plain numpy, and the same to the last bit in any window and with any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.regions import local_labels, random_labels
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.segments.descriptors import region_descriptors
from geoseg.segments.graph import RegionGraph, region_graph
from geoseg.segments.smoothing import edge_weights, mean_field

Case = tuple[RegionGraph, NDArray[np.float32], NDArray[np.float32]]


def case(seed: int, regions: int, classes: int) -> Case:
    """A graph, features of its regions, and log probabilities."""
    random = np.random.default_rng(seed)
    graph = region_graph(random_labels(random, 25, 25, regions), regions)
    features = random.normal(size=(regions + 1, 4)).astype(np.float32)
    return graph, features, random.normal(0, 3, size=(regions + 1, classes)).astype(np.float32)


def dense(graph: RegionGraph, values: NDArray[Any]) -> NDArray[np.float64]:
    """The values of the edges as a matrix, (n + 1, n + 1)."""
    regions = len(graph.start) - 1
    matrix = np.zeros((regions, regions))
    matrix[np.repeat(np.arange(regions), np.diff(graph.start)), graph.neighbours] = values
    return matrix


def softmax(values: NDArray[Any]) -> NDArray[np.float64]:
    shifted = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def pair() -> RegionGraph:
    """Regions 1 and 2 side by side, and 3 apart."""
    return region_graph(np.array([[1, 2, 0, 3]], np.int32), 3)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_weights_are_those_of_numpy(seed: int, regions: int) -> None:
    graph, features, _ = case(seed, regions, 1)
    weights = edge_weights(graph, features)
    assert weights.dtype == np.float32
    shares = dense(graph, graph.borders)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    distances = ((features[:, None].astype(np.float64) - features) ** 2).sum(axis=-1)
    assert np.allclose(dense(graph, weights), shares * np.exp(-distances / 2), rtol=1e-5, atol=1e-12)


def test_weights_of_equals_are_shares_of_the_border_and_those_of_far_ones_are_zero() -> None:
    graph = region_graph(np.array([[1, 1, 1], [2, 2, 3]], np.int32), 3)
    features = np.ones((4, 3), np.float32)
    assert edge_weights(graph, features).tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3, 1 / 3, 1 / 2, 1 / 2])
    features[3] = 1e30
    assert edge_weights(graph, features).tolist() == pytest.approx([2 / 3, 0, 2 / 3, 0, 0, 0])


@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([1, 2, 5, 24, 300]),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5, 4.0, 20.0]),
)
def test_mean_field_is_that_of_numpy(seed: int, regions: int, classes: int, rounds: int, coupling: float) -> None:
    graph, features, log_p = case(seed, regions, classes)
    weights = edge_weights(graph, features)
    q = mean_field(log_p, graph, weights, coupling, rounds)
    assert (q.shape, q.dtype) == (log_p.shape, np.float32)
    expected, matrix = softmax(log_p), dense(graph, weights)
    for _ in range(rounds):
        expected = softmax(log_p + coupling * (matrix @ expected))
    assert np.allclose(q[1:], expected[1:], atol=2e-5)
    assert np.abs(q[1:].sum(axis=1, dtype=np.float64) - 1).max() < 1e-6
    assert not q[0].any()


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_mean_field_does_not_depend_on_threads(seed: int, threads: int) -> None:
    graph, features, log_p = case(seed, 37, 7)
    weights = edge_weights(graph, features)
    one, more = (mean_field(log_p, graph, weights, 4, 3, each) for each in (1, threads))
    assert np.array_equal(one, more)


def smoothed(labels: NDArray[np.int32], pixels: NDArray[np.uint8], rounds: int) -> NDArray[np.float32]:
    """The posterior at each pixel of an array that numbers its regions from 1 on without gaps, as it follows from
    their descriptors."""
    ids, local = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    local = local[1:].reshape(labels.shape).astype(np.int32)
    graph = region_graph(local, len(ids) - 1)
    features = np.zeros((len(ids), len(pixels) + 1), np.float32)
    features[1:] = region_descriptors(pixels, local, len(ids) - 1, [0] * 3, [255] * 3, "hue")
    log_p = np.concatenate([features, -features], axis=1)
    posterior = mean_field(log_p, graph, edge_weights(graph, features), 4, rounds)
    found: NDArray[np.float32] = posterior[local]
    return found


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_law_2_smoothing_reaches_one_region_further_in_each_round(rounds: int) -> None:
    """With regions within `reach` of each of their pixels, the posterior in a block is exact in a window with
    rounds * (reach + 1) + reach pixels around it, and with half of that it is not."""
    random = np.random.default_rng(rounds)
    cell = 4
    labels, reach = local_labels(random, 90, 90, cell), 2 * cell - 1
    pixels = random.integers(0, 256, (3, 90, 90)).astype(np.uint8)
    whole = smoothed(labels, pixels, rounds)
    margin, block = rounds * (reach + 1) + reach, (slice(40, 50), slice(42, 52))

    def block_in_window(margin: int) -> NDArray[np.float32]:
        rows, cols = (slice(each.start - margin, each.stop + margin) for each in block)
        return smoothed(labels[rows, cols], pixels[:, rows, cols], rounds)[margin:-margin, margin:-margin]

    assert np.array_equal(block_in_window(margin), whole[block])
    assert not np.array_equal(block_in_window(margin // 2), whole[block])


def test_neighbours_come_to_agree_and_a_region_without_any_stays() -> None:
    log_p = np.log(np.array([[1, 1], [0.9, 0.1], [0.45, 0.55], [0.45, 0.55]], np.float32))
    graph = pair()
    before, after = (mean_field(log_p, graph, np.ones(2, np.float32), 4, rounds) for rounds in (0, 3))
    assert before[1:].argmax(axis=1).tolist() == [0, 1, 1]
    assert after[1:].argmax(axis=1).tolist() == [0, 0, 1]
    assert np.array_equal(after[3], before[3])


@pytest.mark.parametrize("coupling", [0.5, 4.0])
def test_rounds_end_in_the_fixed_point(coupling: float) -> None:
    """Of two equal regions, q = sigmoid(log odds + coupling (2 q - 1))."""
    log_p = np.array([[0, 0], [0.3, 0], [0.3, 0], [0, 0]], np.float32)
    q = mean_field(log_p, pair(), np.ones(2, np.float32), coupling, 200)
    expected = 0.6
    for _ in range(200):
        expected = 1 / (1 + np.exp(-(0.3 + coupling * (2 * expected - 1))))
    assert q[1:3, 0].tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert np.allclose(mean_field(np.log(q + np.float32(1e-9)), pair(), np.ones(2, np.float32), 0, 1)[1:], q[1:])


def test_uniform_regions_stay_uniform() -> None:
    q = mean_field(np.zeros((4, 5), np.float32), pair(), np.ones(2, np.float32), 4, 7)
    assert np.allclose(q[1:], 0.2)


def test_far_apart_logits_stay_finite() -> None:
    log_p = np.array([[0] * 3, [3e4, -3e4, 0], [-3e38, 3e38, 0], [-100, -100, -100]], np.float32)
    for rounds in (0, 3):
        q = mean_field(log_p, pair(), np.ones(2, np.float32), 4, rounds)
        assert np.allclose(q[1:], [[1, 0, 0], [0, 1, 0], [1 / 3] * 3])


def test_there_may_be_no_regions() -> None:
    graph = region_graph(np.zeros((5, 5), np.int32), 0)
    assert len(edge_weights(graph, np.zeros((1, 4), np.float32))) == 0
    q = mean_field(np.zeros((1, 3), np.float32), graph, np.zeros(0, np.float32), 4, 3, threads=2)
    assert q.tolist() == [[0, 0, 0]]
