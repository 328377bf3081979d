"""One block of superpixels as a pure function of (scene, settings): their ids, or their polygons and statistics.

A superpixel belongs to the block that contains its first pixel in raster order, and is written with that block. The
halo is wide enough for a block to know all pixels of its superpixels (see `geoseg.segments.superpixels.halo`), so that
no polygon is cut, merged or counted twice at the edges of blocks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import SegmentConfig
from geoseg.errors import SettingError
from geoseg.grid import Block, Window
from geoseg.raster.ground import Ground
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats, colour_scale, is_srgb
from geoseg.segments.lattice import CpuBackend, Domain
from geoseg.segments.regions import first_pixels, paint, region_statistics, region_sums
from geoseg.segments.superpixels import Superpixels, colour, halo, reach, segment_by
from geoseg.vector.arrow import VectorSpec, ipc_stream
from geoseg.vector.tracing import trace
from geoseg.vector.wkb import encode

SUPERPIXEL_LAYER = "superpixels"
"""Name of the layer of ids or polygons, in parts and in the output."""


@dataclass(eq=False)
class BlockPixels:
    """The pixels of a block with its halo.

    Attributes:
        block: The block.
        area: The block with its halo.
        pixels: (bands, rows, cols) of `area`.
        valid: bool (rows, cols) of `area`.
        seconds: Time for reading.
    """

    block: Block
    area: Window
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True, eq=False)
class BlockSegments:
    """The superpixels of one block.

    Attributes:
        layers: `SUPERPIXEL_LAYER` -> ids, uint32 (rows, cols), or polygons as an Arrow IPC stream; empty if the block
            has no superpixels.
        seconds: Time per stage.
        windows: 0: there is no network.
    """

    layers: Mapping[str, NDArray[Any] | bytes]
    seconds: Mapping[str, float]
    windows: int = 0


class Segmenter:
    """Cuts blocks of one scene into superpixels.

    Args:
        scene: The scene.
        config: Settings of the superpixels.
        workers: Number of threads.
        driver: GDAL driver of the vector file for which polygons are made; None makes the raster of ids.

    Attributes:
        halo: Pixels to read around a block.
        spec: Layer of the vector file; None for a raster.
    """

    def __init__(self, scene: Scene, config: SegmentConfig, workers: int, driver: str | None) -> None:
        self.scene, self.config, self.workers = scene, config, workers
        self.halo = halo(config.size, config.iterations)
        self._reach = reach(config.size)
        self._backend = CpuBackend()
        self._names = column_names(scene.band_names)
        self._ground = Ground(scene.georeference, scene.shape)
        self.spec = None if driver is None else self._spec(driver)

    def _spec(self, driver: str) -> VectorSpec:
        columns = {"id": "int64", "pixels": "int64"}
        if self._ground.metric:
            columns["area_m2"] = "float64"
        if self._ground.distorted:
            columns["planar_m2"] = "float64"
        for name in self._names:
            columns |= {f"mean_{name}": "float64", f"std_{name}": "float64"}
        georeference = self.scene.georeference
        return VectorSpec(driver, SUPERPIXEL_LAYER, columns, georeference.wkt, georeference.epoch)

    @cached_property
    def _colours(self) -> tuple[Any, Any]:
        """Offset and scale per band, estimated over the scene as in training; (None, None) for 8-bit sRGB."""
        dtype = str(self.scene.dtype)
        return (None, None) if is_srgb(dtype, len(self.scene.bands)) else colour_scale(band_stats([self.scene]), dtype)

    def read(self, block: Block) -> BlockPixels:
        """Read `block` with its halo."""
        began = time.perf_counter()
        area = block.window.expand(self.halo, self.scene.extent, multiple=self.config.size)
        pixels, valid = self.scene.read(area)
        return BlockPixels(block, area, pixels, valid, time.perf_counter() - began)

    def cut(self, read: BlockPixels) -> tuple[Superpixels, float] | None:
        """Return the superpixels of the block with its halo, and the seconds that they took.

        Superpixels with a pixel in the block are exact. None means that no pixel of the block is valid.
        """
        began = time.perf_counter()
        core = read.block.window.within(read.area)
        if not read.valid[core].any():
            return None
        config = self.config

        def choose(domain: Domain, *how: Any) -> NDArray[np.uint8]:
            return self._backend(partial(self._made, read), read.valid, domain, *how)

        superpixels = segment_by(
            choose,
            read.valid.shape,
            size=config.size,
            compactness=config.compactness,
            iterations=config.iterations,
            min_size=config.min_size,
            origin=(read.area.rows.start, read.area.cols.start),
            scene_shape=self.scene.shape,
            core=core,
            threads=self.workers,
        )
        return superpixels, time.perf_counter() - began

    def _made(self, read: BlockPixels, part: tuple[slice, slice]) -> NDArray[np.int16]:
        """Return the colours of a part of a block."""
        offset, scale = self._colours
        # Kernels are faster with contiguous arrays.
        pixels, valid = np.ascontiguousarray(read.pixels[(slice(None), *part)]), np.ascontiguousarray(read.valid[part])
        return colour(pixels, valid, offset=offset, scale=scale)

    def finish(self, read: BlockPixels, cut: tuple[Superpixels, float] | None) -> BlockSegments:
        """Return the ids of the block's pixels, or the polygons that belong to the block."""
        if cut is None:
            return BlockSegments({}, {"read": read.seconds})
        began = time.perf_counter()
        superpixels, seconds = cut
        layer = self._ids(read, superpixels) if self.spec is None else self._polygons(read, superpixels, self.spec)
        layers = {} if layer is None else {SUPERPIXEL_LAYER: layer}
        spent = {"read": read.seconds, "superpixels": seconds, "regions": time.perf_counter() - began}
        return BlockSegments(layers, spent)

    def _ids(self, read: BlockPixels, superpixels: Superpixels) -> NDArray[np.unsignedinteger[Any]]:
        if superpixels.ids.dtype != np.uint32:
            raise SettingError(
                f"{self.scene.path}: ids of superpixels of size {self.config.size} do not fit into the 32 bits of a "
                "raster in a scene so large; give a larger --size, or write polygons"
            )
        return paint(superpixels.ids, superpixels.labels[read.block.window.within(read.area)])

    def _polygons(self, read: BlockPixels, superpixels: Superpixels, spec: VectorSpec) -> bytes | None:
        window = read.block.window.expand(self._reach, read.area)
        labels = np.ascontiguousarray(superpixels.labels[window.within(read.area)])
        own = _owned(labels, len(superpixels.ids), read.block.window.within(window))
        if not len(own):
            return None
        index = np.zeros(len(superpixels.ids), np.int32)
        index[own] = np.arange(1, len(own) + 1)
        labels = paint(index, labels)
        pixels = read.pixels[(slice(None), *window.within(read.area))]
        statistics = region_statistics(list(pixels), labels, len(own), self.workers)
        columns: dict[str, NDArray[Any]] = {"id": superpixels.ids[own].astype(np.int64), "pixels": statistics.pixels}
        area = self._ground.areas(window)
        if isinstance(area, float):
            columns["area_m2"] = statistics.pixels * area
        elif area is not None:
            columns["area_m2"] = region_sums(area, labels, len(own))
        if self._ground.distorted:
            columns["planar_m2"] = statistics.pixels * self._ground.planar_area
        for name, mean, std in zip(self._names, statistics.mean, statistics.std, strict=True):
            columns |= {f"mean_{name}": mean, f"std_{name}": std}
        rings = trace(labels)
        origin = (window.rows.start, window.cols.start)
        return ipc_stream(spec, columns, *encode(rings, self.scene.georeference.transform, origin))


def column_names(bands: Sequence[str]) -> tuple[str, ...]:
    """Return a unique column name for each band, of lower-case letters, digits and _."""
    names: list[str] = []
    for number, band in enumerate(bands, start=1):
        plain = re.sub(r"\W+", "_", band.lower()).strip("_") or f"band_{number}"
        candidates = [plain, *(f"{plain}_{n}" for n in range(2, len(bands) + 2))]
        names.append(next(name for name in candidates if name not in names))
    return tuple(names)


def _owned(labels: NDArray[np.int32], count: int, core: tuple[slice, slice]) -> NDArray[np.int64]:
    """Return in ascending order the labels in 1..count - 1 whose first pixel in raster order lies in the core."""
    rows, cols = first_pixels(labels, count - 1)
    inside = (core[0].start <= rows) & (rows < core[0].stop) & (core[1].start <= cols) & (cols < core[1].stop)
    inside[0] = False
    return np.flatnonzero(inside)
