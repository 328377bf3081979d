"""Colours as people see them, against scikit-image and published examples."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from geoseg.naming.vision import as_seen, ciede2000, cielab, from_oklch, least_difference, oklch

COLOURS = np.random.default_rng(0).random((400, 3))


def test_cielab_and_ciede2000_are_those_of_scikit_image() -> None:
    greys = np.repeat(np.linspace(0, 1, 9)[:, None], 3, axis=1)
    colours = np.concatenate([COLOURS, greys])
    # Its matrix and white are rounded to fewer digits.
    assert np.abs(cielab(colours) - rgb2lab(colours)).max() < 0.02
    one, other = cielab(colours), cielab(colours[::-1])
    one[-9:, 1:] = 0
    assert ciede2000(one, other) == pytest.approx(deltaE_ciede2000(one, other), abs=1e-9)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        # From table 1 of Sharma, Wu and Dalal 2005: hues on both sides of 0, a grey, and large differences.
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_published_differences(one: tuple[float, ...], other: tuple[float, ...], difference: float) -> None:
    assert float(ciede2000(np.array(one), np.array(other))) == pytest.approx(difference, abs=1e-4)


def test_oklab_there_and_back() -> None:
    back, shown = from_oklch(oklch(COLOURS))
    assert np.allclose(back, COLOURS)
    assert shown.all()
    assert not from_oklch(np.array([0.5, 0.4, 140.0]))[1]


def test_deficient_vision_confuses_red_and_green_and_leaves_greys_alone() -> None:
    colours = np.array([[0.8, 0.3, 0.3], [0.5, 0.48, 0.3]])
    for vision in ("protan", "deutan"):
        assert least_difference(colours, vision) < 0.5 * least_difference(colours)
        assert np.allclose(as_seen(np.full(3, 0.4), vision), 0.4, atol=2e-3)
    assert least_difference(colours[:1]) == np.inf
