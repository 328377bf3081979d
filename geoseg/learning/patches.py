"""Training patches. Every random choice is a function of (seed, step, sample), so that a resumed training sees
the patches the uninterrupted one would have seen, for any number of reading threads."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.datasets.bad_images import BadImages, ImageError
from geoseg.datasets.dataset import DatasetImage
from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.learning.augment import jitter, transform
from geoseg.learning.mixture import region_features
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start, SuperpixelConfig
from geoseg.segments import device as segments_device
from geoseg.segments.superpixels import colour, segment

_WHOLE = 64 << 20
_MEMORY = 1 << 30
_TRIES = 1000
_MOST_THREADS = 16
_CHOOSY = 10
_READERS = 64
_PLAIN = 1 << 20
"""A sample no batch reaches. (A shorter key would not do: numpy fills keys up with zeros.)"""

Drawn = tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]
"""Pixels (bands, P, P) of a patch, their validity (P, P), and where they count in the losses (P, P): nowhere but where
they are valid, and everywhere there unless the data set says otherwise."""


class Imagery:
    """The scenes of a data set, or its images, with those that are small kept decoded, up to a gigabyte.

    Windows of a JPEG or of a striped file cost as much as the whole file, and training reads them in random order.

    alike: all are drawn equally often; the header of none is read for it. Else as often as they have pixels.
    bad_images: takes what turns out to be damaged; without it, that is an error.
    """

    def __init__(self, scenes: Sequence[ImageSource], alike: bool = False, bad_images: BadImages | None = None) -> None:
        self.scenes = tuple(scenes)
        self._bad_images = bad_images
        pixels = np.array([1 if alike else scene.extent.pixels for scene in scenes], dtype=np.float64)
        self.shares = pixels / pixels.sum()
        self._kept: OrderedDict[int, Drawn] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._reading = [threading.Lock() for _ in range(_READERS)]

    def leave_out(self, index: int, error: ImageError) -> None:
        """Go on without the image `index`.

        Raises:
            InputMissingError, InputError: no more may be left out.
        """
        if self._bad_images is None:
            raise error
        self._bad_images.add(self.scenes[index].path, error)
        self._bad_images.enforce_limit(len(self.scenes))

    def read(self, index: int, window: Window) -> Drawn:
        """Return pixels and validity of a window of scene `index`, as its `read` does, and where they count."""
        scene = self.scenes[index]
        # An image of a data set is made whole whenever it is read.
        if not isinstance(scene, DatasetImage) and _bytes(scene) > _WHOLE:
            pixels, valid = scene.read(window)
            return pixels, valid, valid
        # Two threads never read the same image, and other images meanwhile.
        with self._reading[index % _READERS]:
            pixels, valid, counted = self._whole(index)
        rows, cols = window.within(scene.extent)
        return pixels[:, rows, cols], valid[rows, cols], counted[rows, cols]

    def _whole(self, index: int) -> Drawn:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        scene = self.scenes[index]
        pixels, valid = scene.read(scene.extent)
        mask = scene.mask if isinstance(scene, DatasetImage) else None
        found = pixels, valid, valid if mask is None else valid & mask()
        with self._lock:
            self._kept[index] = found
            self._bytes += _size(found)
            while self._bytes > _MEMORY:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches, each also seen through its spatial transform T.

    image, moved: (B, bands, P, P) float32, normalised; 0 where invalid.
    labels, moved_labels: (B, P, P) int64 superpixels, moved together with the image; 0 where there is none, and where
        pixels do not count.
    features: (B, regions, F) float32, of the superpixels of the image before its colours were changed
        (`mixture.region_features`).
    regions: the largest label.
    """

    image: Tensor
    labels: Tensor
    moved: Tensor
    moved_labels: Tensor
    features: Tensor
    regions: int

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(
            self.image.to(device),
            self.labels.to(device),
            self.moved.to(device),
            self.moved_labels.to(device),
            self.features.to(device),
            self.regions,
        )


@dataclass(frozen=True)
class PatchSampler:
    """Draws patches of `size` pixels, scenes by their shares and places in them uniformly.

    Superpixels are cut on `device`. start: which of their features are taken.
    """

    imagery: Imagery
    stats: BandStats
    superpixels: SuperpixelConfig
    colour_scale: tuple[Any, Any]
    size: int
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    start: Start = "brightness"

    def batch(self, step: int, count: int, pool: ThreadPoolExecutor) -> Batch:
        """Return the `count` patches of `step`; the same for the same arguments, always."""
        random = [np.random.default_rng([self.seed, step, sample]) for sample in range(count)]
        drawn = list(pool.map(self._draw, random))
        cut = self.cut_together(drawn, pool) if self.device.type == "cuda" else list(pool.map(self._cut, drawn))
        regions = max(int(labels.max()) for labels in cut)
        views = pool.map(self._views, drawn, cut, random, itertools.repeat(regions))
        image, labels, moved, moved_labels, features = (
            torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True)
        )
        return Batch(image, labels.long(), moved, moved_labels.long(), features, regions)

    def plain(self, sample: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int32]]:
        """Return pixels (bands, P, P), validity and superpixels of a patch that no step is trained on."""
        drawn = self._draw(np.random.default_rng([self.seed, 0, _PLAIN + sample]))
        return drawn[0], drawn[1], self._cut(drawn)

    def cut_together(self, drawn: Sequence[Drawn], pool: ThreadPoolExecutor) -> list[NDArray[np.int32]]:
        """Return the superpixels (P, P) of each patch, all of them at once on the device: the same as one by one."""
        features = torch.from_numpy(np.stack(list(pool.map(self._colour, drawn))))
        valid = torch.from_numpy(np.stack([each[1] for each in drawn]))
        found = segments_device.segment_batch(
            features.to(self.device),
            valid.to(self.device),
            **vars(self.superpixels),
            threads=min(len(drawn), _MOST_THREADS),
        )
        return [each.labels for each in found]

    def _colour(self, drawn: Drawn) -> NDArray[np.int16]:
        offset, scale = self.colour_scale
        return colour(drawn[0], drawn[1], offset=offset, scale=scale)

    def _cut(self, drawn: Drawn) -> NDArray[np.int32]:
        return segment(self._colour(drawn), drawn[1], **vars(self.superpixels)).labels

    def _views(
        self, drawn: Drawn, labels: NDArray[np.int32], random: np.random.Generator, regions: int
    ) -> tuple[NDArray[Any], ...]:
        pixels, valid, counted = drawn
        image = self.stats.normalise(pixels, valid)
        # Below 0: a superpixel that is seen and does not count; so the mask moves as the superpixels do.
        labels = np.where(counted, labels, -labels)
        moved, moved_labels = transform(image, labels, random)
        features = region_features(self.stats.scale(pixels), labels.clip(min=0), regions, self.start)
        image, moved = jitter(image, labels != 0, random), jitter(moved, moved_labels != 0, random)
        return image, labels.clip(min=0), moved, moved_labels.clip(min=0), features

    def _draw(self, random: np.random.Generator) -> Drawn:
        most = 0.0
        for attempt in range(_TRIES):
            index = int(random.choice(len(self.imagery.scenes), p=self.imagery.shares))
            try:
                rows, cols = self.imagery.scenes[index].shape
                row, col = (int(random.integers(max(1, length - self.size + 1))) for length in (rows, cols))
                window = Window.of(row, col, min(self.size, rows), min(self.size, cols))
                pixels, valid, counted = self.imagery.read(index, window)
            except (InputError, InputMissingError) as error:
                # Whatever was drawn before: so a resumed training draws the same patches.
                self.imagery.leave_out(index, error)
                continue
            share = float(valid.mean()) if counted.any() else 0.0
            if share > most:
                most = share
                best = _pad(pixels, self.size), _pad(valid, self.size), _pad(counted, self.size)
            if most > 0.5 or (most > 0 and attempt >= _CHOOSY):
                return best
        raise InputError(f"the imagery is almost all nodata: {_TRIES} random patches in a row had no valid pixel")


def _pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Fill (..., rows, cols) up to `size` x `size` with zeros, at the end of each axis."""
    rows, cols = array.shape[-2:]
    if (rows, cols) == (size, size):
        return array
    return np.pad(array, (*[(0, 0)] * (array.ndim - 2), (0, size - rows), (0, size - cols)))


def _bytes(scene: ImageSource) -> int:
    return scene.extent.pixels * len(scene.bands) * scene.dtype.itemsize


def _size(kept: Drawn) -> int:
    pixels, valid, counted = kept
    return pixels.nbytes + valid.nbytes + (0 if counted is valid else counted.nbytes)
