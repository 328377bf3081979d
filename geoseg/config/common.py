"""Settings that several commands share: how rasters are opened, and checks of bands, blocks and threads."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from geoseg.bands import Bands
from geoseg.config.types import check_types
from geoseg.errors import SettingError
from geoseg.recipes import check_range

Precision = Literal["auto", "bfloat16", "float32"]


def check_bands(bands: Bands | None) -> None:
    """Raise SettingError unless `bands` are names or numbers of at least 1 and there is one; None is allowed."""
    if bands is not None and (
        not bands or any(not band.strip() if isinstance(band, str) else band < 1 for band in bands)
    ):
        raise SettingError(f"bands {bands} must be band numbers, counted from 1, or names")


def check_blocks(block_size: int, workers: int | None) -> None:
    """Raise SettingError unless `block_size` is a multiple of 512 in 512..65536 and `workers` is in 1..1024 or None."""
    check_range("block size", block_size, 512, 65536)
    if block_size % 512:
        raise SettingError(f"block size is {block_size}; it must be a multiple of 512")
    if workers is not None:
        check_range("workers", workers, 1, 1024)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Which rasters may be opened, and how. Every command that reads rasters has these settings.

    Attributes:
        allow_vrt: Accept GDAL's virtual rasters whose sources are in the same folder or below it.
        allow_remote: Accept URLs, cloud storage and archives.
        max_pixels: Largest number of pixels in a page. The default, a thousand gigapixels, is more than most surveys.
        page: Page of a TIFF with several, counted from 1; None reads the first one and warns that there are more.
        nodata: Value of invalid pixels; None uses the value that the file declares.
    """

    allow_vrt: bool = False
    allow_remote: bool = False
    max_pixels: int = 2**40
    page: int | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_range("max pixels", self.max_pixels, 1, 2**62)
        if self.page is not None:
            check_range("page", self.page, 1, 2**16)

    @property
    def auxiliary(self) -> Opening:
        """The settings for a second raster, such as labels or confidence: `page` and `nodata` do not apply to it."""
        return Opening(allow_vrt=self.allow_vrt, allow_remote=self.allow_remote, max_pixels=self.max_pixels)


def opening_of(config: Opening) -> dict[str, Any]:
    """Return the fields of `Opening` in `config` by name, as arguments of another configuration."""
    return {entry.name: getattr(config, entry.name) for entry in fields(Opening)}
