"""Labelled scenes at the scale of the comparison: images of at most 512 px per side, labels at full size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats, band_stats
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.superpixels import colour, segment

SIDE = 512
SUPERPIXELS = SuperpixelConfig(11)
TUNED = ("tile1", "tile2", "tile3", "tile4")
"""Settings were chosen on these scenes; the others were scored last."""


@dataclass(frozen=True, eq=False)
class Image512:
    """A scaled image, its superpixels and its labels.

    Attributes:
        path: The image as PNG.
        pixels: (3, rows, cols) uint8.
        regions: (rows, cols) int32, superpixels 1..count.
        labels: (R, C) uint8 at full size; 0 is unlabelled, classes are 1..5.
    """

    path: Path
    pixels: NDArray[np.uint8]
    regions: NDArray[np.int32]
    labels: NDArray[np.uint8]

    @property
    def tuned(self) -> bool:
        """Whether settings were chosen on this scene."""
        return self.path.stem.split("_")[0] in TUNED

    def counts(self, clusters: NDArray[np.int64], cluster_count: int, classes: int) -> NDArray[np.int64]:
        """Return (cluster_count, classes): labelled pixels by the cluster (rows, cols) they lie in, and by class."""
        rows, cols = (
            np.minimum(np.arange(full) * small // full, small - 1)
            for full, small in zip(self.labels.shape, clusters.shape, strict=True)
        )
        found = clusters[rows[:, None], cols] * (classes + 1) + self.labels
        counts = np.bincount(found.ravel(), minlength=cluster_count * (classes + 1))
        return counts.reshape(cluster_count, classes + 1)[:, 1:]


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


def prepare(source: Path, target: Path) -> None:
    """Write the images of `source`/images to `target`, scaled to `SIDE` px on the longer side."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "images").iterdir()):
        image = Image.open(path).convert("RGB")
        scale = SIDE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR).save(
            target / f"{path.stem}.png"
        )


def load(source: Path, target: Path) -> Data:
    """Return the images that `prepare` wrote, with their superpixels and the labels of `source`/labels."""
    images = []
    for path in sorted(target.glob("*.png")):
        pixels = np.ascontiguousarray(np.moveaxis(np.asarray(Image.open(path)), 2, 0))
        valid = np.ones(pixels.shape[1:], dtype=bool)
        regions = segment(colour(pixels, valid), valid, **vars(SUPERPIXELS)).labels
        labels = np.asarray(Image.open(next((source / "labels").glob(f"{path.stem}.*"))))
        images.append(Image512(path, pixels, regions, labels))
    return Data(tuple(images), int(max(image.labels.max() for image in images)))
