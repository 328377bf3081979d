"""Areas on the ellipsoid of the pixels of a projected raster, and places on it.

The area of a pixel is the determinant of the map from (col, row) to coordinates that keep areas, by central
differences. Those coordinates are λ and the integral of the area of a strip up to φ (Snyder 1987, p. 16), or near a
pole their polar form. A projection is smooth, so this is computed at the nodes of a lattice anchored at the raster's
pixel (0, 0), and interpolated. In cells where that is not exact enough, such as those at the edge of the globe, it is
computed for every pixel. The area of a pixel therefore depends on its (row, col) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

Floats = NDArray[np.float64]

_CELL_METRES = 5000.0
_MAX_CELL = 256
_TOLERANCE = 1e-6
"""Relative error of the interpolation in the middle of a cell above which it is not used."""

_MIN_STEP_METRES = 500.0
"""Least distance of the points of a difference, far above the noise of an inverse projection."""

_POLAR = np.radians(75.0)
"""Latitude from which on the polar form is used."""

_CYLINDRICAL = ("mercator", "equidistant cylindrical", "cylindrical equal area", "plate carree", "miller")
"""Parts of the names of projections whose areal scale depends on y alone."""


@dataclass(frozen=True)
class EllipsoidAreas:
    """Areas on the ellipsoid of the pixels of a projected raster.

    Attributes:
        georeference: Of the raster.
        crs: Its pyproj CRS, projected.
        unit: Metres per unit of the CRS.
    """

    georeference: Georeference
    crs: Any
    unit: float

    def areas(self, window: Window) -> Floats:
        """Return the areas of pixels in m², 0 where the CRS cannot place them on the globe.

        Returns:
            (rows, cols) of the window, or (rows, 1) where all pixels of a row have the same area.
        """
        rows: Floats = np.arange(window.rows.start, window.rows.stop, dtype=np.float64) + 0.5
        transform = self.georeference.transform
        if is_cylindrical(self.crs) and transform.b == transform.d == 0:
            return np.nan_to_num(self.at(rows, np.full(len(rows), 0.5)))[:, None]
        cell = self._cell
        if cell == 1:
            cols = np.arange(window.cols.start, window.cols.stop) + 0.5
            return np.nan_to_num(self._grid(rows, cols))
        out = np.empty(window.shape)
        for top in range(window.rows.start // cell * cell, window.rows.stop, cell):
            within = slice(max(top, window.rows.start), min(top + cell, window.rows.stop))
            out[within.start - window.rows.start : within.stop - window.rows.start] = self._strip(top, within, window)
        return out

    def at(self, rows: Floats, cols: Floats) -> Floats:
        """Return the area of a pixel in m² at any positions (n,) in pixels; NaN where there is no such place."""
        step_row, step_col = (max(0.5, _MIN_STEP_METRES / (size * self.unit)) for size in self.georeference.pixel_size)
        longitude, latitude = self.places(
            np.stack([rows, rows, rows - step_row, rows + step_row]),
            np.stack([cols - step_col, cols + step_col, cols, cols]),
        )
        x, y = self._equal_area(longitude, latitude)
        (x_left, x_right, x_up, x_down), (y_left, y_right, y_up, y_down) = x, y
        determinant = (x_right - x_left) * (y_down - y_up) - (x_down - x_up) * (y_right - y_left)
        area: Floats = np.abs(determinant) / (4 * step_row * step_col)
        return area

    def turn(self, row: float) -> float:
        """Return by how many radians the longitude changes in one step along `row`, where x follows longitude alone."""
        step = max(0.5, _MIN_STEP_METRES / (self.georeference.pixel_size[1] * self.unit))
        longitude, _ = self.places(np.full(2, row), np.array([0.5 - step, 0.5 + step]))
        turn = float(longitude[1] - longitude[0])
        return float(abs(turn - 2 * np.pi * np.rint(turn / (2 * np.pi))) / (2 * step))

    def places(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Return longitude and latitude in radians of positions in pixels, NaN where they are not on the globe."""
        t = self.georeference.transform
        x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
        longitude, latitude = self._to_globe.transform(x, y)
        with np.errstate(invalid="ignore"):
            angles = np.stack([longitude, latitude]) * self._to_globe_unit
        angles[:, ~np.isfinite(angles).all(axis=0)] = np.nan
        return angles[0], angles[1]

    def _strip(self, top: int, rows: slice, window: Window) -> Floats:
        """The areas of the pixels of `rows`, in the cells whose first row is `top`."""
        cell = self._cell
        lefts = np.arange(window.cols.start // cell * cell, window.cols.stop, cell)
        nodes = self._grid(np.array([top, top + cell]), np.append(lefts, lefts[-1] + cell))
        middles = self._grid(np.array([top + cell / 2]), lefts + cell / 2)[0]
        corners = np.stack([nodes[0, :-1], nodes[0, 1:], nodes[1, :-1], nodes[1, 1:]])
        cols = np.arange(window.cols.start, window.cols.stop)
        index = cols // cell - lefts[0] // cell
        share_row = ((np.arange(rows.start, rows.stop) + 0.5 - top) / cell)[:, None]
        share_col = (cols + 0.5 - lefts[index]) / cell
        left, right = nodes[:, index], nodes[:, index + 1]
        upper, lower = left + share_col * (right - left)
        out: Floats = np.nan_to_num(upper + share_row * (lower - upper))
        with np.errstate(invalid="ignore"):
            exact = np.abs(corners.mean(axis=0) - middles) <= _TOLERANCE * middles
        nowhere = np.isnan(corners).all(axis=0) & np.isnan(middles)
        for k in np.flatnonzero(~exact & ~nowhere).tolist():
            inside = slice(int(np.searchsorted(index, k)), int(np.searchsorted(index, k, side="right")))
            out[:, inside] = np.nan_to_num(
                self._grid(np.arange(rows.start, rows.stop) + 0.5, cols[inside].astype(np.float64) + 0.5)
            )
        return out

    def _grid(self, rows: Any, cols: Any) -> Floats:
        """`at` all pairs of a row and a column, (rows, cols)."""
        grid = np.meshgrid(rows.astype(np.float64), cols.astype(np.float64), indexing="ij")
        return self.at(grid[0].ravel(), grid[1].ravel()).reshape(len(rows), len(cols))

    def _equal_area(self, longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
        """Coordinates in m that keep areas, (4, n) each: differences within a column of the arrays are meant."""
        height = self._height(latitude)
        turn = longitude - longitude[:1]
        turn -= 2 * np.pi * np.rint(turn / (2 * np.pi))
        with np.errstate(invalid="ignore"):
            middle = latitude.mean(axis=0)
            radius = np.sqrt(2 * np.maximum(self._height(np.pi / 2) - np.sign(middle) * height, 0))
        polar = np.abs(middle) > _POLAR
        return (
            np.where(polar, radius * np.cos(turn), turn),
            np.where(polar, radius * np.sin(turn), height),
        )

    def _height(self, latitude: Any) -> Any:
        """The area in m² between the equator and `latitude`, of a strip one radian wide."""
        major, minor = self.crs.ellipsoid.semi_major_metre, self.crs.ellipsoid.semi_minor_metre
        eccentricity, sine = np.sqrt(max(0.0, 1 - (minor / major) ** 2)), np.sin(latitude)
        if eccentricity < 1e-9:
            return major**2 * sine
        product = eccentricity * sine
        return minor**2 / 2 * (sine / (1 - product**2) + np.arctanh(product) / eccentricity)

    @cached_property
    def _cell(self) -> int:
        """Pixels along a side of a cell: a power of two."""
        size = max(self.georeference.pixel_size) * self.unit
        return int(2 ** np.clip(np.floor(np.log2(_CELL_METRES / size)), 0, np.log2(_MAX_CELL)))

    @cached_property
    def _to_globe(self) -> pyproj.Transformer:
        return pyproj.Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)

    @cached_property
    def _to_globe_unit(self) -> float:
        return float(self.crs.geodetic_crs.axis_info[0].unit_conversion_factor)


def is_cylindrical(crs: pyproj.CRS) -> bool:
    """Return whether x of a projected CRS depends on longitude alone and y on latitude alone."""
    operation = crs.coordinate_operation
    name = "" if operation is None else operation.method_name.lower()
    return any(part in name for part in _CYLINDRICAL) and not any(part in name for part in ("transverse", "oblique"))
