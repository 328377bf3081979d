"""The iterations of SLIC on cells: assignment of pixels, exact sums, centres.

    +-----+-----+-----+     A pixel of the cell in the middle chooses among the seeds of the 3 x 3 cells around it,
    |  0  |  1  |  2  |     its candidates, numbered in raster order. The seed of a cell may lie anywhere by now; its
    +-----+-----+-----+     position is stored relative to the origin of its own cell.
    |  3  |  4  |  5  |
    +-----+-----+-----+     Sums are kept, not computed anew: a pixel that changes from one candidate to another is
    |  6  |  7  |  8  |     moved from one seed's sums to the other's. They are integers, so nothing is rounded.
    +-----+-----+-----+

For the arrays see `geoseg.segments.cells`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Kernel, compiled, inlined, prefetch, trailing_zeros
from geoseg.segments.candidates import CANDIDATES, CHUNK
from geoseg.segments.cells import NONE


def _nearest() -> Any:
    from geoseg.segments.nearest import nearest

    return nearest


nearest: Callable[..., None] = Kernel(_nearest)
"""`geoseg.segments.nearest.nearest`, which only compiling needs."""

_FAR = np.int32(2**31 - CANDIDATES)
"""Stands for the distance to a candidate that does not exist: more than sixteen times any squared distance."""

_AHEAD = 4096
"""How many int16 before their use colours are fetched into the cache: memory is slower than this arithmetic."""


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
    """Set the centres of the cells rows x cols to the rounded means of their pixels; a centre without pixels stays.

    The lattice is divided into bands of cell rows, each computed by one thread at a time. The pixels of a band may also
    choose seeds one row above and below it, so every band has sums of its own for these rows too, and the sums of a
    seed are those of up to three bands added up:

        band 0  rows 0..2     sums for rows -1..3
        band 1  rows 3..5     sums for rows  2..6

    Args:
        sums: int64 (rows of sums, cell cols, 3 + channels): number of pixels, then sums of row, column and colours.
        slots: int64 (bands,); band b has the sums of seed row i at sums[slots[b] + i].
        bands: int64 (bands + 1,); band b is the cell rows bands[b] .. bands[b + 1].
        rows, cols: ranges of cells.
        centres: int32 (cell rows, cell cols, 2 + channels), updated.
        moved: bool (cell rows, cell cols), set to whether the centre changed.
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
    """Write the coefficients of `nearest` for the nine candidates of cell (i, j), (2 + pairs, 9)."""
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
    """Add pixel p to the sums `seed` of its candidate k (sign 1), or subtract it (-1); positions count from the origin
    of the seed's cell."""
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
    """Store the new choices of a cell, and move the pixels whose choice changed from one seed's sums to the other's.

    Choices are compared eight at a time, as uint64 words, for few change after the first iterations.
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
    """Return whether a seed of the 3 x 3 cells around cell (i, j) moved."""
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
    """Give every pixel of the cells rows x cols the nearest of its nine centres, and update the sums.

    A cell is skipped if none of its candidates moved.

    Args:
        tiles, choice, holes: colours, choices and cells with invalid pixels; see `geoseg.segments.cells`.
        choice_words: uint64 (cell rows, cell cols, T / 8), a view of `choice`.
        centres: int32 (cell rows, cell cols, 2 + channels).
        alive: bool (cell rows, cell cols), whether the cell has a seed.
        moved: bool (cell rows, cell cols), whether the seed moved in this iteration.
        place: int16 (T, 2), from `places`.
        pitch: width of a cell in steps.
        rows, cols: ranges of cells.
        slot: the sums of seed row i are at sums[slot + i].
        sums: int64 (rows of sums, cell cols, 3 + channels), updated.
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
                old = choice[i, j]
                for p in range(T):
                    index[p] = NONE if old[p] == NONE else index[p]
            _replace_choices(tile, place, words, choice_words[i, j], pitch, slot + i, j, sums)
