"""Reads polygons from GeoParquet (geoparquet.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from geoseg.areas.shapes import BATCH, from_wkb
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
    from pyarrow import parquet
else:
    pyproj = lazy("pyproj")
    parquet = lazy("pyarrow.parquet")


def open_geoparquet(path: Path) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS and the geometries of a file, in batches.

    Raises:
        ValueError, KeyError, TypeError: The file has no geometries as WKB.
        pyarrow.ArrowException: It is damaged; while the geometries are read, too.
        pyproj.exceptions.CRSError: The CRS is unknown.
    """
    with parquet.ParquetFile(path) as file:
        metadata = (file.metadata.metadata or {}).get(b"geo")
    if metadata is None:
        raise ValueError("is Parquet without geometries")
    geo = json.loads(metadata)
    name = geo["primary_column"]
    column = geo["columns"][name]
    if column["encoding"] != "WKB":
        raise ValueError(f"its geometries are encoded as {column['encoding']}, not as WKB")
    if column.get("edges", "planar") != "planar":
        raise ValueError("its edges are great circles, not straight lines")
    # Without the member, coordinates are longitude and latitude; null means that the CRS is unknown.
    crs = column.get("crs", "OGC:CRS84")
    return None if crs is None else pyproj.CRS.from_user_input(crs), _geometries(path, name)


def _geometries(path: Path, name: str) -> Iterator[NDArray[Any]]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=[name]):
            yield from_wkb(batch.column(0).to_pylist())
