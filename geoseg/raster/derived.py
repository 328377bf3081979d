"""A scene with further bands: those of other rasters on its pixels, and such as are computed from its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.extras import Extra
from geoseg.grid import Window
from geoseg.indices import FORMULAS, IndexBand, IndexRequest, place_index
from geoseg.location import Location
from geoseg.raster.extra import ExtraRaster
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
    """A scene whose bands are followed by those of other rasters, and by indices. Its pixels are floating-point.

    A pixel is valid where it is without these, and where every raster has a value. `bands` and `band_names` are those
    of all bands; a number above those of the file is that of a further one.

    Args:
        path, bands, assume_crs, opening, quiet: See `Scene`.
        indices: The indices, as they are asked for, or as a model has them.
        extras: The rasters.

    Attributes:
        indices: With the places of their bands among those of the file.
        extras: The rasters, on the pixels of the scene.

    Raises:
        InputMissingError, InputError: See `Scene` and `ExtraRaster`.
        BandError: See `Scene`; or a band of an index is not among those that are read.
    """

    def __init__(
        self, path: Location, bands: Sequence[int | str] | None = None, assume_crs: str | None = None, *,
        opening: Opening | None = None, quiet: bool = False, indices: Sequence[IndexRequest | IndexBand] = (),
        extras: Sequence[Extra] = (),
    ) -> None:  # fmt: skip
        super().__init__(path, bands, assume_crs, opening=opening, quiet=quiet)
        names = self.band_names
        self.extras: list[ExtraRaster] = []
        try:
            self.indices = tuple(
                each if isinstance(each, IndexBand) else place_index(path, each, self.file_bands, names)
                for each in indices
            )
            for extra in extras:
                self.extras.append(ExtraRaster(extra, self, opening or Opening(), quiet))
        except BaseException:
            self.close()
            raise
        self._file_scaling = super().scaling
        added = [name for extra in self.extras for name in extra.bands.band_names]
        added += [index.name for index in self.indices]
        first = self.count + 1
        self.bands = (*self.file_bands, *range(first, first + len(added)))
        self.band_names = (*names, *added)

    def close(self) -> None:
        """Close all files."""
        for extra in self.extras:
            extra.scene.close()
        super().close()

    @property
    def files(self) -> tuple[Path, ...]:
        """All local files that are read, those of the rasters too."""
        return (*super().files, *(file for extra in self.extras for file in extra.scene.files))

    def summary(self) -> dict[str, Any]:
        """Return what a record says of the scene, and of the rasters."""
        return {**super().summary(), **self._of_extras([extra.scene.summary() for extra in self.extras])}

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the scene and its rasters from others, and from themselves after a change."""
        return {**super().identity(), **self._of_extras([extra.scene.identity() for extra in self.extras])}

    def _of_extras(self, facts: list[dict[str, Any]]) -> dict[str, Any]:
        named = [extra.bands.to_json() | fact for extra, fact in zip(self.extras, facts, strict=True)]
        return {"extras": named} if named else {}

    def check_unchanged(self, remedy: str, network: bool = True) -> None:
        """Raise InputError if the scene or a raster has changed; see `Scene.check_unchanged`."""
        super().check_unchanged(remedy, network)
        for extra in self.extras:
            extra.scene.check_unchanged(remedy, network)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns: float32, or float64 where the file's values need it."""
        return np.result_type(super().dtype, np.float32)

    @property
    def file_dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        return super().dtype

    @property
    def scaling(self) -> Scaling:
        """As of `Scene`; further bands have none."""
        own, none = self._file_scaling, Scaling.none(len(self.bands) - len(self.file_bands))
        return Scaling((*own.scale, *none.scale), (*own.offset, *none.offset))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window; see `Scene.read`."""
        own, valid = self.read_own(window)
        if not valid.any():
            return np.zeros((len(self.bands), *window.shape), self.dtype), valid
        pixels = self.with_indices(own)
        place = len(self.file_bands)
        for extra in self.extras:
            values, known = extra.read(window)
            pixels[place : place + len(values)] = values
            place += len(values)
            if (valid & ~known).any():
                extra.tell_of_holes()
            valid = valid & known
        return pixels, valid

    def read_own(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read the bands of the file in a window; see `Scene.read`. Of its type, they take a part of the memory."""
        return super().read(window)

    def with_indices(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return pixels of the file, (bands, rows, cols), with the indices; bands of other rasters are 0."""
        pixels = np.zeros((len(self.bands), *own.shape[1:]), self.dtype)
        pixels[: len(own)] = own
        scaling = self._file_scaling
        for number, index in enumerate(self.indices, start=len(self.bands) - len(self.indices)):
            with np.errstate(invalid="ignore", over="ignore"):
                pixels[number] = index_values(index, own, scaling.scale, scaling.offset)
        return pixels

    def read_stored(self, window: Window) -> NDArray[Any]:
        """Raise ValueError: not all bands are stored in the file."""
        raise ValueError(f"{self.path} has bands that are not its own")


def open_bands(
    path: Location, bands: Sequence[int | str] | None = None, assume_crs: str | None = None, *,
    opening: Opening | None = None, quiet: bool = False, indices: Sequence[IndexRequest | IndexBand] = (),
    extras: Sequence[Extra] = (),
) -> Scene:  # fmt: skip
    """Open a scene, with further bands where there are any. For the parameters see `DerivedScene`."""
    if indices or extras:
        return DerivedScene(path, bands, assume_crs, opening=opening, quiet=quiet, indices=indices, extras=extras)
    return Scene(path, bands, assume_crs, opening=opening, quiet=quiet)
