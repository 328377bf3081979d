"""What a class raster was made with: the scene that it shows, and its confidence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.bands import Bands
from geoseg.config import Opening
from geoseg.errors import InputError, InputMissingError
from geoseg.files.record import RASTERS, find_record
from geoseg.grid import Window
from geoseg.location import Location
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.georeference import crs_name, same_horizontal_crs
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

_MAX_OFFSET = 0.01
"""Pixels by which corners of a map may lie beside those of the pixels of its scene."""

_SHOWN = 3
"""Bands of a picture."""


def provenance_of(raster: ClassRaster) -> dict[str, Any]:
    """Return the provenance of a class raster, of its record or else its own; empty in a raster of another program."""
    record = find_record(raster.path) if isinstance(raster.path, Path) else None
    if record is not None:
        return dict(record.content)
    return raster.scene.provenance or {}


def find_confidence(path: Location) -> Path | None:
    """Return the raster of confidence that was written with a class raster; None if there is none."""
    record = find_record(path) if isinstance(path, Path) else None
    for file in record.files if record is not None else ():
        if file.suffix.lower() in RASTERS and file.is_file() and not _same(file, path):
            with suppress(InputError), Scene(file, (1,), stored=True, quiet=True) as scene:
                if (scene.provenance or {}).get("layer") == "confidence":
                    return file
    return None


def open_scene(
    raster: ClassRaster, given: Location | None = None, bands: Bands | None = None, opening: Opening | None = None
) -> tuple[Scene, Window]:
    """Open the scene that a class raster was made from, to show it.

    Args:
        raster: The class raster.
        given: The scene; None looks for the one that the provenance names, beside the raster, in the folder above and
            in the working directory.
        bands: Bands to show; None for the first three of those that the map was made from.
        opening: How it is opened; a page or nodata value of the provenance goes before.

    Returns:
        The scene, which the caller closes, and the part of it that the raster covers.

    Raises:
        InputMissingError: The scene is nowhere, or the provenance names none.
        InputError: It cannot be read, or the raster does not lie on its pixels.
        BandError: See `Scene`.
    """
    provenance = provenance_of(raster)
    summary = provenance.get("scene")
    summary = summary if isinstance(summary, Mapping) else {}
    path = given if given is not None else _find(raster.path, summary)
    recorded = summary if path.name == summary.get("name") else {}
    opening = opening or Opening()
    for name in ("page", "nodata"):
        if getattr(opening, name) is None and recorded.get(name) is not None:
            opening = replace(opening, **{name: recorded[name]})
    settings = provenance.get("settings")
    if bands is None and recorded and isinstance(settings, Mapping) and isinstance(settings.get("bands"), list):
        bands = tuple(settings["bands"][:_SHOWN])
    scene = Scene(path, bands, opening=opening, quiet=True)
    scene.nodata_told = True
    try:
        return scene, place_in(scene, raster)
    except BaseException:
        scene.close()
        raise


def place_in(scene: Scene, raster: ClassRaster) -> Window:
    """Return the part of a scene whose pixels are those of a class raster.

    Raises:
        InputError: The raster does not lie on pixels of the scene.
    """
    ours, theirs = raster.scene.georeference, scene.georeference
    if not same_horizontal_crs(ours.crs, theirs.crs):
        raise InputError(
            f"{scene.path}: is in {crs_name(theirs.crs)}, {raster.path} in {crs_name(ours.crs)}; "
            "give the scene that the map was made from"
        )
    to_scene = ~theirs.transform @ ours.transform
    rows, cols = raster.scene.shape
    left, top = to_scene @ (0, 0)
    window = Window.of(max(0, round(top)), max(0, round(left)), rows, cols)
    for corner in ((0, 0), (cols, 0), (0, rows)):
        x, y = to_scene @ corner
        beside = max(abs(x - window.cols.start - corner[0]), abs(y - window.rows.start - corner[1]))
        if beside > _MAX_OFFSET or window.intersect(scene.extent) != window:
            raise InputError(
                f"{scene.path}: {raster.path} does not lie on its pixels; give the scene that the map was made from"
            )
    return window


def _find(path: Location, summary: Mapping[str, Any]) -> Path:
    """The scene of a map, by the name that its provenance has."""
    name = summary.get("name")
    if not isinstance(name, str) or not name:
        raise InputMissingError(f"{path}: does not say which scene it was made from; give it with --scene")
    # A name may be that of a file only, whatever somebody wrote into the provenance.
    folders = [Path(path).parent, Path(path).parent.parent] if isinstance(path, Path) else []
    for folder in dict.fromkeys([*folders, Path()]):
        found = folder / Path(name).name
        if not found.is_file():
            continue
        if found.stat().st_size == summary.get("bytes", found.stat().st_size):
            return found
        log.warning("passed over: %s is not the scene that %s was made from, but has another size", found, path)
    raise InputMissingError(f"{path}: its scene {name} is not beside it; give it with --scene")


def _same(file: Path, path: Location) -> bool:
    return isinstance(path, Path) and path.exists() and file.samefile(path)
