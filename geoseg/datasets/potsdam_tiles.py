"""Potsdam as ISPRS delivers it: tiles, of which patches are windows.

A patch is read from its tile at twice its size and shrunk; as that takes 5 to 25 ms, nothing is cached.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Labels
from geoseg.datasets.folders import join_names, list_folder, require_folder
from geoseg.datasets.potsdam_labels import label_classes
from geoseg.datasets.potsdam_patches import BANDS, PATCH_SIZE, Patch
from geoseg.datasets.resize import shrink_image, shrink_labels
from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels

log = logging.getLogger(__name__)

IMAGES = "4_Ortho_RGBIR"
LABELS = ("5_Labels_for_participants", "5_Labels_all")

LABELLED_TILES = frozenset(
    f"{row}_{col}" for row, cols in {2: (10, 13), 3: (10, 13), 4: (10, 13), 5: (10, 13), 6: (7, 13), 7: (7, 13)}.items()
    for col in range(*cols)
)  # fmt: skip
"""The tiles whose labels participants had; 5_Labels_all holds those of all 38."""

_FACTOR = 0.5
_WINDOW_SIZE = round(PATCH_SIZE / _FACTOR)
_TILES = 38


def open_tiles(folder: Path, files: ExitStack, bad_images: BadImages, window_size: int = _WINDOW_SIZE) -> list[Patch]:
    """Return the patches of all tiles.

    Args:
        folder: As ISPRS delivers it.
        files: Takes the open tiles, and closes them.
        bad_images: Takes tiles that cannot be read, or differ in size from their labels; their patches are left out.
        window_size: Pixels of a tile along a side of a patch.

    Returns:
        Patches by tile, and in raster order within it.

    Raises:
        InputMissingError: Folders or tiles are missing.
        InputError: Folders or tiles are still packed, or a label map has no tile.
    """
    tiles, maps = _find_pairs(folder)
    patches: list[Patch] = []
    for name, path in tiles.items():
        map_path = maps.get(name)
        try:
            scene = files.enter_context(_open_tile(path, window_size))
            if map_path is not None:
                _check_size(map_path, scene)
        except (InputError, InputMissingError) as error:
            bad_images.add(path, error)
            continue
        rows, cols = (length // window_size for length in scene.shape)
        for row, col in np.ndindex(rows, cols):
            window = Window.of(row * window_size, col * window_size, window_size, window_size)
            image = partial(_read_image, scene, window)
            labels = None if map_path is None else partial(_read_labels, map_path, window)
            sources = (path,) if map_path is None else (path, map_path)
            patches.append(Patch(f"{name}_r{row:02}_c{col:02}", sources, image, labels))
    return patches


def _find_pairs(folder: Path) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """Name of a tile -> its image, and -> its label map; warn where the set is not complete."""
    images = require_folder(folder, [IMAGES], f"{IMAGES}/top_potsdam_2_10_RGBIR.tif")
    labels = require_folder(folder, LABELS, f"{LABELS[0]}/top_potsdam_2_10_label.tif")
    tiles, maps = _find_tiles(images, "RGBIR"), _find_tiles(labels, "label")
    maps = {name: path for name, path in maps.items() if labels.name == LABELS[0] or name in LABELLED_TILES}
    unmatched = [name for name in maps if name not in tiles]
    if unmatched:
        raise InputError(
            f"{maps[unmatched[0]]}: has no tile in {images} ({len(unmatched)} of {len(maps)} label maps have none); "
            "was 4_Ortho_RGBIR unpacked completely?"
        )
    if (len(tiles), len(maps)) != (_TILES, len(LABELLED_TILES)):
        log.warning(
            "%s: %d tiles, %d of them with labels; the protocol has %d and %d, so scores are not comparable",
            folder, len(tiles), len(maps), _TILES, len(LABELLED_TILES),
        )  # fmt: skip
    return tiles, maps


def _find_tiles(folder: Path, kind: str) -> Mapping[str, Path]:
    """Name of a tile, such as 2_10, -> file, sorted by name as text."""
    names = list_folder(folder)
    matches = [re.fullmatch(rf"top_potsdam_(\d+_\d+)_{kind}\.tiff?", name, re.IGNORECASE) for name in names]
    found = {match[1]: folder / match[0] for match in matches if match}
    if not found:
        raise InputError(
            f"{folder}: contains no tile; looked for names like top_potsdam_2_10_{kind}.tif, found {join_names(names)}"
        )
    return found


def _open_tile(path: Path, min_size: int) -> Scene:
    scene = Scene(path, BANDS, quiet=True)
    if scene.dtype == np.uint8 and min(scene.shape) >= min_size:
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


def _read_image(tile: Scene, window: Window) -> Pixels:
    pixels, valid = tile.read(window)
    # Each pixel is the mean of four: all of them have to be valid.
    all_four = valid[::2, ::2] & valid[1::2, ::2] & valid[::2, 1::2] & valid[1::2, 1::2]
    return shrink_image(pixels, _FACTOR), all_four


def _read_labels(path: Path, window: Window) -> Labels:
    with Scene(path, quiet=True) as labels:
        pixels, _ = labels.read(window)
    return label_classes(shrink_labels(pixels, _FACTOR), path, (window.rows.start, window.cols.start), step=2)
