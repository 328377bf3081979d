"""The area of interest: polygons outside of which nothing is classified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from geoseg.errors import InputError, first_line
from geoseg.files.atomic import sha256
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference
from geoseg.raster.guards import regular_file


class AreaOfInterest:
    """The polygons of a vector file, reprojected to the CRS of a scene.

    A pixel belongs to the area if its centre lies within a polygon.

    Args:
        path: Any vector file that GDAL reads; geometries other than polygons are ignored.
        georeference: Of the scene. Polygons without a CRS are taken to be in the scene's.

    Attributes:
        digest: SHA-256 of the vector file, as hexadecimal digits.

    Raises:
        InputMissingError: The file does not exist.
        InputError: The file is not a vector file or has no polygon, or it has a CRS and the scene has none.
    """

    def __init__(self, path: Path, georeference: Georeference) -> None:
        import geopandas

        file = regular_file(path)
        try:
            frame = geopandas.read_file(file)
        except Exception as error:
            raise InputError(f"{path}: cannot be read as vector data ({first_line(error)})") from error
        if frame.crs is not None and georeference.crs is not None:
            frame = frame.to_crs(georeference.wkt)
        elif frame.crs is not None:
            raise InputError(f"{path}: has a CRS but the scene has none; set the scene's with --assume-crs")
        polygons = [shape for shape in frame.geometry if shape is not None and shape.geom_type.endswith("Polygon")]
        if not polygons:
            raise InputError(f"{path}: contains no polygon")
        self.digest = sha256(file)
        self._polygons = polygons
        self._georeference = georeference

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Return bool (rows, cols) for a window of the scene: True inside the area."""
        transform = self._georeference.shifted(window).transform
        inside: NDArray[np.bool_] = geometry_mask(self._polygons, window.shape, transform, invert=True)
        return inside
