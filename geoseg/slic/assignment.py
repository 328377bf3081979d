"""The iterations of SLIC on cells: assignment of pixels, exact sums, centres. For the arrays see `_slic_cells`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, fma, inlined
from geoseg.slic.cells import NONE


@compiled
def update_centres(
    sums: NDArray[np.int64],
    slots: NDArray[np.int64],
    bands: NDArray[np.int64],
    rows: tuple[int, int],
    cols: tuple[int, int],
    centres: NDArray[np.float32],
    moved: NDArray[np.bool_],
) -> None:
    """Set the centres of the cells rows x cols to the means of their pixels; `moved` where that changed one.

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
                    mean = np.float32(total[1 + v] / total[0])
                    changed |= mean != centres[i, j, v]
                    centres[i, j, v] = mean
            moved[i, j] = changed


@inlined
def _coefficients(
    centres: NDArray[np.float32],
    alive: NDArray[np.bool_],
    i: int,
    j: int,
    size: int,
    weight: np.float32,
    reference: NDArray[np.float32],
    coefficients: NDArray[np.float32],
) -> None:
    """Write the distance to each of nine centres as a linear function of (y, x, colour - reference).

    |p - q|^2 = |p|^2 + |q|^2 - 2 p.q, and |p|^2 is the same for all candidates of a pixel. The reference is near the
    colours of the cell, so that little is lost to cancellation; it is whole, so that pixel - reference is exact.
    """
    C = reference.shape[0]
    for k in range(9):
        row = i + k // 3 - 1
        col = j + k % 3 - 1
        coefficients[k, :] = 0
        if row < 0 or col < 0 or row >= alive.shape[0] or col >= alive.shape[1] or not alive[row, col]:
            coefficients[k, 0] = np.inf
            continue
        y = centres[row, col, 0] + np.float32((k // 3 - 1) * size)
        x = centres[row, col, 1] + np.float32((k % 3 - 1) * size)
        constant = weight * (y * y + x * x)
        coefficients[k, 1] = np.float32(-2) * weight * y
        coefficients[k, 2] = np.float32(-2) * weight * x
        for c in range(C):
            difference = centres[row, col, 2 + c] - reference[c]
            constant += difference * difference
            coefficients[k, 3 + c] = np.float32(-2) * difference
        coefficients[k, 0] = constant


@compiled
def _shift(values: NDArray[np.int16], reference: np.float32, shifted: NDArray[np.float32]) -> None:
    for p in range(shifted.shape[0]):
        shifted[p] = np.float32(values[p]) - reference


@compiled
def _nearest_of_3_channels(
    g: NDArray[np.float32],
    ys: NDArray[np.float32],
    xs: NDArray[np.float32],
    q: NDArray[np.float32],
    best: NDArray[np.float32],
    index: NDArray[np.uint8],
) -> None:
    """`_nearest` for three channels: three candidates at a time stay in registers."""
    n = best.shape[0]
    for k in range(0, 9, 3):
        k0, k1, k2 = np.uint8(k), np.uint8(k + 1), np.uint8(k + 2)
        m0, y0, x0, r0, s0, t0 = q[k, 0], q[k, 1], q[k, 2], q[k, 3], q[k, 4], q[k, 5]
        m1, y1, x1, r1, s1, t1 = q[k + 1, 0], q[k + 1, 1], q[k + 1, 2], q[k + 1, 3], q[k + 1, 4], q[k + 1, 5]
        m2, y2, x2, r2, s2, t2 = q[k + 2, 0], q[k + 2, 1], q[k + 2, 2], q[k + 2, 3], q[k + 2, 4], q[k + 2, 5]
        for p in range(n):
            y, x, r, s, t = ys[p], xs[p], g[0, p], g[1, p], g[2, p]
            least, nearest = best[p], index[p]
            d = fma(t, t0, fma(s, s0, fma(r, r0, fma(x, x0, fma(y, y0, m0)))))
            nearest = k0 if d < least else nearest
            least = d if d < least else least
            d = fma(t, t1, fma(s, s1, fma(r, r1, fma(x, x1, fma(y, y1, m1)))))
            nearest = k1 if d < least else nearest
            least = d if d < least else least
            d = fma(t, t2, fma(s, s2, fma(r, r2, fma(x, x2, fma(y, y2, m2)))))
            nearest = k2 if d < least else nearest
            least = d if d < least else least
            best[p] = least
            index[p] = nearest


@compiled
def _nearest(
    g: NDArray[np.float32],
    ys: NDArray[np.float32],
    xs: NDArray[np.float32],
    q: NDArray[np.float32],
    distance: NDArray[np.float32],
    best: NDArray[np.float32],
    index: NDArray[np.uint8],
) -> None:
    """Set index (T,) to the candidate of least distance, the first of equals; g (channels, T) is colour - reference."""
    n = best.shape[0]
    for k in range(9):
        constant, by_y, by_x = q[k, 0], q[k, 1], q[k, 2]
        for p in range(n):
            distance[p] = fma(xs[p], by_x, fma(ys[p], by_y, constant))
        for c in range(g.shape[0]):
            by_colour = q[k, 3 + c]
            for p in range(n):
                distance[p] = fma(g[c, p], by_colour, distance[p])
        candidate = np.uint8(k)
        for p in range(n):
            closer = distance[p] < best[p]
            best[p] = distance[p] if closer else best[p]
            index[p] = candidate if closer else index[p]


@compiled
def _replace_choices(
    tile: NDArray[np.int16],
    index: NDArray[np.uint8],
    index_words: NDArray[np.uint64],
    choice: NDArray[np.uint8],
    choice_words: NDArray[np.uint64],
    ys: NDArray[np.float32],
    xs: NDArray[np.float32],
    change: NDArray[np.int64],
) -> Any:
    """Store the new choices of a cell; add to `change` (9, 3 + channels) what its nine seeds gain; say if any does.

    Integer sums are exact, so moving the few pixels that chose anew equals summing all anew.
    """
    changed = False
    for w in range(index_words.shape[0]):
        if index_words[w] == choice_words[w]:
            continue
        changed = True
        for p in range(8 * w, 8 * w + 8):
            old, new = choice[p], index[p]
            if old != new:
                y, x = int(ys[p]), int(xs[p])
                change[old, 0] -= 1
                change[old, 1] -= y
                change[old, 2] -= x
                change[new, 0] += 1
                change[new, 1] += y
                change[new, 2] += x
                for c in range(tile.shape[0]):
                    value = int(tile[c, p])
                    change[old, 3 + c] -= value
                    change[new, 3 + c] += value
        choice_words[w] = index_words[w]
    return changed


@compiled
def _apply(change: NDArray[np.int64], size: int, sums: NDArray[np.int64], row: int, col: int) -> None:
    """Add the change of cell (row, col) to the sums of its nine seeds, positions relative to each; then reset it."""
    for k in range(9):
        gained = change[k, 0]
        down, right = k // 3 - 1, k % 3 - 1
        change[k, 1] -= gained * down * size
        change[k, 2] -= gained * right * size
        for v in range(change.shape[1]):
            # A seed without a change may lie outside the array.
            if change[k, v] != 0:
                sums[row + down, col + right, v] += change[k, v]
                change[k, v] = 0


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
    centres: NDArray[np.float32],
    alive: NDArray[np.bool_],
    moved: NDArray[np.bool_],
    size: int,
    weight: np.float32,
    rows: tuple[int, int],
    cols: tuple[int, int],
    slot: int,
    sums: NDArray[np.int64],
) -> None:
    """Give every pixel of the cells rows x cols the nearest of its nine centres, and keep the sums exact.

    `weight` is (compactness / size)^2 in squared feature steps; seed row i has its sums at sums[slot + i].
    """
    C, T = tiles.shape[2:]
    reference = np.empty(C, np.float32)
    coefficients = np.empty((9, C + 3), np.float32)
    g = np.empty((C, T), np.float32)
    distance = np.empty(T, np.float32)
    best = np.empty(T, np.float32)
    change = np.zeros((9, C + 3), np.int64)
    words = np.empty(T // 8, np.uint64)
    index = words.view(np.uint8)
    ys = np.empty(T, np.float32)
    xs = np.empty(T, np.float32)
    for p in range(T):
        ys[p] = p // size
        xs[p] = p % size
    for i in range(rows[0], rows[1]):
        for j in range(cols[0], cols[1]):
            if not alive[i, j] or not _any_moved(moved, i, j):
                continue
            for c in range(C):
                reference[c] = np.rint(centres[i, j, 2 + c])
                _shift(tiles[i, j, c], reference[c], g[c])
            _coefficients(centres, alive, i, j, size, weight, reference, coefficients)
            best[:] = np.inf
            if C == 3:
                _nearest_of_3_channels(g, ys, xs, coefficients, best, index)
            else:
                _nearest(g, ys, xs, coefficients, distance, best, index)
            if holes[i, j]:
                for p in range(T):
                    index[p] = NONE if choice[i, j, p] == NONE else index[p]
            words_now = choice_words[i, j]
            if _replace_choices(tiles[i, j], index, words, choice[i, j], words_now, ys, xs, change):
                _apply(change, size, sums, slot + i, j)
