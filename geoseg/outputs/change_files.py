"""The names of the files of `geoseg change`, and checks that it may write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.files.atomic import interrupted
from geoseg.files.record import RASTERS, record_path
from geoseg.files.targets import check_target
from geoseg.location import Location, local
from geoseg.outputs.names import check_polygons, polygon_files, stale_polygon_files
from geoseg.raster.sidecars import raster_sidecars


@dataclass(frozen=True)
class ChangeFiles:
    """The files of one comparison. All others lie beside the raster of transitions.

    Attributes:
        raster: Raster of transitions.
        polygons: Vector file of what changed, if it is wanted.
    """

    raster: Path
    polygons: Path | None = None

    @property
    def style(self) -> Path:
        """QGIS style, which QGIS loads with the raster."""
        return self.raster.with_suffix(".qml")

    @property
    def sld(self) -> Path:
        """Style for GeoServer and others; optional."""
        return self.raster.with_suffix(".sld")

    @property
    def matrix(self) -> Path:
        """Table of areas: old classes in rows, new ones in columns."""
        return self.raster.with_suffix(".matrix.csv")

    @property
    def areas(self) -> Path:
        """Table of areas: a row for each transition."""
        return self.raster.with_suffix(".areas.csv")

    @property
    def record(self) -> Path:
        """Record: provenance and the SHA-256 of every file; written when all of them are complete."""
        return record_path(self.raster)

    @property
    def main(self) -> tuple[Path, ...]:
        """The outputs that have names of their own."""
        return (self.raster, *([self.polygons] if self.polygons else []))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that there may be, except the record."""
        names = self.raster.with_name(self.raster.name + ".aux.xml")
        vectors = () if self.polygons is None else polygon_files(self.polygons)
        files = (self.raster, names, self.style, self.sld, self.matrix, self.areas, *vectors)
        return tuple(dict.fromkeys(files))

    @property
    def stale(self) -> tuple[Path, ...]:
        """The files that describe an old comparison of these names, the record first; they must not survive it."""
        vectors = () if self.polygons is None else stale_polygon_files(self.polygons)
        return (self.record, self.sld, self.matrix, self.areas, *raster_sidecars(self.raster), *vectors)

    def relocated(self, new_path: Callable[[Path], Path]) -> ChangeFiles:
        """Return the files with the paths that `new_path` gives for raster and polygons."""
        return ChangeFiles(new_path(self.raster), self.polygons and new_path(self.polygons))

    def check(self, overwrite: bool, inputs: Sequence[Location]) -> None:
        """Refuse outputs that cannot or must not be written, before any work is done.

        Args:
            overwrite: Whether existing outputs may be replaced. What an interrupted process wrote may always be.
            inputs: Files that must not be overwritten.

        Raises:
            OutputError: The raster is not named .tif; see also `check_target` and `check_polygons`.
        """
        overwrite = overwrite or interrupted(self.raster)
        check_target(self.raster, overwrite, local(*inputs))
        if self.raster.suffix.lower() not in RASTERS:
            raise OutputError(f"{self.raster}: the output is a GeoTIFF; name it {self.raster.stem}.tif")
        if self.polygons is not None:
            check_polygons(self.polygons, overwrite, inputs)
