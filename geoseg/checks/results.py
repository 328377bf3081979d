"""Checks of what geoseg wrote, by its record: every file that the record names, and what the files say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.checks.findings import Finding, Report
from geoseg.checks.polygons import Layer, check_areas, check_geopackage, check_layer, check_names
from geoseg.checks.rasters import MapCheck, check_layout
from geoseg.classes import ClassMap
from geoseg.errors import GeosegError, InputError
from geoseg.files.atomic import sha256
from geoseg.files.record import MALFORMED, RASTERS, RECORD, find_record, read_record, record_path
from geoseg.outputs.names import POLYGONS
from geoseg.outputs.polygons import LAYER
from geoseg.prediction.segmenter import LAYER as SEGMENTS
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.cog import read_provenance
from geoseg.raster.guards import regular_file


def record_of(path: Path) -> Path | None:
    """Return the record that names the file `path`, or is it; None where there is none."""
    if path.name.endswith(RECORD):
        return path
    record = find_record(path, everywhere=True)
    return None if record is None else record.path


def check_result(record: Path, scene: Path | None = None) -> Iterator[Finding]:
    """Yield what was found in the files that `record` names. scene: what they were made of, to hold them against."""
    report = Report(record)
    try:
        regular_file(record)
        said = read_record(record)
    except GeosegError as error:
        yield report.wrong("record", error)
        return
    files = said.files
    yield report.fine("record", f"names {len(files)} file{'s' * (len(files) > 1)}")
    there = []
    for path, digest in files.items():
        found = _hash(path, digest)
        there += [path] if found.what != _GONE else []
        yield found
    try:
        yield from _Contents(record, said.content, there, scene).check()
    except (OSError, GeosegError) as error:
        yield report.wrong("contents", error)
    except MALFORMED as error:
        yield report.wrong("record", f"is damaged ({type(error).__name__}: {error}); make the result again")


_GONE = "is not there"


def _hash(path: Path, digest: str) -> Finding:
    report = Report(path)
    if not path.exists():
        return report.wrong("sha256", _GONE)
    try:
        found = sha256(regular_file(path))
    except (OSError, GeosegError) as error:
        return report.wrong("sha256", error)
    problem = None if found == digest else "is not the file that the record tells of: its SHA-256 is another"
    return report.either("sha256", problem, "SHA-256 as recorded")


@dataclass
class _Contents:
    """What is in the files of a result that are there. names: id -> name of the classes. pixels: id -> its pixels in
    the raster, and the area of a pixel in units of the CRS."""

    record: Path
    said: Mapping[str, Any]
    files: list[Path]
    scene: Path | None
    names: dict[int, str] = field(default_factory=dict)
    pixels: tuple[Mapping[int, int], float] | None = None

    def check(self) -> Iterator[Finding]:
        rasters = {self._layer_of(path): path for path in self.files if path.suffix.lower() in RASTERS}
        for path in rasters.values():
            yield from _guarded(Report(path), "layout", check_layout(Report(path), self.said))
        if "classes" in rasters:
            yield from self._classes(rasters["classes"], rasters.get("confidence"))
        elif SEGMENTS in rasters:
            path = rasters[SEGMENTS]
            yield from _guarded(Report(path), "pixels", MapCheck(path, self.said, None, scene=self.scene).run())
        elif self.scene is not None:
            yield Report(self.record).wrong("scene", "there is no raster to hold against the scene")
        for path in self.files:
            if path.suffix.lower() in POLYGONS:
                yield from _guarded(Report(path), "polygons", self._polygons(path))

    def _layer_of(self, path: Path) -> str:
        """What a raster holds: by itself, or by its name where it cannot be read."""
        try:
            provenance = read_provenance(path)
        except MALFORMED:
            provenance = None
        if provenance is not None:
            return str(provenance["layer"])
        if record_path(path) != self.record:
            return "confidence"
        return "classes" if "classes" in self.said else SEGMENTS

    def _classes(self, path: Path, confidence: Path | None) -> Iterator[Finding]:
        classes = ClassMap.from_json(self.said["classes"])
        self.names = {entry.id: entry.name for entry in classes.classes}
        checked = MapCheck(path, self.said, classes, confidence, self.scene)
        whole = True
        for finding in _guarded(Report(path), "pixels", checked.run()):
            whole = whole and (finding.fine or finding.check not in ("type", "blocks", "pixels"))
            yield finding
        if whole:
            self.pixels = checked.pixels, checked.pixel_area

    def _polygons(self, path: Path) -> Iterator[Finding]:
        report, driver = Report(path), POLYGONS[path.suffix.lower()]
        segments = "superpixels" in self.said
        name = SEGMENTS if segments else LAYER
        layer = Layer(path, driver, name)
        count = self.said.get("superpixels" if segments else "polygons")
        yield from check_layer(report, layer, count)
        if segments:
            low = min(layer.areas, default=1)
            yield report.either("ids", f"has the id {low}" if low < 1 else None, "every id is above 0")
            return
        if "raster" in self.said and not self._count(self.record.parent / self.said["raster"]["name"]):
            yield report.fine(
                "raster", "areas are not held against the raster: it is not here, or was altered for them"
            )
        if self.names:
            yield from check_names(report, layer, self.names)
        if self.pixels is not None and not driver.startswith("GeoJSON"):
            yield check_areas(report, layer, *self.pixels)
        if driver == "GPKG":
            yield from check_geopackage(report, name)

    def _count(self, raster: Path) -> bool:
        """Count the pixels of the raster that was polygonized, if it is there and all of it became polygons."""
        settings = self.said["settings"]
        altered = any(settings.get(key) for key in ("min_area", "simplify", "classes"))
        if altered or not raster.is_file() or raster.stat().st_size != self.said["raster"]["bytes"]:
            return False
        counts: dict[int, int] = {}
        with ClassRaster(raster) as source:
            for rows in source.spans:
                values, found = _distinct(source.read(rows))
                for value, count in zip(values, found, strict=True):
                    if value:
                        counts[value - source.offset] = counts.get(value - source.offset, 0) + count
            self.pixels = counts, abs(float(source.scene.georeference.transform.determinant))
            self.names = {value: source.named(value).name for value in counts}
        return True


def _distinct(values: Any) -> tuple[list[int], list[int]]:
    found, counts = np.unique(values, return_counts=True)
    return found.tolist(), counts.tolist()


def _guarded(report: Report, check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings; what ends them is one too."""
    try:
        yield from findings
    except (OSError, InputError) as error:
        yield report.wrong(check, error)
