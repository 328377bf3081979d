"""Miniature data folders in the layouts of the protocols, made up or cut from real samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from helpers.rasters import landscape, make_raster

COLOURS = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))


def painted(classes: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes 0..5 (rows, cols) in the colours of Potsdam (3, rows, cols)."""
    return np.moveaxis(np.array(COLOURS, dtype=np.uint8)[classes], -1, 0)


def random_classes(rows: int, cols: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 6, size=(rows, cols))


def make_tiles(
    folder: Path, tiles: Mapping[str, bool], shape: tuple[int, int] = (400, 800), nested: bool = False
) -> Path:
    """Potsdam as ISPRS delivers it: name of a tile -> whether it has labels."""
    images, labels = (
        folder / name / (name if nested else "") for name in ("4_Ortho_RGBIR", "5_Labels_for_participants")
    )
    for place in (images, labels):
        place.mkdir(parents=True)
    for seed, (name, labelled) in enumerate(tiles.items()):
        pixels = landscape(*shape, 4, seed=seed)
        make_raster(images / f"top_potsdam_{name}_RGBIR.tif", pixels, photometric="minisblack", tiled=False)
        (images / f"top_potsdam_{name}_RGBIR.tfw").write_text("0.05\n")
        if labelled:
            make_raster(labels / f"top_potsdam_{name}_label.tif", painted(random_classes(*shape, seed)))
    return folder


def make_patches(folder: Path, names: Sequence[str], labelled: Sequence[str], suffix: str) -> Path:
    """Potsdam cut already."""
    (folder / "imgs").mkdir(parents=True)
    (folder / "gt").mkdir()
    for seed, name in enumerate(names):
        image, classes = landscape(200, 200, 4, seed=seed), random_classes(200, 200, seed)
        if suffix == ".mat":
            savemat(folder / "imgs" / f"{name}.mat", {"img": np.moveaxis(image, 0, -1)})
        elif suffix == ".png":
            Image.fromarray(np.moveaxis(image, 0, -1), "RGBA").save(folder / "imgs" / f"{name}.png")
        else:
            make_raster(folder / "imgs" / f"{name}.tif", image, photometric="minisblack")
        if name not in labelled:
            continue
        if suffix == ".mat":
            savemat(folder / "gt" / f"{name}.mat", {"gt": classes.astype(np.int32)})
        elif suffix == ".png":
            Image.fromarray(classes.astype(np.uint8)).save(folder / "gt" / f"{name}.png")
        else:
            make_raster(folder / "gt" / f"{name}.tif", painted(classes))
    return folder


Sizes = Mapping[str, tuple[int, int]]
TRAIN: Sizes = {"000000000009": (480, 640), "000000000025": (390, 401)}
VAL: Sizes = {"000000000139": (366, 500)}


def make_coco(
    folder: Path, images: str = "", maps: str = "stuffthingmaps", lists: str = "curated/{part}/{name}.txt"
) -> Path:
    """COCO with label maps of random ids, and both lists."""
    random = np.random.default_rng(0)
    for part, sizes in (("train2017", TRAIN), ("val2017", VAL)):
        image_folder, map_folder = folder / images / part, folder / maps / part
        image_folder.mkdir(parents=True, exist_ok=True)
        map_folder.mkdir(parents=True, exist_ok=True)
        for name, (rows, cols) in sizes.items():
            Image.fromarray(np.moveaxis(landscape(rows, cols), 0, -1)).save(image_folder / f"{name}.jpg", quality=95)
            ids = random.choice([*range(182), 255], size=(rows, cols)).astype(np.uint8)
            Image.fromarray(ids).save(map_folder / f"{name}.png")
        for name, chosen in (("Coco164kFull_Stuff_Coarse_7", list(sizes)), ("Coco164kFew_Stuff_6", list(sizes)[:1])):
            path = folder / lists.format(part=part, name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{i}\n" for i in [*chosen, chosen[0]]))
    return folder


def make_real_potsdam(folder: Path, data: Callable[[str], Path]) -> NDArray[Any]:
    """A tile of the real crop, its brightest colour for near infrared; return its classes 0..5."""
    root = data("potsdam_like") / "pseudo_potsdam_dataset"
    colours = np.moveaxis(np.asarray(Image.open(root / "img_dir" / "2_10_0_0_512_512.png")), -1, 0)
    ids = np.asarray(Image.open(root / "ann_dir" / "2_10_0_0_512_512.png"))
    make_tiles(folder, {"2_10": True}, shape=(512, 512))
    tile = np.concatenate([colours, colours.max(axis=0, keepdims=True)])
    make_raster(folder / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif", tile, photometric="rgb", alpha="unspecified")
    # Its ids are 0 boundary, then our six in their order; boundaries are clutter here.
    classes: NDArray[Any] = np.where(ids == 0, 5, ids.astype(int) - 1)
    make_raster(folder / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif", painted(classes))
    return classes


def make_real_coco(folder: Path, data: Callable[[str], Path]) -> Path:
    """The real samples in the official layout, with the real lists cut down to them."""
    samples, lists = data("cocostuff_samples"), data("cocostuff_lists")
    for part, short in (("train2017", "train"), ("val2017", "val")):
        (folder / "stuffthingmaps").mkdir(exist_ok=True)
        (folder / part).symlink_to(samples / f"{short}_img")
        (folder / "stuffthingmaps" / part).symlink_to(samples / f"{short}_label")
        here = {path.stem for path in (samples / f"{short}_img").iterdir()}
        for path in lists.glob(f"*.{part}.txt"):
            kept = [line for line in path.read_text().splitlines() if line in here]
            (folder / path.name).write_text("".join(f"{i}\n" for i in kept))
    return folder
