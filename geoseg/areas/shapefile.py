"""Reads polygons from a Shapefile (ESRI Shapefile Technical Description, 1998)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.shapes import batches, feature, polygon
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
    import shapely
else:
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")

_POLYGONS = (5, 15, 25)
"""Codes of polygons without and with heights and measures."""
_MULTIPATCH = 31
_MAX_PRJ_BYTES = 1 << 20


def open_shapefile(path: Path, prj: Path | None, dbf: Path | None) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS and the polygons of a Shapefile, in batches; rows that are marked as deleted are left out.

    Args:
        path: The file of geometries.
        prj: The file with the CRS; None if there is none.
        dbf: The file of attributes; None if there is none.

    Raises:
        ValueError, struct.error: The file is damaged, or has surfaces in space; while the polygons are read, too.
        pyproj.exceptions.CRSError: The CRS is unknown.
    """
    crs = None
    if prj is not None:
        with prj.open("rb") as file:
            text = file.read(_MAX_PRJ_BYTES).decode("utf-8-sig", errors="replace").strip("\x00 \t\r\n")
        crs = pyproj.CRS.from_wkt(text) if text else None
    return crs, batches(_shapes(path, set() if dbf is None else _deleted(dbf)))


def _deleted(path: Path) -> set[int]:
    """The rows that are marked as deleted, counted from 0."""
    with path.open("rb") as file:
        head = file.read(32)
        if len(head) < 32:
            return set()
        rows, start, size = struct.unpack_from("<IHH", head, 4)
        file.seek(start)
        found = set()
        for row in range(rows):
            record = file.read(size)
            if not record:
                break
            if record[:1] == b"*":
                found.add(row)
        return found


def _shapes(path: Path, deleted: set[int]) -> Iterator[Any]:
    with path.open("rb") as file:
        header = file.read(100)
        end = 2 * struct.unpack_from(">i", header, 24)[0]
        if end > path.stat().st_size:
            raise ValueError("it is truncated")
        position, row = 100, 0
        while position < end:
            file.seek(position)
            words = struct.unpack(">ii", file.read(8))[1]
            content = file.read(2 * words)
            if words < 2 or len(content) < 2 * words:
                raise ValueError(f"record {row + 1} is damaged")
            shape = _polygon(content)
            if row not in deleted:
                yield feature([] if shape is None else [shape])
            position, row = position + 8 + 2 * words, row + 1


def _polygon(content: bytes) -> Any:
    kind = struct.unpack_from("<i", content)[0]
    if kind == _MULTIPATCH:
        raise ValueError("it holds surfaces in space (multipatches), not polygons")
    if kind not in _POLYGONS:
        return None
    parts, points = struct.unpack_from("<ii", content, 36)
    starts = np.frombuffer(content, "<i4", parts, 44).astype(np.int64)
    vertices = np.frombuffer(content, "<f8", 2 * points, 44 + 4 * parts).reshape(-1, 2)
    ends = np.append(starts[1:], points)
    if parts < 1 or starts[0] != 0 or (ends < starts).any() or ends[-1] != points:
        raise ValueError("the parts of a polygon are damaged")
    rings = [vertices[start:end] for start, end in zip(starts, ends, strict=True) if end - start >= 4]
    if len(rings) < 2:
        return polygon(rings) if rings else None
    if not np.isfinite(vertices).all():
        raise ValueError("a vertex is not finite")
    # Writers disagree about the sense of rings, so only their nesting tells holes from parts.
    lines = shapely.node(shapely.MultiLineString(rings))
    return shapely.build_area(lines)
