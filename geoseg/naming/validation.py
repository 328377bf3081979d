"""How well a teaching agrees with references that it has not seen: cross-validation over parts of the scenes.

Neighbouring superpixels are alike, so references that lie side by side must not be on both sides of the test: scenes
are divided into squares, and the references of a square are left out together (Roberts et al. 2017, Ecography 40(8)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.model.teaching import References, Teaching
from geoseg.prediction.taught import log_classes

Refit = Callable[[References], Teaching]
"""Returns the teaching by some of the references."""

_FOLDS = 5
_SQUARE = 24
"""Side of a square in superpixels."""

_CONTRADICTS = 0.7
"""Probability of another class from which on a reference is told to contradict the others."""

_NEIGHBOURS, _NEAR = 5, 12
"""References that are compared with one, and how far they may be, in superpixels."""

_TEMPERATURES = (0.25, 8.0)
_FEW = 20
"""References below which no temperature is set."""


@dataclass(frozen=True, eq=False)
class Validation:
    """What references become that are left out.

    Attributes:
        judged: bool (n,), whether its class is known without the square that a reference lies in.
        found: int64 (n,), the class that the others give it.
        probability: float64 (n,), of that class.
        confusion: int64 (C, C), judged references by their class (rows) and the one found (columns).
        temperature: With which probabilities are as often right as they say; 1 for too few references.
        squares: Number of squares.
    """

    judged: NDArray[np.bool_]
    found: NDArray[np.int64]
    probability: NDArray[np.float64]
    confusion: NDArray[np.int64]
    temperature: float
    squares: int

    @property
    def agreement(self) -> float:
        """Share of judged references that get their own class; NaN without any."""
        total = int(self.confusion.sum())
        return float(np.trace(self.confusion)) / total if total else float("nan")


def square_side(size: int) -> int:
    """Return the side of a square in pixels, for superpixels of `size` pixels on a side."""
    return _SQUARE * size


def squares_of(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the number 0.. of the square that each reference lies in, int64 (n,).

    Args:
        places: int64 (n, 4), see `References`.
        size: Side of a superpixel in pixels.
    """
    side = square_side(size)
    corner = np.column_stack([places[:, 0], places[:, 2] // side, places[:, 3] // side])
    return np.asarray(np.unique(corner, axis=0, return_inverse=True)[1], np.int64).reshape(-1)


def validate(teaching: Teaching, references: References, size: int, refit: Refit) -> Validation:
    """Leave out the references of some squares at a time, and see what the others make of them.

    Args:
        teaching: By all references.
        references: All references.
        size: Side of a superpixel in pixels.
        refit: Returns a teaching by some of the references.
    """
    C, n = len(teaching.names), len(references)
    squares = squares_of(references.places, size)
    folds = _folds(squares)
    log_p = np.full((n, C), -np.inf)
    judged = np.zeros(n, np.bool_)
    for fold in range(_FOLDS):
        out = folds == fold
        rest = np.unique(references.classes[~out])
        if not out.any() or not len(rest):
            continue
        part = references.chosen(out)
        found = log_classes(refit(references.chosen(~out)), part.clusters, part.features).astype(np.float64)
        log_p[np.ix_(out, rest)] = found[:, rest]
        judged[out] = np.isin(references.classes[out], rest) & (len(rest) > 1)
    log_p[~judged] = 0
    temperature = _temperature(log_p[judged], references.classes[judged])
    q = _softmax(log_p / temperature)
    best = q.argmax(axis=1)
    confusion = np.zeros((C, C), np.int64)
    np.add.at(confusion, (references.classes[judged], best[judged]), 1)
    return Validation(judged, best, q.max(axis=1), confusion, temperature, int(squares.max(initial=-1)) + 1)


@dataclass(frozen=True)
class Doubt:
    """A reference that contradicts the others.

    Attributes:
        index: Of the reference.
        found: The class that the others give its superpixel.
        probability: Of that class.
        neighbours: References near it.
        differing: How many of these have another class than it.
    """

    index: int
    found: int
    probability: float
    neighbours: int
    differing: int


def doubts(references: References, validation: Validation, size: int) -> list[Doubt]:
    """Return the references that contradict the others, the most certain contradiction first.

    Args:
        references: All references.
        validation: Theirs.
        size: Side of a superpixel in pixels.
    """
    wrong = validation.judged & (validation.found != references.classes) & (validation.probability >= _CONTRADICTS)
    found = []
    for index in np.flatnonzero(wrong).tolist():
        near = _near(references.places, index, size)
        differing = int((references.classes[near] != references.classes[index]).sum())
        probability = float(validation.probability[index])
        found.append(Doubt(index, int(validation.found[index]), probability, len(near), differing))
    return sorted(found, key=lambda doubt: -doubt.probability)


def _near(places: NDArray[np.int64], index: int, size: int) -> NDArray[np.int64]:
    distance = np.abs(places[:, 2:] - places[index, 2:]).max(axis=1)
    distance = np.where(places[:, 0] == places[index, 0], distance, np.iinfo(np.int64).max)
    distance[index] = np.iinfo(np.int64).max
    order = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
    return order[distance[order] <= _NEAR * size]


def _folds(squares: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each reference, int64 (n,): squares are dealt out, the fullest first, each to the emptiest."""
    sizes = np.bincount(squares)
    fold, filled = np.zeros(len(sizes), np.int64), np.zeros(_FOLDS, np.int64)
    for square in np.argsort(-sizes, kind="stable"):
        fold[square] = filled.argmin()
        filled[fold[square]] += sizes[square]
    return fold[squares]


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def _temperature(log_p: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return the temperature with the least negative log-likelihood (Guo et al. 2017, ICML, section 4.2)."""
    if len(classes) < _FEW:
        return 1.0
    candidates = np.geomspace(*_TEMPERATURES, 51)
    rows = np.arange(len(classes))
    losses = [-np.log(np.maximum(_softmax(log_p / t)[rows, classes], 1e-12)).sum() for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 3)
