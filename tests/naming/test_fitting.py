"""Votes and regression: those of the formulas, by one reference a class as by many."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.models import make_model
from helpers.teaching import basis_of, references_of
from scipy import optimize

from geoseg.naming.fitting import fit_regression, fit_teaching, fit_votes, standardisation, strength
from geoseg.prediction.taught import log_classes


def test_votes_are_sums_of_the_probabilities_of_references() -> None:
    clusters = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.0, 1.0, 0.0]], np.float32)
    votes = fit_votes(clusters, np.array([0, 0, 1]), 2)
    assert votes == pytest.approx(np.array([[1.51 / 1.52, 0.01 / 1.52], [0.51 / 1.52, 1.01 / 1.52], [0.5, 0.5]]))


def test_the_regression_is_the_least_of_its_loss() -> None:
    random = np.random.default_rng(0)
    features, classes = random.normal(0, 1, (40, 3)), random.integers(0, 3, 40)
    features[:, 0] += classes
    found = fit_regression(features, classes, 3, 0.1)

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(3, 4)
        scores = features @ weights[:, :3].T + weights[:, 3]
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        penalty = (weights[:, :3] ** 2).sum() / 0.1 + 1e-3 * (weights[:, 3] ** 2).sum()
        return float(penalty / 2 - log_p[np.arange(40), classes].sum())

    ours = np.column_stack(found).ravel()
    other = optimize.minimize(loss, np.zeros(12), tol=1e-12)
    assert loss(ours) <= other.fun + 1e-9
    assert ours == pytest.approx(other.x, abs=1e-3)


def test_the_order_of_references_does_not_matter() -> None:
    references = references_of(make_model())
    one, other = (
        fit_teaching(basis_of(make_model()), references.chosen(rows)) for rows in (slice(None), slice(None, None, -1))
    )  # type: ignore[arg-type]
    assert one.weights == pytest.approx(other.weights, abs=1e-7)
    assert one.votes == pytest.approx(other.votes, abs=1e-12)


def test_one_reference_a_class_is_enough_and_each_is_of_its_own_class() -> None:
    references = references_of(make_model(), 3)
    teaching = fit_teaching(basis_of(make_model()), references)
    assert np.array_equal(log_classes(teaching, references.clusters, references.features).argmax(axis=1), [0, 1, 2])
    assert not teaching.weights[:, -12:].any(), "so few say nothing of texture"
    assert np.isfinite(teaching.weights).all()


def test_a_class_without_references_is_not_given() -> None:
    references = references_of(make_model())
    teaching = fit_teaching(basis_of(make_model()), references.chosen(references.classes != 1))
    found = log_classes(teaching, references.clusters, references.features).argmax(axis=1)
    assert set(found[references.classes != 1]) == {0, 2}


def test_references_on_one_spot_are_no_reason_to_fail() -> None:
    features = np.ones((20, 4))
    found = fit_regression(features, np.arange(20) % 2, 2, 1.0)
    assert np.isfinite(found.weights).all()
    centre, deviation = standardisation(features.astype(np.float32))
    assert (centre == 1).all()
    assert (deviation == 1).all()


def test_the_penalty_and_texture_depend_on_the_number_of_references() -> None:
    assert [strength(n * 4, 4) for n in (1, 5, 14, 15, 99, 100)] == [
        (1.0, False, 0.2), (1.0, False, 1.0), (1.0, False, 1.0), (0.1, True, 1.0), (0.1, True, 1.0), (1.0, True, 1.0),
    ]  # fmt: skip


def test_many_classes_have_the_same_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """By conjugate gradients, which is quick with hundreds of classes, as by solving the whole system."""
    random = np.random.default_rng(1)
    classes = np.arange(60) % 12
    features = random.normal(0, 1, (60, 6)) + random.normal(0, 2, (12, 6))[classes]
    direct = fit_regression(features, classes, 12, 1.0)
    monkeypatch.setattr("geoseg.naming.fitting._MOST_WEIGHTS", 0)
    for one, other in zip(fit_regression(features, classes, 12, 1.0), direct, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
