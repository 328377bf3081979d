"""Statistics of bands over whole scenes, with which imagery is normalised; deterministic, in one fixed order.

Statistics belong to a set of scenes, never to a window or a block: stretching each tile on its own is the commonest
cause of seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BandError, InputError, InputMissingError
from geoseg.grid import partition
from geoseg.location import Location
from geoseg.raster.bit_patterns import FENCE, BitCounts, Percentiles
from geoseg.raster.filling import fill_invalid
from geoseg.raster.source import ImageSource, Pixels

OnError = Callable[[Location, InputError | InputMissingError], None]
"""Takes the path of an image that cannot be read, and its error."""

_SHARES = (0.02, 0.98)
_BYTES = 384
"""The most values that signed and unsigned bytes have together."""


@dataclass(frozen=True)
class BandStats:
    """Statistics of valid pixels, one value per band.

    Values beyond the fences, three times the distance between the percentiles outside of them, count as lying on them:
    a few pixels, however far off, own neither mean nor deviation. 8-bit values are not far off enough to need it.

    Attributes:
        mean: Mean.
        std: Standard deviation; 1 for a constant band.
        low: 2nd percentile.
        high: 98th percentile; greater than `low`.
        pixels: Number of valid pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    pixels: int

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BandStats:
        """Return the statistics that `to_json` described."""
        mean, std, low, high = (tuple(float(v) for v in data[name]) for name in ("mean", "std", "low", "high"))
        return cls(mean, std, low, high, int(data["pixels"]))

    def normalise(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return (pixels - mean) / std per band, of pixels with more than 16 bits after `winsorised`.

        Args:
            pixels: (bands, rows, cols).
            valid: (rows, cols).

        Returns:
            float32 (bands, rows, cols). Invalid pixels get the values of the nearest valid one (`fill_invalid`), or 0,
            which is the mean, if there is none.
        """
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        scale = (1 / np.asarray(self.std, dtype=np.float64)).astype(np.float32)[:, None, None]
        normal: NDArray[np.float32] = np.subtract(self.winsorised(pixels), mean, dtype=np.float32)
        normal *= scale
        fill_invalid(normal, valid)
        return normal

    def winsorised(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels (bands, rows, cols) with more than 16 bits within the fences, and others as they are.

        One wild value would otherwise reach all that the network sees at the same time, or overflow.
        """
        fences = self.fences(pixels.dtype)
        return pixels if fences is None else np.clip(pixels, *fences)

    def fences(self, dtype: np.dtype[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return the fences, float32 (bands, 1, 1) each, for pixels with more than 16 bits; None for others."""
        if not _is_wide(dtype):
            return None
        low, high = (np.asarray(value, dtype=np.float64)[:, None, None] for value in (self.low, self.high))
        margin = FENCE * (high - low)
        return (low - margin).astype(np.float32), (high + margin).astype(np.float32)


def is_srgb(dtype: str, bands: int) -> bool:
    """Return whether superpixels take such pixels for 8-bit sRGB, which needs no statistics."""
    return dtype == "uint8" and bands == 3


def colour_scale(stats: BandStats, dtype: str) -> tuple[Any, Any]:
    """Return (offset, scale), float64 (bands,) each, that bring pixels to [0, 1] for superpixels.

    Returns:
        (None, None) for 8-bit sRGB.
    """
    if is_srgb(dtype, len(stats.mean)):
        return None, None
    low, high = np.asarray(stats.low), np.asarray(stats.high)
    return low, 1.0 / (high - low)


def band_stats(scenes: Sequence[ImageSource], block_size: int = 2048, on_error: OnError | None = None) -> BandStats:
    """Compute statistics of all valid pixels.

    Integers of up to 16 bits are counted exactly. Of other types, percentiles are exact too, rounded to float32, and
    mean and deviation come from a histogram of 65536 bins between the fences; see `geoseg.raster.bit_patterns`.

    Args:
        scenes: Images with the same number of bands.
        block_size: Pixels along a side of the windows that are read.
        on_error: Called for an image that cannot be decoded; blocks read before the broken one remain in the
            statistics. None raises the error.

    Raises:
        BandError: Scenes have different numbers of bands.
        InputError: No scene has a valid pixel; or a scene cannot be decoded, without `on_error`.
    """
    numbers = {len(scene.bands) for scene in scenes}
    if len(numbers) != 1:
        raise BandError(_different_bands(scenes))
    bands = numbers.pop()
    if any(_is_wide(scene.dtype) for scene in scenes):
        counts = BitCounts(bands)
        for pixels, valid in _read(scenes, block_size, on_error):
            counts.add(pixels, valid)
        _check_any(int(counts.counts[0].sum()))
        found = Percentiles(counts.counts, _SHARES)
        for pixels, valid in _read(scenes, block_size, on_error):
            found.add(pixels, valid)
        return _summarise(found.histogram, found.low, found.width, found.values())
    first = min(int(np.iinfo(scene.dtype).min) for scene in scenes)
    last = max(int(np.iinfo(scene.dtype).max) for scene in scenes)
    histogram = _histogram(_read(scenes, block_size, on_error), bands, first, last)
    _check_any(int(histogram[0].sum()))
    return _summarise(histogram, np.full(bands, float(first)), np.ones(bands))


def _is_wide(dtype: np.dtype[Any]) -> bool:
    """Whether values may be larger than 16 bits hold."""
    return dtype.kind == "f" or dtype.itemsize > 2


def _check_any(pixels: int) -> None:
    if not pixels:
        raise InputError("the imagery has no valid pixel: all of it is nodata, masked or not finite")


def _read(scenes: Sequence[ImageSource], block_size: int, on_error: OnError | None) -> Iterator[Pixels]:
    for scene in scenes:
        try:
            for block in partition(scene.extent, block_size):
                yield scene.read(block.window)
        except (InputError, InputMissingError) as error:
            if on_error is None:
                raise
            on_error(scene.path, error)


def _histogram(blocks: Iterator[Pixels], bands: int, first: int, last: int) -> NDArray[np.int64]:
    """Number of valid pixels (bands, values) of each value from `first` to `last`."""
    histogram = np.zeros((bands, last - first + 1), dtype=np.int64)
    for pixels, valid in blocks:
        all_valid = bool(valid.all())
        for band, values in enumerate(pixels):
            selected = values.ravel() if all_valid else values[valid]
            index = selected if first == 0 else selected.astype(np.int64) - first
            histogram[band] += np.bincount(index, minlength=histogram.shape[1])
    return histogram


def _summarise(
    histogram: NDArray[np.int64],
    low: NDArray[Any],
    width: NDArray[Any],
    percentiles: NDArray[np.float64] | None = None,
) -> BandStats:
    """Statistics of histograms (bands, bins) from `low` on.

    Args:
        histogram: Counts.
        low: First value, (bands,).
        width: Width of the bins, (bands,).
        percentiles: Where they are known, (bands, 2); bins then stand for the value at their middle. Without them, bins
            stand for one value each.
    """
    pixels = int(histogram[0].sum())
    columns: list[tuple[float, float, float, float]] = []
    for band, counts in enumerate(histogram):
        values = low[band] + (np.arange(len(counts)) + (0.0 if percentiles is None else 0.5)) * width[band]
        if percentiles is None:
            cumulated = np.cumsum(counts)
            bottom, top = (float(values[np.searchsorted(cumulated, share * pixels)]) for share in _SHARES)
            if len(counts) > _BYTES and top > bottom:
                margin = FENCE * (top - bottom)
                values = np.clip(values, bottom - margin, top + margin)
        else:
            bottom, top = map(float, percentiles[band])
        mean = float((counts * values).sum() / pixels)
        variance = float((counts * (values - mean) ** 2).sum() / pixels)
        # A constant band carries no information; a deviation of 1 leaves it at 0 instead of dividing by zero.
        columns.append((mean, variance**0.5 or 1.0, bottom, top if top > bottom else bottom + 1.0))
    means, stds, lows, highs = zip(*columns, strict=True)
    return BandStats(means, stds, lows, highs, pixels)


def _different_bands(scenes: Sequence[ImageSource]) -> str:
    groups: dict[int, list[ImageSource]] = {}
    for scene in scenes:
        groups.setdefault(len(scene.bands), []).append(scene)
    parts = [f"{len(group)} with {count} (such as {group[0].path.name})" for count, group in sorted(groups.items())]
    return (
        f"the scenes have different numbers of bands: {', '.join(parts)}; "
        "choose common ones with --bands (a band tagged alpha counts only if it is chosen)"
    )
