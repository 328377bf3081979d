"""Features -> vector files, streamed in batches of which a few are in memory.

The only module that writes vector data, but for `geoseg.vector.arrow`, by which it does.
"""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from geoseg.errors import OutputError, WriteError, first_line
from geoseg.files.atomic import check_space, publishing, sync
from geoseg.files.record import source_date
from geoseg.raster.georeference import authority_code
from geoseg.vector.arrow import GEOMETRY, PARQUET, Bounds, VectorSpec, octet_sum

log = logging.getLogger(__name__)

_BATCH = 256
_AHEAD = 2
_INDEX_BYTES = 8 << 20

# What SQLite keeps beside a GeoPackage that is open, and what a Shapefile consists of: it would be applied to the file
# that takes the place of its own.
_SIDECARS = {
    ".gpkg": ("-wal", "-shm", "-journal"),
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qpj", ".qix", ".sbn", ".sbx", ".shp.xml"),
}
_PARTS = (".shx", ".dbf", ".prj", ".cpg")
_FAILURES = (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, RuntimeError, pa.ArrowException)

GEOPACKAGE_GEOMETRY = "geom"
"""Name of the column of geometries in a GeoPackage, where it is told from others by it."""

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "GPKG": {"GEOMETRY_NAME": GEOPACKAGE_GEOMETRY},
    # A tenth of a millimetre, and members as RFC 7946 has them.
    "GeoJSON": {"COORDINATE_PRECISION": "9", "RFC7946": "YES"},
    "GeoJSONSeq": {"COORDINATE_PRECISION": "9"},
    "ESRI Shapefile": {"ENCODING": "UTF-8"},
}
_EXACT = ("GPKG", "FlatGeobuf", PARQUET)
_INDEXED = ("GPKG", "FlatGeobuf")
_SHAPEFILE_BYTES = (1 << 31) - (1 << 20)


def write_layer(path: Path, spec: VectorSpec, parts: Sequence[Path]) -> int:
    """Join the parts to one file at `path`, atomically, and return how many features it has.

    One part at a time is in memory, besides the spatial index. With SOURCE_DATE_EPOCH the bytes are reproducible.

    Raises:
        WriteError: not enough space (checked first), the file system failed, or what reads back is not what was
            written; an old file is intact.
    """
    _check_space(path.parent, spec, parts)
    with writing_layer(path, spec) as layer:
        for part in parts:
            with pa.ipc.open_stream(part.read_bytes()) as stream:
                for batch in stream:
                    layer.put(batch)
    return layer.total[0]


@contextmanager
def writing_layer(path: Path, spec: VectorSpec, finish: Callable[[Path], None] | None = None) -> Iterator[Layer]:
    """Yield a layer to put batches of features in; when the block ends well it takes the place of `path`, atomically.

    finish: called with the path of the complete file before that, to add to it. A Shapefile is several files; that of
    its geometries comes last.

    Raises:
        WriteError: the file system failed, or what reads back is not what was written; an old file is intact.
        OutputError: more than a Shapefile can hold.
    """
    try:
        with publishing(path) as temporary, _family(path, temporary), _configured(), _remarks(path):
            with Layer(path, temporary, spec) as layer:
                yield layer
            _compare(path, temporary, spec, layer.total)
            if finish is not None:
                finish(temporary)
    except _FAILURES as error:
        raise WriteError(f"{path}: cannot be written ({first_line(error)}); is the disk full?") from error


Batch = tuple[Any, Bounds | None]
"""A record batch, and (left, bottom, right, top) of its geometries, where the format says so."""


class Layer:
    """A layer that is written, in a thread of its own, to the file `temporary`. total: features that were put, bytes of
    their geometries, and the sum of these. bounds: of all of them, where they were given."""

    def __init__(self, path: Path, temporary: Path, spec: VectorSpec) -> None:
        self._path, self._temporary, self._spec = path, temporary, spec
        self.total = (0, 0, 0)
        self.bounds: Bounds | None = None
        self._failure: Exception | None = None
        self._batches: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="layer")

    def __enter__(self) -> Layer:
        self._written = self._pool.submit(self._write)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._pool:
            if kind is None:
                self._hand_over(None)
                self._result()
                return
            # GDAL makes an error of its own of this one; what went wrong is on its way already.
            with suppress(Exception):
                self._hand_over(_AbandonedError())

    def put(self, features: Any | Callable[[], Batch]) -> None:
        """Add a batch of features; or what computes one, in the thread that writes, while others are collected."""
        self._hand_over(features)

    def _hand_over(self, item: Any) -> None:
        while not self._written.done():
            with suppress(queue.Full):
                self._batches.put(item, timeout=0.1)
                return
        self._result()

    def _result(self) -> None:
        try:
            self._written.result()
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise

    def _taken(self) -> Iterator[Any]:
        try:
            while (item := self._batches.get()) is not None:
                if isinstance(item, _AbandonedError):
                    raise item
                batch, bounds = item() if callable(item) else (item, None)
                self._count(batch, bounds)
                yield batch
        except Exception as error:
            # GDAL would make a message of it.
            self._failure = error
            raise

    def _count(self, batch: Any, bounds: Bounds | None) -> None:
        self.total = _add(self.total, batch.column(GEOMETRY))
        if bounds is not None:
            known = self.bounds or bounds
            left, bottom = min(bounds[0], known[0]), min(bounds[1], known[1])
            self.bounds = (left, bottom, max(bounds[2], known[2]), max(bounds[3], known[3]))
        if self._spec.driver == "ESRI Shapefile" and self.total[1] > _SHAPEFILE_BYTES:
            raise OutputError(f"{self._path}: a Shapefile ends at 2 GB; write {self._path.with_suffix('.gpkg').name}")

    def _write(self) -> None:
        spec = self._spec
        if spec.driver == PARQUET:
            # Here, for with it come megabytes that nothing else needs.
            from geoseg.vector.arrow import write_geoparquet

            write_geoparquet(self._temporary, spec.schema, spec.wkt, self._taken(), lambda: self.bounds)
            return
        options = _OPTIONS.get(spec.driver, {}) if spec.wkt or spec.driver != "GeoJSON" else {}
        reader = pa.RecordBatchReader.from_batches(spec.schema, self._taken())
        pyogrio.write_arrow(
            reader, self._temporary, layer=spec.layer, driver=spec.driver, geometry_name=GEOMETRY,
            geometry_type="Polygon", crs=_without_false_code(spec.wkt), **options,
        )  # fmt: skip


def companions(path: Path) -> list[Path]:
    """Return the files that were written for `path`: itself, and those that belong to a Shapefile."""
    suffixes = _SIDECARS[".shp"] if path.suffix.lower() == ".shp" else ()
    return [path, *(other for suffix in suffixes if (other := path.with_suffix(suffix)).exists())]


def vector_sidecars(path: Path) -> list[Path]:
    """Return what may lie beside a vector file, and tells of that one only."""
    return [_beside(path, suffix) for suffix in _SIDECARS.get(path.suffix.lower(), ())]


class _AbandonedError(RuntimeError):
    """No more features will come, and the file is not wanted."""


@contextmanager
def _family(path: Path, temporary: Path) -> Iterator[None]:
    """Let the files that belong to `temporary` take the places of those that belong to `path`; those are gone else."""
    suffixes = _SIDECARS.get(path.suffix.lower(), ())
    target = path.resolve()
    try:
        yield
        made = [suffix for suffix in suffixes if suffix in _PARTS and _beside(temporary, suffix).exists()]
        for path in (temporary, *(_beside(temporary, suffix) for suffix in made)):
            sync(path)
        for suffix in suffixes:
            if suffix in made:
                _beside(temporary, suffix).replace(_beside(target, suffix))
            else:
                _beside(target, suffix).unlink(missing_ok=True)
    finally:
        for suffix in suffixes:
            _beside(temporary, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix) if suffix.startswith("-") else path.with_suffix(suffix)


def _compare(path: Path, written: Path, spec: VectorSpec, total: tuple[int, int, int]) -> None:
    """Read all geometries back, in whatever order the format keeps them, and hold them against those that were put;
    where the format has its own idea of coordinates, only how many there are."""
    found = (0, 0, 0)
    if spec.driver in _EXACT:
        for geometries in _geometries(written, spec):
            found = _add(found, geometries)
    else:
        found = (int(pyogrio.read_info(written, force_feature_count=True)["features"]), *total[1:])
    if found != total:
        raise WriteError(f"{path}: reads back other features than were written; is the disk full or failing?")
    # The last of a GeoPackage is written when it is closed, and GDAL keeps it to itself if that fails.
    if total[0] and spec.driver in _INDEXED:
        info = pyogrio.read_info(written, layer=spec.layer if spec.driver == "GPKG" else None)
        if not info["capabilities"]["fast_spatial_filter"]:
            raise WriteError(f"{path}: was written without its spatial index; is the disk full or failing?")


def _geometries(path: Path, spec: VectorSpec) -> Iterator[Any]:
    if spec.driver == PARQUET:
        from geoseg.vector.arrow import read_geometries

        yield from read_geometries(path)
        return
    with pyogrio.open_arrow(path, columns=[], batch_size=_BATCH, use_pyarrow=True) as (_, stream):
        for batch in stream:
            yield batch.column(batch.num_columns - 1)


def _add(total: tuple[int, int, int], geometries: Any) -> tuple[int, int, int]:
    """Add the number of features, of bytes of their geometries, and the sum of those bytes."""
    _, offsets, content = geometries.buffers()
    kind = np.int64 if pa.types.is_large_binary(geometries.type) else np.int32
    ends = np.frombuffer(offsets, kind)[geometries.offset : geometries.offset + len(geometries) + 1]
    octets = np.frombuffer(content or b"", np.uint8)[ends[0] : ends[-1]] if len(geometries) else np.zeros(0, np.uint8)
    return total[0] + len(geometries), total[1] + len(octets), total[2] + octet_sum(octets)


def _without_false_code(wkt: str | None) -> str | None:
    """Return the WKT, without its code (EPSG or other) where that stands for another CRS: FlatGeobuf's readers would
    take the code's word."""
    if wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(wkt)
    described = crs.to_json_dict()
    if described.pop("id", None) is None or authority_code(crs):
        return wkt
    without: str = pyproj.CRS.from_json_dict(described).to_wkt()
    return without


@contextmanager
def _remarks(path: Path) -> Iterator[None]:
    """Within this context what GDAL remarks is logged, one line each; no word on a CRS that the scene has not."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        yield
    for remark in remarks:
        if not issubclass(remark.category, RuntimeWarning | UserWarning):
            warnings.warn_explicit(remark.message, remark.category, remark.filename, remark.lineno)
        elif not str(remark.message).startswith("'crs' was not provided"):
            log.warning("%s: %s", path, first_line(cast(Warning, remark.message)))


@contextmanager
def _configured() -> Iterator[None]:
    """Within this context GDAL takes SOURCE_DATE_EPOCH, where it is set, for the time, and keeps little of the spatial
    index of a GeoPackage in memory before it goes to disk."""
    options = {"OGR_GPKG_MAX_RAM_USAGE_RTREE": str(_INDEX_BYTES)}
    date = source_date()
    if date is not None:
        options["OGR_CURRENT_DATE"] = date.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


def _check_space(folder: Path, spec: VectorSpec, parts: Sequence[Path]) -> None:
    needed = sum(part.stat().st_size for part in parts) * 5 // 4
    if spec.driver == "FlatGeobuf":
        # It is sorted by way of a second file.
        needed *= 2
    check_space(folder, needed)
