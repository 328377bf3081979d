"""The Processing provider."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms import ALGORITHMS
from .algorithms.base import ICON


class GeosegProvider(QgsProcessingProvider):
    """The algorithms of geoseg in the toolbox, in models, in batch and in `qgis_process`."""

    def id(self) -> str:
        """Return the id: algorithms are called `geoseg:predict`."""
        return "geoseg"

    def name(self) -> str:
        """Return the name."""
        return "geoseg"

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(ICON)

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the formats of rasters: geoseg writes cloud-optimised GeoTIFF."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Return the formats of polygons, the first by default."""
        return ["gpkg", "fgb", "geojson", "shp"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """Return the format of temporary polygons, whatever QGIS is set to."""
        return "gpkg"
