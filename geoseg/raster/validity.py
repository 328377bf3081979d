"""Which pixels of a raster are valid.

A pixel is valid where every selected band is. These mark a pixel of a band as invalid:

- its nodata value: the one given with --nodata, else the one that the file declares (`nodata_values`);
- the mask or the alpha band of the file;
- NaN or infinity, in bands of floats;
- a block of a TIFF that was never written. `Scene.read` excludes those without decoding them; see
  `geoseg.raster.tiff.Page.unwritten_pixels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import SettingError

_CUSTOMARY_NODATA = (-9999.0, -99999.0, -32768.0)
_IMPLAUSIBLE = -1e30
"""Below it lie only values such as the lowest float32, which stand for nodata."""


@dataclass(frozen=True)
class Validity:
    """What marks pixels of a raster as invalid.

    Attributes:
        nodata: Nodata value of each band of the file, as `nodata_values` returns it.
        given: The value of --nodata; None where the file's own values are used.
        alpha_is_data: Whether the alpha band is read like any other, and marks nothing.
    """

    nodata: tuple[float | None, ...]
    given: float | None
    alpha_is_data: bool

    def mask(self, file: Any, bands: Sequence[int], pixels: NDArray[Any], region: RasterioWindow) -> NDArray[np.bool_]:
        """Return which pixels are valid in all bands.

        Args:
            file: rasterio's dataset; its mask or alpha band is read.
            bands: Numbers of the bands, from 1.
            pixels: (bands, rows, cols) as they were read.
            region: Where they were read.

        Returns:
            bool (rows, cols), True where valid.
        """
        valid = np.ones(pixels.shape[1:], dtype=bool)
        for band, values in zip(bands, pixels, strict=True):
            flags, nodata = file.mask_flag_enums[band - 1], self.nodata[band - 1]
            # Where the file has a mask or alpha band, the nodata value that it declares does not count.
            counts = MaskFlags.nodata in flags or self.given == nodata
            if nodata is not None and not np.isnan(nodata) and counts:
                valid &= values != values.dtype.type(nodata)
            masked = MaskFlags.nodata not in flags and MaskFlags.all_valid not in flags
            if masked and band == bands[0] and not self.alpha_is_data:
                valid &= file.read_masks(band, window=region) != 0
            if values.dtype.kind == "f":
                valid &= np.isfinite(values)
        return valid

    def describe(self, file: Any, band: int) -> str:
        """Return what marks pixels of a band as invalid: 'alpha', 'mask', 'nodata VALUE', or 'none'."""
        flags, nodata = file.mask_flag_enums[band - 1], self.nodata[band - 1]
        if MaskFlags.alpha in flags:
            return "none" if self.alpha_is_data else "alpha"
        if MaskFlags.per_dataset in flags:
            return "mask"
        return "none" if nodata is None else f"nodata {nodata:g}"

    def suspicious_value(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> float | None:
        """Return a value among valid pixels that usually stands for nodata.

        Args:
            pixels: (bands, rows, cols).
            valid: (rows, cols).

        Returns:
            None where there is no such value, a nodata value is known, or pixels are integers.
        """
        if pixels.dtype.kind != "f" or any(value is not None for value in self.nodata):
            return None
        lowest = float(pixels.min(where=valid, initial=0))
        return lowest if lowest in _CUSTOMARY_NODATA or lowest < _IMPLAUSIBLE else None


def nodata_values(name: object, file: Any, given: float | None, remarks: list[str]) -> tuple[float | None, ...]:
    """Return the nodata value of each band of a file.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.
        given: The value of --nodata, for all bands; None takes what the file declares for each.
        remarks: Takes warnings for the user.

    Returns:
        None for a band that declares no value, or one that its type cannot hold.

    Raises:
        SettingError: The type of a band cannot hold `given`.
    """
    declared = file.nodatavals if given is None else (given,) * file.count
    usable = tuple(
        value if value is not None and _can_hold(dtype, value) else None
        for dtype, value in zip(file.dtypes, declared, strict=True)
    )
    ignored = next(
        (value for value, kept in zip(declared, usable, strict=True) if value is not None and kept is None), None
    )
    if ignored is not None and given is not None:
        raise SettingError(f"--nodata {given:g} is not a value of {file.dtypes[0]}, the type of {name}")
    if ignored is not None and not np.isnan(ignored):
        remarks.append(f"declares nodata {ignored:g}, which is not a value of {file.dtypes[0]} and marks no pixel")
    return usable


def has_alpha(file: Any, bands: Sequence[int]) -> bool:
    """Return whether one of `bands`, counted from 1, is tagged as alpha."""
    return any(file.colorinterp[band - 1] == ColorInterp.alpha for band in bands)


def _can_hold(kind: str, value: float) -> bool:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return bool(np.isnan(value) or abs(value) <= np.finfo(dtype).max)
    return bool(np.isfinite(value) and value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
