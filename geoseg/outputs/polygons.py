"""The polygons of a class raster as a layer of a file: columns, names, style."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass
from geoseg.errors import SettingError
from geoseg.files.atomic import publish_bytes
from geoseg.grid import Span
from geoseg.outputs.layer_style import add_layer_style
from geoseg.outputs.names import POLYGONS, sld_of_polygons
from geoseg.outputs.styles import file_qml, vector_sld
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.units import Area
from geoseg.vector.arrow import PARQUET, Categorical, Column, VectorSpec, record_batch
from geoseg.vector.polygons import MEASURES, WGS84, PolygonBatch, Polygonizer
from geoseg.vector.simplify import simplify
from geoseg.vector.wkb import Wkb
from geoseg.vector.writer import GEOPACKAGE_GEOMETRY, Batch, LayerWriter, companions, writing_layer

log = logging.getLogger(__name__)

LAYER = "classes"


_SHAPEFILE = "ESRI Shapefile"


_SHORT = {"perimeter_m": "perim_m", "perimeter_px": "perim_px"}


_LONGEST = 10


_MOST_VERTICES = 20_000_000


_LARGEST_INT32 = 1 << 31


_CACHE = 8 << 20


@dataclass(frozen=True)
class RowsRead:
    """Rows that were read; `polygons`: how many are complete so far."""

    rows: Span
    polygons: int


class ClassLayer:
    """A layer of the polygons of a class raster, with the file it goes to.

    field: name of the column of class ids. classes: ids of those to write, None for all.
    count: how many polygons were written.

    Raises:
        SettingError: what the format or the raster cannot hold.
    """

    def __init__(
        self, out: Path, raster: ClassRaster, field: str = "class_id", min_area: Area | None = None,
        tolerance: float | None = None, classes: Any = None, confidence: Confidence | None = None,
    ) -> None:  # fmt: skip
        self._out, self._raster, self._field, self._tolerance = out, raster, field, tolerance
        self.count = 0
        self._present: set[int] = set()
        self._chosen: set[int] | None = None if classes is None else set(classes.tolist())
        self._styles: list[Path] = []
        driver = POLYGONS[out.suffix.lower()]
        georeference = raster.scene.georeference
        self._wgs84 = driver.startswith("GeoJSON") and georeference.wkt is not None
        self._work = Polygonizer(
            raster.scene.shape[1], georeference, min_area=min_area,
            values=None if classes is None else classes + raster.offset,
            noded=self._wgs84 or tolerance is not None, wgs84=self._wgs84,
            confidence=None if confidence is None else confidence.read,
            full=1 if confidence is None else confidence.max_value,
        )  # fmt: skip
        if tolerance is not None and self._wgs84:
            raise SettingError(
                f"{out}: simplify in the raster's CRS, to {out.with_suffix('.gpkg').name}, and convert that"
            )
        columns = self._columns(driver == _SHAPEFILE, confidence is not None)
        self.spec = VectorSpec(driver, LAYER, columns, WGS84.to_wkt() if self._wgs84 else georeference.wkt)

    def write(self, at: Path | None = None) -> Generator[RowsRead]:
        """Polygonize the raster, yield how far that is, and publish the file at the end; at: another place for it."""
        told = self._work.ground.distortion_message(self._raster.scene.extent)
        if told is not None:
            log.warning("%s: %s", self._raster.path.name, told)
        if self._wgs84:
            log.warning("%s: coordinates are longitude and latitude (EPSG:4326), as GeoJSON has them", self._out)
        kept: list[PolygonBatch] = []
        spans = list(self._raster.spans)
        cache = self._raster.scene.caching(max(map(len, spans)), floor=_CACHE)
        with cache, writing_layer(at or self._out, self.spec, self._dress) as layer:
            put: Callable[[PolygonBatch], None] = partial(self._put, layer)
            if self._tolerance is not None:
                put = partial(self._keep, kept)
            for rows, values in self._read(spans):
                for features in self._work.push(values):
                    put(features)
                yield RowsRead(rows, self.count)
            for features in self._work.finish():
                put(features)
            if self._tolerance is not None:
                self._put_simplified(layer, kept, self._tolerance)

    def _read(self, spans: list[Span]) -> Iterator[tuple[Span, NDArray[Any]]]:
        """Yield the values of rows, while the next ones are read."""
        with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
            reading = pool.submit(self._raster.read, spans[0])
            for rows, following in zip(spans, [*spans[1:], None], strict=True):
                values = reading.result()
                if following is not None:
                    reading = pool.submit(self._raster.read, following)
                yield rows, values

    @property
    def classes(self) -> list[LandClass]:
        """The classes that could have been written, as far as they are known, and those that were, by their ids."""
        known = set(self._raster.classes) - {NODATA}
        if self._chosen is not None:
            known &= self._chosen
        return [self._raster.land_class(class_id) for class_id in sorted(known | self._present)]

    def files(self) -> list[Path]:
        """Return the files that were written."""
        return [*companions(self._out), *self._styles]

    def style(self, replace: bool, sld: bool, at: Path | None = None) -> None:
        """Write the QGIS style beside a file that cannot hold it; replace: one that is there. sld: also an SLD.

        at: where the file was written.
        """
        path = self._out.with_suffix(".qml")
        if self.spec.driver != "GPKG":
            if replace or not path.exists():
                publish_bytes((at or self._out).with_suffix(".qml"), file_qml(self.classes, self._field))
                self._styles.append(path)
            elif f'attr="{self._field}"'.encode() not in path.read_bytes():
                log.warning("%s: stays, and has no style by %s; one would come with another --out", path, self._field)
        other = sld_of_polygons(self._out)
        if sld:
            publish_bytes(sld_of_polygons(at or self._out), vector_sld(self.classes, LAYER, self._field))
            self._styles.append(other)

    def _dress(self, path: Path) -> None:
        if self.spec.driver == "GPKG":
            add_layer_style(path, LAYER, GEOPACKAGE_GEOMETRY, self.classes, self._field)

    def _put(self, layer: LayerWriter, features: PolygonBatch, wkb: Wkb | None = None) -> None:
        self.count += len(features)
        layer.put(partial(self._batch, features, wkb))

    def _batch(self, features: PolygonBatch, wkb: Wkb | None) -> Batch:
        """Return the features for the file, with other geometries where these are given."""
        batch = record_batch(self.spec, self._values(features), *(wkb or features.wkb))
        return batch, features.bounds if self.spec.driver == PARQUET else None

    def _keep(self, kept: list[PolygonBatch], features: PolygonBatch) -> None:
        kept.append(features)
        if sum(len(batch.rings.vertices) for batch in kept) > _MOST_VERTICES:
            raise SettingError(
                f"{self._raster.path}: its polygons have more than {_MOST_VERTICES // 10**6} million vertices, and "
                "--simplify needs all of them in memory; raise --min-area, or choose --classes"
            )

    def _put_simplified(self, layer: LayerWriter, kept: list[PolygonBatch], tolerance: float) -> None:
        for features, wkb in zip(kept, simplify([features.wkb for features in kept], tolerance), strict=True):
            self._put(layer, features, wkb)

    def _columns(self, short: bool, confidence: bool) -> dict[str, str]:
        large = np.iinfo(self._raster.scene.dtype).max >= _LARGEST_INT32
        measures = MEASURES[self._work.ground.metric]
        names = {self._field: "int64" if large else "int32", "class": "string", **dict.fromkeys(measures, "float64")}
        if confidence:
            names["confidence"] = "float64"
        if not short:
            return names
        if len(self._field) > _LONGEST:
            raise SettingError(f"field is {self._field!r}; a Shapefile's names have at most {_LONGEST} letters")
        return {_SHORT.get(name, name): kind for name, kind in names.items()}

    def _values(self, features: PolygonBatch) -> Mapping[str, Column]:
        ids = features.values - self._raster.offset
        present, places = np.unique(ids, return_inverse=True)
        names = Categorical(places, [self._raster.land_class(value).name for value in present.tolist()])
        self._present |= set(present.tolist())
        columns: list[Any] = [ids, names, features.area, features.perimeter, features.confidence]
        return dict(zip(self.spec.columns, columns, strict=False))
