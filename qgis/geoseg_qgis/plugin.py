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

    def initProcessing(self) -> None:
        """Register the algorithms; `qgis_process` calls this alone."""
        self.provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Register the algorithms and add the menu."""
        self.initProcessing()
        from qgis.PyQt.QtGui import QIcon
        from qgis.PyQt.QtWidgets import QAction

        from .algorithms.base import ICON

        action = QAction(QIcon(ICON), "Settings…", self.iface.mainWindow())
        action.triggered.connect(self.show_settings)
        self.iface.addPluginToMenu("geoseg", action)
        self.actions.append(action)

    def unload(self) -> None:
        """Take everything off again."""
        for action in self.actions:
            self.iface.removePluginMenu("geoseg", action)
        self.actions.clear()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def show_settings(self) -> None:
        """Open the dialog of settings."""
        from .settings_dialog import SettingsDialog

        SettingsDialog(self.iface.mainWindow()).exec()
