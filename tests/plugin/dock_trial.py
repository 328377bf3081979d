"""Run by QGIS's own Python, without a screen: use the dock as a person would.

argv: folder of the plugin, Python of geoseg, folder with scene.tif, map.tif, m.safetensors and their files, trials.
"""

import faulthandler
import json
import os
import shutil
import sys
import time
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtGui import QCloseEvent
from qgis.PyQt.QtWidgets import QLineEdit, QMainWindow, QMessageBox

sys.path.insert(0, sys.argv[1])
from geoseg_qgis import dock_layers
from geoseg_qgis.dock import NamingDock
from geoseg_qgis.dock_choice import remember_model
from geoseg_qgis.dock_layers import value_at
from geoseg_qgis.dock_map import read_map, read_model
from geoseg_qgis.dock_teach import _report
from geoseg_qgis.runner import Geoseg

FOLDER = Path(sys.argv[3])
BUTTON = QMessageBox.StandardButton
SECONDS = 240


class Iface:
    """What the dock needs of QGIS's interface."""

    def __init__(self):
        self.window, self.canvas, self.bar, self.active = QMainWindow(), QgsMapCanvas(), QgsMessageBar(), None
        self.window.setCentralWidget(self.canvas)

    def mainWindow(self):  # noqa: N802
        return self.window

    def mapCanvas(self):  # noqa: N802
        return self.canvas

    def messageBar(self):  # noqa: N802
        return self.bar

    def setActiveLayer(self, layer):  # noqa: N802
        self.active = layer

    def actionAddFeature(self):  # noqa: N802
        return self

    def trigger(self):
        self.clicking = True

    def addDockWidget(self, area, dock):  # noqa: N802
        self.window.addDockWidget(area, dock)

    def removeDockWidget(self, dock):  # noqa: N802
        self.window.removeDockWidget(dock)

    def addPluginToMenu(self, menu, action):  # noqa: N802
        self.actions = [*getattr(self, "actions", []), action]

    addToolBarIcon = removeToolBarIcon = lambda self, action: None  # noqa: N815

    def removePluginMenu(self, menu, action):  # noqa: N802
        self.actions.remove(action)


class Trial:
    """A dock on a map."""

    def __init__(self, python=sys.argv[2]):
        self.iface = Iface()
        self.command = [python, "-P", "-m", "geoseg"]
        self.dock = NamingDock(self.iface, lambda: Geoseg(tuple(self.command)))
        self.iface.window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.iface.window.resize(1200, 800)
        self.iface.window.show()
        self.view, self.table = self.dock.view, self.dock.table

    def open(self, scene=True):
        if scene:
            QgsProject.instance().addMapLayer(QgsRasterLayer(str(FOLDER / "scene.tif"), "imagery"))
        self.dock.open_map(FOLDER / "map.tif")
        self.iface.canvas.setDestinationCrs(self.dock.map.layer.crs())
        self.wait()
        return self

    def wait(self):
        end = time.monotonic() + SECONDS
        while self.dock.work.running:
            assert time.monotonic() < end, self.view.status.text()
            QCoreApplication.processEvents()
            time.sleep(0.01)
        QCoreApplication.processEvents()

    def errors(self):
        return [item.text() for item in self.iface.bar.items()][::-1]

    def type_name(self, class_id, text):
        index = self.dock.classes.index(self.dock.classes.place_of(class_id), 1)
        assert self.dock.classes.setData(index, text)

    def legend(self):
        return {int(c.value): (c.label, c.color.name()) for c in self.dock.map.layer.renderer().classes()}

    def end(self):
        self.dock.unload()
        QgsProject.instance().clear()
        self.iface.window.close()


def state():
    """The bytes of all files."""
    return {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}


def names():
    """Names of the classes of map and model."""
    found = (read_map(FOLDER / "map.tif").classes, read_model(FOLDER / "m.safetensors").classes)
    return [{c.id: c.name for c in each} for each in found]


def place_of(trial, class_id):
    """A point whose pixel has a class."""
    layer = trial.dock.map.layer
    extent, block = layer.extent(), layer.dataProvider().block(1, layer.extent(), layer.width(), layer.height())
    row, col = next(
        (r, c) for r in range(layer.height()) for c in range(layer.width()) if block.value(r, c) == class_id
    )
    x, y = layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
    return QgsPointXY(extent.xMinimum() + (col + 0.5) * x, extent.yMaximum() - (row + 0.5) * y)


def naming():
    """Open, pick, name, merge, recolour, apply, and go back."""
    trial = Trial()
    assert "open a map" in trial.view.hint.text()
    assert not trial.view.apply.isEnabled()
    assert not any(action.isEnabled() for action in trial.view.actions_by_name.values())
    trial.open()
    dock, before = trial.dock, state()
    assert dock.map.model == FOLDER / "m.safetensors"
    assert dock.scene() == str(FOLDER / "scene.tif")
    assert "Double-click" in trial.view.hint.text()
    rows = dock.naming.rows()
    shares = [row.entry.share for row in rows]
    assert abs(sum(shares) - 1) < 1e-6
    assert shares == sorted(shares, reverse=True)
    seen = [row.entry.id for row in rows if row.entry.share]
    points = {class_id: place_of(trial, class_id) for class_id in seen}
    for class_id, point in points.items():
        dock._tool.canvasClicked.emit(point, Qt.MouseButton.LeftButton)
        assert trial.table.ids() == [class_id]
        examples = [trial.view.examples.item(i) for i in range(trial.view.examples.count())]
        assert len(examples) == len(dock.naming.row(class_id).entry.places) > 0
        assert not examples[0].icon().isNull()
    trial.view.examples.itemClicked.emit(examples[0])
    west, south, east, north = dock.naming.row(class_id).entry.places[0].extent
    shown = trial.iface.canvas.extent()
    assert shown.contains(QgsPointXY((west + east) / 2, (south + north) / 2))
    assert shown.width() < 6 * (east - west) or shown.height() < 6 * (north - south)
    dock.pick(QgsPointXY(0, 0))
    assert "no class" in trial.view.status.text()
    one, two, three = seen[:3]
    trial.type_name(one, "Meadow & <Heath>")
    trial.type_name(two, "Meadow & <Heath>")  # which merges
    dock.table.change("recolour", [three], "#123456")
    colour = dock.naming.row(one).entry.colour
    assert trial.legend()[two] == ("Meadow & <Heath>", colour) == trial.legend()[one], "drawn before it is applied"
    assert trial.legend()[three][1] == "#123456"
    assert state() == before, "nothing is written before Apply"
    dock.hide()  # so that it need not look at the classes again
    trial.view.apply.click()
    assert not trial.view.pages.isEnabled()
    trial.wait()
    assert trial.errors() == []
    assert "Applied to map.tif and m.safetensors" in trial.view.status.text()
    for each in names():
        assert each[one] == "Meadow & <Heath>"
        assert two not in each
    layer = dock.map.layer
    assert value_at(layer, points[two], layer.crs()) == one, "the layer shows the new file"
    assert trial.legend()[one] == ("Meadow & <Heath>", colour)
    assert two not in trial.legend()
    assert not dock.naming.edits
    assert not trial.view.apply.isEnabled()
    trial.view.back.click()
    trial.wait()
    assert state() == before, "to the byte"
    assert value_at(dock.map.layer, points[two], layer.crs()) == two
    assert not (FOLDER / "map.tif.undo").exists()
    assert not trial.view.back.isEnabled()
    assert "as it was before" in trial.view.status.text()
    # A map that is added is chosen, and what was told of the other one goes.
    again = QgsRasterLayer(str(FOLDER / "map.tif"), layer.name())
    QgsProject.instance().addMapLayer(again)
    assert dock.map.layer_id == again.id() == trial.view.maps.currentData()
    assert trial.view.status.text() == ""
    folder = FOLDER.name
    assert [trial.view.maps.itemText(i) for i in range(2)] == [f"map ({folder}/map.tif)"] * 2
    assert trial.view.maps.toolTip() == str(FOLDER / "map.tif")
    trial.view.maps.setCurrentIndex(trial.view.maps.findData(layer.id()))
    assert dock.map.layer_id == layer.id()
    trial.end()


def keeping():
    """Edits that are not applied are never lost: crashes, other maps, closing, other programs."""
    trial = Trial().open()
    trial.type_name(1, "Lake")
    trial.dock.table.change("merge", [2], 3)
    trial.dock.unload()  # and no more: QGIS crashed
    QgsProject.instance().clear()
    trial = Trial().open(scene=False)
    dock = trial.dock
    assert dock.naming.summary() == "1 new name, 1 merged class"
    assert trial.legend()[1][0] == "Lake"
    assert trial.legend()[2] == trial.legend()[3]
    other = QgsRasterLayer(str(FOLDER / "map.tif"), "again")
    QgsProject.instance().addMapLayer(other)
    asked = []
    for answer, stays in ((BUTTON.Cancel, True), (BUTTON.Save, False)):
        trial.view.ask_leave = lambda text, answer=answer: (asked.append(text), answer)[1]
        first = dock.map.layer_id
        trial.view.maps.setCurrentIndex(trial.view.maps.findData(other.id()))
        assert (dock.map.layer_id == first) == stays == (trial.view.maps.currentData() == first)
        assert dock.naming.summary() == "1 new name, 1 merged class"
    assert asked == ["map.tif: 1 new name, 1 merged class not applied yet."] * 2
    trial.view.ask_leave = lambda _: BUTTON.Cancel
    event = QCloseEvent()
    dock.closeEvent(event)
    assert not event.isAccepted()
    trial.wait()
    # Somebody else names a class meanwhile.
    Geoseg(tuple(trial.command)).run(
        ["classes", "set", str(FOLDER / "m.safetensors"), "4", "Elsewhere", "--map", str(FOLDER / "map.tif")]
    ).check()
    trial.view.apply.click()
    trial.wait()
    assert "changed by another program" in trial.errors()[-1]
    assert dock.naming.summary() == "1 new name, 1 merged class"
    trial.view.apply.click()
    trial.wait()
    for each in names():
        assert (each[1], each[4]) == ("Lake", "Elsewhere")
        assert 2 not in each
    trial.type_name(3, "x")
    trial.view.ask_leave = lambda _: BUTTON.Discard
    event = QCloseEvent()
    dock.closeEvent(event)
    assert event.isAccepted()
    assert not dock.naming.edits
    assert names()[0][3] != "x"
    trial.end()


def typing():
    """What is being typed stays when geoseg's answer arrives."""
    trial = Trial()
    trial.dock.open_map(FOLDER / "map.tif")
    index = trial.dock.classes.index(0, 1)
    trial.table.edit(index)
    editor = trial.table.findChild(QLineEdit)
    editor.setText("half a na")
    trial.wait()
    for _ in range(20):
        QCoreApplication.processEvents()
    assert trial.table.findChild(QLineEdit) is editor
    editor.setText("half a name")
    trial.table.commitData(editor)
    trial.table.closeEditor(editor, trial.table.itemDelegate().EndEditHint.NoHint)
    end = time.monotonic() + 20
    while trial.dock.naming.rows()[0].entry.share is None and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.02)
    assert trial.dock.naming.rows()[0].entry.share is not None
    assert trial.dock.naming.edits.names == {1: "half a name"}
    trial.end()


def failing():
    """Errors are one line, and leave everything as it was."""
    trial = Trial().open()
    dock, before = trial.dock, state()
    trial.type_name(1, "Lake")
    good = list(trial.command)
    for command, words in (
        (["/nowhere/python"], "/nowhere/python: No such file"),
        ([good[0], "-c", "import sys; sys.exit('geoseg is broken')"], "geoseg is broken"),
    ):
        trial.command[:] = command
        trial.view.apply.click()
        trial.wait()
        assert words in trial.errors()[-1], trial.errors()
        assert "\n" not in trial.errors()[-1]
        assert dock.naming.summary() == "1 new name"
        assert trial.view.apply.isEnabled()
        assert trial.view.pages.isEnabled()
        assert trial.legend()[1][0] == "Lake"
        assert state() == before
        assert not (FOLDER / "map.tif.undo").exists()
    trial.command[:] = [good[0], "-c", "import time; time.sleep(200)"]
    trial.view.apply.click()
    trial.view.stop.click()
    trial.wait()
    assert state() == before
    assert dock.naming.summary() == "1 new name"
    trial.command[:] = good
    # Where the model is not found, or another one is chosen.
    (FOLDER / "m.safetensors").rename(FOLDER.parent / "away.safetensors.old")
    dock.load()
    trial.wait()
    assert "not beside it" in trial.view.hint.text()
    elsewhere = FOLDER.parent / "models" / "m.safetensors"
    elsewhere.parent.mkdir()
    shutil.copy(FOLDER.parent / "away.safetensors.old", elsewhere)
    remember_model(FOLDER / "map.tif", elsewhere)  # as the algorithm does
    dock.load()
    trial.wait()
    assert dock.map.model == elsewhere
    elsewhere.unlink()
    dock.load()
    trial.wait()
    assert "not beside it" in trial.view.hint.text()
    dock.view.model.setFilePath(str(FOLDER / "map.tif"))
    assert "is no model" in trial.errors()[-1]
    assert dock.map.model is None
    trial.view.apply.click()
    trial.wait()
    assert read_map(FOLDER / "map.tif").classes[0].name == "Lake"
    (FOLDER.parent / "away.safetensors.old").rename(FOLDER / "m.safetensors")
    dock.load()
    trial.wait()
    assert dock.map.differs
    assert "other classes" in trial.view.hint.text()
    trial.view.hint.linkActivated.emit("model")
    trial.wait()
    assert names()[0] == names()[1]
    assert names()[0][1] != "Lake"
    (FOLDER / "map.geoseg.json").write_text("{")
    dock.load()
    assert "no record of a map" in trial.errors()[-1]
    dock.open_map(FOLDER / "scene.tif")
    assert "no map of geoseg" in trial.errors()[-1]
    trial.end()


def held():
    """Where open files cannot be replaced, they are closed meanwhile."""
    dock_layers.OPEN_FILES_STAY = True
    trial = Trial().open()
    trial.type_name(1, "Lake")
    trial.view.apply.click()
    assert not trial.dock.map.layer.isValid()
    trial.wait()
    assert trial.dock.map.layer.isValid()
    assert trial.legend()[1][0] == names()[0][1] == "Lake"
    trial.view.back.click()
    trial.wait()
    assert trial.legend()[1][0] == names()[0][1] != "Lake"
    trial.end()


def suggesting():
    """Like classes are merged, to look at."""
    trial = Trial().open()
    before = state()
    trial.view.actions_by_name["suggest"].trigger()
    trial.wait()
    assert "No classes are alike" in trial.view.status.text()
    assert not trial.dock.naming.edits
    found = {"groups": [{"ids": [1, 3], "into": 3}, {"ids": [2], "into": 2}, {"ids": [4, 5], "into": 4}]}
    trial.command[1:] = ["-c", f"print({json.dumps(found)!r})"]
    trial.view.actions_by_name["suggest"].trigger()
    trial.wait()
    assert dict(trial.dock.naming.edits.into) == {1: 3, 5: 4}
    assert "2 groups" in trial.view.status.text()
    assert state() == before
    trial.view.actions_by_name["undo"].trigger()
    assert not trial.dock.naming.edits
    trial.table.choose([1])
    trial.view.actions_by_name["only"].trigger()
    alphas = {int(c.value): c.color.alpha() for c in trial.dock.map.layer.renderer().classes()}
    assert alphas.pop(1) == 255
    assert max(alphas.values()) < 60
    trial.view.actions_by_name["only"].trigger()
    assert {c.color.alpha() for c in trial.dock.map.layer.renderer().classes()} == {255}
    trial.end()


def teaching():
    """Teach with a memory layer, some features of which are not saved; then with a layer that is made here."""
    trial = Trial().open()
    dock, page = trial.dock, trial.dock.teach
    polygons = "Polygon?crs=EPSG:4326&field=class_id:integer&field=class:string"
    cut = "Polygon?crs=EPSG:4326&field=id:integer&field=pixels:integer&field=mean_1:double&field=std_1:double"
    for made in (f"{polygons}&field=perimeter_m:double", cut):
        QgsProject.instance().addMapLayer(QgsVectorLayer(made, "a", "memory"))
        assert page.layer() is None, "what geoseg made is not taught unasked"
    assert page.points.count() == 2
    parcels = QgsVectorLayer("Polygon?crs=EPSG:4326&field=kind:string", "b", "memory")
    QgsProject.instance().addMapLayer(parcels)
    assert page.layer() == parcels
    layer = QgsVectorLayer(
        f"Point?crs={dock.map.layer.crs().authid()}&field=n:integer&field=kind:string", "mine", "memory"
    )
    QgsProject.instance().addMapLayer(layer)
    assert page.layer() == layer, "points come first"
    assert page.field.currentField() == "kind"
    page.teach_button.click()
    assert "no feature has a class" in trial.errors()[-1]
    extent = dock.map.layer.extent()
    features = []
    for row in range(6):
        for col in range(6):
            feature = QgsFeature(layer.fields())
            x, y = (
                low + (i + 0.5) / 6 * size
                for low, i, size in (
                    (extent.xMinimum(), col, extent.width()),
                    (extent.yMinimum(), row, extent.height()),
                )
            )
            feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(x, y)))
            feature.setAttribute(1, ("north" if row > 2 else "south") if col else None)
            features.append(feature)
    layer.dataProvider().addFeatures(features[:18])
    layer.startEditing()
    layer.addFeatures(features[18:])
    assert page.model.filePath() == str(FOLDER / "m.safetensors")
    page.teach_button.click()
    assert not page.teach_button.isEnabled()
    trial.wait()
    assert page.teach_button.isEnabled()
    model = FOLDER / "m-taught.safetensors"
    assert model.is_file(), trial.errors()
    assert {c.name for c in read_model(model).classes} == {"north", "south"}
    assert "north" in page.report.toPlainText()
    report = {"classes": [], "judged": 9, "left_out": {}, "contradictions": []}
    assert "teach again" in _report({**report, "agreement": 0.69})
    assert "teach again" not in _report({**report, "agreement": 0.7})
    assert page.model.filePath() == str(model)
    dock.load()
    trial.wait()
    assert page.model.filePath() == str(model), "that of the map is not wanted any more"
    following = page.layer()
    assert following.name() == "where to click next"
    assert following.featureCount() > 0
    assert following.labelsEnabled()
    assert following.renderer().symbol().symbolLayer(0).layerType() == "SimpleLine"
    assert page.field.currentField() == "kind"
    # Its field is filled in, and the next model gets a name of its own.
    following.startEditing()
    for feature in following.getFeatures():
        following.changeAttributeValue(feature.id(), following.fields().lookupField("kind"), "north")
    page.teach_button.click()
    trial.wait()
    assert (FOLDER / "m-taught2.safetensors").is_file(), trial.errors()
    made = page.make_points(FOLDER / "points.gpkg")
    assert made.isValid()
    assert made.isEditable()
    assert trial.iface.active == made
    assert page.layer() == made
    assert page.field.currentField() == "class"
    trial.end()


def plugin():
    """The plugin shows the dock, which runs nothing while nobody sees it, and takes it away again."""
    from geoseg_qgis.plugin import GeosegPlugin

    iface = Iface()
    iface.window.show()
    loaded = GeosegPlugin(iface)
    loaded.initGui()
    assert loaded.dock is None
    next(action for action in iface.actions if action.text() == "Name classes").trigger()
    dock = loaded.dock
    assert dock.isVisible()
    dock.hide()
    dock.open_map(FOLDER / "map.tif")
    assert not dock.work.running
    assert len(dock.naming.classes) == 5
    QgsSettings().setValue("geoseg/environment", sys.argv[2])
    dock.show()
    end = time.monotonic() + SECONDS
    while dock.naming.classes[0].share is None and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.02)
    assert dock.naming.classes[0].share is not None, [item.text() for item in iface.bar.items()]
    loaded.unload()
    assert not iface.actions
    assert loaded.dock is None
    QgsProject.instance().clear()


faulthandler.enable()
application = QgsApplication([], True)
application.initQgis()
for name in sys.argv[4:]:
    QgsSettings().clear()
    globals()[name]()
print(json.dumps({"done": sys.argv[4:]}))
sys.stdout.flush()
application.sendPostedEvents(None, QEvent.Type.DeferredDelete)
os._exit(0)  # QGIS crashes at the end of a script that has windows
