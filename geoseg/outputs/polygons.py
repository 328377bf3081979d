"""Write the polygons of a class raster to a vector file: columns, class names, style."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass
from geoseg.errors import SettingError
from geoseg.files.atomic import publish_bytes
from geoseg.grid import Span
from geoseg.outputs.class_areas import ClassArea
from geoseg.outputs.layer_style import add_layer_style
from geoseg.outputs.names import POLYGONS, polygon_sld
from geoseg.outputs.polygon_stripes import Source, StripedPolygons
from geoseg.outputs.styles import file_qml, vector_sld
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.units import Area
from geoseg.vector.arrow import PARQUET, Categorical, Column, VectorSpec, record_batch
from geoseg.vector.globe import in_degrees, wgs84
from geoseg.vector.polygons import PolygonBatch, Polygonizer, measures
from geoseg.vector.simplify import simplify
from geoseg.vector.texts import held_text, shortened_message
from geoseg.vector.tiles import NUMBER, PMTILES, zooms
from geoseg.vector.wkb import Wkb
from geoseg.vector.writer import GEOPACKAGE_GEOMETRY, Batch, LayerWriter, companions, writing_layer

log = logging.getLogger(__name__)

CLASS_LAYER = "classes"
"""Name of the layer in formats that have layers."""

MAX_VERTICES = 20_000_000
"""Default limit of vertices for simplification, which needs all polygons in memory."""

_SHAPEFILE = "ESRI Shapefile"
_SHAPEFILE_NAMES = {"perimeter_m": "perim_m", "perimeter_px": "perim_px"}
_MAX_SHAPEFILE_NAME = 10
_MIN_CACHE_BYTES = 8 << 20


@dataclass(frozen=True)
class RowsRead:
    """Progress of polygonization.

    Attributes:
        rows: Rows of the raster that were read.
        polygons: Number of polygons that are complete so far.
    """

    rows: Span
    polygons: int


class ClassLayer:
    """The polygons of a class raster as a layer of a vector file.

    Args:
        out: The vector file; its suffix decides the format.
        raster: The class raster.
        field: Name of the column of class ids.
        min_area: Smaller regions are merged into a neighbour.
        tolerance: Tolerance of the simplification in units of the CRS; None keeps every vertex.
        classes: Ids of the classes to write, int64 (n,); None is all.
        confidence: Raster whose mean is written for each polygon.
        max_vertices: Limit of vertices for simplification.
        texts: Further columns: name -> function from the id of a class to a text.

    Attributes:
        count: Number of polygons written so far.
        spec: Driver, columns and CRS of the layer.
        striped: The polygons in stripes.

    Raises:
        SettingError: The format or the raster does not support a setting.
    """

    def __init__(
        self, out: Path, raster: ClassRaster, field: str = "class_id", min_area: Area | None = None,
        tolerance: float | None = None, classes: NDArray[np.int64] | None = None,
        confidence: Confidence | None = None, max_vertices: int = MAX_VERTICES,
        texts: Mapping[str, Callable[[int], str]] | None = None,
    ) -> None:  # fmt: skip
        self._out, self._raster, self._field, self._tolerance = out, raster, field, tolerance
        self._max_vertices, self._texts = max_vertices, dict(texts or {})
        self.count = 0
        self._written_ids: set[int] = set()
        self._sums: dict[int, tuple[int, int]] = {}
        self._styles: list[Path] = []
        driver = POLYGONS[out.suffix.lower()]
        self._tiled = driver == PMTILES
        if self._tiled:
            # Maps in a browser have no other style.
            self._texts["color"] = lambda value: raster.land_class(value).colour
        georeference = raster.scene.georeference
        self._wgs84 = in_degrees(driver) and georeference.wkt is not None
        values = None if classes is None else classes + raster.offset
        noded = self._wgs84 or tolerance is not None
        self._work = Polygonizer(
            raster.scene.shape[1], georeference, rows=raster.scene.shape[0], min_area=min_area, values=values,
            noded=noded, wgs84=self._wgs84, confidence=None if confidence is None else confidence.read,
            full=1 if confidence is None else confidence.max_value,
        )  # fmt: skip
        self.striped = StripedPolygons(raster, min_area, values, confidence, noded, self._wgs84)
        if tolerance is not None and self._tiled:
            raise SettingError(f"{out}: vector tiles are coarser by zoom level already; leave out --simplify")
        if tolerance is not None and self._wgs84:
            raise SettingError(
                f"{out}: GeoJSON cannot be simplified, as its coordinates are degrees; simplify to "
                f"{out.with_suffix('.gpkg').name} and convert that"
            )
        columns = self._columns(driver == _SHAPEFILE, confidence is not None)
        wkt, epoch = (wgs84().to_wkt(), None) if self._wgs84 else (georeference.wkt, georeference.epoch)
        levels = zooms(georeference, raster.scene.shape) if self._tiled else None
        self.spec = VectorSpec(driver, CLASS_LAYER, columns, wkt, epoch, levels)

    def write(self, path: Path | None = None, parts: Iterable[bytes] | None = None) -> Generator[RowsRead]:
        """Polygonize the raster, yield the progress, and publish the file.

        Args:
            path: Write the file here instead of at `out`.
            parts: Those of all stripes (`striped`), from top to bottom; None reads the raster. The file is the same.

        Raises:
            InputError: A part of the raster cannot be read.
            SettingError: There are too many vertices to simplify.
            WriteError: The file system failed.
        """
        message = shortened_message((entry.name for entry in self._raster.classes.values()), self.spec.driver)
        if message is not None:
            log.warning("%s: %s", self._out, message)
        kept: list[PolygonBatch] = []
        source = self._swept() if parts is None else self.striped.joined(parts)
        with closing(source), writing_layer(path or self._out, self.spec, self._add_style) as layer:
            put: Callable[[PolygonBatch], None] = partial(self._put, layer)
            if self._tolerance is not None:
                put = partial(self._keep, kept)
            for rows, batches in source:
                for polygons in batches:
                    put(polygons)
                if len(rows):
                    yield RowsRead(rows, self.count)
            if self._tolerance is not None:
                self._put_simplified(layer, kept, self._tolerance)

    def caching(self) -> AbstractContextManager[None]:
        """Return a context for reading the raster row by row."""
        return self._raster.scene.caching(max(map(len, self._raster.spans)), floor=_MIN_CACHE_BYTES)

    def _swept(self) -> Source:
        """Yield the rows of the raster, and the polygons that are complete with them."""
        spans = list(self._raster.spans)
        with self.caching():
            for rows, values in self._read(spans):
                yield rows, self._work.push(values)
            yield Span(spans[-1].stop, spans[-1].stop), self._work.finish()

    def _read(self, spans: list[Span]) -> Iterator[tuple[Span, NDArray[Any]]]:
        """Yield rows and their values, while the next rows are read in another thread."""
        with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
            reading = pool.submit(self._raster.read, spans[0])
            for rows, following in zip(spans, [*spans[1:], None], strict=True):
                values = reading.result()
                if following is not None:
                    reading = pool.submit(self._raster.read, following)
                yield rows, values

    @property
    def classes(self) -> list[LandClass]:
        """The classes for the style, by id: those of the polygons written so far."""
        return [self._raster.land_class(class_id) for class_id in sorted(self._written_ids)]

    def files(self) -> list[Path]:
        """Return the files that were written."""
        return [*companions(self._out), *self._styles]

    def write_style(self, replace: bool, sld: bool, path: Path | None = None) -> None:
        """Write the QGIS style next to the file, unless the format contains it, and optionally an SLD.

        Args:
            replace: Whether an existing QGIS style is replaced; otherwise it is kept.
            sld: Whether to write an SLD.
            path: Where the file was written, if not at `out`.

        Raises:
            WriteError: The file system failed.
        """
        written = path or self._out
        style = self._out.with_suffix(".qml")
        if self.spec.driver != "GPKG":
            if replace or not style.exists():
                publish_bytes(written.with_suffix(".qml"), file_qml(self.classes, self._field))
                self._styles.append(style)
            elif f'attr="{self._field}"'.encode() not in style.read_bytes():
                log.warning(
                    "%s: is kept, but does not style %s; choose another --out to get a style", style, self._field
                )
        if sld:
            publish_bytes(polygon_sld(written), vector_sld(self.classes, CLASS_LAYER, self._field))
            self._styles.append(polygon_sld(self._out))

    def _add_style(self, path: Path) -> None:
        if self.spec.driver == "GPKG":
            add_layer_style(path, CLASS_LAYER, GEOPACKAGE_GEOMETRY, self.classes, self._field)

    @property
    def areas(self) -> dict[int, ClassArea]:
        """Class id -> area of all polygons written so far, by their pixels."""
        ground = self._work.ground
        return {
            value - self._raster.offset: ClassArea(pixels, weight * ground.step if ground.metric else None)
            for value, (pixels, weight) in sorted(self._sums.items())
        }

    def _put(self, layer: LayerWriter, polygons: PolygonBatch, wkb: Wkb | None = None) -> None:
        first = self.count + 1
        self.count += len(polygons)
        values, index = np.unique(polygons.values, return_inverse=True)
        sums = np.zeros((len(values), 2), np.int64)
        np.add.at(sums, index, np.stack([polygons.pixels, polygons.weights], 1))
        for value, (pixels, weights) in zip(values.tolist(), sums.tolist(), strict=True):
            before = self._sums.get(value, (0, 0))
            self._sums[value] = before[0] + pixels, before[1] + weights
        layer.put(partial(self._batch, polygons, first, wkb))

    def _batch(self, polygons: PolygonBatch, first: int, wkb: Wkb | None) -> Batch:
        """Return the rows for the file, numbered from `first`; `wkb` replaces their geometries."""
        batch = record_batch(self.spec, self._values(polygons, first), *(wkb or polygons.wkb))
        return batch, polygons.bounds if self.spec.driver == PARQUET else None

    def _keep(self, kept: list[PolygonBatch], polygons: PolygonBatch) -> None:
        kept.append(polygons)
        if sum(len(batch.rings.vertices) for batch in kept) > self._max_vertices:
            raise SettingError(
                f"{self._raster.path}: its polygons have more than {self._max_vertices / 1e6:g} million vertices, and "
                "--simplify needs all of them in memory; raise --min-area, or choose --classes"
            )

    def _put_simplified(self, layer: LayerWriter, kept: list[PolygonBatch], tolerance: float) -> None:
        for polygons, wkb in zip(kept, simplify([polygons.wkb for polygons in kept], tolerance), strict=True):
            self._put(layer, polygons, wkb)

    def _columns(self, short: bool, confidence: bool) -> dict[str, str]:
        large = np.iinfo(self._raster.scene.dtype).max > np.iinfo(np.int32).max
        measured = dict.fromkeys(measures(self._work.ground), "float64")
        names = {
            self._field: "int64" if large else "int32",
            "class": "string",
            **dict.fromkeys(self._texts, "string"),
            **measured,
        }
        if confidence:
            names["confidence"] = "float64"
        if self._tiled:
            names[NUMBER] = "int64"
        if not short:
            return names
        if len(self._field) > _MAX_SHAPEFILE_NAME:
            raise SettingError(
                f"field is {self._field!r}; column names of a Shapefile have at most {_MAX_SHAPEFILE_NAME} letters"
            )
        return {_SHAPEFILE_NAMES.get(name, name): kind for name, kind in names.items()}

    def _values(self, polygons: PolygonBatch, first: int) -> Mapping[str, Column]:
        ids = polygons.values - self._raster.offset
        unique, index = np.unique(ids, return_inverse=True)
        self._written_ids |= set(unique.tolist())
        names: list[Callable[[int], str]] = [lambda value: self._raster.land_class(value).name, *self._texts.values()]
        held = [
            Categorical(index, [held_text(text(class_id), self.spec.driver) for class_id in unique.tolist()])
            for text in names
        ]
        confidence = [] if polygons.confidence is None else [polygons.confidence]
        numbers = [np.arange(first, first + len(polygons))] if self._tiled else []
        columns: list[Any] = [ids, *held, *polygons.measured, *confidence, *numbers]
        return dict(zip(self.spec.columns, columns, strict=True))
