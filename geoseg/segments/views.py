"""Views of superpixels: what the mixture that training starts from tells classes by.

    brightness   mean brightness in each band, and log contrast (`region_descriptors`)
    hue          mean log brightness in each band, and log contrast
    neighbours   the mean hue of the superpixels that touch it, weighted by the border with each

What a superpixel is shows in what lies around it, too: a dark one among trees is a shadow, one among boats is water.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.kernels import compiled
from geoseg.recipes import Start
from geoseg.segments.descriptors import region_descriptors
from geoseg.segments.graph import RegionGraph, region_graph

View = Literal["brightness", "hue", "neighbours"]

_VIEWS: dict[Start, tuple[tuple[View, float], ...]] = {
    "brightness": (("brightness", 1.0),),
    "hue": (("hue", 1.0),),
    "surroundings": (("hue", 1.0), ("neighbours", 0.5)),
}


def views_of(start: Start) -> tuple[tuple[View, float], ...]:
    """Return the views of a start with their weights. The first one is a superpixel's own."""
    return _VIEWS[start]


def dimensions(start: Start, bands: int) -> int:
    """Return the number D of descriptors of a superpixel, for a number of bands."""
    return len(_VIEWS[start]) * (bands + 1)


def needs_graph(start: Start) -> bool:
    """Return whether the views of a superpixel depend on the superpixels that touch it."""
    return any(view == "neighbours" for view, _ in _VIEWS[start])


def superpixel_views(
    pixels: NDArray[Any],
    labels: NDArray[np.int32],
    count: int,
    low: ArrayLike,
    high: ArrayLike,
    start: Start,
    graph: RegionGraph | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the descriptors of superpixels: all views of a start, side by side.

    Args:
        pixels: (bands, rows, cols), any real dtype; see `region_descriptors`.
        labels: int32 (rows, cols), superpixels 1..count; 0 belongs to none.
        count: Number of superpixels.
        low: (bands,), the dark end of each band.
        high: (bands,), the bright end, greater than `low`.
        start: Which views.
        graph: The graph of the superpixels; None makes it if it is needed.
        threads: Number of threads; the result does not depend on it.

    Returns:
        float32 (count, D), with bands + 1 columns for each view, in the order of `views_of`.
    """
    found: dict[View, NDArray[np.float32]] = {}
    for view, _ in _VIEWS[start]:
        if view == "neighbours":
            graph = region_graph(labels, count, threads) if graph is None else graph
            found[view] = neighbour_means(graph, found["hue"])
        else:
            found[view] = region_descriptors(pixels, labels, count, low, high, view, threads)
    return np.concatenate(list(found.values()), axis=1)


def neighbour_means(graph: RegionGraph, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the values of each region's neighbours, weighted by the border with each.

    Sums are in the order of the graph, so they are the same to the last bit in any array that contains the regions.

    Args:
        graph: The graph of n regions.
        values: float32 (n, D), of the regions 1..n.

    Returns:
        float32 (n, D); a region without neighbours has its own values.
    """
    means = np.array(values, np.float32)
    _average(graph.start, graph.neighbours, graph.borders, np.ascontiguousarray(values), means)
    return means


@compiled
def _average(start: Any, neighbours: Any, borders: Any, values: Any, means: Any) -> None:
    sums = np.empty(values.shape[1])
    for region in range(1, len(start) - 1):
        sums[:] = 0
        total = np.int64(0)
        for edge in range(start[region], start[region + 1]):
            total += borders[edge]
            for d in range(len(sums)):
                sums[d] += borders[edge] * np.float64(values[neighbours[edge] - 1, d])
        if total > 0:
            for d in range(len(sums)):
                means[region - 1, d] = sums[d] / total
