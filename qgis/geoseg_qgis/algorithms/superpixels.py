"""Cut a scene into superpixels."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingException, QgsProcessingFeedback

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
        self.add_raster("SCENE", "Scene")
        self.add_number("SIZE", "Side of a superpixel in pixels", default=16, low=2, advanced=False)
        text = "Weight of distance against colour: higher values make rounder superpixels"
        self.add_number("COMPACTNESS", "Compactness", text, 10.0, low=0, whole=False, advanced=False)
        self.add_number("ITERATIONS", "Iterations", "Empty: 5", low=1)
        text = "Smaller ones are merged into a neighbour. Empty: a quarter of the side, squared"
        self.add_number("MIN_SIZE", "Smallest superpixel in pixels", text, low=0)
        self.add_common(nodata=True)
        self.add_polygons_output("Superpixels", optional=True)
        self.add_raster_output("IDS", "Raster of ids", optional=True)

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
        options += self.further_options(parameters, context)
        scene = self.raster(parameters, "SCENE", context)
        for i, out in enumerate(results.values()):
            arguments = ["superpixels", scene, "--out", out, "--overwrite", *options]
            self.run_geoseg(arguments, feedback, out, i / len(results), (i + 1) / len(results))
        return results
