"""The class sheet: for each class of a map, patches of the imagery in which it is outlined, to say what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass
from geoseg.grid import Span, Window
from geoseg.naming.places import choose_places, window_at
from geoseg.outputs.class_areas import ClassArea, hectares, percent
from geoseg.outputs.pictures import Picture, draw_sheet
from geoseg.outputs.scene_picture import Tones
from geoseg.outputs.survey import Survey
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.scene import Scene

PATCHES = 8
"""Patches of a class."""

SIDES = (64, 112)
"""Least and largest side of a patch in pixels."""

_ALONG = 12
"""Patches along the longer side of a map, if that is possible with such sides."""

_MAX_CLASSES = 512
"""Classes that have patches: those with the largest areas."""


@dataclass(frozen=True, eq=False)
class SheetRow:
    """A class on the sheet.

    Attributes:
        entry: The class.
        area: What it covers; None for a class without a pixel.
        share: Share of the mapped area in [0, 1].
        patches: Pictures, all of the same size; none for a class without a pixel.
        windows: The pixels of the class raster that each patch shows.
    """

    entry: LandClass
    area: ClassArea | None
    share: float
    patches: tuple[Picture, ...] = ()
    windows: tuple[Window, ...] = ()

    @property
    def note(self) -> str:
        """What the class covers, on one line."""
        if self.area is None:
            return "not in this map"
        words = [f"id {self.entry.id}", percent(self.share)]
        words += [f"{hectares(self.area.m2)} ha"] if self.area.m2 is not None else [f"{self.area.pixels} px"]
        words += [f"confidence {self.area.confidence:.2f}"] if self.area.confidence is not None else []
        return ", ".join(words)


def class_sheet(
    raster: ClassRaster,
    scene: Scene,
    confidence: Confidence | None = None,
    *,
    part: Window | None = None,
    survey: Survey | None = None,
    tones: Tones | None = None,
    patches: int = PATCHES,
    side: int | None = None,
) -> tuple[SheetRow, ...]:
    """Return the class sheet of a map: a row for each class that it has or knows, in the order of their ids.

    Patches lie well inside the class, at places spread over the map, and where it is sure; see `choose_places`. The
    scene is read at these places only, so memory does not depend on its size.

    Args:
        raster: The class raster.
        scene: The scene that it was made from, opened with the bands to show.
        confidence: Confidence on the pixels of the class raster.
        part: The part of the scene that the raster covers; None is all of it. See `geoseg.naming.origin.open_scene`.
        survey: Of the raster, read to its end; None reads it.
        tones: How the scene is shown; None takes them from a sample of it.
        patches: Most patches of a class.
        side: Side of a patch in pixels; None is 112, and less on a map that has no room for many of them.

    Raises:
        InputError: A block of a raster cannot be decoded.
    """
    if survey is None:
        survey = Survey(raster, confidence)
        for _ in survey.steps():
            pass
    tones, part = tones or Tones.of(scene), part or scene.extent
    if side is None:
        side = min(max(SIDES[0], max(raster.scene.shape) // _ALONG // 16 * 16), SIDES[1])
    rows = _rows(raster, survey)
    largest = sorted((row for row in rows if row.area), key=lambda row: -row.share)[:_MAX_CLASSES]
    shown = {row.entry.id for row in largest}
    places = choose_places(survey, patches, side)
    sheet = []
    with scene.caching(side):
        for row in rows:
            windows: tuple[Window, ...] = ()
            if row.entry.id in shown:
                value = row.entry.id + raster.offset
                windows = tuple(window_at(raster, value, place, side) for place in places.get(value, ()))
            pictures = tuple(_patch(raster, scene, part, tones, row.entry.id, window, side) for window in windows)
            sheet.append(SheetRow(row.entry, row.area, row.share, pictures, windows))
    return tuple(sheet)


def sheet_picture(rows: Sequence[SheetRow]) -> Picture:
    """Return the sheet as one picture: a row for each class with its colour, name, share and patches."""
    return draw_sheet([row.entry for row in rows], [row.note for row in rows], [row.patches for row in rows])


def outline(picture: Picture, mask: NDArray[np.bool_]) -> Picture:
    """Return a picture with the pixels of `mask` outlined: in white inside, in black outside of it.

    One of the two shows on any ground. What lies at the edge of the picture gets no line there.
    """
    padded = np.pad(mask, 1, mode="edge")
    near = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    drawn = picture.copy()
    drawn[mask & ~np.logical_and.reduce(near)] = 255
    drawn[~mask & np.logical_or.reduce(near)] = 0
    return drawn


def _rows(raster: ClassRaster, survey: Survey) -> list[SheetRow]:
    areas = survey.areas
    total = sum(_size(area) for area in areas.values()) or 1.0
    ids = sorted({*areas, *raster.classes})
    return [SheetRow(raster.land_class(i), areas.get(i), _size(areas[i]) / total if i in areas else 0.0) for i in ids]


def _size(area: ClassArea) -> float:
    return float(area.pixels) if area.m2 is None else area.m2


def _patch(
    raster: ClassRaster, scene: Scene, part: Window, tones: Tones, class_id: int, window: Window, side: int
) -> Picture:
    """A patch of side x side pixels; grey where the scene is not valid, or ends."""
    pixels, valid = scene.read(_shifted(window, part))
    drawn = outline(tones.picture(pixels, valid), raster.read_window(window) == class_id + raster.offset)
    patch: NDArray[Any] = np.full((side, side, 3), tones.background, np.uint8)
    patch[: drawn.shape[0], : drawn.shape[1]] = drawn
    return patch


def _shifted(window: Window, origin: Window) -> Window:
    down, right = origin.rows.start, origin.cols.start
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start + down, rows.stop + down), Span(cols.start + right, cols.stop + right))
