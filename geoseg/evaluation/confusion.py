"""Counts of pixels by cluster and class, accumulated over images or blocks.

A *cluster* is what was predicted: an id in 1..K, with 0 for nodata. A *class* is what the labels say: an index in
0..C-1, with IGNORED for pixels that are not scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORED

Counts = NDArray[np.int64]
"""Numbers of pixels."""


class Confusion:
    """The confusion matrix of K clusters and C classes. It does not depend on how the pixels are split into calls.

    Args:
        clusters: K.
        classes: C.
        chunk: Pixels that are counted at once; bounds the memory of temporary arrays.

    Attributes:
        counts: int64 (K, C), pixels by cluster and class.
        uncovered: int64 (C,), labelled pixels without a prediction; no score includes them.
        ignored: Number of pixels without a label that counts.
    """

    def __init__(self, clusters: int, classes: int, chunk: int = 1 << 20) -> None:
        self.counts: Counts = np.zeros((clusters, classes), np.int64)
        self.uncovered: Counts = np.zeros(classes, np.int64)
        self.ignored = 0
        self._chunk = chunk

    def add(self, predicted: NDArray[Any], truth: NDArray[Any]) -> None:
        """Count the pixels of one image or block.

        Args:
            predicted: Cluster ids in 0..K, of any integer type and shape.
            truth: Class indices in 0..C-1, or IGNORED; of the same shape.

        Raises:
            ValueError: The shapes differ, or a value is out of range.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"predicted has shape {predicted.shape}, truth has shape {truth.shape}")
        clusters, classes = predicted.ravel(), truth.ravel()
        for start in range(0, clusters.size, self._chunk):
            part = slice(start, start + self._chunk)
            self._add_chunk(clusters[part], classes[part])

    def without_first(self) -> Confusion:
        """Return the same counts without the first cluster, which must have no pixels: cluster 2 becomes 1."""
        found = Confusion(0, len(self.uncovered), self._chunk)
        found.counts, found.uncovered, found.ignored = self.counts[1:], self.uncovered, self.ignored
        return found

    def _add_chunk(self, predicted: NDArray[Any], truth: NDArray[Any]) -> None:
        K, C = self.counts.shape
        classes = truth.astype(np.int64)
        kept = classes != IGNORED
        classes, clusters = classes[kept], predicted[kept].astype(np.int64)
        self.ignored += kept.size - classes.size
        if not classes.size:
            return
        if clusters.min() < 0 or clusters.max() > K:
            raise ValueError(f"predicted is in {clusters.min()}..{clusters.max()}; cluster ids are 0..{K}")
        if classes.min() < 0 or classes.max() >= C:
            raise ValueError(f"truth is in {classes.min()}..{classes.max()}; class indices are 0..{C - 1}")
        counts = np.bincount(clusters * C + classes, minlength=(K + 1) * C)
        self.uncovered += counts[:C]
        self.counts += counts[C:].reshape(K, C)
