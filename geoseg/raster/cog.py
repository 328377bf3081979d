"""Writes rasters: parts, and the cloud-optimised GeoTIFF (COG) that is made of them.

GDAL's COG driver copies a VRT of the parts, once. The copy is canonical: the same pixels give the same bytes, in
whatever order the parts were made. A value of 0 is nodata, always.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # raised by rasterio.shutil.copy; not a RasterioError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import WriteError
from geoseg.files.atomic import publishing, scratch_folder
from geoseg.files.record import parse_provenance
from geoseg.files.targets import check_space
from geoseg.raster.mosaic import TIFF_BLOCK, Parts, RasterSpec, mosaic_vrt, offset_in

GDAL_VERSION = str(rasterio.__gdal_version__)

COPY_CACHE = 64 << 20
"""Bytes of GDAL's cache while parts are copied and read back; it needs no more than a few rows of TIFF blocks."""

_CHUNK_PIXELS = 1 << 23
_MIN_CHUNK, _MAX_CHUNK = 16, 512
"""Pixels, and rows, that GDAL takes at a time for overviews. By default it takes rows of blocks, of any width: 2 KB for
each column of the raster."""

_FEW_IDS = 16

_SIDECARS = (".aux.xml", ".ovr", ".msk")


def write_part(path: Path, values: NDArray[Any]) -> None:
    """Write one block as a tiled TIFF, atomically, and verify that it reads back as it was written.

    Args:
        path: The file to write, in a folder of geoseg's own; see `publishing`.
        values: (rows, cols) of an unsigned integer type.

    Raises:
        WriteError: The file system failed, or other pixels were read back.
    """
    rows, cols = values.shape
    layout = {"tiled": True, "blockxsize": TIFF_BLOCK, "blockysize": TIFF_BLOCK, "compress": "deflate", "zlevel": 1}
    # Parts lie in pixel space; rasterio would warn about each of them if the transform was the identity.
    layout["transform"] = Affine.translation(1, 1)
    try:
        with publishing(path, own=True) as temporary:
            with rasterio.open(
                temporary, "w", driver="GTiff", height=rows, width=cols, count=1, dtype=values.dtype, **layout
            ) as file:
                file.write(values, 1)
            # A full disk may show only when the file is closed, or not even then.
            with rasterio.open(temporary, driver="GTiff") as file:
                if not np.array_equal(file.read(1), values):
                    raise _corrupted(path)
    except RasterioError as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error


def write_cog(path: Path, spec: RasterSpec, parts: Parts) -> tuple[int, ...]:
    """Join parts to one COG, atomically, and verify its pixels; sidecars of an older file at `path` are removed.

    Args:
        path: The file to write.
        spec: What the raster is.
        parts: Blocks of the extent and their TIFFs.

    Returns:
        Of `spec.classes`, the ids that some pixel has, in ascending order.

    Raises:
        WriteError: The disk has not enough space, which is checked first, or the file system failed; an older file is
            intact.
    """
    _check_space(path.parent, spec, parts)
    options = {
        "COMPRESS": "DEFLATE",
        "BLOCKSIZE": TIFF_BLOCK,
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "IGNORE_EXISTING",
        "OVERVIEW_RESAMPLING": spec.resampling or ("MODE" if spec.classes else "AVERAGE"),
        "NUM_THREADS": "ALL_CPUS",
    }
    target = path.resolve()
    try:
        with publishing(path) as temporary, scratch_folder(path, "mosaic") as folder:
            # Names of classes are GDAL's persistent auxiliary metadata, which the environment may switch off.
            chunk = _chunk_rows(spec.extent.shape[1])
            with rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_OVR_CHUNKYSIZE=chunk, **_reading_parts()):
                rasterio.shutil.copy(mosaic_vrt(spec, parts, folder), temporary, driver="COG", **options)
                with _open(temporary) as file:
                    used = _verify(path, file, spec, parts)
            # GDAL writes category names into a sidecar, which has to follow the file to its place.
            metadata = temporary.with_name(temporary.name + ".aux.xml")
            names = metadata.read_bytes() if metadata.exists() else None
            for sidecar in raster_sidecars(target):
                sidecar.unlink(missing_ok=True)
        if names is not None:
            with publishing(target.with_name(target.name + ".aux.xml")) as temporary:
                temporary.write_bytes(names)
    except (RasterioError, CPLE_BaseError) as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error
    return used


def raster_sidecars(path: Path) -> list[Path]:
    """Return the paths of the files that GDAL or QGIS would read together with a raster, whether they exist or not."""
    return [*(path.with_name(path.name + suffix) for suffix in _SIDECARS), path.with_suffix(".qml")]


def read_small(path: Path, max_side: int) -> NDArray[Any]:
    """Return the first band of a raster, resampled by nearest pixel, at most `max_side` pixels along a side."""
    with _open(path) as file:
        scale = max(1.0, max(file.shape) / max_side)
        shape = tuple(max(1, round(length / scale)) for length in file.shape)
        small: NDArray[Any] = file.read(1, out_shape=shape, resampling=Resampling.nearest)
        return small


def read_rows(spec: RasterSpec, parts: Parts, height: int, folder: Path) -> Iterator[NDArray[Any]]:
    """Read the raster that parts make up, from the top down.

    Args:
        spec: What the raster is.
        parts: Blocks of the extent and their TIFFs.
        height: Rows to read at a time.
        folder: Where to make a folder for intermediate files.

    Yields:
        (rows, cols) of the full width; the last one may have fewer than `height` rows.
    """
    rows, cols = spec.extent.shape
    with (
        scratch_folder(folder / "rows", "mosaic") as scratch,
        rasterio.Env(**_reading_parts()),
        _open(mosaic_vrt(spec, parts, scratch), "VRT") as file,
    ):
        for start in range(0, rows, height):
            yield file.read(1, window=RasterioWindow(0, start, cols, min(height, rows - start)))


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the provenance geoseg wrote into the raster `path`, with its "layer"; None for any other raster."""
    try:
        with _open(path) as file:
            tags, layer = file.tags(), file.descriptions[0]
    except RasterioError:
        return None
    return parse_provenance(tags, layer)


def _open(path: Path | str, driver: str = "GTiff") -> Any:
    with warnings.catch_warnings():
        # A map in pixel space is no fault: the scene has warned of it.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver=driver)


def _verify(path: Path, file: Any, spec: RasterSpec, parts: Parts) -> tuple[int, ...]:
    """Compare the raster, read back, with the parts it was made of; return the ids of classes that occur."""
    unused = {entry.id for entry in spec.classes.classes} if spec.classes else set()
    if file.shape != spec.extent.shape or file.dtypes[0] != spec.dtype:
        raise WriteError(f"{path}: reads back as {file.shape} {file.dtypes[0]}; is the disk full?")
    for block, part in parts:
        row, col = offset_in(spec.extent, block.window)
        region = RasterioWindow(col, row, len(block.window.cols), len(block.window.rows))
        with rasterio.open(part, driver="GTiff") as source:
            values = file.read(1, window=region)
            if not np.array_equal(values, source.read(1)):
                raise _corrupted(path)
        unused -= _found(unused, values)
    return tuple(entry.id for entry in spec.classes.classes if entry.id not in unused) if spec.classes else ()


def _found(ids: set[int], values: NDArray[Any]) -> set[int]:
    """Those of `ids` that `values` has. Usually few are left after the first blocks, and then comparing is fastest."""
    if len(ids) > _FEW_IDS:
        return ids & set(np.unique(values).tolist())
    return {value for value in ids if (values == value).any()}


def _reading_parts() -> dict[str, Any]:
    """GDAL's settings while it reads parts."""
    # Otherwise the folder of the parts, which may have a million, is listed for each part that is opened.
    return {"GDAL_CACHEMAX": COPY_CACHE, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}


def _chunk_rows(cols: int) -> int:
    """Rows of a raster of that width that GDAL takes at a time for overviews; they change no pixel."""
    return max(_MIN_CHUNK, min(_MAX_CHUNK, _CHUNK_PIXELS // cols // _MIN_CHUNK * _MIN_CHUNK))


def _corrupted(path: Path) -> WriteError:
    return WriteError(f"{path}: reads back other pixels than were written; is the disk full or failing?")


def _check_space(folder: Path, spec: RasterSpec, parts: Parts) -> None:
    # Overviews add a third, and their temporary copy another; compression is assumed to leave a quarter of all. What
    # has no part, as over the sea, takes none.
    pixels = sum(block.window.pixels for block, _ in parts)
    check_space(folder, pixels * np.dtype(spec.dtype).itemsize * 5 // 12)
