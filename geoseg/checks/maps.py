"""Checks of the rasters that geoseg writes, by their record: layout, ids, class map, confidence, and where the scene is
valid. Each raster is read once from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.checks.findings import FileFindings, Finding, WrongPixels
from geoseg.checks.layout import layout_faults
from geoseg.checks.rasters import READ_SIZE, block_findings, damaged_blocks
from geoseg.classes import NODATA, ClassMap
from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.grid import Span, Window, partition
from geoseg.location import Location
from geoseg.raster.cog import read_provenance
from geoseg.raster.legend import read_legend
from geoseg.raster.scene import Scene

_NOT_IN_RASTER = ("classes", "files", "superpixels")
"""Entries of a record that are not in the provenance within the raster."""


def check_layout(findings: FileFindings, record: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that a raster is a complete cloud-optimised GeoTIFF and holds the same provenance as its record.

    Raises:
        InputError: The raster is not a TIFF, or its directories are damaged.
    """
    faults = layout_faults(findings.file)
    for fault in faults:
        yield findings.failed("layout", fault)
    if not faults:
        yield findings.passed("layout", "is a complete cloud-optimised GeoTIFF")
    inside = dict(read_provenance(findings.file) or {})
    inside.pop("layer", None)
    recorded = {key: value for key, value in record.items() if key not in _NOT_IN_RASTER}
    differing = [key for key in sorted({*inside, *recorded}) if inside.get(key) != recorded.get(key)]
    problem = f"its provenance differs from the record: {', '.join(differing)}" if differing else None
    yield findings.judge("provenance", problem, "its provenance matches the record")


def recorded_opening(summary: Mapping[str, Any]) -> Opening:
    """Return how a raster was opened of which a record has this `Scene.summary`.

    Raises:
        SettingError, TypeError: The record is damaged.
    """
    return Opening(page=summary.get("page"), nodata=summary.get("nodata"))


class MapCheck:
    """Checks a class raster, or a raster of superpixel ids, and what belongs to it.

    Args:
        path: The raster.
        record: Its record.
        classes: Its class map; None for superpixel ids.
        confidence: The confidence raster of the same map.
        scene: The scene it was made from, with the settings in `record`.

    Attributes:
        pixels: After `run`, class id -> number of its pixels; empty for superpixel ids.
        pixel_area: After `run`, the area of a pixel in units of the CRS squared.
    """

    def __init__(
        self, path: Path, record: Mapping[str, Any], classes: ClassMap | None, confidence: Path | None = None,
        scene: Path | None = None,
    ) -> None:  # fmt: skip
        self._findings, self._classes = FileFindings(path), classes
        self._known = np.zeros(1 << 16, np.bool_)
        self._known[[NODATA, *(entry.id for entry in (classes.classes if classes else ()))]] = True
        self._confidence_findings = FileFindings(confidence) if confidence is not None else None
        self._record, self._scene_path = record, scene
        self._with_id = 0
        self.pixels: dict[int, int] = {}
        self.pixel_area = 0.0
        self._unknown_id, self._unmatched = WrongPixels(), WrongPixels()
        self._missing, self._extra = WrongPixels(), WrongPixels()

    def run(self) -> Iterator[Finding]:
        """Read every raster and yield the findings.

        Raises:
            InputMissingError, InputError: One of them cannot be opened.
            KeyError, TypeError, ValueError: The record is damaged.
        """
        with ExitStack() as stack:
            raster = stack.enter_context(Scene(self._findings.file, stored=True, quiet=True))
            self.pixel_area = abs(float(raster.georeference.transform.determinant))
            kind = self._check_type(raster)
            yield kind
            if not kind.ok:
                return
            if self._classes is not None:
                yield self._check_class_map(raster, self._classes)
            confidence = scene = None
            if self._confidence_findings is not None:
                path = self._confidence_findings.file
                confidence = stack.enter_context(Scene(path, (1,), stored=True, quiet=True))
                kind = self._check_confidence_type(self._confidence_findings, raster, confidence)
                yield kind
                confidence = confidence if kind.ok else None
            if self._scene_path is not None:
                opening = recorded_opening(self._record["scene"])
                scene = stack.enter_context(Scene(self._scene_path, self._bands(), opening=opening, quiet=True))
                problem = self._scene_problem(scene, raster)
                yield self._findings.judge("scene", problem, f"size and position match {self._scene_path}")
                scene = scene if problem is None else None
            yield from self._read(raster, confidence, scene)
        yield from self._check_pixels(confidence is not None, scene is not None)

    def _check_type(self, raster: Scene) -> Finding:
        expected = "uint32" if self._classes is None else self._classes.dtype
        found = f"{raster.count} band of {raster.dtype}, {raster.masks}"
        problem = None
        if found != f"1 band of {expected}, nodata 0":
            problem = f"is {found}; it should be 1 band of {expected}, nodata 0"
        return self._findings.judge("type", problem, found)

    def _check_class_map(self, raster: Scene, classes: ClassMap) -> Finding:
        colours, names = raster.colours, read_legend(self._findings.file, NODATA).names
        wrong = [
            entry.name
            for entry in classes.classes
            if colours.get(entry.id) != entry.colour.lower() or names.get(entry.id, "") != entry.name
        ]
        problem = f"the colour or name differs from the record for {', '.join(wrong[:5])}" if wrong else None
        message = f"colours and names of {len(classes)} classes match the record"
        return self._findings.judge("class map", problem, message)

    def _check_confidence_type(self, findings: FileFindings, raster: Scene, confidence: Scene) -> Finding:
        problem = None
        if (confidence.shape, confidence.georeference) != (raster.shape, raster.georeference):
            problem = f"is not on the pixel grid of {raster.path.name}"
        elif (str(confidence.dtype), confidence.masks) != ("uint8", "nodata 0"):
            problem = f"is {confidence.dtype}, {confidence.masks}; it should be uint8, nodata 0"
        return findings.judge("type", problem, f"uint8, nodata 0, on the pixel grid of {raster.path.name}")

    def _settings(self) -> Mapping[str, Any]:
        settings = self._record.get("settings")
        return settings if isinstance(settings, dict) else {}

    def _bands(self) -> tuple[int, ...] | None:
        bands = self._settings().get("bands")
        return tuple(bands) if isinstance(bands, list) else None

    def _extent(self, scene: Scene) -> Window:
        """The part of the scene that the raster covers."""
        recorded = self._settings().get("extent")
        return Window.of(*recorded) if recorded is not None else scene.extent

    def _scene_problem(self, scene: Scene, raster: Scene) -> str | None:
        recorded = self._record["scene"]
        summary = scene.summary()
        if summary["shape"] != recorded["shape"] or summary["bytes"] != recorded["bytes"]:
            return f"was made from {recorded['name']} of {recorded['bytes']} bytes, not from {self._scene_path}"
        extent = self._extent(scene)
        if extent.intersect(scene.extent) != extent or extent.shape != raster.shape:
            return "does not have the size of the recorded part of the scene"
        expected = scene.georeference.shifted(extent).transform
        return None if expected.almost_equals(raster.georeference.transform, 1e-6) else "is not where its scene is"

    def _read(self, raster: Scene, confidence: Scene | None, scene: Scene | None) -> Iterator[Finding]:
        damaged: dict[Location, list[str]] = {}
        counts = np.zeros(1 << 16, np.int64)

        def read(source: Scene, window: Window) -> Any:
            try:
                return source.read(window) if source is scene else source.read_stored(window)[0]
            except InputError:
                damaged.setdefault(source.path, []).extend(damaged_blocks(source, window))
                return None

        origin = self._extent(scene) if scene is not None else raster.extent
        with (scene or raster).caching(READ_SIZE):
            for block in partition(raster.extent, READ_SIZE):
                ids = read(raster, block.window)
                certainty = read(confidence, block.window) if confidence is not None else None
                pixels = read(scene, _shifted(block.window, origin)) if scene is not None else None
                if ids is None:
                    continue
                if self._classes is not None:
                    counts += np.bincount(ids.ravel(), minlength=len(counts))
                self._compare(ids, certainty, None if pixels is None else pixels[1], block.window)
        self.pixels = {value: int(counts[value]) for value in np.flatnonzero(counts).tolist() if value}
        yield from block_findings(self._findings, damaged.get(raster.path, []))
        if self._confidence_findings is not None and confidence is not None:
            yield from block_findings(self._confidence_findings, damaged.get(confidence.path, []))
        if scene is not None:
            yield from block_findings(FileFindings(Path(str(scene.path))), damaged.get(scene.path, []))

    def _compare(
        self, ids: NDArray[Any], confidence: NDArray[np.uint8] | None, valid: NDArray[np.bool_] | None, window: Window
    ) -> None:
        """Add the wrong pixels of one window: ids, confidence and validity of the scene, each (rows, cols)."""
        self._with_id += int(np.count_nonzero(ids))
        if self._classes is not None:
            self._unknown_id.add(~self._known[ids], window)
        if confidence is not None:
            self._unmatched.add((confidence > 0) != (ids > 0), window)
        if valid is not None:
            self._missing.add(valid & (ids == 0), window)
            self._extra.add(~valid & (ids > 0), window)

    def _check_pixels(self, confidence: bool, scene: bool) -> Iterator[Finding]:
        last = None if self._classes is None else self._classes.highest
        problem = self._unknown_id.problem("have an id that no class has")
        message = f"{self._with_id} pixels have an id" + (f" of a class, from 1 to {last}" if last else "")
        yield self._findings.judge("ids", problem, message)
        if confidence and self._confidence_findings is not None:
            problem = self._unmatched.problem("have a confidence but no class, or a class but no confidence")
            yield self._confidence_findings.judge("confidence", problem, "is above 0 exactly where there is a class")
        if scene:
            yield self._check_nodata()

    def _check_nodata(self) -> Finding:
        extra = self._extra.problem("have a value where the scene is not valid")
        option = "an --aoi" if self._settings().get("aoi_sha256") is not None else ""
        option = option or ("--extra" if self._record["scene"].get("extras") else "")
        if option:
            message = f"has no value where the scene is not valid (missing values are not checked with {option})"
            return self._findings.judge("nodata", extra, message)
        missing = self._missing.problem("have no value where the scene is valid")
        problem = "; ".join(each for each in (extra, missing) if each)
        return self._findings.judge("nodata", problem or None, "has a value exactly where the scene is valid")


def _shifted(window: Window, origin: Window) -> Window:
    down, right = origin.rows.start, origin.cols.start
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start + down, rows.stop + down), Span(cols.start + right, cols.stop + right))
