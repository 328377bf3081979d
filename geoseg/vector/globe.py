"""Polygons of pixels in longitude and latitude, for GeoJSON (RFC 7946) and vector tiles: cut at the antimeridian.

Edges that are straight in pixels are curves in longitude and latitude. They get so many more vertices that no edge
departs from its curve by a tenth of a pixel; at fixed rows and columns, so that neighbours share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.lazy import lazy
from geoseg.raster.ellipsoid import is_cylindrical
from geoseg.raster.georeference import Georeference
from geoseg.vector.antimeridian import cut_at_antimeridian
from geoseg.vector.rings import Rings, densified
from geoseg.vector.tiles import PMTILES
from geoseg.vector.wkb import Wkb, encode_points

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")


Floats = NDArray[np.float64]

_SIDE, _GRID = 65, 9
"""Points along each side of the raster, and along both sides of a grid in it, at which the CRS is tried."""

_MAX_DEPARTURE = 0.1
"""Pixels by which an edge may depart from its curve."""

_MIN_OFFSET_METRES = 10.0
_BEYOND = "reaches beyond what its CRS can place on the globe, so not all polygons have longitude and latitude"
_POLE = "lies around a pole, so not all polygons have an outline in longitude and latitude"


def wgs84() -> pyproj.CRS:
    """Return the CRS of GeoJSON: longitude and latitude."""
    return pyproj.CRS.from_epsg(4326)


def in_degrees(driver: str) -> bool:
    """Return whether a vector format gets longitude and latitude; GDAL makes Web Mercator of these for tiles."""
    return driver.startswith("GeoJSON") or driver == PMTILES


@dataclass(frozen=True)
class Globe:
    """Where a raster lies on the globe.

    Attributes:
        georeference: Of the raster, with a CRS.
        shape: Its size (rows, cols).
    """

    georeference: Georeference
    shape: tuple[int, int]

    def check(self) -> None:
        """Refuse a raster whose polygons have no outlines in longitude and latitude.

        Raises:
            InputError: Its CRS does not lead there; it reaches beyond what the CRS can show, lies around a pole, or
                reaches around the globe more than once. The message is meant to follow its name.
        """
        if self._crs.is_geocentric or self._crs.is_engineering:
            raise _no_way()
        sides, grid = self._sides, self._grid
        positions = np.concatenate([sides, grid])
        longitude, latitude = self._longitude_latitude(positions)
        if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()) or self._beyond_poles:
            raise InputError(_BEYOND)
        if not self._regular:
            self._check_around(positions, longitude, latitude)
        west, east = self._longitudes
        if east - west > 360 * (1 + 1 / max(self.shape)):
            raise InputError("reaches around the globe more than once, which longitude and latitude cannot show")

    def encode(self, rings: Rings) -> Wkb:
        """Return the WKB of polygons; exteriors are counter-clockwise, holes clockwise.

        Raises:
            InputError: A vertex has no longitude and latitude.
        """
        if self.spacing is not None:
            rings = densified(rings, self.spacing)
        longitude, latitude = self._longitude_latitude(rings.vertices.astype(np.float64))
        if not np.isfinite(longitude).all():
            raise InputError(_BEYOND)
        points = np.stack([longitude, latitude], axis=1)
        if (np.abs(longitude) > 180).any():
            return cut_at_antimeridian(points, rings, self._clockwise)
        return encode_points(points, rings, self._clockwise)

    @cached_property
    def spacing(self) -> int | None:
        """Pixels after which an edge needs another vertex, a power of two; None where none needs one."""
        if self._in_degrees:
            return None
        places = np.concatenate([self._grid, self._near_poles])
        spacing = 1 << max(0, int(max(self.shape) - 1).bit_length())
        if self._departure(places, spacing) <= _MAX_DEPARTURE:
            return None
        while spacing > 1 and self._departure(places, spacing) > _MAX_DEPARTURE:
            spacing //= 2
        return spacing

    def _departure(self, places: Floats, length: int) -> float:
        """By how many pixels edges of `length` through `places`, (n, 2), depart from their curves at most."""
        departures = [0.0]
        for axis in (0, 1):
            start, stop = places.copy(), places.copy()
            start[:, axis] = np.maximum(places[:, axis] - length / 2, 0)
            stop[:, axis] = np.minimum(places[:, axis] + length / 2, self.shape[axis])
            middle = (start + stop) / 2
            ends, there, beside = (
                np.stack(self._longitude_latitude(positions), axis=1)
                for positions in (np.concatenate([start, stop]), middle, middle + 0.5)
            )
            chord = (ends[: len(start)] + ends[len(start) :]) / 2
            # In degrees along the meridian, in both axes.
            scale = np.stack([np.cos(np.radians(there[:, 1])), np.ones(len(there))], axis=1)
            apart, pixel = (np.hypot(*(difference * scale).T) for difference in (chord - there, beside - there))
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = apart / (pixel * np.sqrt(2))
            departures.append(float(np.max(ratio, initial=0.0, where=np.isfinite(ratio))))
        return max(departures)

    def _longitude_latitude(self, positions: Floats) -> tuple[Floats, Floats]:
        """Longitudes, continuous over the raster, and latitudes in degrees of positions (n, 2), (row, col)."""
        x, y = self._coordinates(positions)
        if self._in_degrees:
            # A grid of points over a pole reaches half a pixel beyond it.
            limit = np.pi / 2 / self._unit
            y = np.clip(y, -limit, limit)
        longitude, latitude = self._to_wgs84.transform(x, y)
        with np.errstate(invalid="ignore"):
            turns = np.rint((self._expected_longitude(x) - longitude) / 360)
            continuous: Floats = np.where(turns == 0, longitude, longitude + 360 * turns)
        continuous[~np.isfinite(continuous) | ~np.isfinite(latitude)] = np.nan
        return continuous, np.asarray(latitude)

    def _expected_longitude(self, x: Floats) -> Any:
        """Longitude to within half a turn."""
        start, at, slope = self._longitude_line
        return start + slope * (x - at)

    @cached_property
    def _longitude_line(self) -> tuple[float, float, float]:
        """A longitude, the x where it is, and its increase with x; 0 where it does not follow x alone."""
        if self._in_degrees:
            meridian = self._crs.prime_meridian
            zero = meridian.longitude * float(meridian.unit_conversion_factor) if meridian else 0.0
            return float(np.degrees(zero)), 0.0, float(np.degrees(self._unit))
        x, y = self._coordinates(np.array(self.shape)[None] / 2)
        if self._regular:
            near = x[0] + np.array([0.0, 1.0]) * self.georeference.pixel_size[1]
            longitude, _ = self._to_wgs84.transform(near, np.repeat(y, 2))
            step = (longitude[1] - longitude[0] + 180) % 360 - 180
            return float(longitude[0]), float(near[0]), float(step / (near[1] - near[0]))
        west, east = self._longitudes
        return (west + east) / 2, 0.0, 0.0

    @cached_property
    def _longitudes(self) -> tuple[float, float]:
        """The westernmost and easternmost longitude along the outline, which is followed over 180 degrees."""
        x, y = self._coordinates(self._sides)
        if self._regular:
            longitude = self._expected_longitude(x)
        else:
            longitude = np.asarray(self._to_wgs84.transform(x, y)[0])
            longitude = np.unwrap(longitude[np.isfinite(longitude)], period=360)
        return float(longitude.min(initial=np.inf)), float(longitude.max(initial=-np.inf))

    def _check_around(self, positions: Floats, longitude: Floats, latitude: Floats) -> None:
        """Refuse a raster with a pole in it, or with positions that lie in another place than the CRS says."""
        poles = self._poles
        rows, cols = self.shape
        if ((poles >= -1e-6) & (poles <= np.array([rows, cols]) + 1e-6)).all(axis=1).any():
            raise InputError(_POLE)
        x, y = self._coordinates(positions)
        back = np.stack(self._to_wgs84.transform(longitude, latitude, direction="INVERSE"))
        limit = max(self.georeference.pixel_size)
        if self._crs.is_projected:
            limit = max(limit, _MIN_OFFSET_METRES / float(self._crs.axis_info[0].unit_conversion_factor))
        if not (np.abs(back - np.stack([x, y])).max(axis=0) <= limit).all():
            raise InputError(_BEYOND)
        west, east = self._longitudes
        outline = np.unwrap(np.asarray(longitude[: len(self._sides)]), period=360)
        if east - west >= 360 or abs(outline[-1] - outline[0]) > 180:
            raise InputError(_POLE)

    @property
    def _beyond_poles(self) -> bool:
        """Whether a grid of degrees reaches over a pole by more than one pixel."""
        if not self._in_degrees:
            return False
        _, y = self._coordinates(self._sides)
        return bool(np.abs(y).max() > np.pi / 2 / self._unit + self.georeference.pixel_size[0])

    @cached_property
    def _poles(self) -> Floats:
        """Positions of the poles that the CRS can show, (n, 2): (row, col)."""
        longitudes = np.repeat(np.arange(-180.0, 180, 30), 2)
        latitudes = np.tile([-90.0, 90.0], len(longitudes) // 2)
        x, y = self._to_wgs84.transform(longitudes, latitudes, direction="INVERSE")
        shown = np.isfinite(x) & np.isfinite(y)
        x, y, inverse = x[shown], y[shown], ~self.georeference.transform
        positions = np.stack([inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c], 1)
        return np.asarray(positions, np.float64)

    @property
    def _near_poles(self) -> Floats:
        """The positions in the raster that are next to a pole; there, curves are strongest."""
        return np.empty((0, 2)) if self._regular else np.clip(self._poles, 0, self.shape)

    @cached_property
    def _sides(self) -> Floats:
        """Positions along the outline, (n, 2); the last one is the first one."""
        rows, cols = self.shape
        corners = np.array([(0, 0), (rows, 0), (rows, cols), (0, cols), (0, 0)], np.float64)
        along = np.linspace(0, 1, _SIDE)[:, None]
        return np.concatenate([a + along * (b - a) for a, b in pairwise(corners)])

    @cached_property
    def _grid(self) -> Floats:
        rows, cols = (np.linspace(0, length, _GRID) for length in self.shape)
        return np.stack([axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij")], axis=1)

    def _coordinates(self, positions: Floats) -> tuple[Floats, Floats]:
        t = self.georeference.transform
        rows, cols = positions.T
        return cols * t.a + rows * t.b + t.c, cols * t.d + rows * t.e + t.f

    @cached_property
    def _regular(self) -> bool:
        """Whether longitude follows x alone, so that the raster has no pole in it, but at most along an edge."""
        return self._in_degrees or is_cylindrical(self._crs)

    @cached_property
    def _in_degrees(self) -> bool:
        """Whether coordinates are longitude and latitude already, of whatever datum."""
        return bool(self._crs.is_geographic) and not self._crs.type_name.startswith("Derived")

    @cached_property
    def _crs(self) -> pyproj.CRS:
        return pyproj.CRS.from_wkt(str(self.georeference.wkt))

    @cached_property
    def _unit(self) -> float:
        """Radians per unit of a geographic CRS."""
        return float(self._crs.axis_info[0].unit_conversion_factor)

    @cached_property
    def _to_wgs84(self) -> pyproj.Transformer:
        try:
            return pyproj.Transformer.from_crs(self._crs, wgs84(), always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise _no_way() from error

    @cached_property
    def _clockwise(self) -> bool:
        """Whether rings that are counter-clockwise with rows downwards are clockwise in longitude and latitude: they
        are for south-up rasters, and for CRS with an axis that points west or south."""
        (x0, x1, x2), (y0, y1, y2) = self._longitude_latitude(np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]))
        return bool((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) > 0)


def _no_way() -> InputError:
    return InputError("has a CRS that does not lead to longitude and latitude")
