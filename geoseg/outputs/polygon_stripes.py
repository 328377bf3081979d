"""The polygons of a class raster in stripes: which there are, what each is computed as, and how they are joined."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Span
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.ground import Ground
from geoseg.raster.sieve_stripes import StripeSieve
from geoseg.units import Area
from geoseg.vector.polygons import PolygonBatch
from geoseg.vector.stripes import Joiner, StripePolygonizer

STRIPE_PIXELS = 1 << 24
"""Pixels of a stripe, unless the rows that are read at once have more."""

Source = Generator[tuple[Span, Iterator[PolygonBatch]]]
"""Rows of the raster, and the polygons that are complete with them."""


def stripes(raster: ClassRaster, pixels: int = STRIPE_PIXELS) -> list[Block]:
    """Return the stripes of a raster, from top to bottom: full rows, of whole blocks of the file where it has blocks.

    Args:
        raster: The raster.
        pixels: About how many pixels a stripe should have; at least the rows that are read at once.
    """
    rows, cols = raster.scene.shape
    unit = len(next(iter(raster.spans)))
    height = max(1, pixels // (cols * unit)) * unit
    return [
        Block(index, raster.window(Span(start, min(start + height, rows))))
        for index, start in enumerate(range(0, rows, height))
    ]


@dataclass(frozen=True, eq=False)
class StripedPolygons:
    """Polygons in stripes. The part of a stripe depends on the raster, these settings and the stripe alone.

    Attributes:
        raster: The class raster.
        min_area: Smaller regions are merged into a neighbour.
        values: The values to polygonize, int64 (n,); None for all but 0.
        confidence: Raster whose mean is known for each polygon.
        noded: See `Polygonizer`.
        wgs84: See `Polygonizer`.
    """

    raster: ClassRaster
    min_area: Area | None
    values: NDArray[np.int64] | None
    confidence: Confidence | None
    noded: bool
    wgs84: bool

    def part(self, rows: Span) -> bytes:
        """Return the part of a stripe.

        Raises:
            InputError: A block of the raster or of the confidence cannot be read.
        """
        scene, largest = self.raster.scene, 0

        def confidence(span: Span) -> NDArray[Any]:
            nonlocal largest
            assert self.confidence is not None
            read = self.confidence.read(span)
            largest = max(largest, int(read.max(initial=0)))
            return read

        work = StripePolygonizer(
            scene.shape[1], scene.georeference, rows.start, rows=scene.shape[0], values=self.values,
            confidence=None if self.confidence is None else confidence, noded=self.noded, wgs84=self.wgs84,
        )  # fmt: skip
        for band in self._bands(rows):
            work.take(band)
        return work.part(largest)

    def joined(self, parts: Iterable[bytes]) -> Source:
        """Yield the polygons of all stripes, as one sweep over the raster returns them.

        Args:
            parts: Those of all stripes, from top to bottom; one at a time is in memory.

        Raises:
            ValueError: A part is missing or in the wrong place.
        """
        scene, confidence = self.raster.scene, self.confidence
        full = None if confidence is None else confidence.max_value
        joiner, start = Joiner(scene.shape, scene.georeference, self.noded, self.wgs84, full), 0
        for part in parts:
            batches = joiner.push(part)
            yield Span(start, joiner.row), batches
            start = joiner.row
        if confidence is not None:
            confidence.largest = max(confidence.largest, joiner.largest)
        yield Span(start, start), joiner.finish()

    def _bands(self, rows: Span) -> Iterator[NDArray[Any]]:
        """Yield the values of the rows from top to bottom, sieved if they have to be."""
        if self.min_area is not None:
            scene = self.raster.scene
            ground = Ground(scene.georeference, scene.shape)
            yield StripeSieve(self.raster.read, ground, scene.shape, self.min_area).read(rows)
            return
        height = len(next(iter(self.raster.spans)))
        for start in range(rows.start, rows.stop, height):
            yield self.raster.read(Span(start, min(start + height, rows.stop)))
