"""Make folders as Potsdam and COCO-Stuff deliver them, in miniature, from the scene that comes with geoseg.

    python docs/tutorials/miniatures.py FOLDER

writes FOLDER/potsdam and FOLDER/coco. The imagery is real. The labels are not: they are steps of the vegetation index,
painted with the colours and numbers of the benchmarks, so scores against them mean nothing.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

SCENE = Path(__file__).resolve().parents[2] / "examples" / "data" / "naip_2020.tif"
POTSDAM = np.array([(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)], np.uint8)
COCO = np.array([95, 110, 123, 140, 156, 177], np.uint8)
"""Ids of stuff in label maps of COCO-Stuff."""


def levels(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Six steps of the vegetation index (rows, cols), 0..5, of as many pixels each. The fourth band is infrared."""
    red, infrared = pixels[0].astype(float), pixels[3].astype(float)
    index = (infrared - red) / np.maximum(infrared + red, 1)
    found: NDArray[np.int64] = np.digitize(index, np.quantile(index, np.arange(1, 6) / 6))
    return found


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a TIFF without a georeference, as ISPRS does."""
    bands, rows, cols = pixels.shape
    kind = "RGB" if bands == 3 else "MINISBLACK"  # or else the fourth band is transparency
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", dtype="uint8", count=bands, height=rows, width=cols, photometric=kind
        ) as file:
            file.write(pixels)


def potsdam(folder: Path, scene: NDArray[np.uint8]) -> None:
    """Two tiles of 400 x 800 pixels instead of 38 of 6000 x 6000; each is two patches, shrunk to half."""
    images, labels = folder / "4_Ortho_RGBIR", folder / "5_Labels_for_participants"
    for place in (images, labels):
        place.mkdir(parents=True, exist_ok=True)
    for name, top in (("2_10", 0), ("2_11", 320)):
        pixels = scene[:, top : top + 400, :800]
        write(images / f"top_potsdam_{name}_RGBIR.tif", pixels)
        write(labels / f"top_potsdam_{name}_label.tif", np.moveaxis(POTSDAM[levels(pixels)], -1, 0))


def coco(folder: Path, scene: NDArray[np.uint8]) -> None:
    """Three images of 480 x 640 pixels instead of 51,804, with label maps and the list of the 15 classes."""
    for part, images in (("train2017", {"000000000009": 0, "000000000025": 240}), ("val2017", {"000000000139": 120})):
        for place in (folder / part, folder / "stuffthingmaps" / part, folder / "curated" / part):
            place.mkdir(parents=True, exist_ok=True)
        for name, top in images.items():
            pixels = scene[:, top : top + 480, 200:840]
            Image.fromarray(np.moveaxis(pixels[:3], 0, -1)).save(folder / part / f"{name}.jpg", quality=95)
            Image.fromarray(COCO[levels(pixels)]).save(folder / "stuffthingmaps" / part / f"{name}.png")
        (folder / "curated" / part / "Coco164kFull_Stuff_Coarse_7.txt").write_text("".join(f"{i}\n" for i in images))


if __name__ == "__main__":
    with rasterio.open(SCENE) as file:
        everything = file.read()
    potsdam(Path(sys.argv[1]) / "potsdam", everything)
    coco(Path(sys.argv[1]) / "coco", everything)
