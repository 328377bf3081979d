"""Statistics of numbers of any size that no extreme value can distort: counts by bit pattern, in two passes.

The bits of a float32, with those of negative numbers inverted, are in the order of the numbers. A first pass counts the
leading 16 bits, which name a number to within 1/128; from them follow the bins of the percentiles, and fences around
them. A second pass counts the other 16 bits in these bins, which makes percentiles exact, and fills a histogram between
the fences, from which mean and deviation follow. All counts are integers, so that neither order nor size of the blocks
matters. Numbers are rounded to float32, as which the network sees them, and kept within ±`LIMIT`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled, inlined

LIMIT = 1e30
"""Larger numbers are no measurement; float32 arithmetic with them would overflow."""

FENCE = 3.0
"""Distance of a fence from a percentile, in distances between the two percentiles."""

_BINS = 65536


class BitCounts:
    """Counts of the leading bits of valid pixels: the first pass.

    Args:
        bands: Number of bands.

    Attributes:
        counts: int64 (bands, 65536).
    """

    def __init__(self, bands: int) -> None:
        self.counts = np.zeros((bands, _BINS), np.int64)

    def add(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Count the valid ones of some pixels (bands, rows, cols)."""
        for values, counts in zip(pixels, self.counts, strict=True):
            _count_leading(_single(values), valid.ravel(), counts)


class Percentiles:
    """Exact percentiles, and a histogram between fences: the second pass, over the same pixels.

    Args:
        counts: int64 (bands, 65536) of `BitCounts`, with at least one pixel in each band.
        shares: Of the pixels, the two that are not greater than the percentiles.

    Attributes:
        low: First value of the histogram, float64 (bands,): the lower fence.
        width: Width of its bins, float64 (bands,).
        histogram: int64 (bands, 65536); its ends hold what lies beyond the fences.
    """

    def __init__(self, counts: NDArray[np.int64], shares: tuple[float, float]) -> None:
        cumulated = counts.cumsum(axis=1)
        ranks = [share * cumulated[0, -1] for share in shares]
        bins = [[int(np.searchsorted(each, rank)) for rank in ranks] for each in cumulated]
        self._bins = np.array(bins, np.int64)
        self._ranks = [
            [rank - int(each[b - 1] if b else 0) for rank, b in zip(ranks, row, strict=True)]
            for each, row in zip(cumulated, bins, strict=True)
        ]
        self._trailing = np.zeros((len(counts), 2, _BINS), np.int64)
        edges = np.array([_fences(low, high, each) for (low, high), each in zip(bins, counts, strict=True)])
        self.low, self.width = edges[:, 0], (edges[:, 1] - edges[:, 0]) / _BINS
        self.histogram = np.zeros((len(counts), _BINS), np.int64)

    def add(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Count the valid ones of some pixels (bands, rows, cols)."""
        for band, values in enumerate(pixels):
            _count_trailing(
                _single(values), valid.ravel(), self._bins[band], self._trailing[band],
                self.low[band], 1 / self.width[band], self.histogram[band],
            )  # fmt: skip

    def values(self) -> NDArray[np.float64]:
        """Return the percentiles (bands, 2): the smallest values that their shares of the pixels do not exceed."""
        trailing = [
            [np.searchsorted(counts.cumsum(), rank) for counts, rank in zip(each, ranks, strict=True)]
            for each, ranks in zip(self._trailing, self._ranks, strict=True)
        ]
        return _value(self._bins << 16 | np.array(trailing))


def _fences(low: int, high: int, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Values beyond which a band's are no longer told apart, from the bins of the percentiles."""
    bottom, top = float(_value(low << 16)), float(_value(high << 16 | 0xFFFF))
    if top - bottom < 1 / LIMIT:
        # Almost all are 0: the few others are all that the band tells.
        used = np.flatnonzero(counts)
        bottom, top = float(_value(int(used[0]) << 16)), float(_value(int(used[-1]) << 16 | 0xFFFF))
        return bottom, max(top, bottom + 1 / LIMIT)
    return bottom - FENCE * (top - bottom), top + FENCE * (top - bottom)


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as contiguous float32 (pixels,) within ±LIMIT; NaN, which is never valid, stays NaN."""
    if values.dtype.kind != "f":
        return np.ascontiguousarray(values, np.float32).ravel()
    wide = values.astype(np.promote_types(values.dtype, np.float32), copy=False)
    single: NDArray[np.float32] = np.clip(wide, -LIMIT, LIMIT).astype(np.float32, copy=False).ravel()
    return single


def _value(pattern: Any) -> NDArray[np.float64]:
    """The numbers that sortable bit patterns stand for."""
    pattern = np.asarray(pattern, np.int64)
    bits = np.where(pattern >> 31, pattern & 0x7FFFFFFF, ~pattern & 0xFFFFFFFF).astype(np.uint32)
    # The patterns around infinity and NaN belong to no value, but may be the edge of a bin.
    numbers: NDArray[np.float64] = np.nan_to_num(
        bits.view(np.float32).astype(np.float64), nan=LIMIT, posinf=LIMIT, neginf=-LIMIT
    )
    return numbers


@inlined
def _ordered(pattern: Any) -> Any:
    """The bit pattern of a float32 as a whole number in 0..2^32 - 1 that is in the order of the floats."""
    bits = np.int64(pattern)
    return (bits ^ 0xFFFFFFFF) if bits >> 31 else bits | 0x80000000


@compiled
def _count_leading(values: NDArray[np.float32], valid: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
    patterns = values.view(np.uint32)
    for i in range(len(values)):
        if valid[i]:
            counts[_ordered(patterns[i]) >> 16] += 1


@compiled
def _count_trailing(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bins: NDArray[np.int64],
    trailing: NDArray[np.int64],
    low: float,
    scale: float,
    histogram: NDArray[np.int64],
) -> None:
    patterns = values.view(np.uint32)
    last = len(histogram) - 1
    for i in range(len(values)):
        if valid[i]:
            bits = _ordered(patterns[i])
            for k in range(2):
                if bits >> 16 == bins[k]:
                    trailing[k, bits & 0xFFFF] += 1
            histogram[int(min(max((np.float64(values[i]) - low) * scale, 0.0), last))] += 1
