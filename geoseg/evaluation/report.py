"""What an evaluation found: the scores under both matches, with the names of clusters and classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.label_map import LabelMap
from geoseg.evaluation.scores import (
    UNMATCHED,
    Confusion,
    Counts,
    Scores,
    adjusted_rand_index,
    match_many_to_one,
    match_one_to_one,
    normalised_mutual_information,
    score,
)
from geoseg.outputs.pictures import Picture, draw_matrix

_MOST_UNMATCHED = 40
"""Columns of a picture for clusters that stand for no class."""


@dataclass(frozen=True, eq=False)
class Report:
    """Counts and scores of one map or one model over all its images.

    facts: what was scored, "file" and "kind" among it. clusters: names of the ids 1..K. classes: their ids and names.
    counts: int64 (K, C) of the pixels scored. uncovered: pixels (C,) with a label and without a prediction, and
    ignored: pixels without a label; neither is scored.
    """

    facts: Mapping[str, Any]
    clusters: tuple[str, ...]
    classes: LabelMap
    counts: Counts
    uncovered: Counts
    ignored: int
    one_to_one: Scores
    many_to_one: Scores

    @classmethod
    def of(cls, facts: Mapping[str, Any], clusters: Sequence[str], classes: LabelMap, confusion: Confusion) -> Report:
        """Return the report on `confusion`, whose clusters after the last one named have no pixel."""
        counts = confusion.counts[: len(clusters)]
        one, many = (score(counts, match(counts)) for match in (match_one_to_one, match_many_to_one))
        return cls(facts, tuple(clusters), classes, counts, confusion.uncovered, confusion.ignored, one, many)

    @property
    def pixels(self) -> int:
        """The number of pixels scored."""
        return int(self.counts.sum())

    @property
    def labelled(self) -> int:
        """The number of pixels with a label that counts, predicted or not."""
        return self.pixels + int(self.uncovered.sum())

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share (C,) of each class in the pixels scored."""
        shares: NDArray[np.float64] = self.counts.sum(axis=0) / self.pixels
        return shares

    @property
    def rand_index(self) -> float:
        """Adjusted Rand index of clusters and classes, whatever the match."""
        return adjusted_rand_index(self.counts)

    @property
    def mutual_information(self) -> float:
        """Normalised mutual information of clusters and classes, whatever the match."""
        return normalised_mutual_information(self.counts)

    def matched(self, scores: Scores, place: int) -> list[int]:
        """Return the ids of the clusters that stand for the class at `place`."""
        return [i + 1 for i in np.flatnonzero(scores.match == place).tolist()]

    def unmatched(self, scores: Scores) -> list[int]:
        """Return the ids of the clusters that have pixels and stand for no class."""
        return [i + 1 for i in np.flatnonzero((scores.match == UNMATCHED) & self.counts.any(axis=1)).tolist()]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; what is not defined is null."""
        return {
            **self.facts,
            "pixels": self.pixels,
            "ignored_pixels": self.ignored,
            "uncovered_pixels": self.labelled - self.pixels,
            "adjusted_rand_index": self.rand_index,
            "normalised_mutual_information": self.mutual_information,
            "one_to_one": self._scores(self.one_to_one),
            "many_to_one": self._scores(self.many_to_one),
            "clusters": [
                {"id": i + 1, "name": name, "pixels": int(self.counts[i].sum())} for i, name in enumerate(self.clusters)
            ],
            "classes": [
                {"id": number, "name": name, "pixels": int(column.sum()), "uncovered_pixels": int(uncovered)}
                for number, name, column, uncovered in zip(
                    self.classes.ids, self.classes.names, self.counts.T, self.uncovered, strict=True
                )
            ],
            "confusion": self.counts.tolist(),
        }

    def picture(self) -> Picture:
        """Return the confusion matrix as a picture: a row per class, in shares of its pixels; a column per cluster, in
        the order of the classes they stand for one to one, then those that stand for none, the largest of them."""
        columns = [self.matched(self.one_to_one, place) or [0] for place in range(len(self.classes.ids))]
        spare = self.unmatched(self.one_to_one)
        largest = sorted(spare, key=lambda cluster: (-int(self.counts[cluster - 1].sum()), cluster))
        drawn = sorted(largest[:_MOST_UNMATCHED])
        order = [cluster for column in columns for cluster in column] + drawn
        counts = np.concatenate([np.zeros_like(self.counts[:1]), self.counts])[order].T
        with np.errstate(invalid="ignore"):
            shares = counts / self.counts.sum(axis=0)[:, None]
        left_out = f" ({len(spare) - len(drawn)} small ones left out)" if len(spare) > len(drawn) else ""
        return draw_matrix(
            shares,
            [f"{share:.1%}  {name}" for name, share in zip(self.classes.names, self.shares, strict=True)],
            ["no cluster" if cluster == 0 else self.clusters[cluster - 1] for cluster in order],
            f"one to one: accuracy {self.one_to_one.accuracy:.1%}, mIoU {self.one_to_one.mean_iou:.1%}",
            f"rows: labels and their share; columns: clusters{left_out}; cells: % of the row",
        )

    def _scores(self, scores: Scores) -> dict[str, Any]:
        columns = {"iou": scores.iou, "recall": scores.recall, "precision": scores.precision}
        return {
            "accuracy": scores.accuracy,
            "mean_iou": scores.mean_iou,
            "classes": [
                {
                    "id": number,
                    "clusters": self.matched(scores, place),
                    **{name: _finite(float(column[place])) for name, column in columns.items()},
                }
                for place, number in enumerate(self.classes.ids)
            ],
            "unmatched_clusters": self.unmatched(scores),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
