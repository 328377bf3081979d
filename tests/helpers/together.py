"""A training in double precision, in several processes and in one, and how the two differ."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geoseg.launch import Launch
from geoseg.learning import trainer as trainer_module
from geoseg.learning.distributed import ALONE, World
from geoseg.learning.imagery import Crop, Imagery
from geoseg.learning.loop import train
from geoseg.learning.meeting import join
from geoseg.learning.patches import Batch, PatchSampler
from geoseg.learning.step import Step
from geoseg.learning.trainer import Trainer
from geoseg.model.network import NetworkSpec, build
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats
from geoseg.recipes import Recipe, SuperpixelConfig

RECIPE = Recipe(
    classes=4,
    steps=6,
    start_share=1 / 3,
    warm_share=2 / 3,
    batch_size=5,
    patch_size=64,
    superpixel_size=8,
    mixture_superpixels=500,
)
"""Two steps of each phase; five patches, of which one process gets three."""


@dataclass(frozen=True)
class Sampler(PatchSampler):
    """A sampler of patches in double precision, the even ones from the first scene, the odd ones from the second.

    In the steps of `poisoned`, patch 1 is NaN, which is the second process's.
    """

    poisoned: tuple[int, ...] = ()

    def batch(self, step: int, count: int, threads: ThreadPoolExecutor) -> Batch:
        """Return the patches of `step`."""
        found = super().batch(step, count, threads)
        image = found.image.double()
        if step in self.poisoned and 1 in self.world.share(count):
            image[self.world.share(count).index(1)] = math.nan
        return replace(found, image=image, moved=found.moved.double())

    def _draw(self, random: Any, number: int) -> Crop:
        scene = number % RECIPE.batch_size % 2
        return replace(self, imagery=Imagery([self.imagery.images[scene]]))._plain(random, number)

    def _plain(self, random: Any, number: int) -> Crop:
        return super()._draw(random, number)


@dataclass
class Found:
    """What a training was like: its steps, the gradient of each, and where it ended."""

    steps: list[Step]
    gradients: list[torch.Tensor]
    trainer: Trainer

    @property
    def weights(self) -> torch.Tensor:
        """All weights and running statistics at the end."""
        state = self.trainer.network.state_dict().items()
        return torch.cat([value.flatten() for name, value in state if not name.endswith("num_batches_tracked")])

    @property
    def averages(self) -> torch.Tensor:
        """All averaged weights at the end."""
        return torch.cat([value.flatten() for value in self.trainer.averages.last.values()])


def learn(
    scenes: Sequence[Scene], world: World, encoder: str = "compact", poisoned: Sequence[int] = (), **settings: Any
) -> Found:
    """Train, in double precision."""
    recipe = replace(RECIPE, **settings)
    cut = SuperpixelConfig(recipe.superpixel_size), (None, None), 64, 11
    sampler = Sampler(Imagery(scenes), band_stats(scenes), *cut, world=world, poisoned=tuple(poisoned))
    network = build(NetworkSpec(encoder, 3, recipe.classes), seed=1).double()
    trainer = Trainer(network, sampler, recipe, torch.device("cpu"), torch.float32, world)
    gradients: list[torch.Tensor] = []
    advance = trainer.advance

    def advance_and_keep(batch: Batch) -> Step:
        step = advance(batch)
        gradients.append(torch.cat([each.grad.flatten() for each in network.parameters() if each.grad is not None]))
        return step

    trainer.advance = advance_and_keep  # type: ignore[method-assign]
    return Found(list(train(trainer)), gradients, trainer)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The relative error of a vector; 0 where both are not finite."""
    if not bool(expected.isfinite().all() or found.isfinite().all()):
        return 0.0
    return float((found - expected).norm() / expected.norm())


def compare(work: Path, name: str, data: str, **settings: Any) -> None:
    """Train in all processes and then in one; the first writes how they differ to NAME.json."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[assignment,method-assign]
    trainer_module._MAX_GRADIENT_NORM = math.inf
    world = join(Launch.of(), torch.device("cpu"))
    with Scene(Path(data) / "a.tif") as one, Scene(Path(data) / "b.tif") as two:
        together = learn([one, two], world, **settings)
        digests = world.gather(float(together.weights.sum()))
        regions = world.gather(together.trainer.sampler.batch(0, 5, ThreadPoolExecutor(1)).regions)
        world.leave()
        if not world.first:
            return
        alone = learn([one, two], ALONE, **settings)
    fields = "loss", "information", "adversarial", "geometric", "anchor", "perplexity", "criterion"
    values = [
        abs(getattr(a, name) - getattr(b, name))
        for a, b in zip(together.steps, alone.steps, strict=True)
        for name in fields
        if not math.isnan(getattr(b, name))
    ]
    report = {
        "phases": [step.phase for step in alone.steps],
        "notes": [[step.note for step in steps] for steps in (together.steps, alone.steps)],
        "rate": together.trainer.watch.rate_factor,
        "gradients": list(map(error, together.gradients, alone.gradients)),
        "weights": error(together.weights, alone.weights),
        "averages": error(together.averages, alone.averages),
        "p_bar": error(together.trainer.p_bar, alone.trainer.p_bar),
        "values": max(values),
        "regions": regions,
        "apart": max(digests) - min(digests),
    }
    (work / f"{name}.json").write_text(json.dumps(report))
