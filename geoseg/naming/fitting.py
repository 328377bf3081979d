"""From references to what a model knows of classes: votes of its clusters, and a logistic regression.

P(c | k) is proportional to the sum of the probabilities q_sk of the references s of class c, plus `PRIOR`. A reference
thus votes with every cluster that its superpixel may belong to, and clusters without a reference say nothing. The
regression has an L2 penalty and no penalty on its intercepts; its minimum is found by Newton's method, so it depends on
the references alone, and not on their order but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.model.teaching import References, Teaching
from geoseg.segments.texture import TEXTURES

PRIOR = 0.01
"""Added to the sum of every cluster and class."""

_FEW, _SOME, _MANY = 5, 15, 100
"""References a class, on average, from which on there are few, some, and many."""

_INTERCEPT = 1e-3
"""Penalty of intercepts, without which nothing would decide a number that is common to all of them."""

_ITERATIONS, _TOLERANCE, _HALVINGS = 100, 1e-8, 40
_MOST_WEIGHTS = 1500
"""Weights up to which a step of Newton's method is solved directly."""
_PRECISION = 1e-20
"""Share of the squared residual at which conjugate gradients end."""


class Regression(NamedTuple):
    """A multinomial logistic regression.

    Attributes:
        weights: float64 (C, D).
        intercepts: float64 (C,).
    """

    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]


class Strength(NamedTuple):
    """How much a number of references can decide; measured, see `docs/learning-results.md`.

    Attributes:
        inverse_penalty: C of the loss: the sum of the negative log-likelihood and |W|^2 / (2 C).
        textured: Whether the regression sees texture, and not colour alone.
        exponent: Of its probabilities: one or two references a class are better at voting.
    """

    inverse_penalty: float
    textured: bool
    exponent: float


def strength(references: int, classes: int) -> Strength:
    """Return what so many references of so many classes can decide."""
    if references < _SOME * classes:
        return Strength(1.0, False, min(1.0, references / (_FEW * classes)))
    return Strength(0.1 if references < _MANY * classes else 1.0, True, 1.0)


def fit_votes(clusters: NDArray[np.float32], classes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return P(c | k), float64 (K, C).

    Args:
        clusters: float32 (n, K), probabilities of clusters.
        classes: int64 (n,), the classes 0..C - 1 of the references.
        count: C.
    """
    votes = np.full((clusters.shape[1], count), PRIOR)
    for index in range(count):
        votes[:, index] += clusters[classes == index].astype(np.float64).sum(axis=0)
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return shares


def fit_regression(
    features: NDArray[np.float64], classes: NDArray[np.int64], count: int, inverse_penalty: float
) -> Regression:
    """Return the regression of classes on features.

    Args:
        features: float64 (n, D), scaled.
        classes: int64 (n,), the classes 0..C - 1.
        count: C.
        inverse_penalty: C of the loss, see `Strength`.
    """
    n, D = features.shape
    inputs = np.column_stack([features, np.ones(n)])
    truth = np.zeros((n, count))
    truth[np.arange(n), classes] = 1
    penalty = np.full((count, D + 1), 1 / inverse_penalty)
    penalty[:, D] = _INTERCEPT
    weights = np.zeros((count, D + 1))
    loss, shares = _loss(inputs, truth, penalty, weights)
    for _ in range(_ITERATIONS):
        gradient = (shares - truth).T @ inputs + penalty * weights
        if np.abs(gradient).max() < _TOLERANCE * max(1, n):
            break
        step = _newton_step(inputs, shares, penalty, gradient)
        length = 1.0
        for _ in range(_HALVINGS):
            found = _loss(inputs, truth, penalty, weights - length * step)
            if found[0] <= loss:
                break
            length /= 2
        else:
            break
        weights, (loss, shares) = weights - length * step, found
    return Regression(np.ascontiguousarray(weights[:, :D]), np.ascontiguousarray(weights[:, D]))


def fit_teaching(basis: Teaching, references: References) -> Teaching:
    """Return what a model is taught by references.

    Args:
        basis: Names, scaling and everything else that the references do not decide.
        references: Superpixels whose class is known, at least one.
    """
    count = len(basis.names)
    inverse_penalty, textured, exponent = strength(len(references), count)
    features = basis.scaled(references.features)
    if not textured:
        # A feature that is always 0 gets no weight.
        features[:, -TEXTURES:] = 0
    regression = fit_regression(features, references.classes, count, inverse_penalty)
    votes = fit_votes(references.clusters, references.classes, count)
    return replace(basis, votes=votes, references=references, exponent=exponent, **regression._asdict())


def _loss(
    inputs: NDArray[np.float64], truth: NDArray[np.float64], penalty: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the loss, and the probabilities of the classes (n, C)."""
    scores = inputs @ weights.T
    scores -= scores.max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(0.5 * (penalty * weights**2).sum() - (truth * log_p).sum()), np.exp(log_p)


def _newton_step(
    inputs: NDArray[np.float64], shares: NDArray[np.float64], penalty: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return the gradient divided by the Hessian, (C, D + 1); with many classes by conjugate gradients."""
    if gradient.size <= _MOST_WEIGHTS:
        found: NDArray[Any] = np.linalg.solve(_curvature(inputs, shares, penalty), gradient.ravel())
        return found.reshape(gradient.shape)
    diagonal: NDArray[np.float64] = (shares * (1 - shares)).T @ inputs**2 + penalty
    step, rest = np.zeros_like(gradient), gradient.copy()
    scaled: NDArray[np.float64] = rest / diagonal
    direction, size = scaled.copy(), float((rest * scaled).sum())
    least = _PRECISION * size
    for _ in range(gradient.size):
        scores = inputs @ direction.T
        moved = shares * (scores - (shares * scores).sum(axis=1, keepdims=True))
        curved = moved.T @ inputs + penalty * direction
        length = size / float((direction * curved).sum())
        step += length * direction
        rest -= length * curved
        scaled = rest / diagonal
        size, before = float((rest * scaled).sum()), size
        if size <= least:
            break
        direction *= size / before
        direction += scaled
    return step


def _curvature(
    inputs: NDArray[np.float64], shares: NDArray[np.float64], penalty: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the Hessian of the loss, (C (D + 1), C (D + 1))."""
    count, width = penalty.shape
    hessian = np.zeros((count, width, count, width))
    for a in range(count):
        for b in range(a, count):
            factor = shares[:, a] * ((a == b) - shares[:, b])
            hessian[a, :, b, :] = hessian[b, :, a, :] = (inputs * factor[:, None]).T @ inputs
    found: NDArray[np.float64] = hessian.reshape(count * width, -1) + np.diag(penalty.ravel())
    return found


def standardisation(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each feature over superpixels, and its deviation, 1 for a constant one: float64 (D,) each."""
    values = features.astype(np.float64)
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0)


def colliding(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of names that differ in upper and lower case only."""
    known: dict[str, str] = {}
    pairs = []
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            pairs.append((other, name))
    return pairs
