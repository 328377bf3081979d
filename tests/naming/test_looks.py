"""How classes look: which bands are colours, what is displayed, and indices."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.model.appearance import Appearance
from geoseg.naming.looks import Display, Roles
from geoseg.raster.scaling import Scaling
from geoseg.raster.statistics import BandStats


@pytest.mark.parametrize(
    ("names", "rgb", "coloured", "infrared"),
    [
        (("red", "green", "blue"), (0, 1, 2), True, None),
        (("B", "G", "R", "NIR 842"), (2, 1, 0), True, 3),
        (("band 1", "band 2", "band 3"), (0, 1, 2), True, None),
        (("band 1", "band 2", "band 3", "band 4"), (0, 1, 2), True, 3),
        (("gray",), (0, 0, 0), False, None),
        (("nir", "red", "green"), (0, 1, 2), False, None),
        (tuple(f"band {i}" for i in range(1, 9)), (0, 1, 2), False, None),
    ],
)
def test_roles(names: tuple[str, ...], rgb: tuple[int, ...], coloured: bool, infrared: int | None) -> None:
    assert Roles.of(names) == Roles(rgb, coloured, infrared)  # type: ignore[arg-type]


def looks(means: list[float], dtype: str, scaling: Scaling | None = None):  # type: ignore[no-untyped-def]
    bands = len(means)
    stats = BandStats((1.0,) * bands, (1.0,) * bands, (100.0,) * bands, (200.0,) * bands, 1)
    appearance = Appearance(np.array([0.5]), np.array([means]), np.array([0.1]), np.array([np.nan]))
    names = ("red", "green", "blue", "nir")[:bands]
    (look,) = Display.of(names, dtype, stats, scaling).looks(appearance)
    return look


def test_eight_bits_are_shown_as_they_are_and_others_between_the_percentiles() -> None:
    assert looks([150, 90, 250], "uint8").rgb == (150, 90, 250)
    assert looks([150, 90, 250], "uint16").rgb == (127.5, 0, 255)
    assert looks([150, 90, 250], "uint8").ndvi is None
    assert looks([150, 90, 250], "uint8").confidence is None
    assert looks([np.nan] * 3, "uint8").rgb is None


def test_indices_are_of_what_the_values_stand_for() -> None:
    plain = looks([100, 120, 80, 300], "uint16")
    assert plain.ndvi == pytest.approx(0.5)
    assert plain.ndwi == pytest.approx(-180 / 420)
    # An offset counts in a ratio.
    moved = looks([100, 120, 80, 300], "uint16", Scaling((1.0,) * 4, (-50.0,) * 4))
    assert moved.ndvi == pytest.approx(200 / 300)
    assert looks([100, 120, 80, 300], "uint16", Scaling((1.0,) * 4, (-150.0,) * 4)).ndvi is None
