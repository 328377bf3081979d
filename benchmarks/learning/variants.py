"""Trainers, samplers and networks that differ from geoseg's in one respect each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.learning.imagery import Crop
from geoseg.learning.losses import cross_entropy, pool, pool_weights
from geoseg.learning.patches import Batch, PatchSampler
from geoseg.learning.trainer import Terms, Trainer
from geoseg.recipes import STRIDE

_LOCAL = 15
"""Side in pixels of the square whose mean the texture of a pixel is relative to."""


class CellSampler(PatchSampler):
    """Patches without superpixels: every cell of the network's logits is a region of its own."""

    def _segment(self, drawn: Crop) -> NDArray[np.int32]:
        return cells(*drawn.valid.shape)


class RandomSampler(PatchSampler):
    """Patches at independent random places instead of evenly spread ones."""

    def _draw(self, random: np.random.Generator, number: int) -> Crop:
        # A random point of the sequence that spreads patches is a random place.
        return super()._draw(random, int(random.integers(1 << 60)))


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


class BalancedTrainer(Trainer):
    """An anchor in which a class of share s counts 1 / s^0.5 per superpixel."""

    def _anchor(self, posterior: Tensor, z: Tensor, area: Tensor) -> Tensor:
        assert self.mixture is not None
        balance = posterior @ self.mixture.shares.float().rsqrt()
        return cross_entropy(posterior, z, area * balance)


def see_texture_only(network: nn.Module) -> None:
    """Make a network, and its copies, see each pixel relative to the mean of the square around it."""
    network.register_forward_pre_hook(_without_local_mean)


def cells(rows: int, cols: int) -> NDArray[np.int32]:
    """Return (rows, cols) int32: the number of the cell that each pixel lies in, from 1."""
    across = -(-cols // STRIDE)
    return (np.arange(rows)[:, None] // STRIDE * across + np.arange(cols) // STRIDE + 1).astype(np.int32)


def _without_local_mean(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    image = inputs[0]
    means = image.float().contiguous()
    for size in ((_LOCAL, 1), (1, _LOCAL)):
        padding = size[0] // 2, size[1] // 2
        means = nn.functional.avg_pool2d(means, size, 1, padding, count_include_pad=False)
    return (image - means.to(image),)
