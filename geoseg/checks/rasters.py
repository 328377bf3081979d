"""Checks of any raster, read once from end to end: every block decodes, and how many pixels are valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geoseg.checks.findings import MAX_LISTED, FileFindings, Finding
from geoseg.errors import InputError
from geoseg.grid import Window, partition
from geoseg.raster.scene import EVERY_BAND, Scene

READ_SIZE = 2048
"""Side in pixels of what is read at once."""


def check_raster(path: Path) -> Iterator[Finding]:
    """Check a raster that geoseg did not write, or is not known to have written.

    Raises:
        InputMissingError, InputError: The raster cannot be opened.
    """
    findings = FileFindings(path)
    with Scene(path, EVERY_BAND, quiet=True) as scene:
        rows, cols = scene.shape
        bands = f"{scene.count} band{'s' * (scene.count > 1)} of {scene.dtype}"
        crs = "a CRS" if scene.georeference.wkt else "no CRS"
        header = f"{scene.driver}, {cols} x {rows} px, {bands}, {crs}, invalid pixels by: {scene.masks}"
        yield findings.passed("header", header)
        yield from _check_blocks(findings, scene)


def _check_blocks(findings: FileFindings, scene: Scene) -> Iterator[Finding]:
    valid, total = 0, scene.extent.pixels
    damaged: list[str] = []
    with scene.caching(READ_SIZE):
        for block in partition(scene.extent, READ_SIZE):
            try:
                valid += int(np.count_nonzero(scene.read(block.window)[1]))
            except InputError:
                damaged += damaged_blocks(scene, block.window)
    yield from block_findings(findings, damaged)
    yield findings.passed("valid pixels", f"{valid} of {total} pixels are valid ({100 * valid / total:.1f} %)")


def block_findings(findings: FileFindings, damaged: list[str]) -> Iterator[Finding]:
    """Yield that every block decodes, or a finding for each of the first `MAX_LISTED` blocks that do not.

    Args:
        findings: Makes the findings of the raster.
        damaged: The blocks by `damaged_blocks`; repeated ones count once.
    """
    blocks = list(dict.fromkeys(damaged))
    if not blocks:
        yield findings.passed("blocks", "every block decodes")
    for block in blocks[:MAX_LISTED]:
        yield findings.failed("blocks", f"{block} cannot be decoded")
    if len(blocks) > MAX_LISTED:
        yield findings.failed("blocks", f"{len(blocks) - MAX_LISTED} more blocks cannot be decoded")


def damaged_blocks(scene: Scene, window: Window) -> list[str]:
    """Return the stored blocks in `window` that cannot be decoded, each as a phrase with its rows and columns."""
    damaged = []
    for block in _stored_blocks(scene, window):
        try:
            scene.read(block)
        except InputError:
            rows, cols = block.rows, block.cols
            damaged.append(f"the block of rows {rows.start}-{rows.stop}, columns {cols.start}-{cols.stop}")
    return damaged


def _stored_blocks(scene: Scene, window: Window) -> Iterator[Window]:
    height, width = scene.block_shape
    for row in range(window.rows.start // height * height, window.rows.stop, height):
        for col in range(window.cols.start // width * width, window.cols.stop, width):
            yield Window.of(row, col, height, width).intersect(scene.extent)
