"""Scores of maps against labels: on the scenes that settings were chosen on, on the others, and on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from data import Data, Image512
from numpy.typing import NDArray
from skimage.measure import label

from geoseg.evaluation import scores
from geoseg.evaluation.scores import match_many_to_one, match_one_to_one

PARTS = ("all", "tuned", "other")
_BINS = 20


@dataclass(frozen=True, eq=False)
class Map:
    """The map of an image.

    Attributes:
        clusters: (n + 1,) int64, the cluster of each region, from 0.
        regions: (rows, cols) int32 in [0, n]; `Image512.regions`, or any other partition.
        seconds: CPU time that making it took, with superpixels and network loaded.
        confidences: (n + 1,) each, of one or several kinds, by name.
    """

    clusters: NDArray[np.int64]
    regions: NDArray[np.int32]
    seconds: float
    confidences: dict[str, NDArray[np.float32]]


Mapper = Callable[[Image512], Map]


@dataclass(frozen=True)
class Score:
    """Scores in %, of one global match of clusters to classes.

    Attributes:
        accuracy, miou: Of the one-to-one match.
        many_accuracy, many_miou: With each cluster matched to its most frequent class.
        ious, many_ious: By class, of both matches.
        used: Number of clusters with at least a thousandth of the pixels.
    """

    accuracy: float
    miou: float
    many_accuracy: float
    many_miou: float
    ious: tuple[float, ...]
    many_ious: tuple[float, ...]
    used: int


class Tally:
    """What the maps of a row add up to.

    Args:
        clusters: Number of clusters K.
        classes: Number of classes C of the labels.
    """

    def __init__(self, clusters: int, classes: int) -> None:
        self._counts = {tuned: np.zeros((clusters, classes), dtype=np.int64) for tuned in (True, False)}
        self._hits = np.zeros((_BINS, clusters, classes), dtype=np.int64)
        self._binned: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._pixels = self._regions = 0
        self._seconds = 0.0

    def add(self, image: Image512, made: Map) -> None:
        """Add the map of an image."""
        K, C = self._counts[True].shape
        labelled = image.counts_of(made.regions)[:, 1 : C + 1]
        clusters = made.clusters[: len(labelled)]
        np.add.at(self._counts[image.tuned], clusters, labelled)
        for name, confidence in made.confidences.items():
            hits, sums = self._binned.setdefault(name, (np.zeros((_BINS, K, C), np.int64), np.zeros(_BINS)))
            bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
            np.add.at(hits, (bins, clusters), labelled)
            np.add.at(sums, bins, confidence * labelled.sum(axis=1))
        painted = made.clusters[made.regions]
        self._regions += int(label(painted, connectivity=1, background=-1).max())  # type: ignore[no-untyped-call]
        self._pixels += painted.size
        self._seconds += made.seconds

    def result(self) -> dict[str, Any]:
        """Return the scores of each of `PARTS`, and the figures of all images, as JSON values.

        `ece` is the expected calibration error in % (Guo et al. 2017, 20 bins): the mean over labelled pixels of the
        distance of confidence and accuracy of the bin of the confidence, under the many-to-one match if there are more
        clusters than classes, else the one-to-one match; by the name of the confidence.
        """
        tuned, other = self._counts[True], self._counts[False]
        parts = {"all": tuned + other, "tuned": tuned, "other": other}
        K, C = tuned.shape
        match = (match_many_to_one if K > C else match_one_to_one)(parts["all"])
        matched = np.flatnonzero(match >= 0)
        errors = {}
        for name, (hits, sums) in self._binned.items():
            correct = hits[:, matched, match[matched]].sum(axis=1)
            errors[name] = 100 * float(np.abs(correct - sums).sum() / max(1, hits.sum()))
        return {
            **{part: asdict(_score(table)) for part, table in parts.items() if table.any()},
            "regions_per_mpx": 1e6 * self._regions / self._pixels,
            "cpu_per_mpx": 1e6 * self._seconds / self._pixels,
            "ece": errors,
        }


def score(data: Data, clusters: int, mapper: Mapper) -> dict[str, Any]:
    """Return `Tally.result` of the maps of all images."""
    mapper(data.images[0])  # Compiled kernels are loaded before the clock starts.
    tally = Tally(clusters, data.classes)
    for image in data.images:
        tally.add(image, mapper(image))
    return tally.result()


def _score(table: NDArray[np.int64]) -> Score:
    one, many = scores.score(table, match_one_to_one(table)), scores.score(table, match_many_to_one(table))
    used = int((table.sum(axis=1) > table.sum() / 1000).sum())
    ious, many_ious = (tuple(100 * float(iou) for iou in each.iou) for each in (one, many))
    return Score(
        100 * one.accuracy, 100 * one.mean_iou, 100 * many.accuracy, 100 * many.mean_iou, ious, many_ious, used
    )
