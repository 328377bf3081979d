"""What a model is learnt by: superpixels, windows, and recipes, the named sets of training settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from geoseg.errors import SettingError

STRIDE = 4
"""Pixels per cell of the network's logits, along each axis: superpixels give the edges."""


COMPACT = "compact"
"""The encoder of our own: six convolutions at stride 4, which see 39 pixels around."""


ENCODER_STRIDE = 32
"""The network takes images whose sides are multiples of this."""


Start = Literal["brightness", "hue"]


ProtocolName = Literal["potsdam3", "potsdam6", "cocostuff3", "cocostuff15"]


RecipeName = Literal["orthophoto", "quick", ProtocolName]


def check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} is {value}; it must be between {low} and {high}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class SuperpixelConfig:
    """How scenes are cut into superpixels (SLIC, Achanta et al. 2012, on a scene-anchored seed lattice).

    size: side of a seed cell in pixels, 4..255.
    compactness: weight of distance in space against distance in colour (CIELAB units), > 0.
    iterations: assignment steps, 1..50; each widens the halo by two cells.
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
    """What the network sees at once: windows of `tile_size` pixels that overlap by `overlap`.

    Both are multiples of 32, the network's stride; overlap is at most half of tile_size.
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
    """How the classes are learnt. All values are our own choice: the paper's are not public.

    classes: number of classes K, 2..65534.
    steps: optimiser steps. Until `start_share` of them, phase 0: the network learns the mixture of colours. From there
        to `warm_share`, phase 1: mutual information. Then phase 2: with both regularisers.
    batch_size, patch_size: patches per step and their side in pixels (a multiple of 32).
    learning_rate, weight_decay: of AdamW; the rate follows a cosine to a hundredth after a short warm-up.
    start: what the mixture tells classes apart by: brightness for a few classes, hue for many.
    marginal_weight: mu, the weight of the marginal in the mutual information.
    imbalance: classes are expected to have shares like 1 / rank^imbalance; 0 asks for equal ones.
    anchor_weight: weight of the cross-entropy to the mixture, in phases 1 and 2.
    averaging: the network that is kept is the average of the weights over the steps, of this decay in [0, 1).
    adversarial_weight, geometric_weight: weights of the two regularisers in phase 2.
    noise: root mean square of the adversarial noise per value of the normalised image.
    superpixel_size: side of a superpixel in pixels, as in `SuperpixelConfig`.
    edges: the network sees the Sobel derivatives of the image besides its bands.
    """

    classes: int = 24
    steps: int = 600
    start: Start = "hue"
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

    def __post_init__(self) -> None:
        check_range("classes", self.classes, 2, 65534)
        check_range("steps", self.steps, 1, 10**9)
        check_range("batch size", self.batch_size, 1, 4096)
        check_range("patch size", self.patch_size, 64, 4096)
        _ = SuperpixelConfig(self.superpixel_size)
        for name in ("learning_rate", "marginal_weight", "noise"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be greater than 0")
        for name in ("weight_decay", "imbalance", "anchor_weight", "adversarial_weight", "geometric_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 0")
        check_choice("start", self.start, get_args(Start))
        for name in ("start_share", "warm_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.start_share > self.warm_share:
            raise SettingError(f"start_share is {self.start_share}; it must be at most warm_share, {self.warm_share}")
        if not 0 <= self.averaging < 1:
            raise SettingError(f"averaging is {self.averaging}; it must be at least 0 and less than 1")
        if self.patch_size % ENCODER_STRIDE:
            raise SettingError(f"patch size is {self.patch_size}; it must be a multiple of {ENCODER_STRIDE}")


FEW = 12
"""As many classes, at most, somebody has names for beforehand: one cluster has to be one class. More of them, and each
class is several clusters, to be joined by whoever knows the place."""


_FEW = Recipe(classes=6, start="brightness", imbalance=0.7, anchor_weight=0.3)


_POTSDAM = replace(_FEW, steps=6000, batch_size=32, patch_size=192, superpixel_size=12)


_COCOSTUFF = replace(_FEW, steps=10_000, batch_size=64, patch_size=128, superpixel_size=8, edges=True)


RECIPES: dict[RecipeName, Recipe] = {
    "orthophoto": Recipe(),
    "quick": replace(_FEW, classes=8, steps=300, batch_size=16, patch_size=96),
    "potsdam3": replace(_POTSDAM, classes=3),
    "potsdam6": replace(_POTSDAM, classes=6),
    "cocostuff3": replace(_COCOSTUFF, classes=3),
    "cocostuff15": replace(_COCOSTUFF, classes=15),
}
"""orthophoto: any folder of imagery. quick: what `predict` learns from a scene when it has no model. The others go with
the data of a protocol; their values are those of a few classes on other imagery (`docs/method.md`), not tuned on it."""
