"""The plugin: what QGIS starts and ends."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication

from .provider import GeosegProvider


class GeosegPlugin:
    """The provider of algorithms and, in QGIS with a window, the menu.

    Args:
        iface: QGIS's interface to plugins; None in `qgis_process`.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: GeosegProvider | None = None
        self.actions: list[Any] = []
        self.dock: Any = None

    def initProcessing(self) -> None:
        """Register the algorithms; `qgis_process` calls this alone."""
        self.provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Register the algorithms and add the menu."""
        self.initProcessing()
        from qgis.PyQt import QtGui, QtWidgets

        from .algorithms.base import ICON

        # QAction has moved from Qt 5 to Qt 6.
        make_action = getattr(QtGui, "QAction", None) or QtWidgets.QAction
        for text, slot in (("Name classes", self.show_dock), ("Settings…", self.show_settings)):
            action = make_action(QtGui.QIcon(ICON), text, self.iface.mainWindow())
            action.triggered.connect(slot)
            self.iface.addPluginToMenu("geoseg", action)
            self.actions.append(action)
        self.iface.addToolBarIcon(self.actions[0])

    def unload(self) -> None:
        """Take everything off again."""
        for action in self.actions:
            self.iface.removePluginMenu("geoseg", action)
            self.iface.removeToolBarIcon(action)
        self.actions.clear()
        if self.dock is not None:
            self.dock.unload()
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def show_dock(self, *_: bool) -> None:
        """Show the dock in which classes are named, which is made when it is wanted first."""
        if self.dock is None:
            from qgis.PyQt.QtCore import Qt

            from .dock import NamingDock
            from .settings import geoseg

            self.dock = NamingDock(self.iface, geoseg, self.show_settings, self.map_scene)
            self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.show()
        self.dock.raise_()

    def map_scene(self, scene: str, model: str) -> None:
        """Open the algorithm that maps a scene."""
        import processing

        processing.execAlgorithmDialog("geoseg:predict", {"SCENE": scene, "MODEL": model})

    def show_settings(self) -> None:
        """Open the dialog of settings."""
        from .settings_dialog import SettingsDialog

        SettingsDialog(self.iface.mainWindow()).exec()
