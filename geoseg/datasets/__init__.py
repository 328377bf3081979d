"""Where images and, for scoring only, labels come from: any folder of imagery, Potsdam, COCO-Stuff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from geoseg.config import Opening
from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.cocostuff_files import LISTS, PARTS, find_list, is_cocostuff, is_label_map
from geoseg.datasets.dataset import Dataset, DatasetImage, Faults, Mask
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.datasets.potsdam import Potsdam, is_potsdam
from geoseg.datasets.potsdam_files import is_label_raster
from geoseg.errors import InputError, SettingError
from geoseg.location import Location, Remote, local
from geoseg.raster.guards import find_rasters
from geoseg.raster.source import ImageSource
from geoseg.recipes import ProtocolName

__all__ = [
    "CocoStuff",
    "Dataset",
    "DatasetImage",
    "Faults",
    "ImageSource",
    "Mask",
    "Orthophotos",
    "Potsdam",
    "ProtocolName",
    "open_dataset",
    "recognise",
]


def recognise(folder: Location) -> ProtocolName | None:
    """Return the protocol whose data `folder` looks like, complete or not, unpacked or not; None for other imagery.

    Nothing tells potsdam3 from potsdam6: it is the latter. cocostuff3 is meant where only its list is there.
    """
    if isinstance(folder, Remote) or not folder.is_dir():
        return None
    if is_potsdam(folder):
        return "potsdam6"
    if is_cocostuff(folder):
        full, few = (any(find_list(folder, LISTS[classes], part) for part in PARTS) for classes in (15, 3))
        return "cocostuff3" if few and not full else "cocostuff15"
    return None


def open_dataset(
    folder: Location,
    recipe: str,
    bands: Sequence[int] | None = None,
    faults: Faults | None = None,
    opening: Opening | None = None,
) -> Dataset:
    """Return the data in `folder` under the protocol of `recipe`; under any recipe but a ProtocolName, all its imagery,
    without the label maps of a protocol it looks like.

    bands, opening: of imagery; a protocol has its own. faults: takes what is wrong with single images, which are then
        not among the sources; without it, anything is an error.

    Raises:
        InputMissingError, InputError, BandError: something is missing, still packed, damaged, or does not fit together.
        SettingError: bands were chosen for a protocol.
    """
    if recipe not in get_args(ProtocolName):
        return Orthophotos(_find_imagery(folder), bands, faults, opening)
    if bands is not None:
        raise SettingError(
            f"recipe {recipe} has bands of its own; leave --bands out, or take any imagery with --recipe orthophoto"
        )
    if isinstance(folder, Remote):
        raise InputError(f"{folder}: recipe {recipe} learns from a folder here; copy the data set")
    match recipe:
        case "potsdam3":
            return Potsdam(folder, 3, faults)
        case "potsdam6":
            return Potsdam(folder, 6, faults)
        case "cocostuff3":
            return CocoStuff(folder, 3)
        case _:
            return CocoStuff(folder, 15)


def _find_imagery(folder: Location) -> list[Location]:
    found, protocol = find_rasters(folder), recognise(folder)
    if protocol is None or isinstance(folder, Remote):
        return found
    is_label = is_label_raster if protocol.startswith("potsdam") else is_label_map
    imagery: list[Location] = [path for path in local(*found) if not is_label(path.relative_to(folder))]
    if not imagery:
        raise InputError(f"{folder}: holds label maps, but no imagery")
    return imagery
