"""The picture of a training: the map that its model would make of a few patches that it does not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.config import ROUNDS
from geoseg.learning.imagery import Crop
from geoseg.learning.losses import pool, pool_weights
from geoseg.learning.trainer import Trainer
from geoseg.model.mixture import Experts
from geoseg.outputs.pictures import colourise, mark_boundaries, montage, stretch
from geoseg.prediction.experts import Combination
from geoseg.recipes import STRIDE

_PATCHES = 6
"""How many patches are shown, in two columns."""


def training_picture(trainer: Trainer, classes: ClassMap | None = None) -> NDArray[np.uint8]:
    """Return a picture (rows, cols, 3) of six patches: the imagery, its superpixels, and the class of each.

    Classes are those of the product of experts, smoothed; without a mixture, those of the network.

    Args:
        trainer: The trainer.
        classes: The classes, once their colours are known.
    """
    stats, classes = trainer.sampler.stats, classes or ClassMap.default(trainer.recipe.classes)
    crops, labels = zip(*(trainer.sampler.preview(sample) for sample in range(_PATCHES)), strict=True)
    images = torch.from_numpy(np.stack([stats.normalise(crop.pixels, crop.valid) for crop in crops]))
    superpixels = torch.from_numpy(np.stack(labels)).long()
    weights, _ = pool_weights(superpixels.to(trainer.device), int(superpixels.max()), STRIDE)
    with torch.inference_mode():
        logits = pool(trainer.network(images.to(trainer.device)), weights).cpu().numpy()
    experts = None if trainer.mixture is None else Combination(Experts.of(trainer.mixture), stats, ROUNDS)
    shown: list[list[Any]] = []
    for crop, cut, means in zip(crops, labels, logits, strict=True):
        view = stretch(crop.pixels, stats.low, stats.high)
        shown.append([view, mark_boundaries(view, cut), colourise(_classes(crop, cut, means, experts)[cut], classes)])
    half = _PATCHES // 2
    return montage([left + right for left, right in zip(shown[:half], shown[half:], strict=True)])


def _classes(
    crop: Crop, cut: NDArray[np.int32], logits: NDArray[np.float32], experts: Combination | None
) -> NDArray[np.int64]:
    """Return the class ids of the superpixels 0..n of a patch, 0 for none, by their mean logits (at least n, K)."""
    count = int(cut.max())
    means = np.concatenate([np.zeros_like(logits[:1]), logits[:count]])
    if experts is None:
        return np.where(np.arange(count + 1) > 0, means.argmax(axis=1) + 1, 0)
    return experts.classify(means, experts.describe(crop.pixels, cut, count, threads=1), threads=1)[0]
