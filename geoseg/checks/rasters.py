"""Checks of rasters, read once from end to end: every block decodes; of a map also layout, ids, confidence, and nodata
against the scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.checks.cog import layout_faults
from geoseg.checks.findings import MOST, Finding, Pixels, Report
from geoseg.classes import ClassMap
from geoseg.errors import InputError
from geoseg.grid import Span, Window, partition
from geoseg.location import Location
from geoseg.raster.class_raster import category_names
from geoseg.raster.cog import read_provenance
from geoseg.raster.scene import EVERY_BAND, Scene


class MapCheck:
    """The class raster `path`, or a raster of superpixels where `classes` is None, against what belongs to it.

    confidence: raster on the same pixels. scene: what it was made of, by the settings in `record`.
    pixels, pixel_area: after `run`, id -> pixels of it, where there are classes, and the area of each in the CRS.
    """

    def __init__(
        self, path: Path, record: Mapping[str, Any], classes: ClassMap | None, confidence: Path | None = None,
        scene: Path | None = None,
    ) -> None:  # fmt: skip
        self._report, self._classes = Report(path), classes
        self._sure = Report(confidence) if confidence is not None else None
        self._record, self._scene_path = record, scene
        self._some = 0
        self.pixels: dict[int, int] = {}
        self.pixel_area = 0.0
        self._strange, self._unsure, self._missing, self._extra = Pixels(), Pixels(), Pixels(), Pixels()

    def run(self) -> Iterator[Finding]:
        """Read everything, and yield what was found.

        Raises:
            InputError: a file that cannot be opened.
        """
        with ExitStack() as stack:
            raster = stack.enter_context(Scene(self._report.file, stored=True, quiet=True))
            self.pixel_area = abs(float(raster.georeference.transform.determinant))
            kind = self._kind(raster)
            yield kind
            if not kind.fine:
                return
            if self._classes is not None:
                yield self._names(raster, self._classes)
            sure = scene = None
            if self._sure is not None:
                sure = stack.enter_context(Scene(self._sure.file, (1,), stored=True, quiet=True))
                fits = self._confidence_fits(self._sure, raster, sure)
                yield fits
                sure = sure if fits.fine else None
            if self._scene_path is not None:
                scene = stack.enter_context(Scene(self._scene_path, self._bands(), quiet=True))
                problem = self._scene_problem(scene, raster)
                yield self._report.either("scene", problem, f"is of the size and place of {self._scene_path}")
                scene = scene if problem is None else None
            yield from self._read(raster, sure, scene)
        yield from self._told(sure is not None, scene is not None)

    def _kind(self, raster: Scene) -> Finding:
        wanted = "uint32" if self._classes is None else self._classes.dtype
        found = f"{raster.count} band of {raster.dtype}, {raster.masks}"
        problem = None if found == f"1 band of {wanted}, nodata 0" else f"is {found}; it should be {wanted}, nodata 0"
        return self._report.either("type", problem, found)

    def _names(self, raster: Scene, classes: ClassMap) -> Finding:
        colours, names = raster.colours, category_names(self._report.file)
        wrong = [
            entry.name
            for entry in classes.classes
            if colours.get(entry.id) != entry.colour.lower() or names[entry.id : entry.id + 1] != [entry.name.strip()]
        ]
        problem = f"has another colour or name for {', '.join(wrong[:5])}" if wrong else None
        return self._report.either(
            "class map", problem, f"colours and names of {len(classes)} classes are the record's"
        )

    def _confidence_fits(self, report: Report, raster: Scene, sure: Scene) -> Finding:
        same = (sure.shape, sure.georeference) == (raster.shape, raster.georeference)
        problem = None if same else f"is not on the pixels of {raster.path.name}"
        if same and (str(sure.dtype), sure.masks) != ("uint8", "nodata 0"):
            problem = f"is {sure.dtype}, {sure.masks}; it should be uint8, nodata 0"
        return report.either("type", problem, f"uint8, nodata 0, on the pixels of {raster.path.name}")

    def _settings(self) -> Mapping[str, Any]:
        settings = self._record.get("settings")
        return settings if isinstance(settings, dict) else {}

    def _bands(self) -> tuple[int, ...] | None:
        bands = self._settings().get("bands")
        return tuple(bands) if isinstance(bands, list) else None

    def _extent(self, scene: Scene) -> Window:
        given = self._settings().get("extent")
        return Window.of(*given) if given is not None else scene.extent

    def _scene_problem(self, scene: Scene, raster: Scene) -> str | None:
        told = self._record["scene"]
        summary = scene.summary()
        if summary["shape"] != told["shape"] or summary["bytes"] != told["bytes"]:
            return f"was not made of {self._scene_path}, but of {told['name']} of {told['bytes']} bytes"
        extent = self._extent(scene)
        if extent.intersect(scene.extent) != extent or extent.shape != raster.shape:
            return "is not of the size of its part of the scene"
        placed = scene.georeference.shifted(extent).transform.almost_equals(raster.georeference.transform, 1e-6)
        return None if placed else "lies elsewhere than its scene"

    def _read(self, raster: Scene, sure: Scene | None, scene: Scene | None) -> Iterator[Finding]:
        broken: dict[Location, list[str]] = {}
        counts = np.zeros(1 << 16, np.int64)

        def read(source: Scene, window: Window) -> Any:
            try:
                return source.read(window) if source is scene else source.read_stored(window)[0]
            except InputError:
                broken.setdefault(source.path, []).extend(broken_blocks(source, window))
                return None

        corner = self._extent(scene) if scene is not None else raster.extent
        with (scene or raster).caching(PIECE):
            for block in partition(raster.extent, PIECE):
                values = read(raster, block.window)
                certain = read(sure, block.window) if sure is not None else None
                seen = read(scene, _moved(block.window, corner)) if scene is not None else None
                if values is None:
                    continue
                if self._classes is not None:
                    counts += np.bincount(values.ravel(), minlength=len(counts))
                    self._strange.see(values > len(self._classes), block.window)
                self._some += int(np.count_nonzero(values))
                if certain is not None:
                    self._unsure.see((certain > 0) != (values > 0), block.window)
                if seen is not None:
                    self._missing.see(seen[1] & (values == 0), block.window)
                    self._extra.see(~seen[1] & (values > 0), block.window)
        self.pixels = {value: int(counts[value]) for value in np.flatnonzero(counts).tolist() if value}
        for report, source in ((self._report, raster), (self._sure, sure), (self._report, scene)):
            if report is not None and source is not None:
                yield from decoded(
                    report if source is not scene else Report(Path(str(source.path))), broken.get(source.path, [])
                )

    def _told(self, sure: bool, scene: bool) -> Iterator[Finding]:
        most = None if self._classes is None else len(self._classes)
        problem = self._strange.told(f"hold ids above {most}, which are no classes")
        yield self._report.either(
            "ids", problem, f"{self._some} pixels have an id" + (f", of 1 to {most}" if most else "")
        )
        if sure and self._sure is not None:
            problem = self._unsure.told("have a confidence and no class, or a class and no confidence")
            yield self._sure.either("confidence", problem, "is above 0 exactly where there is a class")
        if scene:
            yield self._nodata()

    def _nodata(self) -> Finding:
        extra = self._extra.told("have a value where the scene has no valid pixel")
        if self._settings().get("aoi_sha256") is not None:
            done = "has no value outside the scene; inside its area of interest is not looked at"
            return self._report.either("nodata", extra, done)
        missing = self._missing.told("have no value where the scene has a valid pixel")
        told = [each for each in (extra, missing) if each]
        return self._report.either("nodata", "; ".join(told) or None, "has a value exactly where the scene is valid")


def _moved(window: Window, corner: Window) -> Window:
    down, right = corner.rows.start, corner.cols.start
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start + down, rows.stop + down), Span(cols.start + right, cols.stop + right))


PIECE = 2048
"""Pixels a side that are read at once."""

_KEPT_APART = ("classes", "files", "superpixels")
"""What a record says besides the provenance that is in the raster too."""


def check_raster(path: Path) -> Iterator[Finding]:
    """Yield what any raster is like that is not of geoseg's making, or is not known to be."""
    report = Report(path)
    with Scene(path, EVERY_BAND, quiet=True) as scene:
        rows, cols = scene.shape
        bands = f"{scene.count} band{'s' * (scene.count > 1)} of {scene.dtype}"
        where = "a CRS" if scene.georeference.wkt else "no CRS"
        told = f"{scene.driver}, {cols} x {rows} px, {bands}, {where}, invalid pixels by: {scene.masks}"
        yield report.fine("header", told)
        yield from check_blocks(report, scene)


def check_blocks(report: Report, scene: Scene) -> Iterator[Finding]:
    """Yield whether every block of a raster decodes, with the places of those that do not, and how much is valid."""
    valid = 0
    broken: list[str] = []
    with scene.caching(PIECE):
        for block in partition(scene.extent, PIECE):
            try:
                valid += int(np.count_nonzero(scene.read(block.window)[1]))
            except InputError:
                broken += broken_blocks(scene, block.window)
    yield from decoded(report, broken)
    yield report.fine("valid pixels", f"{valid} of {scene.extent.pixels} pixels are valid ({_share(valid, scene)})")


def decoded(report: Report, broken: list[str]) -> Iterator[Finding]:
    """Yield that every block decodes, or the places of those that do not."""
    places = list(dict.fromkeys(broken))
    if not places:
        yield report.fine("blocks", "every block decodes")
    for place in places[:MOST]:
        yield report.wrong("blocks", f"{place} cannot be decoded")
    if len(places) > MOST:
        yield report.wrong("blocks", f"{len(places) - MOST} more blocks cannot be decoded")


def broken_blocks(scene: Scene, window: Window) -> list[str]:
    """Return the places of the stored blocks in `window` that cannot be decoded."""
    found = []
    for block in _stored(scene, window):
        try:
            scene.read(block)
        except InputError:
            rows, cols = block.rows, block.cols
            found.append(f"the block of rows {rows.start}-{rows.stop}, columns {cols.start}-{cols.stop}")
    return found


def _stored(scene: Scene, window: Window) -> Iterator[Window]:
    height, width = scene.block_shape
    for row in range(window.rows.start // height * height, window.rows.stop, height):
        for col in range(window.cols.start // width * width, window.cols.stop, width):
            yield Window.of(row, col, height, width).intersect(scene.extent)


def _share(count: int, scene: Scene) -> str:
    return f"{100 * count / scene.extent.pixels:.1f} %"


def check_layout(report: Report, record: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield whether a raster that geoseg wrote is a whole COG, and says of itself what its record says."""
    faults = layout_faults(report.file)
    for fault in faults:
        yield report.wrong("layout", fault)
    if not faults:
        yield report.fine("layout", "is a cloud-optimised GeoTIFF, and all of it is there")
    inside = dict(read_provenance(report.file) or {})
    inside.pop("layer", None)
    recorded = {key: value for key, value in record.items() if key not in _KEPT_APART}
    differing = [key for key in sorted({*inside, *recorded}) if inside.get(key) != recorded.get(key)]
    problem = f"says another {', '.join(differing)} of itself than its record" if differing else None
    yield report.either("provenance", problem, "says of itself what its record says")
