"""The bands of a scene are those of the model: matched by name, chosen, or refused with a way out that is right."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rasterio
from helpers.rasters import landscape, make_raster
from rasterio.enums import ColorInterp

from geoseg.errors import BandError
from geoseg.prediction.bands import open_for

RGB = ("red", "green", "blue")


def scene_of(path: Path, *names: str | None, tags: tuple[ColorInterp, ...] | None = None) -> Path:
    """A scene whose bands have these descriptions, and band i the values of band i of the landscape."""
    undefined = (ColorInterp.gray,) + (ColorInterp.undefined,) * (len(names) - 1)
    make_raster(path, landscape(20, 24, len(names)), photometric="minisblack", colorinterp=tags or undefined)
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
    return path


def opened(path: Path, expected: tuple[str, ...], bands: Any = None) -> tuple[int, ...]:
    """The numbers of the bands that are taken for those of a model."""
    model: Any = SimpleNamespace(bands=expected, file_bands=expected, indices=(), extras=(), dtype="uint8")
    with open_for(model, path, bands) as scene:
        return scene.bands


@pytest.mark.parametrize(
    ("names", "expected", "bands"),
    [
        (("Blue", "Green", "Red"), RGB, (3, 2, 1)),
        (("B2", "B3", "B4"), ("B4", "B3", "B2"), (3, 2, 1)),
        (("NIR 842", "Red", "Green", "Blue"), (*RGB, "nir"), (2, 3, 4, 1)),
        ((None, None, None), RGB, (1, 2, 3)),
    ],
)
def test_bands_of_the_same_names_are_put_in_order_without_a_word(
    names: tuple[str, ...], expected: tuple[str, ...], bands: tuple[int, ...], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert opened(scene_of(tmp_path / "s.tif", *names), expected) == bands
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_tags_count_and_a_description_that_contradicts_them_more(tmp_path: Path) -> None:
    tags = (ColorInterp.nir, ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    assert opened(scene_of(tmp_path / "t.tif", *[None] * 4, tags=tags), (*RGB, "nir")) == (2, 3, 4, 1)
    # Writers tag three bands of bytes red, green, blue, whatever they are.
    written = scene_of(tmp_path / "f.tif", "nir", "red", "green", tags=tags[1:])
    with pytest.raises(BandError, match=r"3 bands \(nir, red, green\); .* the scene has no blue"):
        opened(written, RGB)


def test_names_that_cannot_be_compared_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = scene_of(tmp_path / "s.tif", "B4", "B3", "B2")
    assert opened(path, RGB) == (1, 2, 3)
    (told,) = caplog.messages
    assert told.startswith(f"{path}: its bands B4, B3, B2 are taken for the model's red, green, blue in this order")


REFUSED = [
    # names, colour of the last band, expected, part of the message, what it must not say
    (("B8", "B4", "B3"), ("B4", "B3", "B2"), "the scene has no B2; use a model of its bands", "--bands"),
    (("Blue", "Green", "Red", "NIR"), RGB, "choose them with --bands red,green,blue", "1,2,3"),
    (("coastal", "Blue", "Green", "Red", "NIR"), RGB, "choose them with --bands red,green,blue", "4,3,2"),
    (("B1", "B2", "B3", "B4", "B5", "B6"), ("B4", "B3", "B2"), "choose them with --bands B4,B3,B2", "1,2"),
    ((None,), RGB, "the scene has too few; use a model of its bands", "--bands"),
    ((None,) * 6, RGB, "choose them with --bands, by number or name, in the model's order", "instance"),
]


@pytest.mark.parametrize(("names", "expected", "told", "untold"), REFUSED)
def test_other_bands_are_refused_with_a_way_out_that_is_right(
    names: tuple[str, ...], expected: tuple[str, ...], told: str, untold: str, tmp_path: Path
) -> None:
    path = scene_of(tmp_path / "s.tif", *names)
    with pytest.raises(BandError) as raised:
        opened(path, expected)
    message = str(raised.value)
    assert told in message
    assert untold not in message
    if "--bands red" in told or "--bands B" in told:
        chosen = tuple(told.rpartition(" ")[2].split(","))
        assert len(opened(path, expected, chosen)) == len(expected)


def test_a_model_of_a_band_that_is_tagged_alpha_is_given_that_band(tmp_path: Path) -> None:
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    path = scene_of(tmp_path / "rgba.tif", *[None] * 4, tags=tags)
    with pytest.raises(BandError, match="take all of its bands with --bands 1,2,3,4"):
        opened(path, (*RGB, "alpha"))
    assert opened(path, (*RGB, "alpha"), (1, 2, 3, 4)) == (1, 2, 3, 4)


def test_alpha_is_never_advised_as_infrared(tmp_path: Path) -> None:
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    path = scene_of(tmp_path / "rgba.tif", *[None] * 4, tags=tags)
    with pytest.raises(BandError) as raised:
        opened(path, (*RGB, "nir"))
    assert "3 bands (red, green, blue) beside an alpha band" in str(raised.value)
    assert "the scene has no nir; use a model of its bands; --bands can choose the alpha band if it is data" in str(
        raised.value
    )
    assert opened(path, (*RGB, "nir"), (*RGB, "alpha")) == (1, 2, 3, 4)


def test_bands_are_chosen_by_number_or_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = scene_of(tmp_path / "s.tif", "Blue-444", "Blue-475", "Green-560", "Red-668", "NIR-842")
    assert opened(path, RGB, ("Red", 3, "blue-475")) == (4, 3, 2)
    assert not caplog.messages
    with pytest.raises(BandError, match=r"'blue' fits the bands 1 \(Blue-444\), 2 \(Blue-475\); choose by number"):
        opened(path, RGB, RGB)
    with pytest.raises(BandError, match=r"no band called 'swir'; its bands are Blue-444, Blue-475, Green-560, Red-668"):
        opened(path, RGB, ("red", "green", "swir"))
    assert opened(path, RGB, (5, 4, 3)) == (5, 4, 3)
    assert caplog.messages == [f"{path}: --bands takes NIR-842, Red-668, Green-560 for the model's red, green, blue"]
