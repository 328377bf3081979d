"""Match the bands of a scene to those of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from geoseg.config import Opening
from geoseg.errors import BandError
from geoseg.location import Location
from geoseg.model.file import Model
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

_COLOURS = {"red", "green", "blue"}


def open_for(
    model: Model,
    path: Location,
    bands: Sequence[int] | None,
    assume_crs: str | None = None,
    opening: Opening | None = None,
    quiet: bool = False,
) -> Scene:
    """Open a scene with the bands that `model` expects.

    If no bands are given and the scene has the model's bands in another order, they are reordered.

    Args:
        model: The model.
        path: The scene.
        bands: Band numbers, counted from 1, in the model's order; None matches them by name.
        assume_crs: CRS of a scene that has none.
        opening: Which rasters may be opened, and how.
        quiet: Do not warn; see `Scene`.

    Raises:
        InputMissingError, InputError: See `Scene`.
        BandError: The bands do not match; the message names those of both sides.
    """
    scene = Scene(path, bands, assume_crs, opening=opening, quiet=quiet)
    expected, found = model.bands, scene.band_names
    swapped = [f for e, f in zip(expected, found, strict=False) if f != e and {e, f} <= _COLOURS]
    if len(scene.bands) == len(expected) and (bands is not None or not swapped or sorted(found) == sorted(expected)):
        if bands is None and sorted(found) == sorted(expected) and found != expected:
            order = tuple(scene.bands[found.index(name)] for name in expected)
            scene.close()
            log.info("%s: bands taken in the model's order, %s", path, ", ".join(map(str, order)))
            scene = Scene(path, order, assume_crs, opening=opening, quiet=quiet)
        return scene
    scene.close()
    example = ",".join(["1"] * len(expected) if len(found) == 1 else [str(i + 1) for i in range(len(expected))])
    raise BandError(
        f"{path}: {len(found)} band{'s' * (len(found) != 1)} ({', '.join(found)}); the model expects {len(expected)} "
        f"({', '.join(expected)}): choose them with --bands, for instance --bands {example}"
    )
