"""What an evaluation yields while it runs, and returns at the end: counts and scores, with names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation import scores as formulas
from geoseg.evaluation.confusion import Confusion, Counts
from geoseg.evaluation.label_map import LabelMap
from geoseg.evaluation.scores import UNMATCHED, Scores, match_many_to_one, match_one_to_one, score
from geoseg.location import Location
from geoseg.outputs.pictures import Picture, draw_matrix

_MAX_UNMATCHED = 40
"""Columns of a picture for unmatched clusters."""


@dataclass(frozen=True)
class Counted:
    """A block of an image, or all of it, has been predicted and counted.

    Attributes:
        image: The image.
        pixels: The number of pixels, scored or not.
    """

    image: Location
    pixels: int


@dataclass(frozen=True, eq=False)
class Report:
    """Counts and scores of one class raster or one model over all its images.

    Attributes:
        facts: What was scored, by name: "file", "kind" and more.
        cluster_names: Names of the K clusters.
        label_map: Ids and names of the C classes.
        counts: int64 (K, C), scored pixels by cluster and class.
        uncovered: int64 (C,), labelled pixels without a prediction; they are not scored.
        ignored: Number of pixels without a label that counts; they are not scored.
        one_to_one: Scores if each class has at most one cluster.
        many_to_one: Scores if each cluster has its most frequent class.
        first_id: Id of the first cluster; the others follow.
    """

    facts: Mapping[str, Any]
    cluster_names: tuple[str, ...]
    label_map: LabelMap
    counts: Counts
    uncovered: Counts
    ignored: int
    one_to_one: Scores
    many_to_one: Scores
    first_id: int = 1

    @classmethod
    def from_confusion(
        cls,
        facts: Mapping[str, Any],
        cluster_names: Sequence[str],
        label_map: LabelMap,
        confusion: Confusion,
        first_id: int = 1,
    ) -> Report:
        """Return the report on a confusion matrix.

        Args:
            facts: What was scored, by name.
            cluster_names: Names of K clusters; clusters of `confusion` beyond K have no pixels and are left out.
            label_map: The classes, as many as `confusion` has.
            confusion: The counts of all images.
            first_id: Id of the first cluster.
        """
        counts = confusion.counts[: len(cluster_names)]
        one, many = (score(counts, match(counts)) for match in (match_one_to_one, match_many_to_one))
        uncovered, ignored = confusion.uncovered, confusion.ignored
        return cls(facts, tuple(cluster_names), label_map, counts, uncovered, ignored, one, many, first_id)

    @property
    def pixels(self) -> int:
        """The number of scored pixels: labelled and predicted."""
        return int(self.counts.sum())

    @property
    def labelled(self) -> int:
        """The number of pixels with a label that counts, predicted or not."""
        return self.pixels + int(self.uncovered.sum())

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share (C,) of each class in the scored pixels."""
        shares: NDArray[np.float64] = self.counts.sum(axis=0) / self.pixels
        return shares

    @property
    def adjusted_rand_index(self) -> float:
        """The adjusted Rand index of clusters and classes; it depends on no match."""
        return formulas.adjusted_rand_index(self.counts)

    @property
    def normalised_mutual_information(self) -> float:
        """The normalised mutual information of clusters and classes; it depends on no match."""
        return formulas.normalised_mutual_information(self.counts)

    def clusters_of(self, scores: Scores, index: int) -> list[int]:
        """Return the ids of the clusters that `scores` matches to the class with this index."""
        return [i + self.first_id for i in np.flatnonzero(scores.match == index).tolist()]

    def unmatched_clusters(self, scores: Scores) -> list[int]:
        """Return the ids of the clusters that have pixels and that `scores` matches to no class."""
        unmatched = (scores.match == UNMATCHED) & self.counts.any(axis=1)
        return [i + self.first_id for i in np.flatnonzero(unmatched).tolist()]

    def pixels_of(self, cluster: int) -> int:
        """Return the number of scored pixels of the cluster with this id."""
        return int(self.counts[cluster - self.first_id].sum())

    def to_json(self) -> dict[str, Any]:
        """Return everything in types that JSON has; undefined scores are None."""
        classes = zip(self.label_map.ids, self.label_map.names, self.counts.T, self.uncovered, strict=True)
        return {
            **self.facts,
            "pixels": self.pixels,
            "ignored_pixels": self.ignored,
            "uncovered_pixels": self.labelled - self.pixels,
            "adjusted_rand_index": self.adjusted_rand_index,
            "normalised_mutual_information": self.normalised_mutual_information,
            "one_to_one": self._scores_to_json(self.one_to_one),
            "many_to_one": self._scores_to_json(self.many_to_one),
            "clusters": [
                {"id": i, "name": name, "pixels": self.pixels_of(i)}
                for i, name in enumerate(self.cluster_names, start=self.first_id)
            ],
            "classes": [
                {"id": class_id, "name": name, "pixels": int(column.sum()), "uncovered_pixels": int(uncovered)}
                for class_id, name, column, uncovered in classes
            ],
            "confusion": self.counts.tolist(),
        }

    def picture(self) -> Picture:
        """Draw the confusion matrix.

        There is a row for each class, in shares of its pixels. Columns are clusters, in the order of the classes that
        they are matched to one to one, and after them the largest unmatched ones.
        """
        none = self.first_id - 1  # the empty column of a class without a cluster
        matched = [i for c in range(len(self.label_map.ids)) for i in self.clusters_of(self.one_to_one, c) or [none]]
        unmatched = self.unmatched_clusters(self.one_to_one)
        by_size = sorted(unmatched, key=lambda i: (-self.pixels_of(i), i))
        order = np.array(matched + sorted(by_size[:_MAX_UNMATCHED])) - none
        omitted = max(0, len(unmatched) - _MAX_UNMATCHED)
        counts = np.concatenate([np.zeros_like(self.counts[:1]), self.counts])[order].T
        with np.errstate(invalid="ignore"):
            shares = counts / self.counts.sum(axis=0)[:, None]
        note = f" ({omitted} small ones left out)" if omitted else ""
        return draw_matrix(
            shares,
            rows=[f"{share:.1%}  {name}" for name, share in zip(self.label_map.names, self.shares, strict=True)],
            columns=["no cluster" if i == 0 else self.cluster_names[i - 1] for i in order.tolist()],
            title=f"one to one: accuracy {self.one_to_one.accuracy:.1%}, mIoU {self.one_to_one.mean_iou:.1%}",
            legend=f"rows: labels and their share; columns: clusters{note}; cells: % of the row",
        )

    def _scores_to_json(self, scores: Scores) -> dict[str, Any]:
        columns = {"iou": scores.iou, "recall": scores.recall, "precision": scores.precision}
        return {
            "accuracy": scores.accuracy,
            "mean_iou": scores.mean_iou,
            "classes": [
                {
                    "id": class_id,
                    "clusters": self.clusters_of(scores, index),
                    **{name: _none_if_undefined(float(column[index])) for name, column in columns.items()},
                }
                for index, class_id in enumerate(self.label_map.ids)
            ],
            "unmatched_clusters": self.unmatched_clusters(scores),
        }


def _none_if_undefined(value: float) -> float | None:
    return value if math.isfinite(value) else None
