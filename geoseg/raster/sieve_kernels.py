"""Merging of small regions in consecutive rows of a raster, by the rule of `geoseg.raster.sieve`.

    row 0    1 1 1 2 2 2         runs      0: 1 1 1    1: 2 2 2
    row 1    1 3 3 2 2 2                   2: 1   3: 3 3    4: 2 2 2
    row 2    1 1 1 2 2 2                   5: 1 1 1    6: 2 2 2

    regions  0 (runs 0, 2, 5)    1 (runs 1, 4, 6)    3 (run 3): a region is named by its first run
    contacts of region 3         left: run 2, 1 edge; right: run 4, 1; above: run 0, 2; below: run 5, 2
                                 with value 1 it has 5 common edges, with value 2 one: it becomes part of region 0

Each row is cut into runs of equal value, runs are united to regions (union-find), the contacts of small regions are
listed, and small regions merge in the order of their areas, from a heap.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined
from geoseg.raster.sieve_cut import Cut, decide_cut, mark_cut
from geoseg.raster.sieve_regions import Contacts, Regions, find_runs, label_regions, root, run_stop, unite


def merge_small(
    values: NDArray[Any],
    weights: NDArray[np.int64],
    min_area: int,
    above: bool,
    last: bool,
    cut: Cut = Cut(),  # noqa: B008
    doubtful: NDArray[np.bool_] | None = None,
) -> int:
    """Merge small regions as far as these rows decide about them; return the number of settled rows at the top.

    Args:
        values: integers (rows, cols), changed in place; 0 is nodata.
        weights: int64 (rows, 1) or (rows, cols), areas of the pixels.
        min_area: area below which a region is small.
        above: whether the first row was settled before, and with it all regions in it.
        last: whether the last row is the last of the raster.
        cut: sides that are cut off. Small regions that reach them may be larger than they seem; what waits for them is
            decided as if they were not.
        doubtful: bool (rows, cols), where those pixels are marked whose value depends on what is beyond the cut sides;
            required where there are such sides.
    """
    offsets, starts, found = find_runs(values)
    count = len(found)
    regions = Regions(
        np.arange(count, dtype=np.int32), found, np.zeros(count, np.int64), np.zeros(count, np.bool_),
        np.zeros(count, np.bool_), np.zeros(count, np.bool_), np.full((count, 2), -1, np.int32),
    )  # fmt: skip
    cols = values.shape[1]
    label_regions(offsets, starts, cols, weights, regions, min_area, above, last)
    if any(cut):
        mark_cut(offsets, starts, cols, regions, cut.top and not above, cut.bottom and last, cut.left, cut.right)
    total = _touch(offsets, starts, cols, regions, min_area, _contacts(0))
    contacts = _contacts(total)
    _touch(offsets, starts, cols, regions, min_area, contacts)
    _merge(regions, contacts, min_area)
    if doubtful is not None:
        decide_cut(offsets, starts, regions, contacts, min_area, doubtful)
        _merge(regions, contacts, min_area)
    return int(_paint(values, offsets, starts, regions, min_area))


def _contacts(count: int) -> Contacts:
    runs, lengths, following = (np.empty(count, np.int32) for _ in range(3))
    return Contacts(runs, lengths, np.empty(count, np.int64), following)


@compiled
def _touch(offsets: Any, starts: Any, cols: int, regions: Any, min_area: int, contacts: Any) -> int:
    """Write the contacts of all small regions, unless `contacts` is empty; return their number."""
    parents, values, areas, own = regions.parents, regions.values, regions.areas, regions.contacts
    runs, lengths, pixels, following = contacts.runs, contacts.lengths, contacts.pixels, contacts.following
    count = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        for run in range(begin + 1, end):
            pixel = row * cols + starts[run]
            for one, other, place in ((run - 1, run, pixel), (run, run - 1, pixel - 1)):
                if values[one] != 0 and values[other] != 0 and areas[root(parents, one)] < min_area:
                    _meet(parents, own, one, other, 1, place, runs, lengths, pixels, following, count)
                    count += 1
        i, j = begin if row == 0 else offsets[row - 1], begin
        while i < begin and j < end:
            upper, lower = run_stop(starts, i, begin, cols), run_stop(starts, j, end, cols)
            if values[i] != values[j] and values[i] != 0 and values[j] != 0:
                start = max(starts[i], starts[j])
                pixel, length = row * cols + start, min(upper, lower) - start
                for one, other, place in ((i, j, pixel), (j, i, pixel - cols)):
                    if areas[root(parents, one)] < min_area:
                        _meet(parents, own, one, other, length, place, runs, lengths, pixels, following, count)
                        count += 1
            i += upper <= lower
            j += lower <= upper
    return count


@inlined
def _meet(
    parents: Any, own: Any, run: int, other: int, length: int, place: int,
    runs: Any, lengths: Any, pixels: Any, following: Any, at: int,
) -> None:  # fmt: skip
    """Append contact number `at` to the list of the run's region, unless the arrays of contacts are empty."""
    if len(runs):
        runs[at], lengths[at], pixels[at], following[at] = other, length, place, -1
        _append(own, following, root(parents, run), at, at)


@inlined
def _append(own: Any, following: Any, root: int, first: int, last: int) -> None:
    """Append the linked contacts `first` .. `last` to the list of a region."""
    if own[root, 0] < 0:
        own[root, 0] = first
    else:
        following[own[root, 1]] = first
    own[root, 1] = last


@compiled
def _merge(regions: Any, contacts: Any, min_area: int) -> None:
    """Merge small regions into neighbours in the order of their areas, except those that may have to wait."""
    parents, areas, still_open = regions.parents, regions.areas, regions.open
    heap = [(np.int64(0), np.int64(0)) for _ in range(0)]
    for run in range(len(parents)):
        waiting = still_open[run] or regions.cut[run]
        if parents[run] == run and areas[run] < min_area and regions.values[run] != 0 and not waiting:
            heap.append((areas[run], np.int64(run)))
    heapify(heap)
    table = np.empty((16, 3), np.int64)
    while len(heap):
        area, region = heappop(heap)
        if parents[region] != region or areas[region] != area:
            continue
        count, table = _neighbours(regions, contacts, region, table)
        regions.isolated[region] = count == 0
        if count <= 0:
            continue
        best = 0
        for k in range(1, count):
            longer = table[k, 1] - table[best, 1]
            if longer > 0 or (longer == 0 and table[k, 2] < table[best, 2]):
                best = k
        joined = _give(regions, contacts, region, table[best, 0], min_area)
        if areas[joined] < min_area and not (still_open[joined] or regions.cut[joined]):
            heappush(heap, (areas[joined], np.int64(joined)))


@compiled
def _neighbours(regions: Any, contacts: Any, region: Any, table: Any) -> Any:
    """List the neighbouring values in `table`, int64 (k, 3): value, length of the common edge, first adjacent pixel.

    Return their number, -1 if a neighbour precedes the region, and the table, enlarged if need be.
    """
    parents, areas, count = regions.parents, regions.areas, 0
    contact = regions.contacts[region, 0]
    while contact >= 0:
        other = root(parents, contacts.runs[contact])
        if other != region:
            if areas[other] < areas[region] or (areas[other] == areas[region] and other < region):
                return -1, table
            value, k = regions.values[other], 0
            while k < count and table[k, 0] != value:
                k += 1
            if k == count:
                if count == len(table):
                    table = np.concatenate((table, np.empty_like(table)))
                table[k, 0], table[k, 1], table[k, 2] = value, 0, contacts.pixels[contact]
                count += 1
            table[k, 1] += contacts.lengths[contact]
            table[k, 2] = min(table[k, 2], contacts.pixels[contact])
        contact = contacts.following[contact]
    return count, table


@compiled
def _give(regions: Any, contacts: Any, region: Any, value: Any, min_area: int) -> int:
    """Unite a region with all its neighbours of a value; return the first run of the result."""
    own, following = regions.contacts, contacts.following
    contact, end = own[region, 0], own[region, 1]
    joined = region
    while contact >= 0:
        other = root(regions.parents, contacts.runs[contact])
        # The contacts of united neighbours are appended while the list is walked: stop at its former end.
        after = following[contact] if contact != end else -1
        if other != joined and regions.values[other] == value:
            kept, more = own[joined].copy(), own[other].copy()
            at_cut = regions.cut[joined] or regions.cut[other]
            joined = unite(regions.parents, regions.areas, regions.open, joined, other, min_area)
            regions.cut[joined] = at_cut
            regions.values[joined] = value
            own[joined] = kept
            if more[0] >= 0:
                _append(own, following, joined, more[0], more[1])
        contact = after
    return int(joined)


@compiled
def _paint(values: Any, offsets: Any, starts: Any, regions: Any, min_area: int) -> Any:
    """Write the values of the regions to their pixels; return the first row with a region that is not settled."""
    rows, cols = values.shape
    settled = rows
    for row in range(rows):
        end = offsets[row + 1]
        for run in range(offsets[row], end):
            region = root(regions.parents, run)
            value = regions.values[region]
            if value != 0 and regions.areas[region] < min_area and not regions.isolated[region]:
                settled = min(settled, row)
            if values[row, starts[run]] != value:
                values[row, starts[run] : run_stop(starts, run, end, cols)] = value
    return settled
