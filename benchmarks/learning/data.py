"""Labelled scenes at the scale of the comparison: images of at most 512 px per side, labels at full size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.learning.mixture import colourfulness
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats, band_stats
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.superpixels import colour, segment
from geoseg.segments.views import superpixel_views

SIDE = 512
SUPERPIXELS = SuperpixelConfig(11)
TUNED = ("tile1", "tile2", "tile3", "tile4")
"""Settings were chosen on these scenes; the others were scored last."""

_VALUES = 256


@dataclass(frozen=True, eq=False)
class Image512:
    """A scaled image, its superpixels and its labels.

    Attributes:
        path: The image as PNG.
        label_path: Its labels at full size, of which 0 is unlabelled and classes are from 1.
        pixels: (3, rows, cols) uint8.
        regions: (rows, cols) int32, superpixels 1..count.
        counts: (count + 1, 256) int64, pixels at full size by superpixel and label.
    """

    path: Path
    label_path: Path
    pixels: NDArray[np.uint8]
    regions: NDArray[np.int32]
    counts: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of superpixels."""
        return len(self.counts) - 1

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(R, C) uint8 at full size, read anew."""
        return np.asarray(Image.open(self.label_path))

    @property
    def tuned(self) -> bool:
        """Whether settings were chosen on this scene."""
        return self.path.stem.split("_")[0] in TUNED

    def counts_of(self, regions: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return `counts` for a partition (rows, cols) of the image into regions from 0 or 1."""
        return self.counts if regions is self.regions else count_labels(regions, self.labels)


@dataclass(frozen=True, eq=False)
class Data:
    """All images, and the number of classes of their labels."""

    images: tuple[Image512, ...]
    classes: int

    @cached_property
    def scenes(self) -> list[Scene]:
        """The images, open for reading."""
        return [Scene(image.path) for image in self.images]

    @cached_property
    def stats(self) -> BandStats:
        """The statistics of all images."""
        return band_stats(self.scenes)

    @cached_property
    def colourfulness(self) -> float:
        """The criterion by which few classes start from brightness, of all superpixels."""
        low, high = self.stats.low, self.stats.high
        found = [superpixel_views(each.pixels, each.regions, each.count, low, high, "hue") for each in self.images]
        return colourfulness(np.concatenate(found))


def count_labels(regions: NDArray[np.int32], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return pixels at full size by region and label: int64 (largest region + 1, 256).

    Args:
        regions: int32 (rows, cols), at least 0.
        labels: uint8 (R, C), of the same image at full size.
    """
    rows, cols = (
        np.minimum(np.arange(full) * small // full, small - 1)
        for full, small in zip(labels.shape, regions.shape, strict=True)
    )
    size = (int(regions.max()) + 1) * _VALUES
    found = regions[rows[:, None], cols] * np.int32(_VALUES) + labels
    return np.bincount(found.ravel(), minlength=size).reshape(-1, _VALUES)


def prepare(source: Path, target: Path, images: int | None = None) -> None:
    """Write the images of `source`/images to `target`, scaled to `SIDE` px on the longer side, with superpixels.

    Args:
        source: Folder with `images` and `labels`.
        target: Folder to write to.
        images: How many images, evenly spaced; None is all.
    """
    target.mkdir(parents=True, exist_ok=True)
    paths = sorted((source / "images").iterdir())
    for path in _evenly(paths, images or len(paths)):
        image = Image.open(path).convert("RGB")
        scale = SIDE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        scaled = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
        scaled.save(target / f"{path.stem}.png")
        pixels = _bands_first(scaled)
        valid = np.ones(pixels.shape[1:], dtype=bool)
        regions = segment(colour(pixels, valid), valid, **vars(SUPERPIXELS)).labels
        counts = count_labels(regions, np.asarray(Image.open(_label_path(source, path.stem))))
        np.savez_compressed(target / f"{path.stem}.npz", regions=regions, counts=counts)


def load(source: Path, target: Path) -> Data:
    """Return the images that `prepare` wrote, with their superpixels and labels."""
    images = []
    for path in sorted(target.glob("*.png")):
        with np.load(path.with_suffix(".npz")) as file:
            regions, counts = file["regions"], file["counts"]
        pixels = _bands_first(Image.open(path))
        images.append(Image512(path, _label_path(source, path.stem), pixels, regions, counts))
    present = np.sum([image.counts.sum(axis=0) for image in images], axis=0)
    return Data(tuple(images), int(np.flatnonzero(present).max()))


def _bands_first(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.moveaxis(np.asarray(image), 2, 0))


def _label_path(source: Path, stem: str) -> Path:
    return next((source / "labels").glob(f"{stem}.*"))


def _evenly(paths: Sequence[Path], count: int) -> list[Path]:
    return [paths[i * len(paths) // count] for i in range(count)]
