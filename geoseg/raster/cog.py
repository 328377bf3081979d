"""Writes parts, and reads them and the cloud-optimised GeoTIFF (COG) that is made of them. 0 is nodata, always."""

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
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import WriteError
from geoseg.files.atomic import publishing, scratch_folder
from geoseg.files.record import parse_provenance
from geoseg.raster.mosaic import TIFF_BLOCK, Parts, RasterSpec, mosaic_vrt

GDAL_VERSION = str(rasterio.__gdal_version__)

COPY_CACHE = 64 << 20
"""Bytes of GDAL's cache while parts are read; it needs no more than a few rows of TIFF blocks."""

BLOCK_LAYOUT = {
    "TILED": "YES", "BLOCKXSIZE": TIFF_BLOCK, "BLOCKYSIZE": TIFF_BLOCK, "COMPRESS": "DEFLATE", "ZLEVEL": 6
}  # fmt: skip
"""How parts and COGs are stored: a COG takes over the blocks of parts as they are."""


def write_part(path: Path, values: NDArray[Any], threads: int = 1) -> None:
    """Write one block as a tiled TIFF, atomically, and verify that it reads back as it was written.

    Args:
        path: The file to write, in a folder of geoseg's own; see `publishing`.
        values: (rows, cols) of an unsigned integer type.
        threads: How many compress. Blocks of the TIFF have the same bytes with any number of them.

    Raises:
        WriteError: The file system failed, or other pixels were read back.
    """
    rows, cols = values.shape
    # Parts lie in pixel space; rasterio would warn about each of them if the transform was the identity.
    layout = {**BLOCK_LAYOUT, "transform": Affine.translation(1, 1)}
    try:
        with publishing(path, own=True) as temporary:
            with rasterio.open(
                temporary, "w", driver="GTiff", height=rows, width=cols, count=1, dtype=values.dtype,
                NUM_THREADS=threads, **layout,
            ) as file:  # fmt: skip
                file.write(values, 1)
            # A full disk may show only when the file is closed, or not even then.
            with rasterio.open(temporary, driver="GTiff") as file:
                if not np.array_equal(file.read(1), values):
                    raise corrupted(path)
    except RasterioError as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error


def read_small(path: Path, max_side: int) -> NDArray[Any]:
    """Return the first band of a raster, resampled by nearest pixel, at most `max_side` pixels along a side."""
    with open_raster(path) as file:
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
        rasterio.Env(**reading_parts()),
        open_raster(mosaic_vrt(spec, parts, scratch), "VRT") as file,
    ):
        for start in range(0, rows, height):
            yield file.read(1, window=RasterioWindow(0, start, cols, min(height, rows - start)))


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the provenance geoseg wrote into the raster `path`, with its "layer"; None for any other raster."""
    try:
        with open_raster(path) as file:
            tags, layer = file.tags(), file.descriptions[0]
    except RasterioError:
        return None
    return parse_provenance(tags, layer)


def open_raster(path: Path | str, driver: str = "GTiff") -> Any:
    with warnings.catch_warnings():
        # A map in pixel space is no fault: the scene has warned of it.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver=driver)


def reading_parts() -> dict[str, Any]:
    """GDAL's settings while it reads parts."""
    # Otherwise the folder of the parts, which may have a million, is listed for each part that is opened.
    return {"GDAL_CACHEMAX": COPY_CACHE, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}


def corrupted(path: Path) -> WriteError:
    return WriteError(f"{path}: reads back other pixels than were written; is the disk full or failing?")
