"""train(): learn classes from imagery without a label. A generator of Steps; the library never prints."""

from __future__ import annotations

import copy
import itertools
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import DivergedError, InputError
from geoseg.learning.losses import pool_weights
from geoseg.learning.mixture import fit_mixture
from geoseg.learning.patches import Batch
from geoseg.learning.trainer import Step, Trainer
from geoseg.recipes import STRIDE

GOOD_EVERY = 25
"""Steps between two states that training can be resumed from or fall back to."""

_SURVEYED = 1 << 41
_PROBED = 1 << 42
"""Steps that no training reaches: their patches are never learnt from."""

_SURVEYS = 200
_ENOUGH = 20_000
"""Superpixels that the mixture is fitted to."""

_PROBES = 4
_JUDGED = 20
"""Times that the weights would be judged over a whole training, in equal steps; they are in its second half."""


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
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as ahead:
        _survey(trainer, pool)
        probe = [trainer.sampler.batch(_PROBED + i, recipe.batch_size, pool).to(trainer.device) for i in range(_PROBES)]
        good = copy.deepcopy(trainer.state())
        upcoming: Iterator[Batch] = iter(())
        expected = -1
        while trainer.step < recipe.steps and trainer.progress < 1:
            if expected != trainer.step:
                upcoming = _read_ahead(trainer, pool, ahead)
            began = time.perf_counter()
            step = trainer.advance(next(upcoming).to(trainer.device))
            elapsed = time.perf_counter() - began
            clock = (time.perf_counter() - started) / (60 * minutes) if minutes else 0.0
            before, trainer.progress = trainer.progress, max(trainer.step / recipe.steps, clock)
            expected = trainer.step
            if trainer.watch.fall_back:
                trainer.load({**copy.deepcopy(good), "step": trainer.step, "watch": trainer.watch.state()})
                trainer.watch.fallen_back()
            else:
                # Not before: agreement is high while the network knows little besides the mixture.
                late = trainer.progress > 0.5
                if late and math.floor(trainer.progress * _JUDGED) > math.floor(before * _JUDGED):
                    step = replace(step, criterion=trainer.judge(probe))
                if trainer.step % GOOD_EVERY == 0 and not trainer.watch.in_trouble:
                    good = copy.deepcopy(trainer.state())
            yield replace(step, images_per_second=recipe.batch_size / elapsed)
            if trainer.watch.hopeless:
                raise DivergedError(trainer.watch.hopeless)


def _read_ahead(trainer: Trainer, pool: ThreadPoolExecutor, ahead: ThreadPoolExecutor) -> Iterator[Batch]:
    """Yield the batches from the trainer's step on, each being made while the one before it is learnt from."""
    count = trainer.recipe.batch_size
    following = ahead.submit(trainer.sampler.batch, trainer.step, count, pool)
    for step in itertools.count(trainer.step + 1):
        current, following = following, ahead.submit(trainer.sampler.batch, step, count, pool)
        yield current.result()


def _survey(trainer: Trainer, pool: ThreadPoolExecutor) -> None:
    """Fit the mixture that training starts from, to superpixels of patches that no step sees; once."""
    recipe, sampler = trainer.recipe, trainer.sampler
    if trainer.mixture is not None or not (recipe.start_share or recipe.anchor_weight):
        return
    found: list[NDArray[np.float32]] = []
    for batch in range(_SURVEYS):
        patches = sampler.batch(_SURVEYED + batch, recipe.batch_size, pool)
        _, area = pool_weights(patches.labels, patches.regions, STRIDE)
        found.append(patches.features[area > 0].numpy())
        if sum(map(len, found)) >= _ENOUGH:
            break
    features = np.concatenate(found)
    if len(features) < 2 * recipe.classes:
        raise InputError(
            f"the imagery has about {len(features)} superpixels, too few for {recipe.classes} classes; ask for "
            "fewer --classes, a smaller --superpixel-size, or give more imagery"
        )
    trainer.mixture = fit_mixture(features, recipe.classes, sampler.seed, sampler.start).to(trainer.device)
