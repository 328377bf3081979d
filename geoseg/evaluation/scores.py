"""How well a map without names fits labels: counts, the match of clusters to classes, and scores.

K clusters are what was predicted (ids 1..K, 0 nodata), C classes what the labels say (indices 0..C-1). The match is
fitted on the very pixels that are scored, once for all of them, as the field does (Ji et al. 2019, "Invariant
Information Clustering"): it gives names to clusters, and the more clusters, the more it gives away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from geoseg.classes import IGNORED

UNMATCHED = -1
"""The class of a cluster that stands for none."""

_CHUNK = 1 << 20

Counts = NDArray[np.int64]


class Confusion:
    """Counts of pixels by cluster and class, added up over images or blocks; in whatever pieces, the same counts.

    counts: int64 (K, C). uncovered: int64 (C,), labelled pixels where nothing was predicted; they are no part of
        any score. ignored: pixels without a label.
    """

    def __init__(self, clusters: int, classes: int, ignore: int = IGNORED) -> None:
        self.ignore = ignore
        self.counts: Counts = np.zeros((clusters, classes), np.int64)
        self.uncovered: Counts = np.zeros(classes, np.int64)
        self.ignored = 0

    def add(self, predicted: NDArray[Any], truth: NDArray[Any]) -> None:
        """Count the pixels of two integer arrays of one shape: ids 0..K, and indices 0..C-1 or `ignore`.

        Raises:
            ValueError: the shapes differ, or a value is none of these.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"predicted {predicted.shape} and truth {truth.shape} are not of one shape")
        clusters, classes = self.counts.shape
        flat, labels = predicted.ravel(), truth.ravel()
        for start in range(0, flat.size, _CHUNK):
            of_class = labels[start : start + _CHUNK].astype(np.int64)
            kept = of_class != self.ignore
            of_class, of_cluster = of_class[kept], flat[start : start + _CHUNK][kept].astype(np.int64)
            self.ignored += kept.size - of_class.size
            if not of_class.size:
                continue
            if of_cluster.min() < 0 or of_cluster.max() > clusters:
                raise ValueError(f"predicted {of_cluster.min()}..{of_cluster.max()}; there are clusters 1..{clusters}")
            if of_class.min() < 0 or of_class.max() >= classes:
                raise ValueError(f"truth {of_class.min()}..{of_class.max()}; there are classes 0..{classes - 1}")
            found = np.bincount(of_cluster * classes + of_class, minlength=(clusters + 1) * classes)
            self.uncovered += found[:classes]
            self.counts += found[classes:].reshape(clusters, classes)


def accumulate(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], clusters: int, classes: int, ignore: int = IGNORED
) -> Confusion:
    """Return the confusion over pairs (predicted, truth), from wherever they come; see `Confusion.add`."""
    confusion = Confusion(clusters, classes, ignore)
    for predicted, truth in pairs:
        confusion.add(predicted, truth)
    return confusion


def match_one_to_one(counts: Counts) -> Counts:
    """Return the class (K,) of each cluster, or UNMATCHED, no class twice, such that the most pixels agree.

    The assignment problem of Kuhn 1955 ("the Hungarian method"). Of equally good matches the one with the highest sum
    of IoU is taken; what still ties goes the same way each time. A cluster stands for no class it shares no pixel
    with: where K > C, at least K - C clusters stand for none; where K < C, at least C - K classes have no cluster.
    """
    match = np.full(len(counts), UNMATCHED, np.int64)
    used = np.flatnonzero(counts.any(axis=1))
    if not used.size:
        return match
    rows = counts[used]
    union = rows.sum(axis=1, keepdims=True) + rows.sum(axis=0) - rows
    # Counts are whole numbers: what adds up to less than one breaks ties and nothing else.
    ties = rows / np.maximum(union, 1) / (2 * min(rows.shape))
    chosen, classes = linear_sum_assignment(rows + ties, maximize=True)
    shared = rows[chosen, classes] > 0
    match[used[chosen[shared]]] = classes[shared]
    return match


def match_many_to_one(counts: Counts) -> Counts:
    """Return the class (K,) most frequent in each cluster, the first of equals, UNMATCHED where it has no pixel.

    Its accuracy is the purity of the clustering (Manning et al. 2008, "Introduction to Information Retrieval", 16.3).
    """
    return np.where(counts.any(axis=1), counts.argmax(axis=1), UNMATCHED)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a match of clusters to classes scores; shares in [0, 1], nan where a share is of nothing.

    match: class (K,) of each cluster or UNMATCHED.
    matrix: int64 (C + 1, C), pixels by matched class and true class; the last row is those of unmatched clusters.
    """

    match: Counts
    matrix: Counts

    @property
    def hits(self) -> Counts:
        """Pixels (C,) of each class that were given to it."""
        return self.matrix.diagonal()

    @property
    def accuracy(self) -> float:
        """Share of the pixels whose class is right; pixels of unmatched clusters are wrong (Long et al. 2015)."""
        return float(_share(self.hits.sum(), self.matrix.sum()))

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union (C,), also called Jaccard index (Everingham et al. 2010).

        0 for a class that has pixels and no cluster; nan for one with neither a true nor a predicted pixel.
        """
        return _share(self.hits, self.matrix.sum(axis=0) + self.matrix[:-1].sum(axis=1) - self.hits)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that have one."""
        iou = self.iou[~np.isnan(self.iou)]
        return float(iou.mean()) if iou.size else float("nan")

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share (C,) of each class's true pixels that were given to it ("producer's accuracy")."""
        return _share(self.hits, self.matrix.sum(axis=0))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share (C,) of the pixels given to each class that are right ("user's accuracy")."""
        return _share(self.hits, self.matrix[:-1].sum(axis=1))


def score(counts: Counts, match: Counts) -> Scores:
    """Return the scores of `counts` (K, C) with the clusters named by `match` (K,)."""
    classes = counts.shape[1]
    matrix = np.zeros((classes + 1, classes), np.int64)
    np.add.at(matrix, match, counts)
    return Scores(match, matrix)


def adjusted_rand_index(counts: Counts) -> float:
    """Return the agreement of two partitions over pairs of pixels, 0 by chance, 1 at best, whatever the match.

    Hubert & Arabie 1985, "Comparing Partitions", eq. 5; 1 where both sides are one group. Exact in integers.
    """
    cells, clusters, classes = (_pairs(v) for v in (counts, counts.sum(axis=1), counts.sum(axis=0)))
    every = _pairs(counts.sum(keepdims=True))
    # Twice over, and times the number of pairs: nothing is rounded before the last division.
    numerator = 2 * (cells * every - clusters * classes)
    denominator = (clusters + classes) * every - 2 * clusters * classes
    return numerator / denominator if denominator else 1.0


def normalised_mutual_information(counts: Counts) -> float:
    """Return 2 I(U; V) / (H(U) + H(V)) of clusters and classes, in [0, 1]; 1 where both sides are one group.

    NMI_sum in table 2 of Vinh et al. 2010, "Information Theoretic Measures for Clusterings Comparison".
    """
    clusters, classes = _entropy(counts.sum(axis=1)), _entropy(counts.sum(axis=0))
    if clusters + classes == 0:
        return 1.0
    return max(0.0, 2 * (clusters + classes - _entropy(counts)) / (clusters + classes))


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.true_divide(part, whole)


def _pairs(counts: Counts) -> int:
    return sum(n * (n - 1) // 2 for n in counts[counts > 0].tolist())


def _entropy(counts: Counts) -> float:
    """H in nats of the distribution that `counts` are proportional to."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log(p)).sum())
