"""The trainer: the network, its losses, and all state that changes from step to step.

Phase 1 maximises mutual information between superpixels and classes; phase 2 adds adversarial pixel noise and spatial
transforms. This is our reconstruction of InMARS, whose hyper-parameters are not public. Additions of ours: phase 0, in
which the network learns a mixture of the superpixels' colours (`mixture`); the anchor that keeps it close to that
mixture; a marginal term that expects classes of unequal size; averaged weights, and the criterion that selects them.

Several processes can share the patches of a step (`geoseg.learning.distributed`): all of them take the same step, with
the gradient of the loss of all patches, and so go on with the same state.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from geoseg.learning.averaging import Averages
from geoseg.learning.batch_norm import common_statistics
from geoseg.learning.collapse import CollapseWatch
from geoseg.learning.distributed import ALONE, World
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
from geoseg.learning.step import Step, StepLoss
from geoseg.learning.team import Team, add_gradients, forms_groups, groups_of, replica
from geoseg.model.mixture import Mixture
from geoseg.model.network import SegmentationNetwork
from geoseg.model.normalisation import frozen_statistics, running_statistics
from geoseg.recipes import STRIDE, Recipe

log = logging.getLogger(__name__)

_MARGINAL_MEMORY = 0.9
"""Decay of the running class shares p_bar."""

_CRITERION_CROSS_ENTROPY_WEIGHT = 0.1
_MAX_GRADIENT_NORM = 5.0
_WARM_UP_STEPS = 20

_RANKS_APART = 0x1E3779B97F4A7C15
"""Distance between the seeds of dropout in two processes."""


class Trainer:
    """The network, its optimiser, and all other state that changes from step to step.

    `state()` holds all of it: after `load(state)`, training continues bit for bit on the same machine and device.

    Args:
        network: Is moved to `device` and trained in place.
        sampler: Draws the patches.
        recipe: Hyper-parameters.
        device: Where the network is trained.
        precision: float32, or the type that autocast computes in.
        world: The processes that train together, each with its share of the sampler's patches.
        threads: How many threads train here, by default as many as torch would use.

    Attributes:
        threads: How many threads train here.
        in_groups: Whether they form groups, one or more, so that the number of threads changes nothing.
        groups: Number of groups that the patches of a step form here (`geoseg.learning.team`).
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
        world: World = ALONE,
        threads: int | None = None,
    ) -> None:
        self.world = world
        self.threads = torch.get_num_threads() if threads is None else threads
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
        self.in_groups = forms_groups(network, device)
        self.groups = groups_of(network, recipe, device, world.size)
        self._noise: Tensor | None = None
        self._team = Team(self.groups, self.threads, world)
        self._replicas = [replica(self.network) for _ in range(self.groups - 1)]

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
            "threads": None if self.in_groups or self.device.type != "cpu" else self.threads,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state that `state()` returned."""
        if state["threads"] not in (None, self.threads):
            log.warning(
                "trained with %d threads so far, and goes on with %d: sums then have other last bits, and the model "
                "differs a little from that of an uninterrupted training; --threads %d repeats it exactly",
                state["threads"], self.threads, state["threads"],
            )  # fmt: skip
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
        with (
            self.averages.applied(), torch.no_grad(), frozen_statistics(self.network), common_statistics(self.world)
        ):  # fmt: skip
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
                    everywhere = self.world.sum(area.sum())
                    posterior = self.mixture.posterior(batch.descriptors)
                    cross += float(cross_entropy(posterior, z, area, everywhere)) / len(batches)
        sums = self.world.add_up(torch.tensor([agreeing, total, cross], dtype=torch.float64))
        agreeing, total, cross = map(float, sums)
        criterion = agreeing / max(total, 1.0) - _CRITERION_CROSS_ENTROPY_WEIGHT * cross
        self.averages.consider(criterion, self.step)
        return criterion

    def advance(self, batch: Batch) -> Step:
        """Take one optimiser step on `batch`; if loss or gradients are not finite, no weight changes."""
        phase = sum(self.progress >= share for share in (self.recipe.start_share, self.recipe.warm_share))
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        before = running_statistics(self.network)
        self._noise = self._start_noise(batch.image) if phase == 2 and self.recipe.adversarial_weight > 0 else None
        found = self._learn(batch, phase) if self.groups == 1 else self._learn_in_groups(batch, phase)
        loss, conditional, adversarial, geometric, anchor = self.world.add_gradients(
            self.network.parameters(), found.terms
        )
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self.p_bar = found.p_bar
            self.averages.update(self.step)
        else:
            self.network.load_state_dict(before, strict=False)
        self.step += 1
        # It decides what is done about a collapse, and the last bits differ between kinds of processors.
        perplexity = self.world.of_first(float(shares_entropy(self.p_bar).exp()))
        note = self.watch.update(perplexity, finite, past_start=phase > 0 and self.progress > 0.1)
        information = float(shares_entropy(found.p_bar) - conditional)
        return Step(
            self.step, self.recipe.steps, phase, float(loss), information, float(adversarial), float(geometric),
            float(anchor), perplexity, 0.0, note,
        )  # fmt: skip

    def _learn(self, batch: Batch, phase: int) -> StepLoss:
        """Return the loss of a batch, whose gradients the network's parameters then have."""
        # Encoders with dropout draw from torch's global generator; a resumed step must draw the same numbers.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            # With other numbers in each process, as for the patches of one batch.
            torch.manual_seed((self._seed() + self.world.rank * _RANKS_APART) % (1 << 64))
            found = self._loss(batch, phase)
        self.network.zero_grad(set_to_none=True)
        found.share.backward()  # type: ignore[no-untyped-call]
        return found

    def _learn_in_groups(self, batch: Batch, phase: int) -> StepLoss:
        """Return the same as `_learn`, with the groups of patches in threads of their own."""
        networks = [self.network, *self._replicas]

        def learn(group: int) -> StepLoss:
            member = copy.copy(self)
            member.network, member.world = networks[group], self._team.worlds[group]
            member._noise = None if self._noise is None else self._noise[group :: self.groups]
            found = member._loss(batch.part(group, self.groups), phase)
            member.network.zero_grad(set_to_none=True)
            found.share.backward()  # type: ignore[no-untyped-call]
            return found

        found = self._team.run(learn)
        add_gradients(self.network, self._replicas)
        return found[0]._replace(terms=torch.stack([each.terms for each in found]).sum(0))

    def _loss(self, batch: Batch, phase: int) -> StepLoss:
        """Return the loss of a batch, of which this process has its share of the patches."""
        with common_statistics(self.world):
            return self._loss_in_common(batch, phase)

    def _loss_in_common(self, batch: Batch, phase: int) -> StepLoss:
        recipe = self.recipe
        image = batch.image.contiguous(memory_format=torch.channels_last)
        weights, area = pool_weights(batch.labels, batch.regions, STRIDE)
        geometric_due = phase == 2 and recipe.geometric_weight > 0
        # The cache of autocast is common to all threads, and no weight is used twice.
        enabled = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled, cache_enabled=False):
            if geometric_due:
                both = torch.cat([image, batch.moved]).contiguous(memory_format=torch.channels_last)
                logits, moved_logits = self.network(both).float().chunk(2)
            else:
                logits = self.network(image).float()
        z = pool(logits, weights)  # (B, R, K)
        total = self.world.sum(area.sum())
        conditional, marginal_loss, p_bar = self._information(z, area, total)
        anchor = adversarial = geometric = z.new_zeros(())
        if self.mixture is not None and (phase == 0 or recipe.anchor_weight > 0):
            anchor = self._anchor(self.mixture.posterior(batch.descriptors), z, area, total)
        loss = anchor
        if phase > 0:
            # Each process has the whole marginal term, which counts once.
            loss = conditional + self.watch.mu * marginal_loss / self.world.size + recipe.anchor_weight * anchor
        if phase == 2 and recipe.adversarial_weight > 0:
            adversarial = self._adversarial(image, weights, area)
            loss = loss + recipe.adversarial_weight * adversarial
        if geometric_due:
            moved_weights, moved_area = pool_weights(batch.moved_labels, batch.regions, STRIDE)
            moved_total = self.world.sum(moved_area.sum())
            geometric = divergence(z, pool(moved_logits, moved_weights), moved_area, moved_total)
            loss = loss + recipe.geometric_weight * geometric
        terms = torch.stack([loss, conditional, adversarial, geometric, anchor]).detach()
        return StepLoss(loss, terms, p_bar.detach())

    def _anchor(self, posterior: Tensor, z: Tensor, area: Tensor, total: Tensor) -> Tensor:
        """Return this process's share of the cross-entropy to the mixture."""
        return cross_entropy(posterior, z, area, total)

    def _information(self, z: Tensor, area: Tensor, total: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return this process's share of mean_s H(p_s), the marginal term, and p_bar.

        p_bar covers more imagery than one batch. Gradients flow through the batch's part of it, scaled as if all of it
        came from the batch.
        """
        conditional = conditional_entropy(z, area, total)
        memory = min(_MARGINAL_MEMORY, 1 - 1 / (self.step + 1))
        p_bar = memory * self.p_bar + (1 - memory) * self.world.sum(marginal(z, area, total))
        kl = marginal_divergence(p_bar, self.prior)
        return conditional, (kl - kl.detach() * memory) / (1 - memory), p_bar

    def _adversarial(self, image: Tensor, weights: Tensor, area: Tensor) -> Tensor:
        """Return the divergence under adversarial noise of half of the patches, which halves the cost of its passes.

        All three passes run in float32, on the same patches and without dropout: without noise the divergence is 0.
        """
        assert self._noise is not None
        noise = self._noise
        image, weights, area = image[: len(noise)], weights[: len(noise)], area[: len(noise)]
        total = self.world.sum(area.sum())
        with frozen_statistics(self.network), torch.autocast(self.device.type, enabled=False):
            with torch.no_grad():
                target = pool(self.network(image), weights)
            added = adversarial_noise(self.network, image, target, weights, area, noise, self.recipe.noise, total)
            return divergence(target, pool(self.network(image + added), weights), area, total)

    def _start_noise(self, image: Tensor) -> Tensor:
        """Return the noise that the adversarial noise is found from, for this process's part of half of the patches."""
        count = self.recipe.batch_size if self.world.collective else len(image)
        half = -(-count // 2)
        mine = self.world.share(half)
        generator = torch.Generator().manual_seed(self._seed())
        noise = torch.randn((half, *image.shape[1:]), generator=generator)
        return noise[mine.start :: mine.step].to(self.device)

    def _seed(self) -> int:
        return (self.sampler.seed << 32) + self.step

    def _learning_rate(self) -> float:
        warm_up = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return self.recipe.learning_rate * warm_up * cosine * self.watch.rate_factor
