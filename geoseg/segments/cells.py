"""Cells: an array of colours, smoothed and rearranged cell by cell, and the first centre of each cell.

    array (channels, rows, cols)             tiles[i, j, pair]: T x 2
    +-------+-------+---+
    | 0 1 2 | 0 1 2 | 0 |   size = 3         pixel   0  1  2  3  4  5  6  7  8 | padding up to a multiple of CHUNK
    | 3 4 5 | 3 4 5 | 3 |                    low     L* of each pixel          |
    | 6 7 8 | 6 7 8 | 6 |                    high    a* of each pixel          |
    +-------+-------+---+
    cell (0, 0)  (0, 1)  (0, 2), cut by the edge: its other pixels are padding too

All index pairs are (row, col). The arrays are
- `tiles`, int16 (cell rows, cell cols, channel pairs, T, 2): the colours, channels two by two, the last one of an odd
  number next to 0. T >= size * size is a multiple of CHUNK;
- `choice`, uint8 (cell rows, cell cols, T): the seed of each pixel. 0..8 is one of the 3 x 3 cells around the pixel's
  own, in raster order; NONE is a pixel without a superpixel: invalid, or padding;
- `holes`, bool (cell rows, cell cols): whether the cell has a pixel whose choice is NONE;
- `centres`, int32 (cell rows, cell cols, 2 + channels): row, col and colours, the rounded means of a seed's pixels.

Colours and positions are whole steps of 1 / QUANTUM of a unit of L*. Positions are weighted by compactness: a cell is
`pitch` steps wide, the whole number nearest to QUANTUM * compactness, and its pixel row y is at y * pitch / size,
rounded. (Beyond a compactness of MAX_PITCH / QUANTUM, colours are scaled down instead.) Colours do not exceed
MAX_COLOUR, so that sixteen times a squared distance fits into 32 bits. Positions count from the origin of a cell, so
that nothing depends on where an array begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.segments.candidates import CHUNK
from geoseg.segments.colours import STEPS

NONE = 9
OWN = 4
QUANTUM = 8
MAX_COLOUR = 2047
MAX_PITCH = 1023


def tile_pixels(size: int) -> int:
    """Return T, the pixels of a cell with its padding."""
    return -(-size * size // CHUNK) * CHUNK


def scale(compactness: float, channels: int) -> tuple[int, np.float32, int]:
    """Return the pitch of cells in steps, steps per unit of `colour`, and the bound on colours in steps."""
    pitch = QUANTUM * compactness
    shrink = min(1.0, MAX_PITCH / pitch) if pitch else 1.0
    bound = int(MAX_COLOUR * min(1.0, np.sqrt(3 / channels)))
    return int(np.rint(pitch * shrink)), np.float32(QUANTUM * shrink / STEPS), bound


def places(size: int, pitch: int) -> NDArray[np.int16]:
    """Return row and column of each pixel of a cell, in steps from its origin: int16 (T, 2)."""
    pixel = np.arange(tile_pixels(size))
    rows_cols = np.stack([np.minimum(pixel // size, size - 1), pixel % size], axis=1)
    return ((2 * rows_cols * pitch + size) // (2 * size)).astype(np.int16)


@compiled
def _sum_columns(
    colours: NDArray[np.int16],
    valid: NDArray[np.bool_],
    row: int,
    left: int,
    weights: NDArray[np.int32],
    totals: NDArray[np.int32],
) -> None:
    """Sum the valid pixels of rows row - 1, row, row + 1 with weights 1, 2, 1, from column left - 1 on.

    Outside of the array everything is 0. weights: int32 (n,), sums of the weights of valid pixels. totals: int32
    (channels, n), weighted sums of colours.
    """
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
        for c in range(colours.shape[0]):
            source = colours[c, y, first:last]
            total = totals[c, skipped : skipped + last - first]
            for x in range(last - first):
                total[x] += factor * np.int32(source[x]) if ok[x] else np.int32(0)


@compiled
def _smooth_row(total: NDArray[np.int32], weight: NDArray[np.int32], all_valid: bool, means: NDArray[np.int16]) -> None:
    """Write the binomial means of one pixel row, (n,), rounded half up; 0 where none of the 3 x 3 pixels is valid.

    total, weight: (n + 2,), from `_sum_columns`. all_valid: whether all pixels of the three rows are.
    """
    n = means.shape[0]
    left, middle, right = total[:n], total[1 : n + 1], total[2 : n + 2]
    for x in range(n):
        means[x] = np.int16((left[x] + np.int32(2) * middle[x] + right[x] + np.int32(8)) >> np.int32(4))
    # Even if all pixels are valid, the first and the last may lie at the edge of the array.
    for x in range(0, n, max(n - 1, 1) if all_valid else 1):
        share = weight[x] + 2 * weight[x + 1] + weight[x + 2]
        if share != 16:
            double = 2 * int(left[x] + 2 * middle[x] + right[x])
            means[x] = (double + share) // (2 * share) if share > 0 else 0


@compiled
def _all_equal(values: NDArray[np.int32], value: int) -> Any:
    """Return whether all values are `value`."""
    different = 0
    for x in range(values.shape[0]):
        different += 0 if values[x] == value else 1
    return different == 0


@compiled
def _clear_holes(choice: NDArray[np.uint8], tile: NDArray[np.int32]) -> Any:
    """Set the colours of pixels without a choice to 0; return whether there are any. tile: int32, pairs of channels."""
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
    """Quantise two channels of a pixel row to steps within ±bound, and pack them into int32, `low` in the low half."""
    for x in range(pairs.shape[0]):
        a = np.rint(np.float32(low[x]) * factor)
        b = np.rint(np.float32(high[x]) * factor)
        a = min(max(a, -bound), bound)
        b = min(max(b, -bound), bound)
        pairs[x] = (np.int32(b) << np.int32(16)) | (np.int32(a) & np.int32(0xFFFF))


@compiled
def pack(
    colours: NDArray[np.int16],
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
    """Smooth the colours, and fill the cell rows `rows` of `tiles`, `choice` and `holes`.

    Args:
        colours: int16 (channels, array rows, array cols), from `geoseg.segments.superpixels.colour`.
        valid: bool (array rows, array cols).
        corner, shape: (row, col) of the first pixel to cut into cells, and (rows, cols) of pixels from there on.
        size: pixels on a side of a cell.
        factor, bound: from `scale`.
        rows: range of cell rows.
        tiles: int32 (cell rows, cell cols, channel pairs, T), a view of `tiles`.
        choice, holes: see above.
    """
    C = colours.shape[0]
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
            _sum_columns(colours, valid, row, corner[1], weights, totals)
            all_valid = _all_equal(weights[1:-1], 4)
            for pair in range(tiles.shape[2]):
                _smooth_row(totals[2 * pair], weights, all_valid, means[0])
                if 2 * pair + 1 < C:
                    _smooth_row(totals[2 * pair + 1], weights, all_valid, means[1])
                else:
                    means[1] = 0
                _join(means[0], means[1], factor, np.float32(bound), joined)
                for j in range(choice.shape[1]):
                    packed = joined[j * size : min((j + 1) * size, shape[1])]
                    target = tiles[i, j, pair, y * size : y * size + packed.shape[0]]
                    for x in range(packed.shape[0]):
                        target[x] = packed[x]
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
    """Sum number, rows and columns of the first `pixels` pixels of a cell that have a choice, and all colours."""
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
    """Sum every cell's own pixels, and set its first centre: the pixel in the middle or, if that is invalid, the mean.

    Args:
        tiles, choice, holes: as filled by `pack`, for the cell rows `rows`.
        place: int16 (T, 2), from `places`.
        size: pixels on a side of a cell.
        rows: range of cell rows.
        inside: (rows, cols) of the scene from the array's first pixel on: the scene may cut cells.
        slot: the sums of seed row i are at sums[slot + i].
        sums: int64 (rows of sums, cell cols, 3 + channels), set.
        centres: int32 (cell rows, cell cols, 2 + channels), set.
        alive: bool (cell rows, cell cols), set to whether the cell has a valid pixel, hence a seed.
    """
    full = np.zeros(3, np.int64)
    for p in range(size * size):
        full[0] += 1
        full[1] += place[p, 0]
        full[2] += place[p, 1]
    for i in range(rows[0], rows[1]):
        for j in range(choice.shape[1]):
            own = sums[slot + i, j]
            if not holes[i, j]:
                own[:3] = full
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
