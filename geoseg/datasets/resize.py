"""Resampling and cropping as the protocols define them. Arrays end in (rows, cols).

Sizes and sample positions are those of OpenCV's `resize` with `fx = fy = factor`, which the published protocol used.
So labels, which take the pixel at floor(i / factor), lie up to half a pixel off the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shrunk_length(length: int, factor: float) -> int:
    """Return the length of an axis, in pixels, after shrinking; halves are rounded to the even number."""
    return max(1, round(length * factor))


def shrink_image(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Shrink an image by bilinear interpolation at the centres of pixels.

    There is no smoothing before: at 0.5 each pixel is the mean of 2 x 2, at smaller factors some pixels are skipped.

    Args:
        image: uint8 (..., rows, cols).
        factor: At most 1.
    """
    values: NDArray[np.float32] = image.astype(np.float32)
    for axis in (-2, -1):
        length = image.shape[axis]
        positions = ((np.arange(shrunk_length(length, factor)) + 0.5) / factor - 0.5).clip(0, length - 1)
        low = np.floor(positions).astype(np.int64)
        first, second = (values.take(i, axis) for i in (low, (low + 1).clip(max=length - 1)))
        weight = (positions - low).astype(np.float32).reshape((-1, 1) if axis == -2 else (-1,))
        values = first + weight * (second - first)
    rounded: NDArray[np.uint8] = np.floor(values + np.float32(0.5)).astype(np.uint8)
    return rounded


def shrink_labels(labels: NDArray[Any], factor: float) -> NDArray[Any]:
    """Shrink labels by taking the pixels at floor(i / factor).

    Args:
        labels: (..., rows, cols).
        factor: At most 1.
    """
    for axis in (-2, -1):
        length = labels.shape[axis]
        positions = (np.arange(shrunk_length(length, factor)) / factor).astype(np.int64)
        labels = labels.take(positions.clip(max=length - 1), axis)
    return labels


def centre_crop(array: NDArray[Any], size: int, fill: int = 0) -> NDArray[Any]:
    """Return the `size` x `size` pixels in the middle of an array (..., rows, cols), padded with `fill`."""
    crop = np.full((*array.shape[:-2], size, size), fill, dtype=array.dtype)
    source, target = [], []
    for length in array.shape[-2:]:
        start = length // 2 - size // 2
        first, last = max(0, start), min(length, start + size)
        source.append(slice(first, last))
        target.append(slice(first - start, last - start))
    crop[..., target[0], target[1]] = array[..., source[0], source[1]]
    return crop
