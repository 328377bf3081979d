"""Where images and, for scoring only, labels come from: any folder of imagery, Potsdam, COCO-Stuff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.cocostuff_files import LISTS, PARTS, find_list, is_cocostuff
from geoseg.datasets.dataset import Dataset, DatasetImage, ImageSource
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.datasets.potsdam import Potsdam, is_potsdam
from geoseg.errors import SettingError
from geoseg.guards import find_rasters

__all__ = [
    "CocoStuff",
    "Dataset",
    "DatasetImage",
    "ImageSource",
    "Orthophotos",
    "Potsdam",
    "ProtocolName",
    "open_dataset",
    "recognise",
]

ProtocolName = Literal["potsdam3", "potsdam6", "cocostuff3", "cocostuff15"]


def recognise(folder: Path) -> ProtocolName | None:
    """Return the protocol whose data `folder` looks like, complete or not, unpacked or not; None for other imagery.

    Nothing tells potsdam3 from potsdam6: it is the latter. cocostuff3 is meant where only its list is there.
    """
    if not folder.is_dir():
        return None
    if is_potsdam(folder):
        return "potsdam6"
    if is_cocostuff(folder):
        full, few = (any(find_list(folder, LISTS[classes], part) for part in PARTS) for classes in (15, 3))
        return "cocostuff3" if few and not full else "cocostuff15"
    return None


def open_dataset(folder: Path, recipe: str, bands: Sequence[int] | None = None) -> Dataset:
    """Return the data in `folder` under the protocol of `recipe`; under any recipe but a ProtocolName, all its imagery.

    bands: of imagery; a protocol has its own.

    Raises:
        InputMissingError, InputError, BandError: something is missing, still packed, damaged, or does not fit together.
        SettingError: bands were chosen for a protocol.
    """
    if recipe not in get_args(ProtocolName):
        return Orthophotos(find_rasters(folder), bands)
    if bands is not None:
        raise SettingError(f"recipe {recipe} has bands of its own; leave --bands out")
    match recipe:
        case "potsdam3":
            return Potsdam(folder, 3)
        case "potsdam6":
            return Potsdam(folder, 6)
        case "cocostuff3":
            return CocoStuff(folder, 3)
        case _:
            return CocoStuff(folder, 15)
