"""The features of a vector file one by one, each as a mask on the pixels of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.edges import UNIT, Edges, covered
from geoseg.areas.placing import Placement, flattened
from geoseg.areas.reading import open_areas
from geoseg.grid import Span, Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import shapely
else:
    shapely = lazy("shapely")


@dataclass(frozen=True)
class Feature:
    """The polygons of one feature, on the pixels of a scene.

    Attributes:
        number: Its position in the file, counted from 1.
        edges: Their edges.
    """

    number: int
    edges: Edges

    def window(self, within: Window) -> Window:
        """Return the part of a window outside of which the feature covers nothing; empty where it covers nothing."""
        edges = self.edges.of_rows(within.rows.start, within.rows.stop)
        if not len(edges.first):
            return Window(within.rows, Span(within.cols.start, within.cols.start))
        ends = np.stack([edges.x, edges.x + edges.dx])
        first, last = int(ends.min()) // UNIT, int(ends.max()) // UNIT + 2
        # Edges right of the extent are left out; what they end goes on to its side.
        if int((edges.sign * (edges.stop - edges.first)).sum()):
            last = within.cols.stop
        rows = Span(int(edges.first.min()), int(edges.stop.max()))
        return Window(rows, Span(first, max(first, last))).intersect(within)

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Return bool (rows, cols) for a window of the scene: True inside the feature."""
        return covered(self.edges, window)


def features_of(path: Path, georeference: Georeference, extent: Window, layer: str | None = None) -> list[Feature]:
    """Return the features of a vector file that have polygons; see `AreaOfInterest`, which checks the file.

    Args:
        path: The vector file.
        georeference: Of the scene.
        extent: The pixels that masks are made for.
        layer: Layer of a GeoPackage; None for the one with polygons.

    Raises:
        InputMissingError, InputError: The file is missing or damaged, or its CRS cannot be related to the scene's.
        SettingError: There is no such layer.
    """
    crs, batches, _ = open_areas(path, layer)
    placement, found, number = Placement(path, crs, georeference, extent), [], 0
    for batch in batches:
        for shape in shapely.force_2d(batch):
            number += 1
            polygons = flattened(np.array([shape], object))
            if len(polygons):
                found.append(Feature(number, placement.edges(polygons)))
    return found
