"""Training settings: superpixels, windows, and recipes, which are named sets of hyper-parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from geoseg.errors import SettingError

STRIDE = 4
"""Image pixels per logit along each axis. Superpixels restore the edges that this resolution loses."""

COMPACT = "compact"
"""Name of geoseg's own encoder: six convolutions at stride 4 with a receptive field of 39 x 39 pixels."""

ENCODER_STRIDE = 32
"""The network takes images whose height and width are multiples of this."""

Tone = Literal["brightness", "hue"]
"""How the bands of a superpixel are averaged: their brightness, or its logarithm."""

Start = Literal["brightness", "hue", "surroundings"]
"""What the initial mixture separates classes by (`geoseg.segments.views`)."""

ProtocolName = Literal["potsdam3", "potsdam6", "cocostuff3", "cocostuff15"]
RecipeName = Literal["orthophoto", "quick", "inmars", ProtocolName]


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise SettingError unless `low <= value <= high`."""
    if not low <= value <= high:
        raise SettingError(f"{name} is {value}; it must be between {low} and {high}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise SettingError unless `value` is one of `choices`."""
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class SuperpixelConfig:
    """Superpixel settings: SLIC (Achanta et al. 2012) on a seed lattice anchored at the scene's pixel (0, 0).

    Attributes:
        size: Side of a seed cell in pixels, 4..255.
        compactness: Weight of spatial distance against colour distance (CIELAB units), greater than 0.
        iterations: Assignment steps, 1..50. Each one widens the halo by two cells.
    """

    size: int = 16
    compactness: float = 10.0
    iterations: int = 5

    def __post_init__(self) -> None:
        check_range("superpixel size", self.size, 4, 255)
        check_range("iterations", self.iterations, 1, 50)
        if not 0 < self.compactness < math.inf:
            raise SettingError(f"compactness is {self.compactness}; it must be a finite number greater than 0")


@dataclass(frozen=True)
class WindowConfig:
    """Size and overlap of the windows that the network sees in one forward pass.

    Attributes:
        tile_size: Side of a window in pixels; a multiple of 32, at least 64.
        overlap: Overlap of neighbouring windows in pixels; a multiple of 32, at most half of `tile_size`.
    """

    tile_size: int = 1024
    overlap: int = 128

    def __post_init__(self) -> None:
        for name, value in (("tile size", self.tile_size), ("overlap", self.overlap)):
            if value % ENCODER_STRIDE or value < 0:
                raise SettingError(f"{name} is {value}; it must be a multiple of {ENCODER_STRIDE}")
        if self.tile_size < 64 or 2 * self.overlap > self.tile_size:
            raise SettingError(
                f"overlap {self.overlap} must be at most half of the tile size {self.tile_size} (itself >= 64)"
            )


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training. The paper does not publish its own; these values are geoseg's.

    Attributes:
        classes: Number of classes K, 2..65534.
        steps: Number of optimiser steps.
        start: What the initial mixture separates classes by: brightness, hue, or hue and that of the surroundings;
            "auto" is brightness for imagery with little colour, else surroundings (`geoseg.learning.mixture`).
        mixture_superpixels: Number of superpixels that the initial mixture is fitted to; at least 2 K are used.
        start_share: Share of the steps in phase 0, in which the network learns the mixture.
        warm_share: Share of the steps after which phase 1 (mutual information) becomes phase 2 (mutual information
            and both regularisers); at least `start_share`.
        batch_size: Patches per step, of all processes together.
        patch_size: Side of a patch in pixels; a multiple of 32.
        learning_rate: Peak learning rate of AdamW. After a short warm-up it follows a cosine down to a hundredth.
        weight_decay: Weight decay of AdamW.
        marginal_weight: mu, the weight of the marginal term in the mutual information.
        imbalance: Exponent a of the class prior 1 / rank^a; 0 expects classes of equal size.
        anchor_weight: Weight of the cross-entropy to the mixture in phases 1 and 2.
        averaging: Decay of the moving average of the weights, in [0, 1). The model gets the averaged weights.
        adversarial_weight: Weight of the adversarial term in phase 2.
        geometric_weight: Weight of the geometric term in phase 2.
        noise: Root mean square of the adversarial noise, in units of the normalised image.
        superpixel_size: Side of a superpixel in pixels (`SuperpixelConfig.size`).
        edges: Whether the network also gets the image's Sobel derivatives as input.
        checkpoint_every: Steps between checkpoints. A training that diverges also falls back to the latest of these
            states.
    """

    classes: int = 24
    steps: int = 600
    start: Start | Literal["auto"] = "hue"
    start_share: float = 0.25
    warm_share: float = 0.5
    batch_size: int = 8
    patch_size: int = 192
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    marginal_weight: float = 8.0
    imbalance: float = 0.3
    anchor_weight: float = 1.0
    averaging: float = 0.98
    adversarial_weight: float = 0.3
    geometric_weight: float = 0.3
    noise: float = 0.1
    superpixel_size: int = SuperpixelConfig.size
    edges: bool = False
    mixture_superpixels: int = 40_000
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        check_range("classes", self.classes, 2, 65534)
        check_range("steps", self.steps, 1, 10**9)
        check_range("batch size", self.batch_size, 1, 4096)
        check_range("patch size", self.patch_size, 64, 4096)
        check_range("mixture_superpixels", self.mixture_superpixels, 1, 10**9)
        check_range("checkpoint_every", self.checkpoint_every, 1, 10**9)
        _ = SuperpixelConfig(self.superpixel_size)
        for name in ("learning_rate", "marginal_weight", "noise"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be greater than 0")
        for name in ("weight_decay", "imbalance", "anchor_weight", "adversarial_weight", "geometric_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 0")
        check_choice("start", self.start, ("auto", *get_args(Start)))
        for name in ("start_share", "warm_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.start_share > self.warm_share:
            raise SettingError(f"start_share is {self.start_share}; it must be at most warm_share, {self.warm_share}")
        if not 0 <= self.averaging < 1:
            raise SettingError(f"averaging is {self.averaging}; it must be at least 0 and less than 1")
        if self.patch_size % ENCODER_STRIDE:
            raise SettingError(f"patch size is {self.patch_size}; it must be a multiple of {ENCODER_STRIDE}")


MAX_LAND_COVER_CLASSES = 12
"""Up to this many classes, each cluster is meant to be one land-cover class. With more, each class is meant to be
several clusters, which somebody who knows the place joins afterwards."""

LAND_COVER = Recipe(classes=6, start="auto", imbalance=0.7, anchor_weight=0.3)
"""Base of the recipes for up to `MAX_LAND_COVER_CLASSES` classes."""

_POTSDAM = replace(LAND_COVER, steps=6000, batch_size=32, patch_size=192, superpixel_size=12)
_COCOSTUFF = replace(LAND_COVER, steps=10_000, batch_size=64, patch_size=128, superpixel_size=8, edges=True)

RECIPES: dict[RecipeName, Recipe] = {
    "orthophoto": Recipe(),
    "quick": replace(LAND_COVER, classes=8, steps=300, batch_size=16, patch_size=96),
    "inmars": Recipe(
        start_share=0.0,
        marginal_weight=1.0,
        imbalance=0.0,
        anchor_weight=0.0,
        averaging=0.0,
        adversarial_weight=0.3,
        geometric_weight=1.0,
    ),
    # It joins road and car, building and clutter, and low vegetation and tree, which are 33, 30 and 37 % of it.
    "potsdam3": replace(_POTSDAM, classes=3, imbalance=0.3),
    "potsdam6": replace(_POTSDAM, classes=6),
    "cocostuff3": replace(_COCOSTUFF, classes=3),
    "cocostuff15": replace(_COCOSTUFF, classes=15),
}
"""The recipes by name.

orthophoto is for any folder of imagery. quick is what `predict` trains with when there is no model. inmars is InMARS as
we read the paper, without our additions: it starts from random weights and expects classes of equal size, so its models
have no mixture. The others belong to the benchmark protocols; their values come from land-cover experiments on other
imagery (`docs/method.md`) and were not tuned on the benchmarks. Only their class priors follow the shares of the
protocols' classes, never scores (`docs/datasets.md`).
"""
