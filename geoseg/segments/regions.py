"""Pooling over superpixels and painting back; statistics of the pixels of regions.

A region's value is the mean over its pixels of a field given in cells of `stride` pixels. Sums are integers
(fixed point), so a mean is the same to the last bit whatever block or thread met the pixels first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import Rows, compiled, stripes, team

_FRACTION = float(1 << 14)
_LIMIT = float(1 << 16)


def region_means(
    field: NDArray[np.float32],
    labels: NDArray[np.int32],
    count: int,
    stride: int,
    offset: tuple[int, int],
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the mean (count + 1, K) of `field` over the pixels of each region; row 0 and empty regions are 0.

    field: (h, w, K) float32, within ±65536; resolved to 2^-14.
    labels: (rows, cols) int32 in [0, count]; 0 belongs to no region.
    offset: (row, col) of the first pixel of `labels` within the first cell of `field`, each in [0, stride).
    """
    fixed = np.rint(np.clip(field, -_LIMIT, _LIMIT) * _FRACTION).astype(np.int32)

    def task(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sums = np.zeros((count + 1, field.shape[2]), dtype=np.int64)
        sizes = np.zeros(count + 1, dtype=np.int64)
        _accumulate(fixed, labels, *rows, stride, offset[0], offset[1], sums, sizes)
        return sums, sizes

    with team(threads) as each:
        parts = each(task, stripes(0, labels.shape[0], threads))
    sums, sizes = parts[0]
    for other, more in parts[1:]:
        sums += other
        sizes += more
    means: NDArray[np.float32] = (sums / (np.maximum(sizes, 1) * _FRACTION)[:, None]).astype(np.float32)
    means[0] = 0
    return means


def classify(means: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return per region the class id (1..K; the lowest of equals) and its probability in (0, 1], from mean
    logits (regions, K)."""
    best = means.argmax(axis=1)
    shifted = np.exp((means - means.max(axis=1, keepdims=True)).astype(np.float64))
    return best + 1, (1.0 / shifted.sum(axis=1)).astype(np.float32)


def paint(values: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[Any]:
    """Return values[labels]: each pixel gets its region's value; (regions + 1,) and (rows, cols)."""
    return values[labels]


@dataclass(frozen=True, eq=False)
class RegionStatistics:
    """Of each region 1..n: pixels, int64 (n,), and per band the mean and population standard deviation of its pixels,
    float64 (bands, n). A region without a pixel has 0 everywhere."""

    pixels: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def region_statistics(
    pixels: Sequence[NDArray[Any]], labels: NDArray[np.int32], count: int, threads: int = 1
) -> RegionStatistics:
    """Return the statistics of the bands `pixels`, (rows, cols) each, over the regions 1..count of `labels`.

    The pixels of a region are summed in raster order, in two passes, so the result is the same to the last bit in every
    array that holds the whole region, and for any number of threads.
    """
    sizes = np.bincount(labels.ravel(), minlength=count + 1)

    def task(band: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        moments: tuple[NDArray[np.float64], NDArray[np.float64]]
        moments = _moments(pixels[band[0]], labels, np.maximum(sizes, 1))
        return moments

    with team(threads) as each:
        mean, std = zip(*each(task, [(band, band + 1) for band in range(len(pixels))]), strict=True)
    return RegionStatistics(sizes[1:], np.stack(mean)[:, 1:], np.stack(std)[:, 1:])


def region_sums(values: NDArray[np.float64], labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Return the sum (count,) of `values` (rows, cols) over each region 1..count, in raster order."""
    sums = np.zeros(count + 1)
    _sum(values, labels, sums)
    return sums[1:]


def first_pixels(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, col) of the first pixel in raster order of each region 0..count, (count + 1,) each; -1 for none."""
    first = np.full(count + 1, -1, np.int64)
    _find_first(labels, first)
    rows, cols = np.divmod(first, labels.shape[1])
    return np.where(first < 0, -1, rows), np.where(first < 0, -1, cols)


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
    """Return mean and population standard deviation per label; that of label 0 means nothing."""
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
    fixed: Any, labels: Any, start: int, stop: int, stride: int, row0: int, col0: int, sums: Any, sizes: Any
) -> None:
    cols = labels.shape[1]
    channels = fixed.shape[2]
    for row in range(start, stop):
        cell_row = (row + row0) // stride
        col = 0
        while col < cols:
            label = labels[row, col]
            cell_col = (col + col0) // stride
            end = min(cols, (cell_col + 1) * stride - col0)
            run = 1
            while col + run < end and labels[row, col + run] == label:
                run += 1
            if label > 0:
                sizes[label] += run
                for channel in range(channels):
                    sums[label, channel] += np.int64(fixed[cell_row, cell_col, channel]) * run
            col += run
