"""What a prediction computes: which blocks, which windows for each, and what is kept from block to block."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.grid import Block, Grid, Window, partition
from geoseg.prediction.blend import Field
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.superpixels import halo, reach

MEMO_BYTES = 512 << 20
"""Window results kept for the blocks to come; beyond it the least needed are computed again later."""


@dataclass(frozen=True)
class Plan:
    """What a prediction will compute: blocks of the extent, windows of the scene's lattice.

    halo: pixels read around a block. windows: lattice positions that any block needs.
    """

    grid: Grid
    extent: Window
    blocks: tuple[Block, ...]
    halo: int
    reach: int

    def pooled(self, block: Block) -> Window:
        """Return the pixels whose logits decide on `block`: of every superpixel that reaches into it."""
        return block.window.expand(self.reach, self.grid.extent)

    def windows(self, block: Block) -> list[tuple[int, int]]:
        """Return the lattice positions that `block` needs, in raster order."""
        return self.grid.windows_touching(self.pooled(block))


def plan(grid: Grid, cells: SuperpixelConfig, extent: Window, block_size: int) -> Plan:
    """Return the plan for the pixels of `extent` of a scene with windows on `grid` and superpixels as in `cells`."""
    margin = halo(cells.size, cells.iterations)
    return Plan(grid, extent, tuple(partition(extent, block_size)), margin, reach(cells.size))


class WindowMemo:
    """Logits of windows, kept until the last block of the plan that needs them, within `MEMO_BYTES`."""

    def __init__(self, plan: Plan) -> None:
        self._fields: dict[tuple[int, int], Field] = {}
        self._plan = plan
        self._last: dict[tuple[int, int], int] = {}
        for block in plan.blocks:
            self._last |= dict.fromkeys(plan.windows(block), block.index)

    def __contains__(self, position: tuple[int, int]) -> bool:
        return position in self._fields

    def get(self, position: tuple[int, int]) -> Field:
        """Return the logits (h, w, K) of a window that is in the memo."""
        return self._fields[position]

    def put(self, position: tuple[int, int], value: Field) -> None:
        """Hold a window for the block being computed."""
        self._fields[position] = value

    def release(self, block: Block) -> None:
        """Forget what no block after `block` needs; where memory does not suffice, what is needed last."""
        for position in [p for p in self._fields if self._last.get(p, -1) <= block.index]:
            del self._fields[position]
        spare = sum(value.nbytes for value in self._fields.values()) - MEMO_BYTES
        for position in sorted(self._fields, key=lambda p: (-self._last[p], p)):
            if spare <= 0:
                break
            spare -= self._fields.pop(position).nbytes
