"""The map that the dock shows: its layer, its record, its model, and the edits that are kept for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qgis.core import QgsProject, QgsSettings

from .dock_classes import NamingError
from .dock_layers import path_of
from .dock_map import MapRecord, find_model, read_map, read_model, same_classes


class MapChoice:
    """A chosen map.

    Attributes:
        layer_id: Id of its layer; empty where none is chosen.
        record: Its record; None where none is chosen, or the record is damaged.
        model: Its model file; None where it is not found.
        differs: Whether the model has other classes than the map by now.
    """

    def __init__(self) -> None:
        self.layer_id = ""
        self.record: MapRecord | None = None
        self.model: Path | None = None
        self.differs = False

    @property
    def layer(self) -> Any:
        """The layer; None if there is none by now."""
        return QgsProject.instance().mapLayer(self.layer_id)

    @property
    def there(self) -> MapRecord:
        """The record, where there is one."""
        if self.record is None:
            raise NamingError("there is no map")
        return self.record

    @property
    def name(self) -> str:
        """The file name of the map."""
        return self.record.raster.name if self.record else ""

    @property
    def files(self) -> list[str]:
        """The model with the map, or the map alone, as arguments of `geoseg classes`."""
        raster = str(self.record.raster) if self.record else ""
        return [str(self.model), "--map", raster] if self.model else [raster]

    def open(self) -> None:
        """Read the record anew, and find the model.

        Raises:
            NamingError: The record cannot be read; then there is no map.
        """
        self.record = self.model = None
        layer = self.layer
        if layer is not None:
            self.record = read_map(path_of(layer) or Path())
            known = self.kept("model")
            self.model = find_model(self.record, Path(known) if known else None)
        self.compare()

    def choose_model(self, path: Path | None) -> None:
        """Take another file as the model.

        Raises:
            NamingError: It is not the model that the map was made with.
        """
        if path is not None and self.record is not None:
            if not read_model(path).made(self.record):
                raise NamingError(f"{path.name} is not the model that {self.name} was made with")
            self.keep("model", str(path.absolute()))
        self.model = path
        self.compare()

    def compare(self) -> None:
        """Find out whether the model has other classes."""
        record, model = self.record, self.model
        self.differs = bool(record and model and not same_classes(read_model(model).classes, record.classes))

    def changed_on_disk(self) -> str:
        """Return what another program did to the classes of the map since they were read; empty if nothing."""
        record = self.there
        try:
            # A change that was interrupted has taken the record away; the next change goes on from there.
            if record.path.exists() and not same_classes(read_map(record.raster).classes, record.classes):
                return f"{self.name} was changed by another program: look at its classes, and apply again"
        except NamingError as error:
            return str(error)
        return ""

    def kept(self, name: str) -> str:
        """Return what QGIS's settings keep for this map; empty if nothing."""
        return str(QgsSettings().value(_key(name, self.there.raster), "") or "")

    def keep(self, name: str, text: str) -> None:
        """Keep something for this map."""
        QgsSettings().setValue(_key(name, self.there.raster), text)


def forget_draft(record: MapRecord) -> None:
    """Keep no edits for a map any more."""
    QgsSettings().remove(_key("draft", record.raster))


def remember_model(raster: Path, model: Path) -> None:
    """Remember where the model of a map is, if it is where nobody would look for it."""
    if model.parent not in (raster.parent, raster.parent.parent):
        QgsSettings().setValue(_key("model", raster), str(model))


def _key(name: str, raster: Path) -> str:
    digest = hashlib.sha256(str(raster.resolve()).encode()).hexdigest()
    return f"geoseg/{name}/{digest[:24]}"
