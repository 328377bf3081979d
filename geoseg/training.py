"""train(): learn classes from imagery without a label. A generator of Steps; the library never prints.

Phase 1 maximises mutual information between superpixels and classes; phase 2 adds adversarial pixel noise
and spatial transforms. This is our reconstruction of InMARS: its hyper-parameters are not public.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geoseg.config import STRIDE, Recipe
from geoseg.errors import DivergedError
from geoseg.losses import adversarial_noise, divergence, mutual_information_loss, pool, pool_weights
from geoseg.network import SegmentationNetwork, frozen_statistics, running_statistics
from geoseg.patches import Batch, PatchSampler
from geoseg.watch import Watch

GOOD_EVERY = 25
"""Steps between two states that training can be resumed from or fall back to."""

_MARGINAL_MEMORY = 0.9
_MAX_NORM = 5.0


@dataclass(frozen=True)
class Step:
    """What one optimiser step was like.

    step: counted from 1, of `steps`. phase: 1 or 2. loss: of the batch, nan where it was skipped.
    information: mutual information of region and class in nats, of the batch; adversarial, geometric: the
    divergences of phase 2. perplexity: exp of the entropy of the running class shares, in [1, K].
    images_per_second: patches. note: what was done about trouble, empty mostly.
    """

    step: int
    steps: int
    phase: int
    loss: float
    information: float
    adversarial: float
    geometric: float
    perplexity: float
    images_per_second: float
    note: str = ""


class Trainer:
    """The network, its optimiser, and everything else that changes from step to step.

    `state()` holds all of it, so that `load(state)` continues bit for bit on the same machine and device.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        sampler: PatchSampler,
        recipe: Recipe,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).train()
        self.sampler = sampler
        self.recipe = recipe
        self.device = device
        self.precision = precision
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.progress = 0.0
        self.watch = Watch(recipe.classes, recipe.marginal_weight)
        self.p_bar = torch.full((recipe.classes,), 1 / recipe.classes, device=device)

    def state(self) -> dict[str, Any]:
        """Return everything that decides the steps to come; tensors, numbers and strings only."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "progress": self.progress,
            "watch": self.watch.state(),
            "p_bar": self.p_bar,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state()` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.progress = float(state["progress"])
        self.watch.load(state["watch"])
        self.p_bar = state["p_bar"].to(self.device)

    def advance(self, batch: Batch) -> Step:
        """Take one optimiser step on `batch`; a step whose loss or gradient is not finite changes no weight."""
        phase = 1 if self.progress < self.recipe.warm_share else 2
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        before = running_statistics(self.network)
        # Encoders with dropout draw from torch's own generator: a resumed step has to draw the same.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed())
            loss, parts, p_bar = self._loss(batch, phase)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self.p_bar = p_bar.detach()
        else:
            self.network.load_state_dict(before, strict=False)
        self.step += 1
        perplexity = float(torch.exp(-(self.p_bar * self.p_bar.clamp_min(1e-30).log()).sum()))
        note = self.watch.see(perplexity, finite, warm=self.progress > 0.1)
        return Step(self.step, self.recipe.steps, phase, float(loss.detach()), *parts, perplexity, 0.0, note)

    def _loss(self, batch: Batch, phase: int) -> tuple[Tensor, tuple[float, float, float], Tensor]:
        recipe = self.recipe
        image = batch.image.contiguous(memory_format=torch.channels_last)
        weights, area = pool_weights(batch.labels, batch.regions, STRIDE)
        geometric = phase == 2 and recipe.geometric_weight > 0
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            if geometric:
                both = torch.cat([image, batch.moved]).contiguous(memory_format=torch.channels_last)
                logits, moved_logits = self.network(both).float().chunk(2)
            else:
                logits = self.network(image).float()
        z = pool(logits, weights)
        loss, batch_p_bar = mutual_information_loss(z, area, 0.0)
        conditional = loss.detach()
        # The marginal of a longer stretch of imagery than one batch: gradients flow through this batch's share.
        memory = min(_MARGINAL_MEMORY, 1 - 1 / (self.step + 1))
        p_bar = memory * self.p_bar + (1 - memory) * batch_p_bar
        marginal_entropy = -(p_bar * p_bar.clamp_min(1e-30).log()).sum()
        loss = loss - self.watch.mu / (1 - memory) * (marginal_entropy - marginal_entropy.detach() * memory)
        information = float(marginal_entropy.detach() - conditional)
        parts = [information, 0.0, 0.0]
        if phase == 2 and recipe.adversarial_weight > 0:
            adversarial = self._adversarial(image, weights, area)
            loss, parts[1] = loss + recipe.adversarial_weight * adversarial, float(adversarial.detach())
        if geometric:
            moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
            term = divergence(z, pool(moved_logits, moved_weights), moved_area)
            loss, parts[2] = loss + recipe.geometric_weight * term, float(term.detach())
        return loss, (parts[0], parts[1], parts[2]), p_bar

    def _adversarial(self, image: Tensor, weights: Tensor, area: Tensor) -> Tensor:
        """The divergence under adversarial noise of half of the patches, which halves the cost of its three passes.

        All of them in float32, on the same patches and without dropout: without noise the divergence is 0.
        """
        half = -(-len(image) // 2)
        image, weights, area = image[:half], weights[:half], area[:half]
        generator = torch.Generator().manual_seed(self._seed())
        noise = torch.randn(image.shape, generator=generator).to(self.device)
        with frozen_statistics(self.network), torch.autocast(self.device.type, enabled=False):
            with torch.no_grad():
                target = pool(self.network(image), weights)
            added = adversarial_noise(self.network, image, target, weights, area, noise, self.recipe.noise)
            return divergence(target, pool(self.network(image + added), weights), area)

    def _seed(self) -> int:
        return (self.sampler.seed << 32) + self.step

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 20)
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return self.recipe.learning_rate * warm * cosine * self.watch.rate_factor


def train(trainer: Trainer, minutes: float | None = None) -> Iterator[Step]:
    """Yield one Step per optimiser step until the recipe's steps, or `minutes`, are used up.

    After every `GOOD_EVERY` steps `trainer.state()` is worth keeping. With `minutes` the schedule follows the
    clock, whichever of the two ends first, so that two runs are then not alike to the bit.

    Raises:
        DivergedError: the classes collapsed, or loss and gradients left the finite numbers, for good.
    """
    recipe = trainer.recipe
    workers = min(8, os.cpu_count() or 1)
    used = trainer.progress * minutes * 60 if minutes else 0.0
    started = time.perf_counter() - used
    good = copy.deepcopy(trainer.state())
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as ahead:
        upcoming: Iterator[Batch] = iter(())
        expected = -1
        while trainer.step < recipe.steps and trainer.progress < 1:
            if expected != trainer.step:
                upcoming = _read_ahead(trainer, pool, ahead)
            began = time.perf_counter()
            step = trainer.advance(next(upcoming).to(trainer.device))
            elapsed = time.perf_counter() - began
            clock = (time.perf_counter() - started) / (60 * minutes) if minutes else 0.0
            trainer.progress = max(trainer.step / recipe.steps, clock)
            expected = trainer.step
            if trainer.watch.fall_back:
                trainer.load({**copy.deepcopy(good), "step": trainer.step, "watch": trainer.watch.state()})
                trainer.watch.fallen_back()
            elif trainer.step % GOOD_EVERY == 0 and not trainer.watch.in_trouble:
                good = copy.deepcopy(trainer.state())
            yield Step(**{**step.__dict__, "images_per_second": recipe.batch_size / elapsed})
            if trainer.watch.hopeless:
                raise DivergedError(trainer.watch.hopeless)


def _read_ahead(trainer: Trainer, pool: ThreadPoolExecutor, ahead: ThreadPoolExecutor) -> Iterator[Batch]:
    """Yield the batches from the trainer's step on, each being made while the one before it is learnt from."""
    count = trainer.recipe.batch_size
    following = ahead.submit(trainer.sampler.batch, trainer.step, count, pool)
    for step in itertools.count(trainer.step + 1):
        current, following = following, ahead.submit(trainer.sampler.batch, step, count, pool)
        yield current.result()
