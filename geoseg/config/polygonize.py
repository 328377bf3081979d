"""Settings of geoseg polygonize."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from geoseg.config.common import Opening
from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.recipes import check_choice
from geoseg.units import Area

_RESERVED_FIELDS = (
    "fid", "class", "area_m2", "area_px", "planar_m2", "perimeter_m", "perimeter_px", "perim_m", "perim_px",
    "confidence", "geometry", "geom", "ogc_fid", "color", "polygon", "mvt_id",
)  # fmt: skip
"""Names of the other columns, in any of the formats."""


PolygonFormat = Literal["gpkg", "fgb", "parquet", "geojson", "geojsonl", "geojsons", "shp", "pmtiles"]


@dataclass(frozen=True, kw_only=True)
class PolygonizeSettings(Opening):
    """How polygons are made, whatever the number of class rasters.

    Attributes:
        min_area: Smaller regions are merged into a neighbour.
        simplify: Tolerance of the simplification in units of the CRS; None keeps every vertex.
        classes: The classes to write: each text is a name or an id, or several with commas between them; None is all.
        field: Name of the column of class ids.
        sld: Also write the style as SLD.
        assume_crs: CRS of a raster that has none.
        overwrite: Replace an existing output.
        run: Run directory in which finished stripes of rows are kept until the output is published; with several
            rasters, the folder of these. None keeps none.
        keep_run: Keep the run directory.
        restart: Discard the finished stripes of an interrupted run.
    """

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


@dataclass(frozen=True)
class PolygonizeConfig(PolygonizeSettings):
    """Settings of the polygons of one class raster.

    Attributes:
        raster: Class raster: one band of integers. Its nodata is not a class.
        out: Vector file to write.
        confidence: Raster on the same pixels.
        areas: Table of the areas of classes to write.
    """

    raster: Location
    out: Path
    confidence: Location | None = None
    areas: Path | None = None


@dataclass(frozen=True)
class PolygonizeRastersConfig(PolygonizeSettings):
    """Settings of `geoseg polygonize`.

    Attributes:
        rasters: Class rasters, or folders, patterns and lists of them; a folder stands for the maps that geoseg wrote
            there.
        out: Vector file to write, or a folder: one that exists, or a name without a suffix.
        confidence: Raster on the same pixels, or the folder of those rasters.
        areas: Table of the areas of classes to write, or a folder.
        format: Format of the files in a folder.
        tree: As in `PredictConfig`.
        json: As in `PredictConfig`.
    """

    rasters: tuple[Location, ...]
    out: Path
    confidence: Location | None = None
    areas: Path | None = None
    format: PolygonFormat | None = None
    tree: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format is not None:
            check_choice("format", self.format, get_args(PolygonFormat))

    def of(
        self, raster: Location, out: Path, confidence: Location | None = None, areas: Path | None = None,
        run: Location | None = None,
    ) -> PolygonizeConfig:  # fmt: skip
        """Return the settings of one class raster."""
        shared = {entry.name: getattr(self, entry.name) for entry in fields(PolygonizeSettings)}
        return PolygonizeConfig(
            raster=raster, out=out, confidence=confidence, areas=areas, **{**shared, "run": run}
        )  # fmt: skip
