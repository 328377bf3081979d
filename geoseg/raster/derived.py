"""A scene with further bands that are computed from its own, pixel by pixel, when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.grid import Window
from geoseg.indices import FORMULAS, IndexBand, IndexRequest, place_index
from geoseg.location import Location
from geoseg.raster.scaling import Scaling
from geoseg.raster.scene import Scene


def index_values(
    index: IndexBand, pixels: NDArray[Any], scale: Sequence[float], offset: Sequence[float]
) -> NDArray[np.float64]:
    """Return an index of every pixel, in [-1, 1]; 0 where the denominator is 0.

    Args:
        index: The index.
        pixels: (bands, rows, cols), of any numeric type.
        scale, offset: (bands,) each; a value means value x scale + offset.

    Returns:
        float64 (rows, cols); NaN where one of its bands is.
    """
    formula = FORMULAS[index.name]
    above, below = np.zeros((2, *pixels.shape[1:]))
    for place, weight, under in zip(index.places, formula.above, formula.below, strict=True):
        values = pixels[place].astype(np.float64) * scale[place] + offset[place]
        above += weight * values
        below += under * values
    # Reflectances below 0, and the difference in the denominator of VARI, lead beyond 1.
    clipped: NDArray[np.float64] = np.clip(np.divide(above, below, out=np.zeros_like(below), where=below != 0), -1, 1)
    return clipped


class DerivedScene(Scene):
    """A scene whose indices follow its bands. Its pixels are floating-point; which are valid is as without indices.

    `bands` and `band_names` are those of all bands; a number above those of the file is that of an index.

    Args:
        path, bands, assume_crs, opening, quiet: See `Scene`.
        indices: The indices, as they are asked for, or as a model has them.

    Attributes:
        indices: With the places of their bands among those of the file.

    Raises:
        BandError: See `Scene`; or a band of an index is not among those that are read.
    """

    def __init__(
        self, path: Location, bands: Sequence[int | str] | None = None, assume_crs: str | None = None, *,
        opening: Opening | None = None, quiet: bool = False, indices: Sequence[IndexRequest | IndexBand],
    ) -> None:  # fmt: skip
        super().__init__(path, bands, assume_crs, opening=opening, quiet=quiet)
        names = self.band_names
        try:
            self.indices = tuple(
                each if isinstance(each, IndexBand) else place_index(path, each, self.file_bands, names)
                for each in indices
            )
        except BaseException:
            self.close()
            raise
        self._file_scaling = super().scaling
        first = self.count + 1
        self.bands = (*self.file_bands, *range(first, first + len(self.indices)))
        self.band_names = (*names, *(index.name for index in self.indices))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns: float32, or float64 where the file's values need it."""
        return np.result_type(super().dtype, np.float32)

    @property
    def scaling(self) -> Scaling:
        """As of `Scene`; indices have none."""
        own, none = self._file_scaling, Scaling.none(len(self.indices))
        return Scaling((*own.scale, *none.scale), (*own.offset, *none.offset))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window; see `Scene.read`."""
        own, valid = super().read(window)
        pixels = np.zeros((len(self.bands), *window.shape), self.dtype)
        if not valid.any():
            return pixels, valid
        pixels[: len(self.file_bands)] = own
        scaling = self._file_scaling
        for place, index in enumerate(self.indices, start=len(self.file_bands)):
            with np.errstate(invalid="ignore", over="ignore"):
                pixels[place] = index_values(index, own, scaling.scale, scaling.offset)
        return pixels, valid

    def read_stored(self, window: Window) -> NDArray[Any]:
        """Raise ValueError: indices are stored nowhere."""
        raise ValueError(f"{self.path} has bands that are computed")


def open_bands(
    path: Location, bands: Sequence[int | str] | None = None, assume_crs: str | None = None, *,
    opening: Opening | None = None, quiet: bool = False, indices: Sequence[IndexRequest | IndexBand] = (),
) -> Scene:  # fmt: skip
    """Open a scene, with indices where there are any. For the parameters see `DerivedScene`."""
    if indices:
        return DerivedScene(path, bands, assume_crs, opening=opening, quiet=quiet, indices=indices)
    return Scene(path, bands, assume_crs, opening=opening, quiet=quiet)
