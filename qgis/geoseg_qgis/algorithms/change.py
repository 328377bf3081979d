"""Compare the maps of two dates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
)

from .base import GeosegAlgorithm


class Change(GeosegAlgorithm):
    """`geoseg change`."""

    NAME, TITLE, TAGS = "change", "Change between two maps", "difference transitions dates time"
    HELP = (
        "<p>Compares two maps of one place that were made with one model: which class became which, where, and on how"
        " many hectares. Map both dates with <i>Match the light of another date</i>, and look at the largest changes"
        " before you believe the matrix.</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.add_raster("OLD", "Older map")
        self.add_raster("NEW", "Newer map")
        self.add_min_area("whether they changed or not")
        text = "For maps whose pixels are of one size, but shifted by part of a pixel"
        self.add_switch("SNAP", "Compare the nearest pixels", text, advanced=False)
        self.add_common(bands=False)
        self.add_raster_output("CHANGE", "Change")
        self.add_polygons_output("Changed regions", optional=True, default=False)
        self.addOutput(QgsProcessingOutputFile("MATRIX", "Matrix of areas (CSV)"))
        self.addOutput(QgsProcessingOutputFile("AREAS", "Table of transitions (CSV)"))
        self.addOutput(QgsProcessingOutputNumber("PIXELS", "Pixels that were compared"))
        self.addOutput(QgsProcessingOutputNumber("CHANGED", "Pixels that changed"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Compare the maps, and return the outputs."""
        out = str(self.output(parameters, "CHANGE", context))
        old, new = (self.raster(parameters, name, context) for name in ("OLD", "NEW"))
        arguments = ["change", old, new, "--out", out, "--overwrite", "--json"]
        polygons = self.output(parameters, "POLYGONS", context)
        if polygons is not None:
            arguments += ["--polygons", polygons]
        arguments += self.text_options(parameters, context, MIN_AREA="--min-area")
        arguments += self.flags_given(parameters, context, SNAP="--snap")
        found = self.run_geoseg([*arguments, *self.further_options(parameters, context)], feedback, out).json()
        base = Path(out)
        return {
            "CHANGE": out,
            **({"POLYGONS": polygons} if polygons else {}),
            "MATRIX": str(base.with_suffix(".matrix.csv")),
            "AREAS": str(base.with_suffix(".areas.csv")),
            "PIXELS": found["pixels"],
            "CHANGED": found["changed"],
        }
