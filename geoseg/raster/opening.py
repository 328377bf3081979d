"""The one place that opens rasters for reading: guards first, then one pinned driver, and only then is it opened.

Nothing of a raster is believed before it was looked at: where it is, what it is, what its header speaks of. What lies
in the network is opened as a GeoTIFF and nothing else.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.config import Opening
from geoseg.errors import InputError, first_line
from geoseg.location import Location, Remote
from geoseg.raster.guards import check_block, check_pixels, check_sidecars, raster_driver, regular_file, tiff_header
from geoseg.raster.remote import check_archive, failure
from geoseg.raster.tiff import Page
from geoseg.raster.vrt import checked_vrt

log = logging.getLogger(__name__)

_LARGE_BLOCK = 64 << 20

NETWORK = {
    # Neither looks for files beside it, nor lists the folder: each try is a request.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    # A transfer that goes on is not given up; one that has stopped is.
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 << 20),
    "CPL_VSIL_CURL_CHUNK_SIZE": str(256 << 10),
    "VSI_CACHE": "NO",
}
"""How GDAL reads from the network, where the environment does not say otherwise. Credentials are always GDAL's own:
AWS_*, GS_*, AZURE_* of the environment."""


@dataclass(frozen=True)
class Opened:
    """An open raster. file: rasterio's. path: where it is, links followed. page: its header, of a TIFF that is here.

    files: everything here that is read. remote: something of it is elsewhere.
    """

    file: Any
    path: Location
    page: Page | None = None
    files: tuple[Path, ...] = ()
    remote: bool = False

    def settings(self) -> AbstractContextManager[Any]:
        """Return the context to read in, in every thread: rasterio's settings are a thread's own."""
        return rasterio.Env(**network()) if self.remote else nullcontext()


@dataclass
class _Inputs:
    """What a raster turned out to be made of."""

    files: list[Path] = field(default_factory=list)
    remote: bool = False


def network() -> Mapping[str, str]:
    """Return `NETWORK` without what the environment sets."""
    return {name: value for name, value in NETWORK.items() if name not in os.environ}


def open_raster(location: Location, opening: Opening) -> Opened:
    """Open a raster for reading.

    Raises:
        InputMissingError, InputError: see `geoseg.raster.guards` and `geoseg.raster.vrt`; what is elsewhere or a VRT
            unless allowed; what cannot be read as a raster, has no pixels, too many, or too large blocks; no such page.
        UnavailableError: the network, or a service in it, failed.
    """
    opened = _open_remote(location, opening) if isinstance(location, Remote) else _open_file(location, opening)
    try:
        _check(location, opened, opening)
    except BaseException:
        opened.file.close()
        raise
    return opened


def _open_file(name: Path, opening: Opening) -> Opened:
    inputs = _Inputs()
    path = regular_file(name)
    driver = raster_driver(path, opening.allow_vrt)
    if driver == "VRT":
        if opening.page is not None:
            raise InputError(f"{name}: is a VRT and has one page; leave --page out")
        text = _vrt(name, path, (), opening, inputs)
        file = _opened(name, text, "VRT", inputs.remote)
        return Opened(file, path, None, tuple(dict.fromkeys(inputs.files)), inputs.remote)
    files = (path, *check_sidecars(path))
    if driver != "GTiff":
        if opening.page not in (None, 1):
            raise InputError(f"{name}: has one page; there is no page {opening.page}")
        return Opened(_opened(name, path, driver), path, None, files)
    header = tiff_header(name, path, opening)
    page = header.images[_page(name, len(header.images), header.circular, opening)]
    target = path if page.number == 1 else f"GTIFF_DIR:{page.number}:{path}"
    return Opened(_opened(name, target, "GTiff"), path, page, files)


def _page(name: object, count: int, circular: bool, opening: Opening) -> int:
    """Index of the page to read; what is said about there being several."""
    if opening.page is not None:
        if opening.page > count:
            raise InputError(f"{name}: has {count} page{'s' * (count > 1)}; there is no page {opening.page}")
    elif circular:
        log.warning("%s: its pages lead back to each other; page 1 is read", name)
    elif count > 1:
        log.warning("%s: has %d pages; page 1 is read (--page chooses another)", name, count)
    return (opening.page or 1) - 1


def _vrt(name: object, path: Path, above: tuple[Path, ...], opening: Opening, inputs: _Inputs) -> str:
    inputs.files.append(path)

    def admit(location: Location, above: tuple[Path, ...]) -> str:
        return _source(location, above, opening, inputs)

    return checked_vrt(name, path, above, admit, opening.allow_remote)


def _source(location: Location, above: tuple[Path, ...], opening: Opening, inputs: _Inputs) -> str:
    """Guard one source of a VRT as if it was opened for itself; return what GDAL is to open for it."""
    if isinstance(location, Remote):
        with _open_remote(location, opening).file:
            inputs.remote = True
            return location.vsi
    path = regular_file(location)
    driver = raster_driver(path, allow_vrt=True)
    if driver == "VRT":
        return _vrt(location, path, above, opening, inputs)
    inputs.files += (path, *check_sidecars(path))
    if driver == "GTiff":
        tiff_header(location, path, opening)
    return str(path)


def _open_remote(location: Remote, opening: Opening) -> Opened:
    if not location.vsi:
        raise InputError(f"{location}: is neither a path nor an address that geoseg reads, such as https:// or s3://")
    if not opening.allow_remote:
        raise InputError(f"{location}: is not a file here; --allow-remote reads it where it is, or download it first")
    check_archive(location)
    with rasterio.Env(**network()):
        file = _opened(location, location.vsi, "GTiff", remote=True)
        # GDAL lists the pages where there are several.
        count = max(1, len(file.subdatasets))
        try:
            index = _page(location, count, False, opening)
            if index:
                target = file.subdatasets[index]
                file.close()
                file = _opened(location, target, "GTiff", remote=True)
        except BaseException:
            file.close()
            raise
    return Opened(file, location, remote=True)


def _opened(name: Location, target: Path | str, driver: str, remote: bool = False) -> Any:
    try:
        with warnings.catch_warnings():
            # Said once, in words of our own, by the scene.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env(**network()) if remote else nullcontext():
                return rasterio.open(target, driver=driver, sharing=False)
    except RasterioError as error:
        if isinstance(name, Remote):
            raise failure(name, error) from error
        raise InputError(f"{name}: cannot be read as a raster ({first_line(error)})") from error


def _check(name: Location, opened: Opened, opening: Opening) -> None:
    """Raise InputError for what even an honest header cannot have, or what does not fit into memory."""
    file = opened.file
    if file.count == 0 or file.width == 0 or file.height == 0:
        raise InputError(f"{name}: has {file.count} bands of {file.width} x {file.height} pixels")
    check_pixels(name, file.shape, opening)
    if any("complex" in kind or kind.startswith("c") for kind in file.dtypes):
        raise InputError(f"{name}: has complex pixels; give its amplitude (gdal_calc, or a pixel function)")
    kinds = [np.dtype(kind).itemsize for kind in file.dtypes]
    rows, cols = file.block_shapes[0]
    together = opened.page is None or opened.page.planes == 1
    stored = rows * cols * (sum(kinds) if together else max(kinds, default=0))
    check_block(name, (rows, cols), stored)
    if stored > _LARGE_BLOCK:
        log.warning(
            "%s: is stored in pieces of %d MiB, each decoded whole; gdal_translate -of COG makes it quick to read",
            name, stored >> 20,
        )  # fmt: skip
    elif opened.page is not None and not opened.page.tiled and opened.page.block_bytes > _LARGE_BLOCK:
        log.warning("%s: is stored in one piece or few; gdal_translate -of COG makes it quick to read", name)
