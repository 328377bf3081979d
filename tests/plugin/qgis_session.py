"""Run by QGIS's own Python: load the plugin, run the algorithms that standard input asks for, and say what came of it.

Standard input is a JSON list of tasks: {"algorithm", "parameters"} and optionally "cancel_at" (a percentage),
"environment" (that of geoseg), "picture" (a PNG to draw the loaded layers and the scene to). An algorithm "model" is
one that maps a scene and polygonizes the map. Standard output ends with a JSON object, whose "done" has {"results",
"error", "log", "layers"} of each task.
"""

# Names that QGIS calls:
# ruff: noqa: N802, N815

import json
import os
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

ROOT = Path(__file__).resolve().parents[2]


class Feedback(QgsProcessingFeedback):
    """Keeps what is said, and cancels at a percentage."""

    def __init__(self, cancel_at):
        super().__init__(False)
        self.said, self.reached = [], 0.0
        self.cancel_at = cancel_at
        self.progressChanged.connect(self.follow)

    def follow(self, percent):
        self.reached = max(self.reached, percent)
        if self.cancel_at is not None and percent >= self.cancel_at:
            self.cancel()

    def pushInfo(self, text):
        self.said.append(text)

    pushWarning = pushDebugInfo = pushCommandInfo = pushInfo

    def reportError(self, text, fatalError=False):
        self.said.append(text)


def shown(layer):
    """What the legend of a loaded layer has."""
    renderer = layer.renderer()
    kind = renderer.type()
    if kind == "paletted":
        entries = [[int(entry.value), entry.label, entry.color.name()] for entry in renderer.classes()]
    elif kind == "categorizedSymbol":
        entries = [
            [int(entry.value()), entry.label(), entry.symbol().color().name()] for entry in renderer.categories()
        ]
    else:
        entries = []
    return {"valid": layer.isValid(), "renderer": kind, "entries": entries, "source": layer.source()}


def render(layers, path):
    first = layers[-1]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(first.crs())
    settings.setExtent(first.extent())
    settings.setOutputSize(QSize(934, 723))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path, "PNG")


def chain():
    """A model of the designer: a map of a scene, and its polygons."""
    model = QgsProcessingModelAlgorithm("chain")
    for parameter in (QgsProcessingParameterRasterLayer("SCENE", ""), QgsProcessingParameterFile("MODEL", "")):
        model.addModelParameter(parameter, QgsProcessingModelParameter(parameter.name()))
    given = QgsProcessingModelChildParameterSource.fromModelParameter
    first = QgsProcessingModelChildAlgorithm("geoseg:predict")
    first.setChildId("map")
    first.addParameterSources("SCENE", [given("SCENE")])
    first.addParameterSources("MODEL", [given("MODEL")])
    model.addChildAlgorithm(first)
    second = QgsProcessingModelChildAlgorithm("geoseg:polygonize")
    second.setChildId("polygons")
    second.addParameterSources("RASTER", [QgsProcessingModelChildParameterSource.fromChildOutput("map", "MAP")])
    output = QgsProcessingModelOutput("OUT")
    output.setChildId("polygons")
    output.setChildOutputName("POLYGONS")
    second.setModelOutputs({"OUT": output})
    model.addChildAlgorithm(second)
    return model


def perform(task):
    import processing

    feedback, error, results = Feedback(task.get("cancel_at")), None, {}
    if "environment" in task:
        os.environ["GEOSEG_ENVIRONMENT"] = task["environment"]
    algorithm = chain() if task["algorithm"] == "model" else task["algorithm"]
    try:
        results = processing.runAndLoadResults(algorithm, task["parameters"], feedback=feedback)
    except QgsProcessingException as failure:
        error = str(failure)
    project = QgsProject.instance()
    layers = list(project.mapLayers().values())
    if task.get("picture"):
        scene = QgsRasterLayer(task["parameters"]["SCENE"], "scene")
        render([*sorted(layers, key=lambda layer: layer.type() != 0), scene], task["picture"])
    found = {layer.name(): shown(layer) for layer in layers}
    project.removeAllMapLayers()
    return {"results": results, "error": error, "log": feedback.said, "reached": feedback.reached, "layers": found}


def main():
    application = QgsApplication([], False)
    application.initQgis()
    sys.path[:0] = [str(Path(application.pkgDataPath()) / "python" / "plugins"), str(ROOT / "qgis")]
    from processing.core.Processing import Processing

    Processing.initialize()
    import geoseg_qgis

    plugin = geoseg_qgis.classFactory(None)
    plugin.initProcessing()
    provider = application.processingRegistry().providerById("geoseg")
    tasks = json.load(sys.stdin)
    said = {
        "algorithms": sorted(each.id() for each in provider.algorithms()),
        "done": [perform(task) for task in tasks],
    }
    said["can_execute"] = provider.algorithm("predict").canExecute()
    os.environ["GEOSEG_ENVIRONMENT"] = "/nowhere/at all"
    said["cannot_execute"] = provider.algorithm("predict").canExecute()
    plugin.unload()
    said["unloaded"] = application.processingRegistry().providerById("geoseg") is None
    print(json.dumps(said, default=str))
    application.exitQgis()


main()
