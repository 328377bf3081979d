"""The superpixels of a scene that references make known, and a sample of those that are to be known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block
from geoseg.model.teaching import PLACE_COLUMNS, References
from geoseg.naming.reference import Reference
from geoseg.prediction.predictor import Observed

MOST = 2000
"""References that are kept of each class. Of more, as a raster has, those with the lowest hash of their ids are."""

_PER_BLOCK = 400
"""Superpixels of a block that are kept as a sample."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Sample:
    """Superpixels of a scene, evenly spread.

    Attributes:
        features: float32 (n, D).
        clusters: float32 (n, K).
        pixels: int64 (n,), their sizes.
        places: int64 (n, PLACE_COLUMNS); see `References`.
        blocks: int64 (n,), indices of the blocks they lie in.
    """

    features: NDArray[np.float32]
    clusters: NDArray[np.float32]
    pixels: NDArray[np.int64]
    places: NDArray[np.int64]
    blocks: NDArray[np.int64]


class Gathering:
    """Collects superpixels block by block, in any order.

    Args:
        reference: The references.
        scene: Number of the scene in the model.
        classes: For each class of the references, its index among those of the model; -1 leaves it out.

    Attributes:
        contradictions: Superpixels, by id, that references of several classes hit: row and column of a pixel.
        scarcely: Number of superpixels of which references cover something, but less than half.
        lost: Number of features, or of pixels of a raster, on nodata.
    """

    def __init__(self, reference: Reference, scene: int, classes: Sequence[int]) -> None:
        self._reference, self._scene = reference, scene
        self._classes = np.array(classes, np.int64)
        self._known: dict[int, tuple[int, NDArray[np.float32], NDArray[np.float32], tuple[int, int]]] = {}
        self._sampled: dict[int, tuple[NDArray[np.float32], NDArray[np.float32], int, tuple[int, int], int]] = {}
        self._scarce: set[int] = set()
        self.contradictions: dict[int, tuple[int, int]] = {}
        self.lost = 0

    @property
    def found(self) -> int:
        """Number of superpixels that are known."""
        return len(self._known)

    @property
    def scarcely(self) -> int:
        """Number of superpixels of which references cover something, but less than half."""
        return len(self._scarce)

    def add(self, observed: Observed, sampled: bool) -> None:
        """Look for references in a block, and add its superpixels to the sample if it is one of the sample."""
        block, labels = observed.block.window, observed.labels
        own = labels[block.within(observed.area)]
        present = np.unique(own)
        present = present[present > 0]
        if self._reference.touches(block):
            self._add_known(observed, present)
            self.lost += self._reference.lost(block, own)
        if sampled:
            self._add_sample(observed, present)

    def skip(self, block: Block) -> None:
        """Count the features in a block without a valid pixel."""
        self.lost += self._reference.lost(block.window, np.zeros(block.window.shape, np.int32))

    def references(self) -> References | None:
        """Return the superpixels that are known, at most `MOST` of each class; None if there are none."""
        kept: list[int] = []
        tally = Counter[int]()
        for superpixel in sorted(self._known, key=_hash):
            index = self._known[superpixel][0]
            if tally[index] < MOST:
                tally[index] += 1
                kept.append(superpixel)
        if not kept:
            return None
        found = [self._known[superpixel] for superpixel in sorted(kept)]
        places = [(self._scene, superpixel, *self._known[superpixel][3]) for superpixel in sorted(kept)]
        return References(
            np.stack([entry[1] for entry in found]),
            np.stack([entry[2] for entry in found]),
            np.array([entry[0] for entry in found], np.int64),
            np.array(places, np.int64).reshape(-1, PLACE_COLUMNS),
        )

    def sample(self) -> Sample | None:
        """Return the sample; None if no pixel of its blocks is valid."""
        if not self._sampled:
            return None
        ids = sorted(self._sampled)
        found = [self._sampled[superpixel] for superpixel in ids]
        places = [(self._scene, superpixel, *entry[3]) for superpixel, entry in zip(ids, found, strict=True)]
        return Sample(
            np.stack([entry[0] for entry in found]),
            np.stack([entry[1] for entry in found]),
            np.array([entry[2] for entry in found], np.int64),
            np.array(places, np.int64).reshape(-1, PLACE_COLUMNS),
            np.array([entry[4] for entry in found], np.int64),
        )

    def _add_known(self, observed: Observed, present: NDArray[np.int32]) -> None:
        evidence = self._reference.evidence(observed.area, observed.labels, len(observed.ids) - 1)
        classes = evidence.classes()
        touched = (evidence.marks + evidence.cover).sum(axis=1) > 0
        chosen = present[touched[present]]
        rows, cols = _middles(observed, chosen)
        for label, row, col in zip(chosen.tolist(), rows.tolist(), cols.tolist(), strict=True):
            superpixel, index = int(observed.ids[label]), int(classes[label])
            if index == -2:
                self.contradictions[superpixel] = (row, col)
            elif index == -1:
                self._scarce.add(superpixel)
            elif self._classes[index] >= 0:
                features, clusters = observed.features[label - 1], observed.clusters[label - 1]
                self._known[superpixel] = (int(self._classes[index]), features, clusters, (row, col))
        if len(self._known) > 4 * MOST * max(1, len(self._classes)):
            self._forget()

    def _forget(self) -> None:
        """Drop what `references` would not keep."""
        tally = Counter[int]()
        for superpixel in sorted(self._known, key=_hash):
            index = self._known[superpixel][0]
            tally[index] += 1
            if tally[index] > MOST:
                del self._known[superpixel]

    def _add_sample(self, observed: Observed, present: NDArray[np.int32]) -> None:
        chosen = np.array(sorted(present.tolist(), key=lambda label: _hash(int(observed.ids[label])))[:_PER_BLOCK])
        chosen = np.sort(chosen).astype(np.int64)
        sizes = np.bincount(observed.labels.ravel(), minlength=len(observed.ids))
        rows, cols = _middles(observed, chosen)
        for label, row, col in zip(chosen.tolist(), rows.tolist(), cols.tolist(), strict=True):
            self._sampled[int(observed.ids[label])] = (
                observed.features[label - 1], observed.clusters[label - 1], int(sizes[label]), (row, col),
                observed.block.index,
            )  # fmt: skip


def _hash(superpixel: int) -> int:
    """Return a number that orders superpixels at random, the same whatever else is looked at."""
    return (superpixel * int(_FACTOR)) % (1 << 64)


def _middles(observed: Observed, chosen: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column, in the scene, of the middle pixel of superpixels in raster order."""
    labels, width = observed.labels.ravel(), observed.labels.shape[1]
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=len(observed.ids))
    starts = np.cumsum(sizes) - sizes
    place = order[starts[chosen] + sizes[chosen] // 2]
    return place // width + observed.area.rows.start, place % width + observed.area.cols.start
