"""Draw the pictures of docs/tutorials that show QGIS: its layers with a map, and the plugin's dock beside a map.

Run it with the Python that has QGIS's modules, and give it a Python that has geoseg, which the dock asks for its sheet:

    QT_QPA_PLATFORM=offscreen /usr/bin/python3 docs/figures/tutorial_qgis.py CHECKOUT PYTHON

CHECKOUT is the folder in which the commands of orthophotos-to-map.md were run.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsLayerTreeView, QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtGui import QColor, QFont
from qgis.PyQt.QtWidgets import QDockWidget, QMainWindow

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "tutorials" / "pictures"
sys.path.insert(0, str(ROOT / "qgis"))
from geoseg_qgis.dock import NamingDock  # noqa: E402
from geoseg_qgis.runner import Geoseg  # noqa: E402


class Window:
    """A window with a map, in place of QGIS's own; and its interface, as far as the dock uses it."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.window, self.canvas, self.bar = QMainWindow(), QgsMapCanvas(), QgsMessageBar()
        self.window.setWindowTitle(title)
        self.window.setCentralWidget(self.canvas)
        self.window.resize(width, height)
        self.canvas.setCanvasColor(QColor("white"))

    def mainWindow(self) -> QMainWindow:  # noqa: N802
        """The window."""
        return self.window

    def mapCanvas(self) -> QgsMapCanvas:  # noqa: N802
        """The map."""
        return self.canvas

    def messageBar(self) -> QgsMessageBar:  # noqa: N802
        """Where messages go."""
        return self.bar

    def show(self, layers: list[Any], extent: Any) -> None:
        """Draw layers, from the highest to the lowest."""
        self.canvas.setDestinationCrs(layers[-1].crs())
        self.canvas.setLayers(layers)
        self.window.show()
        settle()
        self.canvas.setExtent(extent)
        self.canvas.refresh()
        self.canvas.waitWhileRendering()
        settle()

    def save(self, name: str) -> None:
        """Write a picture of the window."""
        self.window.grab().save(str(OUT / f"{name}.jpg"), "JPG", 76)


def settle(seconds: float = 1.0) -> None:
    """Let Qt draw."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.01)


def opened(folder: Path) -> dict[str, Any]:
    """Imagery, map and polygons of a tutorial, with the styles that geoseg wrote."""
    found = {
        "polygons": QgsVectorLayer(f"{folder / 'tutorial/polygons.gpkg'}|layername=classes", "polygons"),
        "map": QgsRasterLayer(str(folder / "tutorial/maps/naip_2020-classes.tif"), "naip_2020-classes"),
        "imagery": QgsRasterLayer(str(folder / "examples/data/naip_2020.tif"), "naip_2020"),
    }
    for name, layer in found.items():
        if not layer.isValid():
            raise SystemExit(f"{name} does not open: {layer.source()}")
    return found


def draw_map(folder: Path) -> None:
    """Layers of QGIS, and the map above the imagery."""
    window, layers = Window("QGIS", 1100, 640), opened(folder)
    for layer in layers.values():
        QgsProject.instance().addMapLayer(layer, False)
        QgsProject.instance().layerTreeRoot().addLayer(layer)
    view = QgsLayerTreeView()
    model = QgsLayerTreeModel(QgsProject.instance().layerTreeRoot())  # the view does not own it
    view.setModel(model)
    view.setHeaderHidden(True)
    for node in QgsProject.instance().layerTreeRoot().findLayers():
        node.setExpanded(node.name() == "naip_2020-classes")
    panel = QDockWidget("Layers")
    panel.setWidget(view)
    panel.setMinimumWidth(250)
    window.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, panel)
    layers["map"].setOpacity(0.75)
    window.show([layers["map"], layers["imagery"]], layers["imagery"].extent())
    window.save("map-in-qgis")
    QgsProject.instance().clear()


def draw_dock(folder: Path, python: str) -> None:
    """The dock with a class chosen, whose examples it shows."""
    window = Window("QGIS", 1340, 700)
    dock = NamingDock(window, lambda: Geoseg((python, "-P", "-m", "geoseg")))
    dock.setMinimumWidth(420)
    window.window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.window.show()
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(folder / "examples/data/naip_2020.tif"), "naip_2020"))
    dock.open_map(folder / "tutorial/maps/naip_2020-classes.tif")
    end = time.monotonic() + 240
    while dock.work.running and time.monotonic() < end:
        settle(0.2)
    dock.table.selectRow(0)
    scene = next(layer for layer in QgsProject.instance().mapLayers().values() if layer.name() == "naip_2020")
    dock.map.layer.setOpacity(0.75)
    window.show([dock.map.layer, scene], scene.extent())
    window.save("dock")
    dock.unload()
    QgsProject.instance().clear()


if __name__ == "__main__":
    os.environ["GDAL_PAM_ENABLED"] = "NO"  # or QGIS leaves statistics beside the scene
    application = QgsApplication([], True)
    application.initQgis()
    application.setFont(QFont("DejaVu Sans", 10))
    draw_map(Path(sys.argv[1]).absolute())
    draw_dock(Path(sys.argv[1]).absolute(), sys.argv[2])
