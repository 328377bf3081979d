"""Cross-validation: what lies side by side is left out together, and contradictions are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.models import make_model
from helpers.teaching import basis_of, references_of

from geoseg.model.teaching import References
from geoseg.naming.fitting import fit_teaching
from geoseg.naming.validation import Validation, doubts, square_side, squares_of, validate

SIZE = 8


def validated(references: References) -> Validation:
    basis = basis_of(make_model())
    return validate(fit_teaching(basis, references), references, SIZE, lambda part: fit_teaching(basis, part))


def spread(references: References, side: int) -> References:
    """The references, one a square of `side` squares of the validation."""
    places = references.places.copy()
    places[:, 2:] = np.column_stack(np.divmod(np.arange(len(references)), 6)) * side * square_side(SIZE)
    return replace(references, places=places)


def test_references_agree_that_are_alike() -> None:
    found = validated(spread(references_of(make_model(), 60), 1))
    assert found.judged.all()
    assert found.squares == 60
    assert found.agreement > 0.7
    assert found.confusion.sum() == 60
    assert found.temperature > 0


def test_neighbours_do_not_vouch_for_each_other() -> None:
    """Twins side by side, of classes drawn at random: only a test that has seen the twin would know them."""
    random = np.random.default_rng(0)
    one = spread(references_of(make_model(), 30), 1)
    one = replace(
        one, features=random.normal(0, 1, one.features.shape).astype(np.float32), classes=random.integers(0, 3, 30)
    )
    twins = one.and_more(replace(one, places=one.places + np.array([0, 1000, 1, 1])))
    assert len(twins) == 60
    assert len(np.unique(squares_of(twins.places, SIZE))) == 30
    assert validated(twins).agreement < 0.6


def test_a_class_in_one_square_is_not_judged() -> None:
    references = spread(references_of(make_model(), 30), 1)
    places = references.places.copy()
    places[references.classes == 2, 2:] = 5
    found = validated(replace(references, places=places))
    assert not found.judged[references.classes == 2].any()
    assert found.judged[references.classes == 0].all()
    assert found.confusion[2].sum() == 0


def test_references_in_one_square_cannot_be_judged() -> None:
    found = validated(replace(references_of(make_model()), places=np.zeros((30, 4), np.int64)))
    assert not found.judged.any()
    assert np.isnan(found.agreement)
    assert found.temperature == 1


def test_a_wrong_reference_is_found() -> None:
    references = spread(references_of(make_model(), 60), 1)
    classes = references.classes.copy()
    classes[3] = 2
    wrong = replace(references, classes=classes)
    found = doubts(wrong, validated(wrong), SIZE)
    assert [doubt.index for doubt in found][:1] == [3]
    assert found[0].found == 0
    assert found[0].probability >= 0.7
    assert found[0].neighbours == 0, "nothing is near"
    near = replace(wrong, places=wrong.places // np.array([1, 1, 20, 20]))
    (first, *_) = [doubt for doubt in doubts(near, validated(wrong), SIZE) if doubt.index == 3]
    assert first.neighbours == first.differing == 5


def test_squares_of_different_scenes_differ() -> None:
    places = np.array([[0, 1, 5, 5], [1, 1, 5, 5], [0, 2, 5, 6], [0, 3, 5, square_side(SIZE)]])
    first, second, third, fourth = squares_of(places, SIZE).tolist()
    assert first == third
    assert len({first, second, fourth}) == 3


@pytest.mark.parametrize("count", [2, 7])
def test_few_references_set_no_temperature(count: int) -> None:
    assert validated(spread(references_of(make_model(), count), 1)).temperature == 1
