"""Descriptors of regions: their brightness in each band, and their contrast.

Values are scaled to 0 at a band's dark end and 1 at its bright end, then clipped to [0, 2]. All sums are of integers
(fixed point), taken in one pass over the pixels, so descriptors are the same to the last bit in every array that
contains the region, and for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.kernels import Range, compiled, inlined, summed_stripes, worker_threads
from geoseg.recipes import Tone
from geoseg.segments.elementary import log

_BRIGHTNESS_OFFSET = 0.15
_CONTRAST_OFFSET = 0.02
"""Both keep the logarithm of something dark or even from following noise."""

_LARGEST = 2.0
"""Scaled values are clipped to it."""

_TONE_STEPS = float(1 << 20)
_GREY_STEPS = float(1 << 20)
"""Steps of the fixed-point numbers in 1. Grey is the mean of all bands; the sum of its squares over a region of up to
2^20 pixels fits 64 bits, and the largest superpixels have 3^2 255^2."""

_EXTRA_BITS = 7
"""What a band adds to grey has so many more, so that roundings do not add up over bands."""

_LARGEST_TABLE = 1 << 20
"""Integers are looked up where that takes no more entries: those of 8 bits, and of 16 bits in up to 16 bands."""

_NODE_BITS, _FINE_BITS = np.uint32(11), np.uint32(14)
_FINE_MASK, _NEXT = np.uint32((1 << 14) - 1), np.uint32(1)
_STEPS = float(1 << 25)
"""Values that are not looked up are rounded to STEPS in 1; a table with 2^NODE_BITS nodes in 1 is interpolated between
them, with an error below 3e-6."""

_PIXELS, _GREY, _SQUARES = 0, 1, 2
_TONES = 3
"""Columns of the sums: number of pixels, sum of grey, sum of its square, then the sum of the tone in each band."""

Ends = tuple[tuple[float, ...], tuple[float, ...]]
"""The dark end of each band, and the bright one."""


def region_descriptors(
    pixels: NDArray[Any],
    labels: NDArray[np.int32],
    count: int,
    low: ArrayLike,
    high: ArrayLike,
    kind: Tone,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Return the descriptors of superpixels: mean of each band, and log contrast.

    With v the scaled and clipped value, the mean is that of v, or with kind "hue" that of log(v + 0.15): light and
    shade then act as a factor, so ratios of bands separate water from asphalt. Contrast is the standard deviation of
    the mean of all bands; its descriptor is log(contrast + 0.02).

    Args:
        pixels: (bands, rows, cols), any real dtype. What has no label may be NaN; NaN elsewhere counts as 0.
        labels: int32 (rows, cols), superpixels 1..count; 0 belongs to none.
        count: Number of superpixels, each of up to 2^20 pixels.
        low: (bands,), the dark end of each band.
        high: (bands,), the bright end, greater than `low`.
        kind: Kind of descriptors.
        threads: Number of threads; the result does not depend on it.

    Returns:
        float32 (count, bands + 1); for a superpixel without pixels, 0 and log(0.02).
    """
    ends = tuple(map(float, np.asarray(low).ravel())), tuple(map(float, np.asarray(high).ravel()))
    pixels, labels = np.ascontiguousarray(pixels), np.ascontiguousarray(labels)
    if pixels.dtype in (np.bool_, np.float16):
        pixels = pixels.astype(np.uint8 if pixels.dtype == np.bool_ else np.float32)
    add = _adder(pixels, labels, ends, kind)

    shape = count + 1, _TONES + len(pixels)

    def accumulate(rows: Range) -> NDArray[np.int64]:
        sums = np.zeros(shape, np.int64)
        add(rows, sums)
        return sums

    with worker_threads(threads) as parallel_map:
        parts = parallel_map(accumulate, summed_stripes(0, labels.shape[0], threads, 8 * math.prod(shape)))
    sums = parts[0]
    for more in parts[1:]:
        sums += more
    found = np.empty((count, len(pixels) + 1), np.float32)
    _describe(sums, found)
    return found


def _adder(
    pixels: NDArray[Any], labels: NDArray[np.int32], ends: Ends, kind: Tone
) -> Callable[[Range, NDArray[np.int64]], None]:
    """Return what adds a range of pixel rows to the sums of regions."""
    if pixels.dtype.kind in "iu" and len(pixels) << 8 * pixels.dtype.itemsize <= _LARGEST_TABLE:
        table = _values(pixels.dtype.str, ends, kind)
        patterns = pixels.view(_unsigned(pixels.dtype))
        return lambda rows, sums: _add_values(patterns, labels, *rows, table, sums)
    low, high = map(np.array, ends)
    nodes = _nodes(len(pixels), kind)
    return lambda rows, sums: _add_numbers(pixels, labels, *rows, low, _STEPS / (high - low), nodes, sums)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{dtype.itemsize}")


@lru_cache(maxsize=4)
def _values(dtype: str, ends: Ends, kind: Tone) -> NDArray[np.int32]:
    """Return tone and grey of each bit pattern of an integer dtype in each band, int32 (bands, patterns, 2)."""
    unsigned = _unsigned(np.dtype(dtype))
    values = np.arange(np.iinfo(unsigned).max + 1).astype(unsigned).view(dtype)
    low, high = (np.array(each)[:, None] for each in ends)
    return _fixed(np.clip((values - low) / (high - low), 0, _LARGEST), len(low), kind)


@lru_cache(maxsize=4)
def _nodes(bands: int, kind: Tone) -> NDArray[np.int32]:
    """Return tone and grey of the scaled values 0, 2^-NODE_BITS, 2 * 2^-NODE_BITS .., int32 (nodes, 2)."""
    return _fixed(np.arange(int(_LARGEST) * (1 << _NODE_BITS) + 2) / (1 << _NODE_BITS), bands, kind)


def _fixed(scaled: NDArray[np.float64], bands: int, kind: Tone) -> NDArray[np.int32]:
    """Return tone and grey of scaled values in fixed-point steps, int32 (.., 2).

    Tone is what is averaged over the region in each band; grey is what one of `bands` bands adds to their mean.
    """
    tone = np.log(scaled + _BRIGHTNESS_OFFSET) if kind == "hue" else scaled
    grey = scaled * (_GREY_STEPS * (1 << _EXTRA_BITS) / bands)
    table = np.rint(np.stack([tone * _TONE_STEPS, grey], axis=-1)).astype(np.int32)
    table.flags.writeable = False
    return table


@inlined
def _add(region: Any, parts: Any, sums: Any) -> None:
    """Add a pixel to the sums of its region; parts: the sum of what the bands add to grey."""
    grey = parts >> _EXTRA_BITS
    sums[region, _PIXELS] += 1
    sums[region, _GREY] += grey
    sums[region, _SQUARES] += grey * grey


# Indices are unsigned, as numba tests signed ones for being negative: that takes a quarter of the time.


@compiled
def _add_values(patterns: Any, labels: Any, first: int, stop: int, table: Any, sums: Any) -> None:
    """Add pixel rows first .. stop, given as bit patterns, unsigned (bands, rows, cols), to the sums of regions."""
    bands, _, cols = patterns.shape
    parts = np.empty(cols, np.int64)
    for row in range(first, stop):
        line, stop_col = labels[row], np.uint32(0)
        while stop_col < cols:
            start, region = stop_col, np.uint32(line[stop_col])
            # A run of one label is added to its region at once.
            while stop_col < cols and np.uint32(line[stop_col]) == region:
                stop_col += np.uint32(1)
            if region == 0:
                continue
            for band in range(bands):
                source, tone = patterns[band, row], np.int64(0)
                for col in range(start, stop_col):
                    pattern = source[col]
                    tone += table[band, pattern, 0]
                    parts[col] = table[band, pattern, 1] + (parts[col] if band > 0 else 0)
                sums[region, _TONES + band] += tone
            grey, squares = np.int64(0), np.int64(0)
            for col in range(start, stop_col):
                part = parts[col] >> _EXTRA_BITS
                grey += part
                squares += part * part
            sums[region, _PIXELS] += stop_col - start
            sums[region, _GREY] += grey
            sums[region, _SQUARES] += squares


@compiled
def _add_numbers(pixels: Any, labels: Any, first: int, stop: int, low: Any, scale: Any, nodes: Any, sums: Any) -> None:
    """Add pixel rows first .. stop, of any real dtype, to the sums of regions; a step is (value - low) * scale."""
    for row in range(first, stop):
        for col in range(labels.shape[1]):
            region = np.uint32(labels[row, col])
            if region == 0:
                continue
            parts = np.int64(0)
            for band in range(len(pixels)):
                scaled = (np.float64(pixels[band, row, col]) - low[band]) * scale[band]
                # NaN is not greater than 0.
                step = np.uint32(min(scaled, _LARGEST * _STEPS) + 0.5) if scaled > 0 else np.uint32(0)
                node, rest = step >> _FINE_BITS, np.int32(step & _FINE_MASK)
                sums[region, _TONES + band] += _between(nodes[node, 0], nodes[node + _NEXT, 0], rest)
                parts += _between(nodes[node, 1], nodes[node + _NEXT, 1], rest)
            _add(region, parts, sums)


@inlined
def _between(value: Any, after: Any, rest: Any) -> Any:
    """Interpolate to `rest` 2^-FINE_BITS of the way, rounding down."""
    return value + ((after - value) * rest >> _FINE_BITS)


@compiled
def _describe(sums: Any, found: Any) -> None:
    """Write the descriptors, float32 (count, bands + 1), of the regions with the sums int64 (count + 1, ..)."""
    for region in range(1, len(sums)):
        pixels = sums[region, _PIXELS]
        divisor = max(pixels, 1)
        for band in range(found.shape[1] - 1):
            found[region - 1, band] = sums[region, _TONES + band] / (divisor * _TONE_STEPS)
        # The squares of the distances from the mean rounded down, whose sum is exact.
        mean, rest = sums[region, _GREY] // divisor, sums[region, _GREY] % divisor
        squares = sums[region, _SQUARES] - mean * (sums[region, _GREY] + rest)
        variance = max(squares - np.float64(rest) * rest / divisor, 0.0) / divisor
        found[region - 1, found.shape[1] - 1] = log(np.sqrt(variance) / _GREY_STEPS + _CONTRAST_OFFSET)
