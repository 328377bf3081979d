"""What a data set is: images to learn from, and labels that are read for scoring only.

Arrays are (bands, rows, cols), validity and labels (rows, cols).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.raster.source import ImageSource, Pixels

Mask = NDArray[np.bool_]
"""bool (rows, cols)."""

Labels = NDArray[np.int16]
"""Class indices 0..C-1, int16 (rows, cols), or IGNORED."""


class Dataset(Protocol):
    """Images and labels under one protocol. A context manager, as it may hold files open.

    Attributes:
        name: Of the recipe.
        bands: Names of the bands.
        class_names: Names of the classes 0..C-1 of the labels; empty where there are none.
        sources: The images to train on.
        labelled: Indices of the images that have labels.
        files: All files that may be read, which no output may overwrite.
    """

    @property
    def name(self) -> str: ...
    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def sources(self) -> Sequence[ImageSource]: ...
    @property
    def labelled(self) -> Sequence[int]: ...
    @property
    def files(self) -> Collection[Path]: ...
    @property
    def count(self) -> int:
        """Number of images."""

    def image(self, index: int) -> Pixels:
        """Return the pixels of image `index` that are predicted and scored; nothing in them comes from labels."""

    def labels(self, index: int) -> Labels:
        """Return the labels of `image(index)`.

        Raises:
            InputError: They are damaged, or do not fit the image.
            ValueError: `index` is not in `labelled`.
        """

    def close(self) -> None:
        """Close the files that are held open."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """An image that is decoded as a whole at every read, and then cropped: cache what is read often.

    Attributes:
        path: What to call the image; a patch of a tile has no file of that name.
        band_names: A name for each band.
        dtype: Type of the pixels.
        measure: Returns (rows, cols); called once.
        load: Returns the whole image.
        mask: Returns bool (rows, cols), True where the image counts in the losses of training; None for wherever it is
            valid. The network sees all of the image either way.
        check: Raises InputMissingError or InputError where headers show that the image cannot be used; None where there
            is nothing to check.
    """

    path: Path
    band_names: tuple[str, ...]
    dtype: np.dtype[Any]
    measure: Callable[[], tuple[int, int]]
    load: Callable[[], Pixels]
    mask: Callable[[], Mask] | None = None
    check: Callable[[], object] | None = None

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers of the bands, from 1."""
        return tuple(range(1, len(self.band_names) + 1))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.measure()

    @property
    def extent(self) -> Window:
        """The window of all pixels."""
        return Window.of(0, 0, *self.shape)

    def read(self, window: Window) -> Pixels:
        """Return the pixels of a window, and which of them are valid.

        Raises:
            InputMissingError: A file no longer exists.
            InputError: A file is damaged.
            ValueError: The window reaches beyond the image.
        """
        if window.intersect(self.extent) != window:
            raise ValueError(f"{window} reaches beyond an image of {self.shape[0]} x {self.shape[1]} pixels")
        pixels, valid = self.load()
        rows, cols = window.within(self.extent)
        return pixels[:, rows, cols], valid[rows, cols]

    def close(self) -> None:
        """Do nothing: no file is held open."""
