"""Draw docs/qgis.jpg with QGIS: one scene as imagery, superpixels, named map and polygons, beside QGIS's layers.

Run it with the Python that has QGIS's modules, on the files of docs/first-map.md:

    geoseg superpixels examples/data/naip_2020.tif --out example-output/segments.gpkg
    QT_QPA_PLATFORM=offscreen /usr/bin/python3 docs/figures/qgis_picture.py example-output docs/qgis.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsFillSymbol,
    QgsLayerTreeModel,
    QgsMapRendererCustomPainterJob,
    QgsMapSettings,
    QgsPalLayerSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.gui import QgsLayerTreeView
from qgis.PyQt.QtCore import QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFont, QImage, QPainter

WIDTH, HEIGHT, PANEL, BAR = 1600, 620, 300, 36
SCENE = Path(__file__).resolve().parents[2] / "examples" / "data" / "naip_2020.tif"
LEFT, BOTTOM, PIXEL = (
    486000.0,
    5206500.0,
    3.3,
)  # corner in metres of the CRS, and metres on the ground for a pixel drawn


def layers(folder: Path) -> dict[str, QgsRasterLayer | QgsVectorLayer]:
    """Open the scene and its results, with the styles that geoseg wrote, from the lowest layer to the highest."""
    found = {
        "imagery": QgsRasterLayer(str(SCENE), "NAIP 2020"),
        "superpixels": QgsVectorLayer(f"{folder / 'segments.gpkg'}|layername=superpixels", "superpixels"),
        "map": QgsRasterLayer(str(folder / "classes.tif"), "classes"),
        "polygons": QgsVectorLayer(f"{folder / 'polygons.gpkg'}|layername=classes", "polygons"),
    }
    for name, layer in found.items():
        if not layer.isValid():
            raise SystemExit(f"{name} does not open: {layer.source()}")
    return found


def label(polygons: QgsVectorLayer) -> None:
    """Let the largest polygons carry the name of their class, and the imagery shine through all of them."""
    text = QgsTextFormat()
    text.setFont(QFont("DejaVu Sans", 9, QFont.Bold))
    text.setSize(9)
    text.setColor(QColor("#10242c"))
    halo = QgsTextBufferSettings()
    halo.setEnabled(True)
    halo.setSize(0.9)
    halo.setColor(QColor(255, 255, 255, 220))
    text.setBuffer(halo)
    settings = QgsPalLayerSettings()
    settings.fieldName = "CASE WHEN area_m2 > 60000 THEN class END"
    settings.isExpression = True
    settings.setFormat(text)
    polygons.setLabeling(QgsVectorLayerSimpleLabeling(settings))
    polygons.setLabelsEnabled(True)
    for category in polygons.renderer().categories():
        symbol = category.symbol().clone()
        fill, edge = QColor(symbol.color()), QColor(symbol.color()).darker(170)
        fill.setAlpha(95)
        outlined = QgsFillSymbol.createSimple({"outline_width": "0.5"})
        outlined.setColor(fill)
        outlined.symbolLayer(0).setStrokeColor(edge)
        polygons.renderer().updateCategorySymbol(polygons.renderer().categoryIndexForValue(category.value()), outlined)


def strip(shown: list[QgsRasterLayer | QgsVectorLayer], first: int, width: int) -> QImage:
    """Draw columns `first` to `first + width` of the picture of the whole landscape."""
    settings = QgsMapSettings()
    settings.setLayers(shown[::-1])
    settings.setDestinationCrs(shown[0].crs())
    settings.setOutputSize(QSize(width, HEIGHT - BAR))
    settings.setOutputDpi(96)
    left = LEFT + first * PIXEL
    settings.setExtent(QgsRectangle(left, BOTTOM, left + width * PIXEL, BOTTOM + (HEIGHT - BAR) * PIXEL))
    image = QImage(width, HEIGHT - BAR, QImage.Format_RGB32)
    image.fill(Qt.white)
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.renderSynchronously()
    painter.end()
    return image


def tree(found: dict[str, QgsRasterLayer | QgsVectorLayer]) -> QImage:
    """Return QGIS's panel of layers, with the legend of the map."""
    project = QgsProject.instance()
    for layer in found.values():
        project.addMapLayer(layer)
    view = QgsLayerTreeView()
    model = QgsLayerTreeModel(project.layerTreeRoot())  # the view does not own it
    view.setModel(model)
    view.setHeaderHidden(True)
    for node in project.layerTreeRoot().findLayers():
        node.setExpanded(node.name() == "classes")
    view.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
    view.setFont(QFont("DejaVu Sans", 11))
    view.resize(PANEL, HEIGHT - BAR)
    view.show()
    QgsApplication.processEvents()
    return view.grab().toImage()


def main(folder: Path, out: Path) -> None:
    """Write the picture."""
    application = QgsApplication([], True)
    application.initQgis()
    found = layers(folder)
    panel = tree(found)
    label(found["polygons"])
    base = found["imagery"]
    views = [
        ("Imagery", [base]),
        ("Superpixels", [base, found["superpixels"]]),
        ("Named map", [found["map"]]),
        ("Polygons", [base, found["polygons"]]),
    ]
    picture = QImage(WIDTH, HEIGHT, QImage.Format_RGB32)
    picture.fill(QColor("#eef1f0"))
    painter = QPainter(picture)
    painter.setFont(QFont("DejaVu Sans", 13, QFont.Bold))
    painter.setPen(QColor("#17303a"))
    painter.drawText(QRectF(10, 0, PANEL, BAR), Qt.AlignVCenter, "Layers in QGIS")
    painter.drawImage(0, BAR, panel)
    width = (WIDTH - PANEL) // len(views)
    for number, (title, shown) in enumerate(views):
        x = PANEL + number * width
        painter.drawImage(x, BAR, strip(shown, number * width, width))
        painter.drawText(QRectF(x, 0, width, BAR), Qt.AlignCenter, title)
        painter.fillRect(x - 1, 0, 3, HEIGHT, QColor("#ffffff"))
    painter.end()
    picture.save(str(out), "JPG", 82)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
