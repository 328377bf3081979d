"""Filling invalid pixels with the nearest valid ones, so that a network sees no edge where a scene has a hole.

The nearest pixel is exact, in two linear passes over integers, after Meijster, Roerdink and Hesselink 2000, "A general
algorithm for computing distance transforms in linear time":

    1. along columns: the row of the nearest valid pixel in each pixel's own column
    2. along rows: of the columns' candidates, the nearest. Each column's squared distance is a parabola over the row,
       and the lower envelope of these parabolas is kept on a stack
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

_NONE = -1


def fill_invalid(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Give each invalid pixel the values of the nearest valid pixel by Euclidean distance, in place.

    Of several at the same distance, which one it is depends on their places alone, so that the result is always the
    same. Without a valid pixel, everything becomes 0.

    Args:
        image: float32 (bands, rows, cols), C-contiguous. Values of invalid pixels have no meaning.
        valid: bool (rows, cols).
    """
    if valid.all():
        return
    if not valid.any():
        image[:] = 0
        return
    _fill(image, valid, _nearest_rows(valid))


@compiled
def _nearest_rows(valid: Any) -> Any:
    """Return the row of the valid pixel nearest to each pixel in its column, int32; `_NONE` where there is none."""
    rows, cols = valid.shape
    nearest = np.empty((rows, cols), np.int32)
    last = np.full(cols, _NONE, np.int32)
    for row in range(rows):
        for col in range(cols):
            if valid[row, col]:
                last[col] = row
            nearest[row, col] = last[col]
    last[:] = _NONE
    for row in range(rows - 1, -1, -1):
        for col in range(cols):
            if valid[row, col]:
                last[col] = row
            below, above = last[col], nearest[row, col]
            if below != _NONE and (above == _NONE or below - row < row - above):
                nearest[row, col] = below
    return nearest


@inlined
def _squared(row: Any, col: Any, nearest: Any, at: Any) -> Any:
    """Squared distance from (row, at) to the candidate of column `col`."""
    down = np.int64(nearest[row, col]) - row
    return (at - col) * (at - col) + down * down


@compiled
def _fill(image: Any, valid: Any, nearest: Any) -> None:
    rows, cols = valid.shape
    source = np.empty(cols, np.int64)
    first = np.empty(cols, np.int64)
    for row in range(rows):
        invalid = 0
        for col in range(cols):
            invalid += not valid[row, col]
        if invalid == 0:
            continue
        top = -1
        for col in range(cols):
            if nearest[row, col] == _NONE:
                continue
            while top >= 0 and _squared(row, col, nearest, first[top]) < _squared(
                row, source[top], nearest, first[top]
            ):
                top -= 1
            if top < 0:
                top, source[0], first[0] = 0, col, 0
                continue
            # The first column from which on `col` is nearer than the candidate on top of the stack.
            left = source[top]
            down, left_down = np.int64(nearest[row, col]) - row, np.int64(nearest[row, left]) - row
            start = (col * col - left * left + down * down - left_down * left_down) // (2 * (col - left)) + 1
            if start < cols:
                top += 1
                source[top], first[top] = col, start
        for col in range(cols - 1, -1, -1):
            while first[top] > col:
                top -= 1
            if not valid[row, col]:
                for band in range(image.shape[0]):
                    image[band, row, col] = image[band, nearest[row, source[top]], source[top]]
