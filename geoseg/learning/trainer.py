"""The trainer: the network, its losses, and all state that changes from step to step.

Phase 1 maximises mutual information between superpixels and classes; phase 2 adds adversarial pixel noise and spatial
transforms. This is our reconstruction of InMARS, whose hyper-parameters are not public. Additions of ours: phase 0, in
which the network learns a mixture of the superpixels' colours (`mixture`); the anchor that keeps it close to that
mixture; a marginal term that expects classes of unequal size; averaged weights, and the criterion that selects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geoseg.learning.averaging import Averages
from geoseg.learning.collapse import CollapseWatch
from geoseg.learning.losses import (
    adversarial_noise,
    class_prior,
    conditional_entropy,
    cross_entropy,
    divergence,
    marginal,
    marginal_divergence,
    pool,
    pool_weights,
    shares_entropy,
)
from geoseg.learning.patches import Batch, PatchSampler
from geoseg.model.mixture import Mixture
from geoseg.model.network import SegmentationNetwork
from geoseg.model.normalisation import frozen_statistics, running_statistics
from geoseg.recipes import STRIDE, Recipe

_MARGINAL_MEMORY = 0.9
"""Decay of the running class shares p_bar."""

_CRITERION_CROSS_ENTROPY_WEIGHT = 0.1
_MAX_GRADIENT_NORM = 5.0
_WARM_UP_STEPS = 20


@dataclass(frozen=True)
class Step:
    """The log entry of one optimiser step.

    Attributes:
        step: Number of the step, from 1.
        steps: Number of steps of the whole training.
        phase: 0, 1 or 2.
        loss: Loss of the batch; not finite if the step was skipped.
        information: Mutual information of region and class in the batch, in nats.
        adversarial: Divergence under adversarial noise, in nats; 0 before phase 2.
        geometric: Divergence under the spatial transform, in nats; 0 before phase 2.
        anchor: Cross-entropy to the mixture, in nats.
        perplexity: exp of the entropy of the running class shares, in [1, K].
        images_per_second: Patches per second.
        note: What was done about a collapse or a non-finite step; empty in most cases.
        criterion: Criterion of the averaged weights after this step (`Trainer.validate`); NaN if not computed.
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
    """The terms of a step's loss, as in `Step`."""

    information: float
    adversarial: float = 0.0
    geometric: float = 0.0
    anchor: float = 0.0


class Trainer:
    """The network, its optimiser, and all other state that changes from step to step.

    `state()` holds all of it: after `load(state)`, training continues bit for bit on the same machine and device.

    Args:
        network: Is moved to `device` and trained in place.
        sampler: Draws the patches.
        recipe: Hyper-parameters.
        device: Where the network is trained.
        precision: float32, or the type that autocast computes in.

    Attributes:
        step: Number of completed steps.
        progress: Share of the training that is completed, in [0, 1]; by steps or by the clock.
        prior: (K,), expected class shares in descending order.
        p_bar: (K,), running class shares.
        watch: The collapse watch.
        averages: Averages of the weights.
        mixture: The mixture of phase 0 and of the anchor; None until it is fitted.
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
        self.watch = CollapseWatch(recipe.classes, recipe.marginal_weight, float(shares_entropy(self.prior).exp()))
        self.p_bar = self.prior.clone()
        self.averages = Averages(self.network, recipe.averaging)
        self.mixture: Mixture | None = None

    @property
    def at_checkpoint(self) -> bool:
        """Whether the current state is one to resume from, or to roll back to."""
        return self.step % self.recipe.checkpoint_every == 0 and self.watch.stable

    def state(self) -> dict[str, Any]:
        """Return everything that decides the following steps; tensors, numbers and strings only."""
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
        """Restore a state that `state()` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.progress = float(state["progress"])
        self.watch.load(state["watch"])
        self.p_bar = state["p_bar"].to(self.device)
        self.averages.load(state["averages"])
        if state["mixture"] is not None:
            self.start_from(Mixture(**state["mixture"]))

    def start_from(self, mixture: Mixture) -> None:
        """Take the mixture that training starts from; batches then have the descriptors that it takes."""
        self.mixture = mixture.to(self.device)
        self.sampler = replace(self.sampler, start=mixture.start)

    def validate(self, batches: Sequence[Batch]) -> float:
        """Compute the criterion of the averaged weights, without labels, and select them if it is the highest so far.

        The criterion is the share of the superpixels' area that keeps its class under the spatial transform, minus a
        tenth of the cross-entropy to the mixture in nats: classes should not depend on where and how a superpixel is
        seen, and training should not drift away from colour. `docs/method.md` compares it with accuracy.

        Args:
            batches: Patches that the network never learns from.
        """
        agreeing = total = cross = 0.0
        with self.averages.applied(), torch.no_grad(), frozen_statistics(self.network):
            for batch in batches:
                weights, area = pool_weights(batch.labels, batch.regions, STRIDE)
                moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
                with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                    logits, moved = (self.network(image).float() for image in (batch.image, batch.moved))
                z = pool(logits, weights)
                shared_area = torch.minimum(area, moved_area)
                same = z.argmax(-1) == pool(moved, moved_weights).argmax(-1)
                agreeing += float((same * shared_area).sum())
                total += float(shared_area.sum())
                if self.mixture is not None:
                    cross += float(cross_entropy(self.mixture.posterior(batch.descriptors), z, area)) / len(batches)
        criterion = agreeing / max(total, 1.0) - _CRITERION_CROSS_ENTROPY_WEIGHT * cross
        self.averages.consider(criterion, self.step)
        return criterion

    def advance(self, batch: Batch) -> Step:
        """Take one optimiser step on `batch`; if loss or gradients are not finite, no weight changes."""
        phase = sum(self.progress >= share for share in (self.recipe.start_share, self.recipe.warm_share))
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        before = running_statistics(self.network)
        # Encoders with dropout draw from torch's global generator; a resumed step must draw the same numbers.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed())
            loss, terms, p_bar = self._loss(batch, phase)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self.p_bar = p_bar.detach()
            self.averages.update(self.step)
        else:
            self.network.load_state_dict(before, strict=False)
        self.step += 1
        perplexity = float(shares_entropy(self.p_bar).exp())
        note = self.watch.update(perplexity, finite, past_start=phase > 0 and self.progress > 0.1)
        return Step(self.step, self.recipe.steps, phase, float(loss.detach()), *terms, perplexity, 0.0, note)

    def _loss(self, batch: Batch, phase: int) -> tuple[Tensor, Terms, Tensor]:
        """Return the loss, its terms, and the running class shares."""
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
        z = pool(logits, weights)  # (B, R, K)
        conditional, marginal_loss, p_bar = self._information(z, area)
        anchor = z.new_zeros(())
        if self.mixture is not None and (phase == 0 or recipe.anchor_weight > 0):
            anchor = self._anchor(self.mixture.posterior(batch.descriptors), z, area)
        information = float(shares_entropy(p_bar.detach()) - conditional.detach())
        terms = Terms(information, anchor=float(anchor.detach()))
        if phase == 0:
            return anchor, terms, p_bar
        loss = conditional + self.watch.mu * marginal_loss + recipe.anchor_weight * anchor
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

    def _anchor(self, posterior: Tensor, z: Tensor, area: Tensor) -> Tensor:
        return cross_entropy(posterior, z, area)

    def _information(self, z: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean_s H(p_s), the marginal term, and p_bar, which covers more imagery than one batch.

        Gradients flow through the batch's part of p_bar, scaled as if all of p_bar came from the batch.
        """
        conditional = conditional_entropy(z, area)
        memory = min(_MARGINAL_MEMORY, 1 - 1 / (self.step + 1))
        p_bar = memory * self.p_bar + (1 - memory) * marginal(z, area)
        kl = marginal_divergence(p_bar, self.prior)
        return conditional, (kl - kl.detach() * memory) / (1 - memory), p_bar

    def _adversarial(self, image: Tensor, weights: Tensor, area: Tensor) -> Tensor:
        """Return the divergence under adversarial noise of half of the patches, which halves the cost of its passes.

        All three passes run in float32, on the same patches and without dropout: without noise the divergence is 0.
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

    def _learning_rate(self) -> float:
        warm_up = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return self.recipe.learning_rate * warm_up * cosine * self.watch.rate_factor
