"""Which classes are alike: the tree of merges, where it is cut, and what borders do to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from geoseg.model.appearance import Appearance
from geoseg.naming.dendrogram import draw_tree
from geoseg.naming.likeness import Tree, descriptors, tree_of


def line(*places: float) -> np.ndarray:  # type: ignore[type-arg]
    """Features of classes on a line."""
    return np.array(places, np.float64)[:, None]


EQUAL = np.full(6, 1 / 6)
PAIRS = line(0, 0.1, 5, 5.1, 9, 9.3)


def test_it_is_wards_method() -> None:
    """With equal weights w, its distance is w / 2 times the square of scipy's."""
    points = np.random.default_rng(0).normal(size=(12, 3))
    joins = tree_of(range(1, 13), points, np.full(12, 1 / 12)).joins
    expected = linkage(points, "ward")
    assert [join.distance for join in joins] == pytest.approx((expected[:, 2] ** 2 / 24).tolist())
    assert [{join.one, join.other} for join in joins] == [set(row) for row in expected[:, :2].astype(int).tolist()]
    # Without borders, the distance is what the merge costs.
    assert [join.cost for join in joins] == pytest.approx([join.distance for join in joins])


@given(st.integers(1, 9), st.integers(0, 1000), st.booleans())
def test_every_cut_shares_out_all_classes(n: int, seed: int, touching: bool) -> None:
    random = np.random.default_rng(seed)
    borders = random.integers(0, 9, (n, n))
    tree = tree_of(
        range(1, n + 1), random.normal(size=(n, 2)), random.dirichlet(np.ones(n)),
        borders + borders.T if touching else None,
    )  # fmt: skip
    assert all(one.distance <= other.distance for one, other in itertools.pairwise(tree.joins))
    assert sorted(tree.order) == list(range(1, n + 1))
    for count in range(1, n + 1):
        groups = tree.groups(count)
        assert len(groups) == count
        assert sorted(itertools.chain(*groups)) == list(range(1, n + 1))
        # Groups lie beside one another in the order of the tree, so that no lines of a picture cross.
        ends = itertools.accumulate(map(len, groups), initial=0)
        assert [tuple(sorted(tree.order[a:b])) for a, b in itertools.pairwise(ends)] == list(groups)
    assert 1 <= tree.proposed <= n


def test_classes_that_look_alike_merge_first_and_large_ones_last() -> None:
    tree = tree_of((1, 2, 3, 5, 7, 9), PAIRS, EQUAL)
    assert set(tree.groups(3)) == {(1, 2), (3, 5), (7, 9)}
    assert tree.proposed == 3
    # A class that hardly occurs joins the others at little cost.
    large = tree_of((1, 2, 3), line(0, 1, 2.2), np.array([0.5, 0.49, 0.01]))
    assert set(large.groups(2)) == {(1,), (2, 3)}


def test_of_two_pairs_as_alike_the_one_that_touches_merges_first() -> None:
    borders = np.array([[0, 1, 50, 50], [1, 0, 50, 50], [50, 50, 0, 90], [50, 50, 90, 0]])
    features, shares = line(0, 1, 10, 11), np.full(4, 0.25)
    assert set(tree_of((1, 2, 3, 4), features, shares, borders).groups(3)) == {(1,), (2,), (3, 4)}
    borders[[0, 1], [1, 0]], borders[[2, 3], [3, 2]] = 90, 1
    assert set(tree_of((1, 2, 3, 4), features, shares, borders).groups(3)) == {(1, 2), (3,), (4,)}


def test_what_was_not_seen_is_no_leaf() -> None:
    tree = tree_of((1, 2, 3), line(0, np.nan, 1), np.array([0.5, 0, 0.5]))
    assert tree.ids == (1, 3)
    assert tree_of((1,), line(0), np.ones(1)).groups(1) == ((1,),)


def test_descriptors_are_those_of_superpixels() -> None:
    appearance = Appearance(np.array([1.0]), np.array([[50.0, 100.0]]), np.array([0.08]), np.array([0.5]))
    found = descriptors(appearance, (0, 50), (100, 150))
    assert found.tolist() == [pytest.approx([np.log(0.65), np.log(0.65), np.log(0.1)])]
    unknown = Appearance(appearance.shares, appearance.means, np.array([np.nan]), appearance.confidence)
    assert descriptors(unknown, (0, 50), (100, 150)).shape == (1, 2)


def test_a_picture_has_a_row_and_a_swatch_for_every_class() -> None:
    from geoseg.classes import ClassMap

    classes = {entry.id: entry for entry in ClassMap.default(9).classes}
    tree = tree_of((1, 2, 3, 5, 8, 9), PAIRS, EQUAL)
    picture = draw_tree(tree, classes, {1: "50 %"}, 3)
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {classes[i].rgb for i in tree.ids} <= colours
    # Cut, or left whole: the line of the cut is there, or not.
    assert (213, 94, 0) in colours
    assert (213, 94, 0) not in {tuple(colour) for colour in draw_tree(tree, classes, {}, 6).reshape(-1, 3).tolist()}
    assert draw_tree(Tree((1,), ()), classes, {}, 1).shape[2] == 3
