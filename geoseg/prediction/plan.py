"""What a prediction computes: the blocks, and the windows of each."""

from __future__ import annotations

import os
from dataclasses import dataclass

from geoseg.grid import Block, Grid, Partition, Span, Window, partition
from geoseg.location import Location, Remote
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.choices import deciding_cells
from geoseg.segments.superpixels import halo, reach

STRIP = 16384
"""Pixels across the strips in which blocks are computed; see `geoseg.grid.Partition`.

Memory for what blocks keep for the next row grows with it, and at the edge of two strips some windows are computed
twice: 5 % of all.
"""

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
        cell: Side of a superpixel's seed cell in pixels.
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
    cell: int = 1

    def core(self, block: Block) -> Window:
        """Return the window in which superpixels must be exact: `block` with its neighbourhood."""
        return block.window.expand(self.neighbourhood, self.grid.extent)

    def pooled(self, block: Block) -> Window:
        """Return the window that holds all superpixels with a pixel in the core; their pixels and logits decide the
        classes of `block`."""
        return self.core(block).expand(self.reach, self.grid.extent)

    def cells(self, block: Block) -> Window:
        """Return the cells of the scene whose choices of seeds decide the superpixels in the core."""
        return deciding_cells(self.core(block), self.cell, self.grid.extent)

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

    def cached_cols(self, scene: Location) -> int:
        """Return the width over which stored blocks of the scene are kept once decoded: that of what a block reads.

        Those that two rows of blocks share are then decoded twice. From a remote scene they would be fetched twice, so
        there it is the width of a strip.

        Args:
            scene: Where the scene is.
        """
        return (self.blocks.strip_cols if isinstance(scene, Remote) else self.blocks.block_shape[1]) + 2 * self.halo

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
    return Plan(grid, extent, blocks, written, read, reach(size), rounds, steps, added, size)


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
