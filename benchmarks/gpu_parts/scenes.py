"""Scenes and data folders of the real shape, made of one piece of imagery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (bands, rows, cols)

_PALETTE = np.array([(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)], np.uint8)
"""The colours of Potsdam's six classes."""


def landscape(side: int) -> Pixels:
    """Return fields with hard edges, waves and noise, for want of real imagery: (3, side, side)."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    fields = random.integers(0, 7, (side // 48 + 2, side // 48 + 2))[y // 48, x // 48]
    levels = random.uniform(40, 200, (3, 7))
    image = np.empty((3, side, side))
    for band in range(3):
        waves = 20 * np.sin(x / random.uniform(20, 60)) * np.cos(y / random.uniform(20, 60))
        image[band] = levels[band][fields] + waves + random.normal(0, 4, (side, side))
    return image.clip(1, 255).astype(np.uint8)


def imagery(path: Path | None, side: int) -> Pixels:
    """Return at most `side` x `side` pixels of the first three bands of a raster, or of a made-up landscape."""
    if path is None:
        return landscape(side)
    with rasterio.open(path) as source:
        rows, cols = min(side, source.height), min(side, source.width)
        pixels: Pixels = source.read([1, 2, 3], window=((0, rows), (0, cols)))
    return pixels


def write_scene(path: Path, piece: Pixels, side: int, **profile: Any) -> Path:
    """Write side x side pixels: the piece again and again, mirrored every other time, each time a little darker."""
    tile = np.concatenate([piece, piece[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[:, :, ::-1]], axis=2)
    layout: dict[str, Any] = {
        "driver": "GTiff", "crs": "EPSG:32633", "transform": Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "count": 3, "height": side, "width": side,
        "dtype": "uint8", "bigtiff": "yes", "photometric": "rgb", "num_threads": "all_cpus", **profile,
    }  # fmt: skip
    height, width = tile.shape[1:]
    with rasterio.open(path, "w", **layout) as file:
        for number, row in enumerate(range(0, side, height)):
            for column, col in enumerate(range(0, side, width)):
                rows, cols = min(height, side - row), min(width, side - col)
                share = 1 - 0.02 * ((number + column) % 5)
                values = np.rint(np.arange(256) * share).astype(np.uint8)[tile[:, :rows, :cols]]
                file.write(values.clip(1), window=((row, row + rows), (col, col + cols)))
    return path


def make_potsdam(folder: Path, piece: Pixels, side: int, labelled: int, unlabelled: int) -> Path:
    """Write tiles and label maps as ISPRS delivers them; there they are 6000 x 6000, 24 with labels and 14 without."""
    images, maps = folder / "4_Ortho_RGBIR", folder / "5_Labels_for_participants"
    for place in (images, maps):
        place.mkdir(parents=True)
    repeat = -(-side // min(piece.shape[1:]))
    image = np.tile(piece, (1, repeat, repeat))[:, :side, :side]
    image = np.concatenate([image, image[:1] // 2 + 60])
    classes = (image[0] // 43).clip(0, 5)
    layout: dict[str, Any] = {"driver": "GTiff", "height": side, "width": side, "dtype": "uint8"}
    for number in range(labelled + unlabelled):
        name = f"top_potsdam_{2 + number // 3}_{10 + number % 3}"
        with rasterio.open(images / f"{name}_RGBIR.tif", "w", count=4, photometric="minisblack", **layout) as file:
            file.write(np.roll(image, 97 * number, axis=2))
        if number < labelled:
            with rasterio.open(maps / f"{name}_label.tif", "w", count=3, photometric="rgb", **layout) as file:
                file.write(np.moveaxis(_PALETTE[np.roll(classes, 97 * number, axis=1)], -1, 0))
    return folder


def make_coco(folder: Path, piece: Pixels, images: int) -> Path:
    """Write images of 640 x 480, maps of ids and the curated lists; there they are 51,804."""
    random = np.random.default_rng(0)
    rows, cols = (min(length, available) for length, available in zip((480, 640), piece.shape[1:], strict=True))
    for part, count in (("train2017", images), ("val2017", max(2, images // 20))):
        places = folder / part, folder / "stuffthingmaps" / part, folder / "curated" / part
        for place in places:
            place.mkdir(parents=True)
        names = [f"{number:012}" for number in range(count)]
        for name in names:
            row, col = (int(random.integers(0, n - m + 1)) for n, m in zip(piece.shape[1:], (rows, cols), strict=True))
            image = np.moveaxis(piece[:, row : row + rows, col : col + cols], 0, -1)
            Image.fromarray(np.ascontiguousarray(image)).save(places[0] / f"{name}.jpg", quality=90)
            Image.fromarray((91 + image[..., 1] // 3).astype(np.uint8)).save(places[1] / f"{name}.png")
        for curated in ("Coco164kFull_Stuff_Coarse_7", "Coco164kFew_Stuff_6"):
            (places[2] / f"{curated}.txt").write_text("\n".join(names) + "\n")
    return folder
