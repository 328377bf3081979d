"""Outputs: which are temporary, and layers that are loaded with their own style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
)
from qgis.PyQt import sip


def is_temporary(path: str) -> bool:
    """Return whether QGIS will delete a file when it is closed."""
    return Path(QgsProcessingUtils.tempFolder()) in Path(path).parents


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer the style that geoseg wrote beside it or into it, which Processing leaves out."""

    def postProcessLayer(self, layer: Any, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Load the style."""
        message, well = layer.loadDefaultStyle()
        if not well and message:
            feedback.pushWarning(message)
        layer.triggerRepaint()


_STYLERS: list[Styler] = []
"""Those that QGIS is to call: it deletes them itself, but keeps no reference to their Python half."""


def styler() -> Styler:
    """Return a new one, for one layer."""
    _STYLERS[:] = [each for each in _STYLERS if not sip.isdeleted(each)]
    _STYLERS.append(Styler())
    return _STYLERS[-1]
