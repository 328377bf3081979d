"""The plugin: what QGIS loads."""

from __future__ import annotations

from typing import Any


class GeosegPlugin:
    """What QGIS starts and ends.

    Args:
        iface: QGIS's interface to plugins; None in `qgis_process`.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
