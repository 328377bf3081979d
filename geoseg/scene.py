"""A scene: one georeferenced raster, open for reading. Arrays are (bands, rows, cols); bands count from 1.

This module and those that write rasters are the only ones that import rasterio.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import transform as transforms
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import BandError, InputError, SettingError
from geoseg.georeference import Georeference
from geoseg.grid import Window
from geoseg.guards import raster_driver, regular_file
from geoseg.period import Period

log = logging.getLogger(__name__)

EVERY_BAND: tuple[int, ...] = ()
"""As `bands` of a Scene: all the file has, alpha too, for looking at rather than for computing."""

CACHE_FLOOR = 64 << 20
_CACHE_CEILING = 512 << 20
_LARGE_BLOCK = 64 << 20
_KNOWN = {
    ColorInterp.red: "red",
    ColorInterp.green: "green",
    ColorInterp.blue: "blue",
    ColorInterp.gray: "gray",
    ColorInterp.alpha: "alpha",
}


class Scene:
    """An open raster: its size, bands, georeference, pixels and validity.

    A pixel is valid where *every* selected band is: not nodata, finite, and not masked by alpha or a mask.
    Reading is serialised, so a scene may be shared between threads.

    path: the file; links are followed.
    bands: band numbers from 1, in the order wanted; None takes every band that is not alpha. A band that is tagged
        alpha and chosen all the same is data, not a mask: near infrared is often mistagged so.
    assume_crs: the CRS of a file that has none (anything rasterio's CRS.from_user_input takes).
    stored: read a palette image as the values it stores, one band, rather than as colours.

    Raises:
        InputMissingError, InputError: see `geoseg.guards`; also complex pixels, degenerate georeferences
            and headers that cannot be read.
        BandError: a band number the file does not have, or more than four bands and none chosen.
        SettingError: `assume_crs` is not a CRS.
    """

    def __init__(
        self, path: Path, bands: Sequence[int] | None = None, assume_crs: str | None = None, stored: bool = False
    ) -> None:
        self.path = regular_file(path)
        self._name = path
        self._lock = threading.Lock()
        try:
            with warnings.catch_warnings():
                # Said once, in words of our own, by _georeference.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._file = rasterio.open(self.path, driver=raster_driver(self.path))
        except RasterioError as error:
            raise InputError(f"{path}: cannot be read as a raster ({_first_line(error)})") from error
        try:
            self._check_header()
            self._every = bands == EVERY_BAND
            self.palette = None if stored else self._palette()
            self.bands = self._select(bands)
            self.georeference = self._georeference(assume_crs)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def summary(self) -> dict[str, Any]:
        """Return what a record says of the scene: name of the file, its bytes, and (rows, cols)."""
        return {"name": self.path.name, "bytes": self.path.stat().st_size, "shape": list(self.shape)}

    def identity(self) -> dict[str, Any]:
        """Return what tells this file from another, or from itself after a change: path, bytes, time in ns."""
        status = self.path.stat()
        return {"path": str(self.path), "bytes": status.st_size, "modified": status.st_mtime_ns}

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        self._file.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return int(self._file.height), int(self._file.width)

    @property
    def extent(self) -> Window:
        """Every pixel of the scene."""
        return Window.of(0, 0, *self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""
        return np.dtype(np.uint8) if self.palette is not None else np.dtype(self._file.dtypes[self.bands[0] - 1])

    @property
    def band_names(self) -> tuple[str, ...]:
        """A name for each selected band: its colour or description, else 'band N'."""
        if self.palette is not None:
            return ("red", "green", "blue")
        return tuple(self._band_name(band) for band in self.bands)

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) of the blocks the file is stored in; a strip is as wide as the scene."""
        rows, cols = self._file.block_shapes[0]
        return int(rows), int(cols)

    @property
    def count(self) -> int:
        """How many bands the file has, selected or not."""
        return int(self._file.count)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the CRS, of all four corners."""
        return self.georeference.bounds(self.extent)

    @property
    def driver(self) -> str:
        """GDAL's name of the format."""
        return str(self._file.driver)

    @property
    def area_or_point(self) -> str:
        """What the file says a pixel stands for: 'Area' or 'Point'."""
        return str(self._file.tags().get("AREA_OR_POINT", "Area"))

    @property
    def taken(self) -> Period | None:
        """When the imagery was taken, if the file says so: by GDAL's ACQUISITIONDATETIME, else a TIFF's DateTime."""
        texts = self._file.tags(ns="IMAGERY").get("ACQUISITIONDATETIME"), self._file.tags().get("TIFFTAG_DATETIME")
        return next((found for text in texts if text and (found := Period.from_tag(text))), None)

    @property
    def masks(self) -> str:
        """What marks invalid pixels: 'alpha', 'mask', 'nodata VALUE', or 'none'."""
        flags = self._file.mask_flag_enums[self.bands[0] - 1]
        if MaskFlags.alpha in flags:
            return "none" if self._alpha_is_data else "alpha"
        if MaskFlags.per_dataset in flags:
            return "mask"
        return f"nodata {self._file.nodata:g}" if self._file.nodata is not None else "none"

    @property
    def colours(self) -> dict[int, str]:
        """Value -> '#rrggbb' of the palette that is stored with the first band; empty where there is none."""
        if self._file.colorinterp[0] != ColorInterp.palette:
            return {}
        return {value: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for value, rgba in self._file.colormap(1).items()}

    def caching(self, rows: int, floor: int | None = None) -> AbstractContextManager[Any]:
        """Return a context in which GDAL's cache has `cache_bytes(rows)`; its own default grows with the machine."""
        return rasterio.Env(GDAL_CACHEMAX=self.cache_bytes(rows, floor))  # type: ignore[no-any-return]

    def cache_bytes(self, rows: int, floor: int | None = None) -> int:
        """Return the size of GDAL's cache with which no stored block is decoded twice when the scene is
        read in raster order in pieces of `rows` rows; bounded, so that memory stays flat."""
        stored = self.block_shape[0]
        height = -(-rows // stored) * stored + stored
        per_pixel = sum(np.dtype(kind).itemsize for kind in self._file.dtypes)
        return int(
            min(_CACHE_CEILING, max(CACHE_FLOOR if floor is None else floor, height * self.shape[1] * per_pixel))
        )

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the pixels (bands, rows, cols) of `window` in the file's own type, and validity (rows, cols).

        Raises:
            InputError: a part of the file cannot be decoded; the message names the window.
            ValueError: the window reaches out of the scene.
        """
        if window.intersect(self.extent) != window:
            raise ValueError(f"{window} reaches out of a scene of {self.shape[0]} x {self.shape[1]} pixels")
        region = RasterioWindow(window.cols.start, window.rows.start, len(window.cols), len(window.rows))
        indexes = [1] if self.palette is not None else list(self.bands)
        with self._lock, self._decoding(window):
            pixels = self._file.read(indexes, window=region)
            valid = self._validity(pixels, indexes, region)
        if self.palette is not None:
            pixels = np.ascontiguousarray(np.moveaxis(self.palette[pixels[0]], -1, 0))
        return pixels, valid

    def read_stored(self, window: Window) -> NDArray[Any]:
        """Return the pixels (bands, rows, cols) of `window` as they are stored, valid or not.

        Raises:
            InputError: a part of the file cannot be decoded; the message names the window.
        """
        region = RasterioWindow(window.cols.start, window.rows.start, len(window.cols), len(window.rows))
        with self._lock, self._decoding(window):
            pixels: NDArray[Any] = self._file.read(list(self.bands), window=region)
        return pixels

    @contextmanager
    def _decoding(self, window: Window) -> Iterator[None]:
        try:
            yield
        except RasterioError as error:
            raise InputError(
                f"{self._name}: rows {window.rows.start}-{window.rows.stop}, columns {window.cols.start}-"
                f"{window.cols.stop} cannot be decoded ({_first_line(error)}); copy or download the file again"
            ) from error

    @property
    def _alpha_is_data(self) -> bool:
        return (
            self.palette is None
            and not self._every
            and any(self._file.colorinterp[band - 1] == ColorInterp.alpha for band in self.bands)
        )

    def _validity(self, pixels: NDArray[Any], indexes: list[int], region: RasterioWindow) -> NDArray[np.bool_]:
        valid = np.ones(pixels.shape[1:], dtype=bool)
        for index, band in zip(indexes, pixels, strict=True):
            flags = self._file.mask_flag_enums[index - 1]
            nodata = self._file.nodatavals[index - 1]
            if MaskFlags.nodata in flags and nodata is not None:
                if not np.isnan(nodata):
                    valid &= band != band.dtype.type(nodata)
            elif MaskFlags.all_valid not in flags and index == indexes[0] and not self._alpha_is_data:
                valid &= self._file.read_masks(index, window=region) != 0
            if band.dtype.kind == "f":
                valid &= np.isfinite(band)
        return valid

    def _check_header(self) -> None:
        file = self._file
        if file.count == 0 or file.width == 0 or file.height == 0:
            raise InputError(f"{self._name}: has {file.count} bands of {file.width} x {file.height} pixels")
        complex_bands = [kind for kind in file.dtypes if "complex" in kind or kind.startswith("c")]
        if complex_bands:
            raise InputError(f"{self._name}: has complex pixels; give its amplitude (gdal_calc, or a pixel function)")
        if len(set(file.dtypes)) > 1:
            raise InputError(f"{self._name}: its bands have different types ({', '.join(file.dtypes)})")
        stored = self.block_shape[0] * self.block_shape[1] * sum(np.dtype(kind).itemsize for kind in file.dtypes)
        if stored > _LARGE_BLOCK:
            log.warning(
                "%s: is stored in pieces of %d MiB, each decoded whole; gdal_translate -of COG makes it quick to read",
                self._name, stored >> 20,
            )  # fmt: skip

    def _palette(self) -> NDArray[np.uint8] | None:
        if self._file.count != 1 or self._file.colorinterp[0] != ColorInterp.palette:
            return None
        table = np.zeros((65536 if self._file.dtypes[0] == "uint16" else 256, 3), dtype=np.uint8)
        for value, colour in self._file.colormap(1).items():
            table[value] = colour[:3]
        if not self._every:
            log.warning("%s: palette image, expanded to red, green and blue", self._name)
        return table

    def _select(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        if self.palette is not None:
            return (1, 2, 3) if not bands else self._known(bands, 3)
        count = int(self._file.count)
        if bands == EVERY_BAND:
            return tuple(range(1, count + 1))
        if bands is not None:
            return self._known(bands, count)
        colour = tuple(i for i in range(1, count + 1) if self._file.colorinterp[i - 1] != ColorInterp.alpha)
        if len(colour) > 4:
            raise BandError(
                f"{self._name}: has {len(colour)} bands ({', '.join(self._band_name(b) for b in colour)}); "
                f"choose those to use with --bands, for instance --bands 4,3,2"
            )
        return colour

    def _known(self, bands: Sequence[int], count: int) -> tuple[int, ...]:
        unknown = [band for band in bands if not 1 <= band <= count]
        if unknown:
            raise BandError(f"{self._name}: has bands 1 to {count}; there is no band {unknown[0]}")
        if self.palette is not None and tuple(bands) != (1, 2, 3):
            raise BandError(f"{self._name}: is a palette image, read as red, green, blue: leave --bands out")
        return tuple(bands)

    def _band_name(self, band: int) -> str:
        described = self._file.descriptions[band - 1]
        interpreted = self._file.colorinterp[band - 1]
        if interpreted in _KNOWN and not (interpreted == ColorInterp.gray and self._file.count > 1):
            return _KNOWN[interpreted]
        return str(described) if described else f"band {band}"

    def _georeference(self, assume_crs: str | None) -> Georeference:
        crs, transform = self._file.crs, self._file.transform
        if not np.isfinite(list(transform)[:6]).all() or transform.determinant == 0:
            raise InputError(f"{self._name}: degenerate geotransform {tuple(transform)[:6]}; pixels have no size")
        if not crs and assume_crs is not None:
            try:
                crs = CRS.from_user_input(assume_crs)
            except (CRSError, ValueError) as error:
                raise SettingError(f"--assume-crs {assume_crs!r} is no CRS ({_first_line(error)})") from error
        if transform == transforms.IDENTITY and crs:
            log.warning("%s: has a CRS but no geotransform; taken as pixel space", self._name)
            crs = None
        elif not crs:
            log.warning("%s: has no CRS; the output has none either (--assume-crs sets one)", self._name)
        return Georeference(crs if crs else None, transform)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
