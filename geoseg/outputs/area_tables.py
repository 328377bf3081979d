"""Tables of areas as CSV: of the classes of a map, in all of it and in each feature of its area of interest."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from geoseg.areas.features import Feature
from geoseg.classes import LandClass
from geoseg.grid import Span
from geoseg.outputs.class_areas import AreaTally, ClassArea
from geoseg.raster.class_raster import ClassRaster

HECTARE = 10_000.0
"""In m²."""

WHOLE = "all"
"""What stands for the whole map in the column of features."""


def feature_areas(
    raster: ClassRaster, features: Sequence[Feature], origin: tuple[int, int] = (0, 0)
) -> tuple[dict[int, ClassArea], dict[int, dict[int, ClassArea]]]:
    """Return the areas of classes in a whole class raster, and in each of some features; the raster is read once.

    Args:
        raster: The class raster.
        features: The features, placed on the pixels of a scene.
        origin: (row, col) of the raster's first pixel in that scene.

    Returns:
        Class id -> area of the raster; and number of a feature -> class id -> area. Pixels where features overlap count
        in each of them.

    Raises:
        InputError: A block of the raster cannot be decoded.
    """
    whole, tallies = AreaTally(raster), {feature.number: AreaTally(raster) for feature in features}
    down, right = origin
    with raster.scene.caching(max(map(len, raster.spans))):
        for rows in raster.spans:
            values = raster.read(rows)
            whole.add(rows, values)
            place = raster.window(rows).shifted(down, right)
            for feature in features:
                window = feature.window(place)
                if not window.pixels:
                    continue
                first = window.cols.start - right
                inside = Span(window.rows.start - down, window.rows.stop - down)
                part = values[window.within(place)] * feature.mask(window)
                tallies[feature.number].add(inside, part, first=first)
    return whole.areas(), {number: tally.areas() for number, tally in tallies.items()}


def shares(areas: Mapping[int, ClassArea]) -> dict[int, float]:
    """Return class id -> share of the whole, in [0, 1]: of the area, or of the pixels where areas are not known."""
    sizes = {value: float(area.pixels if area.m2 is None else area.m2) for value, area in areas.items()}
    whole = sum(sizes.values())
    return {value: size / whole if whole else 0.0 for value, size in sizes.items()}


def area_table(
    areas: Mapping[int, ClassArea], classes: Iterable[LandClass],
    features: Mapping[int, Mapping[int, ClassArea]] | None = None,
) -> bytes:  # fmt: skip
    """Return the table of areas as CSV: a row for each class, and again for each feature where there are several.

    Args:
        areas: Class id -> area in all of the map.
        classes: The classes of the rows; one without pixels has a row of zeros.
        features: Number of a feature -> class id -> area; with fewer than two, there is no column of features.
    """
    several = features is not None and len(features) > 1
    groups: dict[str, Mapping[int, ClassArea]] = {WHOLE: areas}
    if features is not None and several:
        groups |= {str(number): found for number, found in features.items()}
    known = all(area.m2 is not None for area in areas.values())
    rows = [[*(["feature"] if several else []), "class_id", "class", "pixels", "ha", "percent"]]
    for name, found in groups.items():
        share = shares(found)
        for entry in classes:
            area = found.get(entry.id, ClassArea(0, 0.0))
            cells = [str(entry.id), entry.name, str(area.pixels), hectares(area.m2 if known else None)]
            rows.append([*([name] if several else []), *cells, f"{100 * share.get(entry.id, 0.0):.4f}"])
    return csv_bytes(rows)


def hectares(m2: float | None) -> str:
    """Return an area in hectares as a table has it, to a hundredth of a square metre; empty where it is not known."""
    return "" if m2 is None else f"{m2 / HECTARE:.6f}"


def csv_bytes(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows as CSV (RFC 4180), in UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8-sig")
