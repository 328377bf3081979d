"""What statistics and training read: a scene as it stands, or an image of a data set."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.location import Location

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
"""Pixels (bands, rows, cols) and validity (rows, cols)."""


class ImageSource(Protocol):
    """What statistics and training read. A scene is one as it stands, and so is every image of a dataset."""

    @property
    def path(self) -> Location:
        """What the image is called in messages and records."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""

    @property
    def extent(self) -> Window:
        """Every pixel."""

    @property
    def bands(self) -> tuple[int, ...]:
        """The bands that are read, counted from 1."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """A name for each of `bands`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    def read(self, window: Window) -> Pixels:
        """Return the pixels of `window`, and where there are any."""

    def close(self) -> None:
        """Let go of files."""
