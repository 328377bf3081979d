"""A scene: one georeferenced raster, open for reading. Arrays are (bands, rows, cols); bands count from 1."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.files.record import parse_provenance
from geoseg.files.stamps import Stamps
from geoseg.grid import Span, Window
from geoseg.location import Location, local
from geoseg.raster.alpha import AlphaWatch
from geoseg.raster.compression import lossy_codec
from geoseg.raster.decoding import decoding, region_of
from geoseg.raster.header import (
    EVERY_BAND,
    NO_CRS,
    band_name,
    check_types,
    is_scaled,
    read_georeference,
    select_bands,
)
from geoseg.raster.identity import Identity
from geoseg.raster.opening import open_raster
from geoseg.raster.palette import colours_of, read_palette, refuse_indices
from geoseg.raster.scaling import Scaling
from geoseg.raster.validity import find_marks
from geoseg.units import Period

__all__ = ["CACHE_FLOOR", "EVERY_BAND", "Scene"]

log = logging.getLogger(__name__)

CACHE_FLOOR = 64 << 20
_CACHE_CEILING = 512 << 20
_COLOURS = ("red", "green", "blue")


class Scene:
    """An open raster: its size, bands, georeference, pixels and validity. A context manager.

    A pixel is valid where every selected band is; see `geoseg.raster.validity`. Reads are serialised, so threads may
    share a scene.

    Args:
        path: The raster.
        bands: Numbers or names of the bands to read, in that order; None for all but alpha, EVERY_BAND for all. A band
            that is tagged alpha and chosen is data, not a mask: near infrared is often mistagged so.
        assume_crs: CRS of a raster that has none, in any form that rasterio's CRS.from_user_input takes.
        stored: Read a palette image as the single band of values it stores, rather than as colours.
        opening: What may be opened, and how.
        quiet: Do not warn of what the file lacks, for uses to which its position on Earth does not matter.
        sparse_zeros: Read a block that was never written as the declared nodata value, or as 0 where there is none, as
            GDAL does and as class ids need it. Otherwise such a block is nodata, as suits imagery.

    Attributes:
        path: Where the raster is, with links resolved.
        bands: Numbers of the selected bands, from 1.
        file_bands: Those of `bands` that the file has; a `DerivedScene` has more.
        palette: Of a palette image that is read as colours, else None.
        band_names: Colour or description of each selected band, else 'band N'. They are read at once: GDAL's error of
            a block that cannot be decoded would come up again.
        georeference: Where the pixels lie.
        nodata_told: Whether it was said that values may stand for nodata, which is said once.

    Raises:
        InputMissingError, UnavailableError: See `geoseg.raster.opening.open_raster`.
        InputError: See `open_raster`; also bands of different types, or a degenerate geotransform.
        BandError: A band does not exist or its name fits several, or none were chosen of more than four.
        SettingError: `assume_crs` is not a CRS, or `opening.nodata` is not a value that pixels can have.
    """

    def __init__(
        self,
        path: Location,
        bands: Sequence[int | str] | None = None,
        assume_crs: str | None = None,
        stored: bool = False,
        opening: Opening | None = None,
        quiet: bool = False,
        sparse_zeros: bool = False,
    ) -> None:
        self._name, self._opening = path, opening or Opening()
        self._lock = threading.Lock()
        before = Stamps.of(local(path))
        self._raster = open_raster(path, self._opening, quiet=quiet)
        self._identity = Identity(path, self._raster, self._lock)
        self.path, self._file = self._raster.path, self._raster.file
        self._page = None if sparse_zeros else self._raster.page
        self.nodata_told = False
        remarks: list[str] = []
        try:
            before.check(path, "try again when it is complete")
            inspecting = bands == EVERY_BAND
            self.palette = None if stored else read_palette(path, self._file)
            if self.palette is not None and not inspecting:
                remarks.append("is a palette image, read as red, green and blue")
            self.bands = self.file_bands = select_bands(path, self._file, bands, self.palette is not None)
            names = tuple(band_name(self._file, band) for band in self.bands) if self.palette is None else _COLOURS
            self.band_names: tuple[str, ...] = names
            self._stored_bands = self.bands if self.palette is None else (self.palette.band,)
            if not stored and not inspecting and self.palette is None:
                refuse_indices(path, self._file, self.bands)
            with self._raster.environment():
                self._validity = find_marks(
                    path, self._file, self._stored_bands, self._opening.nodata, remarks,
                    alpha_is_data=not inspecting, shows_masks=self._raster.shows_masks,
                    mask_files=self._raster.mask_files,
                )  # fmt: skip
            self._deciding_bands = (*self._stored_bands, *self._validity.alphas)
            check_types(path, self._file, self._validity.bands)
            watched = () if stored or inspecting else self._validity.alphas
            self._alpha = AlphaWatch(path, watched, self.bands, chosen=bands is not None)
            with self._raster.environment():
                self.georeference = read_georeference(path, self._file, assume_crs, remarks)
        except BaseException:
            self._raster.close()
            raise
        if not quiet:
            self._log_remarks([each for each in remarks if not (inspecting and each == NO_CRS)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        self._raster.close()

    @property
    def files(self) -> tuple[Path, ...]:
        """All local files that are read: the raster, its masks and overviews, the sources of a VRT."""
        return self._raster.files

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return int(self._file.height), int(self._file.width)

    @property
    def extent(self) -> Window:
        """The window of all pixels."""
        return Window.of(0, 0, *self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""
        return np.dtype(np.uint8) if self.palette is not None else np.dtype(self._file.dtypes[self.bands[0] - 1])

    @property
    def scaling(self) -> Scaling:
        """Scale and offset that the file declares for the selected bands; `read` returns values as they are stored."""
        if self.palette is not None:
            return Scaling.none(len(self.bands))
        return Scaling.of(self._file.scales, self._file.offsets, self.bands)

    @property
    def declares_nodata(self) -> bool:
        """Whether a nodata value is declared or was given; masks and alpha bands do not count."""
        return any(value is not None for value in self._validity.nodata)

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) of the blocks the file is stored in; a strip is as wide as the scene."""
        rows, cols = self._file.block_shapes[0]
        return int(rows), int(cols)

    @property
    def count(self) -> int:
        """Number of bands of the file, selected or not."""
        return int(self._file.count)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the four corners, in the CRS."""
        return self.georeference.bounds(self.extent)

    @property
    def driver(self) -> str:
        """GDAL's name of the format."""
        return str(self._file.driver)

    @property
    def lossy(self) -> str | None:
        """Name of the compression that altered its values, such as 'JPEG'; None where none is known to have."""
        return lossy_codec(self._file, self.files)

    @property
    def area_or_point(self) -> str:
        """What the file says a pixel stands for: 'Area' or 'Point'."""
        return str(self._file.tags().get("AREA_OR_POINT", "Area"))

    @property
    def taken(self) -> Period | None:
        """When the imagery was acquired, from GDAL's ACQUISITIONDATETIME or a TIFF's DateTime; None if unknown."""
        texts = self._file.tags(ns="IMAGERY").get("ACQUISITIONDATETIME"), self._file.tags().get("TIFFTAG_DATETIME")
        return next((found for text in texts if text and (found := Period.from_tag(text))), None)

    @property
    def masks(self) -> str:
        """All that marks pixels as invalid, such as 'nodata 0, mask, alpha'; 'none' where nothing does."""
        return self._validity.describe()

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The provenance that geoseg wrote into the file, with its "layer"; None in any other file."""
        try:
            return parse_provenance(self._file.tags(), self._file.descriptions[0])
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._name}: its provenance cannot be read; copy the file again") from error

    @property
    def colours(self) -> dict[int, str]:
        """Palette of the first selected band as value -> '#rrggbb'; empty where there is none."""
        entries = colours_of(self._file, self._stored_bands[0])
        return {value: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for value, rgba in entries.items()}

    def summary(self) -> dict[str, Any]:
        """Return what a record says of the scene: its name, its bytes where it is local, (rows, cols), options."""
        size = {} if self._identity.bytes is None else {"bytes": self._identity.bytes}
        return {"name": self.path.name, **size, "shape": list(self.shape), **self._options()}

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the scene from others, and from itself after a change.

        Returns:
            For a local raster its path, bytes and time of modification in ns when it was opened, with a digest of those
            of all its files where it has several; for a remote one see `geoseg.raster.remote.identity`.
        """
        return {**self._identity.to_json(), **self._options()}

    def check_unchanged(self, remedy: str, network: bool = True) -> None:
        """Raise InputError if the scene has changed since it was opened, or a remote one since `identity` was called.

        Args:
            remedy: What to do when the scene is complete, for the message.
            network: Ask the server of a remote scene, which may raise UnavailableError.
        """
        self._identity.check(remedy, network)

    def caching(self, rows: int, floor: int | None = None, cols: int | None = None) -> AbstractContextManager[Any]:
        """Return a context in which GDAL's cache has `cache_bytes`; its own default grows with memory."""
        return rasterio.Env(GDAL_CACHEMAX=self.cache_bytes(rows, floor, cols))  # type: ignore[no-any-return]

    def cache_bytes(self, rows: int, floor: int | None = None, cols: int | None = None) -> int:
        """Return the size of GDAL's cache with which no stored block within `cols` is decoded twice.

        Args:
            rows: Height of the windows in which the scene is read, in raster order.
            floor: Lower bound; None for CACHE_FLOOR.
            cols: Width within which a stored block is kept for windows further down; None for that of the scene.

        Returns:
            Bytes; bounded above, so that memory does not grow with the scene.
        """
        height, width = (
            -(-length // stored) * stored + stored
            for length, stored in zip((rows, self.shape[1] if cols is None else cols), self.block_shape, strict=True)
        )
        size = height * min(width, self.shape[1]) * sum(np.dtype(kind).itemsize for kind in self._file.dtypes)
        return int(min(_CACHE_CEILING, max(CACHE_FLOOR if floor is None else floor, size)))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Args:
            window: Within the scene.

        Returns:
            Pixels (bands, rows, cols) in the file's own type, and validity, bool (rows, cols).

        Raises:
            InputError: A block of the file cannot be decoded; the message names it.
            ValueError: The window reaches beyond the scene.
        """
        if window.intersect(self.extent) != window:
            raise ValueError(f"{window} reaches beyond a scene of {self.shape[0]} x {self.shape[1]} pixels")
        bands, page = self._stored_bands, self._page
        unwritten = None if page is None else page.unwritten_pixels(window, self._deciding_bands)
        if unwritten is not None and unwritten.all():
            return np.zeros((len(self.bands), *window.shape), self.dtype), ~unwritten
        with self._lock, decoding(self._name, self._raster, window):
            region = region_of(window)
            pixels = self._read_bands(bands, region)
            valid = self._validity.mask(dict(zip(bands, pixels, strict=True)), region, self._alpha.look)
        if unwritten is not None:
            valid &= ~unwritten
        self._warn_of_nodata(pixels, valid)
        return pixels if self.palette is None else self.palette.expand(pixels[0]), valid

    def unwritten(self, rows: Sequence[Span], cols: Sequence[Span]) -> NDArray[np.bool_] | None:
        """Return which windows, of each of `rows` and `cols`, were never written; see `Page.unwritten_windows`."""
        return None if self._page is None else self._page.unwritten_windows(rows, cols, self._deciding_bands)

    def read_stored(self, window: Window) -> NDArray[Any]:
        """Return the pixels (bands, rows, cols) of a window as they are stored, valid or not.

        Raises:
            InputError: A block of the file cannot be decoded; the message names it.
        """
        with self._lock, decoding(self._name, self._raster, window):
            pixels: NDArray[Any] = self._file.read(list(self.bands), window=region_of(window))
        return pixels

    def _read_bands(self, bands: Sequence[int], region: RasterioWindow) -> NDArray[Any]:
        kinds = {self._file.dtypes[band - 1] for band in bands}
        if len(kinds) == 1:
            pixels: NDArray[Any] = self._file.read(list(bands), window=region)
            return pixels
        # Only for inspection: alpha may be of a type of its own.
        return np.stack([self._file.read(band, window=region).astype(np.result_type(*kinds)) for band in bands])

    def _options(self) -> dict[str, Any]:
        options = {"page": self._opening.page, "nodata": self._opening.nodata}
        return {name: value for name, value in options.items() if value is not None}

    def _log_remarks(self, remarks: list[str]) -> None:
        for remark in remarks:
            log.warning("%s: %s", self._name, remark)
        if is_scaled(self._file):
            log.info("%s: declares a scale or offset; values are read as they are stored", self._name)

    def _warn_of_nodata(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Warn once where values are read as data that usually stand for nodata."""
        if self.nodata_told:
            return
        value = self._validity.suspicious_value(pixels, valid)
        if value is not None:
            self.nodata_told = True
            log.warning(
                "%s: has pixels of %g but declares no nodata; if they are nodata, give --nodata %g",
                self._name, value, value,
            )  # fmt: skip
