"""Where pixels lie: a CRS and an affine transform, kept exactly as they were read."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from affine import Affine

from geoseg.errors import InputError
from geoseg.grid import Span, Window
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_SAME_CRS_CONFIDENCE = 70
"""Per cent from which on PROJ's guess of a code counts: all but names agree."""


class GroundPoint(NamedTuple):
    """A ground control point: the pixel position (row, col) lies at (x, y, z)."""

    row: float
    col: float
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Georeference:
    """The position of a raster: a CRS and the affine transform from pixel (col, row) to CRS coordinates (x, y).

    Imagery that has not been rectified has ground control points or rational polynomials instead. Its pixels are in
    pixel space; points and polynomials are only passed on to outputs.

    Attributes:
        crs: rasterio's CRS as it was read, never replaced by an EPSG code; None means pixel space.
        transform: The affine transform.
        points: Ground control points.
        points_wkt: WKT of the CRS of the points; empty where there is none.
        rpcs: Rational polynomial coefficients as (name, value), spelled as GDAL spells them.
        epoch: Coordinate epoch of a dynamic CRS, in decimal years; None where there is none.
    """

    crs: Any
    transform: Any
    points: tuple[GroundPoint, ...] = ()
    points_wkt: str = ""
    rpcs: tuple[tuple[str, str], ...] = ()
    epoch: float | None = None

    @property
    def wkt(self) -> str | None:
        """WKT of the CRS, in the form it is written with; None in pixel space."""
        return str(self.crs.to_wkt()) if self.crs else None

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of one step in (row, col), in units of the CRS."""
        t = self.transform
        return math.hypot(t.b, t.e), math.hypot(t.a, t.d)

    def shifted(self, window: Window) -> Georeference:
        """Return the georeference of the part of the raster that `window` covers."""
        row, col = window.rows.start, window.cols.start
        offsets = {"LINE_OFF": row, "SAMP_OFF": col}
        return Georeference(
            self.crs,
            self.transform if self.points or self.rpcs else self.transform @ Affine.translation(col, row),
            tuple(point._replace(row=point.row - row, col=point.col - col) for point in self.points),
            self.points_wkt,
            tuple((k, repr(float(v) - offsets[k]) if offsets.get(k) else v) for k, v in self.rpcs),
            self.epoch,
        )

    def bounds(self, window: Window) -> tuple[float, float, float, float]:
        """Return (left, bottom, right, top) of the four corners of `window`, in the CRS."""
        corners = [
            self.transform @ (x, y)
            for x in (window.cols.start, window.cols.stop)
            for y in (window.rows.start, window.rows.stop)
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the window of all pixels that touch a rectangle.

        Args:
            bounds: (left, bottom, right, top) in the CRS.

        Returns:
            The window; it may reach beyond the raster.
        """
        left, bottom, right, top = bounds
        inverse = ~self.transform
        corners = [inverse @ (x, y) for x in (left, right) for y in (bottom, top)]
        cols, rows = zip(*corners, strict=True)
        return Window(_pixel_span(rows), _pixel_span(cols))


def require_rectified(name: object, georeference: Georeference) -> None:
    """Refuse imagery whose outlines cannot be placed on the ground.

    Args:
        name: What the message calls the raster.
        georeference: Of the raster.

    Raises:
        InputError: Only ground control points or RPCs place the raster.
    """
    if georeference.points or georeference.rpcs:
        raise InputError(
            f"{name}: is georeferenced by ground control points or RPCs only, so its polygons would have no position; "
            f"rectify it: gdalwarp {name} rectified.tif"
        )


def authority_code(crs: pyproj.CRS) -> tuple[str, str] | None:
    """Return the authority and code that a CRS carries, such as ("EPSG", "32633").

    Returns:
        None where the CRS carries no code, or one that stands for another CRS.
    """
    code = crs.to_json_dict().get("id")
    if code is not None:
        with suppress(pyproj.exceptions.CRSError):
            if pyproj.CRS.from_authority(code["authority"], code["code"]).equals(crs, ignore_axis_order=True):
                return str(code["authority"]), str(code["code"])
    return None


def same_horizontal_crs(one: Any, other: Any) -> bool:
    """Return whether coordinates (x, y) mean the same in two of rasterio's CRS.

    Heights play no part, nor does the order of axes, a name, or a shift to WGS 84 that one of them carries along.

    Args:
        one: A CRS; None where there is none, which contradicts nothing.
        other: Likewise.
    """
    if not one or not other or one == other:
        return True
    try:
        flat = [_horizontal(pyproj.CRS.from_wkt(crs.to_wkt())) for crs in (one, other)]
        # WKT 1 has no order of axes to differ in, and turns the names of Esri's WKT into those of EPSG.
        plain = [pyproj.CRS.from_wkt(crs.to_wkt("WKT1_GDAL")) for crs in flat]
        if plain[0].equals(plain[1], ignore_axis_order=True):
            return True
        codes = [crs.to_authority(min_confidence=_SAME_CRS_CONFIDENCE) for crs in flat]
    except pyproj.exceptions.CRSError:
        return False
    return codes[0] is not None and codes[0] == codes[1]


def crs_name(crs: Any) -> str:
    """Return the name of rasterio's CRS as users know it, with its code if it carries one."""
    try:
        found = pyproj.CRS.from_wkt(crs.to_wkt())
        code = authority_code(found)
    except pyproj.exceptions.CRSError:
        return "a CRS of its own"
    return f"{found.name} ({':'.join(code)})" if code else str(found.name)


def _horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """The horizontal part of a CRS, without heights and without a bound transformation."""
    while crs.is_compound or crs.is_bound:
        part = crs.sub_crs_list[0] if crs.is_compound else crs.source_crs
        if part is None:
            return crs
        crs = part
    return crs.to_2d()


def _pixel_span(positions: tuple[float, ...]) -> Span:
    """The whole pixels between the extreme positions."""
    # Bounds from metadata are rounded: they may reach a millionth of a pixel into the next one.
    start = math.floor(min(positions) + 1e-6)
    return Span(start, max(start, math.ceil(max(positions) - 1e-6)))
