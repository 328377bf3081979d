"""Trainer: the network, its losses, and all that changes from step to step of a training.

Phase 1 maximises mutual information between superpixels and classes; phase 2 adds adversarial pixel noise and spatial
transforms. This is our reconstruction of InMARS: its hyper-parameters are not public. Ours altogether are phase 0, in
which the network learns a mixture of the superpixels' colours (`mixture`) to start from; the anchor that keeps it near;
a marginal that expects unequal classes; the average of the weights over the steps, and the criterion that judges it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geoseg.learning.averaging import Averages
from geoseg.learning.collapse import Watch
from geoseg.learning.losses import (
    adversarial_noise,
    class_prior,
    cross_entropy,
    divergence,
    marginal_divergence,
    mutual_information_loss,
    pool,
    pool_weights,
)
from geoseg.learning.mixture import Mixture
from geoseg.learning.patches import Batch, PatchSampler
from geoseg.model.network import SegmentationNetwork, frozen_statistics, running_statistics
from geoseg.recipes import STRIDE, Recipe

_MARGINAL_MEMORY = 0.9
_DRIFT = 0.1
_MAX_NORM = 5.0


@dataclass(frozen=True)
class Step:
    """What one optimiser step was like.

    step: counted from 1, of `steps`. phase: 0, 1 or 2. loss: of the batch, nan where it was skipped.
    information: mutual information of region and class in nats, of the batch; adversarial, geometric: the
    divergences of phase 2; anchor: the cross-entropy to the mixture. perplexity: exp of the entropy of the running
    class shares, in [1, K]. images_per_second: patches. note: what was done about trouble, empty mostly.
    criterion: of the averaged weights after this step (`Trainer.judge`), nan where they were not judged.
    """

    step: int
    steps: int
    phase: int
    loss: float
    information: float
    adversarial: float
    geometric: float
    anchor: float
    perplexity: float
    images_per_second: float
    note: str = ""
    criterion: float = math.nan


class Terms(NamedTuple):
    """The parts of a step's loss, as in `Step`."""

    information: float
    adversarial: float = 0.0
    geometric: float = 0.0
    anchor: float = 0.0


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
        self.prior = class_prior(recipe.classes, recipe.imbalance).to(device)
        self.watch = Watch(recipe.classes, recipe.marginal_weight, float(_entropy(self.prior).exp()))
        self.p_bar = self.prior.clone()
        self.averages = Averages(self.network, recipe.averaging)
        self.mixture: Mixture | None = None

    def state(self) -> dict[str, Any]:
        """Return everything that decides the steps to come; tensors, numbers and strings only."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "progress": self.progress,
            "watch": self.watch.state(),
            "p_bar": self.p_bar,
            "averages": self.averages.state(),
            "mixture": dict(vars(self.mixture)) if self.mixture is not None else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state()` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.progress = float(state["progress"])
        self.watch.load(state["watch"])
        self.p_bar = state["p_bar"].to(self.device)
        self.averages.load(state["averages"])
        mixture = state["mixture"]
        self.mixture = Mixture(**mixture).to(self.device) if mixture is not None else None

    def judge(self, probe: Sequence[Batch]) -> float:
        """Return the criterion of the averaged weights, which needs no label, and select them where it is the highest.

        It is the share of the superpixels' area, in the patches of `probe`, that keeps its class under the spatial
        transform, less a tenth of the cross-entropy to the mixture in nats: classes should not hang on where and how a
        superpixel is seen, and training should not drift from colour. `docs/method.md` tells how it goes with accuracy.
        """
        kept = seen = cost = 0.0
        with self.averages.applied(), torch.no_grad(), frozen_statistics(self.network):
            for batch in probe:
                weights, area = pool_weights(batch.labels, batch.regions, STRIDE)
                moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
                with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                    logits, moved = (self.network(image).float() for image in (batch.image, batch.moved))
                z = pool(logits, weights)
                both = torch.minimum(area, moved_area)
                same = z.argmax(-1) == pool(moved, moved_weights).argmax(-1)
                kept, seen = kept + float((same * both).sum()), seen + float(both.sum())
                if self.mixture is not None:
                    cost += float(cross_entropy(self.mixture.posterior(batch.features), z, area)) / len(probe)
        criterion = kept / max(seen, 1.0) - _DRIFT * cost
        self.averages.consider(criterion, self.step)
        return criterion

    def advance(self, batch: Batch) -> Step:
        """Take one optimiser step on `batch`; a step whose loss or gradient is not finite changes no weight."""
        phase = sum(self.progress >= share for share in (self.recipe.start_share, self.recipe.warm_share))
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        before = running_statistics(self.network)
        # Encoders with dropout draw from torch's own generator: a resumed step has to draw the same.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed())
            loss, terms, p_bar = self._loss(batch, phase)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self.p_bar = p_bar.detach()
            self.averages.follow(self.step)
        else:
            self.network.load_state_dict(before, strict=False)
        self.step += 1
        perplexity = float(_entropy(self.p_bar).exp())
        note = self.watch.see(perplexity, finite, warm=phase > 0 and self.progress > 0.1)
        return Step(self.step, self.recipe.steps, phase, float(loss.detach()), *terms, perplexity, 0.0, note)

    def _loss(self, batch: Batch, phase: int) -> tuple[Tensor, Terms, Tensor]:
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
        conditional, marginal, p_bar = self._information(z, area)
        anchor = z.new_zeros(())
        if self.mixture is not None and (phase == 0 or recipe.anchor_weight > 0):
            anchor = cross_entropy(self.mixture.posterior(batch.features), z, area)
        terms = Terms(float(_entropy(p_bar.detach()) - conditional.detach()), anchor=float(anchor.detach()))
        if phase == 0:
            return anchor, terms, p_bar
        loss = conditional + self.watch.mu * marginal + recipe.anchor_weight * anchor
        if phase == 2 and recipe.adversarial_weight > 0:
            adversarial = self._adversarial(image, weights, area)
            loss = loss + recipe.adversarial_weight * adversarial
            terms = terms._replace(adversarial=float(adversarial.detach()))
        if geometric:
            moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
            term = divergence(z, pool(moved_logits, moved_weights), moved_area)
            loss = loss + recipe.geometric_weight * term
            terms = terms._replace(geometric=float(term.detach()))
        return loss, terms, p_bar

    def _information(self, z: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean_s H(p_s), what the marginal costs, and p_bar, of a longer stretch of imagery than one batch.

        Gradients flow through this batch's share of p_bar, and are scaled as if all of it were this batch's.
        """
        conditional, batch_p_bar = mutual_information_loss(z, area, 0.0)
        memory = min(_MARGINAL_MEMORY, 1 - 1 / (self.step + 1))
        p_bar = memory * self.p_bar + (1 - memory) * batch_p_bar
        cost = marginal_divergence(p_bar, self.prior)
        return conditional, (cost - cost.detach() * memory) / (1 - memory), p_bar

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


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * shares.clamp_min(1e-30).log()).sum()
