"""Arithmetic of the protocols: images made smaller, and their centre. Arrays end in (rows, cols).

Sizes and sample positions are those of OpenCV's `resize` with `fx = fy = factor`, which the published protocol used;
so labels, which take the pixel at floor(i / factor), lie up to half a pixel beside the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shrunk(length: int, factor: float) -> int:
    """Return the pixels along an axis of `length` once it is shrunk; halves go to the even number."""
    return max(1, round(length * factor))


def shrink(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return the image (..., rows, cols) at `factor` <= 1 of its size, interpolated bilinearly at the pixels' centres.

    Nothing is smoothed before: at 0.5 every pixel is the mean of 2 x 2, at less some are passed over.
    """
    values: NDArray[np.float32] = image.astype(np.float32)
    for axis in (-2, -1):
        length = image.shape[axis]
        at = ((np.arange(shrunk(length, factor)) + 0.5) / factor - 0.5).clip(0, length - 1)
        low = np.floor(at).astype(np.int64)
        first, second = (values.take(i, axis) for i in (low, (low + 1).clip(max=length - 1)))
        share = (at - low).astype(np.float32).reshape((-1, 1) if axis == -2 else (-1,))
        values = first + share * (second - first)
    rounded: NDArray[np.uint8] = np.floor(values + np.float32(0.5)).astype(np.uint8)
    return rounded


def pick(labels: NDArray[Any], factor: float) -> NDArray[Any]:
    """Return the labels (..., rows, cols) at `factor` <= 1 of their size: those of the pixels at floor(i / factor)."""
    for axis in (-2, -1):
        length = labels.shape[axis]
        at = (np.arange(shrunk(length, factor)) / factor).astype(np.int64)
        labels = labels.take(at.clip(max=length - 1), axis)
    return labels


def centre(array: NDArray[Any], size: int, fill: int = 0) -> NDArray[Any]:
    """Return the `size` x `size` pixels in the middle of (..., rows, cols), with `fill` where the array ends."""
    cut = np.full((*array.shape[:-2], size, size), fill, dtype=array.dtype)
    here, there = [], []
    for length in array.shape[-2:]:
        start = length // 2 - size // 2
        first, last = max(0, start), min(length, start + size)
        here.append(slice(first, last))
        there.append(slice(first - start, last - start))
    cut[..., there[0], there[1]] = array[..., here[0], here[1]]
    return cut
