"""Polygons as Arrow record batches with WKB geometries, and GeoParquet 1.1 (geoparquet.org).

Polygons stay columns of numbers from the raster to the file: no Python object is made for any of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyarrow as pa
    import pyproj
    from pyarrow import parquet
else:
    pa = lazy("pyarrow")
    pyproj = lazy("pyproj")
    parquet = lazy("pyarrow.parquet")

from geoseg.vector.arrow_arrays import number_array, repeated_texts
from geoseg.vector.tiles import Zooms

GEOMETRY = "geometry"
"""Name of the geometry column in a record batch, and in every format that does not set its own."""

PARQUET = "Parquet"
"""Stands for a GDAL driver: the GDAL in pyogrio's wheels has no Parquet driver, so Arrow writes the file."""

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""


class Categorical(NamedTuple):
    """A column of text with few different values.

    Attributes:
        codes: integers (n,), the index of each row's text in `categories`; one that is masked has none.
        categories: the different texts.
    """

    codes: NDArray[Any]
    categories: Sequence[str]


Column = NDArray[Any] | Categorical


@dataclass(frozen=True)
class VectorSpec:
    """A polygon layer to write.

    Attributes:
        driver: GDAL driver that writes the file, or `PARQUET`.
        layer: name of the layer.
        columns: column name -> numpy dtype, or "string"; the geometry is not among them.
        wkt: CRS as it was read from the raster; None without a CRS.
        epoch: coordinate epoch of a dynamic CRS, in decimal years, which is written if the format has a place for it.
        zooms: zoom levels of vector tiles; None in other formats.
    """

    driver: str
    layer: str
    columns: Mapping[str, str]
    wkt: str | None
    epoch: float | None = None
    zooms: Zooms | None = None

    @property
    def schema(self) -> Any:
        """The Arrow schema: the columns, then the geometry as large binary."""
        types = {
            name: pa.string() if dtype == "string" else pa.from_numpy_dtype(dtype)
            for name, dtype in self.columns.items()
        }
        return pa.schema([*(pa.field(*item) for item in types.items()), pa.field(GEOMETRY, pa.large_binary())])


def record_batch(
    spec: VectorSpec, columns: Mapping[str, Column], wkb: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> Any:
    """Return n polygons as an Arrow record batch; the geometries are not copied.

    Args:
        spec: names, types and order of the columns.
        columns: the values of each column of `spec`, (n,).
        wkb: uint8, the geometries one after the other.
        offsets: int64 (n + 1,), where each geometry begins and the last one ends.
    """
    count = len(offsets) - 1
    geometries = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(wkb)])
    schema = spec.schema
    arrays = []
    for name in spec.columns:
        column = columns[name]
        arrays.append(
            repeated_texts(column.codes, column.categories)
            if isinstance(column, Categorical)
            else number_array(column, schema.field(name).type)
        )
    return pa.record_batch([*arrays, geometries], schema=schema)


def ipc_stream(
    spec: VectorSpec, columns: Mapping[str, Column], wkb: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> bytes:
    """Return `record_batch` of the same arguments as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, spec.schema) as stream:
        stream.write_batch(record_batch(spec, columns, wkb, offsets))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_geoparquet(path: Path, spec: VectorSpec, batches: Iterable[Any], bounds: Callable[[], Bounds | None]) -> None:
    """Write record batches of polygons as GeoParquet, one row group for each, with the CRS as PROJJSON.

    Args:
        path: file to write.
        spec: its layer.
        batches: the record batches.
        bounds: called after the last batch; returns the bounds of all polygons, or None if there is no polygon.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "orientation": "counterclockwise",
        "edges": "planar",
        # If the member were missing, readers would assume OGC:CRS84.
        "crs": None if spec.wkt is None else pyproj.CRS.from_wkt(spec.wkt).to_json_dict(),
        **({} if spec.epoch is None else {"epoch": spec.epoch}),
    }
    # The stored Arrow schema would announce 64-bit offsets, which some readers do not support.
    with parquet.ParquetWriter(path, spec.schema, compression="zstd", store_schema=False) as file:
        for batch in batches:
            file.write_batch(batch)
        total_bounds = bounds()
        if total_bounds is not None:
            column["bbox"] = list(total_bounds)
        metadata = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        file.add_key_value_metadata({"geo": json.dumps(metadata)})


def read_geometries(path: Path) -> Iterator[Any]:
    """Yield the geometries of a GeoParquet file as large-binary Arrow arrays, one or more for each row group."""
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for chunk in file.read_row_group(group, columns=[GEOMETRY]).column(0).chunks:
                yield chunk.cast(pa.large_binary())
