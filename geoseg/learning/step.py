"""What a step of training was like, and its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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


class StepLoss(NamedTuple):
    """The loss of a step. `share` and `terms` add up over the processes, the others are the same in all of them.

    Attributes:
        share: This process's share, which has gradients.
        terms: (5,), the shares of loss, conditional entropy, adversarial, geometric and anchor.
        p_bar: (K,), the running class shares.
    """

    share: Tensor
    terms: Tensor
    p_bar: Tensor
