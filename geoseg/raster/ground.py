"""Areas and lengths on the ground, in metres, of pixels and of regions of pixels."""

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
_NOTABLE_DISTORTION = 0.02
_MAX_THRESHOLD = 2.0**61
"""No sum of weights comes near it, and twice it still fits an int64."""


def pixel_area(georeference: Georeference, window: Window) -> float | NDArray[np.float64] | None:
    """Return the area of pixels in m².

    In a projected CRS it is |determinant of the transform| times the square of the CRS's unit: an area of the map, with
    the scale error of its projection. In a geographic CRS it is that of the ellipsoid at the latitude φ of the pixel's
    centre, b² cos φ / (1 - e² sin² φ)² per steradian (Snyder 1987, p. 24 f.: the product of both radii of curvature
    times cos φ). For a pixel of h radians the error is within h² / 24, which is a millionth for a quarter of a degree.

    Args:
        georeference: Of the raster.
        window: The pixels. The area of a pixel depends on its (row, col) alone, not on the window.

    Returns:
        One number where all pixels have the same area; float64 (rows, cols) where they differ, as in a geographic
        CRS; None where there is no CRS, or one of another kind.
    """
    crs = _metric_crs(georeference)
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
    eccentricity_squared = 1 - (minor / major) ** 2
    # A grid may reach over a pole by half a pixel, where the cosine is negative.
    density = minor**2 * np.maximum(np.cos(latitude), 0.0) / (1 - eccentricity_squared * np.sin(latitude) ** 2) ** 2
    areas: NDArray[np.float64] = density * area
    return areas


def ground_sampling_distance(georeference: Georeference, extent: Window) -> float | None:
    """Return the side in metres, on the ground, of a square as large as the pixel in the middle of a raster.

    Args:
        georeference: Of the raster.
        extent: All of its pixels.

    Returns:
        None where the CRS says nothing of it.
    """
    middle = Window.of(len(extent.rows) // 2, len(extent.cols) // 2, 1, 1)
    area = pixel_area(georeference, middle)
    if area is None:
        return None
    ground = float(np.max(area)) / (1 + Ground(georeference).distortion(extent))
    return math.sqrt(ground) if 0 < ground < math.inf else None


@dataclass(frozen=True)
class Ground:
    """Areas of regions as sums of integer pixel weights, so that the order of addition does not matter.

    Attributes:
        georeference: Of the raster.
    """

    georeference: Georeference

    @property
    def metric(self) -> bool:
        """Whether areas in m² are known: the CRS is geographic or projected."""
        return self.crs is not None

    @property
    def uniform(self) -> bool:
        """Whether all pixels have the same area."""
        return self.crs is None or bool(self.crs.is_projected)

    def weights(self, window: Window) -> NDArray[np.int64]:
        """Return the areas of the pixels of `window` in units of `step`.

        Returns:
            int64 (rows, cols), or (rows, 1) where all pixels of a row have the same area.
        """
        if self.uniform:
            return np.ones((len(window.rows), 1), np.int64)
        if self.georeference.transform.d == 0:
            window = Window(window.rows, Span(window.cols.start, window.cols.start + 1))
        areas = pixel_area(self.georeference, window)
        return np.rint(np.asarray(areas) / self.step).astype(np.int64)

    @cached_property
    def step(self) -> float:
        """Area that one unit of weight stands for.

        In m²: the area of a pixel where it is uniform, else 2^-24 of that of a pixel at the equator. Without a metric
        CRS it is 1, in pixels.
        """
        if self.crs is None:
            return 1.0
        area = abs(float(self.georeference.transform.determinant)) * self.unit**2
        return area if self.uniform else area * float(self.crs.ellipsoid.semi_minor_metre) ** 2 / _FRACTION

    def distortion(self, window: Window) -> float:
        """Return by how much the projection enlarges areas in the middle of `window`.

        Returns:
            The areal scale minus 1: 0.37 where areas of the map are 37 % larger than on the ellipsoid. 0 where the CRS
            is not projected, or its scale cannot be computed.
        """
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

    def distortion_message(self, window: Window) -> str | None:
        """Return a warning about `distortion` in the middle of `window`; None where it is below 2 %."""
        distortion = self.distortion(window)
        if abs(distortion) < _NOTABLE_DISTORTION:
            return None
        comparison = "larger" if distortion > 0 else "smaller"
        return (
            f"areas in m² are those of the map projection, here {abs(distortion):.0%} {comparison} than on the ground; "
            "reproject the scene to UTM or an equal-area CRS for true ones"
        )

    def threshold(self, area: Area) -> tuple[int, bool]:
        """Return the smallest sum that a region reaches if it is not smaller than `area`.

        Args:
            area: In m² or pixels.

        Returns:
            The sum, and whether it is a sum of `weights` rather than a number of pixels.

        Raises:
            SettingError: The area is in m² and the raster has no metric CRS.
        """
        if area.unit == "px":
            return math.ceil(min(area.value, _MAX_THRESHOLD)), False
        if not self.metric:
            raise SettingError(f"{area} needs a geographic or projected CRS; give the area in pixels: {area.value:g}px")
        # The factor absorbs the rounding of the quotient: a region of exactly this area is not smaller.
        return math.ceil(min(area.value / self.step * (1 - 1e-12), _MAX_THRESHOLD)), not self.uniform

    @cached_property
    def crs(self) -> Any:
        """The pyproj CRS if it is geographic or projected, else None."""
        return _metric_crs(self.georeference)

    @cached_property
    def unit(self) -> float:
        """Metres per unit of a projected CRS, radians per unit of a geographic one."""
        return float(self.crs.axis_info[0].unit_conversion_factor)


def _metric_crs(georeference: Georeference) -> Any:
    """The pyproj CRS where it is geographic or projected, else None."""
    if georeference.wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(georeference.wkt)
    return crs if (crs.is_geographic or crs.is_projected) and crs.ellipsoid is not None else None
