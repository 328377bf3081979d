"""The colours that a model's classes get at the end of its training."""

from __future__ import annotations

from dataclasses import replace

from geoseg.model.file import Model
from geoseg.naming.colours import coloured
from geoseg.naming.looks import Display


def in_own_colours(model: Model) -> Model:
    """Return the model with each class in a colour by what it looks like; as it is where that is not known."""
    if model.appearance is None:
        return model
    display = Display.of(model.bands, model.dtype, model.stats, model.scaling)
    return replace(model, classes=coloured(model.classes, display.looks(model.appearance)))
