"""Polygons as Arrow record batches with WKB geometries, and GeoParquet 1.1 (OGC, geoparquet.org): no polygon is ever an
object of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray
from pyarrow import parquet

from geoseg.kernels import compiled

GEOMETRY = "geometry"
"""Name of the column of geometries, in every format."""

PARQUET = "Parquet"
"""In place of a driver of GDAL's, whose wheels have none for it."""


Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""


class Names(NamedTuple):
    """A column of names: each feature's place in the list of all."""

    places: NDArray[Any]
    names: Sequence[str]


Column = NDArray[Any] | Names


@dataclass(frozen=True)
class VectorSpec:
    """A layer of polygons: GDAL's driver that writes it, its name, the columns (name -> numpy type, or "string"), and
    the WKT of the CRS as it was read (None: none)."""

    driver: str
    layer: str
    columns: Mapping[str, str]
    wkt: str | None

    @property
    def schema(self) -> Any:
        """The columns and the geometry in Arrow's terms."""
        kinds = {
            name: pa.string() if kind == "string" else pa.from_numpy_dtype(kind) for name, kind in self.columns.items()
        }
        return pa.schema([*(pa.field(*item) for item in kinds.items()), pa.field(GEOMETRY, pa.large_binary())])


def batch_of(
    spec: VectorSpec, columns: Mapping[str, Column], wkb: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> Any:
    """Return features as a record batch: the columns of `spec`, and the geometries that lie between `offsets` in the
    bytes `wkb`."""
    count = len(offsets) - 1
    geometries = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(wkb)])
    given = [columns[name] for name in spec.columns]
    arrays = [pa.array(c.names, pa.string()).take(pa.array(c.places)) if isinstance(c, Names) else c for c in given]
    return pa.record_batch([*arrays, geometries], schema=spec.schema)


def packed(
    spec: VectorSpec, columns: Mapping[str, Column], wkb: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> bytes:
    """Return the features of `batch_of` as a stream of Arrow."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, spec.schema) as stream:
        stream.write_batch(batch_of(spec, columns, wkb, offsets))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def octet_sum(octets: NDArray[np.uint8]) -> int:
    """Return the sum of bytes, (n,) and contiguous, which does not depend on the order of features."""
    lead = min(-octets.ctypes.data % 8, len(octets))
    stop = lead + (len(octets) - lead) // 8 * 8
    words = octets[lead:stop].view(np.uint64)
    return int(_octet_sum(words)) + int(octets[:lead].sum(dtype=np.int64)) + int(octets[stop:].sum(dtype=np.int64))


@compiled
def _octet_sum(words: Any) -> Any:
    """Sum the bytes of uint64: eight at a time, in lanes of 16 bits, which hold those of 128 words."""
    total, even, lane = np.uint64(0), np.uint64(0x00FF00FF00FF00FF), np.uint64(0xFFFF)
    for start in range(0, len(words), 128):
        lanes = np.uint64(0)
        for k in range(start, min(start + 128, len(words))):
            lanes += (words[k] & even) + ((words[k] >> np.uint64(8)) & even)
        for shift in range(0, 64, 16):
            total += (lanes >> np.uint64(shift)) & lane
    return total


def write_geoparquet(
    path: Path, schema: Any, wkt: str | None, batches: Iterable[Any], bounds: Callable[[], Bounds | None]
) -> None:
    """Write record batches of polygons, a row group each, with the CRS as PROJJSON.

    bounds: asked for after the last batch.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "orientation": "counterclockwise",
        "edges": "planar",
        # Without the member, readers would take OGC:CRS84 for granted.
        "crs": None if wkt is None else pyproj.CRS.from_wkt(wkt).to_json_dict(),
    }
    # Arrow's own schema would tell readers of 64-bit offsets, which not all of them know.
    with parquet.ParquetWriter(path, schema, compression="zstd", store_schema=False) as file:
        for batch in batches:
            file.write_batch(batch)
        found = bounds()
        if found is not None:
            column["bbox"] = list(found)
        described = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        file.add_key_value_metadata({"geo": json.dumps(described)})


def read_geometries(path: Path) -> Iterator[Any]:
    """Yield the geometries of a file, an Arrow array for each row group."""
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for chunk in file.read_row_group(group, columns=[GEOMETRY]).column(0).chunks:
                yield chunk.cast(pa.large_binary())
