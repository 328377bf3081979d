"""Scores: held against matrices computed by hand, against brute force, and against what must not change them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.classes import IGNORED
from geoseg.evaluation.confusion import Confusion
from geoseg.evaluation.scores import (
    UNMATCHED,
    adjusted_rand_index,
    match_many_to_one,
    match_one_to_one,
    normalised_mutual_information,
    score,
)

# Clusters 1..3 against classes 0..2; cluster 3 shares most with class 0, which cluster 1 needs more.
HAND = np.array([[50, 10, 0], [5, 20, 0], [9, 1, 5]])

SMALL = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([2, 12, 1000]))


def counts_of(shape: tuple[int, int, int, int]) -> NDArray[np.int64]:
    """Random counts (K, C) below a bound; with a bound of 2 they are full of ties and of empty rows."""
    clusters, classes, seed, bound = shape
    return np.random.default_rng(seed).integers(0, bound, size=(clusters, classes))


def pixels_of(counts: NDArray[np.int64], seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arrays (n,) of cluster ids and class indices with these counts, shuffled."""
    clusters, classes = np.nonzero(counts)
    order = np.random.default_rng(seed).permutation(counts.sum())
    times = counts[clusters, classes]
    return np.repeat(clusters + 1, times)[order], np.repeat(classes, times)[order]


def injections(clusters: int, classes: int) -> list[tuple[int, ...]]:
    """Every way to give clusters classes, none twice, with as many as possible matched."""
    if clusters <= classes:
        return list(itertools.permutations(range(classes), clusters))
    found = []
    for chosen in itertools.permutations(range(clusters), classes):
        match = [UNMATCHED] * clusters
        for place, cluster in enumerate(chosen):
            match[cluster] = place
        found.append(tuple(match))
    return found


def accumulate(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], clusters: int, classes: int, **settings: int
) -> Confusion:
    """The confusion matrix of pairs (predicted, truth)."""
    confusion = Confusion(clusters, classes, **settings)
    for predicted, truth in pairs:
        confusion.add(predicted, truth)
    return confusion


def same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b))


def test_one_to_one_by_hand() -> None:
    scores = score(HAND, match_one_to_one(HAND))
    assert scores.match.tolist() == [0, 1, 2]
    assert scores.matrix.tolist() == [[50, 10, 0], [5, 20, 0], [9, 1, 5], [0, 0, 0]]
    assert scores.accuracy == 75 / 100
    np.testing.assert_allclose(scores.iou, [50 / 74, 20 / 36, 5 / 15])
    np.testing.assert_allclose(scores.recall, [50 / 64, 20 / 31, 1])
    np.testing.assert_allclose(scores.precision, [50 / 60, 20 / 25, 5 / 15])
    assert same(scores.mean_iou, (50 / 74 + 20 / 36 + 5 / 15) / 3)


def test_many_to_one_by_hand() -> None:
    scores = score(HAND, match_many_to_one(HAND))
    assert scores.match.tolist() == [0, 1, 0]
    assert scores.matrix.tolist() == [[59, 11, 5], [5, 20, 0], [0, 0, 0], [0, 0, 0]]
    assert scores.accuracy == 79 / 100
    np.testing.assert_allclose(scores.iou, [59 / 80, 20 / 36, 0])
    np.testing.assert_allclose(scores.precision, [59 / 75, 20 / 25, np.nan])


def test_more_clusters_than_classes_the_rest_is_wrong() -> None:
    counts = np.array([[10, 0], [4, 1], [0, 20], [0, 0]])
    scores = score(counts, match_one_to_one(counts))
    assert scores.match.tolist() == [0, UNMATCHED, 1, UNMATCHED]
    assert scores.matrix.tolist() == [[10, 0], [0, 20], [4, 1]]
    assert scores.accuracy == 30 / 35
    np.testing.assert_allclose(scores.iou, [10 / 14, 20 / 21])
    np.testing.assert_allclose(scores.precision, [1, 1])
    assert score(counts, match_many_to_one(counts)).accuracy == 34 / 35


def test_fewer_clusters_than_classes_the_rest_has_no_iou() -> None:
    counts = np.array([[3, 5, 2]])
    scores = score(counts, match_one_to_one(counts))
    assert scores.match.tolist() == [1]
    np.testing.assert_allclose(scores.iou, [0, 0.5, 0])
    np.testing.assert_allclose(scores.precision, [np.nan, 0.5, np.nan])
    assert same(scores.mean_iou, 1 / 6)


def test_one_pixel_outweighs_any_iou() -> None:
    # The other way round 59 pixels agree, with IoU of 30/90 + 29/89 against 60/119.
    assert match_one_to_one(np.array([[60, 30], [29, 0]])).tolist() == [0, UNMATCHED]
    # As many pixels either way: the two clusters with the higher IoU.
    assert match_one_to_one(np.array([[60, 30], [30, 0]])).tolist() == [1, 0]


def test_a_class_without_a_pixel_is_not_in_the_mean() -> None:
    counts = np.array([[6, 0, 0], [0, 0, 3]])
    scores = score(counts, match_one_to_one(counts))
    np.testing.assert_array_equal(scores.iou, [1, np.nan, 1])
    np.testing.assert_array_equal(scores.recall, [1, np.nan, 1])
    assert (scores.accuracy, scores.mean_iou) == (1, 1)


def test_nothing_at_all_scores_nothing() -> None:
    counts = np.zeros((2, 3), np.int64)
    for match in (match_one_to_one(counts), match_many_to_one(counts)):
        assert match.tolist() == [UNMATCHED, UNMATCHED]
        scores = score(counts, match)
        assert math.isnan(scores.accuracy)
        assert math.isnan(scores.mean_iou)


@given(SMALL)
def test_no_permutation_beats_the_match(shape: tuple[int, int, int, int]) -> None:
    counts = counts_of(shape)
    found = score(counts, match_one_to_one(counts))
    others = [score(counts, np.array(match)) for match in injections(*counts.shape)]
    assert found.hits.sum() == max(other.hits.sum() for other in others)
    # Of equally good matches, the one with the most IoU; classes of the counts below 1000 tie often enough.
    tied = [np.nansum(other.iou) for other in others if other.hits.sum() == found.hits.sum()]
    assert np.nansum(found.iou) >= max(tied) - 1e-9


@given(SMALL)
def test_a_match_uses_no_class_twice_and_no_cluster_for_nothing(shape: tuple[int, int, int, int]) -> None:
    counts = counts_of(shape)
    match = match_one_to_one(counts)
    used = np.flatnonzero(match != UNMATCHED)
    assert len(set(match[used].tolist())) == used.size
    assert (counts[used, match[used]] > 0).all()
    np.testing.assert_array_equal(match, match_one_to_one(counts.copy()))


@given(SMALL, st.randoms())
def test_names_of_clusters_do_not_matter(shape: tuple[int, int, int, int], random: Any) -> None:
    counts = counts_of(shape)
    order = list(range(len(counts)))
    random.shuffle(order)
    for matching in (match_one_to_one, match_many_to_one):
        one, two = score(counts, matching(counts)), score(counts[order], matching(counts[order]))
        assert same(one.accuracy, two.accuracy)
        assert same(one.mean_iou, two.mean_iou)
    for index in (adjusted_rand_index, normalised_mutual_information):
        assert same(index(counts), index(counts[order]))


@given(SMALL)
def test_many_to_one_is_at_least_one_to_one(shape: tuple[int, int, int, int]) -> None:
    counts = counts_of(shape)
    one, many = score(counts, match_one_to_one(counts)), score(counts, match_many_to_one(counts))
    assert many.hits.sum() >= one.hits.sum()
    np.testing.assert_array_equal(one.matrix.sum(axis=0), counts.sum(axis=0))
    np.testing.assert_array_equal(many.matrix.sum(axis=0), counts.sum(axis=0))


@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_perfect_map_scores_one(classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, size=50)])
    names = random.permutation(classes) + 1
    counts = accumulate([(names[truth], truth)], classes, classes).counts
    for matching in (match_one_to_one, match_many_to_one):
        scores = score(counts, matching(counts))
        assert (scores.accuracy, scores.mean_iou) == (1, 1)
        assert (scores.match[names - 1] == np.arange(classes)).all()
    assert same(adjusted_rand_index(counts), 1)
    assert same(normalised_mutual_information(counts), 1)


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 5), st.sampled_from(["uint8", "uint16", "int32"]))
def test_in_pieces_as_at_once(seed: int, clusters: int, classes: int, dtype: str) -> None:
    random = np.random.default_rng(seed)
    predicted = random.integers(0, clusters + 1, size=(13, 17)).astype(dtype)
    truth = random.integers(-1, classes, size=(13, 17))
    whole = accumulate([(predicted, truth)], clusters, classes)
    cuts = sorted(random.integers(0, 14, size=3).tolist())
    rows = zip([0, *cuts], [*cuts, 13], strict=True)
    pieces = accumulate(((predicted[a:b], truth[a:b]) for a, b in rows), clusters, classes)
    expected = np.array(
        [[((predicted == k + 1) & (truth == c)).sum() for c in range(classes)] for k in range(clusters)]
    )
    for found in (whole, pieces):
        np.testing.assert_array_equal(found.counts, expected)
        np.testing.assert_array_equal(
            found.uncovered, [((predicted == 0) & (truth == c)).sum() for c in range(classes)]
        )
        assert found.ignored == (truth == IGNORED).sum()
        assert found.counts.dtype == np.int64


def test_an_array_longer_than_a_chunk_is_counted_whole() -> None:
    random = np.random.default_rng(0)
    predicted, truth = random.integers(0, 4, size=(30, 40)), random.integers(-1, 3, size=(30, 40))
    whole = accumulate([(predicted, truth)], 3, 3)
    small = accumulate([(predicted, truth)], 3, 3, chunk=7)
    np.testing.assert_array_equal(small.counts, whole.counts)
    np.testing.assert_array_equal(small.uncovered, whole.uncovered)
    assert small.ignored == whole.ignored


@pytest.mark.parametrize(
    ("predicted", "truth", "words"),
    [
        ([4], [0], "predicted is in 4..4; cluster ids are 0..3"),
        ([-1], [0], "predicted is in -1..-1"),
        ([1, 1], [0, 2], "truth is in 0..2; class indices are 0..1"),
        ([1], [-2], "truth is in -2..-2"),
        ([1, 1], [0], r"predicted has shape \(2,\), truth has shape \(1,\)"),
    ],
)
def test_values_that_cannot_be_are_refused(predicted: Sequence[int], truth: Sequence[int], words: str) -> None:
    confusion = Confusion(3, 2)
    with pytest.raises(ValueError, match=words):
        confusion.add(np.array(predicted), np.array(truth))
    assert not confusion.counts.any()


@given(SMALL)
def test_adjusted_rand_index_counts_pairs(shape: tuple[int, int, int, int]) -> None:
    counts = counts_of((*shape[:3], min(shape[3], 12)))
    clusters, classes = pixels_of(counts)
    n = clusters.size
    together = [v[:, None] == v[None, :] for v in (clusters, classes)]
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    a, b, both = (int((v & upper).sum()) for v in (*together, together[0] & together[1]))
    chance = a * b / (n * (n - 1) / 2) if n > 1 else 0.0
    expected = (both - chance) / ((a + b) / 2 - chance) if (a + b) / 2 != chance else 1.0
    assert math.isclose(adjusted_rand_index(counts), expected, abs_tol=1e-9)


def test_indices_by_hand() -> None:
    # scikit-learn's documentation of adjusted_rand_score: [0, 0, 1, 2] against [0, 0, 1, 1].
    assert same(adjusted_rand_index(np.array([[2, 0], [0, 1], [0, 1]])), 4 / 7)
    # H(U) = 1.5 bit, H(V) = 1 bit, I = 1 bit.
    assert same(normalised_mutual_information(np.array([[2, 0], [0, 1], [0, 1]])), 2 / 2.5)
    independent = np.array([[4, 8], [1, 2]])
    assert same(normalised_mutual_information(independent), 0)
    assert abs(adjusted_rand_index(independent)) < 0.2
    one_group = np.array([[7]])
    assert (adjusted_rand_index(one_group), normalised_mutual_information(one_group)) == (1, 1)


def test_counts_of_whole_cities_are_exact() -> None:
    counts = np.array([[10**13, 3], [5, 10**13 + 1]])
    assert match_one_to_one(counts).tolist() == [0, 1]
    assert match_one_to_one(counts[::-1]).tolist() == [1, 0]
    assert 1 - 1e-11 < adjusted_rand_index(counts) < 1
