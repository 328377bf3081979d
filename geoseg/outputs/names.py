"""The names of the files that a command writes, and checks that it may write them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.files.atomic import interrupted
from geoseg.files.record import RASTERS, record_path
from geoseg.files.targets import check_target
from geoseg.location import Location, local
from geoseg.raster.sidecars import raster_sidecars
from geoseg.vector.writer import companions, vector_sidecars

VECTORS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}
"""Suffix -> GDAL driver of the vector formats for superpixels."""

POLYGONS = {
    **VECTORS, ".parquet": "Parquet", ".geojson": "GeoJSON", ".geojsonl": "GeoJSONSeq", ".geojsons": "GeoJSONSeq",
    ".shp": "ESRI Shapefile", ".pmtiles": "PMTiles",
}  # fmt: skip
"""Suffix -> GDAL driver of the vector formats for the polygons of classes."""


def polygon_sld(path: Path) -> Path:
    """Return the path of the SLD of the vector file `path`.

    It has the full name of the file, because the SLD of a raster with the same stem lies in the same folder.
    """
    return path.with_name(path.name + ".sld")


def polygon_files(path: Path) -> list[Path]:
    """Return all files that the polygons `path` may consist of: their own, their style and their SLD."""
    style = [path.with_suffix(".qml")] if POLYGONS[path.suffix.lower()] != "GPKG" else []
    return [*companions(path), *style, polygon_sld(path)]


def stale_polygon_files(path: Path) -> list[Path]:
    """Return the files that describe old polygons at `path`; they must not survive the polygons."""
    return [*vector_sidecars(path), polygon_sld(path)]


RUN = ".run"
"""Suffix of a run directory."""


def run_directory(output: Path) -> Path:
    """Return the path of the run directory of an output. It exists while the output is unfinished."""
    return output.with_name(output.name + RUN)


def check_segments(path: Path, overwrite: bool, inputs: Sequence[Location]) -> None:
    """Refuse an output for superpixels that cannot or must not be written, before any work is done.

    Args:
        path: The output.
        overwrite: Whether an existing output may be replaced. What an interrupted process wrote may always be.
        inputs: Files that must not be overwritten.

    Raises:
        OutputError: The suffix is not that of a raster or vector file; see also `check_target`.
    """
    check_target(path, overwrite or interrupted(path), local(*inputs))
    suffixes = (RASTERS[0], *VECTORS)
    if path.suffix.lower() not in (*RASTERS, *VECTORS):
        names = [path.with_suffix(suffix).name for suffix in suffixes]
        raise OutputError(f"{path}: name it {names[0]} for a raster of ids, {' or '.join(names[1:])} for polygons")


def check_polygons(path: Path, overwrite: bool, inputs: Sequence[Location], new_folders: Sequence[Path] = ()) -> None:
    """Refuse an output for polygons of classes that cannot or must not be written, before any work is done.

    Args:
        path: The output.
        overwrite: Whether an existing output may be replaced. What an interrupted process wrote may always be.
        inputs: Files that must not be overwritten.
        new_folders: Folders that will be made if they are missing.

    Raises:
        OutputError: The suffix is not that of a vector file; see also `check_target`.
    """
    check_target(path, overwrite or interrupted(path), local(*inputs), new_folders)
    if path.suffix.lower() not in POLYGONS:
        names = [path.with_suffix(suffix).name for suffix in POLYGONS]
        raise OutputError(f"{path}: name it {', '.join(names[:-1])} or {names[-1]}")


def check_areas(path: Path, overwrite: bool, inputs: Sequence[Location], new_folders: Sequence[Path] = ()) -> None:
    """Refuse a table of areas that cannot or must not be written; see `check_polygons` for the arguments.

    Raises:
        OutputError: It is not named .csv; see also `check_target`.
    """
    check_target(path, overwrite, local(*inputs), new_folders)
    if path.suffix.lower() != ".csv":
        raise OutputError(f"{path}: the table of areas is CSV; name it {path.stem}.csv")


@dataclass(frozen=True)
class Outputs:
    """The files of one map. All others lie beside the class raster.

    Attributes:
        classes: Class raster.
        confidence: Raster of confidence, if it is wanted.
        polygons: Vector file of the regions, if it is wanted.
        new_folders: Folders that are made if they are missing, in this order.
        areas: Table of the areas of classes, if it is wanted.
    """

    classes: Path
    confidence: Path | None
    polygons: Path | None = None
    new_folders: tuple[Path, ...] = ()
    areas: Path | None = None

    @property
    def confidence_style(self) -> Path | None:
        """QGIS style of the confidence, if there is one."""
        return self.confidence and self.confidence.with_suffix(".qml")

    @property
    def style(self) -> Path:
        """QGIS style, which QGIS loads with the raster."""
        return self.classes.with_suffix(".qml")

    @property
    def preview(self) -> Path:
        """A small picture with a legend."""
        return self.classes.with_suffix(".preview.png")

    @property
    def sld(self) -> Path:
        """Style for GeoServer and others; optional."""
        return self.classes.with_suffix(".sld")

    @property
    def legend(self) -> Path:
        """A picture of the classes' colours and names; optional."""
        return self.classes.with_suffix(".legend.png")

    @property
    def item(self) -> Path:
        """STAC Item; optional."""
        return self.classes.with_suffix(".stac.json")

    @property
    def record(self) -> Path:
        """Record: provenance and the SHA-256 of every file; written when all of them are complete."""
        return record_path(self.classes)

    @property
    def main(self) -> tuple[Path, ...]:
        """The outputs that have names of their own."""
        return tuple(path for path in (self.classes, self.confidence, self.polygons, self.areas) if path is not None)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the map may consist of, except the record and the STAC Item, which list them."""
        class_names = self.classes.with_name(self.classes.name + ".aux.xml")
        rasters = (self.classes, self.confidence, self.style, self.sld, self.legend, self.preview, class_names)
        more = (self.confidence_style, self.areas)
        vectors = () if self.polygons is None else polygon_files(self.polygons)
        return tuple(dict.fromkeys(path for path in (*rasters, *vectors, *more) if path is not None))

    def planned(self, sld: bool, legend: bool, item: bool) -> list[Path]:
        """Return the files that a map will consist of, the record last.

        Args:
            sld: Whether the style is written as SLD too.
            legend: Whether a picture of the legend is written.
            item: Whether a STAC Item is written.
        """
        left_out = {*([] if sld else [self.sld]), *([] if legend else [self.legend])}
        files = list(self.files)
        if self.polygons is not None:
            left_out |= set() if sld else {polygon_sld(self.polygons)}
            if self.polygons.suffix.lower() == ".shp":
                files += [self.polygons.with_suffix(suffix) for suffix in (".shx", ".dbf", ".prj", ".cpg")]
        named = [path for path in dict.fromkeys(files) if path not in left_out]
        return [*named, *([self.item] if item else []), self.record]

    @property
    def stale(self) -> tuple[Path, ...]:
        """The files that describe an old map of these names, the record first; they must not survive it."""
        rasters = [path for path in (self.classes, self.confidence) if path is not None]
        return (
            self.record, self.item, self.sld, self.legend, self.preview,
            *(sidecar for path in rasters for sidecar in raster_sidecars(path)),
            *(stale_polygon_files(self.polygons) if self.polygons is not None else ()),
            *([self.areas] if self.areas is not None else ()),
        )  # fmt: skip

    def relocated(self, new_path: Callable[[Path], Path]) -> Outputs:
        """Return the outputs with the paths that `new_path` gives for those that have names of their own."""
        return Outputs(
            new_path(self.classes),
            self.confidence and new_path(self.confidence),
            self.polygons and new_path(self.polygons),
            self.new_folders,
            self.areas and new_path(self.areas),
        )

    def make_folders(self) -> None:
        """Make the folders that are missing.

        Raises:
            OutputError: One cannot be made.
        """
        for folder in self.new_folders:
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder}: the folder cannot be made ({error.strerror})") from error

    @property
    def run(self) -> Path:
        """The run directory; it exists while the map is unfinished."""
        return run_directory(self.classes)

    def check(self, overwrite: bool, inputs: Sequence[Location]) -> None:
        """Refuse outputs that cannot or must not be written, before any work is done.

        Args:
            overwrite: Whether existing outputs may be replaced. What an interrupted process wrote may always be.
            inputs: Files that must not be overwritten.

        Raises:
            OutputError: A raster is not named .tif, or two outputs are the same file; see also `check_target`.
        """
        rasters = [path for path in (self.classes, self.confidence) if path is not None]
        paths = self.main
        overwrite = overwrite or interrupted(self.classes)
        for path in rasters:
            check_target(path, overwrite, local(*inputs), self.new_folders)
            if path.suffix.lower() not in RASTERS:
                raise OutputError(
                    f"{path}: the output is a GeoTIFF; name it {path.stem}.tif, or name a folder, without a suffix"
                )
        if self.polygons is not None:
            check_polygons(self.polygons, overwrite, inputs, self.new_folders)
        if self.areas is not None:
            check_areas(self.areas, overwrite, inputs, self.new_folders)
        # Only now, because a link that leads back to itself has no other end.
        if len({path.resolve() for path in paths}) < len(paths):
            raise OutputError(f"{self.classes}: classes, confidence, polygons and areas need different file names")


def is_folder(path: Path) -> bool:
    """Return whether an output is a folder: it is one, or nothing is there and the name has no suffix."""
    return path.is_dir() or not (path.suffix or os.path.lexists(path))
