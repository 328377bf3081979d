"""Networks trained on the same patches for the same number of steps, without labels and with them."""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import SUPERPIXELS, Data, Image512
from numpy.typing import NDArray
from rows import BATCH, PATCH, Training
from torch import Tensor, nn
from variants import CHANGES

from geoseg.classes import ClassMap
from geoseg.learning.imagery import Imagery
from geoseg.learning.judgement import with_experts
from geoseg.learning.loop import train
from geoseg.learning.patches import NORMALISATION_STEPS
from geoseg.learning.trainer import Trainer
from geoseg.model.file import Model
from geoseg.model.inference import select_precision
from geoseg.model.network import NetworkSpec, SegmentationNetwork, build
from geoseg.model.normalisation import settle_statistics
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import COMPACT, STRIDE, Recipe, WindowConfig

_NORMALISATION_BATCHES = 16
CPU = torch.device("cpu")
PRECISION = select_precision("auto", CPU)


def learn(data: Data, training: Training, seed: int) -> tuple[Trainer, float]:
    """Train; return the trainer, and the CPU seconds that it took."""
    began = time.process_time()
    recipe = training.recipe
    network = build(NetworkSpec(COMPACT, 3, recipe.classes), seed)
    if training.change:
        CHANGES[training.change](network)
    scale = colour_scale(data.stats, "uint8")
    sampler = training.sampler(Imagery(data.scenes), data.stats, SUPERPIXELS, scale, recipe.patch_size, seed)
    trainer = training.trainer(network, sampler, recipe, CPU, PRECISION)
    for _ in train(trainer):
        pass
    return trainer, time.process_time() - began


def model_of(data: Data, trained: Trainer, weights: str) -> Model:
    """Return the model that `geoseg train` would save, with the "last" or the "selected" average of the weights."""
    with trained.averages.applied(selected=weights == "selected"):
        network = copy.deepcopy(trained.network)
    with ThreadPoolExecutor(1) as threads:
        batches = (
            trained.sampler.batch(NORMALISATION_STEPS + i, BATCH, threads).image for i in range(_NORMALISATION_BATCHES)
        )
        settle_statistics(network, batches, PRECISION)
    model = _model(data, network)
    return model if trained.mixture is None else with_experts(model, trained, Path("model"))


def _model(data: Data, network: SegmentationNetwork) -> Model:
    return Model(
        network=network,
        bands=("red", "green", "blue"),
        dtype="uint8",
        stats=data.stats,
        superpixels=SUPERPIXELS,
        windows=WindowConfig(),
        classes=ClassMap.default(network.spec.classes),
        provenance={},
    )


def supervised(data: Data, steps: int, seed: int, tuned_only: bool) -> tuple[Model, float]:
    """The same network, trained on as many patches with the labels of all scenes, or of the tuning scenes only.

    Returns:
        The model, and the CPU seconds of its training.
    """
    began = time.process_time()
    random = np.random.default_rng(seed)
    images = [image for image in data.images if image.tuned or not tuned_only]
    samples = [
        (data.stats.normalise(image.pixels, np.ones(image.regions.shape, bool)), _downscaled_labels(image))
        for image in images
    ]
    network = build(NetworkSpec(COMPACT, 3, data.classes), seed).train()
    recipe = Recipe(classes=data.classes)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, steps)

    def batch() -> tuple[Tensor, Tensor]:
        drawn = [_patch(*samples[int(random.integers(len(samples)))], random) for _ in range(BATCH)]
        image, labels = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        return image.contiguous(memory_format=torch.channels_last), labels.long()

    for _ in range(steps):
        image, labels = batch()
        with torch.autocast("cpu", PRECISION, enabled=torch.float32 != PRECISION):
            logits = network(image).float()
        loss = nn.functional.cross_entropy(
            nn.functional.interpolate(logits, scale_factor=STRIDE), labels - 1, ignore_index=-1
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    settle_statistics(network, (batch()[0] for _ in range(_NORMALISATION_BATCHES)), PRECISION)
    return _model(data, network), time.process_time() - began


def _downscaled_labels(image: Image512) -> NDArray[np.uint8]:
    """Return the labels at the scale of the image, by nearest neighbour."""
    labels = image.labels
    rows, cols = (
        ((np.arange(small) + 0.5) * full / small).astype(np.int64)
        for full, small in zip(labels.shape, image.regions.shape, strict=True)
    )
    scaled: NDArray[np.uint8] = labels[rows[:, None], cols]
    return scaled


def _patch(image: NDArray[Any], labels: NDArray[Any], random: np.random.Generator) -> tuple[NDArray[Any], ...]:
    turns, flip = int(random.integers(4)), bool(random.integers(2))
    row, col = (int(random.integers(max(1, side - PATCH + 1))) for side in labels.shape)
    patch = []
    for array in (image, labels):
        cut = array[..., row : row + PATCH, col : col + PATCH]
        cut = np.pad(cut, [(0, 0)] * (cut.ndim - 2) + [(0, PATCH - side) for side in cut.shape[-2:]])
        cut = np.rot90(cut, turns, axes=(-2, -1))
        patch.append(np.ascontiguousarray(cut[..., ::-1] if flip else cut))
    return tuple(patch)
