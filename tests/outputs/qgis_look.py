"""Run by QGIS's own Python: open each file of argv[2:] as QGIS would, say what it shows as JSON on standard output, and
render it to a PNG in the folder argv[1], two pixels to a pixel of the first file, which is a raster."""

import json
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def opened(path):
    if path.suffix == ".tif":
        return QgsRasterLayer(str(path), path.stem)
    return QgsVectorLayer(str(path), path.stem, "ogr")


def shown(layer):
    """What the legend has: (value, label, colour) of each entry."""
    renderer = layer.renderer()
    kind = renderer.type()
    entries = []
    if kind == "paletted":
        entries = [(int(entry.value), entry.label, entry.color.name()) for entry in renderer.classes()]
    elif kind == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        entries = [(item.value, item.label, item.color.name()) for item in items]
    elif kind == "categorizedSymbol":
        kind += f" by {renderer.classAttribute()}"
        entries = [(int(e.value()), e.label(), e.symbol().color().name()) for e in renderer.categories()]
    elif kind == "RuleRenderer":
        rules = renderer.rootRule().children()
        entries = [(rule.filterExpression(), rule.label(), rule.symbol().color().name()) for rule in rules]
    return {"valid": layer.isValid(), "renderer": kind, "entries": entries, "crs": layer.crs().authid()}


def render(layer, first, path):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(first.crs())
    settings.setExtent(first.extent())
    settings.setOutputSize(QSize(2 * first.width(), 2 * first.height()))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if not job.renderedImage().save(str(path), "PNG"):
        raise SystemExit(f"{path}: cannot be written")


def main(folder, *names):
    application = QgsApplication([], False)
    application.initQgis()
    layers = [opened(Path(name)) for name in names]
    found = {}
    for name, layer in zip(names, layers, strict=True):
        found[Path(name).name] = shown(layer)
        render(layer, layers[0], Path(folder) / f"{Path(name).name}.png")
        sld = Path(name + ".sld")
        if sld.exists():
            message, well = layer.loadSldStyle(str(sld))
            found[sld.name] = {**shown(layer), "loaded": well, "message": message}
    print(json.dumps(found))
    # Layers have to go before what they were made with.
    layers.clear()
    del layer
    application.exitQgis()


main(*sys.argv[1:])
