"""The graph of regions: which touch, and along how many pixels.

    1 1 2      Regions 1 and 2 have a border of 2 pairs of adjacent pixels, 1 and 3 one of 2, 2 and 3 one of 1.
    1 1 2      A raster scan, which compares each pixel with the one on its left, then with the one above it, meets the
    3 3 2      pair 1, 2 first, then 1, 3, then 2, 3.

A region's neighbours are in the order in which the scan first meets them. This order, and the borders, are the same in
every array that contains the region and its neighbours' pixels beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Range, compiled, inlined, stripes, worker_threads

_EMPTY = -1
_LOWER = (1 << 32) - 1
_FACTOR, _SHIFT, _STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(1)
"""2^64 / golden ratio: multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4)."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Pairs of touching regions, each once, and their borders: int64 (p,), int32 (p,). See `_pair`."""


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """Neighbours of the regions 1..n; a pair of neighbours is in it twice, once for each of the two.

    Attributes:
        start: int64 (n + 2,). The neighbours of region r are neighbours[start[r] : start[r + 1]]; region 0 has none.
        neighbours: int32 (m,), in the order in which a raster scan first meets them.
        borders: int32 (m,), the number of pairs of 4-adjacent pixels, one in each of the two regions.
    """

    start: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    borders: NDArray[np.int32]


def region_graph(labels: NDArray[np.int32], count: int, threads: int = 1) -> RegionGraph:
    """Return the graph of the regions of an array.

    The work is linear in pixels, however many neighbours a region has.

    Args:
        labels: int32 (rows, cols) in [0, count]; 0 belongs to no region.
        count: number of regions; they may have no pixels, or pixels that are not connected.
        threads: number of threads; the result does not depend on it.
    """
    labels = np.ascontiguousarray(labels)

    def find(rows: Range) -> Pairs:
        pairs: Pairs = _find_pairs(labels, *rows)
        return pairs

    with worker_threads(threads) as parallel_map:
        parts = parallel_map(find, stripes(0, labels.shape[0], threads))
    keys, borders = parts[0]
    if len(parts) > 1:
        keys, borders = _merged(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    return RegionGraph(*_both_ways(keys, borders, count))


@inlined
def _pair(a: Any, b: Any) -> Any:
    """Return two regions as one number, the lesser in the upper half."""
    return (np.int64(min(a, b)) << 32) | np.int64(max(a, b))


@inlined
def _place(key: Any, table: Any, keys: Any) -> Any:
    """Return the place of a pair in the hash table, or the empty one where it belongs."""
    last = np.uint64(len(table) - 1)
    place = (np.uint64(key) * _FACTOR >> _SHIFT) & last
    while table[place] != _EMPTY and keys[table[place]] != key:
        place = (place + _STEP) & last
    return place


@inlined
def _found(key: Any, table: Any, keys: Any, count: Any) -> Any:
    """Return the index of a pair, which is added if it is new, and the number of pairs then."""
    place = _place(key, table, keys)
    if table[place] == _EMPTY:
        table[place] = count
        keys[count] = key
        count += 1
    return np.int64(table[place]), count


@compiled
def _grown(table: Any, keys: Any, borders: Any, count: int) -> Any:
    """Return the table, keys and borders with twice the capacity."""
    table = np.full(2 * len(table), _EMPTY, np.int32)
    keys = np.concatenate((keys, np.empty_like(keys)))
    borders = np.concatenate((borders, np.zeros_like(borders)))
    for index in range(count):
        table[_place(keys[index], table, keys)] = index
    return table, keys, borders


@compiled
def _new_table(needed: int) -> Any:
    """Return the empty table, keys and borders for at least `needed` pairs; half of the table stays empty."""
    capacity = 1024
    while capacity < needed:
        capacity *= 2
    return np.full(2 * capacity, _EMPTY, np.int32), np.empty(capacity, np.int64), np.zeros(capacity, np.int32)


@compiled
def _find_pairs(labels: Any, first: int, stop: int) -> Any:
    """Return the pairs that the scan meets in the rows first .. stop, in its order, and their borders."""
    cols = labels.shape[1]
    table, keys, borders = _new_table(4 * cols)
    count, index, last = 0, 0, np.int64(-1)
    for row in range(first, stop):
        if count + 2 * cols > len(keys):
            table, keys, borders = _grown(table, keys, borders, count)
        line, upper = labels[row], labels[max(row - 1, 0)]
        for col in range(cols):
            label, left, above = line[col], line[max(col - 1, 0)], upper[col]
            if label == 0 or (left == label and above == label):
                continue
            for other in (left, above):
                if other == label or other == 0:
                    continue
                key = _pair(label, other)
                if key != last:  # Along a border the same pair comes many times in a row.
                    index, count = _found(key, table, keys, count)
                    last = key
                borders[index] += 1
    return keys[:count].copy(), borders[:count].copy()


@compiled
def _merged(keys: Any, borders: Any) -> Any:
    """Return pairs that may occur several times once each, where they are first, with the sums of their borders."""
    table, merged, sums = _new_table(len(keys))
    count = 0
    for k in range(len(keys)):
        index, count = _found(keys[k], table, merged, count)
        sums[index] += borders[k]
    return merged[:count].copy(), sums[:count].copy()


@compiled
def _both_ways(keys: Any, borders: Any, count: int) -> Any:
    """Return start, neighbours and borders of a `RegionGraph`."""
    start = np.zeros(count + 2, np.int64)
    for key in keys:
        start[(key >> 32) + 1] += 1
        start[(key & _LOWER) + 1] += 1
    for region in range(count + 1):
        start[region + 1] += start[region]
    neighbours = np.empty(2 * len(keys), np.int32)
    lengths = np.empty(2 * len(keys), np.int32)
    following = start.copy()
    for k in range(len(keys)):
        a, b = keys[k] >> 32, keys[k] & _LOWER
        for region, other in ((a, b), (b, a)):
            neighbours[following[region]] = other
            lengths[following[region]] = borders[k]
            following[region] += 1
    return start, neighbours, lengths
