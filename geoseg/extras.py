"""Rasters that add bands to a scene, such as a surface model: what a user gives, and what a model knows of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.errors import BandError, SettingError
from geoseg.location import Location, locate

log = logging.getLogger(__name__)

_NAMED = re.compile(r"([^\W\d][\w-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Extra:
    """A raster that adds its bands to a scene.

    Attributes:
        name: What its bands are called; empty for the name of its file or folder.
        path: The raster, or a folder of rasters, of which each scene gets the one that covers most of it.
    """

    name: str
    path: Location

    @property
    def title(self) -> str:
        """The name, or that of the file."""
        return self.name or (self.path.stem if self.path.suffix else self.path.name)


@dataclass(frozen=True)
class ExtraBands:
    """What a model knows of a raster that adds bands.

    Attributes:
        name: What its bands are called.
        bands: How many they are.
    """

    name: str
    bands: int

    @property
    def band_names(self) -> tuple[str, ...]:
        """A name for each band: 'dsm', or 'radar 1' and 'radar 2'."""
        return (self.name,) if self.bands == 1 else tuple(f"{self.name} {i + 1}" for i in range(self.bands))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"name": self.name, "bands": self.bands}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExtraBands:
        """Return what `to_json` described."""
        return cls(str(data["name"]), int(data["bands"]))


def parse_extra(text: str) -> Extra:
    """Return what 'dsm.tif', 'heights/' or, with a name, 'dsm=tile_7_surface.tif' stands for."""
    named = _NAMED.fullmatch(text)
    return Extra(named[1], locate(named[2])) if named else Extra("", locate(text))


def check_extras(extras: Sequence[Extra]) -> None:
    """Raise SettingError where two rasters have the same name."""
    titles = [extra.title for extra in extras]
    for title in titles:
        if titles.count(title) > 1:
            raise SettingError(
                f"extra {title!r} is given twice; name them apart: --extra first=FILE --extra second=FILE"
            )


def extras_for(name: object, expected: Sequence[ExtraBands], given: Sequence[Extra] | None) -> tuple[Extra, ...]:
    """Return the rasters that a model expects, in its order and under its names.

    Rasters are told by their names; those with others are taken for what is left, in the order in which they are
    given, with a warning where there are several.

    Args:
        name: What messages call the scene.
        expected: What the model learnt from.
        given: What there is for the scene; None where the command takes no rasters.

    Raises:
        BandError: There are too few, or too many.
    """
    wanted = [extra.name for extra in expected]
    if given is None:
        if expected:
            raise BandError(
                f"{name}: the model learnt from {', '.join(wanted)} beside the scene, which only geoseg predict takes; "
                "make a map with its --extra and evaluate that, or use a model of the scene's own bands"
            )
        return ()
    titles = [extra.title for extra in given]
    if len(given) != len(expected):
        raise BandError(
            f"{name}: the model learnt from {', '.join(wanted) or 'no raster'} beside the scene, and "
            f"{', '.join(titles) or 'none'} {'are' if len(given) > 1 else 'is'} given; {_way_out(wanted, titles)}"
        )
    others = iter([i for i, title in enumerate(titles) if title not in wanted])
    order = [titles.index(each) if each in titles else next(others) for each in wanted]
    if len(order) > 1 and sorted(titles) != sorted(wanted):
        pairs = ", ".join(f"{titles[i]} for {each}" for each, i in zip(wanted, order, strict=True) if titles[i] != each)
        log.warning("%s: takes %s, by their order; name them: --extra %s=FILE", name, pairs, wanted[0])
    return tuple(Extra(each, given[i].path) for each, i in zip(wanted, order, strict=True))


def _way_out(wanted: Sequence[str], titles: Sequence[str]) -> str:
    """What to do about rasters of which there are too few or too many."""
    if not wanted:
        return "leave --extra out, or train a model with it"
    if len(titles) > len(wanted):
        surplus = [title for title in titles if title not in wanted]
        return f"leave out {', '.join(surplus if len(surplus) < len(titles) else titles[len(wanted) :])}"
    missing = [each for each in wanted if each not in titles]
    return f"give it with {' '.join(f'--extra {each}=FILE' for each in missing)}"


def check_counts(found: Sequence[tuple[object, ExtraBands]], expected: Sequence[ExtraBands]) -> None:
    """Raise BandError where a raster has another number of bands than the one that a model learnt from.

    Args:
        found: The rasters, what messages call them and their bands, in the model's order.
        expected: What the model learnt from.
    """
    for (path, bands), entry in zip(found, expected, strict=True):
        if bands.bands != entry.bands:
            raise BandError(
                f"{path}: has {bands.bands} band{'s' * (bands.bands != 1)}; the model learnt from {entry.bands} of "
                f"{entry.name}; give a raster of these (gdal_translate -b chooses bands)"
            )
