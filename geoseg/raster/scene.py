"""A scene: one georeferenced raster, open for reading. Arrays are (bands, rows, cols); bands count from 1."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.config import Opening
from geoseg.errors import InputError, first_line
from geoseg.files.record import parse_provenance
from geoseg.grid import Window
from geoseg.location import Location, Remote
from geoseg.raster.header import EVERY_BAND, band_name, georeference_of, is_scaled, nodata_of, palette_of, select
from geoseg.raster.opening import open_raster
from geoseg.raster.remote import identity
from geoseg.units import Period

__all__ = ["CACHE_FLOOR", "EVERY_BAND", "Scene"]

log = logging.getLogger(__name__)

CACHE_FLOOR = 64 << 20
_CACHE_CEILING = 512 << 20
_UNDECLARED = (-9999.0, -99999.0, -32768.0)
_UNLIKELY = 1e30


class Scene:
    """An open raster: its size, bands, georeference, pixels and validity.

    A pixel is valid where *every* selected band is: not nodata, finite, not masked by alpha or a mask, and not in a
    block that was never written. Reading is serialised, so a scene may be shared between threads.

    path: the file; links are followed. Or what is elsewhere.
    bands: band numbers from 1, in the order wanted; None takes every band that is not alpha. A band that is tagged
        alpha and chosen all the same is data, not a mask: near infrared is often mistagged so.
    assume_crs: the CRS of a file that has none (anything rasterio's CRS.from_user_input takes).
    stored: read a palette image as the values it stores, one band, rather than as colours.
    opening: what may be opened, and how. quiet: log no warning about the file, for uses to which it does not matter
        where on Earth the pixels lie.

    Raises:
        InputMissingError, InputError, UnavailableError: see `geoseg.raster.opening`; also bands of different types,
            degenerate georeferences and headers that cannot be read.
        BandError: a band number the file does not have, or more than four bands and none chosen.
        SettingError: `assume_crs` is not a CRS, or `opening.nodata` no value of the pixels.
    """

    def __init__(
        self,
        path: Location,
        bands: Sequence[int] | None = None,
        assume_crs: str | None = None,
        stored: bool = False,
        opening: Opening | None = None,
        quiet: bool = False,
    ) -> None:
        self._name, self._opening = path, opening or Opening()
        self._lock = threading.Lock()
        self._raster = open_raster(path, self._opening)
        self.path, self._file, self._page = self._raster.path, self._raster.file, self._raster.page
        self._wary = True
        remarks: list[str] = []
        try:
            if len(set(self._file.dtypes)) > 1:
                raise InputError(f"{path}: its bands have different types ({', '.join(self._file.dtypes)})")
            self._every = bands == EVERY_BAND
            self.palette = None if stored else palette_of(self._file)
            if self.palette is not None and not self._every:
                remarks.append("palette image, expanded to red, green and blue")
            self.bands = select(path, self._file, bands, self.palette is not None)
            self._nodata = nodata_of(path, self._file, self._opening.nodata, remarks)
            self.georeference = georeference_of(path, self._file, assume_crs, remarks)
        except BaseException:
            self._file.close()
            raise
        if not quiet:
            self._tell(remarks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file here that is read: the raster, masks beside it, the sources of a VRT."""
        return self._raster.files

    def summary(self) -> dict[str, Any]:
        """Return what a record says of the scene: name of the file, its bytes where it is here, and (rows, cols)."""
        size = {} if isinstance(self.path, Remote) else {"bytes": self.path.stat().st_size}
        return {"name": self.path.name, **size, "shape": list(self.shape), **self._chosen()}

    def identity(self) -> dict[str, Any]:
        """Return what tells this file from another, or from itself after a change: path, bytes, time in ns; of several
        files, those of all. What is elsewhere is told by its address, what the server says, and its blocks."""
        found: dict[str, Any] = {}
        if isinstance(self.path, Remote):
            with self._lock, self._raster.settings():
                found = identity(self.path, self._file)
        else:
            status = self.path.stat()
            found = {"path": str(self.path), "bytes": status.st_size, "modified": status.st_mtime_ns}
        if len(self.files) > 1:
            stats = ((str(path), path.stat()) for path in self.files)
            told = [[path, status.st_size, status.st_mtime_ns] for path, status in stats]
            found["files"] = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return {**found, **self._chosen()}

    def _chosen(self) -> dict[str, Any]:
        chosen = {"page": self._opening.page, "nodata": self._opening.nodata}
        return {name: value for name, value in chosen.items() if value is not None}

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
        return tuple(band_name(self._file, band) for band in self.bands)

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
        nodata = self._nodata[self.bands[0] - 1 if self.palette is None else 0]
        return f"nodata {nodata:g}" if nodata is not None else "none"

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The provenance that geoseg wrote into the file, with its "layer"; None for any other."""
        try:
            return parse_provenance(self._file.tags(), self._file.descriptions[0])
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._name}: its provenance cannot be read; copy the file again") from error

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
        indexes = [1] if self.palette is not None else list(self.bands)
        missing = None if self._page is None else self._page.missing(window, tuple(indexes))
        if missing is not None and missing.all():
            return np.zeros((len(self.bands), *window.shape), self.dtype), ~missing
        with self._lock, self._decoding(window):
            region = _region(window)
            pixels = self._file.read(indexes, window=region)
            valid = self._validity(pixels, indexes, region)
        if missing is not None:
            valid &= ~missing
        self._look(pixels, valid)
        if self.palette is not None:
            pixels = np.ascontiguousarray(np.moveaxis(self.palette[pixels[0]], -1, 0))
        return pixels, valid

    def read_stored(self, window: Window) -> NDArray[Any]:
        """Return the pixels (bands, rows, cols) of `window` as they are stored, valid or not.

        Raises:
            InputError: a part of the file cannot be decoded; the message names the block.
        """
        with self._lock, self._decoding(window):
            pixels: NDArray[Any] = self._file.read(list(self.bands), window=_region(window))
        return pixels

    @contextmanager
    def _decoding(self, window: Window) -> Iterator[None]:
        try:
            with self._raster.settings():
                yield
        except (RasterioError, MemoryError) as error:
            block = self._broken(window)
            way = "try again later" if self._raster.remote else "copy or download the file again"
            raise InputError(
                f"{self._name}: the block of rows {block.rows.start}-{block.rows.stop}, columns {block.cols.start}-"
                f"{block.cols.stop} cannot be decoded ({first_line(error)}); {way}"
            ) from error

    def _broken(self, window: Window) -> Window:
        """The first stored block in `window` that cannot be read; the window itself where each of them can."""
        high, wide = self.block_shape
        for top in range(window.rows.start // high * high, window.rows.stop, high):
            for left in range(window.cols.start // wide * wide, window.cols.stop, wide):
                block = Window.of(top, left, high, wide).intersect(self.extent)
                try:
                    with self._raster.settings():
                        self._file.read(window=_region(block))
                except (RasterioError, MemoryError):
                    return block
        return window

    def _look(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Say once that values which only ever stand for nodata are taken as data."""
        if not self._wary or pixels.dtype.kind != "f" or any(value is not None for value in self._nodata):
            return
        least = pixels.min(where=valid, initial=0)
        if least in _UNDECLARED or least < -_UNLIKELY:
            self._wary = False
            log.warning("%s: has pixels of %g, but declares no nodata; if they are, give --nodata", self._name, least)

    def _tell(self, remarks: list[str]) -> None:
        for remark in remarks:
            log.warning("%s: %s", self._name, remark)
        if is_scaled(self._file):
            log.info("%s: has a scale or offset; the values are taken as they are stored", self._name)

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
            nodata = self._nodata[index - 1]
            if (
                nodata is not None
                and not np.isnan(nodata)
                and (MaskFlags.nodata in flags or self._opening.nodata == nodata)
            ):
                valid &= band != band.dtype.type(nodata)
            masked = MaskFlags.nodata not in flags and MaskFlags.all_valid not in flags
            if masked and index == indexes[0] and not self._alpha_is_data:
                valid &= self._file.read_masks(index, window=region) != 0
            if band.dtype.kind == "f":
                valid &= np.isfinite(band)
        return valid


def _region(window: Window) -> RasterioWindow:
    return RasterioWindow(window.cols.start, window.rows.start, len(window.cols), len(window.rows))
