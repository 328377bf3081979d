"""Changes to patches: the spatial transform T of the geometric term, and jitter of brightness and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def transform(
    image: NDArray[np.float32], labels: NDArray[np.int32], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return image (bands, P, P) and labels (P, P) under one random flip, quarter turns, and a shift in whole pixels.

    The shift is up to an eighth of the side along each axis; what comes from outside the patch is 0. Nothing is
    interpolated: that takes fine texture away, and a network that must not mind cannot tell roofs from fields by it.
    """
    turns, flip = int(random.integers(4)), bool(random.integers(2))
    image, labels = np.rot90(image, turns, axes=(1, 2)), np.rot90(labels, turns)
    if flip:
        image, labels = image[:, :, ::-1], labels[:, ::-1]
    most = labels.shape[0] // 8
    down, right = (int(random.integers(-most, most + 1)) for _ in range(2))
    return _shift(image, down, right), _shift(labels, down, right)


def jitter(image: NDArray[np.float32], valid: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float32]:
    """Return the image with a random gain (±10 %) and offset (±0.1 deviations) on its first three bands, and 0
    where it is not valid.

    Near infrared, the fourth band, is left alone: its absolute level tells vegetation from everything else.
    """
    gain, offset = 1 + random.uniform(-0.1, 0.1), random.uniform(-0.1, 0.1)
    image = image.copy()
    image[:3] = image[:3] * np.float32(gain) + np.float32(offset)
    image *= valid
    return image


def _shift(array: NDArray[Any], down: int, right: int) -> NDArray[Any]:
    """Return (..., P, P) moved by whole pixels, with 0 for what comes from outside."""
    size = array.shape[-1]
    rows, cols = (slice(max(0, by), size + min(0, by)) for by in (down, right))
    from_rows, from_cols = (slice(max(0, -by), size + min(0, -by)) for by in (down, right))
    moved = np.zeros_like(array, order="C")
    moved[..., rows, cols] = array[..., from_rows, from_cols]
    return moved
