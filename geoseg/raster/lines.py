"""Lengths on the ellipsoid along the lines of the pixel lattice, where rows follow parallels and columns meridians.

line 0   +--+--+--+     A step along a line is as long in every column, and a step from one line to the next one as
         |  |  |  |     well: all edges of pixels are differences and multiples of two numbers for each line.
line 1   +--+--+--+
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHUNK = 4096
"""Lines that are computed at once. Chunks begin at line 0 and its multiples, so that a length depends on its lines
alone."""


@dataclass(eq=False)
class Lines:
    """The lines of a raster's lattice; line r is the upper side of the pixels of row r.

    Both lengths are those of arcs, to a billionth for pixels of up to a tenth of a degree. They are 0 where the CRS
    cannot place a line on the globe.

    Attributes:
        latitudes: From lines (n,), float64, to their latitudes in radians; NaN where a line is not on the globe.
        turn: Radians of longitude in one step along a line.
        semi_axes: Those of the ellipsoid in m, the major one first.
    """

    latitudes: Callable[[Floats], Floats]
    turn: float
    semi_axes: tuple[float, float]
    _table: tuple[Floats, Floats] = field(default=(np.empty(0), np.zeros(1)), init=False)

    def up_to(self, line: int) -> tuple[Floats, Floats]:
        """Return lengths for the lines 0..`line` and some more; sixteen bytes are kept for each.

        Returns:
            The length in m of a step along each line, float64 (n,);
            and the length in m of a meridian between line 0 and each line, float64 (n + 1,).
        """
        table = self._table
        while len(table[0]) <= line:
            table = self._extended(*table)
        self._table = table
        return table

    def _extended(self, along: Floats, down: Floats) -> tuple[Floats, Floats]:
        first = len(along)
        latitude = self.latitudes(np.arange(first, first + _CHUNK + 1, dtype=np.float64))
        parallel, meridian = curvature(latitude, *self.semi_axes)
        _, middle = curvature((latitude[:-1] + latitude[1:]) / 2, *self.semi_axes)
        # Simpson's rule, from line to line.
        steps = np.nan_to_num(np.abs(np.diff(latitude)) * (meridian[:-1] + 4 * middle + meridian[1:]) / 6)
        return (
            np.concatenate([along, np.nan_to_num(np.abs(parallel[:-1]) * self.turn)]),
            np.concatenate([down, down[-1] + np.cumsum(steps)]),
        )


def curvature(latitude: Floats, major: float, minor: float) -> tuple[Floats, Floats]:
    """Return the radius of the parallel and the radius of curvature of the meridian, in m (Snyder 1987, p. 24 f.).

    Args:
        latitude: In radians, (n,).
        major: Semi-major axis in m.
        minor: Semi-minor axis in m.
    """
    eccentricity_squared = 1 - (minor / major) ** 2
    flattening = 1 - eccentricity_squared * np.sin(latitude) ** 2
    parallel: Floats = major * np.cos(latitude) / np.sqrt(flattening)
    meridian: Floats = major * (1 - eccentricity_squared) / flattening**1.5
    return parallel, meridian
