"""Potsdam as patches that were cut already: folders `imgs` and `gt`, as the published code and others leave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Labels
from geoseg.datasets.folders import join_names, list_folder
from geoseg.datasets.potsdam_labels import label_classes
from geoseg.datasets.reading import matlab_shape, read_matlab
from geoseg.errors import InputError
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels

PATCH_SIZE = 200
BANDS = (1, 2, 3, 4)
"""Red, green, blue, near infrared, by their numbers in the files."""

_SUFFIXES = (".mat", ".tif", ".tiff", ".png")


@dataclass(frozen=True)
class Patch:
    """A patch of 200 x 200 pixels.

    Attributes:
        name: As lists name it.
        files: What it is read from.
        image: Returns its pixels, uint8 (4, 200, 200), and their validity.
        labels: Returns its classes 0..5, int16 (200, 200); None where it has no labels.
        check: Raises InputError where headers show that it is not such a patch; None where there is nothing to check.
    """

    name: str
    files: tuple[Path, ...]
    image: Callable[[], Pixels]
    labels: Callable[[], Labels] | None
    check: Callable[[], object] | None = None


def open_patches(folder: Path, bad_images: BadImages) -> list[Patch]:
    """Return the patches in `imgs`, with labels of the same names in `gt`.

    Args:
        folder: Of the data set.
        bad_images: Takes files that exist twice, whose patches are left out.

    Returns:
        Patches by name; those whose names are numbers come first, in numerical order.

    Raises:
        InputError: There are no patches, or labels without an image.
    """
    images, maps = _find_patches(folder / "imgs", bad_images), _find_patches(folder / "gt", bad_images)
    duplicates = {path.stem for path in bad_images.errors}
    images, maps = ({name: path for name, path in each.items() if name not in duplicates} for each in (images, maps))
    unmatched = [name for name in maps if name not in images]
    if unmatched:
        raise InputError(
            f"{maps[unmatched[0]]}: has no image in {folder / 'imgs'} "
            f"({len(unmatched)} of {len(maps)} label maps have none); copy the images again"
        )
    patches: list[Patch] = []
    for name, path in images.items():
        labels = partial(_read_labels, maps[name]) if name in maps else None
        files = (path, maps[name]) if name in maps else (path,)
        patches.append(Patch(name, files, partial(_read_image, path), labels, partial(_check_image, path)))
    return patches


def _find_patches(folder: Path, bad_images: BadImages) -> Mapping[str, Path]:
    """Name of a patch -> its file."""
    if not folder.is_dir():
        raise InputError(f"{folder.parent}: has no folder {folder.name}; patches lie in imgs, their labels in gt")
    names = list_folder(folder)
    paths = [folder / name for name in names if name.lower().endswith(_SUFFIXES)]
    if not paths:
        raise InputError(f"{folder}: contains no patch; looked for {', '.join(_SUFFIXES)}, found {join_names(names)}")
    paths.sort(key=lambda path: (int(path.stem) if path.stem.isdecimal() else float("inf"), path.stem))
    found: dict[str, Path] = {}
    for path in paths:
        if found.setdefault(path.stem, path) != path:
            other = found[path.stem].name
            bad_images.add(path, InputError(f"{path}: is a duplicate of {other}; keep one of them"))
    return found


def _check_image(path: Path) -> None:
    if path.suffix.lower() == ".mat":
        shape, dtype = matlab_shape(path, "img")
        found = (*shape[2:], *shape[:2])
    else:
        with Scene(path, BANDS, quiet=True) as scene:
            found, dtype = (len(scene.bands), *scene.shape), str(scene.dtype)
    _check_shape(path, found, dtype)


def _read_image(path: Path) -> Pixels:
    if path.suffix.lower() == ".mat":
        pixels = _bands_first(read_matlab(path, "img"))
        valid = np.ones(pixels.shape[1:], dtype=bool)
    else:
        with Scene(path, BANDS, quiet=True) as scene:
            pixels, valid = scene.read(scene.extent)
    _check_shape(path, pixels.shape, str(pixels.dtype))
    return pixels, valid


def _check_shape(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    if shape != (len(BANDS), PATCH_SIZE, PATCH_SIZE) or dtype != "uint8":
        raise InputError(f"{path}: is {_join(shape)} of {dtype}; a patch is 4 x 200 x 200 of uint8")


def _read_labels(path: Path) -> Labels:
    if path.suffix.lower() == ".mat":
        pixels = _bands_first(read_matlab(path, "gt"))
    else:
        with Scene(path, quiet=True) as scene:
            pixels, _ = scene.read(scene.extent)
    if pixels.shape[1:] != (PATCH_SIZE, PATCH_SIZE):
        raise InputError(f"{path}: is {_join(pixels.shape)}; the labels of a patch are 200 x 200")
    return label_classes(pixels, path)


def _bands_first(array: NDArray[Any]) -> NDArray[Any]:
    return array[None] if array.ndim == 2 else np.ascontiguousarray(np.moveaxis(array, -1, 0))


def _join(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
