"""A raster on the pixels of a scene, whatever its own CRS, resolution and extent.

On the scene's own lattice it is read as it is. Elsewhere it is resampled bilinearly, in tiles that are anchored at the
scene's pixel (0, 0) and always computed as a whole, so that a pixel has the same value in every window.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as transform_points

from geoseg.config import Opening
from geoseg.errors import BandError, InputError
from geoseg.extras import Extra, ExtraBands
from geoseg.grid import Span, Window
from geoseg.location import Location
from geoseg.raster.folders import find_rasters
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

_TILE = 256
"""Side of a tile in pixels of the scene."""

_CACHE_BYTES = 64 << 20
_FINEST = 12
"""Pixels of the raster along the side of one of the scene up to which it is resampled: what a tile reads is bounded."""

_POINTS = 17
"""Positions along the side of a window that are transformed to find out where it lies."""


class ExtraRaster:
    """A raster that is read on the pixels of a scene.

    Args:
        extra: The raster, or the folder from which the one that covers most of the scene is taken.
        scene: The scene.
        opening: Which rasters may be opened; its page and nodata value are not meant for this one.
        quiet: Do not warn that it covers only part of the scene; the first hole that is read is told anyway.

    Attributes:
        scene: The raster itself, as it is stored.
        bands: Its bands under the name of `extra`.
        covered: Share of the scene that it covers, estimated.

    Raises:
        InputMissingError, InputError, BandError: See `Scene`; or it has no CRS, lies elsewhere, or is much finer than
            the scene.
    """

    def __init__(self, extra: Extra, scene: Scene, opening: Opening, quiet: bool) -> None:
        self._of, self._name, self._told = scene, extra.title, False
        self.scene = _open(extra, scene, opening)
        try:
            self._aligned = _is_aligned(self.scene, scene)
            self.covered = 1.0 if self._aligned else _coverage(self.scene, scene)
            self._check(quiet)
            self._scale = (1.0, 1.0) if self._aligned else self._ratio()
        except BaseException:
            self.scene.close()
            raise
        self.bands = ExtraBands(extra.title, len(self.scene.bands))
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()
        self._kept = max(4, _CACHE_BYTES // (4 * len(self.scene.bands) * _TILE**2))

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the bands, float32 (bands, rows, cols), of a window of the scene, and where all of them are known.

        Raises:
            InputError: A block of the file cannot be decoded.
        """
        if self._aligned:
            pixels, valid = self.scene.read(window)
            values = self._measured(pixels)
        else:
            values = np.empty((len(self.scene.bands), *window.shape), np.float32)
            for row in range(window.rows.start // _TILE, -(-window.rows.stop // _TILE)):
                for col in range(window.cols.start // _TILE, -(-window.cols.stop // _TILE)):
                    tile = _tile_window(row, col, self._of)
                    shared = tile.intersect(window)
                    rows, cols = shared.within(window)
                    own_rows, own_cols = shared.within(tile)
                    values[:, rows, cols] = self._tile(row, col, tile)[:, own_rows, own_cols]
            valid = np.asarray(np.isfinite(values).all(axis=0))
        return values, valid

    def tell_of_holes(self) -> None:
        """Warn once that pixels of the scene become nodata because this raster has no value there."""
        if not self._told:
            self._told = True
            log.warning(
                "%s: has no value in some places where %s has; they become nodata (gdal_fillnodata.py fills holes)",
                self.scene.path, self._of.path,
            )  # fmt: skip

    def _tile(self, row: int, col: int, tile: Window) -> NDArray[np.float32]:
        with self._lock:
            found = self._tiles.get((row, col))
            if found is not None:
                self._tiles.move_to_end((row, col))
                return found
        made = self._resampled(tile)
        with self._lock:
            self._tiles[row, col] = made
            while len(self._tiles) > self._kept:
                self._tiles.popitem(last=False)
        return made

    def _resampled(self, tile: Window) -> NDArray[np.float32]:
        """The values of a tile of the scene, NaN where they are not known."""
        values = np.full((len(self.scene.bands), *tile.shape), np.nan, np.float32)
        window = self._source_window(tile)
        if window is None:
            return values
        pixels, valid = self.scene.read(window)
        source = self._measured(pixels)
        source[:, ~valid] = np.nan
        place, onto = self.scene.georeference.shifted(window), self._of.georeference.shifted(tile)
        # With a kernel of one size for all tiles, and positions as exact as rasterio lets GDAL compute them, within an
        # eighth of a pixel of the raster, no seam shows between tiles.
        reproject(
            source, values, src_transform=place.transform, src_crs=place.crs, dst_transform=onto.transform,
            dst_crs=onto.crs, src_nodata=np.nan, dst_nodata=np.nan, resampling=Resampling.bilinear, tolerance=0,
            XSCALE=1 / self._scale[1], YSCALE=1 / self._scale[0],
        )  # fmt: skip
        return values

    def _measured(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """What the values of the file, (bands, rows, cols), mean by the scale and offset that it declares."""
        scaling = self.scene.scaling
        if not scaling.declared:
            return pixels.astype(np.float32)
        scale, offset = (np.reshape(values, (-1, 1, 1)) for values in (scaling.scale, scaling.offset))
        return np.asarray(pixels * scale + offset, np.float32)

    def _source_window(self, tile: Window) -> Window | None:
        """The pixels of the raster that a tile depends on; None where it lies beside the raster."""
        rows, cols = _positions(self.scene, self._of, tile)
        known = np.isfinite(rows) & np.isfinite(cols)
        if not known.any():
            return None
        spans = []
        for places, length, scale in zip((rows, cols), self.scene.shape, self._scale, strict=True):
            # The reach of the kernel, and what an edge bends between positions.
            margin = 3 + math.ceil(2 * max(1.0, scale)) + math.ceil(_TILE * scale / _POINTS / 8)
            start, stop = math.floor(places[known].min()) - margin, math.ceil(places[known].max()) + margin
            spans.append(Span(min(max(0, start), length), max(0, min(stop, length))))
        if any(span.stop <= span.start for span in spans):
            return None
        return Window(spans[0], spans[1])

    def _check(self, quiet: bool) -> None:
        if self.covered == 0:
            raise InputError(f"{self.scene.path}: does not cover {self._of.path}; give the {self._name} of that place")
        if self.covered < 1 and not quiet:
            self._told = True
            log.warning(
                "%s: covers %.0f %% of %s; the rest becomes nodata", self.scene.path,
                max(1, min(99, 100 * self.covered)), self._of.path,
            )  # fmt: skip

    def _ratio(self) -> tuple[float, float]:
        """Pixels of the raster, along its rows and its columns, to the side of a pixel in the scene's middle."""
        middle = Window.of(self._of.shape[0] // 2, self._of.shape[1] // 2, 1, 1)
        rows, cols = _positions(self.scene, self._of, middle)
        found = float(np.ptp(rows)), float(np.ptp(cols))
        if not all(map(math.isfinite, found)) or min(found) <= 0:
            raise InputError(f"{self.scene.path}: cannot be placed on {self._of.path}; reproject it with gdalwarp")
        if max(found) > _FINEST:
            raise InputError(
                f"{self.scene.path}: has pixels {max(found):.0f} times finer than {self._of.path}; make it coarser "
                "first (gdalwarp -r average -tr X Y)"
            )
        return found


def _open(extra: Extra, scene: Scene, opening: Opening) -> Scene:
    """Open the raster, or the one of a folder that covers most of the scene."""
    paths = find_rasters(extra.path)
    if len(paths) == 1:
        return _opened(paths[0], scene, opening)
    shares: list[tuple[float, Location]] = []
    for path in paths:
        with _opened(path, scene, opening) as other:
            shares.append((1.0 if _is_aligned(other, scene) else _coverage(other, scene), path))
    share, best = max(shares, key=lambda found: found[0])
    if share == 0:
        raise InputError(f"{extra.path}: none of its {len(paths)} rasters covers {scene.path}")
    return _opened(best, scene, opening)


def _opened(path: Location, scene: Scene, opening: Opening) -> Scene:
    try:
        other = Scene(path, opening=opening.auxiliary, quiet=True)
    except BandError as error:
        if "--bands" not in str(error):
            raise
        # Those are the bands of the scene.
        found = str(error).partition(";")[0]
        raise BandError(f"{found}; choose up to four for --extra with gdal_translate -b") from None
    try:
        if not _is_aligned(other, scene) and not (other.georeference.crs and scene.georeference.crs):
            lacks = path if not other.georeference.crs else scene.path
            raise InputError(
                f"{lacks}: has no CRS, so {path} can only be read on exactly the pixels of {scene.path}; declare it "
                "with gdal_edit.py -a_srs"
            )
    except BaseException:
        other.close()
        raise
    return other


def _is_aligned(one: Scene, other: Scene) -> bool:
    """Whether two rasters have the same pixels; without a CRS, and so without a place, by their size."""
    a, b = one.georeference, other.georeference
    if one.shape != other.shape:
        return False
    if not a.crs and not b.crs:
        return True
    return bool(a.crs == b.crs and a.transform.almost_equals(b.transform, precision=1e-9 * max(map(abs, b.pixel_size))))


def _positions(raster: Scene, scene: Scene, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns in a raster of positions on a grid over a window of a scene; infinite where it has no place."""
    rows = np.linspace(window.rows.start, window.rows.stop, _POINTS)
    cols = np.linspace(window.cols.start, window.cols.stop, _POINTS)
    grid = np.meshgrid(cols, rows)
    x, y = _applied(scene.georeference.transform, grid[0].ravel(), grid[1].ravel())
    found = transform_points(scene.georeference.crs, raster.georeference.crs, x, y)
    across, down = _applied(~raster.georeference.transform, np.asarray(found[0]), np.asarray(found[1]))
    return down, across


def _applied(transform: Affine, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _coverage(raster: Scene, scene: Scene) -> float:
    """The share of a scene, of positions on a grid in it, that lies in a raster."""
    rows, cols = _positions(raster, scene, scene.extent)
    # The edge of the last pixel, and rounding, are within.
    inside = (rows >= -1e-6) & (rows <= raster.shape[0] + 1e-6) & (cols >= -1e-6) & (cols <= raster.shape[1] + 1e-6)
    return float(inside.mean())


def _tile_window(row: int, col: int, scene: Scene) -> Window:
    return Window.of(row * _TILE, col * _TILE, _TILE, _TILE).intersect(scene.extent)
