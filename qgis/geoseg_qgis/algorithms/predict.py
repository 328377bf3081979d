"""Map a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
)

from ..dock_choice import remember_model
from .base import MODELS, TABLES, GeosegAlgorithm
from .loading import is_temporary

MATCHES = ["off", "moments", "percentiles"]
AREA_FORMATS = ["gpkg", "geojson", "fgb", "shp", "kml"]
"""What geoseg reads as it is; layers of other kinds are exported."""


class Predict(GeosegAlgorithm):
    """`geoseg predict`."""

    NAME, TITLE, TAGS = "predict", "Map a scene", "classify classification predict inference"
    HELP = (
        "<p>Maps the land cover of a scene of any size, with a model of <i>Train a model</i>, and loads the map with"
        " the colours and names of its classes. Without a model, one of eight classes is learnt from the scene first"
        " (about two minutes) and kept beside the map: with a temporary map it is temporary too, and lost when QGIS is"
        " closed.</p><p>A map that was cancelled is continued when it is run again"
        " with the same settings.</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.add_raster("SCENE", "Scene")
        text = "Empty: the one beside the map; if there is none, it is learnt from the scene"
        self.add_file("MODEL", "Model", text, MODELS)
        self.add_min_area("in the map and in the polygons")
        kinds = [QgsProcessing.TypeVectorPolygon]
        area = QgsProcessingParameterFeatureSource("AREA", "Area of interest", kinds, optional=True)
        self.add(area, "What lies outside its polygons becomes nodata")
        extent = QgsProcessingParameterExtent("EXTENT", "Part to map", optional=True)
        self.add(extent, "Its pixels equal those of the full map")
        text = "Gives the scene the statistics of the imagery that the model learnt from; for dates of one place"
        self.add_choice("MATCH", "Match the light of another date", text, MATCHES, advanced=True)
        title = "Rescale values to those that the model learnt from"
        self.add_switch("RESCALE", title, "For scenes in other units, or of another bit depth")
        self.add_number("SMOOTH", "Rounds of smoothing", "0 is off. Empty: 3", low=0, high=10)
        self.add_switch("RELEARN", "Learn the model anew from the scene")
        self.add_switch("RESTART", "Start over, without the blocks of a map that was cancelled")
        self.add_common(nodata=True, device=True)
        self.add_raster_output("MAP", "Land cover")
        self.add_raster_output("CONFIDENCE", "Confidence", optional=True)
        self.add_polygons_output("Polygons", optional=True, default=False)
        self.add_file_output("AREAS", "Table of areas", TABLES, optional=True)
        self.addOutput(QgsProcessingOutputFile("MODEL_USED", "Model that was used"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Map the scene, and return the outputs."""
        out = str(self.output(parameters, "MAP", context))
        results: dict[str, Any] = {"MAP": out}
        arguments = ["predict", self.raster(parameters, "SCENE", context), "--out", out, "--overwrite"]
        for name, option in (("CONFIDENCE", "--confidence"), ("POLYGONS", "--polygons"), ("AREAS", "--areas")):
            path = self.output(parameters, name, context, layer=name != "AREAS")
            if path is not None:
                results[name] = path
                arguments += [option, path]
        if self.given(parameters, "MODEL"):
            arguments += ["--model", self.path(parameters, "MODEL", context)]
        arguments += self.text_options(
            parameters,
            context,
            MIN_AREA="--min-area",
            BANDS="--bands",
            SMOOTH="--smooth",
            NODATA="--nodata",
            DEVICE="--device",
        )
        match = self.parameterAsEnumString(parameters, "MATCH", context)
        arguments += ["--match", match] if match in MATCHES[1:] else []
        arguments += self.flags_given(
            parameters, context, RESCALE="--rescale", RELEARN="--relearn", RESTART="--restart"
        )
        arguments += self._part(parameters, context, feedback)
        self.run_geoseg([*arguments, *self.further_options(parameters, context)], feedback, out)
        model = results["MODEL_USED"] = self._model(parameters, context, Path(out))
        if model:
            remember_model(Path(out), Path(model))
        if model and is_temporary(model):
            feedback.pushWarning(
                "The model that the map was made with is a temporary file. To map other scenes with it, to name classes"
                f" later, or to compare dates, copy it before you close QGIS: {model}"
            )
        return results

    def _part(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        """The options of the part of the scene to map."""
        words: list[str] = []
        if self.given(parameters, "AREA"):
            # Exported GeoJSON has the same bytes each time, so that a map that was cancelled is continued; but it holds
            # no CRS that has no code.
            source = self.parameterAsSource(parameters, "AREA", context)
            if source is None:
                raise QgsProcessingException(self.invalidSourceError(parameters, "AREA"))
            kind = "geojson" if source.sourceCrs().authid() else "gpkg"
            path, layer = self.parameterAsCompatibleSourceLayerPathAndLayerName(
                parameters, "AREA", context, AREA_FORMATS, kind, feedback
            )
            words += ["--aoi", path, *(["--aoi-layer", layer] if layer and path.lower().endswith(".gpkg") else [])]
        if self.given(parameters, "EXTENT"):
            crs = self.parameterAsRasterLayer(parameters, "SCENE", context).crs()
            extent = self.parameterAsExtent(parameters, "EXTENT", context, crs)
            edges = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
            words += ["--bounds", *(repr(edge) for edge in edges)]
        return words

    def _model(self, parameters: dict[str, Any], context: QgsProcessingContext, out: Path) -> str:
        """The model that the map was made with: the given one, or by geoseg's order of places."""
        if self.given(parameters, "MODEL"):
            return self.path(parameters, "MODEL", context)
        beside = out.with_name("geoseg-model.safetensors")
        learnt = out.with_name(f"{out.stem}-model.safetensors")
        return str(next((path for path in (beside, learnt) if path.is_file()), ""))
