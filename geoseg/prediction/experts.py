"""From the mean logits of superpixels to classes: the product of a model's experts, smoothed over neighbours.

With x_s the descriptors of superpixel s, r_s the mixture's posterior of them, and z_s the mean logits,
log p_s = a log(r_s + FLOOR) + b log((1 - DOUBT) softmax(z_s) + DOUBT / K)
(`geoseg.model.mixture`). Smoothing makes q of p in some rounds of mean field (`geoseg.segments.smoothing`), in which
the first view of neighbours is compared after division by its deviation over the training imagery. The class is
that of the largest q; its confidence is the softmax of log q / temperature.

All operations on a superpixel are in one fixed order, so they do not depend on what else an array contains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Range, compiled, stripes, worker_threads
from geoseg.model.file import Model
from geoseg.model.mixture import DOUBT, FLOOR, Experts
from geoseg.raster.statistics import BandStats
from geoseg.segments.elementary import exp, log
from geoseg.segments.graph import RegionGraph, region_graph
from geoseg.segments.smoothing import edge_weights, mean_field
from geoseg.segments.views import needs_graph, superpixel_views

_SMALLEST, _NOTHING = 1e-300, -1e30
"""Less than any probability above 0, and than any of their logarithms."""


def rounds_of(model: Model, rounds: int) -> int:
    """Return the rounds of smoothing with `model` where `rounds` are asked for: 0 without experts."""
    return rounds if model.experts is not None else 0


def steps_of(model: Model, rounds: int) -> int:
    """Return how many steps from superpixel to superpixel lead to all on which a class depends.

    Each round of smoothing is a step, and so is a view of the neighbours.
    """
    return 0 if model.experts is None else rounds + needs_graph(model.experts.mixture.start)


@dataclass(frozen=True, eq=False)
class Described:
    """What the experts other than the network know of the superpixels 1..n.

    Attributes:
        descriptors: float32 (n, D).
        graph: Their neighbours; without any if nothing depends on them.
        weights: float32 (m,), of the edges of the graph.
        features: float32 (n, D), what taught classes are told by (`geoseg.model.teaching`); None without such.
    """

    descriptors: NDArray[np.float32]
    graph: RegionGraph
    weights: NDArray[np.float32]
    features: NDArray[np.float32] | None = None


class Combination:
    """The experts of a model, ready to be combined. Safe to share between threads.

    Args:
        experts: The experts.
        stats: Band statistics of the model.
        rounds: Rounds of smoothing.
    """

    def __init__(self, experts: Experts, stats: BandStats, rounds: int) -> None:
        self._experts, self._stats, self._rounds = experts, stats, rounds
        mixture = {name: value.numpy() for name, value in experts.mixture.tensors().items()}
        roots: NDArray[np.float64] = mixture["roots"]
        self._deviation: NDArray[np.float64] = mixture["deviation"]
        # A Gaussian's distance is the norm of x maps - centres.
        maps = np.ascontiguousarray(mixture["axes"] @ roots)  # (K, D, D)
        centres = (mixture["offset"] @ maps) + (mixture["means"][:, None] @ roots)[:, 0]  # (K, D)
        self._maps = np.ascontiguousarray(maps.transpose(1, 2, 0))  # (D, D, K)
        self._centres = np.ascontiguousarray(centres.T)  # (D, K)
        self._heights = np.log(mixture["shares"]) + np.log(roots.diagonal(axis1=1, axis2=2)).sum(axis=1)  # (K,)

    def describe(self, pixels: NDArray[Any], labels: NDArray[np.int32], count: int, threads: int) -> Described:
        """Return what is to be known of superpixels for `classify`.

        Args:
            pixels: (bands, rows, cols), as the model knows them.
            labels: int32 (rows, cols) in [0, count]; 0 is no superpixel.
            count: Number of superpixels.
            threads: How many threads to use; the result does not depend on it.
        """
        stats, start = self._stats, self._experts.mixture.start
        graph = no_edges(count)
        if self._rounds or needs_graph(start):
            graph = region_graph(labels, count, threads)
        descriptors = superpixel_views(pixels, labels, count, stats.low, stats.high, start, graph, threads)
        if not self._rounds:
            return Described(descriptors, graph, np.zeros(len(graph.neighbours), np.float32))
        own = len(pixels) + 1
        features = np.zeros((count + 1, own), np.float32)
        features[1:] = descriptors[:, :own] / self._deviation[:own]
        return Described(descriptors, graph, edge_weights(graph, features))

    def posterior(self, means: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return the smoothed posterior q of superpixels, float32 (n + 1, K); row 0 is 0.

        Args:
            means: float32 (n + 1, K), the mean logits; row 0 is none.
            described: Of the same superpixels.
            threads: How many threads to use; the result does not depend on it.
        """
        return self.smoothed(self.log_product(means, described, threads), described, threads)

    def log_product(self, means: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return log p, the product of experts, float32 (n + 1, K); row 0 is 0. See `posterior`."""
        log_p = np.zeros_like(means)
        # Constants of another module are arguments: numba's cache does not notice that they have changed.
        constants = *self._experts.exponents, FLOOR, DOUBT
        gaussians = self._maps, self._centres, self._heights

        def combine(regions: Range) -> None:
            _combine(described.descriptors, *gaussians, means, *constants, *regions, log_p)

        with worker_threads(threads) as parallel_map:
            parallel_map(combine, stripes(1, len(means), threads))
        return log_p

    def smoothed(self, log_p: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return the smoothed posterior of any classes of superpixels, float32 (n + 1, C); row 0 is 0.

        Args:
            log_p: float32 (n + 1, C), log probabilities of the classes.
            described: Of the same superpixels.
            threads: How many threads to use; the result does not depend on it.
        """
        return mean_field(log_p, described.graph, described.weights, self._experts.coupling, self._rounds, threads)

    def classify(
        self, means: NDArray[np.float32], described: Described, threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the class ids 1..K of superpixels, int64 (n + 1,), and confidences in (0, 1], float32 (n + 1,).

        The arguments are those of `posterior`.
        """
        q = self.posterior(means, described, threads)
        ids = np.where(np.arange(len(q)) > 0, q.argmax(axis=1) + 1, 0)
        return ids, tempered(q, self._experts.temperature)


def no_edges(count: int) -> RegionGraph:
    """Return the graph of regions of which nothing depends on neighbours."""
    none = np.zeros(0, np.int32)
    return RegionGraph(np.zeros(count + 2, np.int64), none, none)


@compiled
def _combine(
    descriptors: Any, maps: Any, centres: Any, heights: Any, means: Any, a: float, b: float, floor: float,
    doubt: float, first: int, stop: int, log_p: Any,
) -> None:  # fmt: skip
    """Write log p, float32 (n + 1, K), of the regions first .. stop."""
    D, K = centres.shape
    mixture, network = np.empty(K), np.empty(K)
    part, distance = np.empty(K), np.empty(K)
    for region in range(first, stop):
        # The innermost loops go over clusters, several of which the processor computes at once.
        x = descriptors[region - 1]
        distance[:] = 0
        for g in range(D):
            for k in range(K):
                part[k] = -centres[g, k]
            for d in range(D):
                for k in range(K):
                    part[k] += x[d] * maps[d, g, k]
            for k in range(K):
                distance[k] += part[k] * part[k]
        for k in range(K):
            mixture[k] = heights[k] - 0.5 * distance[k]
            network[k] = means[region, k]
        _softmax(mixture)
        _softmax(network)
        for k in range(K):
            share = (1 - doubt) * network[k] + doubt / K
            log_p[region, k] = a * log(mixture[k] + floor) + b * log(share)


@compiled
def _softmax(values: Any) -> None:
    largest, total = values.max(), 0.0
    for k in range(len(values)):
        values[k] = exp(np.float32(values[k] - largest))
        total += values[k]
    for k in range(len(values)):
        values[k] /= total


def tempered(q: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return the largest probability of each row of q (n, K) to the power of 1 / temperature, normalised: (n,)."""
    confidence = np.ones(len(q), np.float32)
    _temper(np.ascontiguousarray(q), temperature, confidence)
    return confidence


@compiled
def _temper(q: Any, temperature: float, confidence: Any) -> None:
    scores = np.empty(q.shape[1], np.float32)
    for region in range(len(q)):
        largest = q[region].max()
        if largest <= 0:
            continue
        height = log(np.float64(largest))
        for k in range(q.shape[1]):
            share = np.float64(q[region, k])
            # Without a branch, the processor computes several at once. exp of the least number is 0.
            score = (log(max(share, _SMALLEST)) - height) / temperature
            scores[k] = exp(np.float32(score if share > 0 else _NOTHING))
        total = 0.0
        for k in range(len(scores)):
            total += scores[k]
        confidence[region] = 1 / total
