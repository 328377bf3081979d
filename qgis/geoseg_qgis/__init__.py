"""geoseg in QGIS: a Processing provider and a dock that run the `geoseg` command of a Python environment of its own."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: N802: the name that QGIS calls
    """Return the plugin.

    Args:
        iface: QGIS's interface to plugins; None in `qgis_process`.
    """
    from .plugin import GeosegPlugin

    return GeosegPlugin(iface)
