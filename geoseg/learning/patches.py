"""Training patches.

Every random choice is a function of (seed, step, sample), so that a resumed training sees the same patches as an
uninterrupted one, whatever the number of reading threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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
from geoseg.learning.imagery import Crop, Imagery
from geoseg.learning.mixture import region_descriptors
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start, SuperpixelConfig
from geoseg.segments import device as segments_device
from geoseg.segments.superpixels import colour, segment

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


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches of P x P pixels, each of them also under its random spatial transform T.

    Attributes:
        image: (B, bands, P, P) float32, normalised; invalid pixels are as the nearest valid one.
        labels: (B, P, P) int64, superpixels 1..regions; 0 where there is none, or where pixels do not count.
        moved: `image` under T, with other jitter.
        moved_labels: `labels` under T.
        descriptors: (B, regions, D) float32, of the superpixels before jitter (`mixture.region_descriptors`).
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
        return Batch(
            self.image.to(device),
            self.labels.to(device),
            self.moved.to(device),
            self.moved_labels.to(device),
            self.descriptors.to(device),
            self.regions,
        )


@dataclass(frozen=True)
class PatchSampler:
    """Draws patches: images by their shares, and positions in them uniformly.

    Attributes:
        imagery: What patches are drawn from.
        stats: Band statistics that normalise them.
        superpixels: How they are cut into superpixels.
        colour_scale: (offset, scale) that superpixels see colours by (`raster.statistics.colour_scale`).
        size: Side P of a patch in pixels.
        seed: Decides every patch.
        device: Where superpixels are computed; other than on CUDA, one patch per thread.
        start: Kind of descriptors.
    """

    imagery: Imagery
    stats: BandStats
    superpixels: SuperpixelConfig
    colour_scale: tuple[Any, Any]
    size: int
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    start: Start = "brightness"

    def batch(self, step: int, count: int, threads: ThreadPoolExecutor) -> Batch:
        """Return the `count` patches of `step`, which depend on nothing else.

        Raises:
            InputMissingError, InputError: The imagery is damaged, or almost all nodata.
        """
        random = [np.random.default_rng([self.seed, step, sample]) for sample in range(count)]
        drawn = list(threads.map(self._draw, random))
        if self.device.type == "cuda":
            labels = self.segment_together(drawn, threads)
        else:
            labels = list(threads.map(self._segment, drawn))
        regions = max(int(each.max()) for each in labels)
        views = threads.map(self._views, drawn, labels, random, itertools.repeat(regions))
        image, cut, moved, moved_cut, descriptors = (
            torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True)
        )
        return Batch(image, cut.long(), moved, moved_cut.long(), descriptors, regions)

    def preview(self, sample: int) -> tuple[Crop, NDArray[np.int32]]:
        """Return the pixels of a patch that no step learns from, and its superpixels (P, P)."""
        drawn = self._draw(np.random.default_rng([self.seed, 0, _PREVIEW_SAMPLES + sample]))
        return drawn, self._segment(drawn)

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
        descriptors = region_descriptors(self.stats.scale(drawn.pixels), labels.clip(min=0), regions, self.start)
        image, moved = jitter(image, labels != 0, random), jitter(moved, moved_labels != 0, random)
        return image, labels.clip(min=0), moved, moved_labels.clip(min=0), descriptors

    def _draw(self, random: np.random.Generator) -> Crop:
        """Draw one patch; where nodata is common, the first that is mostly valid, or the best of several."""
        best_share = 0.0
        for attempt in range(_MAX_DRAWS):
            index = int(random.choice(len(self.imagery.images), p=self.imagery.shares))
            try:
                rows, cols = self.imagery.images[index].shape
                row, col = (int(random.integers(max(1, length - self.size + 1))) for length in (rows, cols))
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


def _pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Pad (..., rows, cols) with zeros to `size` x `size`, at the end of each axis."""
    rows, cols = array.shape[-2:]
    if (rows, cols) == (size, size):
        return array
    return np.pad(array, (*[(0, 0)] * (array.ndim - 2), (0, size - rows), (0, size - cols)))
