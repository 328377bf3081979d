"""Results of jobs: frozen values with the paths of the files, which notebooks display as pictures and tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap, LandClass
from geoseg.outputs.class_areas import ClassArea

_SHOWN = 20
"""Transitions that a notebook lists."""


@dataclass(frozen=True)
class TrainResult:
    """A model that was learnt.

    Attributes:
        model: The model file.
        log: Log of all steps, as JSON lines.
        picture: PNG of patches, their superpixels and their classes.
        classes: Number of classes.
        steps: Number of training steps.
    """

    model: Path
    log: Path
    picture: Path
    classes: int
    steps: int

    def _repr_html_(self) -> str:
        return _image(self.picture) + _table(self)


@dataclass(frozen=True)
class MapResult:
    """The map of one scene.

    Attributes:
        classes: Class raster.
        confidence: Raster of confidence; None if it was not wanted.
        polygons: Vector file; None if it was not wanted.
        style: QGIS style of the class raster.
        preview: Small PNG with a legend.
        record: Provenance and the SHA-256 of every file.
        legend: The classes: id, name and colour.
        used: Those of them that occur in the map.
    """

    classes: Path
    confidence: Path | None
    polygons: Path | None
    style: Path
    preview: Path
    record: Path
    legend: ClassMap
    used: tuple[LandClass, ...] | None = None

    def _repr_html_(self) -> str:
        return _image(self.preview) + _legend(self.legend.classes if self.used is None else self.used) + _table(self)


@dataclass(frozen=True)
class SuperpixelsResult:
    """The superpixels of one scene.

    Attributes:
        path: Raster of ids, or polygons with statistics.
        record: Provenance and the SHA-256 of the file.
        count: Number of polygons; None for a raster.
    """

    path: Path
    record: Path
    count: int | None

    def _repr_html_(self) -> str:
        return _table(self)


@dataclass(frozen=True)
class PolygonsResult:
    """The polygons of one class raster.

    Attributes:
        path: Vector file.
        record: Provenance and the SHA-256 of every file.
        count: Number of polygons.
        legend: The classes that occur: id, name and colour.
    """

    path: Path
    record: Path
    count: int
    legend: tuple[LandClass, ...]

    def _repr_html_(self) -> str:
        return _legend(self.legend) + _table(self)


@dataclass(frozen=True)
class ChangeResult:
    """What changed between two maps.

    Attributes:
        raster: Raster of transitions.
        polygons: Vector file of the regions that changed; None if it was not wanted.
        matrix: CSV, old classes in rows and new ones in columns.
        areas: CSV with a row for each transition.
        style: QGIS style of the raster.
        record: Provenance and the SHA-256 of every file.
        transitions: Transitions that occur: id -> old class, new class, area.
        count: Number of polygons; None without them.
    """

    raster: Path
    polygons: Path | None
    matrix: Path
    areas: Path
    style: Path
    record: Path
    transitions: Mapping[int, tuple[LandClass, LandClass, ClassArea]]
    count: int | None = None

    @property
    def pixels(self) -> int:
        """Number of pixels that have a class on both dates."""
        return sum(area.pixels for _, _, area in self.transitions.values())

    @property
    def changed(self) -> int:
        """Number of those whose class changed."""
        return sum(area.pixels for old, new, area in self.transitions.values() if old != new)

    @property
    def summary(self) -> str:
        """How much changed, in words."""
        share = f"{self.changed / self.pixels:.1%}" if self.pixels else "nothing"
        return f"{share} of {self.pixels} pixels changed their class"

    def to_json(self) -> dict[str, Any]:
        """Return what changed as JSON values: counts, and the transitions, the largest first."""
        rows = sorted(self.transitions.items(), key=lambda item: (-item[1][2].pixels, item[0]))
        return {
            "raster": str(self.raster),
            "pixels": self.pixels,
            "changed": self.changed,
            "polygons": self.count,
            "transitions": [
                {"id": value, "from_id": old.id, "from": old.name, "to_id": new.id, "to": new.name,
                 "pixels": area.pixels, "m2": area.m2}
                for value, (old, new, area) in rows
            ],
        }  # fmt: skip

    def largest(self, count: int) -> list[tuple[LandClass, LandClass, ClassArea]]:
        """Return the `count` largest changes as old class, new class, area."""
        changes = [(old, new, area) for old, new, area in self.transitions.values() if old != new]
        return sorted(changes, key=lambda change: -change[2].pixels)[:count]

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{escape(old.name)}</td><td>{escape(new.name)}</td><td>{area.pixels}</td></tr>"
            for old, new, area in self.largest(_SHOWN)
        )
        return f"<p>{self.summary}</p><table><tr><th>from</th><th>to</th><th>pixels</th></tr>{cells}</table>"


@dataclass(frozen=True)
class ReportResult:
    """The report of one map.

    Attributes:
        path: HTML file, which holds all that it shows.
        legend: The classes that occur: id, name and colour.
    """

    path: Path
    legend: tuple[LandClass, ...]

    def _repr_html_(self) -> str:
        return _legend(self.legend) + _table(self)


@dataclass(frozen=True)
class ExportResult:
    """A model for other programs.

    Attributes:
        onnx: ONNX file; None if none was asked for.
        mlm: STAC Item; None if none was asked for.
        classes: The classes in the order of the outputs.
    """

    onnx: Path | None
    mlm: Path | None
    classes: tuple[LandClass, ...]

    def _repr_html_(self) -> str:
        return _legend(self.classes) + _table(self)


def _image(path: Path) -> str:
    """The picture, embedded so that a notebook keeps it when it is copied elsewhere."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(path.name)}" style="max-width: 100%">'


def _legend(classes: Iterable[LandClass]) -> str:
    swatch = '<span style="display: inline-block; width: 1em; height: 1em; background: {}"></span> {}'
    return "<p>" + " &emsp; ".join(swatch.format(entry.colour, escape(entry.name)) for entry in classes) + "</p>"


def _table(result: Any) -> str:
    rows = ((field.name, getattr(result, field.name)) for field in fields(result))
    shown = [(name, value) for name, value in rows if value is not None and name not in ("legend", "used")]
    return (
        "<table>"
        + "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in shown)
        + "</table>"
    )
