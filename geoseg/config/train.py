"""Settings of geoseg train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from geoseg.bands import Bands
from geoseg.config.common import Opening, Precision, check_bands
from geoseg.errors import SettingError
from geoseg.extras import Extra, check_extras
from geoseg.indices import IndexRequest, parse_indices
from geoseg.location import Location
from geoseg.recipes import (
    COMPACT,
    LAND_COVER,
    MAX_LAND_COVER_CLASSES,
    RECIPES,
    Recipe,
    RecipeName,
    SuperpixelConfig,
    check_choice,
    check_range,
)

Weights = Literal["selected", "last"]

MODEL_NAME = "geoseg-model.safetensors"
"""The model that `train` writes and `predict` reads by default."""


@dataclass(frozen=True)
class TrainConfig(Opening):
    """Settings of `geoseg train`. Hyper-parameters that are None come from the recipe.

    Attributes:
        data: Folder of images, or one image.
        out: Model file to write.
        recipe: Name of the recipe. None is the recipe of the benchmark whose layout the folder has, otherwise
            orthophoto.
        classes: Number of classes.
        steps: Number of optimiser steps.
        minutes: Time limit of the training; the learning-rate schedule follows the clock.
        batch_size: Patches per step, of all processes together.
        patch_size: Side of a patch in pixels, a multiple of 32.
        encoder: `compact`, or an encoder of segmentation-models-pytorch.
        encoder_weights: Initial weights of the encoder: a name that the library knows, or a file; None is random.
        bands: Band numbers, counted from 1, or names; None is all bands except alpha.
        index: Spectral indices that become further bands: 'ndvi', or with the bands to compute it from, 'ndvi=4,1'; see
            `geoseg.indices`.
        extra: Rasters whose bands are added to those of the images.
        superpixel_size: Side of a superpixel in pixels.
        compactness: See `SuperpixelConfig`.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: Threads that train on a CPU; None is as many as torch would use.
        precision: Arithmetic of the network.
        seed: Seed of all random choices.
        weights: Which average of the weights is saved: the one with the best criterion, or the last.
        max_bad: Largest number of unusable images that may be left out.
        resume: Continue an interrupted training.
        overwrite: Replace an existing model, or discard an interrupted training.
    """

    data: Location
    out: Path = Path(MODEL_NAME)
    recipe: RecipeName | None = None
    classes: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    patch_size: int | None = None
    encoder: str = COMPACT
    encoder_weights: str | None = None
    bands: Bands | None = None
    index: tuple[str, ...] = ()
    extra: tuple[Extra, ...] = ()
    superpixel_size: int | None = None
    compactness: float = SuperpixelConfig.compactness
    device: str = "auto"
    threads: int | None = None
    precision: Precision = "auto"
    seed: int = 0
    weights: Weights = "selected"
    max_bad: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe is not None:
            check_choice("recipe", self.recipe, get_args(RecipeName))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("weights", self.weights, get_args(Weights))
        check_bands(self.bands)
        check_extras(self.extra)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_range("max bad", self.max_bad, 0, 2**32 - 1)
        if self.threads is not None:
            check_range("threads", self.threads, 1, 1024)
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise SettingError(f"minutes is {self.minutes}; it must be a finite number greater than 0")
        if self.resume and self.overwrite:
            raise SettingError("resume continues a training and overwrite starts over: choose one")
        _ = self.settled, self.superpixels, self.indices

    @property
    def settled(self) -> Recipe:
        """The recipe (orthophoto if it is None) with the hyper-parameters that this configuration sets.

        Orthophoto with at most `MAX_LAND_COVER_CLASSES` classes uses the hyper-parameters of `LAND_COVER`.
        """
        base = RECIPES[self.recipe or "orthophoto"]
        if base is RECIPES["orthophoto"] and self.classes is not None and self.classes <= MAX_LAND_COVER_CLASSES:
            base = replace(LAND_COVER, steps=base.steps)
        names = ("classes", "steps", "batch_size", "patch_size", "superpixel_size")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return Recipe(**{**base.__dict__, **given})

    @property
    def indices(self) -> tuple[IndexRequest, ...]:
        """What `index` asks for."""
        return parse_indices(self.index)

    @property
    def superpixels(self) -> SuperpixelConfig:
        """The superpixel settings that are stored in the model file."""
        return SuperpixelConfig(self.settled.superpixel_size, self.compactness)
