"""Edits of a class map: every cluster stays in one class, whatever is done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import SettingError
from geoseg.naming.edits import find, merge, rename, reorder, set_class, split, translation

FIVE = ClassMap.default(5)


def test_merged_classes_keep_one_id_and_all_clusters() -> None:
    found = merge(FIVE, [4, 2], into=2, name="water")
    assert [(entry.id, entry.name, entry.clusters) for entry in found.classes] == [
        (1, "class 1", (1,)), (2, "water", (2, 4)), (3, "class 3", (3,)), (5, "class 5", (5,))
    ]  # fmt: skip
    assert found[2].colour == FIVE[2].colour
    again = merge(found, [2, 5], into=5)
    assert again[5].clusters == (2, 4, 5)
    assert again.class_of_cluster() == (0, 1, 5, 3, 5, 5)


def test_a_split_class_gives_its_clusters_back_their_ids_and_names() -> None:
    merged = set_class(merge(FIVE, [4, 5], into=2, name="water"), 2, colour="#010203")
    found = split(merged, 2)
    assert [entry.id for entry in found.classes] == [1, 2, 3, 4, 5]
    assert found[2] == LandClass(2, "water", "#010203")
    assert [found[i] for i in (4, 5)] == [FIVE[i] for i in (4, 5)]
    with pytest.raises(SettingError, match="has one cluster only"):
        split(found, 2)


def test_a_split_class_takes_free_ids_and_names_where_its_own_are_taken() -> None:
    merged = reorder(merge(FIVE, [1, 2], into=1), [5, 4, 3])  # 1: 5, 2: 4, 3: 3, 4: 1 and 2
    assert merged[4].clusters == (1, 2)
    found = split(set_class(merged, 3, name="class 2"), 4)
    assert found.class_of_cluster() == (0, 4, 5, 3, 2, 1)
    assert [found[i].name for i in (3, 4, 5)] == ["class 2", "class 1", "class 2 again"]


def test_reordered_classes_are_numbered_without_gaps() -> None:
    found = reorder(merge(FIVE, [1], into=3), [5, 2])
    assert [(entry.id, entry.name, entry.clusters) for entry in found.classes] == [
        (1, "class 5", (5,)), (2, "class 2", (2,)), (3, "class 3", (1, 3)), (4, "class 4", (4,))
    ]  # fmt: skip


def test_a_class_is_named_by_its_name_or_its_id() -> None:
    classes = set_class(FIVE, 3, name="7")
    assert (find(classes, "7").id, find(classes, " class 5 ").id, find(classes, "2").id) == (3, 5, 2)
    with pytest.raises(SettingError, match="'5' is the name of class 3 and the id of another one, class 5"):
        find(set_class(FIVE, 3, name="5"), "5")
    for wrong in ("6", "0", "-1", "water", "", "²"):
        with pytest.raises(SettingError, match=r"there is no class .*; there are 1 class 1, "):
            find(classes, wrong)


def test_two_classes_cannot_get_one_name() -> None:
    with pytest.raises(SettingError, match="classes 1 and 2 are both called class 1"):
        set_class(FIVE, 2, name="class 1")


@given(st.lists(st.tuples(st.sampled_from("msr"), st.lists(st.integers(1, 6), min_size=1, max_size=3)), max_size=8))
def test_whatever_is_edited_every_cluster_has_one_class(steps: list[tuple[str, list[int]]]) -> None:
    classes = ClassMap.default(6)
    for kind, given_ids in steps:
        ids = [i for i in given_ids if i in {entry.id for entry in classes.classes}]
        if not ids:
            continue
        if kind == "m":
            classes = merge(classes, ids, into=ids[0])
        elif kind == "r":
            classes = reorder(classes, ids)
        elif len(classes[ids[0]].clusters) > 1:
            classes = split(classes, ids[0])
        assert classes.clusters == 6  # ClassMap itself refuses a cluster in two classes


def test_the_translation_of_a_map_is_by_clusters() -> None:
    old = merge(FIVE, [5], into=1)
    new = reorder(set_class(merge(old, [1, 2], into=2), 3, name="road"), [3])
    assert translation(old, new) == {0: 0, 1: 2, 2: 2, 3: 1, 4: 3}


def test_a_map_cannot_be_taken_apart() -> None:
    old = merge(FIVE, [5], into=1, name="water")
    with pytest.raises(SettingError, match=r"class 1 of the map, water, has clusters of class 1 and class 5"):
        translation(old, FIVE)
    with pytest.raises(SettingError, match="the map has 5 clusters, the new classes 4"):
        translation(old, ClassMap.default(4))


def test_a_class_without_its_own_cluster_keeps_its_first() -> None:
    classes = ClassMap((replace(LandClass.default(1), clusters=(2, 3)), replace(LandClass.default(7), clusters=(1,))))
    found = split(classes, 1)
    assert found.class_of_cluster() == (0, 7, 1, 3)


def test_classes_of_one_name_become_one_and_names_may_be_exchanged() -> None:
    found = rename(FIVE, {"4": "water", "class 2": "water", "1": "class 3", "3": "class 1"})
    assert [(entry.id, entry.name, entry.clusters) for entry in found.classes] == [
        (1, "class 3", (1,)), (2, "water", (2, 4)), (3, "class 1", (3,)), (5, "class 5", (5,))
    ]  # fmt: skip


def test_a_split_class_gets_the_names_that_clusters_had_at_first() -> None:
    merged = merge(FIVE, [4, 5], into=2)
    assert [split(merged, 2, {4: "bare", 2: "x"})[i].name for i in (2, 4, 5)] == ["class 2", "bare", "class 5"]
