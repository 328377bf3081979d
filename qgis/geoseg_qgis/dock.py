"""The dock in which the classes of a map are named, recoloured and merged, and a model is taught with points.

Edits are drawn at once and written only by Apply. Until then they are kept in QGIS's settings after every change, so
neither a crash nor another map loses them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.gui import QgsMapToolEmitPoint
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QPixmap
from qgis.PyQt.QtWidgets import QDockWidget, QMessageBox

from .dock_choice import MapChoice, forget_draft
from .dock_classes import LandClass, Naming, NamingError, classes_of
from .dock_layers import add_map, draw, maps_of_project, only_map, show_on, value_at
from .dock_map import History, find_scene, same_classes
from .dock_table import ClassModel
from .dock_teach import TeachPage
from .dock_view import NamingView, ask_file, fill, quietly
from .dock_work import Work, go_back


class NamingDock(QDockWidget):
    """The dock.

    Args:
        iface: QGIS's interface to plugins.
        geoseg: Returns the geoseg of the configured environment, or raises `GeosegError`.
        settings: Opens the settings of the plugin; None if there are none.
        map_scene: Called with a scene and a model to map the scene; None if that cannot be done here.
    """

    def __init__(
        self, iface: Any, geoseg: Callable[[], Any], settings: Callable[[], None] | None = None,
        map_scene: Callable[[str, str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__("geoseg: classes", iface.mainWindow())
        self.setObjectName("geoseg_naming")
        self.iface, self.canvas, self._settings = iface, iface.mapCanvas(), settings
        self.map = MapChoice()
        self._told, self._sheet, self._writing, self._stale = "", QPixmap(), False, False
        self.work, self.classes = Work(geoseg, self), ClassModel(self)
        self.view = NamingView(self.classes)
        self.table = self.view.table
        self.teach = TeachPage(self, map_scene)
        self.view.pages.addTab(self.teach, "Teach")
        self.setWidget(self.view)
        self._tool = QgsMapToolEmitPoint(self.canvas)
        self._tool.setAction(self.view.actions_by_name["pick"])
        self._connect()
        self._running("")
        self.refill()

    def _connect(self) -> None:
        view, project = self.view, QgsProject.instance()
        project.layersAdded.connect(self.refill)
        project.layersRemoved.connect(self.refill)
        view.maps.currentIndexChanged.connect(self._map_chosen)
        view.scenes.currentIndexChanged.connect(self.look)
        view.model.fileChanged.connect(self._model_chosen)
        view.open_map.clicked.connect(lambda *_: self.open_map())
        view.open_scene.clicked.connect(self._ask_scene)
        view.hint.linkActivated.connect(lambda link: self.open_map() if link == "map" else self.take_classes_of_model())
        self.classes.edited.connect(self._edited)
        self.classes.said.connect(self.tell)
        view.table.chosen.connect(self._chosen)
        view.examples.place_wanted.connect(self.go_to)
        self.teach.place_wanted.connect(self.go_to)
        view.apply.clicked.connect(self.apply)
        view.back.clicked.connect(self.go_back)
        view.stop.clicked.connect(self.work.cancel)
        self.work.changed.connect(self._running)
        self.work.progressed.connect(lambda share: view.progress.setValue(int(share)))
        self.work.failed.connect(lambda text: self.tell(text, True))
        self.visibilityChanged.connect(lambda shown: self.look() if shown and self._stale else None)
        self._tool.canvasClicked.connect(lambda point, _: self.pick(point))
        for name, slot in {
            "pick": lambda: self.canvas.setMapTool(self._tool), "only": self.redraw, "suggest": self.suggest,
            "merge": self.table.ask_merge, "colour": self.table.ask_colour,
            "out": lambda: self.table.change("take_out", self.table.ids()),
            "guess": lambda: self.table.change("accept_guesses"), "undo": lambda: self.table.change("undo"),
            "redo": lambda: self.table.change("redo"), "revert": lambda: self.table.change("revert"),
        }.items():  # fmt: skip
            view.actions_by_name[name].triggered.connect(lambda *_, slot=slot: slot())

    def unload(self) -> None:
        """Let go of QGIS, before the plugin is removed. Edits are kept for the next time."""
        QgsProject.instance().layersAdded.disconnect(self.refill)
        QgsProject.instance().layersRemoved.disconnect(self.refill)
        self.work.cancel()
        self.canvas.unsetMapTool(self._tool)

    @property
    def naming(self) -> Naming:
        """The classes and their edits."""
        return self.classes.naming

    def scene(self) -> str:
        """Return the path of the scene; empty if none is chosen."""
        return self.view.scenes.currentData() or ""

    def refill(self, layers: Sequence[Any] = ()) -> None:
        """List the maps and scenes of the project again; go to a map that was added, unless that would leave edits."""
        if self._writing:
            return
        maps, others = maps_of_project()
        added = "" if self.naming.edits else only_map(maps, layers)
        fill(self.view.maps, maps, added or self.map.layer_id)
        self._rasters = others
        self._list_scenes(self.scene())
        self.teach.fill()
        self._map_chosen()

    def _list_scenes(self, kept: str = "") -> None:
        own = find_scene(self.map.record, self._rasters) if self.map.record else None
        paths = dict.fromkeys([*([own] if own else []), *self._rasters, *([Path(kept)] if kept else [])])
        items = [("choose the scene…", "", ""), *((path.name, str(path), str(path)) for path in paths)]
        fill(self.view.scenes, items, kept or str(own or ""))

    def _map_chosen(self, *_: int) -> None:
        wanted, old = self.view.maps.currentData() or "", self.map.layer_id
        if wanted != old and not self.leave():
            quietly(self.view.maps, lambda box: box.setCurrentIndex(box.findData(old)))
        elif wanted != old or self.map.record is None:
            self.map.layer_id, self._told = wanted, ""  # what was told is of the map before
            self.view.status.clear()
            self.load()

    def load(self) -> None:
        """Read the classes of the map anew, with the edits that were kept."""
        self._sheet = QPixmap()
        try:
            self.map.open()
        except NamingError as error:
            self.tell(str(error), True)
        record = self.map.record
        self.classes.show(Naming(record.classes if record else ()))
        self._list_scenes()
        if record is not None and self.naming.restore(self.map.kept("draft")):
            self.classes.refresh()
            self.tell(f"Your changes are back, not applied yet: {self.naming.summary()}")
            self.redraw()
        self._show_model()
        self._chosen()
        self.look()

    def _model_chosen(self, text: str) -> None:
        try:
            self.map.choose_model(Path(text) if text else None)
            self.look()
        except NamingError as error:
            self.tell(str(error), True)
        self._show_model()

    def _show_model(self) -> None:
        model = str(self.map.model or "")
        quietly(self.view.model, lambda widget: widget.setFilePath(model))
        self.teach.follow(model)
        self._show_state()

    def look(self, *_: int) -> None:
        """Ask geoseg how large the classes are and what they look like, in the background."""
        self._stale = self.map.record is not None and not self.isVisible()
        if self.map.record is None or self._stale:
            return  # nothing runs for a dock that nobody sees
        record, folder = self.map.record, tempfile.TemporaryDirectory(prefix="geoseg-")
        sheet = Path(folder.name) / "sheet.png"
        scene = ["--scene", self.scene(), "--sheet", str(sheet)] if self.scene() else []

        def done(result: Any) -> None:
            picture = QPixmap(str(sheet))
            folder.cleanup()
            if self.map.record is record and not result.cancelled:
                self._learn(classes_of(result.json()), picture)

        arguments = ["classes", "show", *self.map.files, *scene, "--json"]
        self.work.run(f"Looking at the classes of {self.map.name}", arguments, done, minor=True)

    def _learn(self, classes: Sequence[LandClass], sheet: QPixmap) -> None:
        if self.table.is_editing:  # what is being typed would be lost
            QTimer.singleShot(300, lambda: self._learn(classes, sheet))
            return
        if same_classes(classes, self.naming.classes):
            self._sheet = sheet
            self.naming.learn(classes)
            self.table.refresh()
            if not self.table.ids():
                self.table.choose([self.naming.rows()[0].entry.id])
            self._chosen()

    def suggest(self) -> None:
        """Merge the classes that geoseg finds alike. Nothing is applied."""
        record, scene = self.map.record, ["--scene", self.scene()] if self.scene() else []

        def done(result: Any) -> None:
            groups = [(g["ids"], g["into"]) for g in result.json()["groups"] if len(g["ids"]) > 1]
            if self.map.record is record:
                self.table.change("merge_groups", groups)
                merged = f"{len(groups)} groups of like classes are merged, not applied yet: take out what differs"
                self.tell(merged if groups else "No classes are alike enough to merge them")

        arguments = ["classes", "suggest", *self.map.files, *scene, "--json"]
        self.work.run("Looking for classes that are alike", arguments, done)

    def _edited(self) -> None:
        if self.map.record is not None:
            self.map.keep("draft", self.naming.draft())
            self.redraw()
        self._show_state()

    def redraw(self) -> None:
        """Draw the map with the classes as they will be."""
        layer, only = self.map.layer, self.view.actions_by_name["only"].isChecked()
        if layer is not None and self.map.record is not None:
            draw(layer, self.naming.rows(), self.table.ids() if only else ())

    def leave(self) -> bool:
        """Ask what to do with edits that are not applied; return whether the map may be left."""
        layer = self.map.layer
        if self.map.record is None or layer is None or not self.naming.edits:
            return True  # where the layer is gone, its edits are kept
        text = f"{self.map.name}: {self.naming.summary()} not applied yet."
        answer, button = self.view.ask_leave(text), QMessageBox.StandardButton
        if answer == button.Apply:
            self.apply()
        elif answer == button.Discard:
            self.table.change("revert")
        if answer in (button.Discard, button.Save):
            layer.loadDefaultStyle()
            layer.triggerRepaint()
        return bool(answer != button.Cancel)

    def closeEvent(self, event: Any) -> None:
        """Ask before the dock is closed."""
        if self.leave():
            self.canvas.unsetMapTool(self._tool)
            super().closeEvent(event)
        else:
            event.ignore()

    def apply(self, *_: bool) -> None:
        """Write the edits to the map and its model, in the background."""
        if self.map.record is None or not self.naming.edits or self._writing:
            return
        if changed := self.map.changed_on_disk():
            self.load()
            self.tell(changed, True)
            return
        folder = tempfile.TemporaryDirectory(prefix="geoseg-")
        legend = Path(folder.name) / "classes.json"
        legend.write_text(self.naming.legend(), "utf-8")
        first, *rest = self.map.files
        self._write(["classes", "import", first, str(legend), *rest], f"Applying {self.naming.summary()}", folder)

    def take_classes_of_model(self) -> None:
        """Give the map the classes that its model has by now."""
        model, raster = str(self.map.model), str(self.map.there.raster)
        self._write(["classes", "apply", model, raster], f"Applying the classes of {Path(model).name}")

    def _write(self, arguments: Sequence[str], title: str, folder: Any = None) -> None:
        record, model = self.map.there, self.map.model

        def done(result: Any) -> None:
            self._writing = False
            if folder is not None:
                folder.cleanup()
            if not result.ok:
                self.redraw()
                self._show_state()
                result.check()
            forget_draft(record)
            if self.map.record is record:
                self.load()
            self.refill()
            self.tell(f"Applied to {record.raster.name}" + (f" and {model.name}" if model else ""))

        self._writing = True
        try:
            self.work.change(record, model, title, arguments, done)
        except NamingError as error:
            self._writing = False
            self.tell(str(error), True)

    def go_back(self, *_: bool) -> None:
        """Bring back the map and its model as they were before the last Apply."""
        told, failed = f"{self.map.name} is as it was before", False
        try:
            go_back(self.map.there)
        except NamingError as error:
            told, failed = str(error), True
        self.load()
        self.tell(told, failed)

    def tell(self, text: str, failed: bool = False) -> None:
        """Tell the user something; errors in QGIS's message bar too."""
        self._told = text or (f"Not applied yet: {self.naming.summary()}" if self.naming.edits else "")
        self.view.status.setText(self._told)
        if failed:
            self.view.warn(self.iface.messageBar(), text, self._settings if "settings of geoseg" in text else None)

    def _running(self, title: str) -> None:
        self.view.show_running(self.work.running)
        self.view.status.setText(f"{title} …" if title else self._told)
        self._show_state()

    def _show_state(self) -> None:
        steps = History(self.map.record.raster).steps if self.map.record is not None else []
        self.view.show_state(self.naming, self.map.record is not None, self._writing, bool(steps))
        self.view.show_hints(self.naming, self.map.record is not None, self.map.model is not None, self.map.differs)

    def _chosen(self) -> None:
        ids = self.table.ids()
        self.view.examples.show_class(self.naming.row(ids[0]).entry if ids else None, self._sheet)
        if self.view.actions_by_name["only"].isChecked():
            self.redraw()
        self._show_state()

    def pick(self, point: Any) -> None:
        """Choose the class at a point of the canvas."""
        value = value_at(self.map.layer, point, self.canvas.mapSettings().destinationCrs())
        self.view.pages.setCurrentIndex(0)
        self.table.choose([value] if value else [])
        self.tell("" if value else "There is no class at this place")

    def go_to(self, extent: Sequence[float]) -> None:
        """Show a place, by its bounds in the CRS of the map."""
        if self.map.layer is not None:
            show_on(self.canvas, self.map.layer, extent)

    def open_map(self, path: Path | None = None) -> None:
        """Add a map to the project, and choose it. Without a path, the user is asked for one."""
        path = path or ask_file(self, "Open a map", "Class rasters (*.tif *.tiff)")
        try:
            if path is not None:
                self.view.maps.setCurrentIndex(self.view.maps.findData(add_map(path)))
        except NamingError as error:
            self.tell(str(error), True)

    def _ask_scene(self, *_: bool) -> None:
        path = ask_file(self, "Open the scene", "Rasters (*.tif *.tiff *.vrt *.jp2);;All files (*)")
        if path is not None:
            self._list_scenes(str(path))
            self.look()
