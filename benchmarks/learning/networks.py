"""Networks trained on the same patches for the same number of steps: InMARS and parts of it, IIC, and supervised."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from data import SUPERPIXELS, Data, Image512
from numpy.typing import NDArray
from score import Mapper
from torch import Tensor, nn

from geoseg.learning.imagery import Crop, Imagery
from geoseg.learning.loop import train
from geoseg.learning.losses import pool, pool_weights
from geoseg.learning.patches import NORMALISATION_STEPS, Batch, PatchSampler
from geoseg.learning.trainer import Step, Terms, Trainer
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import settle_statistics
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import COMPACT, STRIDE, Recipe
from geoseg.segments.regions import region_means

PATCH = 128
BATCH = 8
_NORMALISATION_BATCHES = 12


class CellSampler(PatchSampler):
    """Patches without superpixels: every cell of the network's logits is a region of its own."""

    def _segment(self, drawn: Crop) -> NDArray[np.int32]:
        return cells(*drawn.valid.shape)


class IicTrainer(Trainer):
    """The objective of IIC (Ji et al. 2019): mutual information between a region's classes before and after T."""

    def _loss(self, batch: Batch, phase: int) -> tuple[Tensor, Terms, Tensor]:
        weights, area = pool_weights(batch.labels, batch.regions, STRIDE)
        moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            logits, moved_logits = self.network(torch.cat([batch.image, batch.moved])).float().chunk(2)
        p, q = pool(logits, weights).softmax(-1), pool(moved_logits, moved_weights).softmax(-1)
        both = torch.minimum(area, moved_area)
        joint = torch.einsum("brk,brl,br->kl", p, q, both / both.sum())
        joint = (joint + joint.T) / 2
        marginal = joint.sum(0)
        logs = joint.clamp_min(1e-12).log() - marginal.log()[:, None] - marginal.log()[None]
        information = (joint * logs).sum()
        return -information, Terms(float(information.detach())), marginal


def cells(rows: int, cols: int) -> NDArray[np.int32]:
    """Return (rows, cols) int32: the number of the cell that each pixel lies in, from 1."""
    across = -(-cols // STRIDE)
    return (np.arange(rows)[:, None] // STRIDE * across + np.arange(cols) // STRIDE + 1).astype(np.int32)


def trainer(data: Data, recipe: Recipe, seed: int, kind: type[Trainer], superpixels: bool, encoder: str) -> Trainer:
    """Return a new trainer on the CPU."""
    sampler: type[PatchSampler] = PatchSampler if superpixels else CellSampler
    return kind(
        build(NetworkSpec(encoder, 3, recipe.classes), seed),
        sampler(
            Imagery(data.scenes),
            data.stats,
            SUPERPIXELS,
            colour_scale(data.stats, "uint8"),
            recipe.patch_size,
            seed,
            start=recipe.start,
        ),
        recipe,
        torch.device("cpu"),
        torch.bfloat16,
    )


def learn(
    data: Data,
    recipe: Recipe,
    seed: int,
    kind: type[Trainer] = Trainer,
    superpixels: bool = True,
    encoder: str = COMPACT,
) -> Iterator[tuple[Step, Trainer]]:
    """Train, and yield every step with the trainer after it."""
    subject = trainer(data, recipe, seed, kind, superpixels, encoder)
    for step in train(subject):
        yield step, subject


def mapper(data: Data, trained: Trainer, weights: str, superpixels: bool = True) -> Mapper:
    """Return the mapper of a trainer's network, with its own weights ("raw") or the "last" or "selected" average."""
    network = copy.deepcopy(trained.network)
    if weights != "raw":
        chosen = trained.averages.selected if weights == "selected" else None
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_((chosen["weights"] if chosen else trained.averages.last)[name])
    with ThreadPoolExecutor(1) as threads:
        batches = (
            trained.sampler.batch(NORMALISATION_STEPS + i, BATCH, threads).image for i in range(_NORMALISATION_BATCHES)
        )
        settle_statistics(network, batches, torch.bfloat16)
    return mapped(data, network, superpixels)


def mapped(data: Data, network: nn.Module, superpixels: bool) -> Mapper:
    """Return the mapper of a network in evaluation mode, by the mean logits of superpixels or of cells."""
    context = NetworkSpec(COMPACT, 3, data.classes).context

    def mapper(image: Image512) -> NDArray[np.int64]:
        valid = np.ones(image.regions.shape, dtype=bool)
        rows, cols = ((context, context + -side % STRIDE) for side in valid.shape)
        padded = np.pad(data.stats.normalise(image.pixels, valid), ((0, 0), rows, cols), mode="edge")
        tensor = torch.from_numpy(padded)[None]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = network(tensor.contiguous(memory_format=torch.channels_last)).float()[0].permute(1, 2, 0).numpy()
        margin = context // STRIDE
        field = np.ascontiguousarray(logits[margin:-margin, margin:-margin])
        regions = image.regions if superpixels else cells(*image.regions.shape)
        means = region_means(field, regions, int(regions.max()), STRIDE, (0, 0))
        return means.argmax(-1)[regions].astype(np.int64)

    return mapper


def supervised(data: Data, steps: int, seed: int, tuned_only: bool) -> Mapper:
    """The same network, trained on as many patches with the labels of all scenes, or of the tuning scenes only."""
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
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image).float()
        loss = nn.functional.cross_entropy(
            nn.functional.interpolate(logits, scale_factor=STRIDE), labels - 1, ignore_index=-1
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    settle_statistics(network, (batch()[0] for _ in range(_NORMALISATION_BATCHES)), torch.bfloat16)
    return mapped(data, network, superpixels=True)


def _downscaled_labels(image: Image512) -> NDArray[np.uint8]:
    """Return the labels at the scale of the image, by nearest neighbour."""
    rows, cols = (
        ((np.arange(small) + 0.5) * full / small).astype(np.int64)
        for full, small in zip(image.labels.shape, image.regions.shape, strict=True)
    )
    return image.labels[rows[:, None], cols]


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


def reconstruction(classes: int, steps: int, **settings: Any) -> Recipe:
    """Return InMARS as we read the paper's abstract, without our additions: random start, equal classes, mu of 1."""
    plain = Recipe(
        classes=classes,
        steps=steps,
        patch_size=PATCH,
        batch_size=BATCH,
        start="brightness",
        start_share=0.0,
        warm_share=0.5,
        marginal_weight=1.0,
        imbalance=0.0,
        anchor_weight=0.0,
        averaging=0.0,
        adversarial_weight=0.3,
        geometric_weight=1.0,
        superpixel_size=SUPERPIXELS.size,
    )
    return replace(plain, **settings)
