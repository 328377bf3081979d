"""Cut a scene into superpixels."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from .base import GeosegAlgorithm


class Superpixels(GeosegAlgorithm):
    """`geoseg superpixels`."""

    NAME, TITLE, TAGS = "superpixels", "Superpixels", "SLIC segments objects OBIA"
    HELP = (
        "<p>Cuts a scene of any size into superpixels, without a model: polygons with the mean and the standard"
        " deviation of each band, or a raster of ids whose style shows their borders, or both.</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        integer, double = QgsProcessingParameterNumber.Integer, QgsProcessingParameterNumber.Double
        self.add(QgsProcessingParameterRasterLayer("SCENE", "Scene"))
        self.add(QgsProcessingParameterNumber("SIZE", "Side of a superpixel in pixels", integer, 16, False, 4))
        self.add(
            QgsProcessingParameterNumber("COMPACTNESS", "Compactness", double, 10.0, False, 0),
            "Weight of distance against colour: higher values make rounder superpixels",
        )
        self.advanced(QgsProcessingParameterNumber("ITERATIONS", "Iterations", integer, 5, False, 1))
        self.advanced(
            QgsProcessingParameterNumber("MIN_SIZE", "Smallest superpixel in pixels", integer, None, True, 0),
            "Smaller ones are merged into a neighbour. Empty: a quarter of the side, squared",
        )
        self.add_bands()
        self.advanced(QgsProcessingParameterNumber("NODATA", "Value of invalid pixels", double, None, True))
        self.add_extra()
        self.add(
            QgsProcessingParameterVectorDestination(
                "POLYGONS", "Superpixels", QgsProcessing.TypeVectorPolygon, optional=True
            )
        )
        self.add(QgsProcessingParameterRasterDestination("IDS", "Raster of ids", optional=True, createByDefault=False))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Cut the scene, once for each output."""
        wanted = {name: self.output(parameters, name, context) for name in ("POLYGONS", "IDS")}
        results = {name: path for name, path in wanted.items() if path is not None}
        if not results:
            raise QgsProcessingException("Choose an output: polygons, a raster of ids, or both")
        options = self.text_options(
            parameters,
            context,
            SIZE="--size",
            COMPACTNESS="--compactness",
            ITERATIONS="--iterations",
            MIN_SIZE="--min-size",
            BANDS="--bands",
            NODATA="--nodata",
        )
        options += self.extra(parameters, context)
        scene = self.raster(parameters, "SCENE", context)
        for i, out in enumerate(results.values()):
            arguments = ["superpixels", scene, "--out", out, "--overwrite", *options]
            self.run_geoseg(arguments, feedback, out, i / len(results), (i + 1) / len(results))
        return results
