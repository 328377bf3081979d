"""Augmentation of patches: the spatial transform T of the geometric term, and jitter of brightness and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def transform(
    image: NDArray[np.float32], labels: NDArray[np.int32], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Apply one random flip, rotation by quarter turns and whole-pixel shift to an image and its labels.

    Nothing is interpolated: resampling removes fine texture, and a network that must ignore the difference can no
    longer tell roofs from fields by it.

    Args:
        image: (bands, P, P).
        labels: (P, P).
        random: Source of the transform.

    Returns:
        The transformed image and labels. The shift is at most P / 8 along each axis; pixels that come from outside
        the patch are 0.
    """
    turns, flip = int(random.integers(4)), bool(random.integers(2))
    image, labels = np.rot90(image, turns, axes=(1, 2)), np.rot90(labels, turns)
    if flip:
        image, labels = image[:, :, ::-1], labels[:, ::-1]
    max_shift = labels.shape[0] // 8
    down, right = (int(random.integers(-max_shift, max_shift + 1)) for _ in range(2))
    return _shift(image, down, right), _shift(labels, down, right)


def jitter(image: NDArray[np.float32], inside: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float32]:
    """Return the image with a random gain (±10 %) and offset (±0.1) on its first three bands.

    Near infrared, the fourth band, stays as it is: its absolute level separates vegetation from everything else.

    Args:
        image: (bands, P, P), normalised, so that the offset is in standard deviations.
        inside: (P, P); the result is 0 where this is False.
        random: Source of gain and offset.
    """
    gain, offset = 1 + random.uniform(-0.1, 0.1), random.uniform(-0.1, 0.1)
    image = image.copy()
    image[:3] = image[:3] * np.float32(gain) + np.float32(offset)
    image *= inside
    return image


def _shift(array: NDArray[Any], down: int, right: int) -> NDArray[Any]:
    """Shift (..., P, P) by whole pixels and fill with 0."""
    size = array.shape[-1]
    rows, cols = (slice(max(0, by), size + min(0, by)) for by in (down, right))
    from_rows, from_cols = (slice(max(0, -by), size + min(0, -by)) for by in (down, right))
    shifted = np.zeros_like(array, order="C")
    shifted[..., rows, cols] = array[..., from_rows, from_cols]
    return shifted
