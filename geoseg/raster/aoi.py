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
    """The polygons of a vector file, in the CRS of a scene.

    A pixel belongs to the area if its centre lies within a polygon.

    Raises:
        InputMissingError, InputError: no such file, no vector file, no polygon in it, or a CRS that cannot be related
            to the scene's.
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
            raise InputError(f"{path}: has a CRS and the scene has none; name the scene's with --assume-crs")
        shapes = [shape for shape in frame.geometry if shape is not None and shape.geom_type.endswith("Polygon")]
        if not shapes:
            raise InputError(f"{path}: has no polygon")
        self.digest = sha256(file)
        self._shapes = shapes
        self._georeference = georeference

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Return bool (rows, cols) of a window of the scene: True inside the area."""
        transform = self._georeference.shifted(window).transform
        inside: NDArray[np.bool_] = geometry_mask(self._shapes, window.shape, transform, invert=True)
        return inside
