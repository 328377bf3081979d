"""Writes polygon layers to vector files, as a stream of record batches of which a few are in memory.

All vector files are written here, by GDAL or, for GeoParquet, by `geoseg.vector.arrow`.
"""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg.errors import OutputError, WriteError, first_line
from geoseg.files.atomic import publishing
from geoseg.files.plain import plain_path
from geoseg.files.record import source_date
from geoseg.files.system import remove, replace, sync
from geoseg.files.targets import check_space
from geoseg.lazy import lazy
from geoseg.vector.arrow import GEOMETRY, PARQUET, Bounds, VectorSpec, write_geoparquet
from geoseg.vector.crs import gdal_crs
from geoseg.vector.readback import Checksum, verify
from geoseg.vector.tiles import tile_options, write_empty

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
else:
    pa = lazy("pyarrow")
    pyogrio = lazy("pyogrio")

log = logging.getLogger(__name__)

_MAX_QUEUED = 2
"""Batches that wait to be written."""

_INDEX_BYTES = 8 << 20
"""Memory for the spatial index of a GeoPackage, before GDAL moves it to disk."""

# The journals that SQLite keeps of an open GeoPackage, and the other files of a Shapefile. Readers would apply one that
# an old file left behind to the new file.
_SIDECARS = {
    ".gpkg": ("-wal", "-shm", "-journal"),
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qpj", ".qix", ".sbn", ".sbx", ".shp.xml"),
}
_WRITTEN_SIDECARS = (".shx", ".dbf", ".prj", ".cpg")

GEOPACKAGE_GEOMETRY = "geom"
"""Name of the geometry column in a GeoPackage."""

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    # GDAL 3.11 and newer write version 1.4, of which QGIS 3.22 and ArcGIS warn that they may only know parts.
    "GPKG": {"GEOMETRY_NAME": GEOPACKAGE_GEOMETRY, "VERSION": "1.2"},
    # Nine decimals of a degree are a tenth of a millimetre. GDAL's option RFC7946 would move what lies close to the
    # antimeridian onto it.
    "GeoJSON": {"COORDINATE_PRECISION": "9"},
    "GeoJSONSeq": {"COORDINATE_PRECISION": "9"},
    "ESRI Shapefile": {"ENCODING": "UTF-8"},
}
MAX_SHAPEFILE_BYTES = (1 << 31) - (1 << 20)
"""Bytes of geometries in a Shapefile: its 2 GB, less a reserve for headers."""


def write_layer(path: Path, spec: VectorSpec, parts: Sequence[Path]) -> int:
    """Join the parts into one file at `path`, atomically, and return the number of its polygons.

    One part at a time is in memory, besides the spatial index. With SOURCE_DATE_EPOCH set, the bytes are reproducible.

    Args:
        path: file to write.
        spec: its layer.
        parts: files with Arrow IPC streams of record batches of `spec`.

    Raises:
        WriteError: there is not enough space (checked first), the file system failed, or the file does not read back
            as it was written. An old file at `path` is intact.
    """
    _check_space(path.parent, spec, parts)
    with writing_layer(path, spec) as layer:
        for part in parts:
            with pa.ipc.open_stream(part.read_bytes()) as stream:
                for batch in stream:
                    layer.put(batch)
    return layer.checksum.polygons


@contextmanager
def writing_layer(
    path: Path,
    spec: VectorSpec,
    finish: Callable[[Path], None] | None = None,
    max_shapefile_bytes: int = MAX_SHAPEFILE_BYTES,
) -> Iterator[LayerWriter]:
    """Yield a writer of a layer; when the block ends without an exception, the file replaces `path` atomically.

    Of the files of a Shapefile, that of the geometries is replaced last.

    Args:
        path: file to write.
        spec: its layer.
        finish: called with the path of the complete file before it is published, to add to it.
        max_shapefile_bytes: bytes of geometries that a Shapefile may hold.

    Raises:
        WriteError: the file system failed, or the file does not read back as it was written. An old file is intact.
        OutputError: the geometries are too large for a Shapefile, or too many for vector tiles.
    """
    try:
        with publishing(path) as temporary, _family(path, temporary), _configured(), _logged_warnings(path):
            with LayerWriter(path, temporary, spec, max_shapefile_bytes) as layer:
                yield layer
            verify(path, temporary, spec, layer.checksum)
            if finish is not None:
                finish(temporary)
    except _failures() as error:
        advice = "; is the disk full?" if path.parent.is_dir() else ", for its folder is gone"
        raise WriteError(f"{path}: cannot be written ({first_line(error)}){advice}") from error


Batch = tuple[Any, Bounds | None]
"""A record batch, and the bounds of its geometries; None in formats that do not store them."""


class LayerWriter:
    """Writes batches of polygons to a file, in a thread of its own; use it through `writing_layer`.

    Args:
        path: the output, for messages.
        temporary: file to write.
        spec: its layer.
        max_shapefile_bytes: bytes of geometries that a Shapefile may hold.

    Attributes:
        checksum: of the geometries written so far.
        bounds: of all batches that came with bounds; None before the first.
    """

    def __init__(self, path: Path, temporary: Path, spec: VectorSpec, max_shapefile_bytes: int) -> None:
        self._path, self._temporary, self._spec = path, temporary, spec
        self._max_shapefile_bytes = max_shapefile_bytes
        self.checksum = Checksum()
        self.bounds: Bounds | None = None
        self._failure: Exception | None = None
        self._batches: queue.Queue[Any] = queue.Queue(_MAX_QUEUED)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="layer")

    def __enter__(self) -> LayerWriter:
        self._written = self._pool.submit(self._write)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._pool:
            if kind is None:
                self._enqueue(None)
                self._result()
                return
            # GDAL turns this exception into one of its own; the one that ended the block is already being raised.
            with suppress(Exception):
                self._enqueue(_AbandonedError())

    def put(self, batch: Any | Callable[[], Batch]) -> None:
        """Add a record batch, or a function that returns one with its bounds; the writing thread calls it.

        Raises:
            Exception: writing an earlier batch failed.
        """
        self._enqueue(batch)

    def _enqueue(self, item: Any) -> None:
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

    def _dequeued(self) -> Iterator[Any]:
        """Yield the record batches that were put."""
        try:
            while (item := self._batches.get()) is not None:
                if isinstance(item, _AbandonedError):
                    raise item
                batch, bounds = item() if callable(item) else (item, None)
                self._count(batch, bounds)
                yield batch
        except Exception as error:
            # GDAL would raise an error of its own with only the message.
            self._failure = error
            raise

    def _count(self, batch: Any, bounds: Bounds | None) -> None:
        self.checksum = self.checksum.add(batch.column(GEOMETRY))
        if bounds is not None:
            total = self.bounds or bounds
            left, bottom = min(bounds[0], total[0]), min(bounds[1], total[1])
            self.bounds = (left, bottom, max(bounds[2], total[2]), max(bounds[3], total[3]))
        if self._spec.driver == "ESRI Shapefile" and self.checksum.size > self._max_shapefile_bytes:
            raise OutputError(
                f"{self._path}: a Shapefile cannot exceed 2 GB; write {self._path.with_suffix('.gpkg').name} instead"
            )

    def _write(self) -> None:
        spec = self._spec
        if spec.driver == PARQUET:
            write_geoparquet(self._temporary, spec, self._dequeued(), lambda: self.bounds)
            return
        batches = self._dequeued()
        if spec.zooms is not None:
            first = next((batch for batch in batches if batch.num_rows), None)
            if first is None:
                write_empty(self._temporary, spec.layer, spec.columns, spec.zooms)
                return
            batches = chain([first], batches)
        reader = pa.RecordBatchReader.from_batches(spec.schema, batches)
        with plain_path(self._temporary) as path:
            pyogrio.write_arrow(
                reader, path, layer=spec.layer, driver=spec.driver, geometry_name=GEOMETRY,
                geometry_type="Polygon", crs=gdal_crs(spec.driver, spec.wkt, spec.epoch),
                **_OPTIONS.get(spec.driver, {}), **(tile_options(self._path, spec.zooms) if spec.zooms else {}),
            )  # fmt: skip


def companions(path: Path) -> list[Path]:
    """Return the files of the layer at `path`: itself and, of a Shapefile, the other ones that exist."""
    suffixes = _SIDECARS[".shp"] if path.suffix.lower() == ".shp" else ()
    return [path, *(other for suffix in suffixes if (other := path.with_suffix(suffix)).exists())]


def vector_sidecars(path: Path) -> list[Path]:
    """Return the paths of all files that GDAL may read together with the vector file at `path`, existing or not."""
    return [_sidecar(path, suffix) for suffix in _SIDECARS.get(path.suffix.lower(), ())]


class _AbandonedError(RuntimeError):
    """The block of `writing_layer` was left by an exception, so the file will not be published."""


@contextmanager
def _family(path: Path, temporary: Path) -> Iterator[None]:
    """When the block ends well, replace the sidecars of `path` by those of `temporary`, and delete any others."""
    suffixes = _SIDECARS.get(path.suffix.lower(), ())
    target = path.resolve()
    try:
        yield
        written = [s for s in suffixes if s in _WRITTEN_SIDECARS and _sidecar(temporary, s).exists()]
        for path in (temporary, *(_sidecar(temporary, suffix) for suffix in written)):
            sync(path)
        for suffix in suffixes:
            if suffix in written:
                replace(_sidecar(temporary, suffix), _sidecar(target, suffix))
            else:
                remove(_sidecar(target, suffix))
    finally:
        for suffix in suffixes:
            _sidecar(temporary, suffix).unlink(missing_ok=True)


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix) if suffix.startswith("-") else path.with_suffix(suffix)


@contextmanager
def _logged_warnings(path: Path) -> Iterator[None]:
    """Log GDAL's warnings, one line each, except that GDAL was given no CRS: see `gdal_crs`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if not issubclass(warning.category, RuntimeWarning | UserWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif not str(warning.message).startswith("'crs' was not provided"):
            log.warning("%s: %s", path, first_line(cast(Warning, warning.message)))


@contextmanager
def _configured() -> Iterator[None]:
    """Within this context GDAL uses SOURCE_DATE_EPOCH, if set, as the current time, and limits the memory for the
    spatial index of a GeoPackage."""
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
        # GDAL sorts it through a temporary second file.
        needed *= 2
    check_space(folder, needed)


def _failures() -> tuple[type[Exception], ...]:
    """What writing may raise."""
    e = pyogrio.errors
    return (
        e.DataLayerError, e.DataSourceError, e.FeatureError, e.FieldError, e.GeometryError, RuntimeError,
        pa.ArrowException,
    )  # fmt: skip
