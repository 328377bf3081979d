"""Blend the logits of overlapping windows into one field. Arrays are (rows, cols, K) at the network's stride.

Overlapping windows a and b are interpolated as a + t (b - a), with t rising from 0 to 1 across the overlap, first along
the columns, then along the rows. This is the usual mean with separable weights that sum to one, in a form that returns
windows that agree bit for bit, up to the scene's border. The lattice fixes the order of the operations, so the result
does not depend on blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Blend
from geoseg.grid import Grid, Span, Window, touching

Field = NDArray[np.float32]
"""Logits (rows, cols, K). Where a `Space` on a device is given, it is a float32 tensor of the same shape."""


class Space:
    """Where fields are: arrays of the CPU, or for a subclass tensors on a device."""

    def empty(self, shape: tuple[int, int, int]) -> Any:
        """Return a field whose values have no meaning."""
        return np.empty(shape, np.float32)

    def ramp(self, length: int, blend: Blend) -> Any:
        """Return `ramp` there."""
        return ramp(length, blend)


CPU = Space()


def ramp(length: int, blend: Blend) -> NDArray[np.float32]:
    """Return the weight t of the second of two windows across their overlap.

    Args:
        length: Length of the overlap in cells.
        blend: hann is sin^2, the flank of a Hann window; linear a straight line; crop a step in the middle.

    Returns:
        float32 (length,), rising, in [0, 1]. t and its mirror image sum to 1.
    """
    t = (np.arange(length, dtype=np.float64) + 0.5) / max(length, 1)
    if blend == "hann":
        t = np.sin(0.5 * math.pi * t) ** 2
    elif blend == "crop":
        t = (t >= 0.5).astype(np.float64)
    return t.astype(np.float32)


def blend_windows(
    grid: Grid,
    area: Window,
    stride: int,
    blend: Blend,
    logits: Callable[[tuple[int, int]], Any],
    space: Space = CPU,
) -> tuple[Any, Window]:
    """Return the blended field over `area`.

    Args:
        grid: The lattice of windows.
        area: The pixels to cover.
        stride: Pixels per cell along each axis.
        blend: See `ramp`.
        logits: Function from a lattice position to the logits of its window, float32
            (ceil(rows / stride), ceil(cols / stride), K), or what returns these for a slice of rows. It is called once
            for each window that touches `area`, in raster order.
        space: Where the logits are, and the field is to be.

    Returns:
        The field, float32 (rows, cols, K), and the cells that it covers.
    """
    cells = cells_of(area, stride)
    rows, cols = _lattice(grid, stride)
    field: Any = None
    covered = cells.rows.start
    for i in touching(rows, cells.rows):
        keep = rows[i].intersect(cells.rows)
        strip = _blend_row(cells.cols, keep, rows[i], cols, blend, partial(_at, logits, i), space)
        if field is None:
            field = space.empty((*cells.shape, strip.shape[2]))
        _join(field, strip, keep, cells.rows.start, covered, _overlap(rows, i), blend, 0, space)
        covered = max(covered, keep.stop)
    assert field is not None
    return field, cells


@lru_cache(maxsize=2)
def _lattice(grid: Grid, stride: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The cells of all rows of windows, and of all columns."""
    rows, cols = (tuple(_cells(span, stride) for span in spans) for spans in (grid.row_spans, grid.col_spans))
    return rows, cols


def _blend_row(
    target: Span,
    keep: Span,
    rows: Span,
    cols: tuple[Span, ...],
    blend: Blend,
    logits: Callable[[int], Any],
    space: Space,
) -> Any:
    """Blend the windows of one lattice row along the columns, within its rows `keep`."""
    strip: Any = None
    covered = target.start
    for j in touching(cols, target):
        window = logits(j)[keep.within(rows)]
        if strip is None:
            strip = space.empty((len(keep), len(target), window.shape[2]))
        part = cols[j].intersect(target)
        piece = window[:, part.within(cols[j])]
        _join(strip, piece, part, target.start, covered, _overlap(cols, j), blend, 1, space)
        covered = max(covered, part.stop)
    assert strip is not None
    return strip


def _join(
    out: Any, new: Any, part: Span, origin: int, covered: int, overlap: Span, blend: Blend, axis: int, space: Space
) -> None:
    """Add `new`, which covers `part` of the axis, to `out`: interpolate within `overlap`, as far as `out` is covered,
    and copy the rest."""
    shared = overlap.intersect(Span(part.start, max(part.start, min(covered, part.stop))))
    target = out if axis == 0 else out.swapaxes(0, 1)
    source = new if axis == 0 else new.swapaxes(0, 1)
    if len(shared):
        t = space.ramp(len(overlap), blend)[shared.within(overlap)][:, None, None]
        before = target[shared.start - origin : shared.stop - origin]
        before += t * (source[shared.within(part)] - before)
    fresh = Span(max(part.start, shared.stop), part.stop)
    target[fresh.start - origin : fresh.stop - origin] = source[fresh.within(part)]


def _at(logits: Callable[[tuple[int, int]], Any], i: int, j: int) -> Any:
    return logits((i, j))


def _overlap(spans: tuple[Span, ...], index: int) -> Span:
    """The cells that span `index` shares with the one before it."""
    return spans[index - 1].intersect(spans[index]) if index else Span(spans[0].start, spans[0].start)


def cells_of(area: Window, stride: int) -> Window:
    """Return the cells that `blend_windows` covers."""
    return Window(_cells(area.rows, stride), _cells(area.cols, stride))


def _cells(span: Span, stride: int) -> Span:
    return Span(span.start // stride, -(-span.stop // stride))
