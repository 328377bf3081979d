"""What a dataset is: images to learn from, and labels that are read for scoring only.

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
"""(rows, cols)."""

Labels = NDArray[np.int16]
"""Class indices 0..C-1 (rows, cols), or IGNORED."""


class Dataset(Protocol):
    """Images and labels under one protocol. A context manager: it may hold files open.

    name: of the recipe. bands: names of the bands. class_names: of the classes 0..C-1 of the labels, for scoring;
    empty where there are none. sources: what is trained on. labelled: indices of the images that have labels.
    files: all that may be read; nothing may be written over them.
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
        """How many images there are."""

    def image(self, index: int) -> Pixels:
        """Return what is predicted and scored of image `index`; nothing in it comes from labels."""

    def labels(self, index: int) -> Labels:
        """Return the labels of `image(index)`.

        Raises:
            InputError: they are damaged, or do not fit the image. ValueError: `index` is not in `labelled`.
        """

    def close(self) -> None:
        """Let go of files."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """An image that is made whole whenever it is read, and then cut: keep what is read often.

    path: what to call it; a patch of a tile has no file of that name.
    measure: returns (rows, cols), asked for once. load: returns the whole image.
    mask: returns where the whole image counts in the losses of training; None: wherever it is valid. The network
        sees all of it.
    check: raises InputMissingError or InputError where headers show that the image cannot be used; None: there is
        nothing to look at.
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
        """1, 2, ... as many as there are."""
        return tuple(range(1, len(self.band_names) + 1))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.measure()

    @property
    def extent(self) -> Window:
        """Every pixel."""
        return Window.of(0, 0, *self.shape)

    def read(self, window: Window) -> Pixels:
        """Return the pixels of `window`, and where there are any.

        Raises:
            InputMissingError, InputError: a file is gone or damaged.
            ValueError: the window reaches out of the image.
        """
        if window.intersect(self.extent) != window:
            raise ValueError(f"{window} reaches out of an image of {self.shape[0]} x {self.shape[1]} pixels")
        pixels, valid = self.load()
        rows, cols = window.within(self.extent)
        return pixels[:, rows, cols], valid[rows, cols]

    def close(self) -> None:
        """Nothing is held open."""
