"""Training patches.

Every random choice is a function of (seed, step, sample), so that a resumed training sees the same patches as an
uninterrupted one, whatever the number of reading threads. So processes that train together each draw their own samples
of a step (`World.share`), and together those that one process would draw.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.learning.augment import jitter, transform
from geoseg.learning.distributed import ALONE, World
from geoseg.learning.imagery import Crop, Imagery
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start, SuperpixelConfig
from geoseg.segments import device as segments_device
from geoseg.segments.superpixels import colour, segment
from geoseg.segments.views import superpixel_views

NORMALISATION_STEPS = 1 << 40
MIXTURE_STEPS = 1 << 41
VALIDATION_STEPS = 1 << 42
"""First of the steps that no training reaches, so that the network never learns from their patches. They serve for the
statistics of batch normalisation, for the mixture, and for the criterion."""

_PREVIEW_SAMPLES = 1 << 20
"""Samples of step 0 that no batch reaches. A shorter key would not be distinct: numpy pads keys with zeros."""

_MAX_DRAWS = 1000
_MAX_PICKY_DRAWS = 10
"""Draws after which a patch with less than half of its pixels valid is accepted."""

_MAX_SEGMENT_THREADS = 16

_PREVIEW_NUMBERS = 1 << 62
"""First of the numbers of patches that no step draws."""

_SPREAD_STEPS = 0xD1B54A32D192ED03, 0xABC98388FB8FAC03, 0x8CB92BA72F3D8DD7
"""Steps of `spread` along its three axes, of 2^64: 1 / g, 1 / g^2 and 1 / g^3, with the last bit set. Steps taken from
floats have none of the last eleven, so that patches 2^53 numbers apart would be the same."""

_SPREAD_KEY = 1 << 43


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches of P x P pixels, each of them also under its random spatial transform T.

    Attributes:
        image: (B, bands, P, P) float32, normalised; invalid pixels are as the nearest valid one.
        labels: (B, P, P) int64, superpixels 1..regions; 0 where there is none, or where pixels do not count.
        moved: `image` under T, with other jitter.
        moved_labels: `labels` under T.
        descriptors: (B, regions, D) float32, of the superpixels before jitter (`superpixel_views`).
        regions: The largest label of the batch.
    """

    image: Tensor
    labels: Tensor
    moved: Tensor
    moved_labels: Tensor
    descriptors: Tensor
    regions: int

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return self._with(lambda part: part.to(device))

    def part(self, group: int, groups: int) -> Batch:
        """Return every `groups`-th patch from number `group` on."""
        return self._with(lambda part: part[group::groups])

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            change(self.image), change(self.labels), change(self.moved), change(self.moved_labels),
            change(self.descriptors), self.regions,
        )  # fmt: skip


@dataclass(frozen=True)
class PatchSampler:
    """Draws patches: images by their shares, and positions in them uniformly, as evenly as can be.

    The first few hundred patches already reach all parts of the imagery (`spread`), so that a class that occurs in few
    places is not left to chance.

    Attributes:
        imagery: What patches are drawn from.
        stats: Band statistics that normalise them.
        superpixels: How they are cut into superpixels.
        colour_scale: (offset, scale) that superpixels see colours by (`raster.statistics.colour_scale`).
        size: Side P of a patch in pixels.
        seed: Decides every patch.
        device: Where superpixels are computed; other than on CUDA, one patch per thread.
        start: Kind of descriptors.
        world: The processes that share the patches of a step.
    """

    imagery: Imagery
    stats: BandStats
    superpixels: SuperpixelConfig
    colour_scale: tuple[Any, Any]
    size: int
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    start: Start = "brightness"
    world: World = ALONE

    def batch(self, step: int, count: int, threads: ThreadPoolExecutor) -> Batch:
        """Return this process's share of the `count` patches of `step`, which depend on nothing else.

        Raises:
            InputMissingError, InputError: The imagery is damaged, or almost all nodata.
        """
        random = self._random(step, count)
        drawn, labels = self._cut(step, count, random, threads)
        regions = max(int(each.max()) for each in labels)
        views = threads.map(self._views, drawn, labels, random, itertools.repeat(regions))
        image, cut, moved, moved_cut, descriptors = (
            torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True)
        )
        return Batch(image, cut.long(), moved, moved_cut.long(), descriptors, regions)

    def preview(self, sample: int) -> tuple[Crop, NDArray[np.int32]]:
        """Return the pixels of a patch that no step learns from, and its superpixels (P, P)."""
        random = np.random.default_rng([self.seed, 0, _PREVIEW_SAMPLES + sample])
        drawn = self._draw(random, _PREVIEW_NUMBERS + sample)
        return drawn, self._segment(drawn)

    def descriptors(self, step: int, count: int, threads: ThreadPoolExecutor) -> list[NDArray[np.float32]]:
        """Return the descriptors (n, D) of the superpixels that count, of each of the patches of `batch`.

        Raises:
            InputMissingError, InputError: As for `batch`.
        """
        return list(threads.map(self._describe, *self._cut(step, count, self._random(step, count), threads)))

    def _random(self, step: int, count: int) -> list[np.random.Generator]:
        return [np.random.default_rng([self.seed, step, sample]) for sample in self.world.share(count)]

    def _cut(
        self, step: int, count: int, random: Sequence[np.random.Generator], threads: ThreadPoolExecutor
    ) -> tuple[list[Crop], list[NDArray[np.int32]]]:
        """Draw the patches of a step, and cut them into superpixels."""
        numbers = (step * count + sample for sample in self.world.share(count))
        drawn = list(threads.map(self._draw, random, numbers))
        if self.device.type == "cuda":
            return drawn, self.segment_together(drawn, threads)
        return drawn, list(threads.map(self._segment, drawn))

    def _describe(self, drawn: Crop, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        counted = np.where(drawn.counted & drawn.valid, labels, 0)
        stats, count = self.stats, int(counted.max())
        found = superpixel_views(drawn.pixels, counted, count, stats.low, stats.high, self.start)
        return found[np.bincount(counted.ravel(), minlength=count + 1)[1:] > 0]

    def segment_together(self, drawn: Sequence[Crop], threads: ThreadPoolExecutor) -> list[NDArray[np.int32]]:
        """Return the superpixels (P, P) of each patch, computed on the device at once; the same as one by one."""
        colours = torch.from_numpy(np.stack(list(threads.map(self._colours, drawn))))
        valid = torch.from_numpy(np.stack([each.valid for each in drawn]))
        segmented = segments_device.segment_batch(
            colours.to(self.device),
            valid.to(self.device),
            **vars(self.superpixels),
            threads=min(len(drawn), _MAX_SEGMENT_THREADS),
        )
        return [each.labels for each in segmented]

    def _colours(self, drawn: Crop) -> NDArray[np.int16]:
        offset, scale = self.colour_scale
        return colour(drawn.pixels, drawn.valid, offset=offset, scale=scale)

    def _segment(self, drawn: Crop) -> NDArray[np.int32]:
        return segment(self._colours(drawn), drawn.valid, **vars(self.superpixels)).labels

    def _views(
        self, drawn: Crop, labels: NDArray[np.int32], random: np.random.Generator, regions: int
    ) -> tuple[NDArray[Any], ...]:
        """Return what a patch contributes to a batch, in the order of the fields of `Batch`."""
        image = self.stats.normalise(drawn.pixels, drawn.valid)
        # Pixels that do not count or are invalid have negative labels, so that they move with the superpixels, and only
        # pixels from outside the patch are 0.
        labels = np.where(drawn.counted & drawn.valid, labels, -labels.clip(min=1))
        moved, moved_labels = transform(image, labels, random)
        descriptors = superpixel_views(
            drawn.pixels, labels.clip(min=0), regions, self.stats.low, self.stats.high, self.start
        )
        image, moved = jitter(image, labels != 0, random), jitter(moved, moved_labels != 0, random)
        return image, labels.clip(min=0), moved, moved_labels.clip(min=0), descriptors

    def _draw(self, random: np.random.Generator, number: int) -> Crop:
        """Draw patch `number`; where nodata is common, the first that is mostly valid, or the best of several."""
        best_share = 0.0
        for attempt in range(_MAX_DRAWS):
            place = spread(self.seed, number) if attempt == 0 else random.random(3)
            index = self.imagery.index(place[0])
            try:
                rows, cols = self.imagery.images[index].shape
                spans = zip(place[1:], (rows, cols), strict=True)
                row, col = (int(share * max(1, length - self.size + 1)) for share, length in spans)
                window = Window.of(row, col, min(self.size, rows), min(self.size, cols))
                drawn = self.imagery.read(index, window)
            except (InputError, InputMissingError) as error:
                # Its share stays as it is, so that a resumed training draws the same patches.
                self.imagery.exclude(index, error)
                continue
            share = float(drawn.valid.mean()) if drawn.counted.any() else 0.0
            if share > best_share:
                best_share, best = share, Crop(*(_pad(part, self.size) for part in drawn))
            if best_share > 0.5 or (best_share > 0 and attempt >= _MAX_PICKY_DRAWS):
                return best
        raise InputError(f"the imagery is almost all nodata: {_MAX_DRAWS} random patches in a row had no valid pixel")


def spread(seed: int, number: int) -> NDArray[np.float64]:
    """Return point `number` of a sequence that fills the unit cube evenly, at any number of points: float64 (3,).

    It is the Kronecker sequence of the powers of 1 / g with g^4 = g + 1 (Roberts 2018, "The unreasonable effectiveness
    of quasirandom sequences"), moved by an offset that depends on the seed.
    """
    offset: list[int] = np.random.default_rng([seed, _SPREAD_KEY]).integers(0, 1 << 64, 3, np.uint64).tolist()
    places = (number * step + start for step, start in zip(_SPREAD_STEPS, offset, strict=True))
    # As random numbers have them, 53 bits: more would round up to 1.
    return np.array([(place % (1 << 64) >> 11) / (1 << 53) for place in places])


def _pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Pad (..., rows, cols) with zeros to `size` x `size`, at the end of each axis."""
    rows, cols = array.shape[-2:]
    if (rows, cols) == (size, size):
        return array
    return np.pad(array, (*[(0, 0)] * (array.ndim - 2), (0, size - rows), (0, size - cols)))
