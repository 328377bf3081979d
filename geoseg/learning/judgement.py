"""What a trained model makes of imagery that it did not learn from: how sure it may be, and which classes it lost.

The temperature of its confidence is set without labels. A model is a product of experts; how often one of them alone
gives a superpixel the class that the model gives it tells how much that class can be relied on. So the mean confidence
is made to be the mean of these two rates.

On the same patches it is seen what each class looks like, from which its colour is chosen.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import ROUNDS
from geoseg.learning.imagery import Crop
from geoseg.learning.patches import PatchSampler
from geoseg.learning.trainer import Trainer
from geoseg.learning.watching import Measured, appearance_of, measure, patches_of, watch
from geoseg.model.appearance import Appearance
from geoseg.model.file import Model
from geoseg.model.mixture import Experts
from geoseg.prediction.experts import tempered
from geoseg.prediction.stages import Stages

log = logging.getLogger(__name__)

_TEMPERATURES = (0.25, 8.0)
_HALVINGS = 20
_LOST = 0.02
"""Share of a class's area by the mixture alone below which it has lost it."""


@dataclass(frozen=True)
class Judgement:
    """What is found on patches that the model did not learn from.

    Attributes:
        temperature: Of confidence; see `geoseg.model.mixture.Experts`.
        lost: By class id, the share of the area in which the mixture alone sees a class that the model never gives.
        appearance: What each class looks like.
    """

    temperature: float
    lost: dict[int, float]
    appearance: Appearance


@dataclass(frozen=True, eq=False)
class _Seen:
    """The n superpixels of a patch: what they look like, q (n, K), and the classes of each expert."""

    measured: Measured
    q: NDArray[np.float32]
    mixture: NDArray[np.int64]
    network: NDArray[np.int64]


def judged(model: Model, trainer: Trainer, out: Path) -> Model:
    """Return a model with what is found of it at the end of its training: its experts, if any, and its appearance.

    Args:
        model: The model, without experts.
        trainer: Its trainer.
        out: What a warning calls the model.

    Raises:
        InputMissingError, InputError: The imagery is damaged.
    """
    if trainer.mixture is not None:
        return with_experts(model, trainer, out)
    return replace(model, appearance=watch(model, trainer.sampler, trainer.device, trainer.precision))


def with_experts(model: Model, trainer: Trainer, out: Path) -> Model:
    """Return a model with the experts of its training and its appearance.

    A warning tells of classes that only the mixture knows.

    Args:
        model: The model, without experts.
        trainer: Its trainer, which has a mixture.
        out: What the warning calls the model.

    Raises:
        InputMissingError, InputError: The imagery is damaged.
    """
    assert trainer.mixture is not None
    experts = Experts.of(trainer.mixture)
    found = judge(replace(model, experts=experts), trainer.sampler, trainer.device, trainer.precision)
    if found.lost:
        several = len(found.lost) > 1
        shares = ", ".join(
            f"{number} ({100 * share:.{0 if share > 0.1 else 2}f} %)" for number, share in found.lost.items()
        )
        log.warning(
            "%s: class%s %s, which colour alone sees in that share of the imagery, %s not in the maps of this model; "
            "more --steps or another --seed may keep %s",
            out, "es" if several else "", shares, *(("are", "them") if several else ("is", "it")),
        )  # fmt: skip
    experts = replace(experts, temperature=found.temperature)
    return replace(model, experts=experts, appearance=found.appearance)


def judge(model: Model, sampler: PatchSampler, device: torch.device, precision: torch.dtype) -> Judgement:
    """Return how sure a model may be, and which classes it lost.

    Args:
        model: A model with experts, as it will be saved.
        sampler: Of its training.
        device: Where the network runs.
        precision: torch.float32 or torch.bfloat16.

    Raises:
        InputMissingError, InputError: The imagery is damaged.
    """
    stages = Stages(model, np.dtype(model.dtype), device, precision, rounds=ROUNDS)
    found = [_see(model, stages, *patch) for patch in patches_of(sampler)]
    q, mixture, network = (
        np.concatenate([getattr(seen, name) for seen in found]) for name in ("q", "mixture", "network")
    )
    pixels = np.concatenate([seen.measured.area for seen in found])
    area, classes = pixels / max(1, pixels.sum()), q.argmax(axis=1)
    trust = float((area * ((classes == mixture) + 0.0 + (classes == network)) / 2).sum())
    K = model.classes.clusters
    before, after = (np.bincount(each, area, K) for each in (mixture, classes))
    lost = {int(k) + 1: float(before[k]) for k in np.flatnonzero((before > 0) & (after < _LOST * before))}
    temperature = _temperature(q, area, trust)
    appearance = appearance_of(K, classes, tempered(q, temperature), [seen.measured for seen in found])
    return Judgement(temperature, lost, appearance)


def _see(model: Model, stages: Stages, crop: Crop, labels: NDArray[np.int32], count: int) -> _Seen:
    """Return what the model makes of one patch."""
    assert model.experts is not None
    described = stages.describe(crop.pixels, labels, count)
    assert described is not None
    rows, cols = labels.shape
    (logits,) = stages.forward(stages.normalise(crop.pixels, crop.valid)[None], (rows, cols))
    means, q = stages.posterior(logits, labels, count, described)
    mixture = model.experts.mixture.posterior(torch.from_numpy(described.descriptors)).argmax(-1).numpy()
    return _Seen(measure(crop, labels, count, model.stats), q[1:], mixture, means[1:].argmax(axis=1))


def _temperature(q: NDArray[np.float32], area: NDArray[np.float64], trust: float) -> float:
    """Return the temperature with which the mean confidence is `trust`, by bisection."""
    low, high = _TEMPERATURES
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        if float((tempered(q, middle) * area).sum()) > trust:
            low = middle
        else:
            high = middle
    return round(float(np.sqrt(low * high)), 3)
