"""Whether two rasters lie on one lattice of pixels, and what both of them cover."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference, authority_code, crs_name, same_horizontal_crs
from geoseg.raster.scene import Scene

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_MAX_OFFSET = 0.01
"""Pixels by which the corners of one raster may lie off the lattice of the other."""

_MAX_SHIFT = 0.5 + _MAX_OFFSET
"""The same where the nearest pixels will do: a shift of half a pixel, but not another size of pixels."""


def common_windows(old: Scene, new: Scene, snap: bool = False) -> tuple[Window, Window, float]:
    """Return the pixels that two rasters share.

    Args:
        old: A raster.
        new: Another one.
        snap: Take the nearest pixels where those of both are of one size, but shifted by part of a pixel.

    Returns:
        A window of each, of the same size, and by how many pixels they are apart at most; 0 for next to nothing.

    Raises:
        InputError: The rasters have another CRS or lie on another lattice of pixels, or do not overlap.
    """
    one, other = old.georeference, new.georeference
    if any((one.points, other.points, one.rpcs, other.rpcs, not _placed(one), not _placed(other))):
        # Pixels in pixel space are the same ones where nothing says otherwise.
        if (one, old.shape) == (other, new.shape):
            return old.extent, new.extent, 0.0
        raise InputError(
            f"{new.path}: does not have the position and size of {old.path}, and without a georeference in both "
            "nothing says which pixels are the same; map both dates from georeferenced scenes"
        )
    if bool(one.crs) != bool(other.crs):
        raise InputError(f"{(new if one.crs else old).path}: has no CRS, but the other map has one; give --assume-crs")
    if not same_horizontal_crs(one.crs, other.crs):
        names = f"is in {crs_name(other.crs)}, {old.path} in {crs_name(one.crs)}"
        raise InputError(f"{new.path}: {names}; {_remedy(old, new)}")
    shift = ~one.transform @ other.transform
    row, col = round(shift.f), round(shift.c)
    placed = Window.of(row, col, *new.shape)
    moved = [(shift @ corner, corner) for corner in ((0, 0), (new.shape[1], 0), (0, new.shape[0]))]
    off = max(max(abs(x - across - col), abs(y - down - row)) for (x, y), (across, down) in moved)
    if off > (_MAX_SHIFT if snap else _MAX_OFFSET):
        if off <= _MAX_SHIFT:
            raise InputError(
                f"{new.path}: its pixels lie {off:.2f} of a pixel off those of {old.path}; --snap compares the nearest "
                f"ones, or {_remedy(old, new)}"
            )
        raise InputError(f"{new.path}: its pixels are not those of {old.path}; {_remedy(old, new)}")
    common = placed.intersect(old.extent)
    if not common.pixels:
        raise InputError(f"{new.path}: does not overlap {old.path}; give two maps of one place")
    return (
        common,
        Window.of(common.rows.start - row, common.cols.start - col, *common.shape),
        off if off > _MAX_OFFSET else 0.0,
    )


def _placed(georeference: Georeference) -> bool:
    return georeference.crs is not None or not georeference.transform.is_identity


def _remedy(old: Scene, new: Scene) -> str:
    """How to bring one map onto the pixels of the other."""
    place = old.georeference
    t = place.transform
    if t.b or t.d or t.a < 0 or t.e > 0:
        return (
            f"the lattice of {old.path.name} is rotated or flipped, which no warp makes: bring both scenes onto one "
            "north-up lattice (gdalwarp), and map them again"
        )
    bounds = " ".join(map(repr, place.bounds(old.extent)))
    rows, cols = old.shape
    target = ""
    if not same_horizontal_crs(place.crs, new.georeference.crs):
        code = None
        with suppress(pyproj.exceptions.CRSError):
            code = authority_code(pyproj.CRS.from_wkt(place.crs.to_wkt()))
        if code is None:
            return (
                f"map the scene of {new.path.name} again, after gdalwarp to the CRS and the pixels of {old.path.name}"
            )
        target = f" -t_srs {':'.join(code)}"
    name = f"{new.path.stem}-aligned.tif"
    if isinstance(new.path, Path):
        name = str(new.path.with_name(name))
    command = f"gdalwarp -r near{target} -te {bounds} -ts {cols} {rows}"
    return f"bring it onto them: {command} {shlex.quote(str(new.path))} {shlex.quote(name)}"
