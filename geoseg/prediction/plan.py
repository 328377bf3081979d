"""What a prediction computes: the blocks, the windows of each, and which logits are kept from block to block."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Grid, Partition, Span, Window, partition
from geoseg.prediction.blend import Field
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.superpixels import halo, reach

MEMO_BYTES = 512 << 20
"""Default memory for the logits of windows that later blocks need. Windows that do not fit are computed again."""

STRIP = 16384
"""Pixels across the strips in which blocks are computed; see `geoseg.grid.Partition`.

Memory for what blocks keep for the next row grows with it, and at the edge of two strips some windows are computed
twice: 5 % of all.
"""

_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""How memory is mapped for this process alone; Windows has no other."""

_MAX_WORKERS = {"cuda": 16}
_MAX_WORKERS_ON_CPU = 8

_MAX_DEPTH = 8


def default_workers(device_type: str = "cpu") -> int:
    """Return the default number of threads: the number of cores, at most 8, or beside a GPU of type "cuda" 16.

    Superpixels do not get faster with more threads, because they wait for the next block to be read. In prediction each
    thread needs some 200 MB for the activations of its window, or beside a GPU for the pixels of its block.
    """
    return min(_MAX_WORKERS.get(device_type, _MAX_WORKERS_ON_CPU), os.cpu_count() or 1)


def pipeline_depth(device_type: str, workers: int, blocks: int) -> int:
    """Return how many blocks are prepared at the same time, and how many finished, by so many threads.

    One of each, in which several threads work on one block; beside a GPU of type "cuda", one thread works on one block.
    """
    return max(1, min(_MAX_DEPTH, workers // 2, blocks)) if device_type == "cuda" else 1


def default_batch_size(device_type: str) -> int:
    """Return the default number of windows per forward pass on a device of type "cpu", "cuda" or "mps".

    As many as a block of the default size needs for the first time. More would not pay: on an H100, one window at a
    time already has three quarters of the speed of 64 (`docs/performance.md`).
    """
    return 1 if device_type == "cpu" else 4


@dataclass(frozen=True)
class Plan:
    """What a prediction will compute.

    Attributes:
        grid: The lattice of windows, over the whole scene.
        extent: The pixels to write.
        blocks: The blocks to compute: those that partition the extent, followed by those of a margin around it.
        written: Number of blocks that partition the extent.
        halo: Pixels to read around a block.
        reach: Largest distance, in pixels along each axis, from a pixel to any other of its superpixel.
        rounds: Rounds of smoothing.
        steps: From superpixel to superpixel, to all on which a class depends.
        neighbourhood: Pixels around a block that hold a pixel of every superpixel on which smoothing depends in it.
    """

    grid: Grid
    extent: Window
    blocks: Partition
    written: int
    halo: int
    reach: int
    rounds: int = 0
    steps: int = 0
    neighbourhood: int = 0

    def core(self, block: Block) -> Window:
        """Return the window in which superpixels must be exact: `block` with its neighbourhood."""
        return block.window.expand(self.neighbourhood, self.grid.extent)

    def pooled(self, block: Block) -> Window:
        """Return the window that holds all superpixels with a pixel in the core; their pixels and logits decide the
        classes of `block`."""
        return self.core(block).expand(self.reach, self.grid.extent)

    def windows(self, block: Block) -> list[tuple[int, int]]:
        """Return the lattice positions of the windows that `block` needs, in raster order."""
        return self.grid.windows_touching(self.pooled(block))

    @property
    def window_count(self) -> int:
        """Number of windows that the blocks need, each counted once."""
        # Blocks leave no gap, and what a block needs reaches equally far on all sides; so does what all of them need.
        return self.grid.count_touching(self.blocks.hull.expand(self._margin, self.grid.extent))

    @property
    def read_rows(self) -> int:
        """Largest height of what is read for a block."""
        return self.blocks.block_shape[0] + 2 * self.halo

    @property
    def read_cols(self) -> int:
        """Largest width of what is read for a strip of blocks."""
        return self.blocks.strip_cols + 2 * self.halo

    def needing(self, position: tuple[int, int]) -> Window:
        """Return the pixels whose blocks need the window at a lattice position."""
        return self.grid.window(position).expand(self._margin, self.grid.extent)

    @property
    def _margin(self) -> int:
        """Pixels from a block to the edge of its `pooled` window."""
        return self.neighbourhood + self.reach


def strip_of(stored: tuple[int, int]) -> int | None:
    """Return the width of the strips in which to compute the blocks of a scene; None for one strip.

    Args:
        stored: (rows, cols) of the blocks of its file. One that is wider than a strip would be decoded for each strip.
    """
    return STRIP if stored[1] <= STRIP else None


def neighbourhood(size: int, steps: int) -> int:
    """Return the pixels around a block that hold a pixel of every superpixel on which smoothing depends in it.

    The posterior of a superpixel after n rounds depends on those up to n borders away. A superpixel with a pixel in the
    block reaches up to R = `reach(size)` pixels beyond it, so one that touches it has a pixel within R + 1 of the
    block. Each further border adds R + 1, so all of them have a pixel within n (R + 1). Weights depend on the borders
    of superpixels up to n - 1 away, which lie, with the pixels beside them, within n (R + 1) too.

    Views of neighbours add one step to those of smoothing.

    Args:
        size: Side of a superpixel's seed cell in pixels.
        steps: Rounds of smoothing, and one for views of neighbours, n.
    """
    return steps * (reach(size) + 1)


def plan(
    grid: Grid,
    superpixels: SuperpixelConfig,
    extent: Window,
    block_size: int,
    around: Window | None = None,
    rounds: int = 0,
    steps: int | None = None,
    strip: int | None = STRIP,
) -> Plan:
    """Return the plan of a prediction.

    Args:
        grid: The lattice of windows, over the whole scene.
        superpixels: Superpixel settings of the model.
        extent: The pixels to write.
        block_size: Side of a block in pixels.
        around: The extent with a margin that is computed but not written; None without one.
        rounds: Rounds of smoothing.
        steps: From superpixel to superpixel, to all on which a class depends (`geoseg.prediction.experts.steps_of`);
            None is `rounds`. The halo is that of superpixels, widened by their `neighbourhood`.
    """
    steps = rounds if steps is None else steps
    strips = [] if around is None else _strips(extent, around)
    blocks = Partition((extent, *strips), block_size, strip=strip)
    written = len(partition(extent, block_size))
    size, added = superpixels.size, neighbourhood(superpixels.size, steps)
    read = halo(size, superpixels.iterations) + added
    return Plan(grid, extent, blocks, written, read, reach(size), rounds, steps, added)


def _strips(extent: Window, around: Window) -> list[Window]:
    """The windows above, left, right and below of `extent` that with it make up `around`."""
    rows, cols = extent.rows, extent.cols
    strips = [
        Window(Span(around.rows.start, rows.start), around.cols),
        Window(rows, Span(around.cols.start, cols.start)),
        Window(rows, Span(cols.stop, around.cols.stop)),
        Window(Span(rows.stop, around.rows.stop), around.cols),
    ]
    return [strip for strip in strips if strip.pixels]


class Halves:
    """Logits that a network computed in bfloat16, as the half of their bits that are not 0.

    Args:
        bits: uint16 (h, w, K).
    """

    def __init__(self, bits: NDArray[np.uint16]) -> None:
        self._bits = bits

    @classmethod
    def of(cls, field: Field) -> Halves | Field:
        """Return what takes the least memory and has exactly the values of `field`."""
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        halves = field.view(np.uint16).reshape(*field.shape, 2)
        if halves[..., low].any() or not field.size:
            return field
        # In memory of their own: they stay for many blocks, and would hold up gaps in the heap between what does not.
        bits = np.frombuffer(mmap.mmap(-1, field.nbytes // 2, **_PRIVATE), np.uint16).reshape(field.shape)
        bits[...] = halves[..., high]
        return cls(bits)

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self._bits.nbytes

    def whole(self) -> Field:
        """Return the logits, float32 (h, w, K)."""
        return (self._bits.astype(np.uint32) << 16).view(np.float32)


class WindowMemo:
    """Logits of windows, each kept until the last block that needs it. Blocks are computed in the order of their rank.

    Args:
        plan: The plan.
        max_bytes: Memory for logits between blocks.
        blocks: Numbers of the blocks that this process computes; None for all of the plan.
    """

    def __init__(self, plan: Plan, max_bytes: int = MEMO_BYTES, blocks: Sequence[int] | None = None) -> None:
        self._plan, self._max_bytes = plan, max_bytes
        every = range(len(plan.blocks))
        self._ranks = every if blocks is None or blocks == every else sorted(map(plan.blocks.rank, blocks))
        self._fields: dict[tuple[int, int], Field | Halves] = {}
        self._last: dict[tuple[int, int], int] = {}

    def __contains__(self, position: tuple[int, int]) -> bool:
        return position in self._fields

    def get(self, position: tuple[int, int]) -> Field:
        """Return the logits (h, w, K) of a window in the memo."""
        found = self._fields[position]
        return found.whole() if isinstance(found, Halves) else found

    def put(self, position: tuple[int, int], value: Field | Halves) -> None:
        """Add a window for the block that is being computed."""
        last = self._plan.blocks.last_touching(self._plan.needing(position), self._ranks)
        self._fields[position], self._last[position] = value, -1 if last is None else last

    def release(self, block: Block) -> None:
        """Drop the windows that no block after `block` needs, then those needed last until the rest fits."""
        rank = self._plan.blocks.rank(block.index)
        for position in [p for p in self._fields if self._last[p] <= rank]:
            self._drop(position)
        excess = sum(value.nbytes for value in self._fields.values()) - self._max_bytes
        for position in sorted(self._fields, key=lambda p: (-self._last[p], p)):
            if excess <= 0:
                break
            excess -= self._drop(position)

    def _drop(self, position: tuple[int, int]) -> int:
        """Drop a window; return the bytes that it took."""
        del self._last[position]
        return self._fields.pop(position).nbytes
