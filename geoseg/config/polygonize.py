"""Settings of geoseg polygonize."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from geoseg.config.common import Opening
from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.units import Area

_RESERVED_FIELDS = (
    "fid", "class", "area_m2", "area_px", "planar_m2", "perimeter_m", "perimeter_px", "perim_m", "perim_px",
    "confidence", "geometry", "geom", "ogc_fid",
)  # fmt: skip
"""Names of the other columns, in any of the formats."""


@dataclass(frozen=True)
class PolygonizeConfig(Opening):
    """Settings of `geoseg polygonize`.

    Attributes:
        raster: Class raster: one band of integers. Its nodata is not a class.
        out: Vector file to write.
        confidence: Raster on the same pixels.
        areas: Table of the areas of classes to write.
        min_area: Smaller regions are merged into a neighbour.
        simplify: Tolerance of the simplification in units of the CRS; None keeps every vertex.
        classes: The classes to write: each text is a name or an id, or several with commas between them; None is all.
        field: Name of the column of class ids.
        sld: Also write the style as SLD.
        assume_crs: CRS of a raster that has none.
        overwrite: Replace an existing output.
        run: Run directory in which finished stripes of rows are kept until the output is published; None keeps none.
        keep_run: Keep the run directory.
        restart: Discard the finished stripes of an interrupted run.
    """

    raster: Location
    out: Path
    confidence: Location | None = None
    areas: Path | None = None
    min_area: Area | None = None
    simplify: float | None = None
    classes: tuple[str, ...] | None = None
    field: str = "class_id"
    sld: bool = False
    assume_crs: str | None = None
    overwrite: bool = False
    run: Location | None = None
    keep_run: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.simplify is not None and not 0 < self.simplify < math.inf:
            raise SettingError(f"simplify is {self.simplify}; it must be a finite number greater than 0")
        if self.classes is not None and not any(text.strip(" ,") for text in self.classes):
            raise SettingError("classes is empty; name at least one class, or omit --classes to write all")
        if not re.fullmatch(r"[^\W\d]\w*", self.field):
            raise SettingError(f"field is {self.field!r}; it must be a name of letters, digits and _")
        if self.field.lower() in _RESERVED_FIELDS:
            raise SettingError(f"field is {self.field!r}; another column has that name: choose another")
