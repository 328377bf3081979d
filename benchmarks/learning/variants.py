"""Trainers, samplers and networks that differ from geoseg's in one respect each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.learning.imagery import Crop
from geoseg.learning.losses import cross_entropy, pool, pool_weights, shares_entropy
from geoseg.learning.patches import NORMALISATION_STEPS, Batch, PatchSampler
from geoseg.learning.step import StepLoss
from geoseg.learning.trainer import Trainer
from geoseg.model.mixture import Mixture
from geoseg.model.network import SegmentationNetwork
from geoseg.recipes import STRIDE

_LOCAL = 15
"""Side in pixels of the square whose mean the texture of a pixel is relative to."""


_PLACES = 4
_FIRST_UNLEARNT = NORMALISATION_STEPS
"""First of the numbers of patches that no step learns from."""


class CellSampler(PatchSampler):
    """Patches without superpixels: every cell of the network's logits is a region of its own."""

    def _segment(self, drawn: Crop) -> NDArray[np.int32]:
        return cells(*drawn.valid.shape)


class RandomSampler(PatchSampler):
    """Patches at independent random places instead of evenly spread ones."""

    def _draw(self, random: np.random.Generator, number: int) -> Crop:
        # A random point of the sequence that spreads patches is a random place.
        return super()._draw(random, int(random.integers(1 << 60)))


@dataclass(frozen=True)
class RareSampler(PatchSampler):
    """Every other patch is, of several places, the one with the rarest components of the mixture.

    Attributes:
        mixture: None until it is fitted: till then patches are as usual.
    """

    mixture: Mixture | None = None

    def _draw(self, random: np.random.Generator, number: int) -> Crop:
        found = super()._draw(random, number)
        if self.mixture is None or number % 2 or number >= _FIRST_UNLEARNT:
            return found
        others = (super(RareSampler, self)._draw(random, int(random.integers(1 << 60))) for _ in range(_PLACES - 1))
        return max((found, *others), key=self._rarity)

    def _rarity(self, drawn: Crop) -> float:
        """Return the mean of 1 / share over the superpixels of a patch."""
        assert self.mixture is not None
        posterior = self.mixture.posterior(torch.from_numpy(self._describe(drawn, self._segment(drawn))))
        return float((posterior.double() @ self.mixture.shares.double().reciprocal()).mean())


class RareTrainer(Trainer):
    """Tells its sampler the mixture."""

    def start_from(self, mixture: Mixture) -> None:
        super().start_from(mixture)
        assert isinstance(self.sampler, RareSampler)
        self.sampler = replace(self.sampler, mixture=self.mixture)


class IicTrainer(Trainer):
    """The objective of IIC (Ji et al. 2019): mutual information between a region's classes before and after T."""

    def _loss(self, batch: Batch, phase: int) -> StepLoss:
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
        # Of information, the entropy of the shares is known; the rest is the conditional entropy.
        conditional = shares_entropy(marginal.detach()) - information.detach()
        none = torch.zeros_like(conditional)
        return StepLoss(
            -information, torch.stack([-information.detach(), conditional, none, none, none]), marginal.detach()
        )


class BalancedTrainer(Trainer):
    """An anchor in which a class of share s counts 1 / s^0.5 per superpixel."""

    def _anchor(self, posterior: Tensor, z: Tensor, area: Tensor, total: Tensor) -> Tensor:
        assert self.mixture is not None
        balance = posterior @ self.mixture.shares.float().rsqrt()
        return cross_entropy(posterior, z, area * balance)


def see_texture_only(network: nn.Module) -> None:
    """Make a network, and its copies, see each pixel relative to the mean of the square around it."""
    network.register_forward_pre_hook(_without_local_mean)


def be_u_shaped(network: SegmentationNetwork) -> None:
    """Let a network see 4 x as far: down to stride 16 and up again, at about the same cost."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network.local = _UShaped(network.spec.channels, 48)


CHANGES = {"texture only": see_texture_only, "U-shaped": be_u_shaped}


class _UShaped(nn.Module):
    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.top = nn.Sequential(_convolution(bands, 32, 2), _convolution(32, channels, 2))
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(channels, channels, 2), _convolution(channels, channels, 1)) for _ in range(2)
        )
        self.up = nn.ModuleList(_convolution(2 * channels, channels, 1) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        levels = [self.top(image)]
        for down in self.down:
            levels.append(down(levels[-1]))
        found: Tensor = levels.pop()
        for up in self.up:
            level = levels.pop()
            found = up(torch.cat([nn.functional.interpolate(found, level.shape[-2:]), level], 1))
        return found


def _convolution(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


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
