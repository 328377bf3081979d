"""geoseg classes show --sheet: examples of every class of a map, as a picture or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from geoseg.config import Opening
from geoseg.errors import OutputError, SettingError
from geoseg.files.targets import check_target
from geoseg.grid import Window
from geoseg.jobs.class_edits import is_model
from geoseg.location import Location
from geoseg.naming.origin import find_confidence, open_scene
from geoseg.naming.page import PAGES, write_sheet
from geoseg.naming.sheet import SheetRow, class_sheet
from geoseg.outputs.pictures import sheet_boxes
from geoseg.raster.class_raster import ClassRaster, Confidence


def check_sheet(out: Path, file: Path, map_path: Path | None, overwrite: bool) -> Path:
    """Refuse a sheet that cannot or must not be written, before any work; return the map that it is of.

    Raises:
        SettingError: There is no map.
        OutputError: See `check_target`; also a suffix that is none of a picture or a page.
    """
    if is_model(file) and map_path is None:
        raise SettingError(f"{out}: a class sheet shows places of a map; give the class raster as FILE, or with --map")
    raster = map_path if is_model(file) and map_path is not None else file
    check_target(out, overwrite, (file, raster))
    if out.suffix.lower() not in (".png", *PAGES):
        raise OutputError(f"{out}: a class sheet is a picture or a page; name it {out.stem}.png or {out.stem}.html")
    return raster


def write_class_sheet(
    path: Path, out: Path, scene: Location | None = None, opening: Opening | None = None
) -> Mapping[int, list[dict[str, Any]]]:
    """Write the class sheet of a map, and return the places that it shows.

    Args:
        path: The class raster.
        out: The file, .png or .html.
        scene: The scene that the map was made from; None looks for it, see `geoseg.naming.origin.open_scene`.
        opening: How the scene is opened.

    Returns:
        Class id -> its places as JSON values: `extent`, the bounds (least x, least y, greatest x, greatest y) in the
        CRS of the map, and `box`, where the place is on a sheet that is a picture: left, top, width, height in pixels.

    Raises:
        InputMissingError, InputError: The map or its scene is missing or damaged, or they do not belong together.
        WriteError: The file system failed.
    """
    with ExitStack() as stack:
        raster = stack.enter_context(ClassRaster(path))
        shown, part = open_scene(raster, scene, opening=opening)
        stack.enter_context(shown)
        beside = find_confidence(path)
        confidence = None if beside is None else stack.enter_context(Confidence(beside, raster.scene))
        rows = class_sheet(raster, shown, confidence, part=part)
        write_sheet(out, rows, f"Classes of {shown.path.name}")
        return _places(rows, raster.scene.georeference.transform, out.suffix.lower() not in PAGES)


def _places(rows: Sequence[SheetRow], transform: Any, boxes: bool) -> dict[int, list[dict[str, Any]]]:
    """The places of each class: see `write_class_sheet`."""
    found = {}
    for row, its_boxes in zip(rows, sheet_boxes([row.patches for row in rows]), strict=True):
        found[row.entry.id] = [
            {"extent": _bounds(transform, window)} | ({"box": list(box)} if boxes else {})
            for window, box in zip(row.windows, its_boxes, strict=True)
        ]
    return found


def _bounds(transform: Any, window: Window) -> list[float]:
    """The bounds of a window in the CRS, also where the raster is rotated."""
    rows, cols = window.rows, window.cols
    corners = [transform @ (col, row) for col in (cols.start, cols.stop) for row in (rows.start, rows.stop)]
    xs, ys = zip(*corners, strict=True)
    return [float(value) for value in (min(xs), min(ys), max(xs), max(ys))]
