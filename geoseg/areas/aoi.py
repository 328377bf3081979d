"""The area of interest: polygons outside of which nothing is classified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.edges import Edges, any_covered, covered, joined
from geoseg.areas.hints import where
from geoseg.areas.placing import Box, Placement, flattened
from geoseg.areas.reading import open_areas
from geoseg.errors import InputError, SettingError
from geoseg.files.atomic import sha256
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyproj
    import shapely
else:
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")


class AreaOfInterest:
    """The polygons of a vector file, on the pixels of a scene.

    A pixel belongs to the area if its centre lies within a polygon. Edges are straight in the CRS of the polygons, and
    follow their course in that of the scene. The mask is the same for every window.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoParquet, KML or GML. Other geometries than polygons are
            ignored; polygons in collections count.
        georeference: Of the scene. Polygons without a CRS are taken to be in the scene's.
        extent: The pixels that masks are made for.
        part: The pixels of which at least one has to lie in the area; None for those of `extent`.
        layer: Layer of a GeoPackage; None for the one with polygons.

    Attributes:
        digest: SHA-256 of the vector file, as hexadecimal digits; where there are several files or a layer is given, of
            their digests and its name.

    Raises:
        InputMissingError: The file does not exist.
        InputError: The file is not such a vector file or has no polygon, it has coordinates that are not finite, or its
            CRS cannot be related to the scene's.
        SettingError: No pixel lies in the area, or there is no such layer.
    """

    def __init__(
        self,
        path: Path,
        georeference: Georeference,
        extent: Window,
        part: Window | None = None,
        layer: str | None = None,
    ) -> None:
        crs, batches, files = open_areas(path, layer)
        if crs is not None and georeference.crs is None:
            raise InputError(f"{path}: has a CRS but the scene has none; set the scene's with --assume-crs")
        placement, bounds, found = Placement(path, crs, georeference, extent), _NOWHERE, []
        for polygons in _polygons(path, batches):
            bounds = _union(bounds, polygons)
            found.append(placement.edges(polygons))
        if not found:
            raise InputError(f"{path}: contains no polygon")
        self._edges: Edges = joined(found)
        part = part or extent
        if not any_covered(self._edges, part):
            raise SettingError(f"{path}: has no pixel of the scene: {_where(crs, bounds, georeference, part)}")
        digests = [sha256(file) for file in files]
        names = [] if layer is None else [layer]
        more = hashlib.sha256("\n".join([*digests, *names]).encode()).hexdigest()
        self.digest = digests[0] if len(digests) + len(names) == 1 else more

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Return bool (rows, cols) for a window within the extent: True inside the area."""
        return covered(self._edges, window)


_NOWHERE: Box = (np.inf, np.inf, -np.inf, -np.inf)


def _polygons(path: Path, batches: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the polygons that are not empty, in batches."""
    for batch in batches:
        polygons = flattened(shapely.force_2d(batch))
        # In the array of vertices, because bounds leave NaN out.
        if not np.isfinite(shapely.get_coordinates(polygons)).all():
            raise InputError(f"{path}: has a vertex that is not finite; repair its polygons (in QGIS: Fix geometries)")
        if len(polygons):
            yield polygons


def _union(bounds: Box, polygons: NDArray[Any]) -> Box:
    left, bottom, right, top = shapely.total_bounds(polygons)
    return min(bounds[0], left), min(bounds[1], bottom), max(bounds[2], right), max(bounds[3], top)


def _where(crs: pyproj.CRS | None, bounds: Box, georeference: Georeference, part: Window) -> str:
    return where(crs, bounds, georeference, georeference.bounds(part))
