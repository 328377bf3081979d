"""The scene as a picture: its tones, and a small copy of it, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Span, Window
from geoseg.outputs.pictures import Picture, stretch
from geoseg.raster.sample import sample
from geoseg.raster.scene import Scene

_PERCENTILES = (1.0, 99.0)
_SAMPLE_WINDOWS = 10
_READ_ROWS, _READ_COLS = 512, 4096
"""Pixels of the scene that are read at once, unless a pixel of the copy stands for more."""


@dataclass(frozen=True)
class Tones:
    """How the pixels of a scene are shown.

    Attributes:
        low: Per band, the value that becomes black.
        high: Per band, the value that becomes white.
        background: Grey of what is not valid, 0..255.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    background: int = 160

    @classmethod
    def of(cls, scene: Scene) -> Tones:
        """Return the tones of a scene: from the 1st to the 99th percentile of a sample that depends on it alone.

        8-bit colours have common limits for all bands, so that their hues stay as they are.

        Raises:
            InputError: A block of the scene cannot be decoded.
        """
        pixels, valid = sample(scene, _SAMPLE_WINDOWS)
        bands = [band[valid & np.isfinite(band)].astype(np.float64) for band in pixels]
        limits = [np.percentile(band, _PERCENTILES) if band.size else np.array([0.0, 1.0]) for band in bands]
        if scene.dtype == np.uint8 and len(bands) == 3:
            limits = [np.array([min(a for a, _ in limits), max(b for _, b in limits)])] * 3
        low = tuple(float(a) for a, _ in limits)
        return cls(low, tuple(float(b) if b > a else float(a) + 1.0 for a, b in limits))

    def picture(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Picture:
        """Return pixels (bands, rows, cols) as a picture, with the background where they are not valid."""
        shown = stretch(pixels, self.low, self.high)
        shown[~valid] = self.background
        return shown


class SceneCopy:
    """A small copy of a part of a scene: the mean of the valid pixels that each of its pixels stands for.

    Args:
        scene: The scene, opened with the bands to show.
        part: The part of it.
        shape: Size (rows, cols) of the copy, no larger than the part.

    Attributes:
        means: float32 (bands, rows, cols) after `steps`.
        valid: Where the copy has a value, bool (rows, cols).
    """

    def __init__(self, scene: Scene, part: Window, shape: tuple[int, int]) -> None:
        self._scene, self._part = scene, part
        self._rows, self._cols = (_edges(span, n) for span, n in zip((part.rows, part.cols), shape, strict=True))
        self.means = np.zeros((len(scene.bands[:3]), *shape), np.float32)
        self.valid = np.zeros(shape, bool)

    @property
    def total(self) -> int:
        """Number of steps."""
        return len(list(_groups(self._rows, _READ_ROWS)))

    def steps(self) -> Iterator[Span]:
        """Read the scene, and yield each span of its rows that was read.

        Raises:
            InputError: A block of the scene cannot be decoded.
        """
        with self._scene.caching(_READ_ROWS):
            for rows in _groups(self._rows, _READ_ROWS):
                for cols in _groups(self._cols, _READ_COLS):
                    self._add(rows, cols)
                yield Span(int(self._rows[rows.start]), int(self._rows[rows.stop]))

    def _add(self, rows: Span, cols: Span) -> None:
        """Fill in some rows and columns of the copy."""
        edges = [axis[span.start : span.stop + 1] for axis, span in ((self._rows, rows), (self._cols, cols))]
        window = Window(*(Span(int(e[0]), int(e[-1])) for e in edges))
        pixels, valid = self._scene.read(window)
        starts = [e[:-1] - e[0] for e in edges]

        def summed(values: NDArray[Any]) -> NDArray[Any]:
            down = np.add.reduceat(values, starts[0], axis=-2, dtype=np.float32)
            along: NDArray[Any] = np.add.reduceat(down, starts[1], axis=-1)
            return along

        counts = summed(valid)
        here = np.s_[rows.start : rows.stop, cols.start : cols.stop]
        self.valid[here] = counts > 0
        for mean, band in zip(self.means, pixels, strict=False):
            mean[here] = summed(np.where(valid, band, band.dtype.type(0))) / np.maximum(counts, 1)


def _edges(span: Span, count: int) -> NDArray[np.int64]:
    """Where the pieces of an axis begin, and where the last one ends: count + 1 positions."""
    return span.start + np.arange(count + 1) * len(span) // count


def _groups(edges: NDArray[np.int64], length: int) -> Iterator[Span]:
    """Yield spans of pieces that together have about `length` pixels, or one piece that has more."""
    step = max(1, int(length // max(1, edges[1] - edges[0])))
    for start in range(0, len(edges) - 1, step):
        yield Span(start, min(start + step, len(edges) - 1))
