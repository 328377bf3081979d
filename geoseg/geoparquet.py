"""GeoParquet 1.1 (OGC, geoparquet.org): Parquet with WKB geometries and a description of them in its metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyproj
from pyarrow import parquet

from geoseg.features import GEOMETRY, Bounds


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
