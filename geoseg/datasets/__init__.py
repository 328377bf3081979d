"""Data sets: images to train on and, for scoring only, labels. Any folder of imagery, Potsdam, COCO-Stuff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from geoseg.config import Opening
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.cocostuff_files import LISTS, PARTS, find_list, is_cocostuff, is_label_map
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.imagery import select_imagery
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.datasets.potsdam import Potsdam, is_label_raster, is_potsdam
from geoseg.errors import InputError, SettingError
from geoseg.extras import Extra
from geoseg.indices import IndexRequest
from geoseg.location import Location, Remote, local
from geoseg.raster.folders import find_rasters
from geoseg.recipes import ProtocolName

__all__ = ["open_dataset", "protocol_note", "recognise"]


def recognise(folder: Location) -> ProtocolName | None:
    """Return the protocol whose data a folder looks like, complete or not, unpacked or not.

    Returns:
        'potsdam6' for Potsdam, as nothing distinguishes it from potsdam3; 'cocostuff3' where only its list exists, else
        'cocostuff15', for COCO-Stuff; None for other imagery.
    """
    if isinstance(folder, Remote) or not folder.is_dir():
        return None
    if is_potsdam(folder):
        return "potsdam6"
    if is_cocostuff(folder):
        full, few = (any(find_list(folder, LISTS[classes], part) for part in PARTS) for classes in (15, 3))
        return "cocostuff3" if few and not full else "cocostuff15"
    return None


def protocol_note(folder: Location, recipe: str | None, recognised: ProtocolName | None) -> str:
    """Return a line that says that a folder looks like a benchmark, unless its recipe was given; empty otherwise."""
    if recognised is None:
        return ""
    name = "Potsdam" if recognised.startswith("potsdam") else "COCO-Stuff"
    if recipe is None:
        return f"{folder} looks like {name}: training by its protocol, --recipe {recognised}"
    if recipe.rstrip("0123456789") != recognised.rstrip("0123456789"):
        return f"{folder} looks like {name}: --recipe {recognised} trains by its protocol"
    return ""


def open_dataset(
    folder: Location,
    recipe: str,
    bands: Sequence[int | str] | None = None,
    bad_images: BadImages | None = None,
    opening: Opening | None = None,
    indices: Sequence[IndexRequest] = (),
    extras: Sequence[Extra] = (),
) -> Dataset:
    """Open the data in a folder.

    Args:
        folder: The folder; one file or remote raster where the recipe is not a protocol.
        recipe: A ProtocolName for the data of that protocol. Any other recipe takes all imagery: no labels or previews
            (see `select_imagery`), and no label maps of a protocol that the folder looks like.
        bands: Of imagery; a protocol has its own.
        bad_images: Takes images that cannot be used, which are then left out; None makes any of them an error.
        opening: Of imagery.
        indices: Bands to compute from those of imagery.
        extras: Rasters that add their bands to imagery.

    Raises:
        InputMissingError, InputError, BandError: Something is missing, still packed, damaged, or does not fit together.
        SettingError: Bands, indices or rasters were chosen for a protocol.
    """
    if recipe not in get_args(ProtocolName):
        return Orthophotos(_find_imagery(folder), bands, bad_images, opening, indices, extras)
    if bands is not None or indices or extras:
        option = "--bands" if bands is not None else "--index" if indices else "--extra"
        raise SettingError(
            f"recipe {recipe} has bands of its own; leave {option} out, or take any imagery with --recipe orthophoto"
        )
    if isinstance(folder, Remote):
        raise InputError(f"{folder}: recipe {recipe} needs a local folder; copy the data set")
    match recipe:
        case "potsdam3":
            return Potsdam(folder, 3, bad_images)
        case "potsdam6":
            return Potsdam(folder, 6, bad_images)
        case "cocostuff3":
            return CocoStuff(folder, 3)
        case _:
            return CocoStuff(folder, 15)


def _find_imagery(folder: Location) -> list[Location]:
    found, protocol = find_rasters(folder), recognise(folder)
    if isinstance(folder, Remote) or not folder.is_dir():
        return found
    imagery = list(local(*found))
    if protocol is not None:
        is_label = is_label_raster if protocol.startswith("potsdam") else is_label_map
        imagery = [path for path in imagery if not is_label(path.relative_to(folder))]
        if not imagery:
            raise InputError(f"{folder}: contains label maps but no imagery")
    return list(select_imagery(imagery, folder))
