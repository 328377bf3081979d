"""Checks of a result, by its record: every file that the record names, and whether the files agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.checks.findings import FileFindings, Finding
from geoseg.checks.maps import MapCheck, check_layout, recorded_opening
from geoseg.checks.polygons import check_areas, check_geopackage, check_names, check_polygons, summarise
from geoseg.classes import ClassMap
from geoseg.errors import GeosegError, InputError
from geoseg.files.atomic import sha256
from geoseg.files.record import MALFORMED, RASTERS, RECORD, find_record, read_record, record_path
from geoseg.outputs.names import POLYGONS
from geoseg.outputs.polygons import CLASS_LAYER
from geoseg.prediction.segmenter import SUPERPIXEL_LAYER
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.cog import read_provenance
from geoseg.raster.guards import raster_driver, regular_file
from geoseg.vector.globe import in_degrees
from geoseg.vector.texts import held_text


def record_of(path: Path) -> Path | None:
    """Return the record that names the file `path`, or `path` if it is a record itself; None if there is none."""
    if path.name.endswith(RECORD):
        return path
    record = find_record(path, search_folder=True)
    return None if record is None else record.path


def check_result(record: Path, scene: Path | None = None) -> Iterator[Finding]:
    """Check the files that a record names. Whatever fails is a finding, the record included.

    Args:
        record: The record.
        scene: The scene that a map or superpixels were made from, to compare them with.
    """
    findings = FileFindings(record)
    try:
        regular_file(record)
        said = read_record(record)
    except GeosegError as error:
        yield findings.failed("record", error)
        return
    files = said.files
    yield findings.passed("record", f"names {len(files)} file{'s' * (len(files) > 1)}")
    present = []
    for path, digest in files.items():
        present += [path] if path.is_file() else []
        yield _check_hash(path, digest) if path.exists() else FileFindings(path).failed("sha256", "does not exist")
    try:
        yield from _Contents(record, said.content, present, scene).check()
    except (OSError, GeosegError) as error:
        yield findings.failed("contents", error)
    except MALFORMED as error:
        yield findings.failed("record", f"is damaged ({type(error).__name__}: {error}); make the result again")


def _check_hash(path: Path, digest: str) -> Finding:
    findings = FileFindings(path)
    try:
        actual = sha256(regular_file(path))
    except (OSError, GeosegError) as error:
        return findings.failed("sha256", error)
    problem = None if actual == digest else "is not the file that the record names: the SHA-256 differs"
    return findings.judge("sha256", problem, "SHA-256 matches the record")


@dataclass
class _Contents:
    """Checks what is in the files of a result.

    Attributes:
        record_path: Path of the record.
        record: Its content.
        files: The files it names that exist.
        scene: The scene to compare with, if one was given.
        names: Id -> name of the classes, once they are known.
        pixels: Class id -> number of its pixels, and the area of a pixel in units of the CRS squared, once the raster
            was read and found intact.
    """

    record_path: Path
    record: Mapping[str, Any]
    files: list[Path]
    scene: Path | None
    names: dict[int, str] = field(default_factory=dict)
    pixels: tuple[Mapping[int, int], float] | None = None

    def check(self) -> Iterator[Finding]:
        rasters = {self._layer_of(path): path for path in self.files if path.suffix.lower() in RASTERS}
        for path in rasters.values():
            findings = FileFindings(path)
            yield from _guarded(findings, "layout", check_layout(findings, self.record))
        if "classes" in rasters:
            yield from self._check_classes(rasters["classes"], rasters.get("confidence"))
        elif SUPERPIXEL_LAYER in rasters:
            path = rasters[SUPERPIXEL_LAYER]
            run = MapCheck(path, self.record, None, scene=self.scene).run()
            yield from _guarded(FileFindings(path), "pixels", run)
        elif self.scene is not None:
            yield FileFindings(self.record_path).failed("scene", "the record names no raster to compare with the scene")
        for path in self.files:
            if path.suffix.lower() in POLYGONS:
                yield from _guarded(FileFindings(path), "polygons", self._check_polygons(path))

    def _layer_of(self, path: Path) -> str:
        """What a raster holds: as it says itself, or by its name where it cannot be read."""
        try:
            provenance = read_provenance(path)
        except MALFORMED:
            provenance = None
        if provenance is not None:
            return str(provenance["layer"])
        if record_path(path) != self.record_path:
            return "confidence"
        return "classes" if "classes" in self.record else SUPERPIXEL_LAYER

    def _check_classes(self, path: Path, confidence: Path | None) -> Iterator[Finding]:
        classes = ClassMap.from_json(self.record["classes"])
        self.names = {entry.id: entry.name for entry in classes.classes}
        check = MapCheck(path, self.record, classes, confidence, self.scene)
        intact = True
        for finding in _guarded(FileFindings(path), "pixels", check.run()):
            intact = intact and (finding.ok or finding.check not in ("type", "blocks", "pixels"))
            yield finding
        if intact:
            self.pixels = check.pixels, check.pixel_area

    def _check_polygons(self, path: Path) -> Iterator[Finding]:
        findings, driver = FileFindings(path), POLYGONS[path.suffix.lower()]
        segments = "superpixels" in self.record
        layer = SUPERPIXEL_LAYER if segments else CLASS_LAYER
        polygons = summarise(path, driver, layer)
        yield from check_polygons(findings, polygons, self.record.get("superpixels" if segments else "polygons"))
        if segments:
            lowest = min(polygons.areas, default=1)
            yield findings.judge("ids", f"has the id {lowest}" if lowest < 1 else None, "every id is above 0")
            return
        if "raster" in self.record and not self._count(self.record_path.parent / self.record["raster"]["name"]):
            reason = "it is not there, is a VRT, or was polygonized with --min-area, --simplify or --classes"
            yield findings.passed("raster", f"areas are not compared with the raster: {reason}")
        if self.names:
            held = {value: held_text(name, driver) for value, name in self.names.items()}
            yield from check_names(findings, polygons, held)
        if self.pixels is not None and not in_degrees(driver):
            pixels, pixel_area = self.pixels
            left_out = self.record["settings"].get("polygons_without", ())
            kept = {value: count for value, count in pixels.items() if value not in left_out}
            yield check_areas(findings, polygons, kept, pixel_area)
        if driver == "GPKG":
            yield from check_geopackage(findings, layer)

    def _count(self, raster: Path) -> bool:
        """Count the pixels of the raster that was polygonized; False unless it exists and all of it became polygons."""
        settings = self.record["settings"]
        altered = any(settings.get(key) for key in ("min_area", "simplify", "classes"))
        if altered or not raster.is_file() or raster.stat().st_size != self.record["raster"]["bytes"]:
            return False
        if raster_driver(regular_file(raster), allow_vrt=True) == "VRT":
            return False
        pixels: dict[int, int] = {}
        with ClassRaster(raster, opening=recorded_opening(self.record["raster"])) as source:
            for rows in source.spans:
                values, counts = np.unique(source.read(rows), return_counts=True)
                for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                    if value:
                        pixels[value - source.offset] = pixels.get(value - source.offset, 0) + count
            self.pixels = pixels, abs(float(source.scene.georeference.transform.determinant))
            self.names = {value: source.land_class(value).name for value in pixels}
        return True


def _guarded(findings: FileFindings, check: str, results: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the results of a check; an error that ends it becomes a failed finding."""
    try:
        yield from results
    except (OSError, InputError) as error:
        yield findings.failed(check, error)
