"""A training whose imagery is two fields, whose mixture and network are made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from geoseg.datasets.dataset import DatasetImage
from geoseg.learning.imagery import Imagery
from geoseg.learning.patches import PatchSampler
from geoseg.learning.trainer import Trainer
from geoseg.model.mixture import Mixture
from geoseg.model.network import NetworkSpec, build
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Recipe, SuperpixelConfig

DARK, BRIGHT = 80, 160
STATS = BandStats((120.0,) * 3, (40.0,) * 3, (0.0,) * 3, (255.0,) * 3, 1)


def two_fields() -> DatasetImage:
    """Dark on the left, bright on the right, 128 x 128 pixels."""
    level = np.where(np.arange(128) < 64, DARK, BRIGHT)
    pixels = np.random.default_rng(0).normal(level, 2, (3, 128, 128)).astype(np.uint8)
    return DatasetImage(
        Path("fields"), ("red", "green", "blue"), np.dtype(np.uint8), lambda: (128, 128),
        lambda: (pixels, np.ones((128, 128), bool)),
    )  # fmt: skip


def made_mixture(means: tuple[float, ...], sharpness: float) -> Mixture:
    """Gaussians around values 0..255 of the first band; other bands and contrast hardly count."""
    K = len(means)
    centres, roots = np.zeros((K, 4)), np.tile(np.diag([255 * sharpness, 1e-6, 1e-6, 1e-6]), (K, 1, 1))
    centres[:, 0] = np.array(means) / 255
    parts = np.zeros(4), np.eye(4), np.full(K, 1 / K), centres, roots, np.ones(4)
    return Mixture("brightness", *map(torch.from_numpy, parts))


def fields_trainer(mixture: Mixture | None, logits: tuple[float, ...]) -> Trainer:
    """A trainer whose network sees the same in all imagery."""
    recipe = Recipe(classes=len(logits), patch_size=64, batch_size=2)
    sampler = PatchSampler(Imagery([two_fields()]), STATS, SuperpixelConfig(16), (None, None), 64, seed=1)
    network = build(NetworkSpec("compact", 3, len(logits)), 0)
    with torch.no_grad():
        head: torch.nn.Conv2d = network.head[-1]  # type: ignore[assignment, index]
        head.weight.zero_()
        head.bias.copy_(torch.tensor(logits))  # type: ignore[union-attr]
    trainer = Trainer(network, sampler, recipe, torch.device("cpu"), torch.float32)
    if mixture is not None:
        trainer.start_from(mixture)
    return trainer
