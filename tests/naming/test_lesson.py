"""The classes of a lesson: named and numbered by the values of references, joined with those known before."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from helpers.models import make_model
from helpers.teaching import taught

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import SettingError
from geoseg.naming.lesson import lesson_of


def test_names_are_numbered_in_their_order() -> None:
    found = lesson_of(make_model(), ["water", "Beet", "straße <&>"], {}, False)
    assert [(entry.id, entry.name, entry.clusters) for entry in found.classes.classes] == [
        (1, "Beet", (1,)), (2, "straße <&>", (2,)), (3, "water", (3,)),
    ]  # fmt: skip
    assert found.names == ("Beet", "straße <&>", "water")
    assert found.indices == (2, 0, 1)
    assert [found.name(index) for index in range(3)] == ["Beet", "straße <&>", "water"]


def test_whole_numbers_become_ids() -> None:
    found = lesson_of(make_model(), [40, 7], {40: "water"}, False)
    assert [(entry.id, entry.name, entry.clusters) for entry in found.classes.classes] == [
        (7, "class 7", (1,)), (40, "water", (2,)),
    ]  # fmt: skip
    assert found.indices == (1, 0)
    assert [entry.id for entry in lesson_of(make_model(), [0, 70000], {}, False).classes.classes] == [1, 2]


def test_one_class_is_refused() -> None:
    with pytest.raises(SettingError, match="references of 1 class here; give those of two classes or more"):
        lesson_of(make_model(), ["a"], {}, False)


def test_more_classes_are_added_to_those_known_by_their_old_and_new_names() -> None:
    model = taught(make_model())
    renamed = ClassMap(
        tuple(replace(entry, name="Deep water") if entry.name == "water" else entry for entry in model.classes.classes)
    )
    model = replace(model, classes=renamed)
    found = lesson_of(model, ["Deep water", "water", "field", "road", 12], {}, False)
    assert found.names == ("field", "forest", "water", "road", "12")
    # The outputs of the class map of helpers are turned around: that of "water" is the first, that of "field" the last.
    # A class is what it is called now; an old name counts where no class has it now.
    assert found.indices == (0, 2, 2, 3, 4)
    assert [(entry.id, entry.name) for entry in found.classes.classes] == [
        (7, "field"), (8, "forest"), (9, "Deep water"), (10, "road"), (12, "class 12"),
    ]  # fmt: skip
    assert found.classes.clusters == 5


def test_known_only_leaves_out_what_is_new() -> None:
    model = taught(make_model())
    found = lesson_of(model, ["field", "road"], {}, True)
    assert found.indices == (2, -1)
    assert found.classes == model.classes
    with pytest.raises(SettingError, match=r"names no class that the model was taught \(field, forest, water\)"):
        lesson_of(model, ["road"], {}, True)
    with pytest.raises(SettingError, match="--known-only needs a model that was taught"):
        lesson_of(make_model(), ["a", "b"], {}, True)


def test_names_that_differ_in_case_only_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = lesson_of(make_model(), ["Road", "road", "tree"], {}, False)
    assert len(found.classes) == 3
    assert "classes Road and road differ in upper and lower case only" in caplog.text
    assert LandClass.default(1).colour == found.classes[1].colour
