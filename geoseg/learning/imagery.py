"""The images that training draws patches from, with small ones kept decoded."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.bad_images import BadImages, ImageError
from geoseg.datasets.dataset import DatasetImage
from geoseg.grid import Window
from geoseg.raster.derived import DerivedScene
from geoseg.raster.source import ImageSource

_READ_LOCKS = 64
_COVERINGS = 4


class Crop(NamedTuple):
    """Part of an image.

    Attributes:
        pixels: (bands, rows, cols), of the image's type.
        valid: (rows, cols) bool, False at nodata.
        counted: (rows, cols) bool, True at the pixels that the losses count: those that are valid, and that the data
            set does not mask.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        counted = 0 if self.counted is self.valid else self.counted.nbytes
        return self.pixels.nbytes + self.valid.nbytes + counted


class Imagery:
    """The images of a data set, for random access from several threads.

    Small images are kept decoded in a cache (least recently used out first): a window of a JPEG or of a striped TIFF
    costs as much to read as the whole file, and training reads windows in random order. Indices are computed after
    that, for a window: with them, images would take several times the memory.

    Args:
        images: Scenes, or images of a data set.
        uniform: Draw all images equally often, without reading their headers; otherwise in proportion to their pixels.
        bad_images: Collects images that turn out to be damaged. Without it, a damaged image is an error.
        max_cached_image: Bytes up to which an image is cached.
        cache_size: Bytes of the cache.

    Attributes:
        images: The images.
        shares: (images,) float64, the probability of drawing each.
        cached_bytes: What the cache holds.
    """

    def __init__(
        self,
        images: Sequence[ImageSource],
        uniform: bool = False,
        bad_images: BadImages | None = None,
        max_cached_image: int = 64 << 20,
        cache_size: int = 1 << 30,
    ) -> None:
        self.images = tuple(images)
        self._bad_images = bad_images
        pixels = np.array([1 if uniform else image.extent.pixels for image in images], dtype=np.float64)
        self.shares = pixels / pixels.sum()
        self._pixels = None if uniform else int(pixels.sum())
        self._edges = np.cumsum(self.shares)
        self._max_cached_image, self._cache_size = max_cached_image, cache_size
        self._cache: OrderedDict[int, Crop] = OrderedDict()
        self.cached_bytes = 0
        self._cache_lock = threading.Lock()
        self._read_locks = [threading.Lock() for _ in range(_READ_LOCKS)]

    def exclude(self, index: int, error: ImageError) -> None:
        """Record that image `index` is damaged, and continue without it.

        Raises:
            InputMissingError, InputError: No more images may be left out.
        """
        if self._bad_images is None:
            raise error
        self._bad_images.add(self.images[index].path, error)
        self._bad_images.enforce_limit(len(self.images))

    def enough_patches(self, size: int) -> float:
        """Return the number of patches of `size` x `size` pixels that cover all images four times over.

        More of them tell nothing new. It is infinite where the sizes of the images are not known.
        """
        return math.inf if self._pixels is None else -(-_COVERINGS * self._pixels // size**2)

    def index(self, share: float) -> int:
        """Return the image that a number in [0, 1) belongs to if each has its share of that range."""
        return min(int(np.searchsorted(self._edges, share, side="right")), len(self.images) - 1)

    def read(self, index: int, window: Window) -> Crop:
        """Return a window of image `index`.

        Raises:
            InputMissingError, InputError: The image is damaged.
        """
        image = self.images[index]
        # Images of a data set are decoded whole for every read, so all of them are cached.
        if not isinstance(image, DatasetImage) and _size_in_memory(image) > self._max_cached_image:
            pixels, valid = image.read(window)
            return Crop(pixels, valid, valid)
        # Threads that need the same image wait for one to decode it; threads that need others go on.
        with self._read_locks[index % _READ_LOCKS]:
            full = self._read_full(index)
        rows, cols = window.within(image.extent)
        pixels = full.pixels[:, rows, cols]
        if _has_only_indices(image):
            pixels = image.with_indices(pixels)
        return Crop(pixels, full.valid[rows, cols], full.counted[rows, cols])

    def _read_full(self, index: int) -> Crop:
        with self._cache_lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        image = self.images[index]
        pixels, valid = image.read_own(image.extent) if _has_only_indices(image) else image.read(image.extent)
        mask = image.mask if isinstance(image, DatasetImage) else None
        full = Crop(pixels, valid, valid if mask is None else valid & mask())
        with self._cache_lock:
            self._cache[index] = full
            self.cached_bytes += full.nbytes
            while self.cached_bytes > self._cache_size:
                self.cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return full


def _has_only_indices(image: ImageSource) -> TypeGuard[DerivedScene]:
    """Whether all bands of an image can be computed from those of its file."""
    return isinstance(image, DerivedScene) and not image.extras


def _size_in_memory(image: ImageSource) -> int:
    if _has_only_indices(image):
        return image.extent.pixels * len(image.file_bands) * image.file_dtype.itemsize
    return image.extent.pixels * len(image.bands) * image.dtype.itemsize
