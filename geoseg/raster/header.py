"""What the header of an open raster says: its bands and their names, and its georeference.

`file` is rasterio's dataset and `name` what messages call it; bands count from 1. `remarks` collects warnings for the
user, as sentences whose subject is the raster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio import transform as transforms
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from geoseg.bands import advise_bands, band_list, find_bands, read_name
from geoseg.errors import BandError, InputError, SettingError, first_line
from geoseg.raster.epoch import coordinate_epoch
from geoseg.raster.georeference import Georeference, GroundPoint

EVERY_BAND: tuple[int, ...] = ()
"""As `bands` of a Scene: all bands of the file, alpha too, for inspecting a raster, not for computing with it."""

NO_CRS = "has no CRS, and neither has what is made from it (--assume-crs sets one)"
"""The remark on a raster without a CRS; of no use where nothing is made from it."""

_MAX_DEFAULT_BANDS = 4
"""Of a raster with more bands, those to use have to be chosen."""

_NAMES = {
    "red": "red", "green": "green", "blue": "blue", "gray": "gray", "grey": "gray", "alpha": "alpha",
    "yellow": "yellow", "pan": "pan", "coastal": "coastal", "rededge": "red edge", "nir": "nir", "swir": "swir",
    "mwir": "mwir", "lwir": "thermal", "tir": "thermal",
}  # fmt: skip
"""GDAL's colour interpretation -> what we call it; older releases lack the infrared ones."""

_CMYK = {ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black}


def select_bands(name: object, file: Any, bands: Sequence[int | str] | None, has_palette: bool) -> tuple[int, ...]:
    """Return the numbers of the bands to read.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.
        bands: Those the user chose, by number or name; EVERY_BAND for all; None for all but alpha.
        has_palette: Whether the raster is read as the three colours of its palette.

    Raises:
        BandError: A band does not exist, or its name fits several; or none were chosen, and the raster has more than
            four or is CMYK.
    """
    if has_palette:
        return (
            _check_bands(name, _numbers(name, bands, ("red", "green", "blue")), 3, has_palette) if bands else (1, 2, 3)
        )
    count = int(file.count)
    if bands == EVERY_BAND:
        return tuple(range(1, count + 1))
    if bands is not None:
        return _check_bands(name, _numbers(name, bands, band_names(file)), count, has_palette)
    if len(_CMYK & set(file.colorinterp)) > 2:
        raise BandError(f"{name}: has the bands cyan, magenta, yellow, black (CMYK); convert it to RGB first")
    selected = tuple(i for i in range(1, count + 1) if file.colorinterp[i - 1] != ColorInterp.alpha)
    if not selected:
        raise BandError(f"{name}: has no band but alpha; if that is data, choose it with --bands {count}")
    if len(selected) > _MAX_DEFAULT_BANDS:
        names = [band_name(file, band) for band in selected]
        advice = advise_bands(("red", "green", "blue"), names)
        raise BandError(
            f"{name}: has {len(selected)} bands ({band_list(names)}); "
            "choose those to use with --bands, by number or name"
            + (f", for instance --bands {advice}" if advice else "")
        )
    return selected


def _numbers(name: object, bands: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Numbers of bands, which may be given by name, of a raster with these names."""
    numbers = []
    for band in bands:
        found = find_bands(band, names) if isinstance(band, str) else [int(band) - 1]
        if not found:
            raise BandError(f"{name}: has no band called {band!r}; its bands are {band_list(names)}")
        if len(found) > 1:
            several = ", ".join(f"{i + 1} ({names[i]})" for i in found)
            raise BandError(f"{name}: {band!r} fits the bands {several}; choose by number or full name")
        numbers.append(found[0] + 1)
    return numbers


def _check_bands(name: object, bands: Sequence[int], count: int, has_palette: bool) -> tuple[int, ...]:
    unknown = [band for band in bands if not 1 <= band <= count]
    if unknown:
        raise BandError(f"{name}: has bands 1 to {count}; there is no band {unknown[0]}")
    if has_palette and tuple(bands) != (1, 2, 3):
        raise BandError(f"{name}: is a palette image, read as red, green, blue: leave --bands out")
    return tuple(bands)


def check_types(name: object, file: Any, bands: Sequence[int]) -> None:
    """Raise InputError where some of `bands` are of different types."""
    kinds = dict.fromkeys(file.dtypes[band - 1] for band in bands)
    if len(kinds) > 1:
        raise InputError(f"{name}: has bands of different types ({', '.join(kinds)})")


def band_name(file: Any, band: int) -> str:
    """Return a band's colour or description, else 'band N'; the description where it contradicts the colour."""
    description, interpretation = file.descriptions[band - 1], file.colorinterp[band - 1]
    colour = _NAMES.get(interpretation.name)
    if colour is None or (colour == "gray" and file.count > 1):
        return str(description) if description else f"band {band}"
    # Writers tag the first three bands red, green and blue unasked; a description is there on purpose.
    described = read_name(str(description or "")).meaning
    return str(description) if described and described != colour and colour not in ("gray", "alpha") else colour


def band_names(file: Any) -> list[str]:
    """Return the names of all bands of a file, as `band_name` has them."""
    return [band_name(file, band) for band in range(1, file.count + 1)]


def is_scaled(file: Any) -> bool:
    """Return whether the file declares a scale or an offset for its values."""
    return any(scale != 1 for scale in file.scales) or any(offset != 0 for offset in file.offsets)


def read_georeference(name: object, file: Any, assume_crs: str | None, remarks: list[str]) -> Georeference:
    """Return the georeference of a raster, and remark on what it lacks.

    Args:
        name: What messages call the raster.
        file: rasterio's dataset.
        assume_crs: CRS of a raster that has none, in any form that rasterio's CRS.from_user_input takes.
        remarks: Takes warnings for the user.

    Raises:
        InputError: By its geotransform, pixels have no area.
        SettingError: `assume_crs` is not a CRS.
    """
    crs, transform = file.crs, file.transform
    if not np.isfinite(list(transform)[:6]).all() or transform.determinant == 0:
        raise InputError(f"{name}: has a degenerate geotransform {tuple(transform)[:6]}; its pixels have no area")
    if not crs and assume_crs is not None:
        try:
            crs = CRS.from_user_input(assume_crs)
        except (CRSError, ValueError) as error:
            raise SettingError(f"--assume-crs {assume_crs!r} is not a CRS ({first_line(error)})") from error
    if transform == transforms.IDENTITY:
        points, points_crs = file.gcps
        rpcs = tuple(sorted(file.tags(ns="RPC").items()))
        if points or rpcs:
            kind = "ground control points" if points else "rational polynomials (RPC)"
            remarks.append(f"is georeferenced by {kind} only, which the output keeps; gdalwarp rectifies it")
            ground = tuple(GroundPoint(p.row, p.col, p.x, p.y, p.z or 0.0) for p in points)
            return Georeference(None, transform, ground, points_crs.to_wkt() if points_crs else "", rpcs)
        if crs:
            remarks.append("has a CRS but no geotransform; treated as pixel space")
            return Georeference(None, transform)
    if not crs:
        remarks.append(NO_CRS)
    return Georeference(crs if crs else None, transform, epoch=coordinate_epoch(file) if file.crs else None)
