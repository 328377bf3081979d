"""Whether the compression of a raster alters its values, which is harmless in imagery and ruins ids of classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from geoseg.errors import InputError
from geoseg.raster.guards import raster_driver
from geoseg.raster.sidecars import SIDECAR_SUFFIXES

_MAX_SOURCES = 64
"""Files of a VRT that are looked at; those of a mosaic are usually written in one way."""

_LOSSLESS_LERC_ERROR = 1.0
"""LERC rounds the permitted error of integers down to a whole number, so below this one they stay as they are."""


def lossy_codec(file: Any, sources: Iterable[Path] = ()) -> str | None:
    """Return the name of the compression that altered the integers of a raster, such as "JPEG".

    Args:
        file: rasterio's dataset.
        sources: The files that a VRT consists of; those that are no rasters are passed over.

    Returns:
        None where compression is lossless, or does not say that it is not.
    """
    tags = file.tags(ns="IMAGE_STRUCTURE")
    codec = str(tags.get("COMPRESSION", file.driver)).removesuffix("OpenJPEG")
    if "JPEG" in codec and "2000" not in codec:
        return "JPEG"
    if tags.get("COMPRESSION_REVERSIBILITY") == "LOSSY":
        return {"JP2": "JPEG 2000"}.get(codec, codec)
    if _number(tags.get("MAX_Z_ERROR")) >= _LOSSLESS_LERC_ERROR:
        return f"{codec}, MAX_Z_ERROR {tags['MAX_Z_ERROR']}"
    return next(_lossy_sources(sources), None) if file.driver == "VRT" else None


def require_lossless(name: object, codec: str | None, values: str) -> None:
    """Refuse a raster whose compression altered its ids.

    Args:
        name: What the message calls the raster.
        codec: From `lossy_codec`.
        values: What the raster holds, such as "class ids".

    Raises:
        InputError: There is such a codec.
    """
    if codec is not None:
        raise InputError(
            f"{name}: is compressed with loss ({codec}), which altered its {values}; write it again from the original, "
            "without loss (gdal_translate -co COMPRESS=DEFLATE)"
        )


def _lossy_sources(paths: Iterable[Path]) -> Iterator[str]:
    rasters = [path for path in paths if not path.name.endswith(SIDECAR_SUFFIXES)][: _MAX_SOURCES + 1]
    for path in rasters:
        with suppress(InputError, RasterioError):
            driver = raster_driver(path, allow_vrt=True)
            if driver != "VRT":
                with rasterio.open(path, driver=driver, sharing=False) as file:
                    codec = lossy_codec(file)
                if codec is not None:
                    yield codec


def _number(text: str | None) -> float:
    with suppress(TypeError, ValueError):
        return float(text or 0)
    return 0.0
