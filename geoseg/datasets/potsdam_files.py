"""The two forms in which Potsdam lies on disk: tiles as ISPRS delivers them, and patches that are cut already.

Tiles are read in windows, and made half as large in the reading: a patch costs 5 to 25 ms, so nothing is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.dataset import Faults, Labels
from geoseg.datasets.folders import content, find_folder, listed, need_folder
from geoseg.datasets.potsdam_labels import label_classes
from geoseg.datasets.reading import matlab_shape, read_matlab
from geoseg.datasets.resize import pick, shrink
from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels

log = logging.getLogger(__name__)

PATCH = 200
BANDS = (1, 2, 3, 4)
IMAGES = "4_Ortho_RGBIR"
LABELS = ("5_Labels_for_participants", "5_Labels_all")

_FACTOR = 0.5
_CUT = 400
_TILES, _LABELLED_TILES = 38, 24
_LABELLED = frozenset(
    f"{row}_{col}" for row, cols in {2: (10, 13), 3: (10, 13), 4: (10, 13), 5: (10, 13), 6: (7, 13), 7: (7, 13)}.items()
    for col in range(*cols)
)  # fmt: skip
"""The tiles whose labels participants had; 5_Labels_all holds those of all 38."""

_PATCH_SUFFIXES = (".mat", ".tif", ".tiff", ".png")


@dataclass(frozen=True)
class Patch:
    """A patch of 200 x 200 pixels: its image, and its classes 0..5 where it has labels, each read when called.

    files: what they are read from. check: raises InputError where the header shows that it is no patch.
    """

    name: str
    files: tuple[Path, ...]
    image: Callable[[], Pixels]
    labels: Callable[[], Labels] | None
    check: Callable[[], object] | None = None


def open_tiles(folder: Path, files: ExitStack, faults: Faults) -> list[Patch]:
    """Return the patches of the tiles in ISPRS's `folder`, by tile and in raster order; `files` will close the tiles.

    faults: takes tiles that cannot be read, or are not of the size of their labels; their patches are left out.

    Raises:
        InputMissingError, InputError: folders or tiles are missing, or still packed.
    """
    images = need_folder(folder, [IMAGES], f"{IMAGES}/top_potsdam_2_10_RGBIR.tif")
    labels = need_folder(folder, LABELS, f"{LABELS[0]}/top_potsdam_2_10_label.tif")
    tiles, maps = _find_tiles(images, "RGBIR"), _find_tiles(labels, "label")
    maps = {name: path for name, path in maps.items() if labels.name == LABELS[0] or name in _LABELLED}
    alone = [name for name in maps if name not in tiles]
    if alone:
        raise InputError(
            f"{maps[alone[0]]}: is the label map of no tile in {images} ({len(alone)} of {len(maps)} are alone); "
            "was 4_Ortho_RGBIR unpacked completely?"
        )
    if (len(tiles), len(maps)) != (_TILES, _LABELLED_TILES):
        log.warning(
            "%s: %d tiles, %d of them with labels; the protocol has %d and %d, so scores do not compare",
            folder, len(tiles), len(maps), _TILES, _LABELLED_TILES,
        )  # fmt: skip
    found: list[Patch] = []
    for name, path in tiles.items():
        try:
            scene = files.enter_context(_open_tile(path))
            if name in maps:
                _check_size(maps[name], scene)
        except (InputError, InputMissingError) as error:
            faults.add(path, error)
            continue
        rows, cols = (length // _CUT for length in scene.shape)
        for row, col in np.ndindex(rows, cols):
            window = Window.of(row * _CUT, col * _CUT, _CUT, _CUT)
            image = partial(_half_image, scene, window)
            classes = partial(_half_labels, maps[name], window) if name in maps else None
            sources = (path, maps[name]) if name in maps else (path,)
            found.append(Patch(f"{name}_r{row:02}_c{col:02}", sources, image, classes))
    return found


def open_patches(folder: Path, faults: Faults) -> list[Patch]:
    """Return the patches in the folder `imgs`, with labels of the same names in `gt`; numbers in their order.

    faults: takes those that are there twice, which are left out.

    Raises:
        InputError: there are none, or labels without an image.
    """
    images, maps = _find_patches(folder / "imgs", faults), _find_patches(folder / "gt", faults)
    twice = {path.stem for path in faults.found}
    images, maps = ({name: path for name, path in each.items() if name not in twice} for each in (images, maps))
    alone = [name for name in maps if name not in images]
    if alone:
        raise InputError(f"{maps[alone[0]]}: has no image in {folder / 'imgs'} ({len(alone)} of {len(maps)} are alone)")
    found: list[Patch] = []
    for name, path in images.items():
        classes = partial(_cut_labels, maps[name]) if name in maps else None
        sources = (path, maps[name]) if name in maps else (path,)
        found.append(Patch(name, sources, partial(_cut_image, path), classes, partial(_check_patch, path)))
    return found


def is_cut(folder: Path) -> bool:
    """Whether `folder` holds patches that are cut already."""
    return (folder / "imgs").is_dir() and find_folder(folder, [IMAGES]) is None


def is_of(name: str, stems: Collection[str]) -> bool:
    """Whether the patch `name` is that of one of the files called `stems`, or cut from one of them, a tile."""
    tile = name.partition("_r")[0]
    return any(stem == name or stem.lower() == f"top_potsdam_{tile}_rgbir" for stem in stems)


def is_label_raster(path: Path) -> bool:
    """Whether `path`, from the data set's folder on, is no image: a file in a folder of labels, or called so."""
    return path.stem.lower().endswith(("_label", "_noboundary")) or any(
        part == "gt" or part.startswith("5_Labels") for part in path.parts[:-1]
    )


def _find_tiles(folder: Path, kind: str) -> Mapping[str, Path]:
    """Name of the tile, such as 2_10, -> file; in the order of names, as text."""
    names = content(folder)
    matches = [re.fullmatch(rf"top_potsdam_(\d+_\d+)_{kind}\.tiff?", name, re.IGNORECASE) for name in names]
    found = {match[1]: folder / match[0] for match in matches if match}
    if not found:
        raise InputError(
            f"{folder}: holds no tile; looked for names like top_potsdam_2_10_{kind}.tif, found {listed(names)}"
        )
    return found


def _find_patches(folder: Path, faults: Faults) -> Mapping[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder.parent}: has no folder {folder.name}; patches lie in imgs, their labels in gt")
    names = content(folder)
    paths = [folder / name for name in names if name.lower().endswith(_PATCH_SUFFIXES)]
    if not paths:
        raise InputError(f"{folder}: holds no patch; looked for {', '.join(_PATCH_SUFFIXES)}, found {listed(names)}")
    paths.sort(key=lambda path: (int(path.stem) if path.stem.isdecimal() else float("inf"), path.stem))
    found: dict[str, Path] = {}
    for path in paths:
        if found.setdefault(path.stem, path) != path:
            other = found[path.stem].name
            faults.add(path, InputError(f"{path}: is there twice, also as {other}; keep one of them"))
    return found


def _open_tile(path: Path) -> Scene:
    scene = Scene(path, BANDS, quiet=True)
    if scene.dtype == np.uint8 and min(scene.shape) >= _CUT:
        return scene
    rows, cols = scene.shape
    scene.close()
    raise InputError(f"{path}: has {cols} x {rows} pixels of {scene.dtype}; a tile has 6000 x 6000 of uint8")


def _check_size(path: Path, tile: Scene) -> None:
    with Scene(path, quiet=True) as labels:
        if labels.shape != tile.shape:
            raise InputError(
                f"{path}: has {labels.shape[1]} x {labels.shape[0]} pixels, its tile {tile.path.name} has "
                f"{tile.shape[1]} x {tile.shape[0]}"
            )


def _half_image(tile: Scene, window: Window) -> Pixels:
    pixels, valid = tile.read(window)
    # Each pixel is the mean of four: all of them have to be valid.
    all_four = valid[::2, ::2] & valid[1::2, ::2] & valid[::2, 1::2] & valid[1::2, 1::2]
    return shrink(pixels, _FACTOR), all_four


def _half_labels(path: Path, window: Window) -> Labels:
    with Scene(path, quiet=True) as labels:
        pixels, _ = labels.read(window)
    return label_classes(pick(pixels, _FACTOR), path, (window.rows.start, window.cols.start), step=2)


def _check_patch(path: Path) -> None:
    if path.suffix.lower() == ".mat":
        shape, dtype = matlab_shape(path, "img")
        found = (*shape[2:], *shape[:2])
    else:
        with Scene(path, BANDS, quiet=True) as scene:
            found, dtype = (len(scene.bands), *scene.shape), str(scene.dtype)
    if found != (len(BANDS), PATCH, PATCH) or dtype != "uint8":
        raise InputError(f"{path}: is {' x '.join(map(str, found))} of {dtype}; a patch is 4 x 200 x 200 of uint8")


def _cut_image(path: Path) -> Pixels:
    if path.suffix.lower() == ".mat":
        pixels = _bands_first(read_matlab(path, "img"))
        valid = np.ones(pixels.shape[1:], dtype=bool)
    else:
        with Scene(path, BANDS, quiet=True) as scene:
            pixels, valid = scene.read(scene.extent)
    if pixels.shape != (len(BANDS), PATCH, PATCH) or pixels.dtype != np.uint8:
        raise InputError(f"{path}: is {_shape(pixels)} of {pixels.dtype}; a patch is 4 x 200 x 200 of uint8")
    return pixels, valid


def _cut_labels(path: Path) -> Labels:
    if path.suffix.lower() == ".mat":
        pixels = _bands_first(read_matlab(path, "gt"))
    else:
        with Scene(path, quiet=True) as scene:
            pixels, _ = scene.read(scene.extent)
    if pixels.shape[1:] != (PATCH, PATCH):
        raise InputError(f"{path}: is {_shape(pixels)}; the labels of a patch are 200 x 200")
    return label_classes(pixels, path)


def _bands_first(array: NDArray[Any]) -> NDArray[Any]:
    return array[None] if array.ndim == 2 else np.ascontiguousarray(np.moveaxis(array, -1, 0))


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(str(length) for length in array.shape)
