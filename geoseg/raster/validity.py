"""Which pixels of a raster are valid: the one rule, for scenes, class rasters, confidences and labels.

A pixel is valid where every mark of the raster says so:

- the nodata value of each band that is read: the one given with --nodata, else the one that the file declares;
- NODATA_VALUES, a colour that stands for nodata: a pixel is invalid where all bands of the file have their value of it.
  It stands in place of nodata values that only repeat it, as GDAL makes them of a PNG with a transparent colour;
- every mask, inside the file and beside it (`geoseg.raster.masks`);
- every band tagged alpha that was not chosen as data: 0 and NaN are invalid;
- the transparent entries of a palette;
- NaN and infinity, in bands of floats that are read;
- a block of a TIFF that was never written. `Scene.read` excludes those without decoding them; see
  `geoseg.raster.tiff.Page.unwritten_pixels`.

GDAL lets the first of mask, NODATA_VALUES, nodata value and alpha hide the others; here none does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import SettingError
from geoseg.raster.masks import MaskBand, MaskFile, masks_shown, masks_stored
from geoseg.raster.palette import colours_of

_CUSTOMARY_NODATA = (-9999.0, -99999.0, -32768.0)
_IMPLAUSIBLE = -1e30
"""Below it lie only values such as the lowest float32, which stand for nodata."""
_EXACT = 2.0**53
"""Integers from here on may be no float, as which rasterio returns nodata values."""


@dataclass(frozen=True, eq=False)
class Validity:
    """What marks pixels of a raster as invalid.

    Attributes:
        file: rasterio's dataset.
        bands: The bands that are read as data, from 1.
        nodata: Nodata value of each band of the file that counts for itself.
        key: NODATA_VALUES, a value for each band of the file; None where it marks nothing.
        masks: Masks of the bands.
        exact: Band -> the mask of its nodata value, which is compared by GDAL as no float may represent it.
        alphas: The bands that are alpha.
        transparent: Band of `bands` -> values that are transparent in its palette.
    """

    file: Any
    bands: tuple[int, ...]
    nodata: tuple[float | None, ...]
    key: tuple[float, ...] | None
    masks: tuple[MaskBand, ...]
    exact: Mapping[int, MaskBand]
    alphas: tuple[int, ...]
    transparent: Mapping[int, NDArray[Any]]

    def mask(
        self,
        pixels: Mapping[int, NDArray[Any]],
        region: RasterioWindow,
        look: Callable[[int, NDArray[Any]], None] | None = None,
    ) -> NDArray[np.bool_]:
        """Return which pixels are valid; masks and alpha bands are read for it.

        Args:
            pixels: Band of the file -> (rows, cols) as they were read; all of `bands` are there.
            region: Where they were read.
            look: Is shown each alpha band, with its number.

        Returns:
            bool (rows, cols), True where valid.
        """

        def values_of(band: int) -> NDArray[Any]:
            return pixels[band] if band in pixels else self.file.read(band, window=region)

        valid = np.ones(pixels[self.bands[0]].shape, dtype=bool)
        for band in dict.fromkeys(self.bands):
            values, nodata = pixels[band], self.nodata[band - 1]
            if band in self.exact:
                valid &= self.exact[band].read(region)
            elif nodata is not None and not np.isnan(nodata):
                valid &= values != values.dtype.type(nodata)
            if band in self.transparent:
                valid &= ~np.isin(values, self.transparent[band])
            if values.dtype.kind == "f":
                valid &= np.isfinite(values)
        if self.key is not None:
            valid &= ~_equals_key([values_of(band) for band in range(1, len(self.key) + 1)], self.key)
        for mask in self.masks:
            valid &= mask.read(region)
        for band in self.alphas:
            alpha = values_of(band)
            valid &= (alpha != 0) if alpha.dtype.kind != "f" else (alpha != 0) & ~np.isnan(alpha)
            if look is not None:
                look(band, alpha)
        return valid

    def describe(self) -> str:
        """Return all that marks pixels as invalid, such as 'nodata 0, mask, alpha'; 'none' where nothing does."""
        nodata = {band: self.nodata[band - 1] for band in self.bands}
        values = {
            band: "nodata" if value is None else f"nodata {value:g}"
            for band, value in nodata.items()
            if value is not None or band in self.exact
        }
        marks = [*dict.fromkeys(values.values())]
        if len(marks) > 1 or len(values) < len(nodata):
            marks = [f"{value} (band {band})" for band, value in values.items()]
        if self.key is not None:
            marks.append("nodata values " + " ".join(f"{value:g}" for value in self.key))
        found = {"mask": self.masks, "transparent palette entries": self.transparent, "alpha": self.alphas}
        return ", ".join([*marks, *(name for name, marking in found.items() if marking)]) or "none"

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


def find_marks(
    name: object,
    file: Any,
    bands: Sequence[int],
    given: float | None,
    remarks: list[str],
    *,
    alpha_is_data: bool = False,
    shows_masks: bool = True,
    mask_files: Sequence[MaskFile] = (),
) -> Validity:
    """Find out what marks pixels of an open raster as invalid.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.
        bands: The bands that are read as they are stored, from 1.
        given: The value of --nodata, in place of all values that the file declares.
        remarks: Takes warnings for the user.
        alpha_is_data: Whether alpha bands among `bands` are data; else they are marks, like all others.
        shows_masks: Whether the masks that GDAL shows belong to the raster.
        mask_files: Mask files of the raster, open for reading.

    Raises:
        SettingError: The type of a band cannot hold `given`.
    """
    tagged = [band for band in range(1, file.count + 1) if file.colorinterp[band - 1] == ColorInterp.alpha]
    alphas = tuple(band for band in tagged if not (alpha_is_data and band in bands))
    data = tuple(band for band in bands if band not in alphas)
    nodata = nodata_values(name, file, data, given, remarks)
    key = None if given is not None else _colour_key(file, remarks)
    if key is not None:
        repeated = [{key[band], key[0]} for band in range(file.count)]
        nodata = tuple(
            None if value in key_values else value for value, key_values in zip(nodata, repeated, strict=True)
        )
    masks = [*(masks_shown(file, data) if shows_masks else ())]
    for mask_file in mask_files:
        found = [*masks_stored(mask_file, file.count, data)]
        if mask_file.kind == "beside" and not any(masks_stored(mask_file, file.count, range(1, file.count + 1))):
            remarks.append("has a mask beside it that marks no pixel, as it has no INTERNAL_MASK_FLAGS for GDAL")
        masks += found
    exact = {band: MaskBand(file, band) for band in data if given is None and _is_inexact(file, band)}
    return Validity(file, data, nodata, key, tuple(masks), exact, alphas, _transparent(file, data, nodata, given))


def nodata_values(
    name: object, file: Any, bands: Sequence[int], given: float | None, remarks: list[str]
) -> tuple[float | None, ...]:
    """Return the nodata value of each band of a file.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.
        bands: The bands that are read as data, from 1.
        given: The value of --nodata, for all bands; None takes what the file declares for each.
        remarks: Takes warnings for the user.

    Returns:
        None for a band that is no data, that declares no value, or one that its type cannot hold.

    Raises:
        SettingError: The type of a band cannot hold `given`.
    """
    declared = file.nodatavals if given is None else (given,) * file.count
    usable = [value if band in bands else None for band, value in enumerate(declared, start=1)]
    for band in bands:
        value, dtype = declared[band - 1], file.dtypes[band - 1]
        if value is None or _can_hold(dtype, value):
            continue
        if given is not None:
            raise SettingError(f"--nodata {given:g} is not a value of {dtype}, the type of {name}")
        remark = f"declares nodata {value:g}, which is not a value of {dtype} and marks no pixel"
        if not np.isnan(value) and remark not in remarks:
            remarks.append(remark)
        usable[band - 1] = None
    return tuple(usable)


def _colour_key(file: Any, remarks: list[str]) -> tuple[float, ...] | None:
    """The value of each band that together stand for nodata, by GDAL's metadata item NODATA_VALUES."""
    text = file.tags().get("NODATA_VALUES")
    if text is None:
        return None
    try:
        key = tuple(float(value) for value in text.split())
    except ValueError:
        key = ()
    if len(key) == file.count and all(_can_hold(dtype, value) for dtype, value in zip(file.dtypes, key, strict=True)):
        return key
    remarks.append(f"declares NODATA_VALUES {text[:60]!r}, not one value for each of its bands; they mark no pixel")
    return None


def _equals_key(pixels: Sequence[NDArray[Any]], key: Sequence[float]) -> NDArray[np.bool_]:
    equal = np.ones(pixels[0].shape, dtype=bool)
    for values, value in zip(pixels, key, strict=True):
        equal &= np.isnan(values) if np.isnan(value) else values == values.dtype.type(value)
    return equal


def _is_inexact(file: Any, band: int) -> bool:
    """Whether GDAL knows a nodata value of 64-bit integers that rasterio rounds, or does not return."""
    value, flags = file.nodatavals[band - 1], file.mask_flag_enums[band - 1]
    wide = file.dtypes[band - 1] in ("int64", "uint64")
    return wide and flags == [MaskFlags.nodata] and (value is None or abs(value) >= _EXACT)


def _transparent(
    file: Any, bands: Sequence[int], nodata: Sequence[float | None], given: float | None
) -> dict[int, NDArray[Any]]:
    """Band -> the transparent values of its palette, apart from its nodata value."""
    found = {}
    for band in bands:
        marked = {nodata[band - 1]}
        if file.driver == "GTiff" and given is not None:
            # A TIFF holds no transparency: GDAL shows the declared nodata value so, in place of which one is given.
            marked.add(file.nodatavals[band - 1])
        values = [value for value, colour in colours_of(file, band).items() if colour[3] == 0 and value not in marked]
        if values:
            found[band] = np.array(values)
    return found


def _can_hold(kind: str, value: float) -> bool:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return bool(np.isnan(value) or abs(value) <= np.finfo(dtype).max)
    return bool(np.isfinite(value) and value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
