"""Checks of polygons: how many there are, their geometries, ids and class names, and their areas against a raster."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.checks.findings import FileFindings, Finding
from geoseg.checks.polygon_rows import Rows, connect, read_rows, stated_count
from geoseg.lazy import lazy
from geoseg.vector.tiles import PMTILES, count_polygons

if TYPE_CHECKING:
    import shapely
else:
    shapely = lazy("shapely")

_PIXEL_TOLERANCE, _RELATIVE_TOLERANCE = 0.25, 1e-8
"""How far the area of a class may be from its pixels: in pixels, and as a share of them."""

_POLYGON_TYPES = (3, 6)
"""GEOS type ids of Polygon and MultiPolygon."""


@dataclass
class PolygonSummary:
    """What the polygons of a file add up to.

    Attributes:
        stated: Number of rows that the file states; None if it does not say.
        count: Number of rows that it has.
        invalid: Number of rows whose geometry is not valid, not a polygon, or empty.
        first_invalid: The first of them, counted from 0; None if there is none.
        areas: Id -> sum of the areas of its valid polygons, in units of the CRS squared.
        names: The pairs (id, class name) that occur.
    """

    stated: int | None
    count: int = 0
    invalid: int = 0
    first_invalid: int | None = None
    areas: Counter[int] = field(default_factory=Counter)
    names: set[tuple[int, str]] = field(default_factory=set)

    def add(self, rows: Rows) -> None:
        """Add the next rows of the file."""
        shapes = shapely.from_wkb(np.array(rows.geometries, object), on_invalid="ignore")
        valid = _valid(shapes)
        if not valid.all() and self.first_invalid is None:
            self.first_invalid = self.count + int(np.argmin(valid))
        self.count += len(rows.ids)
        self.invalid += int(np.count_nonzero(~valid))
        areas = np.where(valid, shapely.area(shapes), 0.0)
        ids, index = np.unique(rows.ids, return_inverse=True)
        for value, area in zip(ids.tolist(), np.bincount(index, areas).tolist(), strict=True):
            self.areas[value] += area
        if rows.names is not None:
            # A Shapefile has no empty texts, only missing ones.
            self.names |= {(value, str(name or "")) for value, name in zip(rows.ids.tolist(), rows.names, strict=True)}


def summarise(path: Path, driver: str, layer: str | None = None) -> PolygonSummary:
    """Read the polygons of a file once, from end to end. For the parameters see `read_rows`.

    Raises:
        InputError: The file cannot be read or has no such layer.
    """
    summary = PolygonSummary(stated_count(path, driver, layer))
    for rows in read_rows(path, driver, layer):
        summary.add(rows)
    if driver == PMTILES:
        summary.count = count_polygons(path)
    return summary


def _valid(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    polygons = np.isin(shapely.get_type_id(shapes), _POLYGON_TYPES)
    valid: NDArray[np.bool_] = polygons & shapely.is_valid(shapes) & ~shapely.is_empty(shapes)
    return valid


def check_polygons(findings: FileFindings, polygons: PolygonSummary, recorded: int | None) -> Iterator[Finding]:
    """Check the number of polygons and their geometries.

    Args:
        findings: Makes the findings of the file.
        polygons: What the file holds.
        recorded: Number of polygons by the record of the file; None if there is no record.
    """
    expected = {count for count in (polygons.stated, recorded) if count is not None and count >= 0}
    problem = None
    if not expected <= {polygons.count}:
        problem = f"holds {polygons.count} polygons, but should hold {max(expected)}"
    yield findings.judge("features", problem, f"{polygons.count} polygons, as many as stated")
    problem = None
    if polygons.invalid:
        problem = f"{polygons.invalid} geometries are not valid polygons, the first is in row {polygons.first_invalid}"
    yield findings.judge("geometries", problem, "every geometry is a valid polygon")


def check_names(findings: FileFindings, polygons: PolygonSummary, names: Mapping[int, str]) -> Iterator[Finding]:
    """Check that every id is that of a class and comes with its name. names: class id -> name."""
    unknown = sorted(set(polygons.areas) - set(names))
    problem = f"has ids that no class has: {', '.join(map(str, unknown[:5]))}" if unknown else None
    yield findings.judge("class ids", problem, "every id is that of a class")
    wrong = sorted((value, name) for value, name in polygons.names if value in names and names[value] != name)
    problem = f"calls class {wrong[0][0]} {wrong[0][1]!r}, not {names[wrong[0][0]]!r}" if wrong else None
    yield findings.judge("class names", problem, "class names match the record")


def check_areas(
    findings: FileFindings, polygons: PolygonSummary, pixels: Mapping[int, int], pixel_area: float
) -> Finding:
    """Check that every class has the area of its pixels: nothing is missing and nothing is there twice.

    Args:
        findings: Makes the findings of the file.
        polygons: What the file holds.
        pixels: Class id -> number of its pixels in the raster.
        pixel_area: Area of a pixel in units of the CRS squared.
    """
    wrong = []
    for value in sorted({*polygons.areas, *pixels}):
        expected, found = pixels.get(value, 0), polygons.areas.get(value, 0.0) / pixel_area
        if abs(found - expected) > _PIXEL_TOLERANCE + _RELATIVE_TOLERANCE * expected:
            wrong.append(f"class {value} has the area of {found:.2f} pixels, but {expected} pixels in the raster")
    return findings.judge("areas", "; ".join(wrong[:3]) or None, "every class has the same area as in the raster")


def check_geopackage(findings: FileFindings, layer: str) -> Iterator[Finding]:
    """Check that a GeoPackage is an intact database and that `layer` has exactly one default style."""
    styles = "SELECT count(*) FROM layer_styles WHERE f_table_name = ? AND useAsDefault = 1 AND length(styleQML) > 0"
    try:
        with closing(connect(findings.file)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
            yield findings.judge("database", None if answer == "ok" else answer, "the database is intact")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            count = database.execute(styles, (layer,)).fetchone()[0] if "layer_styles" in tables else 0
            problem = None if count == 1 else f"layer {layer} has {count} default styles, not one"
            yield findings.judge("style", problem, f"layer {layer} has its default style")
    except sqlite3.Error as error:
        yield findings.failed("database", f"is not an intact database ({error})")
