"""Colours that mean something, and that everybody can tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.naming.colours import MOST, coloured, colours_of
from geoseg.naming.guesses import Meaning, guess, meaning_of
from geoseg.naming.looks import Look
from geoseg.naming.vision import VISIONS, least_difference, oklch

WATER = Look((20, 35, 60), 0.2, contrast=0.01)
TREES = Look((50, 75, 45), 0.2, contrast=0.1)
SOIL = Look((170, 150, 115), 0.2, contrast=0.03)
ROOFS = Look((150, 150, 152), 0.2, contrast=0.15)
SHADE = Look((30, 30, 32), 0.2, contrast=0.06)
UNSEEN = Look(None, 0.0)


def rgb(colours: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255


def scenery(count: int) -> list[Look]:
    """Looks as imagery has them: dull, from dark to bright, some green and some brown."""
    random = np.random.default_rng(count)
    grey = random.uniform(20, 225, (count, 1))
    tints = np.array([[0, 0, 0], [-8, 10, -10], [12, 4, -14], [-6, 0, 8]])[random.integers(0, 4, count)]
    values = np.clip(grey + tints + random.normal(0, 3, (count, 3)), 0, 255)
    contrasts = random.uniform(0.01, 0.2, count)
    return [Look((r, g, b), 1 / count, c) for (r, g, b), c in zip(values.tolist(), contrasts.tolist(), strict=True)]


def test_colours_say_what_a_class_may_be() -> None:
    lch = oklch(rgb(colours_of([WATER, TREES, SOIL, ROOFS, SHADE])))
    water, trees, soil, roofs, shade = lch.tolist()
    assert 210 < water[2] < 290
    assert 105 < trees[2] < 170
    assert 60 < soil[2] < 110
    assert soil[0] > 0.6
    assert roofs[2] < 70 or roofs[2] > 340 or roofs[1] < 0.03
    assert shade[0] < 0.45
    assert shade[1] < 0.06


def test_the_darker_of_two_alike_has_the_darker_colour() -> None:
    dark, bright = replace(TREES, rgb=(40, 60, 36)), replace(TREES, rgb=(120, 150, 100))
    one, other = oklch(rgb(colours_of([bright, dark])))[:, 0]
    assert one > other + 0.1


@pytest.mark.parametrize("count", [8, 24])
def test_everybody_can_tell_them_apart(count: int) -> None:
    found, old = rgb(colours_of(scenery(count))), rgb(tuple(e.colour for e in ClassMap.default(count).classes))
    normal, *deficient = (least_difference(found, vision) for vision in VISIONS)
    assert normal > 8
    assert min(deficient) > 4
    if count == 24:
        assert min(deficient) > 3 * min(least_difference(old, vision) for vision in VISIONS[1:])


def test_many_of_one_kind_are_told_apart_too() -> None:
    """Twenty greens: hues that are taken leave the region rather than the colours becoming alike."""
    found = colours_of([replace(TREES, rgb=(40 + 4 * i, 62 + 4 * i, 38 + 4 * i), share=0.05) for i in range(20)])
    assert least_difference(rgb(found)) > 7


def test_the_same_looks_have_the_same_colours_and_all_are_different() -> None:
    looks = scenery(200)
    assert colours_of(looks) == colours_of(list(looks))
    assert len(set(colours_of(looks))) == 200
    assert len(set(colours_of([TREES] * MOST))) == MOST
    assert colours_of([]) == ()


def test_names_and_clusters_stay_and_too_many_classes_keep_their_colours() -> None:
    classes = ClassMap.default(3)
    found = coloured(classes, [WATER, TREES, UNSEEN])
    assert [(e.id, e.name, e.clusters) for e in found.classes] == [(e.id, e.name, e.clusters) for e in classes.classes]
    assert found != classes
    many = ClassMap.default(MOST + 1)
    assert coloured(many, [WATER] * len(many)) == many


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (WATER, "water"), (TREES, "vegetation"), (SOIL, "bare"), (ROOFS, "built"), (SHADE, "shadow"), (UNSEEN, None),
        # Without a contrast, what is dark may be either.
        (replace(SHADE, contrast=None), None),
        # Colours of other bands say nothing.
        (replace(TREES, coloured=False), None),
        # Green by its colour, but not by its infrared; and the other way round.
        (replace(TREES, ndvi=-0.3, ndwi=0.4), "water"),
        (replace(SOIL, ndvi=0.5, ndwi=-0.5), "vegetation"),
        (replace(SOIL, ndvi=0.05, ndwi=-0.1), "bare"),
    ],
)  # fmt: skip
def test_guesses(look: Look, expected: str | None) -> None:
    assert guess(look) == expected


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Clear water", "water"), ("LAKES", "water"), ("forest road", "built"), ("Grassland, dry", "vegetation"),
        ("bushes", "vegetation"), ("Bare_soil 2", "bare"), ("class 3", None), ("treeline?", None), ("", None),
        ("Wasser", None), ("shadows", "shadow"),
    ],
)  # fmt: skip
def test_names_say_what_a_class_is(name: str, meaning: Meaning | None) -> None:
    assert meaning_of(name) == meaning


def test_a_name_counts_for_more_than_a_look() -> None:
    classes = ClassMap((LandClass(1, "clear water", "#000000"), LandClass(2, "class 2", "#000001")))
    found = coloured(classes, [replace(TREES, rgb=(70, 92, 66)), TREES])
    hues = oklch(rgb(tuple(entry.colour for entry in found.classes)))[:, 2]
    assert 200 < hues[0] < 290
    assert 100 < hues[1] < 170
