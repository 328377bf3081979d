"""The files of COCO-Stuff: images, label maps, and the curated lists that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.folders import (
    check_folder,
    check_listed,
    find_archive,
    find_folder,
    join_names,
    list_folder,
    read_list,
    require_folder,
)
from geoseg.errors import InputError, InputMissingError

PARTS = ("train2017", "val2017")
LISTS = {15: "Coco164kFull_Stuff_Coarse_7", 3: "Coco164kFew_Stuff_6"}
"""Number of classes -> name of the curated list."""

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
    """Return the images that a curated list names, with their label maps.

    Args:
        folder: Of the data set.
        classes: 15 or 3; chooses the list.

    Returns:
        Pairs in the order of the list, train2017 before val2017.

    Raises:
        InputMissingError, InputError: See `CocoStuff`.
    """
    check_folder(folder)
    found: list[Pair] = []
    for part in PARTS:
        images = _require_images(folder, part)
        maps = _require_maps(folder, part)
        list_path = find_list(folder, LISTS[classes], part)
        if list_path is None:
            name = f"{LISTS[classes]}.txt"
            raise InputMissingError(
                f"{folder}: has no list {name} for {part}; the curated lists come with the published code of the "
                f"protocol: put it at {folder / 'curated' / part / name}"
            )
        ids = read_list(list_path)
        existing = set(list_folder(images))
        check_listed(list_path, [f"{i}.jpg" for i in ids], existing, images, f"is {part}.zip unpacked completely?")
        existing = set(list_folder(maps))
        hint = f"is {_MAPS}.zip unpacked completely?"
        if any(name.endswith("_labelTrainIds.png") for name in existing):
            hint = "files named _labelTrainIds hold other ids, use those without"
        check_listed(list_path, [f"{i}.png" for i in ids], existing, maps, hint)
        found += [Pair(images / f"{i}.jpg", maps / f"{i}.png") for i in ids]
    return found


def find_list(folder: Path, name: str, part: str) -> Path | None:
    """Return a curated list, called <part>/<name>.txt or <name>.<part>.txt.

    Args:
        folder: Of the data set; its subfolders for lists are searched too.
        name: One of LISTS.
        part: One of PARTS.
    """
    places = [folder / place / file for place in _LIST_FOLDERS for file in (f"{part}/{name}.txt", f"{name}.{part}.txt")]
    return next((path for path in places if path.is_file()), None)


def is_cocostuff(folder: Path) -> bool:
    """Return whether a folder looks like COCO with label maps of stuff, complete or not, unpacked or not."""
    images = any(_find_part(folder, _IMAGE_FOLDERS, part) or find_archive(folder, [part]) for part in PARTS)
    maps = any(_find_part(folder, _MAP_FOLDERS, part) for part in PARTS) or find_archive(folder, _MAP_FOLDERS[:2])
    return images and bool(maps or any(find_list(folder, name, part) for name in LISTS.values() for part in PARTS))


def is_label_map(path: Path) -> bool:
    """Return whether a file is a label map: those are PNG and images JPEG, wherever they lie."""
    return path.suffix.lower() == ".png"


def _find_part(folder: Path, names: Sequence[str], part: str) -> Path | None:
    """The folder `part` within the first of the subfolders `names` that has one; an empty name stands for `folder`."""
    outer = (find_folder(folder, [name]) if name else folder for name in names)
    return next((found for place in outer if place is not None and (found := find_folder(place, [part]))), None)


def _require_images(folder: Path, part: str) -> Path:
    found = _find_part(folder, _IMAGE_FOLDERS[1:], part)
    inner = find_folder(folder, _IMAGE_FOLDERS[1:])
    outer = inner if inner and find_archive(inner, [part]) else folder
    return found or require_folder(outer, [part], f"{part}/000000000139.jpg")


def _require_maps(folder: Path, part: str) -> Path:
    found = _find_part(folder, _MAP_FOLDERS, part)
    if found:
        return found
    images = find_folder(folder, [part])
    # Where they were unpacked into the same place, label maps lie among the images.
    if images and any(name.endswith(".png") for name in list_folder(images)):
        return images
    packed = find_archive(folder, [_MAPS])
    example = folder / "stuffthingmaps" / part / "000000000139.png"
    if packed:
        raise InputError(f"{packed}: is still packed; unpack it so that there is {example}")
    raise InputMissingError(
        f"{folder}: has {join_names(list_folder(folder))}, but no label maps of {part}; there should be {example} "
        f"({_MAPS}.zip)"
    )
