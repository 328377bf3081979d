"""The names of the files that a command writes, and checks that it may write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.config import PredictConfig
from geoseg.errors import OutputError
from geoseg.files.atomic import check_target, interrupted
from geoseg.files.record import RASTERS, record_path
from geoseg.location import Location, local
from geoseg.raster.cog import raster_sidecars
from geoseg.vector.writer import companions, vector_sidecars

VECTORS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}
"""Suffix -> GDAL driver of the vector formats for superpixels."""

POLYGONS = {
    **VECTORS, ".parquet": "Parquet", ".geojson": "GeoJSON", ".geojsonl": "GeoJSONSeq", ".geojsons": "GeoJSONSeq",
    ".shp": "ESRI Shapefile",
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


def run_directory(output: Path) -> Path:
    """Return the path of the run directory of an output. It exists while the output is unfinished."""
    return output.with_name(output.name + ".run")


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


def check_polygons(path: Path, overwrite: bool, inputs: Sequence[Location]) -> None:
    """Refuse an output for polygons of classes that cannot or must not be written, before any work is done.

    Args:
        path: The output.
        overwrite: Whether an existing output may be replaced. What an interrupted process wrote may always be.
        inputs: Files that must not be overwritten.

    Raises:
        OutputError: The suffix is not that of a vector file; see also `check_target`.
    """
    check_target(path, overwrite or interrupted(path), local(*inputs))
    if path.suffix.lower() not in POLYGONS:
        names = [path.with_suffix(suffix).name for suffix in POLYGONS]
        raise OutputError(f"{path}: name it {', '.join(names[:-1])} or {names[-1]}")


@dataclass(frozen=True)
class Outputs:
    """The files of one map. All others lie beside the class raster.

    Attributes:
        classes: Class raster.
        confidence: Raster of confidence, if it is wanted.
        polygons: Vector file of the regions, if it is wanted.
    """

    classes: Path
    confidence: Path | None
    polygons: Path | None = None

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
    def files(self) -> tuple[Path, ...]:
        """All files that the map may consist of, except the record and the STAC Item, which list them."""
        class_names = self.classes.with_name(self.classes.name + ".aux.xml")
        rasters = (self.classes, self.confidence, self.style, self.sld, self.legend, self.preview, class_names)
        vectors = () if self.polygons is None else polygon_files(self.polygons)
        return tuple(dict.fromkeys(path for path in (*rasters, *vectors) if path is not None))

    @property
    def stale(self) -> tuple[Path, ...]:
        """The files that describe an old map of these names, the record first; they must not survive it."""
        rasters = [path for path in (self.classes, self.confidence) if path is not None]
        return (
            self.record, self.item, self.sld, self.legend, self.preview,
            *(sidecar for path in rasters for sidecar in raster_sidecars(path)),
            *(stale_polygon_files(self.polygons) if self.polygons is not None else ()),
        )  # fmt: skip

    def relocated(self, new_path: Callable[[Path], Path]) -> Outputs:
        """Return the outputs with the paths that `new_path` gives for classes, confidence and polygons."""
        return Outputs(
            new_path(self.classes),
            self.confidence and new_path(self.confidence),
            self.polygons and new_path(self.polygons),
        )

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
        paths = [*rasters, *([self.polygons] if self.polygons else [])]
        overwrite = overwrite or interrupted(self.classes)
        for path in rasters:
            check_target(path, overwrite, local(*inputs))
            if path.suffix.lower() not in RASTERS:
                raise OutputError(f"{path}: the output is a GeoTIFF; name it {path.stem}.tif")
        if self.polygons is not None:
            check_polygons(self.polygons, overwrite, inputs)
        # Only now, because a link that leads back to itself has no other end.
        if len({path.resolve() for path in paths}) < len(paths):
            raise OutputError(f"{self.classes}: classes, confidence and polygons need different file names")


def outputs_of(config: PredictConfig) -> list[tuple[Location, Outputs]]:
    """Return each scene of `config` with its outputs: the given files, or files in the given folders.

    Raises:
        OutputError: There are several scenes but no folder, or two scenes have the same name.
    """
    if len(config.scenes) == 1 and not config.out.is_dir():
        return [(config.scenes[0], Outputs(config.out, config.confidence, config.polygons))]
    return _in_folder(config)


def _in_folder(config: PredictConfig) -> list[tuple[Location, Outputs]]:
    if not config.out.is_dir():
        raise OutputError(f"{config.out}: for several scenes, --out must be an existing folder")
    confidence, polygons = config.confidence, config.polygons
    for name, folder in (("--confidence", confidence), ("--polygons", polygons)):
        if folder is not None and not folder.is_dir():
            raise OutputError(f"{folder}: if --out is a folder, {name} must be one too")
    stems = [scene.stem for scene in config.scenes]
    duplicates = sorted({stem for stem in stems if stems.count(stem) > 1})
    if duplicates:
        raise OutputError(f"{config.out}: two scenes are called {duplicates[0]}; predict them into different folders")
    return [
        (
            scene,
            Outputs(
                config.out / f"{scene.stem}-classes.tif",
                confidence / f"{scene.stem}-confidence.tif" if confidence else None,
                polygons / f"{scene.stem}-polygons.gpkg" if polygons else None,
            ),
        )
        for scene in config.scenes
    ]
