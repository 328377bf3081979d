"""Tells near infrared that is tagged alpha from alpha: four bands of uint8 often get that tag from the program that
wrote them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 64
"""Pixels along a side of what is looked at in each window."""
_ENOUGH = 1000
"""Pixels other than 0 on which the answer is based."""
_MIN_VALUES = 32
_OPAQUE = 0.94
"""Values from this share of the largest on count as opaque: a lossy codec alters them a little."""


log = logging.getLogger(__name__)

_told: set[tuple[str, int]] = set()
"""Folder and band of which was warned: rasters of one folder mostly come from one program, and a scene is opened
several times."""


class AlphaWatch:
    """Looks at alpha bands in the windows that are read anyway, and warns of one that seems to hold data.

    It warns once for the rasters of a folder.

    Args:
        name: What messages call the raster.
        alphas: Numbers of its alpha bands.
        bands: Those that are read as data.
        chosen: Whether the user chose those; an alpha band without zeros is then left out on purpose.
    """

    def __init__(self, name: object, alphas: Sequence[int], bands: Sequence[int], chosen: bool) -> None:
        self._name, self._bands, self._chosen = name, tuple(bands), chosen
        self._samples = {band: _Sample() for band in alphas}

    def look(self, band: int, alpha: NDArray[Any]) -> None:
        """Look at a window (rows, cols) of an alpha band."""
        sample = self._samples.get(band)
        if sample is None:
            return
        sample.add(alpha)
        if not sample.is_data or (self._chosen and not sample.has_zeros):
            return
        del self._samples[band]
        source = (str(self._name).rpartition("/")[0], band)
        if source in _told:
            return
        _told.add(source)
        log.warning(
            "%s: band %d is tagged alpha, so its zeros are nodata, but it has %d different values, as near infrared "
            "has; if it is data, remove the tag (gdal_edit.py -colorinterp_%d undefined) or, for a model that takes "
            "it, choose it with --bands %s",
            self._name, band, sample.count, band, ",".join(map(str, (*self._bands, band))),
        )  # fmt: skip


class _Sample:
    """Values of an alpha band."""

    def __init__(self) -> None:
        self.has_zeros = False
        self._values: NDArray[Any] = np.empty(0)

    @property
    def count(self) -> int:
        return len(np.unique(self._values))

    @property
    def is_data(self) -> bool:
        """Whether values are those of an image: many different ones, and most of them not opaque."""
        values = self._values
        if values.size < _ENOUGH or self.count < _MIN_VALUES:
            return False
        return bool(np.count_nonzero(values >= _OPAQUE * values.max()) < values.size / 2)

    def add(self, alpha: NDArray[Any]) -> None:
        rows, cols = (slice(0, None, -(-size // _SIDE)) for size in alpha.shape)
        taken = alpha[rows, cols].ravel()
        self.has_zeros = self.has_zeros or not taken.all()
        if self._values.size < _ENOUGH:
            self._values = np.concatenate([self._values, taken[taken > 0]])
