"""Where pixels lie: a CRS and an affine transform, kept exactly as they were read."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyproj
from affine import Affine

from geoseg.errors import InputError
from geoseg.grid import Span, Window


class GroundPoint(NamedTuple):
    """A ground control point: the pixel (row, col) lies at (x, y, z)."""

    row: float
    col: float
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Georeference:
    """Where pixels lie: `crs` as it was read (None: pixel space) and the affine pixel -> CRS transform.

    `wkt` is the CRS in the form it is written with; it never passes through an EPSG code.

    points, rpcs: of imagery that is not rectified, ground control points with the WKT of their CRS, and rational
    polynomials (name, value) as GDAL has them. Its pixels are in pixel space; these are passed on.
    """

    crs: Any
    transform: Any
    points: tuple[GroundPoint, ...] = ()
    points_wkt: str = ""
    rpcs: tuple[tuple[str, str], ...] = ()

    @property
    def wkt(self) -> str | None:
        """WKT of the CRS, None in pixel space."""
        return str(self.crs.to_wkt()) if self.crs else None

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's (row, col) step in units of the CRS."""
        t = self.transform
        return math.hypot(t.b, t.e), math.hypot(t.a, t.d)

    def shifted(self, window: Window) -> Georeference:
        """Return the georeference of the part of the scene in `window`."""
        row, col = window.rows.start, window.cols.start
        offsets = {"LINE_OFF": row, "SAMP_OFF": col}
        return Georeference(
            self.crs,
            self.transform if self.points or self.rpcs else self.transform @ Affine.translation(col, row),
            tuple(point._replace(row=point.row - row, col=point.col - col) for point in self.points),
            self.points_wkt,
            tuple((k, repr(float(v) - offsets[k]) if offsets.get(k) else v) for k, v in self.rpcs),
        )

    def bounds(self, window: Window) -> tuple[float, float, float, float]:
        """Return (left, bottom, right, top) of all four corners of `window`, in the CRS."""
        corners = [
            self.transform @ (x, y)
            for x in (window.cols.start, window.cols.stop)
            for y in (window.rows.start, window.rows.stop)
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the pixels that touch the rectangle `bounds` (left, bottom, right, top in the CRS)."""
        left, bottom, right, top = bounds
        inverse = ~self.transform
        corners = [inverse @ (x, y) for x in (left, right) for y in (bottom, top)]
        cols, rows = zip(*corners, strict=True)
        return Window(_pixels(rows), _pixels(cols))


def require_rectified(name: object, georeference: Georeference) -> None:
    """Raise InputError for imagery whose outlines on the ground are not known, for it is not rectified."""
    if georeference.points or georeference.rpcs:
        raise InputError(
            f"{name}: is placed by ground control points or RPCs only, its outlines would lie nowhere; rectify it: "
            f"gdalwarp {name} rectified.tif"
        )


def _pixels(positions: tuple[float, ...]) -> Span:
    """The whole pixels between the extremes. Bounds from metadata are rounded: a millionth of a pixel is none."""
    start = math.floor(min(positions) + 1e-6)
    return Span(start, max(start, math.ceil(max(positions) - 1e-6)))


def true_code(crs: pyproj.CRS) -> tuple[str, str] | None:
    """Return the authority and the code that the CRS carries, like EPSG and 32633, where these stand for this CRS and
    no other; else None."""
    code = crs.to_json_dict().get("id")
    if code is not None:
        with suppress(pyproj.exceptions.CRSError):
            if pyproj.CRS.from_authority(code["authority"], code["code"]).equals(crs, ignore_axis_order=True):
                return str(code["authority"]), str(code["code"])
    return None
