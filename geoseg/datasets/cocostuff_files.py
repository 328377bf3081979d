"""The files of COCO-Stuff: images, label maps, and the curated lists that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.folders import (
    check_folder,
    check_listed,
    content,
    find_archive,
    find_folder,
    listed,
    need_folder,
    read_list,
)
from geoseg.errors import InputError, InputMissingError

PARTS = ("train2017", "val2017")
LISTS = {15: "Coco164kFull_Stuff_Coarse_7", 3: "Coco164kFew_Stuff_6"}
"""Classes -> name of the curated list."""

_MAPS = "stuffthingmaps_trainval2017"
_MAP_FOLDERS = (_MAPS, "stuffthingmaps", "annotations")
_IMAGE_FOLDERS = ("", "images")
_LIST_FOLDERS = ("", "curated", "lists", "cocostuff_lists")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its label map."""

    image: Path
    labels: Path


def find_pairs(folder: Path, classes: int) -> list[Pair]:
    """Return what the curated list of `classes` classes names, train2017 before val2017, in the order of the list.

    Raises:
        InputMissingError, InputError: see `CocoStuff`.
    """
    check_folder(folder)
    found: list[Pair] = []
    for part in PARTS:
        images = _need_images(folder, part)
        maps = _need_maps(folder, part)
        list_path = find_list(folder, LISTS[classes], part)
        if list_path is None:
            name = f"{LISTS[classes]}.txt"
            raise InputMissingError(
                f"{folder}: has no list {name} for {part}; the curated lists come with the published code of the "
                f"protocol: put it at {folder / 'curated' / part / name}"
            )
        ids = read_list(list_path)
        here = set(content(images))
        check_listed(list_path, [f"{i}.jpg" for i in ids], here, images, f"is {part}.zip unpacked completely?")
        here = set(content(maps))
        way_out = f"is {_MAPS}.zip unpacked completely?"
        if any(name.endswith("_labelTrainIds.png") for name in here):
            way_out = "those named _labelTrainIds are other ids"
        check_listed(list_path, [f"{i}.png" for i in ids], here, maps, way_out)
        found += [Pair(images / f"{i}.jpg", maps / f"{i}.png") for i in ids]
    return found


def find_list(folder: Path, name: str, part: str) -> Path | None:
    """Return the list `name` for `part`, as <part>/<name>.txt or <name>.<part>.txt, in `folder` or one for lists."""
    places = [folder / place / file for place in _LIST_FOLDERS for file in (f"{part}/{name}.txt", f"{name}.{part}.txt")]
    return next((path for path in places if path.is_file()), None)


def is_cocostuff(folder: Path) -> bool:
    """Whether `folder` looks like COCO with label maps of stuff, complete or not, unpacked or not."""
    images = any(_below(folder, _IMAGE_FOLDERS, part) or find_archive(folder, [part]) for part in PARTS)
    maps = any(_below(folder, _MAP_FOLDERS, part) for part in PARTS) or find_archive(folder, _MAP_FOLDERS[:2])
    return images and bool(maps or any(find_list(folder, name, part) for name in LISTS.values() for part in PARTS))


def is_label_map(path: Path) -> bool:
    """Whether `path`, from the data set's folder on, is no image: images are JPEG, and maps PNG, wherever they lie."""
    return path.suffix.lower() == ".png"


def _below(folder: Path, names: Sequence[str], part: str) -> Path | None:
    """The folder `part` in one of the folders `names` of `folder`."""
    outer = (find_folder(folder, [name]) if name else folder for name in names)
    return next((found for place in outer if place is not None and (found := find_folder(place, [part]))), None)


def _need_images(folder: Path, part: str) -> Path:
    found = _below(folder, _IMAGE_FOLDERS[1:], part)
    inner = find_folder(folder, _IMAGE_FOLDERS[1:])
    outer = inner if inner and find_archive(inner, [part]) else folder
    return found or need_folder(outer, [part], f"{part}/000000000139.jpg")


def _need_maps(folder: Path, part: str) -> Path:
    found = _below(folder, _MAP_FOLDERS, part)
    if found:
        return found
    beside = find_folder(folder, [part])
    # Unpacked over the images, label maps lie among them.
    if beside and any(name.endswith(".png") for name in content(beside)):
        return beside
    packed = find_archive(folder, [_MAPS])
    example = folder / "stuffthingmaps" / part / "000000000139.png"
    if packed:
        raise InputError(f"{packed}: is still packed; unpack it so that there is {example}")
    raise InputMissingError(
        f"{folder}: has {listed(content(folder))}, but no label maps of {part}; there should be {example} ({_MAPS}.zip)"
    )
