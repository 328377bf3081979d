"""Where a class can be seen: places well inside of it, spread over the scene. The choice depends on the map alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.lazy import lazy
from geoseg.outputs.survey import Survey
from geoseg.raster.class_raster import ClassRaster

if TYPE_CHECKING:
    from scipy import ndimage
else:
    ndimage = lazy("scipy.ndimage")

_CELLS = 48
"""The scene is divided into so many cells along a side; a class has one candidate in each."""

_GOOD = 0.7
"""Candidates with this share of the best one's score are as good as it is, and chosen so that they lie apart."""

_APART = 0.75
"""Least distance of two places, as a share of the side of a patch."""

Place = tuple[int, int]
"""(row, col) of a pixel of the class raster."""


def choose_places(survey: Survey, count: int, side: int) -> dict[int, list[Place]]:
    """Return value -> up to `count` places of each class of a map, the best one first.

    A place is better, the farther it is from other classes, up to a third of a patch, and the surer the map is of it.
    Of the good ones, each next place is the one that lies farthest from those before it.

    Args:
        survey: Of the map, read to its end.
        count: Number of places of a class.
        side: Side of the patch around a place, in pixels.
    """
    scores = _scores(survey, side)
    shown = np.flatnonzero(survey.values.ravel())
    height, width = survey.values.shape
    cells = (np.arange(height) * _CELLS // height)[:, None] * _CELLS + np.arange(width) * _CELLS // width
    order = shown[np.argsort(-scores.ravel()[shown], kind="stable")]
    values = survey.values.ravel()[order]
    classes, numbers = np.unique(values, return_inverse=True)
    # The first of each class and cell is the best one there.
    _, best = np.unique(numbers * _CELLS**2 + cells.ravel()[order], return_index=True)
    found: dict[int, list[Place]] = {}
    for number, value in enumerate(classes.tolist()):
        candidates = order[np.sort(best[numbers[best] == number])]
        rows, cols = survey.rows[candidates // width], survey.cols[candidates % width]
        found[value] = _spread(rows, cols, scores.ravel()[candidates], count, side)
    for value, places in survey.missed.items():
        found.setdefault(value, places[:count])
    return found


def window_at(raster: ClassRaster, value: int, place: Place, side: int) -> Window:
    """Return the window of a patch: around the deepest part of the region that a place lies in, near the place.

    Args:
        raster: The class raster.
        value: The class at the place.
        place: (row, col).
        side: Side of the patch; the window is clipped at the edge of the raster only where that is smaller.

    Raises:
        InputError: A block of the raster cannot be decoded.
    """
    near = _centred(raster, place, 2 * side)
    row, col = place[0] - near.rows.start, place[1] - near.cols.start
    regions, _ = ndimage.label(raster.read_window(near) == value)
    depth = ndimage.distance_transform_edt(np.pad(regions == regions[row, col], 1))[1:-1, 1:-1].clip(max=side / 3)
    y, x = np.ogrid[: depth.shape[0], : depth.shape[1]]
    away = np.hypot(y - row, x - col)
    # It may move by half a patch, and does so only to get deeper.
    merit = np.where((regions == regions[row, col]) & (away <= side / 2), depth - away / 8, -np.inf)
    row, col = divmod(int(np.argmax(merit)), depth.shape[1])
    return _centred(raster, (near.rows.start + row, near.cols.start + col), side)


def _scores(survey: Survey, side: int) -> NDArray[Any]:
    """How good each pixel of the small copy is as a place, float64 (h, w)."""
    values = survey.values
    edge = np.zeros(values.shape, bool)
    for along, rim in ((values, edge), (values.T, edge.T)):
        differs = along[1:] != along[:-1]
        rim[1:] |= differs
        rim[:-1] |= differs
    depth = ndimage.distance_transform_edt(np.pad(~edge, 1))[1:-1, 1:-1] + 0.5
    scores: NDArray[Any] = np.minimum(depth * survey.scale * 3 / side, 1.0)
    return scores if survey.certainty is None else scores * (0.25 + survey.certainty)


def _spread(rows: NDArray[Any], cols: NDArray[Any], scores: NDArray[Any], count: int, side: int) -> list[Place]:
    """Choose places among candidates, which come in the order of their scores."""
    enough = max(int(np.count_nonzero(scores >= _GOOD * scores[0])), min(len(scores), 2 * count))
    rows, cols = rows[:enough], cols[:enough]
    chosen = [0]
    distance = np.hypot(rows - rows[0], cols - cols[0])
    while len(chosen) < count and distance.max() >= _APART * side:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.hypot(rows - rows[chosen[-1]], cols - cols[chosen[-1]]))
    return [(int(rows[i]), int(cols[i])) for i in chosen]


def _centred(raster: ClassRaster, place: Place, side: int) -> Window:
    spans = []
    for middle, length in zip(place, raster.scene.shape, strict=True):
        start = min(max(0, middle - side // 2), max(0, length - side))
        spans.append(Span(start, min(start + side, length)))
    return Window(*spans)
