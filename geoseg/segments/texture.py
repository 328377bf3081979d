"""Texture of regions: how much grey changes within them, at three scales and whichever way it changes.

Grey is the mean of all bands, scaled to 0 at a band's dark end and 1 at its bright end and clipped to [0, 2]. It is
smoothed by Gaussians of 1, 2 and 4 pixels. With g the gradient of the smoothed image times sigma, and a >= b the
eigenvalues of its Hessian times sigma^2 (Lindeberg 1998, International Journal of Computer Vision 30(2), on scale
normalisation), a region's texture is the mean over its pixels of

    |g|   slope: edges            |a + b|   Laplacian: spots
    |a|   dark lines              |b|       bright lines

Nothing but valid pixels within `MARGIN` of a region enters its texture: smoothing divides by the weight of the valid
pixels. Weights and grey are integers whose sums are exact, and all further operations on a pixel are in one fixed
order, so the texture is the same to the last bit in every array that contains the region with that margin, or as far
as the scene reaches, and for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.kernels import Range, compiled, summed_stripes, worker_threads

SIGMAS = (1, 2, 4)
"""Standard deviations of the Gaussians in pixels."""

_RESPONSES = 4
TEXTURES = _RESPONSES * len(SIGMAS)
"""Number of textures of a region: for each sigma slope, Laplacian, dark and bright lines."""

_EXTENT = 3
"""Where a Gaussian is cut off, in sigmas."""

MARGIN = _EXTENT * SIGMAS[-1] + 1
"""Pixels around a region on which its texture depends: the widest Gaussian, and one for differences."""

_GREY_STEPS = 1 << 11
_WEIGHT_STEPS = 1 << 12
"""Steps in 1 of grey and of the sum of weights along an axis. Sums along both axes are below 2^36, which float64 holds
exactly."""

_STEPS = float(1 << 20)
"""Steps in 1 of the responses that are added up."""

_LARGEST = 2.0
_ROWS = 128
"""Pixel rows that are filtered at once."""


def region_textures(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    labels: NDArray[np.int32],
    count: int,
    low: ArrayLike,
    high: ArrayLike,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the texture of superpixels.

    Args:
        pixels: (bands, rows, cols), any real dtype; NaN counts as 0.
        valid: bool (rows, cols); other pixels count for nothing.
        labels: int32 (rows, cols), superpixels 1..count; 0 belongs to none.
        count: Number of superpixels.
        low: (bands,), the dark end of each band.
        high: (bands,), the bright end, greater than `low`.
        threads: Number of threads; the result does not depend on it.

    Returns:
        float32 (count, TEXTURES), at least 0; 0 for a superpixel without pixels.
    """
    dark, bright = np.asarray(low, np.float64).ravel(), np.asarray(high, np.float64).ravel()
    scale = _GREY_STEPS / ((bright - dark) * len(dark))
    most = _LARGEST * _GREY_STEPS / len(dark)
    pixels, labels = np.ascontiguousarray(pixels), np.ascontiguousarray(labels)
    if pixels.dtype in (np.bool_, np.float16):
        pixels = pixels.astype(np.uint8 if pixels.dtype == np.bool_ else np.float32)

    shape = count + 1, 1 + TEXTURES

    def accumulate(rows: Range) -> NDArray[np.int64]:
        sums = np.zeros(shape, np.int64)
        for first in range(rows[0], rows[1], _ROWS):
            stop = min(first + _ROWS, rows[1])
            above, below = max(first - MARGIN, 0), min(stop + MARGIN, labels.shape[0])
            grey, weight = _grey(pixels, valid, above, below, dark, scale, most)
            for number, sigma in enumerate(SIGMAS):
                smooth = _smoothed(grey, weight, _weights(sigma))
                _add(smooth, labels, first, stop, above, float(sigma), 1 + _RESPONSES * number, _STEPS, sums)
            _count(labels, first, stop, sums)
        return sums

    with worker_threads(threads) as parallel_map:
        parts = parallel_map(accumulate, summed_stripes(0, labels.shape[0], threads, 8 * math.prod(shape)))
    sums = parts[0]
    for more in parts[1:]:
        sums += more
    found = np.empty((count, TEXTURES), np.float32)
    for texture in range(TEXTURES):
        found[:, texture] = sums[1:, 1 + texture] / (np.maximum(sums[1:, 0], 1) * _STEPS)
    return found


def _weights(sigma: int) -> NDArray[np.float64]:
    """Return the weights of a Gaussian, whole numbers that add up to `_WEIGHT_STEPS`."""
    reach = _EXTENT * sigma
    bell = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    weights = np.array([round(_WEIGHT_STEPS * each / sum(bell)) for each in bell], np.float64)
    weights[reach] += _WEIGHT_STEPS - weights.sum()
    return weights


@compiled
def _grey(pixels: Any, valid: Any, first: int, stop: int, low: Any, scale: Any, most: float) -> Any:
    """Return grey, whole numbers, 0 where invalid, and validity, 0 or 1, of some pixel rows: float64 (rows, cols)."""
    bands, _, cols = pixels.shape
    grey, weight = np.zeros((stop - first, cols)), np.zeros((stop - first, cols))
    for row in range(first, stop):
        for col in range(cols):
            if not valid[row, col]:
                continue
            total = 0.0
            for band in range(bands):
                value = (np.float64(pixels[band, row, col]) - low[band]) * scale[band]
                # NaN is not greater than 0.
                total += min(value, most) if value > 0 else 0.0
            grey[row - first, col] = np.rint(total)
            weight[row - first, col] = 1.0
    return grey, weight


@compiled
def _smoothed(grey: Any, weight: Any, weights: Any) -> Any:
    """Return the mean of grey by the weights, in [0, 2], float64 (rows, cols); 0 where no pixel is valid."""
    rows, cols = grey.shape
    reach = len(weights) // 2
    smooth = np.zeros((rows, cols))
    sums, share = np.zeros(cols + 2 * reach), np.zeros(cols + 2 * reach)
    total, whole = np.empty(cols), np.empty(cols)
    inner, shares = sums[reach : reach + cols], share[reach : reach + cols]
    for row in range(rows):
        inner[:] = 0
        shares[:] = 0
        for k in range(max(-reach, -row), min(reach, rows - 1 - row) + 1):
            w, line, valid = weights[k + reach], grey[row + k], weight[row + k]
            for col in range(cols):
                inner[col] += w * line[col]
            for col in range(cols):
                shares[col] += w * valid[col]
        total[:] = 0
        whole[:] = 0
        for k in range(len(weights)):
            w, line, valid = weights[k], sums[k : k + cols], share[k : k + cols]
            for col in range(cols):
                total[col] += w * line[col]
            for col in range(cols):
                whole[col] += w * valid[col]
        for col in range(cols):
            smooth[row, col] = total[col] / (max(whole[col], 1.0) * _GREY_STEPS)
    return smooth


@compiled
def _add(
    smooth: Any, labels: Any, first: int, stop: int, above: int, sigma: float, column: int, steps: float, sums: Any
) -> None:
    """Add the responses of the pixel rows first .. stop to the sums of regions; `smooth` begins at row `above`."""
    rows, cols = smooth.shape
    for row in range(first, stop):
        y = row - above
        up, line, down = smooth[max(y - 1, 0)], smooth[y], smooth[min(y + 1, rows - 1)]
        for col in range(cols):
            region = labels[row, col]
            if region == 0:
                continue
            left, right = max(col - 1, 0), min(col + 1, cols - 1)
            centre = 2 * line[col]
            slope_x, slope_y = line[right] - line[left], down[col] - up[col]
            xx, yy = line[right] + line[left] - centre, down[col] + up[col] - centre
            xy = 0.25 * ((down[right] - down[left]) - (up[right] - up[left]))
            laplacian, difference = xx + yy, xx - yy
            root = np.sqrt(difference * difference + 4 * (xy * xy))
            scale, square = steps * sigma, steps * (sigma * sigma)
            sums[region, column] += np.int64(np.rint(0.5 * scale * np.sqrt(slope_x * slope_x + slope_y * slope_y)))
            sums[region, column + 1] += np.int64(np.rint(square * abs(laplacian)))
            sums[region, column + 2] += np.int64(np.rint(0.5 * square * abs(laplacian + root)))
            sums[region, column + 3] += np.int64(np.rint(0.5 * square * abs(laplacian - root)))


@compiled
def _count(labels: Any, first: int, stop: int, sums: Any) -> None:
    """Count the pixels of regions in the rows first .. stop."""
    for row in range(first, stop):
        for col in range(labels.shape[1]):
            sums[labels[row, col], 0] += 1
