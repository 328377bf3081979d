"""What the checkpoints and the model of a training record of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from geoseg.config import TrainConfig
from geoseg.files.record import versions
from geoseg.learning.trainer import Trainer
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Recipe, SuperpixelConfig

_MAX_NAMES = 100
"""How many names of images are stored in the model; data sets have up to 51,804 images."""


def fingerprint(
    config: TrainConfig,
    recipe: Recipe,
    superpixels: SuperpixelConfig,
    precision: torch.dtype,
    sources: Sequence[ImageSource],
    stats: BandStats,
) -> dict[str, Any]:
    """Return what a training must have in common with a checkpoint to continue it.

    The number of processes is not part of it: they share the recipe's patches, so another number of them changes
    nothing but rounding.
    """
    return {
        "recipe": asdict(recipe),
        "encoder": config.encoder,
        **({"index": list(config.index)} if config.index else {}),
        **({"extra": [extra.title for extra in config.extra]} if config.extra else {}),
        "superpixels": asdict(superpixels),
        "seed": config.seed,
        "precision": str(precision),
        "data": {"scenes": len(sources), "names": _names_sha256(sources), "statistics": stats.to_json()},
    }


def provenance(
    config: TrainConfig, recipe: Recipe, trainer: Trainer, sources: Sequence[ImageSource], pixels: int
) -> dict[str, Any]:
    """Return what a model tells of its training.

    Args:
        config: The settings.
        recipe: Hyper-parameters.
        trainer: The trainer at the end.
        sources: The images.
        pixels: Number of valid pixels in them.
    """
    chosen = trainer.averages.selected
    selected = config.weights == "selected" and chosen is not None
    several = {"processes": trainer.world.size} if trainer.world.size > 1 else {}
    # Only where another number gives other last bits.
    threads = {"threads": trainer.threads} if trainer.device.type == "cpu" and not trainer.in_groups else {}
    return {
        "recipe": {"name": config.recipe, **asdict(recipe)},
        "seed": config.seed,
        "steps": trainer.step,
        "weights": "selected" if selected else "last",
        "selected": chosen and {key: chosen[key] for key in ("step", "criterion")},
        "encoder_weights": config.encoder_weights,
        "precision": str(trainer.precision).removeprefix("torch."),
        "device": trainer.device.type,
        **several,
        **threads,
        "data": {
            "scenes": len(sources),
            "pixels": pixels,
            "names": _names(sources)[:_MAX_NAMES],
            "names_sha256": _names_sha256(sources),
        },
        "versions": versions("torch"),
    }


def _names(sources: Sequence[ImageSource]) -> list[str]:
    return [source.path.name for source in sources]


def _names_sha256(sources: Sequence[ImageSource]) -> str:
    return hashlib.sha256("\n".join(_names(sources)).encode(errors="surrogateescape")).hexdigest()
