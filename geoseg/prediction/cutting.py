"""Cut blocks into superpixels, each part of the scene once: choices of seeds are taken over from earlier blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.grid import Block, Window, hull
from geoseg.kernels import ParallelMap
from geoseg.prediction.memo import ChoiceMemo
from geoseg.prediction.plan import Plan
from geoseg.prediction.stages import Stages
from geoseg.raster.scene import Scene
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.choices import deciding_pixels, domain_of
from geoseg.segments.device import backend_for
from geoseg.segments.lattice import Domain, SlicParameters
from geoseg.segments.superpixels import Superpixels, segment_by


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels of a scene.

    Attributes:
        area: Which.
        pixels: (bands, rows, cols).
        valid: bool (rows, cols).
    """

    area: Window
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]

    @classmethod
    def read(cls, scene: Scene, area: Window) -> Pixels:
        """Read a window."""
        return cls(area, *scene.read(area))

    def within(self, area: Window) -> Pixels:
        """Return those of a smaller window, contiguous: kernels are faster then."""
        part = area.within(self.area)
        pixels, valid = self.pixels[(slice(None), *part)], self.valid[part]
        return Pixels(area, np.ascontiguousarray(pixels), np.ascontiguousarray(valid))


class Cutter:
    """Cuts blocks of one scene into superpixels, one after the other.

    Args:
        plan: Blocks and halo.
        settings: Settings of the superpixels.
        stages: What converts colours.
        device: Where the choices are computed.
        threads: Number of threads.
        blocks: Numbers of the blocks that will be cut, ascending; None for all. Choices are kept for these alone.
    """

    def __init__(
        self, plan: Plan, settings: SuperpixelConfig, stages: Stages, device: torch.device, threads: int,
        blocks: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        self._plan, self._settings, self._stages, self._threads = plan, settings, stages, threads
        self._backend = backend_for(device)
        self._memo = ChoiceMemo(plan, blocks)

    def area(self, block: Block, margin: int) -> Window:
        """Return the pixels to read for a block: those of the superpixels that decide it, with a margin, and those that
        decide the choices which are not known yet."""
        around = self._plan.pooled(block).expand(margin, self._plan.grid.extent)
        return hull(around, self._deciding(self._memo.fresh(self._plan.cells(block))))

    def cut(self, block: Block, read: Pixels) -> Superpixels | None:
        """Return the superpixels of `Plan.pooled`; None if no pixel of the block is valid.

        Args:
            block: The block.
            read: The pixels of its `area`.
        """
        if not read.valid[block.window.within(read.area)].any():
            return None
        plan, extent = self._plan, self._plan.grid.extent
        whole = block.window.expand(plan.halo, extent, multiple=plan.cell)

        def choose(_: Domain, parameters: SlicParameters, threads: int, parallel_map: ParallelMap) -> NDArray[np.uint8]:
            return self._choices(block, read, parameters, threads, parallel_map)

        return segment_by(
            choose, whole.shape, **vars(self._settings), origin=(whole.rows.start, whole.cols.start),
            scene_shape=extent.shape, core=plan.core(block).within(whole), labelled=plan.pooled(block).within(whole),
            threads=self._threads,
        )  # fmt: skip

    def release(self, block: Block) -> None:
        """Forget what no block after `block` needs."""
        self._memo.release(block)

    def _choices(
        self, block: Block, read: Pixels, parameters: SlicParameters, threads: int, parallel_map: ParallelMap
    ) -> NDArray[np.uint8]:
        """Return the choices of the cells that decide a block, and keep those that its neighbours need."""
        cells, extent = self._plan.cells(block), self._plan.grid.extent
        fresh, computed = self._memo.fresh(cells), None
        if fresh.pixels:
            domain = domain_of(fresh, parameters.size, parameters.iterations, extent, read.area)
            colours = partial(self._colours, read)
            computed = self._backend(colours, read.valid, domain, parameters, threads, parallel_map)
        choices = self._memo.completed(cells, fresh, computed)
        self._memo.put(block, cells, choices)
        return choices

    def _colours(self, read: Pixels, part: tuple[slice, slice]) -> NDArray[np.int16]:
        # Kernels are faster with contiguous arrays.
        pixels, valid = np.ascontiguousarray(read.pixels[(slice(None), *part)]), np.ascontiguousarray(read.valid[part])
        return self._stages.colours(pixels, valid)

    def _deciding(self, cells: Window) -> Window:
        return deciding_pixels(cells, self._settings.size, self._settings.iterations, self._plan.grid.extent)
