"""Label rasters: class values, or colours, that predictions are scored against. Training never reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.errors import BandError, InputError
from geoseg.grid import Window
from geoseg.raster.compression import require_lossless
from geoseg.raster.scene import Scene

_MAX_VALUES = 256


class LabelRaster:
    """An open label raster: one band of integers, or red, green and blue. A context manager.

    Args:
        path: The file: PNG, GeoTIFF or JPEG 2000.
        colours: Whether the labels are colours.
        opening: What may be opened, and how.

    Attributes:
        scene: The open raster.

    Raises:
        InputMissingError, InputError: See `Scene`; also for compression with loss, and for values that
            are not integers.
        BandError: The raster does not have one band, or for colours three bands of uint8.
    """

    def __init__(self, path: Path, colours: bool = False, opening: Opening | None = None) -> None:
        self.path, self.colours = path, colours
        try:
            self.scene = Scene(path, stored=not colours, opening=opening, quiet=True, sparse_zeros=True)
        except BandError as error:
            raise BandError(f"{path}: has more than four bands; {_expected_bands(colours)}") from error
        try:
            self._check()
        except BaseException:
            self.scene.close()
            raise

    def __enter__(self) -> LabelRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the label values (rows, cols) of a window, and where they are valid.

        Values are integers of the file's type; colours are int32, one number each (see `LabelMap`).
        """
        pixels, valid = self.scene.read(window)
        if not self.colours:
            return pixels[0], valid
        red, green, blue = pixels.astype(np.int32)
        return red << 16 | green << 8 | blue, valid

    def distinct_values(self, windows: Iterable[Window]) -> set[int]:
        """Return the distinct values of the valid pixels in `windows`.

        Raises:
            InputError: There are more than 256, too many for a set of classes.
        """
        found: set[int] = set()
        for window in windows:
            values, valid = self.read(window)
            found |= set(np.unique(values[valid]).tolist())
            if len(found) > _MAX_VALUES:
                raise InputError(
                    f"{self.path}: has more than {_MAX_VALUES} different values; a label raster holds a few class "
                    f"{'colours, compressed without loss' if self.colours else 'ids'}"
                )
        return found

    def _check(self) -> None:
        scene = self.scene
        if scene.driver == "JPEG":
            raise InputError(f"{self.path}: is a JPEG, whose compression alters label values; use PNG or GeoTIFF")
        if scene.dtype.kind not in "iu":
            raise InputError(
                f"{self.path}: has {scene.dtype} values; labels are integers (gdal_translate -ot Int32 converts them)"
            )
        if len(scene.bands) != (3 if self.colours else 1) or (self.colours and scene.dtype != np.uint8):
            bands = f"{len(scene.bands)} band{'s' * (len(scene.bands) > 1)} of {scene.dtype}"
            raise BandError(f"{self.path}: has {bands}; {_expected_bands(self.colours)}")
        require_lossless(self.path, scene.lossy, "label values")


def _expected_bands(colours: bool) -> str:
    if colours:
        return "the label map names colours, which need three bands of uint8"
    return "labels have one band of integers, or three of colours that --label-map names"
