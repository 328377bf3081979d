"""Areas and lengths on the ground, in metres, from pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.errors import SettingError
from geoseg.grid import Span, Window
from geoseg.raster.georeference import Georeference
from geoseg.units import Area

_FRACTION = 1 << 24
_NOTABLE = 0.02
_LARGEST = 2.0**61
"""No sum comes near it, and two of them are still an int64."""


def pixel_area(georeference: Georeference, window: Window) -> float | NDArray[np.float64] | None:
    """Return the area in m² of every pixel, or of each pixel of `window`, (rows, cols), where they differ.

    - Projected CRS: |determinant of the transform| times the square of the CRS's unit, the same for all; of the map,
      so with the scale error of its projection.
    - Geographic CRS: of the ellipsoid, at the latitude of the pixel's centre: b² cos φ / (1 - e² sin² φ)² per
      steradian (Snyder 1987, p. 24 f.: both radii of curvature times cos φ). A pixel of h radians is within h² / 24
      of it, which is a millionth for a quarter of a degree. It depends on (row, col) alone, not on the window.
    - None where there is no CRS, or one of another kind.
    """
    crs = _metric(georeference)
    if crs is None:
        return None
    unit = float(crs.axis_info[0].unit_conversion_factor)
    transform = georeference.transform
    area = abs(float(transform.determinant)) * unit**2
    if crs.is_projected:
        return area
    rows = np.arange(window.rows.start, window.rows.stop)[:, None] + 0.5
    cols = np.arange(window.cols.start, window.cols.stop)[None, :] + 0.5
    latitude = (transform.d * cols + transform.e * rows + transform.f) * unit
    major, minor = crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre
    squeezed = 1 - (minor / major) ** 2
    # A grid may reach over a pole by half a pixel.
    density = minor**2 * np.maximum(np.cos(latitude), 0.0) / (1 - squeezed * np.sin(latitude) ** 2) ** 2
    areas: NDArray[np.float64] = density * area
    return areas


@dataclass(frozen=True)
class Ground:
    """What regions of pixels measure on the ground, from whole numbers, so that no order of adding matters."""

    georeference: Georeference

    @property
    def metric(self) -> bool:
        """Whether there are metres: the CRS is geographic or projected."""
        return self.crs is not None

    @property
    def uniform(self) -> bool:
        """Whether all pixels are of one size."""
        return self.crs is None or bool(self.crs.is_projected)

    def weights(self, window: Window) -> NDArray[np.int64]:
        """Return the areas of the pixels of `window` in steps of `step` m²: (rows, cols), or (rows, 1) where all of a
        row are the same."""
        if self.uniform:
            return np.ones((len(window.rows), 1), np.int64)
        if self.georeference.transform.d == 0:
            window = Window(window.rows, Span(window.cols.start, window.cols.start + 1))
        areas = pixel_area(self.georeference, window)
        return np.rint(np.asarray(areas) / self.step).astype(np.int64)

    @cached_property
    def step(self) -> float:
        """Of a sum of weights, the m², or pixels: a pixel's area, or 2^-24 of that of a pixel at the equator."""
        if self.crs is None:
            return 1.0
        area = abs(float(self.georeference.transform.determinant)) * self.unit**2
        return area if self.uniform else area * float(self.crs.ellipsoid.semi_minor_metre) ** 2 / _FRACTION

    def excess(self, window: Window) -> float:
        """Return by how much an area of the map is larger than on the ellipsoid, in the middle of `window`: 0.37 where
        it is 37 % too large. 0 where areas are not those of a projection."""
        if self.crs is None or not self.crs.is_projected:
            return 0.0
        left, bottom, right, top = self.georeference.bounds(window)
        try:
            place = pyproj.Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True).transform(
                (left + right) / 2, (bottom + top) / 2, errcheck=True
            )
            scale = float(pyproj.Proj(self.crs).get_factors(*place, errcheck=True).areal_scale)
        except (pyproj.exceptions.CRSError, pyproj.exceptions.ProjError):
            return 0.0
        return scale - 1 if math.isfinite(scale) else 0.0

    def told_excess(self, window: Window) -> str | None:
        """Return `excess` in words, where it is worth them; else None."""
        excess = self.excess(window)
        if abs(excess) < _NOTABLE:
            return None
        more = "larger" if excess > 0 else "smaller"
        return (
            f"square metres are those of the map, which here are {abs(excess):.0%} {more} than on the ground; "
            "reproject the scene to UTM or an equal-area CRS for true ones"
        )

    def least(self, area: Area) -> tuple[int, bool]:
        """Return the sum from which on a region is not smaller than `area`; and whether of weights, not of pixels.

        Raises:
            SettingError: square metres of a raster without any.
        """
        if area.unit == "px":
            return math.ceil(min(area.value, _LARGEST)), False
        if not self.metric:
            raise SettingError(f"{area} cannot be known without a geographic or projected CRS: say {area.value:g}px")
        # What is equal but for the rounding of the quotient is not smaller.
        return math.ceil(min(area.value / self.step * (1 - 1e-12), _LARGEST)), not self.uniform

    @cached_property
    def crs(self) -> Any:
        """The pyproj CRS, where it has metres; else None."""
        return _metric(self.georeference)

    @cached_property
    def unit(self) -> float:
        """Metres, or radians, per unit of the CRS."""
        return float(self.crs.axis_info[0].unit_conversion_factor)


def _metric(georeference: Georeference) -> Any:
    """The CRS, where it has metres; else None."""
    if georeference.wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(georeference.wkt)
    return crs if (crs.is_geographic or crs.is_projected) and crs.ellipsoid is not None else None
