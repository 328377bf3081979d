"""Areas and lengths on the ground, in metres, of pixels and of regions of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingError
from geoseg.grid import Span, Window
from geoseg.lazy import lazy
from geoseg.raster.ellipsoid import EllipsoidAreas, is_cylindrical
from geoseg.raster.georeference import Georeference, authority_code
from geoseg.raster.lines import Floats, Lines
from geoseg.units import Area

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_FRACTION = 1 << 24
_MAX_DISTORTION = 0.01
"""By how much the areas of a map may differ from those on the ground to be taken for them: what survey grids such as
UTM and Lambert-93 keep to in the area that they are made for, but Web Mercator does not."""
_SAMPLES = 9
_MAX_THRESHOLD = 2.0**61
"""No sum of weights comes near it, and twice it still fits an int64."""
_NO_UNITS = ("unknown", "unnamed", "pixel", "pixels")


@dataclass(frozen=True)
class Ground:
    """Areas of regions as sums of integer pixel weights, so that the order of addition does not matter.

    Where areas are those of the map, all pixels have the same: |determinant of the transform| times the square of the
    CRS's unit. That is so in a CRS of a site, in metres or feet, and in a projected CRS that is true to area within 1 %
    both in the raster and in the area that the CRS is meant for. In any other projected CRS, areas are those on the
    ellipsoid; and in a geographic CRS as well, at the latitude φ of the pixel's centre, b² cos φ / (1 - e² sin² φ)²
    per steradian (Snyder 1987, p. 24 f.: the product of both radii of curvature times cos φ). For a pixel of h radians
    the error of the latter is within h² / 24, which is a millionth for a quarter of a degree.

    Attributes:
        georeference: Of the raster.
        shape: Size (rows, cols) of the raster.
    """

    georeference: Georeference
    shape: tuple[int, int] = (1, 1)

    @property
    def metric(self) -> bool:
        """Whether areas in m² are known: the CRS is geographic, projected, or that of a site with a unit of length."""
        return self.crs is not None

    @property
    def uniform(self) -> bool:
        """Whether all pixels have the same area."""
        return self.crs is None or not (self.crs.is_geographic or self.distorted)

    @property
    def planar_area(self) -> float:
        """Area of a pixel on the map in m²; in radians² of longitude and latitude in a geographic CRS."""
        return abs(float(self.georeference.transform.determinant)) * self.unit**2

    def areas(self, window: Window) -> float | NDArray[np.float64] | None:
        """Return the area of pixels in m².

        Args:
            window: The pixels. The area of a pixel depends on its (row, col) alone, not on the window.

        Returns:
            One number where all pixels have the same area; float64 (rows, cols) where they differ; None where
            areas in m² are not known.
        """
        if self.crs is None:
            return None
        if self.uniform:
            return self.planar_area
        return np.ascontiguousarray(np.broadcast_to(self._areas(window), window.shape))

    @property
    def sampling_distance(self) -> float | None:
        """Side in metres, on the ground, of a square as large as the pixel in the middle of the raster.

        None where the CRS says nothing of it, or cannot place that pixel on the globe.
        """
        row, col = (length // 2 for length in self.shape)
        areas = self.areas(Window.of(row, col, 1, 1))
        area = math.nan if areas is None else float(np.max(areas))
        return math.sqrt(area) if 0 < area < math.inf else None

    def weights(self, window: Window) -> NDArray[np.int64]:
        """Return the areas of the pixels of `window` in units of `step`.

        Returns:
            int64 (rows, cols), or (rows, 1) where all pixels of a row have the same area.
        """
        if self.uniform:
            return np.ones((len(window.rows), 1), np.int64)
        return np.rint(self._areas(window) / self.step).astype(np.int64)

    @cached_property
    def step(self) -> float:
        """Area that one unit of weight stands for.

        In m²: the area of a pixel where it is uniform, else 2^-24 of that of a pixel on the map, or of one at the
        equator in a geographic CRS. Where areas in m² are not known it is 1, in pixels.
        """
        if self.crs is None:
            return 1.0
        if not self.crs.is_geographic:
            return self.planar_area if self.uniform else self.planar_area / _FRACTION
        return self.planar_area * float(self.crs.ellipsoid.semi_minor_metre) ** 2 / _FRACTION

    @cached_property
    def distorted(self) -> bool:
        """Whether the CRS is projected and its areas are not taken for those on the ground."""
        if self.crs is None or not self.crs.is_projected:
            return False
        try:
            rows, cols = (np.linspace(0, length, _SAMPLES) for length in self.shape)
            here = self.ellipsoid.at(*(axis.ravel() for axis in np.meshgrid(rows, cols)))
            there = self.ellipsoid.at(*self._places_of_use())
        except (pyproj.exceptions.CRSError, pyproj.exceptions.ProjError):
            return False
        # Where a pixel of the raster is not on the globe, it has no area; elsewhere that does not matter.
        ratios = np.concatenate([np.nan_to_num(here), there[np.isfinite(there)]]) / self.planar_area
        return bool((np.abs(ratios - 1) > _MAX_DISTORTION).any())

    def threshold(self, area: Area) -> tuple[int, bool]:
        """Return the smallest sum that a region reaches if it is not smaller than `area`.

        Args:
            area: In m² or pixels.

        Returns:
            The sum, and whether it is a sum of `weights` rather than a number of pixels.

        Raises:
            SettingError: The area is in m² and the raster's areas in m² are not known.
        """
        if area.unit == "px":
            return math.ceil(min(area.value, _MAX_THRESHOLD)), False
        if not self.metric:
            raise SettingError(f"{area} needs a CRS with a unit of length; give the area in pixels: {area.value:g}px")
        # The factor absorbs the rounding of the quotient: a region of exactly this area is not smaller.
        return math.ceil(min(area.value / self.step * (1 - 1e-12), _MAX_THRESHOLD)), not self.uniform

    @cached_property
    def crs(self) -> Any:
        """The pyproj CRS where areas in m² are known, else None."""
        return _metric_crs(self.georeference)

    @cached_property
    def unit(self) -> float:
        """Metres per unit of the CRS, or radians per unit of a geographic one."""
        return float(self.crs.axis_info[0].unit_conversion_factor)

    @cached_property
    def ellipsoid(self) -> EllipsoidAreas:
        """Areas on the ellipsoid, in a projected CRS."""
        return EllipsoidAreas(self.georeference, self.crs, self.unit)

    @cached_property
    def lines(self) -> Lines | None:
        """Lengths along the lines of the lattice, where pixels differ in area and rows follow parallels; else None."""
        transform = self.georeference.transform
        if self.uniform or transform.b or transform.d:
            return None
        axes = float(self.crs.ellipsoid.semi_major_metre), float(self.crs.ellipsoid.semi_minor_metre)
        if self.crs.is_geographic:
            return Lines(
                lambda lines: (transform.e * lines + transform.f) * self.unit, abs(transform.a) * self.unit, axes
            )
        if not is_cylindrical(self.crs):
            return None

        def latitudes(lines: Floats) -> Floats:
            return self.ellipsoid.places(lines, np.full(len(lines), 0.5))[1]

        return Lines(latitudes, self.ellipsoid.turn(self.shape[0] / 2), axes)

    def _areas(self, window: Window) -> NDArray[np.float64]:
        """Areas in m² (rows, cols), or (rows, 1) where all pixels of a row have the same area, which differ."""
        transform = self.georeference.transform
        if not self.crs.is_geographic:
            return self.ellipsoid.areas(window)
        if transform.d == 0:
            window = Window(window.rows, Span(window.cols.start, window.cols.start + 1))
        rows = np.arange(window.rows.start, window.rows.stop)[:, None] + 0.5
        cols = np.arange(window.cols.start, window.cols.stop)[None, :] + 0.5
        latitude = (transform.d * cols + transform.e * rows + transform.f) * self.unit
        major, minor = self.crs.ellipsoid.semi_major_metre, self.crs.ellipsoid.semi_minor_metre
        eccentricity_squared = 1 - (minor / major) ** 2
        # A grid may reach over a pole by half a pixel, where the cosine is negative.
        density = minor**2 * np.maximum(np.cos(latitude), 0.0) / (1 - eccentricity_squared * np.sin(latitude) ** 2) ** 2
        areas: NDArray[np.float64] = density * self.planar_area
        return areas

    def _places_of_use(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of places inside the area that a CRS with a code is meant for."""
        code = authority_code(self.crs)
        area = pyproj.CRS.from_authority(*code).area_of_use if code else None
        if area is None:
            return np.empty(0), np.empty(0)
        west, south, east, north = area.bounds
        shares = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
        longitude, latitude = np.meshgrid(
            west + shares * ((east - west) % 360 or 360), south + shares * (north - south)
        )
        to_map = pyproj.Transformer.from_crs(self.crs.geodetic_crs, self.crs, always_xy=True)
        x, y = to_map.transform(longitude.ravel(), latitude.ravel())
        shown = np.isfinite(x) & np.isfinite(y)
        x, y = x[shown], y[shown]
        inverse = ~self.georeference.transform
        return (
            np.asarray(inverse.d * x + inverse.e * y + inverse.f), np.asarray(inverse.a * x + inverse.b * y + inverse.c)
        )  # fmt: skip


def _metric_crs(georeference: Georeference) -> Any:
    """The pyproj CRS where it is geographic or projected, or that of a site with a unit of length; else None."""
    if georeference.wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(georeference.wkt)
    if crs.is_geographic or crs.is_projected:
        return crs if crs.ellipsoid is not None else None
    return crs if crs.is_engineering and _has_lengths(crs) else None


def _has_lengths(crs: pyproj.CRS) -> bool:
    """Whether both axes of the CRS of a site are in one known unit of length."""
    axes = crs.to_json_dict().get("coordinate_system", {}).get("axis", [])
    units = [axis.get("unit") for axis in axes[:2]]
    if len(units) < 2 or units[0] != units[1]:
        return False
    unit = units[0]
    if isinstance(unit, dict):
        return bool(unit.get("type") == "LinearUnit") and str(unit.get("name")).lower() not in _NO_UNITS
    return bool(unit == "metre")
