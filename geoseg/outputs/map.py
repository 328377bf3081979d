"""Make the files of a map from the parts of its run: rasters, styles, preview, polygons, STAC Item and record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.features import Feature
from geoseg.classes import ClassMap, LandClass
from geoseg.errors import GeosegError, InputError
from geoseg.files.atomic import Staging, publish_bytes, sha256
from geoseg.files.permissions import Permissions
from geoseg.files.record import Record, provenance_tags, read_intact, versions, warn_of_left, write_record
from geoseg.grid import Block, Window
from geoseg.location import Location
from geoseg.outputs.area_tables import area_table, feature_areas
from geoseg.outputs.footprint import footprint
from geoseg.outputs.names import Outputs
from geoseg.outputs.pictures import add_legend, colourise, draw_legend, save_png
from geoseg.outputs.polygons import ClassLayer
from geoseg.outputs.stac import COG, Asset, class_band, confidence_band, processing, stac_item
from geoseg.outputs.styles import confidence_qml, file_qml, raster_sld
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.cog import read_small
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference
from geoseg.raster.mosaic import Parts, RasterSpec
from geoseg.raster.scene import Scene
from geoseg.raster.sieve import Surroundings, sieve_parts
from geoseg.runs.run import Run
from geoseg.units import Area, Period

log = logging.getLogger(__name__)

_PREVIEW_PIXELS = 1200


class MapSettings(Protocol):
    """What is wanted of a map.

    Attributes:
        min_area: Smaller regions are merged into a neighbour.
        sld: Write the styles as SLD too.
        legend: Write a picture of the legend.
        keep_run: Keep the run directory.
    """

    @property
    def min_area(self) -> Area | None: ...

    @property
    def sld(self) -> bool: ...

    @property
    def legend(self) -> bool: ...

    @property
    def keep_run(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class MapFiles:
    """Writes the files of a map.

    Attributes:
        config: The settings.
        name: Name of the scene that the map is of.
        scene: The scene, or another raster on its pixels.
        extent: The part of the scene that is written.
        classes: The classes of the map.
        provenance: Provenance for the rasters and the record.
        taken: Acquisition time for the STAC Item; None if no Item is wanted.
        blocks: All blocks of the run.
        written: Number of blocks that make up the extent; those that follow lie around it.
        around: The extent with what lies around it.
        features: Features of the area of interest, on the pixels of the scene, for the table of areas.
        release: Closes what the files replace, before they are put in place: Windows replaces no open file.
    """

    config: MapSettings
    name: str
    scene: Scene
    extent: Window
    classes: ClassMap
    provenance: Mapping[str, Any]
    taken: Period | None
    blocks: Sequence[Block]
    written: int
    around: Window
    features: Sequence[Feature] = ()
    release: Callable[[], None] | None = None

    def publish(self, run: Run, outputs: Outputs) -> tuple[LandClass, ...]:
        """Write all files, put them in place together, and discard the run unless `keep_run` is set.

        Returns:
            The classes that occur in the map, which are those of the styles and legends.

        Raises:
            WriteError: The file system failed. The run is kept, and old files stay intact until the new ones are
                complete.
        """
        old = read_intact(outputs.record)
        with Staging(outputs.classes) as staging:
            used = self._write(run, outputs.relocated(staging.path))
            if self.release is not None:
                self.release()
            staging.commit(outputs.stale)
            new = self._write_record(outputs, staging)
            if not self.config.keep_run:
                run.discard()
        warn_of_left(outputs.classes, old, new)
        return used

    def _write(self, run: Run, outputs: Outputs) -> tuple[LandClass, ...]:
        """Write all files except the record and the STAC Item, which list the others; return the classes that occur."""
        classes, tags = self.classes, provenance_tags(self.provenance)
        georeference = self.scene.georeference.shifted(self.extent)
        layers: list[tuple[str, Path, str, ClassMap | None]] = [("classes", outputs.classes, classes.dtype, classes)]
        if outputs.confidence is not None:
            layers.append(("confidence", outputs.confidence, "uint8", None))
        ids: tuple[int, ...] = ()
        for layer, path, dtype, class_map in layers:
            spec = RasterSpec(self.extent, georeference, dtype, layer, tags, self.scene.area_or_point, class_map)
            parts: Parts = run.parts(layer, self.blocks[: self.written])
            if class_map is not None and self.config.min_area is not None:
                parts = self._sieved(run, spec, self.config.min_area)
            ids += write_cog(path, spec, parts)
        used = tuple(classes[value] for value in ids)
        write_styles(outputs, used, self.config.sld, self.config.legend)
        save_png(_preview(outputs.classes, classes, used), outputs.preview)
        if outputs.confidence_style is not None:
            publish_bytes(outputs.confidence_style, confidence_qml())
        if outputs.areas is not None:
            self._write_areas(outputs.classes, outputs.areas, used)
        if outputs.polygons is not None:
            self._write_polygons(outputs, outputs.polygons)
        return used

    def _write_areas(self, classes: Path, path: Path, used: Sequence[LandClass]) -> None:
        """Write the table of areas of the class raster `classes`."""
        origin = self.extent.rows.start, self.extent.cols.start
        with ClassRaster(classes, known=self.classes) as raster:
            whole, features = feature_areas(raster, self.features, origin)
        publish_bytes(path, area_table(whole, used, features))

    def _sieved(self, run: Run, spec: RasterSpec, min_area: Area) -> list[tuple[Block, Path]]:
        """The parts of the class raster after the sieve, which also sees what lies around the extent."""
        scene = self.scene
        wide = replace(spec, extent=self.around, georeference=scene.georeference.shifted(self.around))
        surroundings = Surroundings(self.extent, scene.extent, scene.georeference)
        parts, doubtful = sieve_parts(
            run.store.scratch, wide, run.parts("classes", self.blocks), min_area, surroundings
        )
        if doubtful:
            log.warning(
                "%s: %d of %d pixels may have another class than in a map of the whole scene, because what --min-area "
                "makes of them depends on regions far outside of --bounds",
                self.name, doubtful, self.extent.pixels,
            )  # fmt: skip
        return parts

    def _write_record(self, outputs: Outputs, staging: Staging) -> Record:
        """Write the STAC Item, if it is wanted, and then the record of all files; return the record."""
        classes, provenance = self.classes, self.provenance
        hashes = {path: sha256(path) for path in outputs.files if path.exists()}
        if self.taken is not None:
            permissions = staging.permissions(outputs.item)
            georeference = self.scene.georeference.shifted(self.extent)
            write_item(
                outputs, self.name, georeference, self.extent.shape, self.scene.area_or_point, self.taken, classes,
                hashes, provenance, permissions,
            )  # fmt: skip
            hashes[outputs.item] = sha256(outputs.item)
        permissions = staging.permissions(outputs.record)
        return write_record(outputs.record, {**provenance, "classes": classes.to_json()}, hashes, permissions)

    def _write_polygons(self, outputs: Outputs, path: Path) -> None:
        """Write the polygons of the class raster in `outputs`."""
        with ExitStack() as stack:
            raster = stack.enter_context(ClassRaster(outputs.classes, known=self.classes))
            confidence = None
            if outputs.confidence is not None:
                confidence = stack.enter_context(Confidence(outputs.confidence, raster.scene))
            layer = ClassLayer(path, raster, confidence=confidence)
            for _ in layer.write():
                pass
        layer.write_style(replace=path.with_suffix(".qml") != outputs.style, sld=self.config.sld)


def _preview(path: Path, classes: ClassMap, used: Sequence[LandClass]) -> NDArray[np.uint8]:
    small = read_small(path, _PREVIEW_PIXELS)
    counts = np.bincount(small.ravel(), minlength=classes.highest + 1)
    shares = counts / max(1, counts[1:].sum())
    return add_legend(colourise(small, classes), used, [float(shares[entry.id]) for entry in used])


_ASSET_KINDS = {
    ".qml": ("application/xml", ("metadata", "style")),
    ".sld": ("application/vnd.ogc.sld+xml", ("metadata", "style")),
    ".legend.png": ("image/png", ("metadata", "legend")),
    ".preview.png": ("image/png", ("overview",)),
    ".aux.xml": ("application/xml", ("metadata",)),
    ".csv": ("text/csv", ("metadata",)),
    ".gpkg": ("application/geopackage+sqlite3", ("data",)),
    ".fgb": ("application/vnd.flatgeobuf", ("data",)),
    ".parquet": ("application/vnd.apache.parquet", ("data",)),
    ".pmtiles": ("application/vnd.pmtiles", ("data",)),
    ".shp": ("application/vnd.shp", ("data",)),
    ".shx": ("application/vnd.shx", ("data",)),
    ".dbf": ("application/vnd.dbf", ("data",)),
    ".geojson": ("application/geo+json", ("data",)),
    ".geojsonl": ("application/geo+json-seq", ("data",)),
    ".geojsons": ("application/geo+json-seq", ("data",)),
}
"""End of the file name -> media type and roles of the assets in a STAC Item, except classes and confidence."""


def write_styles(outputs: Outputs, classes: Sequence[LandClass], sld: bool, legend: bool) -> None:
    """Write the QGIS style and, if they are wanted, the SLD and a picture of the legend, of `classes` alone.

    Raises:
        WriteError: The file system failed.
    """
    publish_bytes(outputs.style, file_qml(classes))
    if sld:
        publish_bytes(outputs.sld, raster_sld(classes, outputs.classes.stem))
    if legend:
        save_png(draw_legend(classes), outputs.legend)


def check_item(path: Location, scene: Scene, extent: Window, given: Period | None) -> Period:
    """Check that a STAC Item can be written, and return the acquisition time for it.

    Args:
        path: The scene's path, for messages.
        scene: The scene.
        extent: The part of the scene that is written.
        given: The acquisition time; None reads it from the scene.

    Raises:
        InputError: There is no time or no CRS, or the extent has no footprint on the globe.
    """
    taken = given or scene.taken
    if taken is None:
        raise InputError(
            f"{path}: has no acquisition time, which a STAC Item needs; give --datetime, for instance 2020-07-14"
        )
    if scene.georeference.wkt is None:
        raise InputError(f"{path}: has no CRS, which a STAC Item needs; give --assume-crs, or omit --stac")
    try:
        footprint(scene.georeference, extent)
    except GeosegError as error:
        raise InputError(f"{path}: {error}; omit --stac") from error
    return taken


def write_item(
    outputs: Outputs, name: str, georeference: Georeference, shape: tuple[int, int], sampling: str, taken: Period,
    classes: ClassMap, hashes: Mapping[Path, str], provenance: Mapping[str, Any],
    permissions: Permissions | None = None,
) -> None:  # fmt: skip
    """Write the STAC Item of a map.

    Args:
        outputs: The files of the map.
        name: Name of the scene that the map is of.
        georeference: Georeference of the map.
        shape: Its size (rows, cols).
        sampling: 'Area' or 'Point', what a pixel represents.
        taken: Acquisition time.
        classes: The classes of the map.
        hashes: Path -> SHA-256 of the files, which are complete.
        provenance: Provenance of the map.
        permissions: Those of the old Item, which is gone already.

    Raises:
        WriteError: The file system failed.
    """
    model = provenance["model_sha256"]
    lineage = f"Classes of {name} by geoseg, learnt without labels; SHA-256 of the model: {model}"
    item = stac_item(
        outputs.item, f"{Path(name).stem}-classes", georeference, shape, taken,
        {_key(outputs, path): _asset(outputs, path, digest, classes, sampling) for path, digest in hashes.items()},
        {"title": f"Classes of {name}", **processing(lineage, versions("torch"))},
    )  # fmt: skip
    publish_bytes(outputs.item, item, permissions=permissions)


def _key(outputs: Outputs, path: Path) -> str:
    keys = {
        outputs.classes: "classes", outputs.confidence: "confidence", outputs.polygons: "polygons",
        outputs.style: "style", outputs.sld: "sld", outputs.legend: "legend", outputs.preview: "overview",
    }  # fmt: skip
    return keys.get(path, path.name)


def _asset(outputs: Outputs, path: Path, digest: str, classes: ClassMap, sampling: str) -> Asset:
    if path == outputs.classes:
        band = class_band("classes", classes.dtype, classes.classes, sampling)
        return Asset(path, "Classes", COG, ("data",), digest, (band,))
    if path == outputs.confidence:
        band = confidence_band("confidence", sampling)
        return Asset(path, "Confidence of the classes", COG, ("data",), digest, (band,))
    kind, roles = next(
        (kind for suffix, kind in _ASSET_KINDS.items() if path.name.lower().endswith(suffix)),
        ("application/octet-stream", ("data",)),
    )
    return Asset(path, path.name, kind, roles, digest)
