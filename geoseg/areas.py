"""Areas on the ground, in square metres, from pixels."""

from __future__ import annotations

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.georeference import Georeference
from geoseg.grid import Window


def pixel_area(georeference: Georeference, window: Window) -> float | NDArray[np.float64] | None:
    """Return the area in m² of every pixel, or of each pixel of `window`, (rows, cols), where they differ.

    - Projected CRS: |determinant of the transform| times the square of the CRS's unit, the same for all; of the map,
      so with the scale error of its projection.
    - Geographic CRS: of the ellipsoid, at the latitude of the pixel's centre: b² cos φ / (1 - e² sin² φ)² per
      steradian (Snyder 1987, p. 24 f.: both radii of curvature times cos φ). A pixel of h radians is within h² / 24
      of it, which is a millionth for a quarter of a degree. It depends on (row, col) alone, not on the window.
    - None where there is no CRS, or one of another kind.
    """
    if georeference.wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(georeference.wkt)
    if not (crs.is_geographic or crs.is_projected) or crs.ellipsoid is None:
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
