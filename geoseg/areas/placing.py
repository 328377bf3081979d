"""From polygons in any CRS to edges on the lattice of a scene's pixels.

Edges follow their course in their own CRS: before they are transformed, they get so many vertices that no point of them
is off by more than `TOLERANCE` pixels. Only the part near the scene is transformed, because far from it a projection
may bend without limit or lead nowhere. Longitudes are taken modulo 360 degrees, and x of a cylindrical projection
modulo the width of the world.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.edges import Edges, edges_of
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.ellipsoid import is_cylindrical
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyproj
    import shapely
else:
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")

TOLERANCE = 2**-8
"""Largest distance, in pixels, of a transformed edge from its true course."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

_GRID = 33
_MARGIN = 0.05
_MAX_SPLITS = 24
_MAX_VERTICES = 50_000_000
_COARSE = 64.0
"""Edges of more pixels are split a few times before their course is judged by their middles."""
_FAR = 1 << 22
"""Pixels from the scene at which polygons are cut off, so that coordinates of edges stay small."""


class Placement:
    """The relation between the CRS of an area and the pixels of a scene.

    Args:
        name: What messages call the area.
        crs: Of the area; None for that of the scene.
        georeference: Of the scene.
        extent: The part of the scene that matters.

    Raises:
        InputError: The two CRSs cannot be related.
    """

    def __init__(self, name: object, crs: pyproj.CRS | None, georeference: Georeference, extent: Window) -> None:
        self._name, self._georeference, self._extent = name, georeference, extent
        scene_crs = None if georeference.wkt is None else horizontal(pyproj.CRS.from_wkt(georeference.wkt))
        crs = scene_crs if crs is None else horizontal(crs)
        self._forward, self._backward = _transformers(name, crs, scene_crs)
        self._period, self._scene_period = period(crs), period(scene_crs) or _width_of_the_world(scene_crs)
        self._turn = None if self._forward is None else self._period
        self._box = None if self._forward is None else self._near()

    def edges(self, polygons: NDArray[Any]) -> Edges:
        """Return the edges of polygons, object (n,), that matter for the extent.

        Raises:
            InputError: Part of the polygons cannot be transformed.
        """
        polygons = self._cut(polygons)
        if not len(polygons):
            return edges_of(np.empty((0, 2)), np.empty(0, np.int64), np.empty(0, np.int8), self._extent)
        rings, owners = shapely.get_rings(polygons, return_index=True)
        vertices, ids = shapely.get_coordinates(rings, return_index=True)
        ring_signs = _signs(vertices, ids, owners)
        if self._forward is not None:
            vertices, ids = self._transformed(vertices, ids)
        vertices, ids, signs = self._wrapped(vertices, ids, ring_signs[ids])
        inverse = ~self._georeference.transform
        x, y = vertices[:, 0], vertices[:, 1]
        pixels = np.column_stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f])
        return edges_of(pixels, ids, signs, self._extent)

    def positions(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return column and row positions (n, 2) of points (n, 2); infinite where the scene's CRS has no place."""
        if self._forward is not None:
            points = self._forward(points)
        inverse, turn = ~self._georeference.transform, self._scene_period
        x, y = points[:, 0], points[:, 1]
        if turn:
            left, _, right, _ = self._georeference.bounds(self._extent)
            with np.errstate(invalid="ignore"):
                x = (left + right) / 2 + _nearest_turn(x - (left + right) / 2, turn)
        with np.errstate(invalid="ignore"):
            cols, rows = inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
        return np.where(np.isfinite(x + y)[:, None], np.column_stack([cols, rows]), np.inf)

    def _cut(self, polygons: NDArray[Any]) -> NDArray[Any]:
        """The parts of the polygons within the box, moved by whole turns of longitude where that is needed."""
        if self._forward is None:
            # Edges stay straight: only what is very far away is cut off.
            span = max(self._extent.shape) + _FAR
            pixel = max(self._georeference.pixel_size)
            box: Box | None = _padded(self._georeference.bounds(self._extent), span * pixel)
        else:
            box = self._box
        if box is None:
            return _repaired(polygons)
        found = []
        bounds = shapely.bounds(polygons)
        shifts = _turns(bounds, box, self._turn)
        if self._forward is None:
            shifts = sorted({0.0, *_turns(bounds, self._georeference.bounds(self._extent), self._scene_period)})
        for shift in shifts:
            left, bottom, right, top = bounds.T + np.array([[shift], [0], [shift], [0]])
            near = (left <= box[2]) & (right >= box[0]) & (bottom <= box[3]) & (top >= box[1])
            inside = near & (left >= box[0]) & (right <= box[2]) & (bottom >= box[1]) & (top <= box[3])
            whole = _repaired(polygons[near & inside])
            cut = shapely.intersection(_shifted(_repaired(polygons[near & ~inside]), shift), shapely.box(*box))
            found += [_shifted(whole, shift), flattened(cut)]
        return np.concatenate(found) if found else polygons[:0]

    def _near(self) -> Box | None:
        """The box around the extent in the CRS of the area; None if not all of it can be shown there."""
        margin = 2 + max(self._extent.shape) // 100
        rows, cols = self._extent.rows, self._extent.cols
        x, y = np.meshgrid(
            np.linspace(cols.start - margin, cols.stop + margin, _GRID),
            np.linspace(rows.start - margin, rows.stop + margin, _GRID),
        )
        t = self._georeference.transform
        there = np.column_stack([(t.a * x + t.b * y + t.c).ravel(), (t.d * x + t.e * y + t.f).ravel()])
        here = self._backward(there)
        back = self._forward(here) if np.isfinite(here).all() else here
        if not np.isfinite(back).all():
            return None
        off = back - there
        if self._scene_period:
            off[:, 0] = _nearest_turn(off[:, 0], self._scene_period)
        if not (np.abs(off) < min(self._georeference.pixel_size)).all():
            return None
        if self._period:
            centre = here[len(here) // 2, 0]
            here[:, 0] = centre + _nearest_turn(here[:, 0] - centre, self._period)
        left, bottom, right, top = _grown((*here.min(axis=0), *here.max(axis=0)), _MARGIN)
        if self._period:
            if (poles := self._poles()) or right - left > self._period * 0.8:
                left, right, self._turn = -self._period, self._period, None
            quarter = self._period / 4
            bottom, top = min([bottom, *(quarter * p for p in poles)]), max([top, *(quarter * p for p in poles)])
        return left, bottom, right, top

    def _poles(self) -> list[int]:
        """Which poles lie within the extent: 1 for the north pole, -1 for the south pole."""
        assert self._period is not None
        found = []
        rows, cols = self._extent.rows, self._extent.cols
        for pole in (1, -1):
            x, y = self._forward(np.array([[0.0, pole * self._period / 4]]))[0]
            if math.isfinite(x) and math.isfinite(y):
                col, row = ~self._georeference.transform @ (x, y)
                if rows.start - 2 <= row <= rows.stop + 2 and cols.start - 2 <= col <= cols.stop + 2:
                    found.append(pole)
        return found

    def _transformed(self, vertices: NDArray[Any], ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The vertices in the scene's CRS, with more of them where an edge would leave its course."""
        inverse, turn = ~self._georeference.transform, self._scene_period
        there = self._checked(self._forward(vertices))
        judged = ids[1:] != ids[:-1]
        for splits in range(_MAX_SPLITS):
            at = np.flatnonzero(~judged)
            middles = (vertices[at] + vertices[at + 1]) / 2
            exact = self._checked(self._forward(middles))
            step, half = there[at + 1] - there[at], exact - there[at]
            if turn:
                step[:, 0], half[:, 0] = _nearest_turn(step[:, 0], turn), _nearest_turn(half[:, 0], turn)
            off = np.abs(half - step / 2)
            off = np.maximum(
                abs(inverse.a) * off[:, 0] + abs(inverse.b) * off[:, 1],
                abs(inverse.d) * off[:, 0] + abs(inverse.e) * off[:, 1],
            )
            long = np.abs(step).max(axis=1, initial=0) > _COARSE * min(self._georeference.pixel_size)
            bent = (off > TOLERANCE) | (long & (splits < 3))
            judged[at[~bent]] = True
            at = at[bent]
            if not len(at):
                break
            if len(vertices) + len(at) > _MAX_VERTICES:
                raise InputError(
                    f"{self._name}: has too many vertices near the scene; simplify it, or cut it to the scene"
                )
            vertices = np.insert(vertices, at + 1, middles[bent], axis=0)
            there = np.insert(there, at + 1, exact[bent], axis=0)
            ids, judged = np.insert(ids, at + 1, ids[at]), np.insert(judged, at + 1, False)
        return there, ids

    def _checked(self, there: NDArray[Any]) -> NDArray[Any]:
        if not np.isfinite(there).all():
            raise InputError(f"{self._name}: part of it has no place in the scene's CRS; cut it to the scene first")
        return there

    def _wrapped(
        self, vertices: NDArray[Any], ids: NDArray[Any], signs: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Where x has a period, unroll rings that cross its edge, and repeat them a turn further where they matter."""
        turn = self._scene_period
        if not turn:
            return vertices, ids, signs
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        step = np.diff(vertices[:, 0], prepend=0.0)
        step[starts] = 0
        if self._forward is not None and (np.abs(step) > turn / 2).any():
            turns = np.cumsum(np.rint(step / turn))
            vertices = vertices - np.column_stack([turn * turns, np.zeros(len(turns))])
            ends = np.append(starts[1:], len(ids)) - 1
            if (np.abs(vertices[ends, 0] - vertices[starts, 0]) > turn / 2).any():
                raise InputError(f"{self._name}: runs round a pole, which the scene's CRS cannot show; cut it there")
        left, right = np.minimum.reduceat(vertices[:, 0], starts), np.maximum.reduceat(vertices[:, 0], starts)
        box = self._georeference.bounds(self._extent)
        bounds = np.column_stack([left, left, right, right])
        counts = np.diff(np.append(starts, len(ids)))
        parts = []
        for number, shift in enumerate(_turns(bounds, box, turn)):
            chosen = np.repeat((left + shift <= box[2]) & (right + shift >= box[0]), counts)
            # Rings are told apart by their ids.
            parts.append(
                (vertices[chosen] + np.array([shift, 0.0]), ids[chosen] + number * (ids[-1] + 1), signs[chosen])
            )
        if not parts:
            return vertices[:0], ids[:0], signs[:0]
        moved, numbers, repeated = (np.concatenate(part) for part in zip(*parts, strict=True))
        return moved, numbers, repeated


def horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the CRS without heights."""
    return crs.sub_crs_list[0] if crs.is_compound else crs.to_2d() if len(crs.axis_info) == 3 else crs


def period(crs: pyproj.CRS | None) -> float | None:
    """Return a full turn in the unit of a geographic CRS, usually 360; None for any other CRS."""
    if crs is None or not crs.is_geographic:
        return None
    unit = crs.axis_info[0].unit_conversion_factor or math.radians(1)
    return float(2 * math.pi / unit)


def _width_of_the_world(crs: pyproj.CRS | None) -> float | None:
    """The x of a full turn in a cylindrical projection; None for any other CRS."""
    while crs is not None and crs.is_bound:
        crs = crs.source_crs
    globe = None if crs is None else crs.geodetic_crs
    if crs is None or globe is None or not crs.is_projected or not is_cylindrical(crs):
        return None
    unit = globe.axis_info[0].unit_conversion_factor or math.radians(1)
    quarters = np.array([0.0, 1.0, 2.0]) * (math.pi / 2 / unit)
    x, _ = pyproj.Transformer.from_crs(globe, crs, always_xy=True).transform(quarters, np.zeros(3))
    # The edge of the world lies within one of the two quarters at most.
    width = 4 * float(np.abs(np.diff(x)).min())
    return width if math.isfinite(width) and width > 0 else None


def flattened(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return the polygons in some geometries, those within collections too, without empty ones."""
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes = shapely.get_parts(shapes)
    chosen = (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(shapes)
    polygons: NDArray[Any] = shapes[chosen]
    return polygons


def _repaired(polygons: NDArray[Any]) -> NDArray[Any]:
    """The polygons, those with faults as valid ones."""
    wrong = ~shapely.is_valid(polygons)
    if not wrong.any():
        return polygons
    repaired = polygons.copy()
    repaired[wrong] = shapely.make_valid(polygons[wrong])
    return flattened(repaired)


def _shifted(polygons: NDArray[Any], by: float) -> NDArray[Any]:
    if not by:
        return polygons
    moved: NDArray[Any] = shapely.transform(polygons, lambda xy: xy + np.array([by, 0.0]))
    return moved


def _transformers(name: object, crs: pyproj.CRS | None, scene_crs: pyproj.CRS | None) -> tuple[Any, Any]:
    """Functions that transform coordinates (n, 2), to the scene's CRS and back; None where both are the same."""
    if scene_crs is None or crs is None or crs.equals(scene_crs, ignore_axis_order=True):
        return None, None
    try:
        forward = pyproj.Transformer.from_crs(crs, scene_crs, always_xy=True)
        backward = pyproj.Transformer.from_crs(scene_crs, crs, always_xy=True)
    except pyproj.exceptions.ProjError:
        raise InputError(
            f"{name}: its CRS ({crs.name}) cannot be related to the scene's ({scene_crs.name}); save the "
            "area in the scene's CRS"
        ) from None

    def applied(transformer: pyproj.Transformer) -> Any:
        return lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

    return applied(forward), applied(backward)


def _signs(vertices: NDArray[Any], ids: NDArray[Any], owners: NDArray[Any]) -> NDArray[np.int8]:
    """What the edges of each ring count, 1 or -1, so that every polygon counts once inside, whatever its sense."""
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    x, y = (vertices - np.repeat(vertices[starts], np.diff(np.append(starts, len(ids))), axis=0)).T
    cross = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
    cross[starts[1:] - 1] = 0
    area = np.add.reduceat(cross, starts)
    exterior = np.diff(owners, prepend=-1) != 0
    signs: NDArray[np.int8] = np.where((area > 0) == exterior, 1, -1).astype(np.int8)
    return signs


def _turns(bounds: NDArray[Any], box: Box, turn: float | None) -> list[float]:
    """The multiples of a full turn by which some of the bounds (n, 4) have to move to meet the box."""
    # Beyond two turns, coordinates are no degrees.
    bounds = bounds[np.abs(bounds[:, [0, 2]]).max(axis=1, initial=0) <= 2 * turn] if turn else bounds[:0]
    if not turn or not len(bounds):
        return [0.0]
    first, last = (box[0] - bounds[:, 2].max()) / turn, (box[2] - bounds[:, 0].min()) / turn
    return [turn * k for k in range(math.ceil(first), math.floor(last) + 1)]


def _nearest_turn(angles: NDArray[Any], turn: float) -> NDArray[Any]:
    nearest: NDArray[Any] = angles - turn * np.rint(angles / turn)
    return nearest


def _grown(box: Box, share: float) -> Box:
    return _padded(box, share * max(box[2] - box[0], box[3] - box[1]))


def _padded(box: Box, by: float) -> Box:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by
