"""Cells: the array cut into cells, colours smoothed on the way, and the first centre of each.

All index pairs are (row, col). `tiles` int16 (cell rows, cell cols, channel pairs, T, 2) holds the colours, channels
two by two (an odd last one beside 0), and `choice` uint8 (cell rows, cell cols, T) the seed of each pixel of a cell of
`size` x `size` pixels; T >= size * size is a multiple of CHUNK. A choice in 0..8 names one of the 3 x 3 cells around
the pixel's own, in raster order; NONE is a pixel without a superpixel: invalid, or padding of a cell cut by the edge.

Colours and positions are whole steps of 1 / QUANTUM of a unit of L*, position weighted by compactness: a cell is
`pitch` steps wide, the whole number nearest to QUANTUM * compactness, and pixel row y of it is at y * pitch / size,
rounded. (Beyond a compactness of WIDEST / QUANTUM colours are scaled down instead.) Colours do not exceed MOST, so that
sixteen times a squared distance fits into 32 bits. Positions are relative to the origin of a cell, so that nothing
depends on where an array begins. A centre is int32 (row, col, channels), the rounded mean of its pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.segments.colours import STEPS
from geoseg.segments.nearest import CHUNK

NONE = 9
OWN = 4
QUANTUM = 8
MOST = 2047
WIDEST = 1023


def tile_pixels(size: int) -> int:
    """Return T, the pixels of a cell with its padding."""
    return -(-size * size // CHUNK) * CHUNK


def scale(compactness: float, channels: int) -> tuple[int, np.float32, int]:
    """Return the pitch of cells in steps, the steps per unit of features, and the bound on colours in steps."""
    wanted = QUANTUM * compactness
    shrink = min(1.0, WIDEST / wanted) if wanted else 1.0
    bound = int(MOST * min(1.0, np.sqrt(3 / channels)))
    return int(np.rint(wanted * shrink)), np.float32(QUANTUM * shrink / STEPS), bound


def places(size: int, pitch: int) -> NDArray[np.int16]:
    """Return the position of each pixel of a cell, in steps from its origin: (T, 2)."""
    pixel = np.arange(tile_pixels(size))
    rows_cols = np.stack([np.minimum(pixel // size, size - 1), pixel % size], axis=1)
    return ((2 * rows_cols * pitch + size) // (2 * size)).astype(np.int16)


@compiled
def _sum_columns(
    features: NDArray[np.int16],
    valid: NDArray[np.bool_],
    row: int,
    left: int,
    weights: NDArray[np.int32],
    totals: NDArray[np.int32],
) -> None:
    """Sum three pixel rows with weights 1, 2, 1 of valid pixels, from column left - 1 on; 0 outside the array."""
    H, W = valid.shape
    weights[:] = 0
    totals[:] = 0
    first = max(left - 1, 0)
    last = min(left - 1 + weights.shape[0], W)
    skipped = first - (left - 1)
    for y in range(max(row - 1, 0), min(row + 2, H)):
        factor = np.int32(2) if y == row else np.int32(1)
        ok = valid[y, first:last]
        weight = weights[skipped : skipped + last - first]
        for x in range(last - first):
            weight[x] += factor if ok[x] else np.int32(0)
        for c in range(features.shape[0]):
            source = features[c, y, first:last]
            total = totals[c, skipped : skipped + last - first]
            for x in range(last - first):
                total[x] += factor * np.int32(source[x]) if ok[x] else np.int32(0)


@compiled
def _smooth_row(total: NDArray[np.int32], weight: NDArray[np.int32], whole: bool, means: NDArray[np.int16]) -> None:
    """Write the weighted means of one pixel row, rounded half up; 0 where no pixel near is valid."""
    n = means.shape[0]
    left, middle, right = total[:n], total[1 : n + 1], total[2 : n + 2]
    for x in range(n):
        means[x] = np.int16((left[x] + np.int32(2) * middle[x] + right[x] + np.int32(8)) >> np.int32(4))
    # Where all is valid inside, the ends may still lie at the edge of the array.
    for x in range(0, n, max(n - 1, 1) if whole else 1):
        share = weight[x] + 2 * weight[x + 1] + weight[x + 2]
        if share != 16:
            double = 2 * int(left[x] + 2 * middle[x] + right[x])
            means[x] = (double + share) // (2 * share) if share > 0 else 0


@compiled
def _all_equal(values: NDArray[np.int32], value: int) -> Any:
    """Say whether all values are `value`."""
    different = 0
    for x in range(values.shape[0]):
        different += 0 if values[x] == value else 1
    return different == 0


@compiled
def _clear_holes(choice: NDArray[np.uint8], tile: NDArray[np.int32]) -> Any:
    """Set the colours of pixels without a choice to 0, two channels in one; say whether there are any."""
    count = 0
    for p in range(choice.shape[0]):
        count += 1 if choice[p] == NONE else 0
    if count == 0:
        return False
    for pair in range(tile.shape[0]):
        for p in range(choice.shape[0]):
            tile[pair, p] = np.int32(0) if choice[p] == NONE else tile[pair, p]
    return True


@compiled
def _join(
    low: NDArray[np.int16], high: NDArray[np.int16], factor: np.float32, bound: np.float32, pairs: NDArray[np.int32]
) -> None:
    """Quantise two channels of a pixel row and put them side by side in int32."""
    for x in range(pairs.shape[0]):
        a = np.rint(np.float32(low[x]) * factor)
        b = np.rint(np.float32(high[x]) * factor)
        a = min(max(a, -bound), bound)
        b = min(max(b, -bound), bound)
        pairs[x] = (np.int32(b) << np.int32(16)) | (np.int32(a) & np.int32(0xFFFF))


@compiled
def pack(
    features: NDArray[np.int16],
    valid: NDArray[np.bool_],
    corner: tuple[int, int],
    shape: tuple[int, int],
    size: int,
    factor: np.float32,
    bound: int,
    rows: tuple[int, int],
    tiles: NDArray[np.int32],
    choice: NDArray[np.uint8],
    holes: NDArray[np.bool_],
) -> None:
    """Fill the cell rows `rows` of `tiles`, smoothed, and `choice` from the pixels corner .. corner + shape.

    `tiles` is seen as int32, two channels in one. `holes` says which cells have pixels without a choice.
    """
    C = features.shape[0]
    weights = np.empty(shape[1] + 2, np.int32)
    totals = np.empty((C, shape[1] + 2), np.int32)
    means = np.zeros((2, shape[1]), np.int16)
    joined = np.empty(shape[1], np.int32)
    for i in range(rows[0], rows[1]):
        height = min(size, shape[0] - i * size)
        if height < size or shape[1] < choice.shape[1] * size or choice.shape[2] > size * size:
            choice[i] = NONE
            tiles[i] = 0
        for y in range(height):
            row = corner[0] + i * size + y
            _sum_columns(features, valid, row, corner[1], weights, totals)
            whole = _all_equal(weights[1:-1], 4)
            for pair in range(tiles.shape[2]):
                _smooth_row(totals[2 * pair], weights, whole, means[0])
                if 2 * pair + 1 < C:
                    _smooth_row(totals[2 * pair + 1], weights, whole, means[1])
                else:
                    means[1] = 0
                _join(means[0], means[1], factor, np.float32(bound), joined)
                for j in range(choice.shape[1]):
                    colours = joined[j * size : min((j + 1) * size, shape[1])]
                    target = tiles[i, j, pair, y * size : y * size + colours.shape[0]]
                    for x in range(colours.shape[0]):
                        target[x] = colours[x]
            ok = valid[row, corner[1] : corner[1] + shape[1]]
            for j in range(choice.shape[1]):
                piece = ok[j * size : min((j + 1) * size, shape[1])]
                own = choice[i, j, y * size : y * size + piece.shape[0]]
                for x in range(piece.shape[0]):
                    own[x] = OWN if piece[x] else NONE
        for j in range(choice.shape[1]):
            holes[i, j] = _clear_holes(choice[i, j], tiles[i, j])


@compiled
def _sum_cell(
    tile: NDArray[np.int32], choice: NDArray[np.uint8], place: NDArray[np.int16], pixels: int, sums: NDArray[np.int64]
) -> None:
    """Sum a cell's own pixels: their number, rows, columns and colours; colours without a choice are 0."""
    for p in range(pixels):
        if choice[p] != NONE:
            sums[0] += 1
            sums[1] += place[p, 0]
            sums[2] += place[p, 1]
    for pair in range(tile.shape[0]):
        low = high = 0
        for value in tile[pair]:
            low += int(np.int16(value))
            high += int(value >> np.int32(16))
        sums[3 + 2 * pair], sums[4 + 2 * pair] = low, high


@compiled
def start(
    tiles: NDArray[np.int32],
    choice: NDArray[np.uint8],
    holes: NDArray[np.bool_],
    place: NDArray[np.int16],
    size: int,
    rows: tuple[int, int],
    inside: tuple[int, int],
    slot: int,
    sums: NDArray[np.int64],
    centres: NDArray[np.int32],
    alive: NDArray[np.bool_],
) -> None:
    """Sum every cell's own pixels and set its first centre: the pixel in the middle, or the mean if it is invalid.

    `inside` is the size in pixels of the scene from the array's origin on: a cell at its edge is a part of a cell.
    """
    whole = np.zeros(3, np.int64)
    for p in range(size * size):
        whole[0] += 1
        whole[1] += place[p, 0]
        whole[2] += place[p, 1]
    for i in range(rows[0], rows[1]):
        for j in range(choice.shape[1]):
            own = sums[slot + i, j]
            if not holes[i, j]:
                own[:3] = whole
            _sum_cell(tiles[i, j], choice[i, j], place, size * size if holes[i, j] else 0, own)
            alive[i, j] = own[0] > 0
            if not alive[i, j]:
                continue
            y = min(size, inside[0] - i * size) // 2
            x = min(size, inside[1] - j * size) // 2
            middle = y * size + x
            if choice[i, j, middle] != NONE:
                centres[i, j, 0] = place[middle, 0]
                centres[i, j, 1] = place[middle, 1]
                for pair in range(tiles.shape[2]):
                    value = tiles[i, j, pair, middle]
                    centres[i, j, 2 + 2 * pair] = np.int16(value)
                    centres[i, j, 3 + 2 * pair] = value >> np.int32(16)
            else:
                for v in range(centres.shape[2]):
                    centres[i, j, v] = np.int32(np.rint(own[1 + v] / own[0]))
