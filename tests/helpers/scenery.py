"""A made scene of six textures with a few small fields of a colour of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

_COLOURS = ((52, 74, 44), (96, 112, 70), (150, 138, 104), (176, 164, 142), (112, 100, 84), (74, 80, 72))
"""Forest, meadow, stubble, sand, soil, rock."""

_GRAINS = ((2, 14), (4, 10), (3, 12), (6, 9), (1.5, 11), (8, 8))
"""Size in pixels and strength of their texture."""

_RARE_COLOUR, _RARE_SHARE, _RARE_FIELDS = (40, 120, 190), 0.002, 4


def textures_with_a_rare_class(side: int = 1024, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a scene, uint8 (3, side, side), and where its rare class is, 0.2 % of it in four fields."""
    random = np.random.default_rng(seed)

    def waves(size: float) -> NDArray[Any]:
        # Wide waves do not need every pixel.
        coarse = 16 if size >= 40 else 1
        smooth = gaussian_filter(random.normal(size=(side // coarse,) * 2), size / coarse, mode="wrap")
        return np.asarray(zoom(smooth / smooth.std(), coarse, order=1))

    kinds = np.argmax([waves(side / 16) for _ in _COLOURS], axis=0)
    light = np.choose(kinds, [strength * waves(size) for size, strength in _GRAINS]) + 5 * waves(40)
    colours = np.moveaxis(np.array(_COLOURS, float)[kinds], -1, 0)
    # Light acts as a factor, so that a land cover keeps its hue.
    pixels = colours * (1 + light / 100) + random.normal(0, 3, (3, side, side))
    length = round((_RARE_SHARE * side * side / _RARE_FIELDS) ** 0.5)
    rare = np.zeros((side, side), bool)
    for row, col in random.integers(0, side - length, (_RARE_FIELDS, 2)):
        rare[row : row + length, col : col + length] = True
    pixels[:, rare] = np.array(_RARE_COLOUR)[:, None] + random.normal(0, 5, (3, rare.sum()))
    return pixels.clip(1, 255).astype(np.uint8), rare


def share_kept(classes: NDArray[Any], rare: NDArray[np.bool_]) -> float:
    """Return the share of the rare class in classes of a map that are mostly its own."""
    everywhere = np.bincount(classes.ravel())
    there = np.bincount(classes[rare], minlength=len(everywhere))
    return float(there[2 * there > everywhere].sum() / there.sum())
