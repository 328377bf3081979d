"""From the clusters of superpixels to the named classes that a model was taught.

The formula is in `geoseg.model.teaching`. q_s is the product of the model's experts before smoothing, or for a model
without experts the softmax of the mean logits; the classes are smoothed over neighbours as clusters would be. All
operations on a superpixel are in one fixed order, so they do not depend on what else an array contains.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Range, compiled, stripes, worker_threads
from geoseg.model.file import Model
from geoseg.model.teaching import DOUBT, Teaching
from geoseg.prediction.experts import Combination, Described, no_edges, tempered
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start
from geoseg.segments.elementary import exp, log
from geoseg.segments.graph import region_graph
from geoseg.segments.smoothing import mean_field
from geoseg.segments.texture import MARGIN, region_textures
from geoseg.segments.views import needs_graph, superpixel_views


def start_of(model: Model) -> Start:
    """Return which descriptors of superpixels are features of a model's classes."""
    if model.teaching is not None:
        return model.teaching.start
    return "hue" if model.experts is None else model.experts.mixture.start


def margin_of(model: Model) -> int:
    """Return the pixels around superpixels on which their classes depend."""
    return 0 if model.teaching is None else MARGIN


class Featured:
    """Features and clusters of superpixels: what a model is taught with. Safe to share between threads.

    Args:
        combination: The model's experts; None for a model without them.
        stats: Band statistics of the model.
        start: Which descriptors are features.
    """

    def __init__(self, combination: Combination | None, stats: BandStats, start: Start) -> None:
        self._combination, self._stats, self._start = combination, stats, start

    def describe(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], labels: NDArray[np.int32], count: int, threads: int
    ) -> Described:
        """Return what is to be known of superpixels for `clusters`, and their features.

        Args:
            pixels: (bands, rows, cols), as the model knows them, with `MARGIN` around the superpixels.
            valid: bool (rows, cols).
            labels: int32 (rows, cols) in [0, count]; 0 is no superpixel.
            count: Number of superpixels.
            threads: How many threads to use; the result does not depend on it.
        """
        stats = self._stats
        if self._combination is not None:
            described = self._combination.describe(pixels, labels, count, threads)
        else:
            graph = region_graph(labels, count, threads) if needs_graph(self._start) else no_edges(count)
            views = superpixel_views(pixels, labels, count, stats.low, stats.high, self._start, graph, threads)
            described = Described(views, graph, np.zeros(len(graph.neighbours), np.float32))
        textures = region_textures(pixels, valid, labels, count, stats.low, stats.high, threads)
        return replace(described, features=np.concatenate([described.descriptors, textures], axis=1))

    def clusters(self, means: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return the probabilities of the clusters, unsmoothed: float32 (n + 1, K); row 0 is 0.

        Args:
            means: float32 (n + 1, K), the mean logits; row 0 is none.
            described: Of the same superpixels.
            threads: How many threads to use; the result does not depend on it.
        """
        log_p = means if self._combination is None else self._combination.log_product(means, described, threads)
        return mean_field(log_p, described.graph, described.weights, 0.0, 0, threads)


class Taught(Featured):
    """The classes that a model was taught. Safe to share between threads.

    Args:
        teaching: What it was taught.
        combination: The model's experts, which smooth the classes; None for a model without them, which does not.
        stats: Band statistics of the model.
    """

    def __init__(self, teaching: Teaching, combination: Combination | None, stats: BandStats) -> None:
        super().__init__(combination, stats, teaching.start)
        self._teaching = teaching

    def posterior(self, means: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return the smoothed posterior of the classes, float32 (n + 1, C); row 0 is 0. See `clusters`."""
        clusters = self.clusters(means, described, threads)
        assert described.features is not None
        log_p = log_classes(self._teaching, clusters[1:], described.features, threads)
        log_p = np.concatenate([np.zeros((1, log_p.shape[1]), np.float32), log_p])
        if self._combination is None:
            return mean_field(log_p, described.graph, described.weights, 0.0, 0, threads)
        return self._combination.smoothed(log_p, described, threads)

    def classify(
        self, means: NDArray[np.float32], described: Described, threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the outputs 1..C of superpixels, int64 (n + 1,), and confidences in (0, 1], float32 (n + 1,)."""
        q = self.posterior(means, described, threads)
        ids = np.where(np.arange(len(q)) > 0, q.argmax(axis=1) + 1, 0)
        return ids, tempered(q, self._teaching.temperature)


def log_classes(
    teaching: Teaching, clusters: NDArray[np.float32], features: NDArray[np.float32], threads: int = 1
) -> NDArray[np.float32]:
    """Return log p of the classes of superpixels, up to a number for each: float32 (n, C).

    Args:
        teaching: What a model was taught.
        clusters: float32 (n, K), the probabilities of clusters.
        features: float32 (n, D), not scaled.
        threads: How many threads to use; the result does not depend on it.
    """
    log_p = np.zeros((len(clusters), len(teaching.names)), np.float32)
    arrays = teaching.votes, teaching.centre, teaching.deviation, teaching.weights, teaching.intercepts

    def compute(regions: Range) -> None:
        _log_classes(clusters, features, *arrays, teaching.exponent, DOUBT, *regions, log_p)

    with worker_threads(threads) as parallel_map:
        parallel_map(compute, stripes(0, len(clusters), threads))
    return log_p


@compiled
def _log_classes(
    clusters: Any, features: Any, votes: Any, centre: Any, deviation: Any, weights: Any, intercepts: Any,
    exponent: float, doubt: float, first: int, stop: int, log_p: Any,
) -> None:  # fmt: skip
    """Write log p, float32 (n, C), of the regions first .. stop."""
    K, C = votes.shape
    D = len(centre)
    scaled, share = np.empty(D), np.empty(C)
    for region in range(first, stop):
        for d in range(D):
            scaled[d] = (np.float64(features[region, d]) - centre[d]) / deviation[d]
        for c in range(C):
            share[c] = intercepts[c]
            for d in range(D):
                share[c] += weights[c, d] * scaled[d]
        largest, total = share.max(), 0.0
        for c in range(C):
            share[c] = exp(np.float32(share[c] - largest))
            total += share[c]
        for c in range(C):
            vote = 0.0
            for k in range(K):
                vote += np.float64(clusters[region, k]) * votes[k, c]
            # Probabilities of clusters that add up to 1 but for rounding, times votes that are positive.
            log_p[region, c] = log(max(vote, 1e-30)) + exponent * log((1 - doubt) * (share[c] / total) + doubt / C)
