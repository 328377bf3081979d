"""What the header of an open raster says: its bands and what they are called, what marks invalid pixels, where it lies.

`file` is rasterio's, `name` what messages call it; bands count from 1. `remarks` takes what a user should hear of, in
sentences that go on from the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import transform as transforms
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from geoseg.errors import BandError, InputError, SettingError, first_line
from geoseg.raster.georeference import Georeference, GroundPoint

EVERY_BAND: tuple[int, ...] = ()
"""As `bands` of a Scene: all the file has, alpha too, for looking at rather than for computing."""

_KNOWN = {
    ColorInterp.red: "red",
    ColorInterp.green: "green",
    ColorInterp.blue: "blue",
    ColorInterp.gray: "gray",
    ColorInterp.alpha: "alpha",
}
_INKS = {ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black}


def palette_of(file: Any) -> NDArray[np.uint8] | None:
    """Return the colours (values, 3) of an image of one band with a palette; None for any other."""
    if file.count != 1 or file.colorinterp[0] != ColorInterp.palette:
        return None
    table = np.zeros((65536 if file.dtypes[0] == "uint16" else 256, 3), dtype=np.uint8)
    for value, colour in file.colormap(1).items():
        table[value] = colour[:3]
    return table


def select(name: object, file: Any, bands: Sequence[int] | None, palette: bool) -> tuple[int, ...]:
    """Return the bands to read: those chosen, else every one that is not alpha; of a palette image, its colours.

    Raises:
        BandError: a band that is not there, more than four and none chosen, or inks and none chosen.
    """
    if palette:
        return (1, 2, 3) if not bands else _existing(name, bands, 3, palette)
    count = int(file.count)
    if bands == EVERY_BAND:
        return tuple(range(1, count + 1))
    if bands is not None:
        return _existing(name, bands, count, palette)
    if len(_INKS & set(file.colorinterp)) > 2:
        raise BandError(f"{name}: has the inks cyan, magenta, yellow, black (CMYK); convert it to RGB first (cmyk2rgb)")
    colour = tuple(i for i in range(1, count + 1) if file.colorinterp[i - 1] != ColorInterp.alpha)
    if len(colour) > 4:
        raise BandError(
            f"{name}: has {len(colour)} bands ({', '.join(band_name(file, b) for b in colour)}); "
            f"choose those to use with --bands, for instance --bands 4,3,2"
        )
    return colour


def _existing(name: object, bands: Sequence[int], count: int, palette: bool) -> tuple[int, ...]:
    unknown = [band for band in bands if not 1 <= band <= count]
    if unknown:
        raise BandError(f"{name}: has bands 1 to {count}; there is no band {unknown[0]}")
    if palette and tuple(bands) != (1, 2, 3):
        raise BandError(f"{name}: is a palette image, read as red, green, blue: leave --bands out")
    return tuple(bands)


def band_name(file: Any, band: int) -> str:
    """Return a band's colour or description, else 'band N'."""
    described, interpreted = file.descriptions[band - 1], file.colorinterp[band - 1]
    if interpreted in _KNOWN and not (interpreted == ColorInterp.gray and file.count > 1):
        return _KNOWN[interpreted]
    return str(described) if described else f"band {band}"


def nodata_of(name: object, file: Any, given: float | None, remarks: list[str]) -> tuple[float | None, ...]:
    """Return the nodata value of each band of the file, `given` or declared; None where no value of its type is it.

    Raises:
        SettingError: `given` is no value of the bands' type.
    """
    declared = file.nodatavals if given is None else (given,) * file.count
    found = tuple(
        value if value is not None and _holds(kind, value) else None
        for kind, value in zip(file.dtypes, declared, strict=True)
    )
    lost = next(
        (value for value, kept in zip(declared, found, strict=True) if value is not None and kept is None), None
    )
    if lost is not None and given is not None:
        raise SettingError(f"--nodata {given:g} is no value of {file.dtypes[0]}, the type of {name}")
    if lost is not None and not np.isnan(lost):
        remarks.append(f"declares nodata {lost:g}, which no {file.dtypes[0]} is; nothing is nodata by it")
    return found


def _holds(kind: str, value: float) -> bool:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return bool(np.isnan(value) or abs(value) <= np.finfo(dtype).max)
    return bool(np.isfinite(value) and value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


def is_scaled(file: Any) -> bool:
    """Return whether the file declares a scale or an offset for its values."""
    return any(scale != 1 for scale in file.scales) or any(offset != 0 for offset in file.offsets)


def georeference_of(name: object, file: Any, assume_crs: str | None, remarks: list[str]) -> Georeference:
    """Return where the raster lies, and remark on what is missing.

    Raises:
        InputError: a geotransform by which pixels have no size. SettingError: `assume_crs` is no CRS.
    """
    crs, transform = file.crs, file.transform
    if not np.isfinite(list(transform)[:6]).all() or transform.determinant == 0:
        raise InputError(f"{name}: degenerate geotransform {tuple(transform)[:6]}; pixels have no size")
    if not crs and assume_crs is not None:
        try:
            crs = CRS.from_user_input(assume_crs)
        except (CRSError, ValueError) as error:
            raise SettingError(f"--assume-crs {assume_crs!r} is no CRS ({first_line(error)})") from error
    if transform == transforms.IDENTITY:
        points, points_crs = file.gcps
        rpcs = tuple(sorted(file.tags(ns="RPC").items()))
        if points or rpcs:
            told = "ground control points" if points else "rational polynomials (RPC)"
            remarks.append(f"is placed by {told} only, which the output keeps; gdalwarp rectifies it")
            ground = tuple(GroundPoint(p.row, p.col, p.x, p.y, p.z or 0.0) for p in points)
            return Georeference(None, transform, ground, points_crs.to_wkt() if points_crs else "", rpcs)
        if crs:
            remarks.append("has a CRS but no geotransform; taken as pixel space")
            return Georeference(None, transform)
    if not crs:
        remarks.append("has no CRS; the output has none either (--assume-crs sets one)")
    return Georeference(crs if crs else None, transform)
