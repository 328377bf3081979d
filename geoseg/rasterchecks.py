"""Checks of one raster by itself: every block decodes; one that geoseg wrote is a whole, cloud-optimised GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.cog import layout_faults
from geoseg.errors import InputError
from geoseg.findings import MOST, Finding, Report
from geoseg.grid import Window, partition
from geoseg.raster.cog import read_provenance
from geoseg.raster.scene import EVERY_BAND, Scene

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
