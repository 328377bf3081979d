"""Where pixels lie: a CRS and an affine transform, kept exactly as they were read."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyproj
from affine import Affine

from geoseg.grid import Span, Window


@dataclass(frozen=True)
class Georeference:
    """Where pixels lie: `crs` as it was read (None: pixel space) and the affine pixel -> CRS transform.

    `wkt` is the CRS in the form it is written with; it never passes through an EPSG code.
    """

    crs: Any
    transform: Any

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
        return Georeference(self.crs, self.transform @ Affine.translation(window.cols.start, window.rows.start))

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
