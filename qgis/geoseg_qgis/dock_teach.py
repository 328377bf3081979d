"""The page of the dock that teaches a model with the points of a layer."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsEditorWidgetSetup,
    QgsField,
    QgsFields,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsFieldComboBox, QgsFileWidget
from qgis.PyQt.QtCore import QMetaType, QVariant, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QTextBrowser,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .dock_classes import NamingError
from .dock_layers import export, is_made

_TEXT = getattr(QVariant, "String", None) or QMetaType.Type.QString
_INTRO = (
    "<p>Teach the model the classes you are looking for, with a few points of each:</p><ol><li><b>New</b> makes a layer"
    " of points. Click places of each class and type its name, five to twenty a class, spread over the scene.</li>"
    "<li><b>Teach</b> writes a new model of these classes, says how well it knows them, and loads the places where a"
    " point would help most.</li><li>Fill in the field of these, teach again, and then <b>Map the scene</b>.</li></ol>"
)

_GOOD = 0.7
"""Agreement below which a map is not worth making yet."""
_ADVICE = (
    "That is little. Before you map the scene, check the points below, if there are any, give classes of low recall or"
    " precision more points, in other parts of the scene too, fill in the layer <i>where to click next</i>, and teach"
    " again. What looks alike from above may have to be one class."
)


class TeachPage(QWidget):
    """The page.

    Args:
        dock: What runs commands and tells the user: has `run`, `tell`, `scene` and `canvas`.
        map_scene: Called with scene and model to map a scene.

    Signals:
        place_wanted: The bounds, in the CRS of the scene, of the place of a reference to check.
    """

    place_wanted = pyqtSignal(tuple)

    def __init__(self, dock: Any, map_scene: Callable[[str, str], None] | None = None) -> None:
        super().__init__(dock)
        self._dock, self._map_scene, self._followed, self._preset = dock, map_scene, "", ""
        self.model = QgsFileWidget()
        self.model.setFilter("Models of geoseg (*.safetensors)")
        self.points, self.field = QComboBox(), QgsFieldComboBox()
        self.points.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        new = QToolButton()
        new.setText("New…")
        new.setToolTip("Make a layer of points with a field for the class, and begin to click")
        new.clicked.connect(self._new_points)
        self.teach_button, self.map_button = QPushButton("Teach"), QPushButton("Map the scene…")
        self.map_button.setEnabled(False)
        self.map_button.setVisible(map_scene is not None)
        self.report = QTextBrowser()
        self.report.setOpenLinks(False)
        self.report.setHtml(_INTRO)
        form, line, buttons, layout = QFormLayout(), QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        line.addWidget(self.points, 1)
        line.addWidget(new)
        form.addRow("Model", self.model)
        form.addRow("Points", line)
        form.addRow("Class field", self.field)
        buttons.addStretch()
        buttons.addWidget(self.map_button)
        buttons.addWidget(self.teach_button)
        layout.addLayout(form)
        layout.addWidget(self.report, 1)
        layout.addLayout(buttons)
        self.points.currentIndexChanged.connect(self._layer_changed)
        self.report.anchorClicked.connect(
            lambda url: self.place_wanted.emit(tuple(map(float, url.toString().split(","))))
        )
        self.teach_button.clicked.connect(self.teach)
        self.map_button.clicked.connect(self._ask_map)
        self.fill()

    def follow(self, model: str) -> None:
        """Teach the model of the map that is shown, unless another one was chosen here."""
        if self.model.filePath() in ("", self._followed):
            self.model.setFilePath(model)
            self._followed = model

    def fill(self) -> None:
        """List the vector layers of the project, points first; none that geoseg made is chosen unasked."""
        chosen, project = self.points.currentData(), QgsProject.instance()
        layers = [
            each for each in project.mapLayers().values() if isinstance(each, QgsVectorLayer) and each.isSpatial()
        ]
        layers.sort(key=lambda each: (is_made(each), not _has_points(each)))
        own = {each.id(): each for each in layers}
        if chosen not in own or (chosen == self._preset and not _has_points(own[chosen])):
            chosen = self._preset = next((each.id() for each in layers if not is_made(each)), "")
        self.points.blockSignals(True)
        self.points.clear()
        for layer in layers:
            self.points.addItem(layer.name(), layer.id())
        self.points.setCurrentIndex(self.points.findData(chosen) if chosen else -1)
        self.points.blockSignals(False)
        self._layer_changed()

    def layer(self) -> QgsVectorLayer | None:
        """Return the layer of references."""
        return QgsProject.instance().mapLayer(self.points.currentData() or "")

    def teach(self) -> None:
        """Teach the model, in the background."""
        layer, scene, model, field = self.layer(), self._dock.scene(), self.model.filePath(), self.field.currentField()
        needed = {"points: make a layer of them with New": layer is not None, "a model": model, "the scene": scene}
        try:
            for what, there in needed.items():
                if not there:
                    raise NamingError(f"to teach, choose {what}")
            folder = tempfile.TemporaryDirectory(prefix="geoseg-")
            reference = Path(folder.name) / "references.gpkg"
            export(layer, field, reference)
        except NamingError as error:
            self._dock.tell(str(error), True)
            return
        out = _free(Path(model))
        arguments = ["teach", model, "--scene", scene, "--reference", str(reference), "--field", field]
        self.teach_button.setEnabled(False)
        self._dock.work.run(
            f"Teaching {Path(model).name}",
            [*arguments, "-o", str(out), "--json"],
            lambda result: self._taught(result, field, folder),
        )

    def _taught(self, result: Any, field: str, folder: Any) -> None:
        folder.cleanup()
        self.teach_button.setEnabled(True)
        if result.cancelled:
            return
        report = result.json()
        self.model.setFilePath(report["model"])
        self.report.setHtml(_report(report))
        self.map_button.setEnabled(True)
        if report["next"]:
            layer = QgsVectorLayer(report["next"], "where to click next", "ogr")
            _offer_names(layer, field, [entry["name"] for entry in report["classes"]])
            QgsProject.instance().addMapLayer(layer)
            self.points.setCurrentIndex(self.points.findData(layer.id()))
        self._dock.tell(
            f"Taught: {Path(report['model']).name}. Fill in the layer 'where to click next', or map the scene."
        )

    def _ask_map(self, *_: bool) -> None:
        if self._map_scene is not None:
            self._map_scene(self._dock.scene(), self.model.filePath())

    def _layer_changed(self, *_: int) -> None:
        layer = self.layer()
        self.field.setLayer(layer)
        names = [field.name() for field in layer.fields()] if layer else []
        wanted = [
            name for name in names if name.lower() in ("class", "landcover", "land_cover", "label", "name", "klasse")
        ]
        texts = [field.name() for field in layer.fields() if field.type() == _TEXT] if layer else []
        self.field.setField(next(iter([*wanted, *(name for name in texts if name != "likely"), *names]), ""))

    def _new_points(self) -> None:
        scene = self._dock.scene()
        start = str(Path(scene).with_name("points.gpkg")) if scene else "points.gpkg"
        path, _ = QFileDialog.getSaveFileName(self, "New layer of points", start, "GeoPackage (*.gpkg)")
        if path:
            self.make_points(Path(path).with_suffix(".gpkg"))

    def make_points(self, path: Path) -> QgsVectorLayer:
        """Make a GeoPackage of points with a field `class`, add it to the project, and begin to edit it."""
        fields = QgsFields()
        fields.append(QgsField("class", _TEXT))
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.layerName = "GPKG", path.stem
        project, crs = QgsProject.instance(), self._dock.canvas.mapSettings().destinationCrs()
        writer = QgsVectorFileWriter.create(
            str(path), fields, QgsWkbTypes.Point, crs, project.transformContext(), options
        )
        failed = writer.errorMessage()
        del writer
        layer = QgsVectorLayer(str(path), path.stem, "ogr")
        if failed or not layer.isValid():
            self._dock.tell(f"{path}: {failed or 'cannot be written'}", True)
            return layer
        _offer_names(layer, "class", [])
        project.addMapLayer(layer)
        self.points.setCurrentIndex(self.points.findData(layer.id()))
        layer.startEditing()
        self._dock.iface.setActiveLayer(layer)
        self._dock.iface.actionAddFeature().trigger()
        return layer


def _offer_names(layer: QgsVectorLayer, field: str, names: list[str]) -> None:
    """Let the form of a feature offer names of classes: these, or those that other features have."""
    index = layer.fields().lookupField(field)
    setup = ("ValueMap", {"map": [{name: name} for name in names]}) if names else ("UniqueValues", {"Editable": True})
    layer.setEditorWidgetSetup(index, QgsEditorWidgetSetup(*setup))


def _has_points(layer: QgsVectorLayer) -> bool:
    return bool(layer.geometryType() == QgsWkbTypes.PointGeometry)


def _free(model: Path) -> Path:
    """A name for the model that is taught, which no file has."""
    stem = model.stem.rpartition("-taught")[0] or model.stem
    number = 1
    while (path := model.with_name(f"{stem}-taught{number if number > 1 else ''}.safetensors")).exists():
        number += 1
    return path


def _report(report: Mapping[str, Any]) -> str:
    """The report of a teaching as HTML."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    rows = "".join(
        f"<tr><td>{html.escape(c['name'])}</td><td align=right>{c['superpixels']}</td>"
        f"<td align=right>{share(c['recall'])}</td><td align=right>{share(c['precision'])}</td></tr>"
        for c in report["classes"]
    )
    agreement = f"<b>{share(report['agreement'])}</b> of {report['judged']} superpixels get their class from the others"
    lines = [agreement if report["judged"] else "How well is not known yet: the points lie too close together."]
    if report["judged"] and report["agreement"] < _GOOD:
        lines.append(_ADVICE)
    lines += [f"Left out: {number} {html.escape(reason)}" for reason, number in report["left_out"].items()]
    for doubt in report["contradictions"]:
        text = f"{html.escape(doubt['given'])} looks like {html.escape(doubt['found'])} ({share(doubt['probability'])})"
        place = (doubt["x"], doubt["y"]) * 2
        link = text if doubt["x"] is None else f"<a href='{','.join(map(repr, place))}'>{text}</a>"
        lines.append(f"Check: {link}")
    heads = "<tr><th align=left>Class</th><th>Taught</th><th>Recall</th><th>Precision</th></tr>"
    return f"<table cellspacing=6>{heads}{rows}</table>" + "".join(f"<p>{line}</p>" for line in lines)
