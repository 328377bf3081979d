"""The one place that opens rasters for reading: checks first, then one pinned driver, and only then is it opened.

Nothing in a raster is believed before it was checked: its location, its kind, what its header refers to. Rasters in the
network are opened as GeoTIFF and nothing else.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.config import Opening
from geoseg.errors import InputError, first_line
from geoseg.location import Location, Remote
from geoseg.raster.guards import check_block, check_pixels, raster_driver, regular_file, tiff_header
from geoseg.raster.masks import MaskFile
from geoseg.raster.remote import check_archive, failure, network_options
from geoseg.raster.sidecars import MASK_SUFFIXES, check_masks, check_sidecars
from geoseg.raster.tiff import Page
from geoseg.raster.vrt import rewrite_vrt

log = logging.getLogger(__name__)

SLOW_BLOCK_BYTES = 64 << 20
"""Decoded blocks above this size are slow to read windows from."""

_LOCAL_OPTIONS = {
    # What lies beside a file belongs to it, whatever the environment says: it is often set up for the cloud.
    "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",
    "GDAL_PAM_ENABLED": "YES",
    "JPEG_READ_MASK": "YES",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
}
_BARE_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
_MIXED_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""For a VRT of local and of remote files: each sidecar is asked for, as no remote folder can be listed."""


@dataclass(frozen=True)
class OpenedRaster:
    """A raster that is open for reading.

    Attributes:
        file: rasterio's dataset.
        path: Where the raster is, with links resolved.
        page: Header of the page that is read; None unless it is a local TIFF.
        files: All local files that are read: the raster, its masks and overviews, the sources of a VRT.
        remote: Whether some of it is in the network.
        mask_files: Further masks of the raster, open for reading; see `geoseg.raster.masks.masks_stored`.
        shows_masks: Whether the masks that GDAL shows in `file` are all its own.
    """

    file: Any
    path: Location
    page: Page | None = None
    files: tuple[Path, ...] = ()
    remote: bool = False
    mask_files: tuple[MaskFile, ...] = ()
    shows_masks: bool = True

    def environment(self) -> AbstractContextManager[Any]:
        """Return the context to read in; to be entered in every thread, as rasterio's options belong to a thread."""
        # The sources of a VRT are opened when they are read.
        vrt = self.file.driver == "VRT"
        return _environment(self.remote, vrt and len(self.files) > 1) if vrt or self.remote else nullcontext()

    def close(self) -> None:
        """Close all files."""
        for file in (self.file, *(mask.file for mask in self.mask_files)):
            file.close()


@dataclass
class _Sources:
    """What a VRT turned out to be made of."""

    files: list[Path] = field(default_factory=list)
    remote: bool = False


def open_raster(
    location: Location, opening: Opening, slow_block_bytes: int = SLOW_BLOCK_BYTES, quiet: bool = False
) -> OpenedRaster:
    """Open a raster for reading.

    Args:
        location: A path, or a remote raster.
        opening: What may be opened, and how.
        slow_block_bytes: Log a warning where decoded blocks are larger.
        quiet: Do not warn.

    Raises:
        InputMissingError: The file does not exist.
        InputError: The file fails the checks of `geoseg.raster.guards` or `geoseg.raster.vrt`, is remote or a VRT and
            that is not allowed, cannot be read as a raster, has no pixels, too many or too large blocks, or does not
            have the page.
        UnavailableError: The network, or a service in it, failed.
    """
    if isinstance(location, Remote):
        opened = _open_remote(location, opening, quiet)
    else:
        opened = _open_file(location, opening, quiet)
    try:
        _check_size(location, opened, opening)
        if not quiet:
            _warn_of_slow_blocks(location, opened, slow_block_bytes)
    except BaseException:
        opened.close()
        raise
    return opened


def _open_file(name: Path, opening: Opening, quiet: bool) -> OpenedRaster:
    path = regular_file(name)
    driver = raster_driver(path, opening.allow_vrt)
    if driver == "VRT":
        if opening.page is not None:
            raise InputError(f"{name}: is a VRT, which has no pages; leave --page out")
        sources = _Sources()
        text = _rewrite_vrt(name, path, (), opening, sources)
        masks = check_masks(path)
        files = tuple(dict.fromkeys((*sources.files, *masks)))
        opened = OpenedRaster(
            _open(name, text, "VRT", sources.remote, len(files) > 1), path, None, files, sources.remote
        )
        return _with_masks(opened, masks)
    files = (path, *check_sidecars(path))
    masks = tuple(file for file in files[1:] if file.suffix in MASK_SUFFIXES)
    if driver != "GTiff":
        if opening.page not in (None, 1):
            raise InputError(f"{name}: has one page; there is no page {opening.page}")
        opened = OpenedRaster(_open(name, path, driver), path, None, files, shows_masks=not masks)
        # Of these formats, only a JPEG may hold a mask. GDAL shows the one beside it instead.
        return _with_masks(opened, masks, hidden=(path,) if masks and driver == "JPEG" else ())
    header = tiff_header(name, path, opening)
    page = header.images[_page_index(name, len(header.images), header.circular, opening, quiet)]
    mask = header.mask_of(page)
    if page.number == 1:
        # GDAL takes the mask of a later page for one of the first where that has none.
        opened = OpenedRaster(_open(name, path, "GTiff"), path, page, files, shows_masks=mask is not None)
        return _with_masks(opened, masks)
    file = _open(name, f"GTIFF_DIR:{page.number}:{path}", "GTiff")
    pages = () if mask is None else (f"GTIFF_DIR:{mask.number}:{path}",)
    return _with_masks(OpenedRaster(file, path, page, files, shows_masks=False), pages=pages)


def _with_masks(
    opened: OpenedRaster, beside: Sequence[Path] = (), pages: Sequence[str] = (), hidden: Sequence[Path] = ()
) -> OpenedRaster:
    """The raster with some mask files opened too; `hidden` is the raster where what lies beside it hides its mask."""
    found: list[MaskFile] = []
    try:
        found += [MaskFile(_open(opened.path, path, "GTiff"), "beside") for path in beside]
        found += [MaskFile(_open(opened.path, page, "GTiff"), "page") for page in pages]
        found += [MaskFile(_open(opened.path, path, opened.file.driver, bare=True), "raster") for path in hidden]
        for mask in found:
            if mask.file.shape != opened.file.shape:
                raise InputError(
                    f"{mask.file.name}: is {mask.file.width} x {mask.file.height} px, and the mask of a raster of "
                    f"{opened.file.width} x {opened.file.height} px; remove it"
                )
    except BaseException:
        replace(opened, mask_files=tuple(found)).close()
        raise
    return replace(opened, mask_files=tuple(found))


def _open_remote(location: Remote, opening: Opening, quiet: bool = False) -> OpenedRaster:
    if not location.vsi:
        raise InputError(f"{location}: is neither a path nor an address that geoseg reads, such as https:// or s3://")
    if not opening.allow_remote:
        raise InputError(f"{location}: is not a local file; --allow-remote reads it in place, or download it first")
    check_archive(location)
    with rasterio.Env(**network_options()):
        file = _open(location, location.vsi, "GTiff", remote=True)
        # GDAL lists the pages only where there are several.
        count = max(1, len(file.subdatasets))
        try:
            index = _page_index(location, count, False, opening, quiet)
            if index:
                target = file.subdatasets[index]
                file.close()
                file = _open(location, target, "GTiff", remote=True)
        except BaseException:
            file.close()
            raise
    return OpenedRaster(file, location, remote=True)


def _environment(remote: bool, local: bool) -> AbstractContextManager[Any]:
    """GDAL's options for a raster that is remote, local, or a VRT of both."""
    network, here = network_options() if remote else {}, _LOCAL_OPTIONS if local or not remote else {}
    options: AbstractContextManager[Any] = rasterio.Env(
        **{**network, **here, **(_MIXED_OPTIONS if remote and local else {})}
    )
    return options


def _open(
    name: Location, target: Path | str, driver: str, remote: bool = False, local: bool = False, bare: bool = False
) -> Any:
    try:
        with warnings.catch_warnings():
            # The scene logs a warning of our own, once.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with _environment(remote, local), rasterio.Env(**_BARE_OPTIONS) if bare else nullcontext():
                file = rasterio.open(target, driver=driver, sharing=False)
                # Some drivers look for masks only now, and only if the options say so.
                if not remote:
                    _ = file.mask_flag_enums
                return file
    except RasterioError as error:
        if isinstance(name, Remote):
            raise failure(name, error) from error
        raise InputError(f"{name}: cannot be read as a raster ({first_line(error)})") from error


def _page_index(name: object, count: int, circular: bool, opening: Opening, quiet: bool) -> int:
    """Index of the page to read; log a warning where the choice is not obvious, unless `quiet`."""
    if opening.page is not None:
        if opening.page > count:
            raise InputError(f"{name}: has {count} page{'s' * (count > 1)}; there is no page {opening.page}")
    elif circular and not quiet:
        log.warning("%s: its page directories form a loop; page 1 is read", name)
    elif count > 1 and not quiet:
        log.warning("%s: has %d pages; page 1 is read (--page selects another)", name, count)
    return (opening.page or 1) - 1


def _rewrite_vrt(name: object, path: Path, ancestors: tuple[Path, ...], opening: Opening, sources: _Sources) -> str:
    sources.files.append(path)

    def admit(location: Location, ancestors: tuple[Path, ...]) -> str:
        return _admit(location, ancestors, opening, sources)

    return rewrite_vrt(name, path, ancestors, admit, opening.allow_remote)


def _admit(location: Location, ancestors: tuple[Path, ...], opening: Opening, sources: _Sources) -> str:
    """Check one source of a VRT as if it was opened on its own; return what GDAL is to open for it."""
    if isinstance(location, Remote):
        with _open_remote(location, opening).file:
            sources.remote = True
            return location.vsi
    path = regular_file(location)
    driver = raster_driver(path, allow_vrt=True)
    if driver == "VRT":
        return _rewrite_vrt(location, path, ancestors, opening, sources)
    sources.files += (path, *check_sidecars(path))
    if driver == "GTiff":
        tiff_header(location, path, opening)
    return str(path)


def _check_size(name: Location, opened: OpenedRaster, opening: Opening) -> None:
    """Raise InputError for a raster that has nothing to read, or that does not fit into memory."""
    file = opened.file
    if file.count == 0 or file.width == 0 or file.height == 0:
        raise InputError(f"{name}: has nothing to read: {file.count} bands of {file.width} x {file.height} pixels")
    check_pixels(name, file.shape, opening)
    if any("complex" in kind or kind.startswith("c") for kind in file.dtypes):
        raise InputError(f"{name}: has complex pixels; convert them to amplitudes (gdal_calc, or a VRT pixel function)")
    check_block(name, file.block_shapes[0], _block_bytes(opened))


def _warn_of_slow_blocks(name: Location, opened: OpenedRaster, limit: int) -> None:
    stored, page = _block_bytes(opened), opened.page
    # GDAL shows a single strip in pieces, each of which it has to decode from the strip's beginning.
    if stored <= limit and page is not None and not page.tiled:
        stored = page.block_bytes
    if stored > limit:
        log.warning(
            "%s: is stored in blocks of %d MiB, each of them decoded as a whole; "
            "gdal_translate -of COG makes it fast to read",
            name, stored >> 20,
        )  # fmt: skip


def _block_bytes(opened: OpenedRaster) -> int:
    """Bytes of a block as GDAL decodes it: of all bands, unless each band is stored on its own."""
    sizes = [np.dtype(kind).itemsize for kind in opened.file.dtypes]
    rows, cols = opened.file.block_shapes[0]
    interleaved = opened.page is None or opened.page.planes == 1
    return int(rows * cols * (sum(sizes) if interleaved else max(sizes, default=0)))
