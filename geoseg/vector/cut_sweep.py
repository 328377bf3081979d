"""The sweep of a stripe: some rows of a raster, cut off from those above and below.

    row above the stripe, not known      1 1 2 2 2          Where two runs of the first row meet, the vertical side
                                         - - - - -          between them goes on above the stripe. The ring of the left
    first row                            1 1|3 3 3          run walks it northwards, that of the right one southwards.
                                         1 1 1 1 3

The sweep begins below the first row. In place of the edges above it, which are not known, there are *stubs*: one edge
that follows each side walked northwards, and one that precedes each side walked southwards. So chains end at stubs as
they end at the last row, and a ring through a stub does not close. What is left at the end is the `Border` of the
stripe: its components that touch the first or the last row, and their chains. `geoseg.vector.join_sweep` puts the
edges of the line above the stripe in the place of the stubs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined
from geoseg.vector.sweep import Sweep
from geoseg.vector.sweep_kernels import (
    ABOVE,
    COL,
    FREE_LABELS,
    HEAD,
    HOLES,
    LABEL,
    LEFT,
    NEXT,
    NONE,
    OTHER,
    OUTER,
    ROW,
    TAIL,
    USED,
    VALUE,
    find,
)
from geoseg.vector.sweep_rows import add_confidence, add_pixels, encode_row, settle


class Row(NamedTuple):
    """The runs of one row, n of them; run 0 lies left of the raster.

    Attributes:
        lefts: int32 (n,), first columns; that of run 0 means nothing.
        values: int64 (n,).
        components: int32 (n,), indices of components; NONE where the value is 0.
    """

    lefts: NDArray[np.int32]
    values: NDArray[np.int64]
    components: NDArray[np.int32]


class Border(NamedTuple):
    """The components of a stripe that touch its first or last row, c of them.

    Attributes:
        rows: first row of the stripe, and the one after its last.
        top: the first row.
        bottom: the last row.
        components: int64 (c, 6), the columns from VALUE to EDGES.
        lasts: int64 (c,), (row << 32) | column of the last vertex in raster order.
        chains: int32 (n, 3): where a chain begins, where it ends, how many edges it has. Run r of the first row stands
            for the side at its left, ~r for that of run r of the last row.
        holes: int32 (h, 2): component and number of edges of each ring that is closed.
        edges: int32 (m, 2), ROW and COL of all edges: those of the chains, then those of the holes.
    """

    rows: tuple[int, int]
    top: Row
    bottom: Row
    components: NDArray[np.int64]
    lasts: NDArray[np.int64]
    chains: NDArray[np.int32]
    holes: NDArray[np.int32]
    edges: NDArray[np.int32]


class CutSweep(Sweep):
    """The state of a sweep over a stripe of a raster.

    Args:
        cols: pixels in a row.
        noded: see `Sweep`; the same for all stripes of a raster.
        row: first row of the stripe.
    """

    def __init__(self, cols: int, noded: bool = False, row: int = 0) -> None:
        super().__init__(cols, noded, row, rows_of_labels=3)
        self._first = row
        self._top_lefts, self._top_values = np.empty(0, np.int32), np.empty(0, np.int64)

    def advance(
        self, band: NDArray[Any], row: int, weights: NDArray[np.int64], confidence: NDArray[Any] | None = None
    ) -> int:
        """Sweep the rows of `band`, as `Sweep.advance` does."""
        if self.row == self._first and row < len(band):
            sure = band[:0] if confidence is None else confidence[row : row + 1]
            self._begin(band[row], weights[row], sure)
            self.row, row = self.row + 1, row + 1
        return super().advance(band, row, weights, confidence)

    def _begin(self, values: NDArray[Any], weights: NDArray[np.int64], confidence: NDArray[Any]) -> None:
        count = _begin(values, weights, confidence, self._runs, self.edges, self._labels, self._counters)
        above = self._counters[ABOVE]
        self._top_lefts = self._runs.places[above, :count, LEFT].copy()
        self._top_values = self._runs.values[above, :count].copy()

    def cut(self) -> Border:
        """Return what is open at the end of the stripe; closed components must have been taken and released."""
        runs, labels, above = self._runs, self._labels, self._counters[ABOVE]
        stubs = 2 * len(self._top_values)
        count = int(runs.counts[above])
        places, values = runs.places[above, :count], runs.values[above, :count]
        live = np.ones(len(labels.parents), np.bool_)
        live[labels.free[: self._counters[FREE_LABELS]]] = False
        names = np.flatnonzero(live)
        index = np.full(len(live), NONE, np.int32)
        index[names] = np.arange(len(names))
        sums = labels.sums[names]
        bottom = np.where(values != 0, index[places[:, LABEL]], NONE).astype(np.int32)
        chains, edges, lasts, top = _chains(
            self._top_values, places, values, bottom, sums[:, OUTER], self.edges, self.kept - stubs
        )
        used = int(chains[:, 2].sum())
        holes = _holes(sums, self.edges, edges, used)
        return Border(
            (self._first, self.row),
            Row(self._top_lefts, self._top_values, top),
            Row(places[:, LEFT].copy(), values.copy(), bottom),
            sums[:, VALUE:OUTER].copy(), lasts, chains, holes, edges,
        )  # fmt: skip


@compiled
def _begin(row: Any, weights: Any, confidence: Any, runs: Any, edges: Any, labels: Any, counters: Any) -> int:
    """Take the first row of a stripe; confidence: (1, cols), or (0, cols) without one. Return the number of its runs.

    The edges 2 r and 2 r + 1 become the stubs at the left of run r: HEAD and TAIL.
    """
    below = 1 - counters[ABOVE]
    places, values = runs.places[below], runs.values[below]
    count = encode_row(row, places, values)
    runs.counts[below] = count
    settle(count, places, values, labels, counters)
    for run in range(count):
        for stub in range(2 * run, 2 * run + 2):
            edges[stub, OTHER] = stub
        places[run, HEAD], places[run, TAIL] = 2 * run, 2 * run + 1
        if values[run] != 0:
            labels.sums[places[run, LABEL], OUTER] = run
    counters[USED] = 2 * count
    add_pixels(count, places, values, labels.sums, weights)
    if len(confidence):
        add_confidence(count, places, values, labels.sums, confidence[0])
    counters[ABOVE] = below
    return count


@compiled
def _chains(
    top_values: Any, places: Any, values: Any, bottom: Any, tops: Any, edges: Any, count: int
) -> tuple[Any, Any, Any, Any]:
    """Return the chains, room for `count` edges with those of the chains, the last vertex of each component, and the
    components of the runs of the first row.

    That a component touches the first row in several runs shows in its chains: the ring around the component within
    the stripe goes from run to run. tops: a run of the first row for each component, 0 without one.
    """
    stubs = 2 * len(top_values)
    for run in range(1, len(values)):
        if values[run] != 0:
            edges[places[run, TAIL], NEXT] = run
    out = np.empty((count, 2), np.int32)
    chains = np.empty((len(top_values) + len(values), 3), np.int32)
    found = at = 0
    groups = np.arange(len(top_values)).astype(np.int32)
    owners = np.full(len(top_values), NONE, np.int32)
    for run in range(1, len(top_values)):
        if top_values[run] != 0:
            end, at = _copy_chain(edges, 2 * run + 1, stubs, out, at, chains, found)
            chains[found, 0] = run
            found += 1
            if end >= 0:
                one, two = find(groups, run), find(groups, end - 1)
                groups[max(one, two)] = min(one, two)
            else:
                owners[run] = bottom[~end]
    for run in range(1, len(values)):
        if values[run - 1] != 0:
            end, at = _copy_chain(edges, places[run, HEAD], stubs, out, at, chains, found)
            chains[found, 0] = ~run
            found += 1
            if end >= 0:
                owners[end - 1] = bottom[run - 1]
    for component in range(len(tops)):
        if tops[component] > 0:
            owners[tops[component]] = component
    for run in range(len(owners)):
        if owners[run] >= 0:
            owners[find(groups, run)] = owners[run]
    for run in range(len(owners)):
        owners[run] = owners[find(groups, run)]
    lasts, at = np.zeros(len(tops), np.int64), 0
    for k in range(found):
        start = chains[k, 0]
        owner = owners[start] if start >= 0 else bottom[~start - 1]
        for edge in range(at, at + chains[k, 2]):
            last = (np.int64(out[edge, 0]) << 32) | np.int64(out[edge, 1] >> 2)
            lasts[owner] = max(lasts[owner], last)
        at += chains[k, 2]
    return chains[:found].copy(), out, lasts, owners


@inlined
def _copy_chain(edges: Any, first: Any, stubs: int, out: Any, at: int, chains: Any, chain: int) -> tuple[int, int]:
    """Copy the edges of a chain but its stubs, and write where it ends; return that, and where copies go on."""
    last, edge, begin = edges[first, OTHER], first, at
    while True:
        if edge >= stubs:
            out[at, 0], out[at, 1] = edges[edge, ROW], edges[edge, COL]
            at += 1
        if edge == last:
            break
        edge = edges[edge, NEXT]
    end = last >> 1 if last < stubs and last & 1 == 0 else ~edges[last, NEXT]
    chains[chain, 1], chains[chain, 2] = end, at - begin
    return end, at


@compiled
def _holes(sums: Any, edges: Any, out: Any, at: int) -> Any:
    """Copy the edges of the holes of all components; return (component, number of edges) of each, int32."""
    holes, count = np.empty((len(out) // 2, 2), np.int32), 0
    for component in range(len(sums)):
        first = sums[component, HOLES]
        while first >= 0:
            begin, edge = at, first
            while True:
                out[at, 0], out[at, 1] = edges[edge, ROW], edges[edge, COL]
                at += 1
                edge = edges[edge, NEXT]
                if edge == first:
                    break
            holes[count, 0], holes[count, 1] = component, at - begin
            count += 1
            first = edges[first, OTHER]
    return holes[:count].copy()
