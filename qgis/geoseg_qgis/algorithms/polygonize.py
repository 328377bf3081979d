"""Turn a class raster into polygons."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback, QgsProcessingParameterDistance

from .base import TABLES, GeosegAlgorithm


class Polygonize(GeosegAlgorithm):
    """`geoseg polygonize`."""

    NAME, TITLE, TAGS = "polygonize", "Polygonize", "vectorize vectorise polygons"
    HELP = (
        "<p>Turns a class raster of any size, from geoseg or from any other program, into polygons with class, area and"
        " perimeter, in the colours of the classes. Nothing is cut at the edges of blocks; there are no gaps and no"
        " overlaps, also after simplification.</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.add_raster("RASTER", "Class raster")
        self.add_min_area("before polygons are drawn")
        distance = QgsProcessingParameterDistance("SIMPLIFY", "Simplify outlines by", None, "RASTER", True, 0)
        self.add(distance, "Vertices that stand out less are removed; neighbours keep their common edges")
        self.add_text("CLASSES", "Classes", "Ids or names of the classes to write: 1,3 or water,trees. Empty: all")
        text = "Raster on the same pixels, of which each polygon gets the mean"
        self.add_raster("CONFIDENCE", "Confidence", text, optional=True)
        self.add_common(bands=False, nodata=True)
        self.add_polygons_output("Polygons")
        self.add_file_output("AREAS", "Table of areas", TABLES, optional=True)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Draw the polygons, and return the outputs."""
        out = str(self.output(parameters, "POLYGONS", context))
        results = {"POLYGONS": out}
        arguments = ["polygonize", self.raster(parameters, "RASTER", context), "--out", out, "--overwrite"]
        if self.given(parameters, "CONFIDENCE"):
            arguments += ["--confidence", self.raster(parameters, "CONFIDENCE", context)]
        areas = self.output(parameters, "AREAS", context, layer=False)
        if areas is not None:
            results["AREAS"] = areas
            arguments += ["--areas", areas]
        arguments += self.text_options(
            parameters, context, MIN_AREA="--min-area", SIMPLIFY="--simplify", CLASSES="--classes", NODATA="--nodata"
        )
        self.run_geoseg([*arguments, *self.further_options(parameters, context)], feedback, out)
        return results
