"""Features -> vector files: the parts of a run are streamed, in order, into one GeoPackage or FlatGeobuf.

The only module that writes vector data. Features travel as Arrow record batches with WKB geometries; no feature
is ever an object of its own.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from geoseg.errors import WriteError
from geoseg.publish import publishing

log = logging.getLogger(__name__)

_GEOMETRY = "geometry"
_BATCH = 4096

# What SQLite keeps beside a GeoPackage that is open: it would be applied to the file that replaces it.
_SIDECARS = ("-wal", "-shm", "-journal")
_FAILURES = (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, RuntimeError)


@dataclass(frozen=True)
class VectorSpec:
    """A layer of polygons: GDAL's driver that writes it, its name, the columns (name -> numpy type), and the WKT of the
    CRS as it was read (None: none)."""

    driver: str
    layer: str
    columns: Mapping[str, str]
    wkt: str | None

    @property
    def schema(self) -> Any:
        """The columns and the geometry in Arrow's terms."""
        fields = [pa.field(name, pa.from_numpy_dtype(kind)) for name, kind in self.columns.items()]
        return pa.schema([*fields, pa.field(_GEOMETRY, pa.large_binary())])


def packed(
    spec: VectorSpec, columns: Mapping[str, NDArray[Any]], wkb: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> bytes:
    """Return features as a stream of Arrow: the columns of `spec`, and the geometries that lie between `offsets`
    in the bytes `wkb`."""
    count = len(offsets) - 1
    geometries = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(wkb)])
    batch = pa.record_batch([*(columns[name] for name in spec.columns), geometries], schema=spec.schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, spec.schema) as stream:
        stream.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_layer(path: Path, spec: VectorSpec, parts: Sequence[Path]) -> int:
    """Join the parts to one file at `path`, atomically, and return how many features it has.

    One part at a time is in memory, besides the spatial index. With SOURCE_DATE_EPOCH the bytes are reproducible.

    Raises:
        WriteError: not enough space (checked first), the file system failed, or what reads back is not what was
            written; an old file is intact.
    """
    _check_space(path.parent, spec, parts)
    source = _Source(spec, parts)
    try:
        with publishing(path) as temporary:
            with _clock(), _remarks(path):
                pyogrio.write_arrow(
                    source.reader(), temporary, layer=spec.layer, driver=spec.driver,
                    geometry_name=_GEOMETRY, geometry_type="Polygon", crs=_without_false_code(spec.wkt),
                )  # fmt: skip
            _compare(path, temporary, source.total)
            for suffix in _SIDECARS:
                path.resolve().with_name(path.resolve().name + suffix).unlink(missing_ok=True)
    except _FAILURES as error:
        if source.failure is not None:
            raise source.failure from None
        raise WriteError(f"{path}: cannot be written ({_first_line(error)}); is the disk full?") from error
    return source.total[0]


class _Source:
    """The features of the parts, one after the other; what went past, and what went wrong while GDAL was asking."""

    def __init__(self, spec: VectorSpec, parts: Sequence[Path]) -> None:
        self._spec, self._parts = spec, parts
        self.total = (0, 0, 0)
        self.failure: BaseException | None = None

    def reader(self) -> Any:
        """Return the features as a stream, to be read once."""
        return pa.RecordBatchReader.from_batches(self._spec.schema, self._batches())

    def _batches(self) -> Iterator[Any]:
        try:
            for part in self._parts:
                with pa.ipc.open_stream(part.read_bytes()) as stream:
                    for batch in stream:
                        self.total = _add(self.total, batch.column(_GEOMETRY))
                        yield batch
        except BaseException as error:
            # GDAL would make a message of it, of an interruption too.
            self.failure = error
            raise


def _compare(path: Path, written: Path, total: tuple[int, int, int]) -> None:
    """Read all geometries back, in whatever order the format keeps them, and hold them against those of the parts."""
    found = (0, 0, 0)
    with pyogrio.open_arrow(written, columns=[], batch_size=_BATCH, use_pyarrow=True) as (_, stream):
        for batch in stream:
            found = _add(found, batch.column(batch.num_columns - 1))
    if found != total:
        raise WriteError(f"{path}: reads back other features than were written; is the disk full or failing?")


def _add(total: tuple[int, int, int], geometries: Any) -> tuple[int, int, int]:
    """Add the number of features, of bytes of their geometries, and the sum of those bytes."""
    _, offsets, content = geometries.buffers()
    kind = np.int64 if pa.types.is_large_binary(geometries.type) else np.int32
    ends = np.frombuffer(offsets, kind)[geometries.offset : geometries.offset + len(geometries) + 1]
    octets = np.frombuffer(content or b"", np.uint8)[ends[0] : ends[-1]] if len(geometries) else np.zeros(0, np.uint8)
    return total[0] + len(geometries), total[1] + len(octets), total[2] + int(octets.sum(dtype=np.int64))


def _without_false_code(wkt: str | None) -> str | None:
    """Return the WKT, without its code (EPSG or other) where that stands for another CRS: FlatGeobuf's readers would
    take the code's word."""
    if wkt is None:
        return None
    crs = pyproj.CRS.from_wkt(wkt)
    described = crs.to_json_dict()
    code = described.pop("id", None)
    if code is None:
        return wkt
    with suppress(pyproj.exceptions.CRSError):
        if pyproj.CRS.from_authority(code["authority"], code["code"]).equals(crs, ignore_axis_order=True):
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
        if not str(remark.message).startswith("'crs' was not provided"):
            log.warning("%s: %s", path, _first_line(cast(Warning, remark.message)))


@contextmanager
def _clock() -> Iterator[None]:
    """Within this context GDAL takes SOURCE_DATE_EPOCH, where it is set, for the time."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        yield
        return
    name = "OGR_CURRENT_DATE"
    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(float(epoch)))})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


def _check_space(folder: Path, spec: VectorSpec, parts: Sequence[Path]) -> None:
    needed = sum(part.stat().st_size for part in parts) * 5 // 4
    if spec.driver == "FlatGeobuf":
        # It is sorted by way of a second file.
        needed *= 2
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WriteError(
            f"{folder}: {free >> 20} MiB free, about {needed >> 20} MiB needed; free some, or choose --out elsewhere"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
