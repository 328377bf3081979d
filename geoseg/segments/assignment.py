"""The iterations of SLIC on cells: assignment of pixels, exact sums, centres. For the arrays see `slic.cells`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined, prefetch, trailing_zeros
from geoseg.segments.cells import NONE
from geoseg.segments.nearest import CANDIDATES, CHUNK, nearest

_FAR = np.int32(2**31 - CANDIDATES)
"""More than sixteen times any squared distance: the constant of a candidate that is not there."""


_AHEAD = 4096
"""int16 between what is computed and what is fetched into the cache: memory is slower than this arithmetic."""


@compiled
def update_centres(
    sums: NDArray[np.int64],
    slots: NDArray[np.int64],
    bands: NDArray[np.int64],
    rows: tuple[int, int],
    cols: tuple[int, int],
    centres: NDArray[np.int32],
    moved: NDArray[np.bool_],
) -> None:
    """Set the centres of the cells rows x cols to the rounded means of their pixels; `moved` where that changed one.

    Band b, the cell rows bands[b]..bands[b + 1], keeps its sums for the seeds of these rows and of one row more on
    either side, seed row i at sums[slots[b] + i]. A centre without pixels stays where it is.
    """
    values = sums.shape[2]
    total = np.zeros(values, np.int64)
    for i in range(rows[0], rows[1]):
        for j in range(cols[0], cols[1]):
            total[:] = 0
            for b in range(slots.shape[0]):
                if bands[b] - 1 <= i <= bands[b + 1]:
                    for v in range(values):
                        total[v] += sums[slots[b] + i, j, v]
            changed = False
            if total[0] > 0:
                for v in range(values - 1):
                    mean = np.int32(np.rint(total[1 + v] / total[0]))
                    changed |= mean != centres[i, j, v]
                    centres[i, j, v] = mean
            moved[i, j] = changed


@inlined
def _write_coefficients(
    centres: NDArray[np.int32],
    alive: NDArray[np.bool_],
    i: int,
    j: int,
    pitch: int,
    coefficients: NDArray[np.int32],
) -> None:
    """Write what `nearest` compares for the nine candidates of cell (i, j)."""
    for k in range(CANDIDATES):
        down, right = k // 3 - 1, k % 3 - 1
        row, col = i + down, j + right
        if row < 0 or col < 0 or row >= alive.shape[0] or col >= alive.shape[1] or not alive[row, col]:
            coefficients[:, k] = 0
            coefficients[0, k] = _FAR + k
            continue
        y, x = centres[row, col, 0] + down * pitch, centres[row, col, 1] + right * pitch
        square = y * y + x * x
        coefficients[1, k] = (-2 * x << 16) | (-2 * y & 0xFFFF)
        for pair in range(1, coefficients.shape[0] - 1):
            low, high = centres[row, col, 2 * pair], centres[row, col, 2 * pair + 1]
            square += low * low + high * high
            coefficients[1 + pair, k] = (-2 * high << 16) | (-2 * low & 0xFFFF)
        coefficients[0, k] = 16 * square + k


@inlined
def _move(
    tile: NDArray[np.int16],
    place: NDArray[np.int16],
    p: Any,
    k: Any,
    pitch: int,
    sign: int,
    seed: NDArray[np.int64],
) -> None:
    """Add pixel p to the sums of its candidate k, or take it away, position relative to the seed's cell."""
    seed[0] += sign
    seed[1] += sign * (place[p, 0] - (k // 3 - 1) * pitch)
    seed[2] += sign * (place[p, 1] - (k % 3 - 1) * pitch)
    for pair in range(tile.shape[0]):
        seed[3 + 2 * pair] += sign * tile[pair, p, 0]
        seed[4 + 2 * pair] += sign * tile[pair, p, 1]


@compiled
def _replace_choices(
    tile: NDArray[np.int16],
    place: NDArray[np.int16],
    index_words: NDArray[np.uint64],
    choice_words: NDArray[np.uint64],
    pitch: int,
    row: int,
    col: int,
    sums: NDArray[np.int64],
) -> None:
    """Store the new choices of a cell, and move the pixels that chose anew from one seed's sums to another's.

    Eight choices at once are compared as a word. Integer sums are exact: this equals summing all anew.
    """
    for w in range(index_words.shape[0]):
        old, new = choice_words[w], index_words[w]
        differing = old ^ new
        if differing == 0:
            continue
        choice_words[w] = new
        while differing != 0:
            byte = trailing_zeros(differing) >> np.uint64(3)
            shift = byte << np.uint64(3)
            differing &= ~(np.uint64(0xFF) << shift)
            p = 8 * w + np.int64(byte)
            k = np.int64((old >> shift) & np.uint64(15))
            _move(tile, place, p, k, pitch, -1, sums[row + k // 3 - 1, col + k % 3 - 1])
            k = np.int64((new >> shift) & np.uint64(15))
            _move(tile, place, p, k, pitch, 1, sums[row + k // 3 - 1, col + k % 3 - 1])


@inlined
def _any_moved(moved: NDArray[np.bool_], i: int, j: int) -> Any:
    """Say whether a seed of the 3 x 3 cells around cell (i, j) moved."""
    for row in range(max(i - 1, 0), min(i + 2, moved.shape[0])):
        for col in range(max(j - 1, 0), min(j + 2, moved.shape[1])):
            if moved[row, col]:
                return True
    return False


@compiled
def assign(
    tiles: NDArray[np.int16],
    choice: NDArray[np.uint8],
    choice_words: NDArray[np.uint64],
    holes: NDArray[np.bool_],
    centres: NDArray[np.int32],
    alive: NDArray[np.bool_],
    moved: NDArray[np.bool_],
    place: NDArray[np.int16],
    pitch: int,
    rows: tuple[int, int],
    cols: tuple[int, int],
    slot: int,
    sums: NDArray[np.int64],
) -> None:
    """Give every pixel of the cells rows x cols the nearest of its nine centres, and keep the sums exact.

    Seed row i has its sums at sums[slot + i].
    """
    pairs, T = tiles.shape[2:4]
    coefficients = np.empty((2 + pairs, CANDIDATES), np.int32)
    cell = 2 * pairs * T
    ahead = max(_AHEAD // cell * cell, min(cell, _AHEAD))
    words = np.empty(T // 8, np.uint64)
    index = words.view(np.uint8)
    for i in range(rows[0], rows[1]):
        for j in range(cols[0], cols[1]):
            if not alive[i, j] or not _any_moved(moved, i, j):
                continue
            _write_coefficients(centres, alive, i, j, pitch, coefficients)
            tile = tiles[i, j]
            for first in range(0, T, CHUNK):
                for pair in range(pairs):
                    prefetch(tile, 2 * (pair * T + first) + ahead)
                nearest(tile, place, coefficients, first, index)
            if holes[i, j]:
                now = choice[i, j]
                for p in range(T):
                    index[p] = NONE if now[p] == NONE else index[p]
            _replace_choices(tile, place, words, choice_words[i, j], pitch, slot + i, j, sums)
