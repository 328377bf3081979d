"""References: what is known of the land cover, and which superpixels of a scene it makes known.

    marks   pixels that points and lines hit          a superpixel with marks of a class is of that class
    cover   pixels that polygons or a raster cover    a superpixel of which more than half is covered by a class, too

A superpixel of two classes is a contradiction, and teaches neither. Pixels of the scene are counted, so what a
superpixel becomes does not depend on the block in which it is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.edges import Edges, any_covered, covered, joined
from geoseg.areas.placing import Placement, flattened
from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.evaluation.rasters import check_grid
from geoseg.grid import Window, partition
from geoseg.lazy import lazy
from geoseg.raster.class_raster import ClassRaster, is_own, read_ids
from geoseg.raster.georeference import Georeference
from geoseg.raster.scene import Scene
from geoseg.vector.features import FeatureBatch, Value, open_features

if TYPE_CHECKING:
    import shapely
else:
    shapely = lazy("shapely")

_MAX_VALUES = 200
"""More classes are none: a field of names of owners, or an elevation model."""

_STEP = 0.5
"""Pixels from one to the next position at which a line is looked at."""

_ROWS = 1024
"""Side of the blocks in which a raster is read."""

_MAX_PIXELS = 20_000_000
"""Most pixels that lines may hit."""


class Evidence(NamedTuple):
    """What references say of the superpixels 1..n of an array.

    Attributes:
        marks: int64 (n + 1, C), pixels that points and lines hit.
        cover: int64 (n + 1, C), pixels that polygons or a raster cover.
        pixels: int64 (n + 1,), pixels of each.
    """

    marks: NDArray[np.int64]
    cover: NDArray[np.int64]
    pixels: NDArray[np.int64]

    def classes(self) -> NDArray[np.int64]:
        """Return the index of the class of each superpixel, int64 (n + 1,): -1 for none, -2 for several."""
        likely = (self.marks > 0) | (2 * self.cover > self.pixels[:, None])
        count = likely.sum(axis=1)
        found = np.where(count == 1, likely.argmax(axis=1), np.where(count > 1, -2, -1))
        found[0] = -1
        return found


class Reference(Protocol):
    """References for one scene.

    Attributes:
        values: The classes as the references call them.
        names: Value -> what it is called, where that is not the value.
        counts: Features, or pixels of a raster, of each class by its index.
        left_out: Reason -> how many features, or pixels, are left out for it.
    """

    values: list[Value]
    names: dict[Value, str]
    counts: Counter[int]
    left_out: Counter[str]

    def touches(self, window: Window) -> bool:
        """Return whether there may be references in a window."""

    def evidence(self, window: Window, labels: NDArray[np.int32], count: int) -> Evidence:
        """Return what is known of superpixels, by their labels, int32 (rows, cols), in a window."""

    def lost(self, window: Window, labels: NDArray[np.int32]) -> int:
        """Count the features in a window that lie on pixels without a superpixel, by the labels of these pixels."""


OUTSIDE, EMPTY, NOWHERE = "outside the scene", "with an empty field", "without a geometry"


class VectorReference:
    """Points, lines and polygons of a vector file, on the pixels of a scene.

    Polygons smaller than a superpixel count as a point within them.

    Args:
        path: The file.
        field: The field of classes.
        layer: The layer; None for the only one.
        georeference: Of the scene. Features without a CRS are taken to be in the scene's.
        extent: The window of the scene.
        size: Side of a superpixel in pixels.

    Raises:
        InputMissingError, InputError, SettingError: See `open_features` and `Placement`; or there are too many classes.
    """

    def __init__(
        self, path: Path, field: str, layer: str | None, georeference: Georeference, extent: Window, size: int
    ) -> None:
        self._path, self._extent, self._size = path, extent, size
        self.values: list[Value] = []
        self.names: dict[Value, str] = {}
        self.counts, self.left_out = Counter[int](), Counter[str]()
        features = open_features(path, field, layer)
        if features.crs is not None and georeference.crs is None:
            raise InputError(f"{path}: has a CRS but the scene has none; set the scene's with --assume-crs")
        self._placement = Placement(path, features.crs, georeference, extent)
        self._marks: list[NDArray[np.int64]] = []
        self._witnesses: list[NDArray[np.int64]] = []
        self._edges: dict[int, list[Edges]] = {}
        for batch in features.batches:
            self._add(batch)
        none = np.zeros((0, 3), np.int64)
        self._hits = np.concatenate([none, *self._marks])
        self._hits = self._hits[np.lexsort(self._hits.T[::-1])]
        self._places = np.concatenate([none, *self._witnesses])
        self._joined = {index: joined(edges) for index, edges in self._edges.items()}

    def touches(self, window: Window) -> bool:
        """See `Reference`."""
        return bool(len(_within(self._hits, window))) or any(
            any_covered(edges, window) for edges in self._joined.values()
        )

    def evidence(self, window: Window, labels: NDArray[np.int32], count: int) -> Evidence:
        """See `Reference`."""
        shape = (count + 1, len(self.values))
        marks, cover = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        rows, cols, classes = _within(self._hits, window).T
        np.add.at(marks, (labels[rows - window.rows.start, cols - window.cols.start], classes), 1)
        for index, edges in self._joined.items():
            mask = covered(edges, window)
            cover[:, index] = np.bincount(labels[mask], minlength=count + 1)
        return Evidence(marks, cover, np.bincount(labels.ravel(), minlength=count + 1))

    def lost(self, window: Window, labels: NDArray[np.int32]) -> int:
        """See `Reference`."""
        rows, cols, _ = _within(self._places, window).T
        return int((labels[rows - window.rows.start, cols - window.cols.start] == 0).sum())

    def _add(self, batch: FeatureBatch) -> None:
        empty = np.array([value is None for value in batch.values], np.bool_)
        absent = shapely.is_missing(batch.shapes) | shapely.is_empty(batch.shapes)
        self.left_out[EMPTY] += int(empty.sum())
        self.left_out[NOWHERE] += int((absent & ~empty).sum())
        chosen = np.flatnonzero(~empty & ~absent)
        placed = shapely.transform(batch.shapes[chosen], self._placement.positions)
        inside = self._meets(placed)
        self.left_out[OUTSIDE] += int((~inside).sum())
        originals, placed = batch.shapes[chosen][inside], placed[inside]
        classes = np.array([self._index(batch.values[i]) for i in chosen[inside]], np.int64)
        self.counts.update(classes.tolist())
        self._add_witnesses(placed, classes)
        for index in np.unique(classes):
            self._add_class(originals[classes == index], placed[classes == index], int(index))

    def _add_witnesses(self, placed: NDArray[Any], classes: NDArray[np.int64]) -> None:
        """Keep a pixel of each feature, by which it is told whether it lies on nodata."""
        points = [_inner_point(shape) for shape in placed]
        self._witnesses.append(self._pixels(np.array(points).reshape(-1, 2), classes))

    def _add_class(self, originals: NDArray[Any], placed: NDArray[Any], index: int) -> None:
        """Add features of one class: as they are in the file, and as they lie on the pixels."""
        points, lines = _parts(placed, shapely.GeometryType.POINT), _parts(placed, shapely.GeometryType.LINESTRING)
        places = [shapely.get_coordinates(points), _along(lines, self._extent)]
        small = np.array([shapely.area(shape) < self._size**2 for shape in placed], np.bool_)
        polygonal = np.array([len(flattened(np.array([shape], object))) > 0 for shape in placed], np.bool_)
        places += [np.array(_inner_point(shape)).reshape(1, 2) for shape in placed[polygonal & small]]
        position = np.concatenate(places)
        hits = self._pixels(position, np.full(len(position), index, np.int64))
        self._marks.append(np.unique(hits, axis=0))
        if sum(map(len, self._marks)) > _MAX_PIXELS:
            raise InputError(f"{self._path}: has more than {_MAX_PIXELS} pixels of points and lines; give fewer")
        large = flattened(originals[polygonal & ~small])
        if len(large):
            self._edges.setdefault(index, []).append(self._placement.edges(large))

    def _pixels(self, positions: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return row, column and class (n, 3) of the positions (col, row) in the extent."""
        cols, rows = np.floor(np.clip(positions, -1, 2**40)).astype(np.int64).T
        extent = self._extent
        inside = (extent.rows.start <= rows) & (rows < extent.rows.stop)
        inside &= (extent.cols.start <= cols) & (cols < extent.cols.stop)
        found: NDArray[np.int64] = np.column_stack([rows, cols, classes])[inside]
        return found

    def _meets(self, placed: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether features on the pixels meet the extent."""
        left, top, right, bottom = shapely.bounds(placed).T
        rows, cols = self._extent.rows, self._extent.cols
        near: NDArray[np.bool_] = (left < cols.stop) & (right >= cols.start) & (top < rows.stop)
        near &= (bottom >= rows.start) & np.isfinite(left + top + right + bottom)
        return near

    def _index(self, value: Value | None) -> int:
        assert value is not None
        if value not in self.values:
            self.values.append(value)
            if len(self.values) > _MAX_VALUES:
                raise InputError(f"{self._path}: has more than {_MAX_VALUES} classes; give another --field")
        return self.values.index(value)


class RasterReference:
    """A class raster on the pixels of a scene.

    Args:
        path: The raster.
        scene: The scene.
        opening: How it is opened.

    Raises:
        InputMissingError, InputError, BandError: See `ClassRaster`; or it does not lie on the scene's pixels.
    """

    def __init__(self, path: Path, scene: Scene, opening: Opening) -> None:
        self._path, self._raster = path, ClassRaster(path, opening=opening)
        self._own = is_own(self._raster.scene)
        try:
            check_grid(scene.path, scene, path, self._raster.scene)
            found = self._found()
        except BaseException:
            self.close()
            raise
        self._table = np.array(sorted(found), np.int64)
        self.values: list[Value] = self._table.tolist()
        self.counts = Counter({index: found[value] for index, value in enumerate(self._table.tolist())})
        self.left_out = Counter[str]()
        known = self._raster.classes
        self.names: dict[Value, str] = {value: known[value].name for value in found if value in known}

    def close(self) -> None:
        """Close the raster."""
        self._raster.scene.close()

    def _found(self) -> Counter[int]:
        """Return how many pixels have each value."""
        found, scene = Counter[int](), self._raster.scene
        with scene.caching(_ROWS):
            for block in partition(scene.extent, _ROWS):
                ids, valid = read_ids(scene, block.window, self._own)
                for value, number in zip(*np.unique(ids[valid], return_counts=True), strict=True):
                    found[int(value)] += int(number)
                if len(found) > _MAX_VALUES:
                    raise InputError(f"{self._path}: has more than {_MAX_VALUES} values; give a raster of classes")
        return found

    def touches(self, window: Window) -> bool:
        """See `Reference`."""
        return bool((self._indices(window) >= 0).any())

    def evidence(self, window: Window, labels: NDArray[np.int32], count: int) -> Evidence:
        """See `Reference`."""
        C, indices = len(self.values), self._indices(window)
        known = indices >= 0
        cover = np.bincount(labels[known].astype(np.int64) * C + indices[known], minlength=(count + 1) * C)
        pixels = np.bincount(labels.ravel(), minlength=count + 1)
        return Evidence(np.zeros((count + 1, C), np.int64), cover.reshape(count + 1, C), pixels)

    def lost(self, window: Window, labels: NDArray[np.int32]) -> int:
        """See `Reference`: pixels with a class where the scene is nodata."""
        return int(((self._indices(window) >= 0) & (labels == 0)).sum())

    def _indices(self, window: Window) -> NDArray[np.int64]:
        """The index of the class of each pixel, int64 (rows, cols); -1 without one."""
        ids, valid = read_ids(self._raster.scene, window, self._own)
        if not len(self._table):
            return np.full(ids.shape, -1, np.int64)
        place = np.clip(np.searchsorted(self._table, ids), 0, len(self._table) - 1)
        return np.where(valid & (self._table[place] == ids), place, -1)


def _within(hits: NDArray[np.int64], window: Window) -> NDArray[np.int64]:
    """Return the rows (row, column, class) of pixels in a window."""
    rows, cols = hits[:, 0], hits[:, 1]
    inside = (window.rows.start <= rows) & (rows < window.rows.stop)
    return hits[inside & (window.cols.start <= cols) & (cols < window.cols.stop)]


def _parts(shapes: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Return the points, or the lines, in some geometries."""
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes = shapely.get_parts(shapes)
    found: NDArray[Any] = shapes[shapely.get_type_id(shapes) == kind]
    return found


def _along(lines: NDArray[Any], extent: Window) -> NDArray[np.float64]:
    """Return positions along lines, (n, 2), no further from one to the next than `_STEP`."""
    if not len(lines):
        return np.zeros((0, 2))
    rows, cols = extent.rows, extent.cols
    near = shapely.intersection(lines, shapely.box(cols.start, rows.start, cols.stop, rows.stop))
    return np.asarray(shapely.get_coordinates(shapely.segmentize(near, _STEP)), np.float64)


def _inner_point(shape: Any) -> Sequence[float]:
    """Return a position (col, row) of a feature: within a polygon, on a line."""
    point = shapely.point_on_surface(shape)
    return float(point.x), float(point.y)
