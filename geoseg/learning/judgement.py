"""What a trained model makes of imagery that it did not learn from: how sure it may be, and which classes it lost.

The temperature of its confidence is set without labels. A model is a product of experts; how often one of them alone
gives a superpixel the class that the model gives it tells how much that class can be relied on. So the mean confidence
is made to be the mean of these two rates.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import ROUNDS
from geoseg.learning.imagery import Crop
from geoseg.learning.patches import PatchSampler
from geoseg.learning.trainer import Trainer
from geoseg.model.file import Model
from geoseg.model.mixture import Experts
from geoseg.prediction.experts import tempered
from geoseg.prediction.stages import Stages

log = logging.getLogger(__name__)

_PATCHES, _FEW_PATCHES = 96, 12
"""How many are judged: those that cover the imagery, within these bounds."""

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
    """

    temperature: float
    lost: dict[int, float]


@dataclass(frozen=True, eq=False)
class _Seen:
    """The superpixels of some patches: the pixels in each that count, q (n, K), and the classes of each expert."""

    area: NDArray[np.int64]
    q: NDArray[np.float32]
    mixture: NDArray[np.int64]
    network: NDArray[np.int64]


def with_experts(model: Model, trainer: Trainer, out: Path) -> Model:
    """Return a model with the experts of its training; a warning tells of classes that only the mixture knows.

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
    return replace(model, experts=replace(experts, temperature=found.temperature))


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
    with ThreadPoolExecutor(1) as reader:
        count = int(min(_PATCHES, max(_FEW_PATCHES, sampler.imagery.enough_patches(sampler.size))))
        patches = reader.map(sampler.preview, range(count))
        found = [_see(model, stages, *patch) for patch in patches]
    seen = _Seen(
        *(np.concatenate([getattr(each, name) for each in found]) for name in ("area", "q", "mixture", "network"))
    )
    area, classes = seen.area / max(1, seen.area.sum()), seen.q.argmax(axis=1)
    trust = float((area * ((classes == seen.mixture) + 0.0 + (classes == seen.network)) / 2).sum())
    K = model.classes.clusters
    before, after = (np.bincount(each, area, K) for each in (seen.mixture, classes))
    lost = {int(k) + 1: float(before[k]) for k in np.flatnonzero((before > 0) & (after < _LOST * before))}
    return Judgement(_temperature(seen.q, area, trust), lost)


def _see(model: Model, stages: Stages, crop: Crop, labels: NDArray[np.int32]) -> _Seen:
    """Return what the model makes of one patch."""
    assert model.experts is not None
    labels = np.where(crop.valid, labels, 0).astype(np.int32)
    count = int(labels.max())
    described = stages.describe(crop.pixels, labels, count)
    assert described is not None
    rows, cols = labels.shape
    (logits,) = stages.forward(stages.normalise(crop.pixels, crop.valid)[None], (rows, cols))
    means, q = stages.posterior(logits, labels, count, described)
    area: Any = np.bincount(labels[crop.counted], minlength=count + 1)[1:]
    mixture = model.experts.mixture.posterior(torch.from_numpy(described.descriptors)).argmax(-1).numpy()
    return _Seen(area, q[1:], mixture, means[1:].argmax(axis=1))


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
