"""Smoothing of class probabilities over the graph of regions: mean field of a Potts model.

The energy of a labelling is the sum of -log p over regions, less the coupling times the weight of each edge within a
class; its mean-field approximation is found by fixed-point iteration (Kraehenbuehl and Koltun 2011, algorithm 1, on a
sparse graph). All regions change at once, so the posterior of a region after n rounds depends on those at most n edges
away, and on nothing else. Each sum is in the order of the graph: results are the same to the last bit for any array
that contains these regions, and for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, stripes, worker_threads
from geoseg.segments.elementary import exp
from geoseg.segments.graph import RegionGraph


def edge_weights(graph: RegionGraph, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights of the edges of a graph, float32 (m,) in [0, 1].

    The weight of the edge from region s to t is the share of t in the border of s with all its neighbours, times
    exp(-d^2 / 2). The two directions of an edge differ.

    Args:
        graph: the graph of n regions.
        features: float32 (n + 1, D), finite, scaled such that distances d of about 1 separate regions; row 0 is not
            used.
    """
    weights = np.empty(len(graph.neighbours), np.float32)
    _weigh(graph.start, graph.neighbours, graph.borders, np.ascontiguousarray(features), weights)
    return weights


def mean_field(
    log_p: NDArray[np.float32],
    graph: RegionGraph,
    weights: NDArray[np.float32],
    coupling: float,
    rounds: int,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the posterior q of each region after some rounds of mean field.

    q starts as softmax(log_p). In each round, q_s <- softmax(log_p_s + coupling * sum_t weight_st q_t).

    Args:
        log_p: float32 (n + 1, K), log probabilities up to a number for each region, finite; row 0 is not used.
        graph: the graph of n regions.
        weights: float32 (m,), of its edges.
        coupling: how strongly neighbours agree.
        rounds: number of rounds, at least 0.
        threads: number of threads; the result does not depend on it.

    Returns:
        float32 (n + 1, K), each row with the sum 1 but for rounding; row 0 is 0.
    """
    log_p = np.ascontiguousarray(log_p)
    q, following = np.zeros_like(log_p), np.zeros_like(log_p)
    regions = stripes(1, len(log_p), threads)
    with worker_threads(threads) as parallel_map:

        def run(kernel: Callable[..., None], *arguments: Any) -> None:
            parallel_map(lambda each: kernel(*arguments, *each), regions)

        run(_start, log_p, q)
        for _ in range(rounds):
            run(_iterate, log_p, graph.start, graph.neighbours, weights, np.float32(coupling), q, following)
            q, following = following, q
    return q


@compiled
def _weigh(start: Any, neighbours: Any, borders: Any, features: Any, weights: Any) -> None:
    for region in range(1, len(start) - 1):
        total = np.int64(0)
        for edge in range(start[region], start[region + 1]):
            total += borders[edge]
        for edge in range(start[region], start[region + 1]):
            distance = np.float32(0)
            for d in range(features.shape[1]):
                difference = features[region, d] - features[neighbours[edge], d]
                distance += difference * difference
            weights[edge] = np.float32(borders[edge] / total) * exp(np.float32(-0.5) * distance)


@compiled
def _softmax(values: Any, q: Any) -> None:
    """Write the softmax of `values` (K,) to `q`, which may be the same array."""
    largest = values[0]
    for k in range(1, len(values)):
        largest = max(largest, values[k])
    for k in range(len(values)):
        q[k] = exp(values[k] - largest)
    total = 0.0
    for k in range(len(values)):
        total += np.float64(q[k])
    scale = np.float32(1 / total)
    for k in range(len(values)):
        q[k] *= scale


@compiled
def _start(log_p: Any, q: Any, first: int, stop: int) -> None:
    """Write the softmax of the regions first .. stop."""
    for region in range(first, stop):
        _softmax(log_p[region], q[region])


@compiled
def _iterate(
    log_p: Any, start: Any, neighbours: Any, weights: Any, coupling: Any, q: Any, new: Any, first: int, stop: int
) -> None:
    """Write one round of the regions first .. stop from `q` to `new`, both (n + 1, K)."""
    classes = log_p.shape[1]
    values = np.empty(classes, np.float32)
    for region in range(first, stop):
        values[:] = 0
        for edge in range(start[region], start[region + 1]):
            weight, other = weights[edge], neighbours[edge]
            for k in range(classes):
                values[k] += weight * q[other, k]
        for k in range(classes):
            values[k] = log_p[region, k] + coupling * values[k]
        _softmax(values, new[region])
