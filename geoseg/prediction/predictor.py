"""One block of the map as a pure function of (scene, model, settings).

All statistics come from the model; windows and superpixel seeds lie on lattices anchored at the scene's pixel (0, 0);
the halo is wide enough for the superpixels, and for those around them on which smoothing depends. So the result for a
block does not depend on the process that computes it or on the order of blocks. Only logits of windows, and choices of
seeds on the way to superpixels, are kept from block to block, in bounded memos (`geoseg.prediction.memo`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.areas.aoi import AreaOfInterest
from geoseg.config import Blend
from geoseg.grid import Block, Span, Window
from geoseg.kernels import Range
from geoseg.model.file import Model
from geoseg.prediction.blend import Field, blend_windows, cells_of
from geoseg.prediction.cutting import Cutter, Pixels
from geoseg.prediction.experts import Described
from geoseg.prediction.memo import FAR_BYTES, MEMO_BYTES, Logits, WindowMemo
from geoseg.prediction.plan import Plan
from geoseg.prediction.stages import Edges, Image, Stages
from geoseg.prediction.taught import margin_of
from geoseg.raster.matching import Curve
from geoseg.raster.scaling import Conversion
from geoseg.raster.scene import Scene
from geoseg.recipes import STRIDE
from geoseg.segments.regions import FieldRows, paint
from geoseg.segments.superpixels import Superpixels
from geoseg.segments.texture import MARGIN


@dataclass(frozen=True, eq=False)
class BlockResult:
    """The pixels of one block.

    Attributes:
        layers: "classes", class ids (rows, cols); optionally "confidence", uint8 in 1..255. 0 is nodata in both.
        seconds: Time per stage, added up over threads.
        windows: Number of windows that the network computed for the block.
    """

    layers: Mapping[str, NDArray[Any]]
    seconds: Mapping[str, float]
    windows: int


@dataclass(eq=False)
class Prepared:
    """A block that was read, cut into superpixels, and described.

    Attributes:
        block: The block.
        area: The pixels of the superpixels on which the block depends; see `Plan.pooled`.
        superpixels: Superpixels of `area`; None if no pixel of the block is valid.
        described: What the model's experts need of them; None without experts.
        mask: Pixels of the block in the area of interest, bool (rows, cols); None without one.
        seconds: Time per stage.
    """

    block: Block
    area: Window
    superpixels: Superpixels | None
    described: Described | None
    mask: NDArray[np.bool_] | None
    seconds: Mapping[str, float]


@dataclass(eq=False)
class Blended:
    """The blended logits of a block.

    Attributes:
        field: Blends rows of the logits, float32 (rows, w, K), one value per cell of `STRIDE` pixels. To make all of
            them at once would take more memory than anything else of a block.
        cells: The cells that `field` covers.
        seconds: Time per stage, added up over threads.
        windows: Number of windows that the network computed for the block.
    """

    field: FieldRows
    cells: Window
    seconds: Mapping[str, float]
    windows: int


@dataclass(frozen=True, eq=False)
class Observed:
    """What is known of the superpixels around a block; that of superpixels with a pixel in the block is exact.

    Attributes:
        block: The block.
        area: A window that holds all pixels of the superpixels with a pixel in the block.
        labels: int32 (rows, cols) of `area`, in [0, n]; 0 is no superpixel.
        ids: (n + 1,), ids of the superpixels in the scene.
        features: float32 (n, D), see `geoseg.model.teaching`.
        clusters: float32 (n, K), probabilities of the model's clusters.
    """

    block: Block
    area: Window
    labels: NDArray[np.int32]
    ids: NDArray[np.unsignedinteger[Any]]
    features: NDArray[np.float32]
    clusters: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Forward:
    """Logits (h, w, K) of some windows, seconds for reading and for the network, and how many windows it computed."""

    fields: list[Logits]
    read: float
    network: float
    computed: int


class Predictor:
    """Computes blocks of one scene with one model. A context manager, because it holds a thread pool.

    Blocks may be computed in any order; in raster order each window is computed once. On a CPU each forward pass runs
    in one thread: threads then never wait for one another, and their number does not change the result.

    Args:
        scene: The scene.
        model: The model.
        plan: Blocks and windows.
        device: Where the network runs.
        precision: torch.float32 or torch.bfloat16.
        blend: How overlapping windows are combined.
        batch_size: Windows per forward pass.
        workers: Threads for the kernels and, on a CPU, number of forward passes at the same time.
        aoi: Area of interest; pixels outside it become nodata.
        confidence: Whether to compute the layer "confidence".
        memo_bytes: Memory for logits between blocks.
        conversion: Turns pixels into those that the model knows; None takes them as they are.
        teaching: Describe superpixels for `observe`, whether or not the model was taught.
        blocks: Numbers of the blocks that will be computed, ascending; None for all. Logits are kept for these alone.

    Attributes:
        depth: How many blocks to prepare at the same time, and how many to finish.
        far_bytes: Of the memory for logits, what those may take that only the next strip needs.
    """

    depth = 1
    far_bytes = FAR_BYTES

    def __init__(
        self,
        scene: Scene,
        model: Model,
        plan: Plan,
        device: torch.device,
        precision: torch.dtype,
        blend: Blend,
        batch_size: int,
        workers: int,
        aoi: AreaOfInterest | None = None,
        confidence: bool = False,
        memo_bytes: int = MEMO_BYTES,
        conversion: Conversion | Curve | None = None,
        teaching: bool = False,
        blocks: Sequence[int] | None = None,
    ) -> None:
        self.scene, self.model, self.plan = scene, model, plan
        self.device, self.precision, self.blend = device, precision, blend
        self.batch_size, self.workers, self.aoi, self.confidence = batch_size, workers, aoi, confidence
        self.stages = Stages(model, scene.dtype, device, precision, conversion, plan.rounds, teaching)
        self._margin = MARGIN if teaching else margin_of(model)
        self._memo = WindowMemo(plan, memo_bytes, blocks, min(memo_bytes, self.far_bytes))
        self._cutter = Cutter(plan, model.superpixels, self.stages, device, workers, blocks)
        self._pool = ThreadPoolExecutor(workers if device.type == "cpu" else 1)
        self._torch_threads = torch.get_num_threads()

    def __enter__(self) -> Predictor:
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        torch.set_num_threads(self._torch_threads)

    def prepare(self, block: Block) -> Prepared:
        """Read `block` with its halo and cut it into superpixels. May run in another thread than `logits`."""
        began = time.perf_counter()
        area, mask = self.plan.pooled(block), self.aoi.mask(block.window) if self.aoi else None
        if mask is not None and not mask.any():
            self._cutter.release(block)
            return Prepared(block, area, None, None, mask, {"read": time.perf_counter() - began})
        read = Pixels.read(self.scene, self._cutter.area(block, self._margin))
        done = time.perf_counter()
        superpixels = self._cutter.cut(block, read)
        self._cutter.release(block)
        cut = time.perf_counter()
        described = None if superpixels is None else self._described(block, read, superpixels)
        seconds = {"read": done - began, "superpixels": cut - done, "descriptors": time.perf_counter() - cut}
        return Prepared(block, area, superpixels, described, mask, seconds)

    def _described(self, block: Block, read: Pixels, superpixels: Superpixels) -> Described | None:
        """Return what is to be known of the superpixels of the pixels that decide a block."""
        count, pooled = len(superpixels.ids) - 1, self.plan.pooled(block)
        if not self._margin:
            return self.stages.describe(read.within(pooled).pixels, superpixels.labels, count, self.workers)
        seen = read.within(pooled.expand(self._margin, self.scene.extent))
        labels = np.zeros(seen.area.shape, np.int32)
        labels[pooled.within(seen.area)] = superpixels.labels
        return self.stages.describe(seen.pixels, labels, count, self.workers, seen.valid)

    def logits(self, prepared: Prepared) -> Blended | None:
        """Return the blended logits of a block, or None if no pixel of it is valid.

        Windows that no later block needs are dropped from the memo.
        """
        block = prepared.block
        if prepared.superpixels is None:
            self._memo.release(block)
            return None
        missing = self._missing(self.plan.windows(block))
        read, network, windows = 0.0, 0.0, 0
        for positions, result in zip(missing, self._pool.map(self._forward, missing), strict=True):
            for position, field in zip(positions, result.fields, strict=True):
                self._memo.put(position, field)
            read, network, windows = read + result.read, network + result.network, windows + result.computed
        fields = {position: self._memo.get(position) for position in self.plan.windows(block)}
        self._memo.release(block)
        area = self.plan.pooled(block)
        cells = cells_of(area, STRIDE)

        def blended(rows: Range) -> Field:
            first, stop = (STRIDE * (cells.rows.start + row) for row in rows)
            part = Window(Span(first, stop).intersect(area.rows), area.cols)
            field, _ = blend_windows(self.plan.grid, part, STRIDE, self.blend, fields.__getitem__)
            found: Field = field
            return found

        return Blended(blended, cells, {"read": read, "network": network}, windows)

    def finish(self, prepared: Prepared, blended: Blended | None) -> BlockResult:
        """Average the logits over each superpixel, classify it, and write its class and confidence to its pixels."""
        began = time.perf_counter()
        labels = np.zeros(prepared.block.window.shape, np.int32)
        values = self._values(prepared, blended)
        if prepared.superpixels is not None:
            labels = np.ascontiguousarray(prepared.superpixels.labels[prepared.block.window.within(prepared.area)])
            if prepared.mask is not None:
                labels *= prepared.mask
        layers = {name: paint(region_values, labels) for name, region_values in values.items()}
        seconds = {**prepared.seconds, "regions": time.perf_counter() - began}
        if blended is None:
            return BlockResult(layers, seconds, 0)
        seconds |= {**blended.seconds, "read": prepared.seconds["read"] + blended.seconds["read"]}
        return BlockResult(layers, seconds, blended.windows)

    def observe(self, prepared: Prepared, blended: Blended | None) -> Observed | None:
        """Return what a model is taught with of the superpixels of a block; None if no pixel of it is valid."""
        superpixels, described = prepared.superpixels, prepared.described
        if blended is None or superpixels is None or described is None:
            return None
        assert described.features is not None
        area, labels = prepared.area, superpixels.labels
        clusters = self.stages.observe_means(self._means(prepared, blended, labels), described, self.workers)
        return Observed(prepared.block, area, labels, superpixels.ids, described.features, clusters[1:])

    def _values(self, prepared: Prepared, blended: Blended | None) -> dict[str, NDArray[Any]]:
        """Return per layer the value of each superpixel, (count + 1,); the first, for no superpixel, is 0."""
        count = 0 if prepared.superpixels is None else len(prepared.superpixels.ids) - 1
        classes = np.zeros(count + 1, np.dtype(self.model.classes.dtype))
        confidence = np.zeros(count + 1, np.uint8)
        if blended is not None and prepared.superpixels is not None:
            means = self._means(prepared, blended, prepared.superpixels.labels)
            ids, probability = self.stages.classify_means(means, prepared.described, self.workers)
            classes[:] = ids
            confidence[1:] = np.clip(np.rint(probability[1:] * 255), 1, 255)
        return {"classes": classes, **({"confidence": confidence} if self.confidence else {})}

    def _means(self, prepared: Prepared, blended: Blended, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the mean logits of the superpixels, (count + 1, K); see `Stages.means`."""
        assert prepared.superpixels is not None
        count, offset = len(prepared.superpixels.ids) - 1, self._offset(prepared, blended)
        return self.stages.means_of(blended.field, labels, count, offset, self.workers)

    def _offset(self, prepared: Prepared, blended: Blended) -> tuple[int, int]:
        """Return (row, col) of the first pooled pixel within the first cell of the field."""
        area, cells = prepared.area, blended.cells
        return area.rows.start - cells.rows.start * STRIDE, area.cols.start - cells.cols.start * STRIDE

    def _missing(self, positions: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Return the windows that are not in the memo, in batches of one shape with the same edges."""
        groups: dict[tuple[tuple[int, int], Edges], list[tuple[int, int]]] = {}
        for position in positions:
            if position not in self._memo:
                window = self.plan.grid.window(position)
                groups.setdefault((window.shape, Edges.of(window, self.plan.grid.extent)), []).append(position)
        size = self.batch_size
        return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]

    def _forward(self, positions: Sequence[tuple[int, int]]) -> _Forward:
        """Read windows of one shape with the same edges and compute their logits, in one thread."""
        began = time.perf_counter()
        windows = [self.plan.grid.window(position) for position in positions]
        shape, edges = windows[0].shape, Edges.of(windows[0], self.plan.grid.extent)
        images = [self.scene.read(window) for window in windows]
        any_valid = any(valid.any() for _, valid in images)
        read = time.perf_counter()
        fields = self._fields(images, shape, edges) if any_valid else self._without_pixels(len(windows), shape)
        return _Forward(fields, read - began, time.perf_counter() - read, len(windows) if any_valid else 0)

    def _fields(self, images: Sequence[Image], shape: tuple[int, int], edges: Edges) -> list[Logits]:
        """Return the logits of windows of one shape with the same edges."""
        logits = self.stages.raw_logits(self.stages.batch(images, edges), shape, edges).cpu()
        if logits.dtype == torch.bfloat16:
            return [Logits.copied(bits) for bits in logits.view(torch.int16).numpy().view(np.uint16)]
        return [Logits.of(np.ascontiguousarray(field)) for field in logits.float().numpy()]

    def _without_pixels(self, count: int, shape: tuple[int, int]) -> list[Logits]:
        """Return the logits of windows without a valid pixel: 0."""
        rows, cols = (-(-length // STRIDE) for length in shape)
        return [Logits.of(np.zeros((rows, cols, self.model.spec.classes), np.float32)) for _ in range(count)]
