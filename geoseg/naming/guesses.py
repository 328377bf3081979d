"""Guesses of what a class is, from its colour, its contrast, and indices where the bands allow.

They are guesses: what is dark and smooth is water or a shadow, what is bright and smooth is sand or a roof. Rules are
in one fixed order, and a class that fits none has no guess. docs/classes.md says how often they are right.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import numpy as np

from geoseg.naming.looks import Look
from geoseg.naming.vision import oklch

Meaning = Literal["water", "vegetation", "bare", "built", "shadow"]

MEANINGS: tuple[Meaning, ...] = get_args(Meaning)

_VEGETATION_INDEX, _WATER_INDEX = 0.2, 0.05
"""Least NDVI of vegetation, and least NDWI of water, which is also above its NDVI."""
_DARK, _SMOOTH = 0.36, 0.032
"""OKLab lightness below which a class is water or shadow, and the contrast that divides them."""
_EXCESS_GREEN = 0.06
_BLUE_HUES, _GREEN_HUES, _EARTH_HUES = (190.0, 265.0), (95.0, 165.0), (45.0, 100.0)
_VIVID, _EARTHY, _GREYISH = 0.05, 0.02, 0.015
"""OKLab chromas: at least that of pools, at least that of soil, at most that of asphalt and concrete."""
_SOIL = 0.48
_SAND, _SAND_CONTRAST = 0.75, 0.08
_ASPHALT, _BUILT_CONTRAST = 0.42, 0.06


_WORDS: dict[Meaning, tuple[str, ...]] = {
    "water": ("water", "lake", "river", "sea", "ocean", "pond", "canal", "pool", "stream", "reservoir"),
    "vegetation": (
        "vegetation", "tree", "forest", "wood", "grass", "meadow", "crop", "shrub", "bush", "lawn", "pasture",
        "orchard", "vineyard", "prairie", "wetland", "marsh", "plantation",
    ),
    "built": (
        "built", "building", "house", "roof", "road", "street", "asphalt", "concrete", "urban", "settlement",
        "pavement", "paved", "impervious", "parking", "railway",
    ),
    "bare": ("bare", "soil", "sand", "beach", "desert", "rock", "gravel", "quarry", "dune", "fallow"),
    "shadow": ("shadow", "shade"),
}  # fmt: skip
"""Words that say what a class is, in the singular."""


def meaning_of(name: str) -> Meaning | None:
    """Return what a class is by a word of its name, such as "Clear water" or "trees"; None without a known word.

    Of several words the last one counts: a forest road is a road.
    """
    for word in reversed(re.findall(r"[^\W\d_]+", name.casefold())):
        for meaning, known in _WORDS.items():
            if any(word in (each, f"{each}s", f"{each}es", f"{each}land", f"{each}lands") for each in known):
                return meaning
    return None


def guess(look: Look) -> Meaning | None:
    """Return what a class may be; None where nothing is known of it, or no rule fits."""
    if look.rgb is None or not look.coloured:
        return None
    lightness, chroma, hue = oklch(np.array(look.rgb) / 255).tolist()
    by_index = _by_index(look)
    if by_index is not None:
        return by_index
    smooth = look.contrast is not None and look.contrast < _SMOOTH
    if look.ndvi is None:
        if (lightness < _DARK and smooth) or (chroma > _VIVID and _within(hue, _BLUE_HUES)):
            return "water"
        if look.excess_green > _EXCESS_GREEN and _within(hue, _GREEN_HUES):
            return "vegetation"
    if lightness < _DARK:
        return None if look.contrast is None else "shadow"
    return _ground(lightness, chroma, hue, look.contrast)


def _by_index(look: Look) -> Meaning | None:
    """What infrared tells apart."""
    if look.ndvi is None or look.ndwi is None:
        return None
    if look.ndvi > _VEGETATION_INDEX:
        return "vegetation"
    return "water" if look.ndwi > max(_WATER_INDEX, look.ndvi) else None


def _ground(lightness: float, chroma: float, hue: float, contrast: float | None) -> Meaning | None:
    """What is neither water nor vegetation nor dark."""
    if chroma > _EARTHY and _within(hue, _EARTH_HUES) and lightness > _SOIL:
        return "bare"
    if contrast is None:
        return None
    if lightness > _SAND and contrast < _SAND_CONTRAST:
        return "bare"
    return "built" if chroma < _GREYISH and lightness > _ASPHALT and contrast > _BUILT_CONTRAST else None


def _within(hue: float, hues: tuple[float, float]) -> bool:
    return hues[0] <= hue <= hues[1]
