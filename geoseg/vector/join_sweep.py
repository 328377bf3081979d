"""Joins stripes: sweeps the lines between them, and links what their sweeps left open.

    stripe above     1 1|2 2 2        The line between two stripes is swept like any other: below the runs of the last
    line swept here  ----+-+--        row of one lie those of the first row of the other. Its edges are what the stubs
    stripe below     1 1 1|3 3        of the stripe below stood for. When the chains of that stripe are linked to them,
                                      components become one, holes close, and components end.

So the state is that of a sweep over all rows up to the end of the stripe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.vector.cut_sweep import Border, Row
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import (
    ABOVE,
    BEYOND,
    FREE_LABELS,
    HEAD,
    HOLES,
    LABEL,
    LEFT,
    MERGED,
    NEW,
    NEXT,
    NONE,
    OTHER,
    OUTER,
    PIXELS,
    TAIL,
    VALUE,
    find,
    keep_hole,
    link,
    merge,
    new_edge,
    sweep_line,
)
from geoseg.vector.sweep_rows import settle


class JoinSweep(Sweep):
    """A sweep that takes stripes in place of rows, from top to bottom; arguments: as of `Sweep`."""

    def begin(self, top: Row) -> None:
        """Sweep the line above a stripe; `take` returns the components that are closed then.

        Args:
            top: its first row.
        """
        self._make_space(self._reserve)
        _sweep_seam(self.row, self.noded, top.lefts, top.values, self._runs, self.edges, self._labels, self._closed,
                    self._counters)  # fmt: skip

    def join(self, border: Border) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take the components of the stripe, after `begin`.

        Returns:
            The components that touch its first row and are closed within it, int64 (n, 8), and the last vertex of each
            in raster order, int64 (n,), (row << 32) | column, which they are sorted by. Their edges must be released.
        """
        self._make_space(len(border.edges))
        closed = np.empty((len(border.components), 8), np.int64)
        lasts = np.empty(len(closed), np.int64)
        count = _join(
            border.top.components, border.bottom.lefts, border.bottom.values, border.bottom.components,
            border.components, border.lasts, border.chains, border.holes, border.edges,
            self._runs, self.edges, self._labels, self._counters, closed, lasts,
        )  # fmt: skip
        self.row = border.rows[1]
        order = np.argsort(lasts[:count])
        return closed[order], lasts[order]


@compiled
def _sweep_seam(
    row: int, noded: bool, lefts: Any, values: Any, runs: Any, edges: Any, labels: Any, closed: Any, counters: Any
) -> None:
    """Sweep a line whose row below has these runs."""
    below = 1 - counters[ABOVE]
    places, count = runs.places[below], len(values)
    for run in range(count):
        runs.values[below, run] = values[run]
        places[run, LEFT], places[run, LABEL], places[run, NEW] = lefts[run], NONE, 0
    places[count, LEFT] = BEYOND
    runs.counts[below] = count
    sweep_line(row, noded, runs, edges, labels, closed, counters)
    settle(count, places, runs.values[below], labels, counters)
    counters[ABOVE] = below


@compiled
def _join(
    tops: Any, lefts: Any, values: Any, bottoms: Any, components: Any, border_lasts: Any, chains: Any, holes: Any,
    border_edges: Any, runs: Any, edges: Any, labels: Any, counters: Any, closed: Any, lasts: Any,
) -> int:  # fmt: skip
    """Take the border of a stripe below the line swept last; write what is closed, and return how many that are."""
    upper, lower = runs.places[counters[ABOVE]], runs.places[1 - counters[ABOVE]]
    names = _unite(tops, upper, components, edges, labels, counters)
    _link_chains(chains, border_edges, tops, bottoms, names, upper, lower, edges, labels, counters)
    _copy_holes(chains, holes, border_edges, names, edges, labels, counters)
    for run in range(len(values)):
        runs.values[1 - counters[ABOVE], run] = values[run]
        lower[run, LEFT] = lefts[run]
        lower[run, LABEL] = find(labels.parents, names[bottoms[run]]) if values[run] != 0 else NONE
    lower[len(values), LEFT] = BEYOND
    counters[ABOVE] = 1 - counters[ABOVE]
    runs.counts[counters[ABOVE]] = len(values)
    count = _finish(border_lasts, names, lower[: len(values), LABEL], edges, labels, counters, closed, lasts)
    for k in range(counters[MERGED]):
        labels.free[counters[FREE_LABELS]] = labels.merged[k]
        counters[FREE_LABELS] += 1
    counters[MERGED] = 0
    return count


@compiled
def _unite(tops: Any, upper: Any, components: Any, edges: Any, labels: Any, counters: Any) -> Any:
    """Return the label of each component of a stripe, int64; what it connects is merged, and its sums are added."""
    parents, sums, last_holes, merged, free = labels
    names = np.full(len(components), NONE, np.int64)
    for run in range(len(tops)):
        component = tops[run]
        if component < 0:
            continue
        label: Any = np.int64(find(parents, np.int64(upper[run, LABEL])))
        if names[component] >= 0:
            root: Any = np.int64(find(parents, names[component]))
            if root != label:
                merge(root, label, parents, sums, last_holes, merged, edges, counters)
            label = root
        names[component] = label
    for component in range(len(components)):
        if names[component] < 0:
            counters[FREE_LABELS] -= 1
            label = np.int64(free[counters[FREE_LABELS]])
            parents[label] = label
            sums[label, :] = 0
            sums[label, VALUE], sums[label, HOLES] = components[component, VALUE], NONE
            names[component] = label
        names[component] = find(parents, names[component])
        for column in range(PIXELS, OUTER):
            sums[names[component], column] += components[component, column]
    return names


@compiled
def _link_chains(
    chains: Any, border_edges: Any, tops: Any, bottoms: Any, names: Any, upper: Any, lower: Any, edges: Any,
    labels: Any, counters: Any,
) -> None:  # fmt: skip
    """Link the chains of a stripe to those above it, and write which wait for an edge below it."""
    at = 0
    for chain in range(len(chains)):
        start, end, length = chains[chain, 0], chains[chain, 1], chains[chain, 2]
        # The chain as it is before it is linked to what follows above the stripe.
        first: Any = np.int64(NONE)
        last: Any = np.int64(upper[start, TAIL] if start >= 0 else NONE)
        for k in range(at, at + length):
            edge: Any = np.int64(new_edge(edges, counters, border_edges[k, 0], border_edges[k, 1]))
            if last >= 0:
                link(edges, last, edge)
            if first < 0:
                first = edge
            last = edge
        at += length
        if end < 0:
            lower[~end, TAIL] = last
        elif last < 0:
            first = np.int64(upper[end, HEAD])
        elif link(edges, last, upper[end, HEAD]):
            owner = tops[start] if start >= 0 else bottoms[~start - 1]
            keep_hole(find(labels.parents, names[owner]), last, labels.sums, labels.last_holes, edges)
        if start < 0:
            lower[~start, HEAD] = first


@compiled
def _copy_holes(chains: Any, holes: Any, border_edges: Any, names: Any, edges: Any, labels: Any, counters: Any) -> None:
    """Add the holes of the components of a stripe."""
    at: Any = np.int64(0)
    for count in chains[:, 2]:
        at += count
    for hole in range(len(holes)):
        component, length = holes[hole, 0], holes[hole, 1]
        first: Any = np.int64(NONE)
        last: Any = np.int64(NONE)
        for k in range(at, at + length):
            edge: Any = np.int64(new_edge(edges, counters, border_edges[k, 0], border_edges[k, 1]))
            if last >= 0:
                edges[last, NEXT] = edge
            else:
                first = edge
            last = edge
        at += length
        edges[last, NEXT] = first
        keep_hole(find(labels.parents, names[component]), first, labels.sums, labels.last_holes, edges)


@compiled
def _finish(
    border_lasts: Any, names: Any, below: Any, edges: Any, labels: Any, counters: Any, closed: Any, lasts: Any
) -> int:
    """Close the components that do not reach the last row of the stripe, whose runs have the labels `below`.

    All their rings are closed, and in the list of holes; which is the exterior does not matter to
    `geoseg.vector.outlines`.
    """
    latest = np.full(len(labels.parents), NONE, np.int64)
    is_open = np.zeros(len(labels.parents), np.bool_)
    for run in range(len(below)):
        if below[run] >= 0:
            is_open[below[run]] = True
    for component in range(len(names)):
        label: Any = np.int64(find(labels.parents, names[component]))
        latest[label] = max(latest[label], border_lasts[component])
    count = 0
    for component in range(len(names)):
        label = np.int64(find(labels.parents, names[component]))
        if is_open[label]:
            continue
        is_open[label] = True
        closed[count] = labels.sums[label]
        outer = labels.sums[label, HOLES]
        closed[count, OUTER], closed[count, HOLES] = outer, edges[outer, OTHER]
        lasts[count] = latest[label]
        count += 1
        labels.free[counters[FREE_LABELS]] = label
        counters[FREE_LABELS] += 1
    return count
