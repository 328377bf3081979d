"""Blocks of the map on a GPU, beside which the CPU never has to wait: what it does, it does for several at once.

    reading threads      read the block with its halo and windows  --pixels up-->  colours, choices of superpixels
                         connect superpixels, describe them       <--choices down--
    calling thread       (starts the work of the device)                           windows, network, blending
    finishing threads    superpixels                              --labels up-->   means of logits
                         experts, smoothing, classes, writing     <--means down--

So pixels go up once, in the type of the file, and logits never come down. What is not valid everywhere goes up as a
window of its own, filled by the CPU, as invalid pixels are filled from the window alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.config import Blend
from geoseg.grid import Block, Span, Window
from geoseg.kernels import ParallelMap
from geoseg.prediction.blend import Space, blend_windows, ramp
from geoseg.prediction.cutting import Pixels
from geoseg.prediction.memo import MEMO_BYTES
from geoseg.prediction.plan import pipeline_depth
from geoseg.prediction.predictor import Blended, Predictor, Prepared
from geoseg.prediction.stages import Edges
from geoseg.prediction.transfers import Mark, Transfers, numbers
from geoseg.raster.statistics import BandStats
from geoseg.recipes import STRIDE
from geoseg.segments.device import choices, triton_kernels
from geoseg.segments.device_colours import DeviceColours
from geoseg.segments.device_regions import region_means
from geoseg.segments.lattice import Domain, SlicParameters
from geoseg.segments.superpixels import Superpixels, segment_by


@dataclass(eq=False)
class OnDevice:
    """Pixels that are on the device.

    Attributes:
        area: The pixels.
        pixels: (bands, rows, cols), as the model knows them.
        here: The same on the host.
        valid: bool (rows, cols), on the host.
        mark: When they are there.
    """

    area: Window
    pixels: Tensor
    here: NDArray[Any]
    valid: NDArray[np.bool_]
    mark: Mark


@dataclass(eq=False)
class DevicePrepared(Prepared):
    """A prepared block whose pixels are on the device.

    Attributes:
        there: The pixels of the block, its halo and the windows that it is the first to need; None where no pixel of
            the block is valid.
    """

    there: OnDevice | None = None


@dataclass(eq=False)
class DeviceBlended(Blended):
    """Blended logits, whose field is a tensor on the device.

    Attributes:
        mark: When the field is complete.
    """

    mark: Mark


class DeviceSpace(Space):
    """Fields as tensors on a device. Ramps go up once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ramps: dict[tuple[int, Blend], Tensor] = {}

    def empty(self, shape: tuple[int, int, int]) -> Any:
        """Return a tensor whose values have no meaning."""
        return torch.empty(shape, device=self._device)

    def ramp(self, length: int, blend: Blend) -> Any:
        """Return `ramp` on the device."""
        if (length, blend) not in self._ramps:
            self._ramps[length, blend] = torch.from_numpy(ramp(length, blend)).to(self._device)
        return self._ramps[length, blend]


class DevicePredictor(Predictor):
    """A `Predictor` on a GPU; `prepare` and `finish` may run in several threads at the same time, for other blocks.

    Batches always have the same shape, so the bits of a window's logits do not depend on what it is computed with. The
    arguments are those of `Predictor`.

    Attributes:
        transfers: The copies to and from the device.
        depth: How many blocks to prepare at the same time, and how many to finish.
        far_bytes: As for `Predictor`, with no limit of its own: what was dropped would be read alone.
    """

    far_bytes = MEMO_BYTES

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        model, blocks = self.model, len(self.plan.blocks)
        self.transfers, self.space = Transfers(self.device), DeviceSpace(self.device)
        self.depth = pipeline_depth("cuda", self.workers, blocks)
        self.workers = max(1, self.workers // (2 * self.depth))
        self._colours = DeviceColours(self.device, len(model.bands), self.stages.dtype, *self.stages.colour_scale)
        self._normaliser = _Normaliser(model.stats, self.stages.dtype, self.device)
        # Now, as the threads would all do it at once.
        triton_kernels(torch.empty(0, device=self.device).device)
        self._lock = threading.Lock()
        self._expected: dict[int, list[tuple[int, int]]] = {}

    def __enter__(self) -> DevicePredictor:
        # Several threads use the CPU already.
        torch.set_num_threads(1)
        return self

    def prepare(self, block: Block) -> DevicePrepared:
        """Read `block` with its halo, bring it to the device, and cut it into superpixels."""
        began = time.perf_counter()
        area = block.window.expand(self.plan.halo, self.scene.extent, multiple=self.model.superpixels.size)
        mask = self.aoi.mask(block.window) if self.aoi else None
        if mask is not None and not mask.any():
            return DevicePrepared(
                block, self.plan.pooled(block), None, None, mask, {"read": time.perf_counter() - began}
            )
        whole = self._with_windows(block, area)
        pixels, valid = self.scene.read(whole)
        read = time.perf_counter()
        if not valid[block.window.within(whole)].any():
            return DevicePrepared(block, self.plan.pooled(block), None, None, mask, {"read": read - began})
        with self.transfers.stream():
            converted = self.stages.converted(pixels)
            there = self.transfers.up(converted)
            known = torch.ones(valid.shape, dtype=torch.bool, device=self.device)
            if not valid.all():
                known = self.transfers.up(valid)
            on_device = OnDevice(whole, there, converted, valid, self.transfers.mark())
            superpixels = self._cut(block, area, whole, there, known)
        cut = time.perf_counter()
        described = self._described(block, Pixels(whole, pixels, valid), superpixels)
        seconds = {"read": read - began, "superpixels": cut - read, "descriptors": time.perf_counter() - cut}
        return DevicePrepared(block, self.plan.pooled(block), superpixels, described, mask, seconds, on_device)

    def _with_windows(self, block: Block, area: Window) -> Window:
        """Return the smallest window that holds `area` and the windows of the network that no earlier block reads."""
        with self._lock:
            expected = {position for positions in self._expected.values() for position in positions}
            new = [p for p in self.plan.windows(block) if p not in self._memo and p not in expected]
            self._expected[block.index] = new
        spans = [area, *map(self.plan.grid.window, new)]
        rows = Span(min(each.rows.start for each in spans), max(each.rows.stop for each in spans))
        return Window(rows, Span(min(each.cols.start for each in spans), max(each.cols.stop for each in spans)))

    def _cut(self, block: Block, area: Window, whole: Window, pixels: Tensor, valid: Tensor) -> Superpixels:
        rows, cols = area.within(whole)
        valid = valid[rows, cols]
        colours = self._colours(numbers(pixels[:, rows, cols], self.stages.dtype), valid)

        def choose(domain: Domain, parameters: SlicParameters, _threads: int, _map: ParallelMap) -> NDArray[np.uint8]:
            return self.transfers.down(choices(colours, valid, domain, parameters, self._colours.largest))

        return segment_by(
            choose, area.shape, **vars(self.model.superpixels), origin=(area.rows.start, area.cols.start),
            scene_shape=self.scene.shape, core=self.plan.core(block).within(area),
            labelled=self.plan.pooled(block).within(area), threads=self.workers,
        )  # fmt: skip

    def logits(self, prepared: Prepared) -> DeviceBlended | None:
        """Start the network and the blending of a block; return None if no pixel of it is valid.

        Windows that no later block needs are dropped from the memo.
        """
        block = prepared.block
        assert isinstance(prepared, DevicePrepared)
        there = prepared.there
        try:
            if there is None:
                return None
            began = time.perf_counter()
            with self.transfers.stream():
                there.mark.wait(there.pixels)
                missing = self._missing(self.plan.windows(block))
                windows = sum(self._network(positions, there) for positions in missing)
                network = time.perf_counter()
                area = self.plan.pooled(block)
                field, cells = blend_windows(self.plan.grid, area, STRIDE, self.blend, self._memo.get, self.space)
                mark = self.transfers.mark()
            seconds = {"read": 0.0, "network": network - began, "blend": time.perf_counter() - network}
            return DeviceBlended(field, cells, seconds, windows, mark)
        finally:
            self._memo.release(block)
            with self._lock:
                self._expected.pop(block.index, None)

    def _network(self, positions: Sequence[tuple[int, int]], there: OnDevice) -> int:
        """Compute the logits of windows of one shape with the same edges; return how many had a valid pixel."""
        windows = [self.plan.grid.window(position) for position in positions]
        shape, edges = windows[0].shape, Edges.of(windows[0], self.plan.grid.extent)
        images = [self._image(window, there) for window in windows]
        if all(image is None for image in images):
            fields = self._nothing(len(windows), shape)
        else:
            fields = self.stages.logits(self._batch(images, shape, edges), shape, edges)
        for position, image, field in zip(positions, images, fields, strict=False):
            kept: Any = field.contiguous() if image is not None else self._nothing(1, shape)[0]
            self._memo.put(position, kept)
        return sum(image is not None for image in images)

    def _nothing(self, count: int, shape: tuple[int, int]) -> Tensor:
        rows, cols = (-(-length // STRIDE) for length in shape)
        return torch.zeros(count, rows, cols, self.model.spec.classes, device=self.device)

    def _batch(self, images: Sequence[Tensor | None], shape: tuple[int, int], edges: Edges) -> Tensor:
        """Return the network's input, (batch size, bands, H, W): the images, padded, and zeros for want of more."""
        (top, bottom), (left, right) = self.stages.pads(shape, edges)
        H, W = shape[0] + top + bottom, shape[1] + left + right
        size = self.batch_size, len(self.model.bands), H, W
        batch = torch.zeros(size, dtype=self.precision, device=self.device).to(memory_format=torch.channels_last)
        for place, image in zip(batch, images, strict=False):
            if image is not None:
                padded = any((top, bottom, left, right))
                place.copy_(
                    functional.pad(image[None], (left, right, top, bottom), mode="replicate")[0] if padded else image
                )
        return batch

    def _image(self, window: Window, there: OnDevice) -> Tensor | None:
        """Return a window as the network takes it, float32 (bands, rows, cols) on the device; None if none is valid."""
        if window.intersect(there.area) != window:
            # An earlier block was to compute it, but did not, as no pixel of it was valid.
            pixels, valid = self.scene.read(window)
            pixels = self.stages.converted(pixels)
            if not valid.all():
                return self._filled(pixels, valid)
            return self._normaliser(numbers(self.transfers.up(pixels), self.stages.dtype))
        inside = (slice(None), *window.within(there.area))
        valid = there.valid[window.within(there.area)]
        if valid.all():
            return self._normaliser(numbers(there.pixels[inside], self.stages.dtype))
        if not valid.any():
            return None
        return self._filled(there.here[inside], valid)

    def _filled(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor | None:
        return self.transfers.up(self.model.stats.normalise(pixels, valid)) if valid.any() else None

    def _means(self, prepared: Prepared, blended: Blended, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        assert isinstance(blended, DeviceBlended)
        assert prepared.superpixels is not None
        with self.transfers.stream():
            field: Any = blended.field
            blended.mark.wait(field)
            count, offset = len(prepared.superpixels.ids) - 1, self._offset(prepared, blended)
            means = region_means(field, self.transfers.up(labels), count, STRIDE, offset)
            found: NDArray[np.float32] = self.transfers.down(means)
            return found


class _Normaliser:
    """`BandStats.normalise` of pixels on a device that are all valid."""

    def __init__(self, stats: BandStats, dtype: np.dtype[Any], device: torch.device) -> None:
        mean = np.asarray(stats.mean, np.float32)
        scale = (1 / np.asarray(stats.std, np.float64)).astype(np.float32)
        self._mean, self._scale = (torch.from_numpy(each[:, None, None]).to(device) for each in (mean, scale))
        fences = stats.fences(dtype)
        self._fences = fences and tuple(torch.from_numpy(each).to(device) for each in fences)

    def __call__(self, pixels: Tensor) -> Tensor:
        if self._fences is not None:
            kind = torch.float32 if pixels.dtype == torch.float32 else torch.float64
            pixels = torch.clamp(pixels.to(kind), *(each.to(kind) for each in self._fences))
        return (pixels.float() - self._mean) * self._scale
