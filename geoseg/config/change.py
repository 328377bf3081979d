"""Settings of geoseg change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.config.common import Opening
from geoseg.location import Location
from geoseg.units import Area


@dataclass(frozen=True)
class ChangeConfig(Opening):
    """Settings of `geoseg change`.

    Attributes:
        old: Class raster of the earlier date.
        new: Class raster of the later date, of the same classes and on the same lattice of pixels.
        out: Raster of transitions to write.
        polygons: Vector file of the regions that changed to write.
        min_area: Smaller regions of one transition, or of no change, are merged into a neighbour.
        snap: Compare the nearest pixels where those of both maps are of one size, but shifted by part of a pixel.
        sld: Also write the style as SLD.
        assume_crs: CRS of rasters that have none.
        overwrite: Replace existing outputs.
        json: Print what changed as JSON.
    """

    old: Location
    new: Location
    out: Path
    polygons: Path | None = None
    min_area: Area | None = None
    snap: bool = False
    sld: bool = False
    assume_crs: str | None = None
    overwrite: bool = False
    json: bool = False
