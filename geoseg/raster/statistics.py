"""Band statistics over whole scenes: what imagery is normalised with. Deterministic, in one fixed order.

Statistics belong to a set of scenes, never to a window or a block: a per-tile stretch is the commonest
cause of seams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BandError, InputError, InputMissingError
from geoseg.grid import partition
from geoseg.location import Location
from geoseg.raster.source import ImageSource

OnFault = Callable[[Location, InputError | InputMissingError], None]

_BINS = 65536


@dataclass(frozen=True)
class BandStats:
    """Per band: mean, standard deviation, and the 2nd and 98th percentiles (low, high) of valid pixels."""

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
        """Return (pixels - mean) / std per band as float32 (bands, rows, cols); 0 (the mean) where invalid."""
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        scale = (1 / np.asarray(self.std, dtype=np.float64)).astype(np.float32)[:, None, None]
        normal: NDArray[np.float32] = np.subtract(pixels, mean, dtype=np.float32)
        normal *= scale
        if not valid.all():
            normal[:, ~valid] = 0
        return normal

    def scale(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Return (pixels - low) / (high - low) per band as float32: mostly within 0..1."""
        low, high = (np.asarray(value, dtype=np.float32)[:, None, None] for value in (self.low, self.high))
        return np.asarray(np.subtract(pixels, low, dtype=np.float32) / (high - low))


def is_srgb(dtype: str, bands: int) -> bool:
    """Return whether superpixels read such pixels as 8-bit sRGB, for which they need no statistics."""
    return dtype == "uint8" and bands == 3


def colour_scale(stats: BandStats, dtype: str) -> tuple[Any, Any]:
    """Return (offset, scale) per band for superpixel colours, or (None, None) for 8-bit sRGB."""
    if is_srgb(dtype, len(stats.mean)):
        return None, None
    low, high = np.asarray(stats.low), np.asarray(stats.high)
    return low, 1.0 / (high - low)


def band_stats(scenes: Sequence[ImageSource], block_size: int = 2048, on_fault: OnFault | None = None) -> BandStats:
    """Return the statistics of every valid pixel of `scenes`, which have the same number of bands.

    Integers of up to 16 bits are counted exactly; of other types the percentiles come from a histogram
    of 65536 bins between the extremes of the set.

    on_fault: called with the path of an image that cannot be decoded and its error; the image is then in the
        statistics in part. Without it, that error is raised.

    Raises:
        BandError: scenes with different numbers of bands.
        InputError: no scene has a valid pixel.
    """
    counts = {len(scene.bands) for scene in scenes}
    if len(counts) != 1:
        raise BandError(_mixed(scenes))
    bands = counts.pop()
    if all(scene.dtype.kind in "ui" and scene.dtype.itemsize <= 2 for scene in scenes):
        first = min(int(np.iinfo(scene.dtype).min) for scene in scenes)
        last = max(int(np.iinfo(scene.dtype).max) for scene in scenes)
        low, width = np.full(bands, float(first)), np.ones(bands)
        return _summarise(_count(scenes, block_size, on_fault, low, width, last - first + 1), low, width, offset=0.0)
    low_edge, high_edge = _extremes(scenes, block_size, on_fault, bands)
    width = np.where(high_edge > low_edge, (high_edge - low_edge) / _BINS, 1.0)
    histogram = _count(scenes, block_size, on_fault, low_edge, width, _BINS)
    return _summarise(histogram, low_edge, width, offset=0.5)


def _blocks(scenes: Sequence[ImageSource], block_size: int, on_fault: OnFault | None) -> Any:
    for scene in scenes:
        try:
            for block in partition(scene.extent, block_size):
                yield scene.read(block.window)
        except (InputError, InputMissingError) as error:
            if on_fault is None:
                raise
            on_fault(scene.path, error)


def _count(
    scenes: Sequence[ImageSource], block_size: int, on_fault: OnFault | None, low: NDArray[Any], width: NDArray[Any],
    bins: int,
) -> NDArray[np.int64]:  # fmt: skip
    histogram = np.zeros((len(low), bins), dtype=np.int64)
    for pixels, valid in _blocks(scenes, block_size, on_fault):
        everywhere = bool(valid.all())
        for band, values in enumerate(pixels):
            chosen = values.ravel() if everywhere else values[valid]
            if low[band] == 0 and width[band] == 1 and chosen.dtype in (np.uint8, np.uint16):
                index = chosen
            else:
                index = np.clip(((chosen - low[band]) / width[band]).astype(np.int64), 0, bins - 1)
            histogram[band] += np.bincount(index, minlength=bins)
    return histogram


def _extremes(
    scenes: Sequence[ImageSource], block_size: int, on_fault: OnFault | None, bands: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for pixels, valid in _blocks(scenes, block_size, on_fault):
        if valid.any():
            chosen = pixels[:, valid]
            low, high = np.minimum(low, chosen.min(axis=1)), np.maximum(high, chosen.max(axis=1))
    return np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)


def _summarise(histogram: NDArray[np.int64], low: NDArray[Any], width: NDArray[Any], offset: float) -> BandStats:
    pixels = int(histogram[0].sum())
    if pixels == 0:
        raise InputError("the imagery has no valid pixel: all of it is nodata, masked or not finite")
    columns: list[tuple[float, float, float, float]] = []
    for band, counts in enumerate(histogram):
        values = low[band] + (np.arange(len(counts)) + offset) * width[band]
        mean = float((counts * values).sum() / pixels)
        variance = float((counts * (values - mean) ** 2).sum() / pixels)
        cumulated = np.cumsum(counts)
        at = [float(values[np.searchsorted(cumulated, share * pixels)]) for share in (0.02, 0.98)]
        # A constant band carries nothing; a deviation of 1 leaves it at 0 instead of dividing by zero.
        columns.append((mean, variance**0.5 or 1.0, at[0], at[1] if at[1] > at[0] else at[0] + 1.0))
    mean_, std, lows, highs = zip(*columns, strict=True)
    return BandStats(mean_, std, lows, highs, pixels)


def _mixed(scenes: Sequence[ImageSource]) -> str:
    groups: dict[int, list[ImageSource]] = {}
    for scene in scenes:
        groups.setdefault(len(scene.bands), []).append(scene)
    parts = [f"{len(group)} with {count} (such as {group[0].path.name})" for count, group in sorted(groups.items())]
    return (
        f"the scenes have different numbers of bands: {', '.join(parts)}; "
        "choose common ones with --bands (a band tagged alpha counts only where it is chosen, as in --bands 1,2,3,4)"
    )
