"""Means, sums and statistics over the pixels of superpixels, and painting values back to pixels.

    field, stride = 2     labels
    +-----+-----+         1 1 1 2
    |  A  |  B  |         1 1 2 2      sum of region 1 = 4 A + B + 2 C
    +-----+-----+         1 1 2 2
    |  C  |  D  |         0 0 2 2
    +-----+-----+

Sums are integers (fixed point), so a mean is the same to the last bit for any blocks and any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import SUMS_BYTES, ParallelMap, Range, compiled, inlined, pieces, worker_threads

FRACTION = float(1 << 14)
"""Steps of the fixed-point numbers in 1."""

LIMIT = float(1 << 16)
"""Largest absolute value of a field."""

_CHUNK_BYTES = 1 << 20
"""Bytes of a field that are made at a time: they are added up while they are in the processor's cache."""

FieldRows = Callable[[Range], NDArray[np.float32]]
"""Makes some rows of a field, float32 (rows, w, K)."""


def region_means(
    field: NDArray[np.float32],
    labels: NDArray[np.int32],
    count: int,
    stride: int,
    offset: tuple[int, int],
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the mean of a field over the pixels of each region: float32 (count + 1, K); row 0 and empty regions are 0.

    Args:
        field: float32 (h, w, K); values are clipped to ±65536 and rounded to 2^-14.
        labels: int32 (rows, cols) in [0, count]; 0 belongs to no region.
        count: number of regions.
        stride: pixels on a side of a cell of `field`.
        offset: (row, col) of the first pixel of `labels` within the first cell of `field`, each in [0, stride).
        threads: number of threads.
    """
    return region_means_of(lambda rows: field[slice(*rows)], field.shape[2], labels, count, stride, offset, threads)


def region_means_of(
    field: FieldRows,
    channels: int,
    labels: NDArray[np.int32],
    count: int,
    stride: int,
    offset: tuple[int, int],
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return `region_means` of a field that is made row by row and never whole.

    Args:
        field: makes rows of the field; from several threads, and more than once where memory is short.
        channels: K.
        labels, count, stride, offset, threads: as for `region_means`.
    """
    means = np.empty((count + 1, channels), np.float32)
    with worker_threads(threads) as parallel_map:
        # As many channels at a time as there is memory for the sums of all threads.
        for part in pieces(0, channels, -(-8 * threads * means.size // SUMS_BYTES)):
            sums, sizes = _sums(field, part, labels, count, stride, offset, threads, parallel_map)
            means[:, slice(*part)] = sums / (np.maximum(sizes, 1) * FRACTION)[:, None]
    means[0] = 0
    return means


def _sums(
    field: FieldRows, channels: Range, labels: NDArray[np.int32], count: int, stride: int, offset: tuple[int, int],
    threads: int, parallel_map: ParallelMap,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return the sums of some channels of a field over regions in fixed point, (count + 1, channels), and the regions'
    pixels, (count + 1,)."""
    width = -(-(offset[1] + labels.shape[1]) // stride)
    height = max(1, _CHUNK_BYTES // (4 * width * (channels[1] - channels[0])))

    def accumulate(rows: Range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sums = np.zeros((count + 1, channels[1] - channels[0]), dtype=np.int64)
        sizes = np.zeros(count + 1, dtype=np.int64)
        for first in range(rows[0], rows[1], height):
            stop = min(first + height, rows[1])
            values = np.ascontiguousarray(field((first, stop))[..., slice(*channels)])
            # Only the first cell of all may begin above the first label.
            above = max(first * stride - offset[0], 0)
            here, begin = labels[above : max(stop * stride - offset[0], 0)], offset[0] if first == 0 else 0
            steps = np.float32(LIMIT), np.float32(FRACTION)
            _accumulate(values, here, 0, stop - first, stride, begin, offset[1], *steps, sums, sizes)
        return sums, sizes

    # One piece for each thread, as each has sums of its own.
    parts = parallel_map(accumulate, pieces(0, -(-(offset[0] + labels.shape[0]) // stride), threads))
    sums, sizes = parts[0]
    for more_sums, more_sizes in parts[1:]:
        sums += more_sums
        sizes += more_sizes
    return sums, sizes


def classify(means: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the class id of each region, 1..K, the lowest of equals, and its softmax probability in (0, 1].

    means: mean logits, float32 (regions, K).
    """
    best = means.argmax(axis=1)
    shifted = np.exp((means - means.max(axis=1, keepdims=True)).astype(np.float64))
    return best + 1, (1.0 / shifted.sum(axis=1)).astype(np.float32)


def paint(values: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[Any]:
    """Return the value of each pixel's region, (rows, cols); values: (regions + 1,), labels: int32 (rows, cols)."""
    painted = np.empty(labels.shape, values.dtype)
    _paint(values, labels, painted)
    return painted


@dataclass(frozen=True, eq=False)
class RegionStatistics:
    """Statistics of the regions 1..n; all 0 for a region without pixels.

    Attributes:
        pixels: int64 (n,), number of pixels.
        mean: float64 (bands, n).
        std: float64 (bands, n), population standard deviation.
    """

    pixels: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def region_statistics(
    pixels: Sequence[NDArray[Any]], labels: NDArray[np.int32], count: int, threads: int = 1
) -> RegionStatistics:
    """Return the statistics of bands over regions.

    The pixels of a region are summed in raster order, in two passes. So the result is the same to the last bit in every
    array that contains all of the region, and for any number of threads.

    Args:
        pixels: the bands, (rows, cols) each, of any real dtype.
        labels: int32 (rows, cols) in [0, count]; 0 belongs to no region.
        count: number of regions.
        threads: number of threads; each computes one band at a time.
    """
    sizes = np.bincount(labels.ravel(), minlength=count + 1)

    def moments_of(band: Range) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        moments: tuple[NDArray[np.float64], NDArray[np.float64]]
        moments = _moments(pixels[band[0]], labels, np.maximum(sizes, 1))
        return moments

    with worker_threads(threads) as parallel_map:
        mean, std = zip(*parallel_map(moments_of, [(band, band + 1) for band in range(len(pixels))]), strict=True)
    return RegionStatistics(sizes[1:], np.stack(mean)[:, 1:], np.stack(std)[:, 1:])


def region_sums(values: NDArray[np.float64], labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Return the sum of `values` (rows, cols) over each region 1..count, float64 (count,), added in raster order."""
    sums = np.zeros(count + 1)
    _sum(values, labels, sums)
    return sums[1:]


def first_pixels(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and col of the first pixel, in raster order, of each region 0..count: int64 (count + 1,) each; -1 for
    a region without pixels."""
    first = np.full(count + 1, -1, np.int64)
    _find_first(labels, first)
    rows, cols = np.divmod(first, labels.shape[1])
    return np.where(first < 0, -1, rows), np.where(first < 0, -1, cols)


@compiled
def _paint(values: Any, labels: Any, painted: Any) -> None:
    rows, cols = labels.shape
    for row in range(rows):
        for col in range(cols):
            painted[row, col] = values[labels[row, col]]


@compiled
def _find_first(labels: Any, first: Any) -> None:
    rows, cols = labels.shape
    for row in range(rows):
        for col in range(cols):
            label = labels[row, col]
            if first[label] < 0:
                first[label] = row * cols + col


@compiled
def _sum(values: Any, labels: Any, sums: Any) -> None:
    rows, cols = labels.shape
    for row in range(rows):
        for col in range(cols):
            sums[labels[row, col]] += np.float64(values[row, col])


@compiled
def _moments(values: Any, labels: Any, sizes: Any) -> Any:
    """Return mean and population standard deviation of each label, (n,); those of label 0 are meaningless."""
    rows, cols = labels.shape
    mean, spread = np.zeros(len(sizes)), np.zeros(len(sizes))
    for row in range(rows):
        for col in range(cols):
            label = labels[row, col]
            if label > 0:
                mean[label] += np.float64(values[row, col])
    mean /= sizes
    for row in range(rows):
        for col in range(cols):
            label = labels[row, col]
            if label > 0:
                spread[label] += (np.float64(values[row, col]) - mean[label]) ** 2
    return mean, np.sqrt(spread / sizes)


@compiled
def _accumulate(
    field: Any, labels: Any, first: int, stop: int, stride: int, row0: int, col0: int, limit: Any, fraction: Any,
    sums: Any, sizes: Any,
) -> None:  # fmt: skip
    """Add the cell rows first .. stop of the field, float32 (h, w, K), to sums and sizes of regions.

    Most cells lie in one region: a value is converted, and added, once for all pixels of its cell.
    """
    rows, cols = labels.shape
    channels = field.shape[2]
    fixed = np.empty(channels, np.int64)
    for i in range(first, stop):
        top, bottom = max(i * stride - row0, 0), min((i + 1) * stride - row0, rows)
        for j in range(-(-(cols + col0) // stride)):
            left, right = max(j * stride - col0, 0), min((j + 1) * stride - col0, cols)
            region, differing = labels[top, left], 0
            for row in range(top, bottom):
                for col in range(left, right):
                    differing |= labels[row, col] ^ region
            if differing == 0 and region == 0:
                continue
            value = field[i, j]
            for k in range(channels):
                bounded = min(max(value[k], -limit), limit)
                fixed[k] = np.int64(np.rint(bounded * fraction))
            if differing == 0:
                _add(fixed, (bottom - top) * (right - left), region, sums, sizes)
                continue
            for row in range(top, bottom):
                col = left
                while col < right:
                    region, start = labels[row, col], col
                    while col < right and labels[row, col] == region:
                        col += 1
                    if region > 0:
                        _add(fixed, col - start, region, sums, sizes)


@inlined
def _add(fixed: Any, pixels: Any, region: Any, sums: Any, sizes: Any) -> None:
    """Add the values of a cell, int64 (K,), as often as it has pixels in a region."""
    sizes[region] += pixels
    for k in range(len(fixed)):
        sums[region, k] += fixed[k] * pixels
