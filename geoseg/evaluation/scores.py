"""How well unnamed clusters fit labels: matches of clusters to classes, and scores.

Everything is computed from the counts (K, C) of a `Confusion`. A match is fitted on the very pixels that are scored,
once for all of them, as is usual for unsupervised segmentation (Ji et al. 2019, "Invariant Information Clustering").
It names the clusters with the help of the labels, and the more clusters there are, the more it gives away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.confusion import Counts
from geoseg.lazy import lazy

if TYPE_CHECKING:
    from scipy import optimize
else:
    optimize = lazy("scipy.optimize")

UNMATCHED = -1
"""In a match: the cluster is matched to no class."""


def match_one_to_one(counts: Counts) -> Counts:
    """Return the match in which each class has at most one cluster and the most pixels agree.

    This is the assignment problem (Kuhn 1955, "The Hungarian Method for the Assignment Problem"), solved by
    `scipy.optimize.linear_sum_assignment`. Among equally good matches, the one with the highest sum of IoU is chosen;
    ties beyond that are broken the same way every time. No cluster is matched to a class that it shares no pixel
    with: if K > C, at least K - C clusters are unmatched; if K < C, at least C - K classes have no cluster.

    Args:
        counts: int64 (K, C), pixels by cluster and class.

    Returns:
        int64 (K,): the class index of each cluster, or UNMATCHED.
    """
    match = np.full(len(counts), UNMATCHED, np.int64)
    used = np.flatnonzero(counts.any(axis=1))
    if not used.size:
        return match
    rows = counts[used]
    union = rows.sum(axis=1, keepdims=True) + rows.sum(axis=0) - rows
    # Counts are integers: terms that add up to less than one break ties and change nothing else.
    ties = rows / np.maximum(union, 1) / (2 * min(rows.shape))
    chosen, classes = optimize.linear_sum_assignment(rows + ties, maximize=True)
    shared = rows[chosen, classes] > 0
    match[used[chosen[shared]]] = classes[shared]
    return match


def match_many_to_one(counts: Counts) -> Counts:
    """Return the match of each cluster to its most frequent class.

    The accuracy under this match is the purity of the clustering (Manning et al. 2008, "Introduction to Information
    Retrieval", section 16.3).

    Args:
        counts: int64 (K, C), pixels by cluster and class.

    Returns:
        int64 (K,): the class index of each cluster, the lowest one of equally frequent classes; UNMATCHED for a
        cluster without pixels.
    """
    return np.where(counts.any(axis=1), counts.argmax(axis=1), UNMATCHED)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores under one match. Scores are in [0, 1], and nan where the denominator is 0.

    Attributes:
        match: int64 (K,), the class index of each cluster, or UNMATCHED.
        matrix: int64 (C + 1, C), pixels by matched class and true class; the last row counts unmatched clusters.
    """

    match: Counts
    matrix: Counts

    @property
    def hits(self) -> Counts:
        """Correctly classified pixels (C,) of each class."""
        return self.matrix.diagonal()

    @property
    def accuracy(self) -> float:
        """Share of correctly classified pixels (Long et al. 2015); pixels of unmatched clusters count as wrong."""
        return float(_divide(self.hits.sum(), self.matrix.sum()))

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union (C,), the Jaccard index (Everingham et al. 2010).

        0 for a class that has pixels but no cluster; nan for a class with neither true nor predicted pixels.
        """
        return _divide(self.hits, self.matrix.sum(axis=0) + self.matrix[:-1].sum(axis=1) - self.hits)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes for which it is defined."""
        iou = self.iou[~np.isnan(self.iou)]
        return float(iou.mean()) if iou.size else float("nan")

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share (C,) of the true pixels of each class that are classified as such ("producer's accuracy")."""
        return _divide(self.hits, self.matrix.sum(axis=0))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share (C,) of the pixels classified as each class that are correct ("user's accuracy")."""
        return _divide(self.hits, self.matrix[:-1].sum(axis=1))


def score(counts: Counts, match: Counts) -> Scores:
    """Return the scores under a match.

    Args:
        counts: int64 (K, C), pixels by cluster and class.
        match: int64 (K,), the class index of each cluster, or UNMATCHED.
    """
    classes = counts.shape[1]
    matrix = np.zeros((classes + 1, classes), np.int64)
    np.add.at(matrix, match, counts)
    return Scores(match, matrix)


def adjusted_rand_index(counts: Counts) -> float:
    """Return the adjusted Rand index of clusters and classes.

    Agreement over pairs of pixels, corrected for chance (Hubert and Arabie 1985, "Comparing Partitions", eq. 5). It
    needs no match. Computed in integers, exact up to the last division.

    Args:
        counts: int64 (K, C), pixels by cluster and class.

    Returns:
        0 on average for independent partitions, 1 for identical ones; 1 if there is only one cluster and one class.
    """
    cells, clusters, classes = (_pairs(n) for n in (counts, counts.sum(axis=1), counts.sum(axis=0)))
    total = _pairs(counts.sum(keepdims=True))
    # Both sides are multiplied by 2 * total, so that nothing is rounded before the division.
    numerator = 2 * (cells * total - clusters * classes)
    denominator = (clusters + classes) * total - 2 * clusters * classes
    return numerator / denominator if denominator else 1.0


def normalised_mutual_information(counts: Counts) -> float:
    """Return the normalised mutual information 2 I(U; V) / (H(U) + H(V)) of clusters U and classes V.

    NMI_sum of Vinh et al. 2010, "Information Theoretic Measures for Clusterings Comparison", table 2. It needs no
    match.

    Args:
        counts: int64 (K, C), pixels by cluster and class.

    Returns:
        0 for independent partitions, 1 for identical ones; 1 if there is only one cluster and one class.
    """
    clusters, classes = _entropy(counts.sum(axis=1)), _entropy(counts.sum(axis=0))
    if clusters + classes == 0:
        return 1.0
    return max(0.0, 2 * (clusters + classes - _entropy(counts)) / (clusters + classes))


def _divide(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.true_divide(numerator, denominator)


def _pairs(counts: Counts) -> int:
    """The number of pairs of pixels within groups of these sizes."""
    return sum(n * (n - 1) // 2 for n in counts[counts > 0].tolist())


def _entropy(counts: Counts) -> float:
    """H in nats of the distribution that is proportional to `counts`."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log(p)).sum())
