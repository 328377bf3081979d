"""The picture of a training: what the network makes of a few patches that it does not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.learning.losses import pool, pool_weights
from geoseg.learning.trainer import Trainer
from geoseg.outputs.pictures import colourise, mark_boundaries, montage, stretch
from geoseg.recipes import STRIDE

_PATCHES = 6
"""How many patches are shown, in two columns."""


def training_picture(trainer: Trainer) -> NDArray[np.uint8]:
    """Return a picture (rows, cols, 3) of six patches: the imagery, its superpixels, and the class of each."""
    stats, classes = trainer.sampler.stats, ClassMap.default(trainer.recipe.classes)
    crops, labels = zip(*(trainer.sampler.preview(sample) for sample in range(_PATCHES)), strict=True)
    images = torch.from_numpy(np.stack([stats.normalise(crop.pixels, crop.valid) for crop in crops]))
    superpixels = torch.from_numpy(np.stack(labels)).long()
    weights, _ = pool_weights(superpixels.to(trainer.device), int(superpixels.max()), STRIDE)
    with torch.inference_mode():
        best = pool(trainer.network(images.to(trainer.device)), weights).argmax(-1).cpu().numpy() + 1
    shown: list[list[Any]] = []
    for crop, cut, chosen in zip(crops, labels, best, strict=True):
        view = stretch(crop.pixels, stats.low, stats.high)
        shown.append([view, mark_boundaries(view, cut), colourise(np.concatenate([[0], chosen])[cut], classes)])
    half = _PATCHES // 2
    return montage([left + right for left, right in zip(shown[:half], shown[half:], strict=True)])
