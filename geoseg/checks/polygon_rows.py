"""The rows of a polygon file, a batch at a time: GeoPackages by SQLite, GeoParquet by pyarrow, all else by GDAL.

The first column holds the ids and the last one the geometry, as geoseg writes them; a column called 'class' holds the
names of the classes. One batch is in memory at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, first_line
from geoseg.files.plain import plain_path
from geoseg.lazy import lazy
from geoseg.vector.arrow import PARQUET
from geoseg.vector.tiles import PIECE, PMTILES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
    from pyarrow import parquet
else:
    pa = lazy("pyarrow")
    parquet = lazy("pyarrow.parquet")
    pyogrio = lazy("pyogrio")

_BATCH_ROWS = 1024

_HEADER_BYTES = 8
_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
"""Sizes in a GeoPackage's geometry, the envelope's by its code (OGC 12-128r19, clause 2.1.3)."""


class Rows(NamedTuple):
    """A batch of rows.

    Attributes:
        ids: int64, (N,). 0 where the column does not hold integers.
        names: Names of the classes, N of them; None if the file has no such column.
        geometries: WKB, N of them; None where a row has no geometry.
    """

    ids: NDArray[np.int64]
    names: list[Any] | None
    geometries: Sequence[Any]


def read_rows(path: Path, driver: str, layer: str | None = None) -> Iterator[Rows]:
    """Yield the rows of a polygon file in batches; of vector tiles, the pieces in those of the largest zoom.

    Args:
        path: The file.
        driver: What writes the format, a value of `geoseg.outputs.names.POLYGONS`.
        layer: Layer of a GeoPackage; None reads the first one.

    Raises:
        InputError: The file cannot be read or has no such layer.
    """
    with _reading(path):
        if driver == "GPKG":
            yield from _geopackage_rows(path, layer)
        elif driver == PARQUET:
            with parquet.ParquetFile(path) as file:
                yield from map(_rows, file.iter_batches(_BATCH_ROWS))
        else:
            with plain_path(path) as plain, _opened(plain, driver) as (_, stream):
                yield from map(_rows, stream)


def stated_count(path: Path, driver: str, layer: str | None = None) -> int | None:
    """Return how many rows the file states it has; None if it does not say. For the parameters see `read_rows`.

    Raises:
        InputError: The file cannot be read or has no such layer.
    """
    with _reading(path):
        if driver == "GPKG":
            with closing(connect(path)) as database:
                return _geopackage_count(database, _table(path, database, layer)[0])
        if driver == PARQUET:
            with parquet.ParquetFile(path) as file:
                return int(file.metadata.num_rows)
        if driver == PMTILES:
            return None
        with plain_path(path) as plain:
            count = int(pyogrio.read_info(plain)["features"])
        return count if count >= 0 else None


def _opened(path: Path, driver: str) -> Any:
    fields = None
    if driver == PMTILES:
        fields = [field for field in pyogrio.read_info(path)["fields"] if field != PIECE]
    return pyogrio.open_arrow(path, columns=fields, batch_size=_BATCH_ROWS, use_pyarrow=True)


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a GeoPackage through which SQLite neither writes nor locks anything."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _errors() as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); write it again") from error


def _geopackage_rows(path: Path, layer: str | None) -> Iterator[Rows]:
    """Read a GeoPackage by SQLite: GDAL 3.10 reads some rows twice where others have been deleted."""
    with closing(connect(path)) as database:
        table, geometry = _table(path, database, layer)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})") if not row[5]]
        fields = [name for name in columns if name != geometry]
        selected = [geometry, *(fields[:1] or [geometry]), *(["class"] if "class" in fields else [])]
        cursor = database.execute(f"SELECT {', '.join(map(_quoted, selected))} FROM {_quoted(table)}")
        while batch := cursor.fetchmany(_BATCH_ROWS):
            blobs, ids, *names = zip(*batch, strict=True)
            numbered = all(isinstance(value, int) for value in ids)
            yield Rows(
                np.array(ids if numbered else [0] * len(ids), np.int64),
                list(names[0]) if names else None,
                [_wkb(blob) for blob in blobs],
            )


def _table(path: Path, database: sqlite3.Connection, layer: str | None) -> tuple[str, str]:
    """The names of a layer's table and of its geometry column."""
    query = "SELECT table_name, column_name FROM gpkg_geometry_columns WHERE table_name = coalesce(?, table_name)"
    found = database.execute(query, (layer,)).fetchone()
    if found is None:
        raise InputError(f"{path}: has no layer {layer or 'of polygons'}")
    return str(found[0]), str(found[1])


def _geopackage_count(database: sqlite3.Connection, table: str) -> int | None:
    """The number of rows that GDAL noted when it wrote the file."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_ogr_contents'").fetchone():
        return None
    found = database.execute("SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?", (table,)).fetchone()
    return None if found is None else found[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _wkb(blob: Any) -> bytes | None:
    """The WKB within a GeoPackage's geometry; None if the blob is not one."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < _HEADER_BYTES:
        return None
    return blob[_HEADER_BYTES + _ENVELOPE_BYTES.get(blob[3] >> 1 & 7, 0) :]


def _rows(batch: Any) -> Rows:
    numbered = pa.types.is_integer(batch.schema.types[0])
    ids = np.asarray(batch.column(0), np.int64) if numbered else np.zeros(batch.num_rows, np.int64)
    names = batch.column("class").to_pylist() if "class" in batch.schema.names else None
    return Rows(ids, names, batch.column(batch.num_columns - 1).to_pylist())


def _errors() -> tuple[type[Exception], ...]:
    """What reading rows of a damaged file may raise."""
    e = pyogrio.errors
    return (
        e.DataLayerError, e.DataSourceError, e.FeatureError, e.FieldError, e.GeometryError, RuntimeError,
        pa.ArrowException, sqlite3.Error,
    )  # fmt: skip
