"""Where to click next: the superpixels whose class would tell most about a scene.

Each superpixel of a sample has something to be told, u_t: the entropy of its classes, times its area. A reference also
tells of superpixels that look like it, by exp(-d^2 / 2 D) of the distance d of their D features in deviations. The
superpixels are chosen one after the other such that what they tell, sum_t u_t max_s similarity(s, t), grows most
(facility location; Krause and Golovin 2014, section 2): so each is uncertain, common, and unlike the others. What
looks like a reference already known is told by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.model.teaching import Teaching
from geoseg.naming.gathering import Sample
from geoseg.prediction.taught import log_classes

_MOST = 3000
"""Superpixels that are compared with one another."""

_REACHED = 0.5
"""Probability of a cluster from which on a reference reaches it."""


@dataclass(frozen=True)
class Suggestion:
    """A superpixel to look at.

    Attributes:
        block: Index of the block that it lies in.
        superpixel: Its id.
        row, col: A pixel in it.
        likely: The classes that it may be, the likeliest first, with their probabilities.
        tells: Its share of all that is to be told.
    """

    block: int
    superpixel: int
    row: int
    col: int
    likely: tuple[tuple[int, float], ...]
    tells: float


def suggest(teaching: Teaching, sample: Sample, count: int) -> list[Suggestion]:
    """Return up to `count` superpixels of a sample to look at, the one that would tell most first.

    Args:
        teaching: What the model was taught.
        sample: Superpixels of the scene.
        count: How many at most.
    """
    known = {(int(scene), int(superpixel)) for scene, superpixel in teaching.references.places[:, :2]}
    unknown = np.array([(int(s), int(i)) not in known for s, i in sample.places[:, :2]], np.bool_)
    rows = np.flatnonzero(unknown)
    if not len(rows):
        return []
    step = -(-len(rows) // _MOST)
    rows = rows[::step]
    p = probabilities(teaching, sample)[rows]
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1)
    weight = entropy * sample.pixels[rows]
    scaled = teaching.scaled(sample.features[rows])
    similarity = _similarity(scaled, scaled)
    told = np.zeros(len(rows), np.float32)
    references = teaching.scaled(teaching.references.features)
    for first in range(0, len(references), _MOST):
        told = np.maximum(told, _similarity(scaled, references[first : first + _MOST]).max(axis=1))
    total = max(float((weight * (1 - told)).sum()), 1e-12)
    chosen = []
    for _ in range(min(count, len(rows))):
        gains = np.maximum(similarity - told[:, None], 0).T @ weight
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        told = np.maximum(told, similarity[:, best])
        order = np.argsort(-p[best], kind="stable")[:3]
        likely = tuple((int(c), float(p[best, c])) for c in order if p[best, c] >= 0.05)
        _, superpixel, row, col = sample.places[rows[best]].tolist()
        block = int(sample.blocks[rows[best]])
        chosen.append(Suggestion(block, superpixel, row, col, likely, float(gains[best]) / total))
    return chosen


def probabilities(teaching: Teaching, sample: Sample) -> NDArray[np.float64]:
    """Return the probabilities of the classes of the superpixels of a sample, float64 (n, C)."""
    log_p = log_classes(teaching, sample.clusters, sample.features).astype(np.float64) / teaching.temperature
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
    return shares


def unreached(teaching: Teaching, sample: Sample) -> dict[int, float]:
    """Return the clusters 1..K that no reference reaches, with their share of the sample's area, the largest first."""
    best = teaching.references.clusters.sum(axis=0)
    area = np.bincount(sample.clusters.argmax(axis=1), sample.pixels, len(best))
    shares = area / max(float(area.sum()), 1.0)
    found = {int(k) + 1: float(shares[k]) for k in np.flatnonzero((best < _REACHED) & (shares > 0))}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _similarity(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return exp(-d^2 / 2 D), float32 (n, m)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    found: NDArray[np.float32] = np.exp(-np.maximum(squares, 0) / (2 * one.shape[1])).astype(np.float32)
    return found
