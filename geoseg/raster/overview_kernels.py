"""Kernels that halve a raster: four pixels become one.

Nodata, 0, has no weight. Every other pixel has that of the pixels of full resolution that it speaks for, so that what
is decided level by level differs little from what full resolution would decide. Weights end at `MAX_WEIGHT`, which
pixels reach that stand for 256 x 256 others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

MAX_WEIGHT = 65535


@inlined
def _elect(a: Any, b: Any, c: Any, d: Any, p: Any, q: Any, r: Any, s: Any) -> Any:
    """Of four values and their weights, the one with the largest sum of weights, and that sum; of equals, the first."""
    winner, most = a, p + (b == a) * q + (c == a) * r + (d == a) * s
    votes = q + (c == b) * r + (d == b) * s
    if votes > most:
        winner, most = b, votes
    votes = r + (d == c) * s
    if votes > most:
        winner, most = c, votes
    if s > most:
        winner, most = d, s
    return winner, most


@compiled
def elect_pixels(
    values: NDArray[Any], halved: NDArray[Any], weights: NDArray[np.uint16], seen: NDArray[np.bool_]
) -> None:
    """Halve a class raster of full resolution: each pixel gets the class that most of its four pixels have.

    Classes that are equally frequent are told apart by their first pixel in raster order: the first one wins.

    Args:
        values: (2 rows, 2 cols), unsigned integers.
        halved: (rows, cols), of the same type; written.
        weights: (rows, cols), how many of the four pixels have the class; written.
        seen: What each value that occurs sets to True; at least as long as the largest value needs.
    """
    for row in range(halved.shape[0]):
        for col in range(halved.shape[1]):
            a, b = values[2 * row, 2 * col], values[2 * row, 2 * col + 1]
            c, d = values[2 * row + 1, 2 * col], values[2 * row + 1, 2 * col + 1]
            seen[a] = True
            if a == b and a == c and a == d:
                halved[row, col], weights[row, col] = a, 4 * (a != 0)
                continue
            seen[b] = seen[c] = seen[d] = True
            winner, votes = _elect(a, b, c, d, int(a != 0), int(b != 0), int(c != 0), int(d != 0))
            halved[row, col], weights[row, col] = winner, votes


@compiled
def elect(
    values: NDArray[Any], weights: NDArray[np.uint16], halved: NDArray[Any], new_weights: NDArray[np.uint16],
    max_weight: int,
) -> None:  # fmt: skip
    """Halve an overview of classes: each pixel gets the class with the largest sum of weights, of equals the first.

    Args:
        values: (2 rows, 2 cols), unsigned integers.
        weights: Their weights.
        halved: (rows, cols), of the same type; written.
        new_weights: (rows, cols), the sums; written.
        max_weight: What larger sums become.
    """
    for row in range(halved.shape[0]):
        for col in range(halved.shape[1]):
            i, j = 2 * row, 2 * col
            winner, votes = _elect(
                values[i, j], values[i, j + 1], values[i + 1, j], values[i + 1, j + 1],
                int(weights[i, j]), int(weights[i, j + 1]), int(weights[i + 1, j]), int(weights[i + 1, j + 1]),
            )  # fmt: skip
            halved[row, col], new_weights[row, col] = winner, min(votes, max_weight)


@compiled
def average(
    values: NDArray[Any], weights: NDArray[np.uint16], halved: NDArray[Any], new_weights: NDArray[np.uint16],
    max_weight: int,
) -> None:  # fmt: skip
    """Halve a raster of quantities: each pixel gets the weighted mean of its four; halves are rounded to even numbers.

    Args:
        values: (2 rows, 2 cols), unsigned integers.
        weights: Their weights; (0, 0) at full resolution, where every pixel but nodata has a weight of 1.
        halved: (rows, cols), of the same type; written.
        new_weights: (rows, cols), the sums of weights; written.
        max_weight: What larger sums become.
    """
    full = weights.size == 0
    for row in range(halved.shape[0]):
        for col in range(halved.shape[1]):
            total = count = 0
            for i in range(2 * row, 2 * row + 2):
                for j in range(2 * col, 2 * col + 2):
                    value = int(values[i, j])
                    weight = int(value != 0) if full else int(weights[i, j])
                    total += value * weight
                    count += weight
            mean, rest = 0, 0
            if count:
                mean = total // count
                rest = 2 * (total - mean * count)
            halved[row, col] = mean + int(rest > count or (rest == count and count > 0 and mean % 2 == 1))
            new_weights[row, col] = min(count, max_weight)
