"""Which files a command writes, and whether it may."""

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
"""Suffixes of vector data, and GDAL's driver for each."""

POLYGONS = {
    **VECTORS, ".parquet": "Parquet", ".geojson": "GeoJSON", ".geojsonl": "GeoJSONSeq", ".geojsons": "GeoJSONSeq",
    ".shp": "ESRI Shapefile",
}  # fmt: skip
"""Suffixes of polygons of classes, and what writes each."""


def sld_of_polygons(path: Path) -> Path:
    """Return the path of the SLD of the polygons `path`: by its whole name, for that of a raster beside it has the
    stem."""
    return path.with_name(path.name + ".sld")


def polygon_files(path: Path) -> list[Path]:
    """Return every file of the polygons `path`, in whatever format: their own, their style and their SLD."""
    style = [path.with_suffix(".qml")] if POLYGONS[path.suffix.lower()] != "GPKG" else []
    return [*companions(path), *style, sld_of_polygons(path)]


def stale_polygons(path: Path) -> list[Path]:
    """Return what tells of old polygons at `path`."""
    return [*vector_sidecars(path), sld_of_polygons(path)]


def run_beside(path: Path) -> Path:
    """Return the run directory of the output `path`, there while the work is unfinished."""
    return path.with_name(path.name + ".run")


def check_segments(path: Path, overwrite: bool, inputs: Sequence[Location]) -> None:
    """Refuse, before any work, an output of superpixels that cannot or must not be written.

    Raises:
        OutputError: named as neither a raster nor vector data, or see `check_target`.
    """
    suffixes = (RASTERS[0], *VECTORS)
    if path.suffix.lower() not in (*RASTERS, *VECTORS):
        names = [path.with_suffix(suffix).name for suffix in suffixes]
        raise OutputError(f"{path}: name it {names[0]} for a raster of ids, {' or '.join(names[1:])} for polygons")
    check_target(path, overwrite or interrupted(path), local(*inputs))


def check_polygons(path: Path, overwrite: bool, inputs: Sequence[Location]) -> None:
    """Refuse, before any work, a file of polygons that cannot or must not be written.

    Raises:
        OutputError: not named as vector data, or see `check_target`.
    """
    if path.suffix.lower() not in POLYGONS:
        names = [path.with_suffix(suffix).name for suffix in POLYGONS]
        raise OutputError(f"{path}: name it {', '.join(names[:-1])} or {names[-1]}")
    check_target(path, overwrite or interrupted(path), local(*inputs))


@dataclass(frozen=True)
class Outputs:
    """The files of one map: class raster, its style, preview and record beside it; confidence and polygons where asked
    for."""

    classes: Path
    confidence: Path | None
    polygons: Path | None = None

    @property
    def style(self) -> Path:
        """QGIS style, loaded with the raster."""
        return self.classes.with_suffix(".qml")

    @property
    def preview(self) -> Path:
        """A small picture with a legend."""
        return self.classes.with_suffix(".preview.png")

    @property
    def sld(self) -> Path:
        """Style for everything but QGIS, where asked for."""
        return self.classes.with_suffix(".sld")

    @property
    def legend(self) -> Path:
        """A picture of the classes' colours and names, where asked for."""
        return self.classes.with_suffix(".legend.png")

    @property
    def item(self) -> Path:
        """STAC Item, where asked for."""
        return self.classes.with_suffix(".stac.json")

    @property
    def record(self) -> Path:
        """JSON: provenance and the SHA-256 of every file; present only when all of them are complete."""
        return record_path(self.classes)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that may be there, but for the record and the STAC Item, which tell of these."""
        names = self.classes.with_name(self.classes.name + ".aux.xml")
        every = (self.classes, self.confidence, self.style, self.sld, self.legend, self.preview, names)
        vectors = () if self.polygons is None else polygon_files(self.polygons)
        return tuple(dict.fromkeys(path for path in (*every, *vectors) if path is not None))

    @property
    def stale(self) -> tuple[Path, ...]:
        """What tells of an old map of these names, the record first."""
        rasters = [path for path in (self.classes, self.confidence) if path is not None]
        return (
            self.record, self.item, self.sld, self.legend, self.preview,
            *(beside for path in rasters for beside in raster_sidecars(path)),
            *(stale_polygons(self.polygons) if self.polygons is not None else ()),
        )  # fmt: skip

    def moved(self, move: Callable[[Path], Path]) -> Outputs:
        """Return the same files at other places."""
        return Outputs(
            move(self.classes), self.confidence and move(self.confidence), self.polygons and move(self.polygons)
        )

    @property
    def run(self) -> Path:
        """The run directory, there while the work is unfinished."""
        return run_beside(self.classes)

    def check(self, overwrite: bool, inputs: Sequence[Location]) -> None:
        """Refuse, before any work, outputs that cannot or must not be written.

        Where a run was interrupted while it published, what it had written may be replaced.

        Raises:
            OutputError: not named .tif, the same file twice, or see `check_target`.
        """
        files = [path for path in (self.classes, self.confidence) if path is not None]
        every = [*files, *([self.polygons] if self.polygons else [])]
        if len({path.resolve() for path in every}) < len(every):
            raise OutputError(
                f"{self.classes}: classes, confidence and polygons are files of their own; name them differently"
            )
        publishing = interrupted(self.classes)
        for path in files:
            check_target(path, overwrite or publishing, local(*inputs))
            if path.suffix.lower() not in RASTERS:
                raise OutputError(f"{path}: what is written is a GeoTIFF; name it {path.stem}.tif")
        if self.polygons is not None:
            check_polygons(self.polygons, overwrite or publishing, inputs)


def outputs_of(config: PredictConfig) -> list[tuple[Location, Outputs]]:
    """Pair every scene of `config` with its outputs: the one file, or files in the folder `config.out`.

    Raises:
        OutputError: Several scenes and no folder, or two scenes of one name.
    """
    if len(config.scenes) == 1 and not config.out.is_dir():
        return [(config.scenes[0], Outputs(config.out, config.confidence, config.polygons))]
    return _in_folder(config)


def _in_folder(config: PredictConfig) -> list[tuple[Location, Outputs]]:
    if not config.out.is_dir():
        raise OutputError(f"{config.out}: for several scenes, --out is a folder that exists")
    folder, vectors = config.confidence, config.polygons
    for name, other in (("--confidence", folder), ("--polygons", vectors)):
        if other is not None and not other.is_dir():
            raise OutputError(f"{other}: where --out is a folder, {name} is one too")
    stems = [scene.stem for scene in config.scenes]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise OutputError(f"{config.out}: two scenes are called {doubled[0]}; predict them into different folders")
    return [
        (
            scene,
            Outputs(
                config.out / f"{scene.stem}-classes.tif",
                folder / f"{scene.stem}-confidence.tif" if folder else None,
                vectors / f"{scene.stem}-polygons.gpkg" if vectors else None,
            ),
        )
        for scene in config.scenes
    ]
