"""Which classes are alike: a tree of merges, by what classes look like and by how often they touch.

The distance of two classes is that of their mean descriptors, log brightness in each band and log contrast
(`geoseg.segments.descriptors`), as Ward's method takes it: squared, times s t / (s + t) for shares s and t of the area,
which is by how much a merge raises the variance within classes (Ward 1963). Where borders are known it is divided by
1/2 + the lift of the pair: how often the two touch, over how often they would if borders fell at random. Descriptors
are not whitened: docs/classes.md has what was compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.model.appearance import Appearance

Floats = NDArray[np.float64]

_BRIGHTNESS_OFFSET, _CONTRAST_OFFSET, _LARGEST = 0.15, 0.02, 2.0
"""As in `geoseg.segments.descriptors`."""
_LOSS = 0.02
"""Share of the variance between classes that a proposal gives up, unless a number of classes is asked for. It is as
stable over seeds as a rule gets: 9 to 13 of 24 classes are left on dubai72, where the largest gap leaves 4 to 11."""


@dataclass(frozen=True)
class Join:
    """A merge of two groups of classes.

    Attributes:
        one, other: The groups: a number below the number n of leaves is a leaf, n + i is the group of join i.
        distance: At which they merge; no join of a tree has a smaller one than those before it.
        cost: By how much it raises the variance within groups, whatever the borders.
    """

    one: int
    other: int
    distance: float
    cost: float


@dataclass(frozen=True)
class Tree:
    """How n classes merge, step by step, into one.

    Attributes:
        ids: Ids of the n classes, which are the leaves.
        joins: n - 1 merges, in ascending order of distance.
    """

    ids: tuple[int, ...]
    joins: tuple[Join, ...]

    def groups(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Return the ids in each of `count` groups, at most n and at least 1, in the order of the tree."""
        members: dict[int, tuple[int, ...]] = {leaf: (class_id,) for leaf, class_id in enumerate(self.ids)}
        for number, join in enumerate(self.joins[: max(0, len(self.ids) - count)], start=len(self.ids)):
            members[number] = members.pop(join.one) + members.pop(join.other)
        place = {class_id: i for i, class_id in enumerate(self.order)}
        found = sorted(members.values(), key=lambda group: place[group[0]])
        return tuple(tuple(sorted(group)) for group in found)

    @property
    def order(self) -> tuple[int, ...]:
        """The ids in an order in which the groups of every join lie beside one another."""
        members: dict[int, tuple[int, ...]] = {leaf: (class_id,) for leaf, class_id in enumerate(self.ids)}
        for number, join in enumerate(self.joins, start=len(self.ids)):
            members[number] = members.pop(join.one) + members.pop(join.other)
        return tuple(class_id for group in members.values() for class_id in group)

    @property
    def proposed(self) -> int:
        """The least number of classes to merge to with which no more than `_LOSS` of the variance is given up."""
        lost = np.cumsum([0.0, *(join.cost for join in self.joins)])
        return len(self.ids) - int(np.flatnonzero(lost <= _LOSS * lost[-1]).max())


def descriptors(appearance: Appearance, low: Sequence[float], high: Sequence[float]) -> Floats:
    """Return mean descriptors of classes, float64 (K, bands + 1), or (K, bands) where contrast is not known.

    Args:
        appearance: Of K classes.
        low: (bands,), the dark end of each band.
        high: (bands,), the bright end.
    """
    dark, bright = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scaled = np.clip((appearance.means - dark) / (bright - dark), 0, _LARGEST)
    tones = np.log(scaled + _BRIGHTNESS_OFFSET)
    if np.isnan(appearance.contrast[appearance.shares > 0]).any():
        return np.asarray(tones)
    return np.column_stack([tones, np.log(appearance.contrast + _CONTRAST_OFFSET)])


def tree_of(ids: Sequence[int], features: Floats, shares: Floats, borders: NDArray[np.int64] | None = None) -> Tree:
    """Return the tree of classes that were seen; others are left out.

    Args:
        ids: Of n classes.
        features: float64 (n, D); NaN for a class that was not seen.
        shares: float64 (n,), of the area.
        borders: int64 (n, n), length of the border of each pair in pixels; None where it is not known.
    """
    seen = np.flatnonzero((shares > 0) & np.isfinite(features).all(axis=1))
    squares = _squares(features[seen])
    weights = shares[seen]
    distances = squares * _ward(weights)
    if borders is not None:
        distances /= 0.5 + _lift(borders[np.ix_(seen, seen)])
    return Tree(tuple(ids[i] for i in seen.tolist()), _agglomerate(distances, features[seen], weights))


def _squares(points: Floats) -> Floats:
    """Squared distances (n, n) of points (n, D)."""
    return np.asarray(((points[:, None] - points[None]) ** 2).sum(axis=-1))


def _ward(weights: Floats) -> Floats:
    """What squared distances of pairs are multiplied by, (n, n)."""
    return np.asarray(weights[:, None] * weights[None] / (weights[:, None] + weights[None]))


def _lift(borders: NDArray[np.int64]) -> Floats:
    """How often each pair touches over how often it would at random, (n, n)."""
    touching = borders.astype(np.float64)
    np.fill_diagonal(touching, 0)
    totals = touching.sum(axis=1)
    return np.asarray(touching * totals.sum() / np.maximum(np.outer(totals, totals), 1))


def _agglomerate(distances: Floats, points: Floats, weights: Floats) -> tuple[Join, ...]:
    """Return the joins of Ward's method, by the recurrence of Lance and Williams (1967).

    Args:
        distances: (n, n), symmetric; the diagonal does not count.
        points: (n, D), of which the costs are.
        weights: (n,).
    """
    n = len(weights)
    distances, weights, points = distances.copy(), weights.copy(), points.copy()
    np.fill_diagonal(distances, np.inf)
    number, joins = list(range(n)), []
    for step in range(n - 1):
        a, b = sorted(divmod(int(distances.argmin()), n))
        s, t, least = weights[a], weights[b], float(distances[a, b])
        cost = float(s * t / (s + t) * ((points[a] - points[b]) ** 2).sum())
        joins.append(Join(number[a], number[b], least, cost))
        merged = ((s + weights) * distances[a] + (t + weights) * distances[b] - weights * least) / (s + t + weights)
        distances[a], distances[:, a] = merged, merged
        distances[b], distances[:, b] = np.inf, np.inf
        distances[a, a] = np.inf
        points[a] = (s * points[a] + t * points[b]) / (s + t)
        weights[a], number[a] = s + t, n + step
    return tuple(joins)
