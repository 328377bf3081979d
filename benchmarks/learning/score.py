"""Scores of clusters against labels: on the scenes that settings were chosen on, on the others, and on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from data import Data, Image512
from numpy.typing import NDArray

from geoseg.evaluation import scores
from geoseg.evaluation.scores import match_many_to_one, match_one_to_one

Mapper = Callable[[Image512], NDArray[np.int64]]
"""Image -> clusters (rows, cols), from 0."""

PARTS = ("all", "tuned", "other")


@dataclass(frozen=True)
class Score:
    """Scores in %.

    Attributes:
        accuracy, miou: Of one global one-to-one match of clusters to classes.
        many_accuracy, many_miou: With each cluster matched to its most frequent class.
        ious: By class, of the one-to-one match.
        used: Number of clusters with at least a thousandth of the pixels.
    """

    accuracy: float
    miou: float
    many_accuracy: float
    many_miou: float
    ious: tuple[float, ...]
    used: int


def score(data: Data, clusters: int, mapper: Mapper) -> dict[str, Score]:
    """Return the score of each of `PARTS`."""
    counts = {tuned: np.zeros((clusters, data.classes), dtype=np.int64) for tuned in (True, False)}
    for image in data.images:
        counts[image.tuned] += image.counts(mapper(image), clusters, data.classes)
    parts = {"all": counts[True] + counts[False], "tuned": counts[True], "other": counts[False]}
    return {part: _score(table) for part, table in parts.items() if table.any()}


def _score(table: NDArray[np.int64]) -> Score:
    one, many = scores.score(table, match_one_to_one(table)), scores.score(table, match_many_to_one(table))
    used = int((table.sum(axis=1) > table.sum() / 1000).sum())
    ious = tuple(100 * float(iou) for iou in one.iou)
    return Score(100 * one.accuracy, 100 * one.mean_iou, 100 * many.accuracy, 100 * many.mean_iou, ious, used)
