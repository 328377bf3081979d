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
from geoseg.raster.filling import fill_invalid
from geoseg.raster.source import ImageSource, Pixels

OnError = Callable[[Location, InputError | InputMissingError], None]
"""Takes the path of an image that cannot be read, and its error."""

_BINS = 65536


@dataclass(frozen=True)
class BandStats:
    """Statistics of valid pixels, one value per band.

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
        """Return (pixels - mean) / std per band.

        Args:
            pixels: (bands, rows, cols).
            valid: (rows, cols).

        Returns:
            float32 (bands, rows, cols). Invalid pixels get the values of the nearest valid one (`fill_invalid`), or 0,
            which is the mean, if there is none.
        """
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        scale = (1 / np.asarray(self.std, dtype=np.float64)).astype(np.float32)[:, None, None]
        normal: NDArray[np.float32] = np.subtract(pixels, mean, dtype=np.float32)
        normal *= scale
        fill_invalid(normal, valid)
        return normal

    def scale(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Return (pixels - low) / (high - low) per band, as float32 (bands, rows, cols): mostly within [0, 1]."""
        low, high = (np.asarray(value, dtype=np.float32)[:, None, None] for value in (self.low, self.high))
        return np.asarray(np.subtract(pixels, low, dtype=np.float32) / (high - low))


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

    Integers of up to 16 bits are counted exactly. For other types, percentiles come from a histogram of 65536 bins
    between the extremes of the set.

    Args:
        scenes: Images with the same number of bands.
        block_size: Pixels along a side of the windows that are read.
        on_error: Called for an image that cannot be decoded; blocks read before the broken one remain in the
            statistics. None raises the error.

    Raises:
        BandError: Scenes have different numbers of bands.
        InputError: No scene has a valid pixel; or a scene cannot be decoded, without `on_error`.
    """
    counts = {len(scene.bands) for scene in scenes}
    if len(counts) != 1:
        raise BandError(_different_bands(scenes))
    bands = counts.pop()
    if all(scene.dtype.kind in "ui" and scene.dtype.itemsize <= 2 for scene in scenes):
        first = min(int(np.iinfo(scene.dtype).min) for scene in scenes)
        last = max(int(np.iinfo(scene.dtype).max) for scene in scenes)
        low, width = np.full(bands, float(first)), np.ones(bands)
        histogram = _histogram(_read(scenes, block_size, on_error), low, width, last - first + 1)
        return _summarise(histogram, low, width, offset=0.0)
    low, high = _extremes(_read(scenes, block_size, on_error), bands)
    width = np.where(high > low, (high - low) / _BINS, 1.0)
    histogram = _histogram(_read(scenes, block_size, on_error), low, width, _BINS)
    return _summarise(histogram, low, width, offset=0.5)


def _read(scenes: Sequence[ImageSource], block_size: int, on_error: OnError | None) -> Iterator[Pixels]:
    for scene in scenes:
        try:
            for block in partition(scene.extent, block_size):
                yield scene.read(block.window)
        except (InputError, InputMissingError) as error:
            if on_error is None:
                raise
            on_error(scene.path, error)


def _histogram(blocks: Iterator[Pixels], low: NDArray[Any], width: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Number of valid pixels (bands, bins) in bins of `width` from `low` on."""
    histogram = np.zeros((len(low), bins), dtype=np.int64)
    for pixels, valid in blocks:
        all_valid = bool(valid.all())
        for band, values in enumerate(pixels):
            selected = values.ravel() if all_valid else values[valid]
            if low[band] == 0 and width[band] == 1 and selected.dtype in (np.uint8, np.uint16):
                index = selected
            else:
                index = np.clip(((selected - low[band]) / width[band]).astype(np.int64), 0, bins - 1)
            histogram[band] += np.bincount(index, minlength=bins)
    return histogram


def _extremes(blocks: Iterator[Pixels], bands: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Smallest and largest valid value of each band, (bands,) each; 0 where there is none."""
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for pixels, valid in blocks:
        if valid.any():
            selected = pixels[:, valid]
            low, high = np.minimum(low, selected.min(axis=1)), np.maximum(high, selected.max(axis=1))
    return np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)


def _summarise(histogram: NDArray[np.int64], low: NDArray[Any], width: NDArray[Any], offset: float) -> BandStats:
    """Statistics of a histogram whose bins stand for their value at `offset` of their width."""
    pixels = int(histogram[0].sum())
    if pixels == 0:
        raise InputError("the imagery has no valid pixel: all of it is nodata, masked or not finite")
    columns: list[tuple[float, float, float, float]] = []
    for band, counts in enumerate(histogram):
        values = low[band] + (np.arange(len(counts)) + offset) * width[band]
        mean = float((counts * values).sum() / pixels)
        variance = float((counts * (values - mean) ** 2).sum() / pixels)
        cumulated = np.cumsum(counts)
        bottom, top = (float(values[np.searchsorted(cumulated, share * pixels)]) for share in (0.02, 0.98))
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
        "choose common ones with --bands (a band tagged alpha counts only if it is chosen, as in --bands 1,2,3,4)"
    )
