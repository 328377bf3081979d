"""Overlapping windows -> one field. Arrays are (rows, cols, K) at the network's stride.

Two windows that overlap are joined by linear interpolation, first along the columns, then along the rows:
a + t (b - a), with t rising from 0 to 1 across the overlap. That is the usual weighted mean with separable
weights that sum to one, in the one form for which windows that agree come back bit for bit, at every pixel
up to the scene's border; and its order is fixed by the lattice, so it does not depend on blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Blend
from geoseg.grid import Grid, Span, Window, touching

Field = NDArray[np.float32]


def ramp(length: int, blend: Blend) -> NDArray[np.float32]:
    """Return the share (length,) of the later window across an overlap of `length` cells: rising, in [0, 1],
    and symmetric, so that t and its mirror sum to 1.

    hann: sin^2, so that each window is weighted by a Hann flank. linear: a straight line. crop: the middle.
    """
    t = (np.arange(length, dtype=np.float64) + 0.5) / max(length, 1)
    if blend == "hann":
        t = np.sin(0.5 * math.pi * t) ** 2
    elif blend == "crop":
        t = (t >= 0.5).astype(np.float64)
    return t.astype(np.float32)


def blend_windows(
    grid: Grid, area: Window, stride: int, blend: Blend, logits: Callable[[tuple[int, int]], Field]
) -> tuple[Field, Window]:
    """Return the blended field that covers the pixels of `area`, and the cells (in units of `stride`) it covers.

    logits: lattice position -> field (ceil(rows/stride), ceil(cols/stride), K) float32 of that window; it is
        asked for each window that touches `area`, once, in raster order.
    """
    cells = Window(_cells(area.rows, stride), _cells(area.cols, stride))
    rows = tuple(_cells(span, stride) for span in grid.row_spans)
    cols = tuple(_cells(span, stride) for span in grid.col_spans)
    field: Field | None = None
    covered = cells.rows.start
    for i in touching(rows, cells.rows):
        strip = _blend_row(cells.cols, rows[i].intersect(cells.rows), rows[i], cols, blend, partial(_at, logits, i))
        if field is None:
            field = np.empty((*cells.shape, strip.shape[2]), dtype=np.float32)
        part = rows[i].intersect(cells.rows)
        _join(field, strip, part, cells.rows.start, covered, _overlap(rows, i), blend, axis=0)
        covered = max(covered, part.stop)
    assert field is not None
    return field, cells


def _blend_row(
    target: Span,
    keep: Span,
    rows: Span,
    cols: tuple[Span, ...],
    blend: Blend,
    logits: Callable[[int], Field],
) -> Field:
    """Join the windows of one lattice row along the columns, over the rows `keep` of it."""
    strip: Field | None = None
    covered = target.start
    for j in touching(cols, target):
        window = logits(j)[keep.within(rows)]
        if strip is None:
            strip = np.empty((len(keep), len(target), window.shape[2]), dtype=np.float32)
        part = cols[j].intersect(target)
        _join(strip, window[:, part.within(cols[j])], part, target.start, covered, _overlap(cols, j), blend, axis=1)
        covered = max(covered, part.stop)
    assert strip is not None
    return strip


def _join(
    out: Field, new: Field, part: Span, origin: int, covered: int, overlap: Span, blend: Blend, axis: int
) -> None:
    """Lay `new`, which covers `part` of the axis, into `out`: interpolate on `overlap` where `out` is already
    covered, copy beyond it."""
    shared = overlap.intersect(Span(part.start, max(part.start, min(covered, part.stop))))
    target = out if axis == 0 else out.swapaxes(0, 1)
    source = new if axis == 0 else new.swapaxes(0, 1)
    if len(shared):
        t = ramp(len(overlap), blend)[shared.within(overlap)][:, None, None]
        before = target[shared.start - origin : shared.stop - origin]
        before += t * (source[shared.within(part)] - before)
    fresh = Span(max(part.start, shared.stop), part.stop)
    target[fresh.start - origin : fresh.stop - origin] = source[fresh.within(part)]


def _at(logits: Callable[[tuple[int, int]], Field], i: int, j: int) -> Field:
    return logits((i, j))


def _overlap(spans: tuple[Span, ...], index: int) -> Span:
    """The cells that span `index` shares with the one before it."""
    return spans[index - 1].intersect(spans[index]) if index else Span(spans[0].start, spans[0].start)


def _cells(span: Span, stride: int) -> Span:
    return Span(span.start // stride, -(-span.stop // stride))
