"""Polygons in parts: stripes of rows that are swept anywhere, and joined from top to bottom.

    stripe ── rows ── `StripePolygonizer` ── part: closed polygons, border ──┐
    stripe ── rows ── `StripePolygonizer` ── part: closed polygons, border ──┼── `Joiner` ── polygons, as of one sweep
    …                                                                        ┘

The polygons, their order and their batches are those of a `Polygonizer` that takes all rows. In memory are the outlines
of the polygons that are open at the end of a stripe, the part at hand, and one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.georeference import Georeference
from geoseg.vector.cut_sweep import Border, CutSweep, Row
from geoseg.vector.frames import Arrays, Frames, FrameWriter
from geoseg.vector.join_sweep import JoinSweep
from geoseg.vector.outlined import Outlined, cut, from_arrays, in_order, outlined, to_arrays, together
from geoseg.vector.polygons import Placement, PolygonBatch, Polygonizer
from geoseg.vector.sweep import BATCH, BATCH_EDGES


class StripePolygonizer(Polygonizer):
    """Takes the rows of a stripe from top to bottom, sieved if they have to be, and makes the part of it.

    Args:
        start: the first row of the stripe.
        settings: see `Polygonizer`; `min_area` is not among them.
    """

    def __init__(self, cols: int, georeference: Georeference, start: int, **settings: Any) -> None:
        super().__init__(cols, georeference, **settings)
        self._swept_rows = start
        self._cut_sweep = CutSweep(cols, self._sweep.noded, start)
        self._sweep = self._cut_sweep
        self._frames = FrameWriter()

    def take(self, band: NDArray[Any]) -> None:
        """Take the next rows, integers (rows, cols) with 0 for nodata."""
        for _ in self.push(band):
            pass

    def part(self, largest: int = 0) -> bytes:
        """Return the part of the stripe; no more rows may be pushed.

        largest: the largest confidence of the stripe, for `Joiner.largest`.
        """
        for _ in self._take():
            pass
        self._frames.add({**_border_arrays(self._cut_sweep.cut()), "largest": np.array([largest])})
        return self._frames.finish()

    def _take(self) -> Iterator[PolygonBatch]:
        closed = self._sweep.take()
        if len(closed):
            self._frames.add(to_arrays(outlined(closed, self._sweep, self.ground)))
        yield from ()


class Joiner:
    """Takes the parts of all stripes from top to bottom, and returns the polygons of the raster.

    Args:
        shape: size (rows, cols) of the raster.
        georeference, noded, wgs84, full: see `Polygonizer`; full is None without confidence.

    Attributes:
        row: number of rows whose parts were pushed.
        largest: the largest confidence in these.
    """

    def __init__(
        self, shape: tuple[int, int], georeference: Georeference, noded: bool = False, wgs84: bool = False,
        full: int | None = None,
    ) -> None:  # fmt: skip
        self._rows = shape[0]
        self.row = self.largest = 0
        self._placement, self._full = Placement(georeference, wgs84, shape), full
        self._sweep = JoinSweep(shape[1], noded)
        self._waiting: list[Outlined] = []

    def push(self, part: bytes) -> Iterator[PolygonBatch]:
        """Take the part of the next stripe; return the polygons completed, a batch at a time.

        The batches must be exhausted before the next part.

        Raises:
            ValueError: it is the part of another stripe.
        """
        frames = Frames(part)
        last = frames[len(frames) - 1]
        border = _border(last)
        if border.rows[0] != self.row:
            raise ValueError(f"a part that begins with row {border.rows[0]} cannot follow row {self.row}")
        self.row, self.largest = border.rows[1], max(self.largest, int(last["largest"][0]))
        return self._joined(frames, border)

    def _joined(self, frames: Frames, border: Border) -> Iterator[PolygonBatch]:
        self._sweep.begin(border.top)
        yield from self._batches(self._outlined(self._sweep.take()))
        closed, lasts = self._sweep.join(border)
        crossing = self._outlined(closed)
        done = 0
        for index in range(len(frames) - 1):
            polygons = from_arrays(frames[index])
            # What crosses the border above and ends at these lines; all that ends at one line stays together.
            stop = int(np.searchsorted(lasts, (polygons.rows[-1] + 1) << 32))
            if stop > done:
                polygons = in_order(together([polygons, cut(crossing, done, stop)]))
                done = stop
            yield from self._batches(polygons)
        yield from self._batches(cut(crossing, done, len(lasts)))

    def finish(self) -> Iterator[PolygonBatch]:
        """Yield the remaining polygons; no more parts may be pushed.

        Raises:
            ValueError: parts are missing.
        """
        if self.row != self._rows:
            raise ValueError(f"the parts end with row {self.row} of {self._rows}")
        self._sweep.finish()
        self._waiting.append(self._outlined(self._sweep.take()))
        yield from self._batch()

    def _batches(self, polygons: Outlined) -> Iterator[PolygonBatch]:
        """Add polygons, all that are closed at some lines; yield batches as they become due in a `Sweep`."""
        rows = polygons.rows
        # The number of polygons that are closed up to each line.
        ends = np.flatnonzero(np.diff(rows, append=self._rows)) + 1
        edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(polygons.edges)])
        start = 0
        while True:
            count = sum(len(piece.closed) for piece in self._waiting)
            kept = sum(int(piece.edges.sum()) for piece in self._waiting)
            many = np.searchsorted(ends, start + BATCH - count)
            long = np.searchsorted(edges[ends], edges[start] + BATCH_EDGES - kept)
            due = int(min(many, long))
            if due >= len(ends):
                break
            self._waiting.append(cut(polygons, start, int(ends[due])))
            start = int(ends[due])
            yield from self._batch()
        if start < len(rows):
            self._waiting.append(cut(polygons, start, len(rows)))

    def _outlined(self, closed: NDArray[np.int64]) -> Outlined:
        return outlined(closed, self._sweep, self._placement.ground)

    def _batch(self) -> Iterator[PolygonBatch]:
        polygons = together(self._waiting)
        self._waiting = []
        if len(polygons.closed):
            yield PolygonBatch(
                polygons.closed, polygons.rings, polygons.lengths, self._placement, self._full, polygons.perimeters
            )


_ROWS = ("top", "bottom")


def _border_arrays(border: Border) -> Arrays:
    rows = {
        f"{name} {field}": array
        for name, row in zip(_ROWS, (border.top, border.bottom), strict=True)
        for field, array in row._asdict().items()
    }
    others = {field: getattr(border, field) for field in Border._fields if field not in ("rows", *_ROWS)}
    return {"rows": np.array(border.rows), **rows, **others}


def _border(arrays: Arrays) -> Border:
    top, bottom = (
        Row(
            arrays[f"{name} lefts"].astype(np.int32), arrays[f"{name} values"].astype(np.int64),
            arrays[f"{name} components"].astype(np.int32),
        )
        for name in _ROWS
    )  # fmt: skip
    first, stop = arrays["rows"].tolist()
    components, lasts = (arrays[name].astype(np.int64) for name in ("components", "lasts"))
    chains, holes, edges = (arrays[name].astype(np.int32) for name in ("chains", "holes", "edges"))
    return Border((first, stop), top, bottom, components, lasts, chains, holes, edges)
