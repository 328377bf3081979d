"""The interface of images that statistics and training read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.location import Location

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
"""Pixels (bands, rows, cols) and validity, bool (rows, cols)."""


class ImageSource(Protocol):
    """An image that is read window by window: a `Scene`, or an image of a data set."""

    @property
    def path(self) -> Location:
        """What messages and records call the image."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""

    @property
    def extent(self) -> Window:
        """The window of all pixels."""

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers of the bands that are read, from 1."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """A name for each of `bands`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    def read(self, window: Window) -> Pixels:
        """Return the pixels of a window, and which of them are valid."""

    def close(self) -> None:
        """Close the files that are held open."""
