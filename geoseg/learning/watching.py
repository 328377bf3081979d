"""What the classes of a trained model look like, on patches that it did not learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.learning.imagery import Crop
from geoseg.learning.patches import PatchSampler
from geoseg.model.appearance import Appearance
from geoseg.model.file import Model
from geoseg.prediction.stages import Stages
from geoseg.raster.statistics import BandStats

_PATCHES, _FEW_PATCHES = 96, 12
"""How many are looked at: those that cover the imagery, within these bounds."""

_LARGEST = 2.0
"""Scaled values are clipped to it, on both sides: unlike in `geoseg.segments.descriptors`, what is darker than the dark
end keeps its contrast, by which a shadow is told from water."""


class Measured(NamedTuple):
    """What n superpixels look like.

    Attributes:
        area: int64 (n,), the pixels that count.
        values: float64 (n, bands), their mean values, in the units of the imagery.
        contrast: float64 (n,), their standard deviation of grey, where 1 is from the dark end to the bright one.
    """

    area: NDArray[np.int64]
    values: NDArray[np.float64]
    contrast: NDArray[np.float64]


def patches_of(sampler: PatchSampler) -> Iterator[tuple[Crop, NDArray[np.int32], int]]:
    """Yield patches that a model did not learn from, their superpixels, 0 where invalid, and how many these are.

    Raises:
        InputMissingError, InputError: The imagery is damaged.
    """
    with ThreadPoolExecutor(1) as reader:
        count = int(min(_PATCHES, max(_FEW_PATCHES, sampler.imagery.enough_patches(sampler.size))))
        for crop, cut in reader.map(sampler.preview, range(count)):
            labels = np.where(crop.valid, cut, 0).astype(np.int32)
            yield crop, labels, int(labels.max())


def measure(crop: Crop, labels: NDArray[np.int32], count: int, stats: BandStats) -> Measured:
    """Return what the superpixels 1..count of a patch look like."""
    counted, pixels = labels[crop.counted], stats.winsorised(crop.pixels[:, crop.counted, None])[..., 0]
    low, high = (np.asarray(end)[:, None] for end in (stats.low, stats.high))
    grey = np.clip((pixels - low) / (high - low), -_LARGEST, _LARGEST).mean(axis=0)
    area: Any = np.bincount(counted, minlength=count + 1)[1:]
    *values, first, second = (
        np.bincount(counted, each, count + 1)[1:] / np.maximum(area, 1) for each in (*pixels, grey, grey**2)
    )
    return Measured(area, np.stack(values, axis=1), np.sqrt(np.maximum(second - first**2, 0)))


def appearance_of(
    K: int, classes: NDArray[np.int64], confidence: NDArray[np.float32], measured: Sequence[Measured]
) -> Appearance:
    """Return what K classes look like.

    Args:
        K: Number of classes.
        classes: (n,) in [0, K), of the superpixels of all patches.
        confidence: (n,) in [0, 1].
        measured: Of each patch.
    """
    area, values, contrast = (np.concatenate(part) for part in zip(*measured, strict=True))

    def total(each: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(classes, area * each, K).astype(np.float64)

    return Appearance.of_sums(
        np.bincount(classes, area, K), np.stack([total(band) for band in values.T], axis=1), total(contrast),
        total(confidence),
    )  # fmt: skip


def watch(model: Model, sampler: PatchSampler, device: torch.device, precision: torch.dtype) -> Appearance:
    """Return what the classes of a model without experts look like.

    Args:
        model: The model, as it will be saved.
        sampler: Of its training.
        device: Where the network runs.
        precision: torch.float32 or torch.bfloat16.

    Raises:
        InputMissingError, InputError: The imagery is damaged.
    """
    stages = Stages(model, np.dtype(model.dtype), device, precision)
    classes, confidences, measured = [], [], []
    for crop, labels, count in patches_of(sampler):
        rows, cols = labels.shape
        (logits,) = stages.forward(stages.normalise(crop.pixels, crop.valid)[None], (rows, cols))
        ids, confidence = stages.classify(logits, labels, count, None)
        classes.append(ids[1:] - 1)
        confidences.append(confidence[1:])
        measured.append(measure(crop, labels, count, model.stats))
    return appearance_of(model.classes.clusters, np.concatenate(classes), np.concatenate(confidences), measured)
