"""The training loop, as a generator of steps: it learns classes from imagery without labels."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import DivergedError, InputError
from geoseg.learning.mixture import LITTLE_COLOUR, colourfulness, fit_mixture
from geoseg.learning.patches import MIXTURE_STEPS, VALIDATION_STEPS, Batch
from geoseg.learning.step import Step
from geoseg.learning.trainer import Trainer
from geoseg.recipes import Start
from geoseg.segments.views import views_of

T = TypeVar("T")

_MAX_MIXTURE_BATCHES = 200
_MIN_MIXTURE_BATCHES = 64
"""How many batches of patches the mixture is fitted to: at most, and at least."""

_VALIDATION_BATCHES = 4
_VALIDATIONS = 20
"""Equal parts of a training; the weights are validated at the end of those in its second half."""


def train(trainer: Trainer, minutes: float | None = None) -> Iterator[Step]:
    """Train until the recipe's steps or `minutes` are used up, and yield every step.

    `trainer.at_checkpoint` says after which of them its state can be resumed from.

    Args:
        trainer: A new trainer, or one that has loaded a checkpoint.
        minutes: Time limit. The schedule then follows whichever of clock and steps is ahead, so that two runs differ.

    Raises:
        DivergedError: The classes collapsed, or loss and gradients stayed non-finite.
        InputError: The imagery is damaged, or has too few superpixels for the classes.
    """
    recipe, world = trainer.recipe, trainer.world
    used = trainer.progress * minutes * 60 if minutes else 0.0
    started = time.perf_counter() - used
    with ThreadPoolExecutor(world.reading_threads) as threads, ThreadPoolExecutor(1) as prefetcher:
        _fit_mixture(trainer, threads)
        validation = [
            trainer.sampler.batch(VALIDATION_STEPS + i, recipe.batch_size, threads).to(trainer.device)
            for i in range(_VALIDATION_BATCHES)
        ]
        good_state = copy.deepcopy(trainer.state())
        batches: Iterator[Batch] = iter(())
        expected_step = -1
        while trainer.step < recipe.steps and trainer.progress < 1:
            if expected_step != trainer.step:
                batches = _prefetched(trainer, threads, prefetcher)
            began = time.perf_counter()
            step = trainer.advance(next(batches).to(trainer.device))
            elapsed = time.perf_counter() - began
            clock = world.of_first((time.perf_counter() - started) / (60 * minutes)) if minutes else 0.0
            before, trainer.progress = trainer.progress, max(trainer.step / recipe.steps, clock)
            expected_step = trainer.step
            if trainer.watch.needs_rollback:
                trainer.load({**copy.deepcopy(good_state), "step": trainer.step, "watch": trainer.watch.state()})
                trainer.watch.rolled_back()
            else:
                if _validation_is_due(before, trainer.progress):
                    step = replace(step, criterion=trainer.validate(validation))
                if trainer.at_checkpoint:
                    good_state = copy.deepcopy(trainer.state())
            yield replace(step, images_per_second=recipe.batch_size / elapsed)
            if trainer.watch.failure:
                raise DivergedError(trainer.watch.failure)


def _validation_is_due(before: float, progress: float) -> bool:
    """Return whether a step that took the progress from `before` to `progress` ended a part of the second half.

    In the first half agreement is high because the network knows little besides the mixture.
    """
    return progress > 0.5 and math.floor(progress * _VALIDATIONS) > math.floor(before * _VALIDATIONS)


def _prefetched(trainer: Trainer, threads: ThreadPoolExecutor, prefetcher: ThreadPoolExecutor) -> Iterator[Batch]:
    """Yield the batches from the trainer's step on; the next one is prepared while the network learns from one."""
    count = trainer.recipe.batch_size
    following = prefetcher.submit(trainer.sampler.batch, trainer.step, count, threads)
    for step in itertools.count(trainer.step + 1):
        current, following = following, prefetcher.submit(trainer.sampler.batch, step, count, threads)
        yield current.result()


def _fit_mixture(trainer: Trainer, threads: ThreadPoolExecutor) -> None:
    """Fit the initial mixture to superpixels of patches that no step learns from, unless it exists or is not used."""
    recipe = trainer.recipe
    if trainer.mixture is not None or not (recipe.start_share or recipe.anchor_weight):
        return
    start: Start = "surroundings" if recipe.start == "auto" else recipe.start
    descriptors = _sample_superpixels(trainer, start, threads)
    if recipe.start == "auto" and trainer.world.from_first(lambda: colourfulness(_hue(descriptors)) < LITTLE_COLOUR):
        start = "brightness"
        descriptors = _sample_superpixels(trainer, start, threads)
    mixture = trainer.world.from_first(lambda: fit_mixture(descriptors, recipe.classes, trainer.sampler.seed, start))
    trainer.start_from(mixture)


def _hue(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the view "hue" (n, bands + 1) of descriptors for the start "surroundings", of which it is the first."""
    return np.split(descriptors, len(views_of("surroundings")), axis=1)[0]


def _sample_superpixels(trainer: Trainer, start: Start, threads: ThreadPoolExecutor) -> NDArray[np.float32]:
    """Return descriptors of superpixels from all parts of the imagery, on patches that no step learns from.

    Raises:
        InputError: There are too few for the classes.
    """
    recipe, sampler, world = trainer.recipe, replace(trainer.sampler, start=start), trainer.world
    min_superpixels = 2 * recipe.classes
    wanted = max(recipe.mixture_superpixels, min_superpixels)
    found: list[list[NDArray[np.float32]]] = []
    superpixels = 0
    enough = sampler.imagery.enough_patches(recipe.patch_size) / recipe.batch_size
    for index in range(_MAX_MIXTURE_BATCHES):
        found.append(sampler.descriptors(MIXTURE_STEPS + index, recipe.batch_size, threads))
        # More patches than are needed for their number, a few superpixels of each: rare classes are in few places.
        superpixels += world.count(sum(map(len, found[-1])))
        several = index + 1 >= min(_MIN_MIXTURE_BATCHES, enough)
        if several and (superpixels >= wanted or (superpixels >= min_superpixels and index + 1 >= enough)):
            break
    descriptors = np.concatenate([each for batch in zip(*world.gather(found), strict=True) for each in _merged(batch)])
    if len(descriptors) > wanted:
        random = np.random.default_rng([sampler.seed, MIXTURE_STEPS])
        descriptors = descriptors[np.sort(random.choice(len(descriptors), wanted, replace=False))]
    if len(descriptors) < min_superpixels:
        raise InputError(
            f"the imagery has about {len(descriptors)} superpixels, too few for {recipe.classes} classes; ask for "
            "fewer --classes or a smaller --superpixel-size, or add more imagery"
        )
    return descriptors


def _merged(shares: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the samples of a step in their order, from the shares of the processes (`World.share`)."""
    for sample in range(sum(map(len, shares))):
        yield shares[sample % len(shares)][sample // len(shares)]
