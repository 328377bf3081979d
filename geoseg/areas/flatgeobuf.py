"""Reads polygons from FlatGeobuf (flatgeobuf.org): tables in the binary layout of FlatBuffers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.shapes import batches, feature, polygon
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7
_CURVED = (10, 12)
_NODE_BYTES = 40
_MAX_HEADER_BYTES = 64 << 20


class _Table:
    """A table of a FlatBuffer: its fields by number."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self._position = data, position
        self._fields = position - _number(data, "<i", position)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _number(data, "<I", 0))

    def _field(self, number: int) -> int:
        """Position of a field; 0 if it is absent."""
        entry = 4 + 2 * number
        if entry >= _number(self.data, "<H", self._fields):
            return 0
        offset = _number(self.data, "<H", self._fields + entry)
        return self._position + offset if offset else 0

    def scalar(self, number: int, form: str, default: int = 0) -> int:
        position = self._field(number)
        return _number(self.data, form, position) if position else default

    def table(self, number: int) -> _Table | None:
        position = self._field(number)
        return _Table(self.data, position + _number(self.data, "<I", position)) if position else None

    def array(self, number: int, dtype: str) -> NDArray[Any]:
        position = self._field(number)
        if not position:
            return np.empty(0, dtype)
        position += _number(self.data, "<I", position)
        return np.frombuffer(self.data, dtype, _number(self.data, "<I", position), position + 4)

    def text(self, number: int) -> str:
        return self.array(number, "u1").tobytes().decode()

    def tables(self, number: int) -> list[_Table]:
        offsets = self.array(number, "<u4")
        start = self._field(number)
        start += _number(self.data, "<I", start) + 4 if start else 0
        return [_Table(self.data, start + 4 * k + int(offset)) for k, offset in enumerate(offsets)]


def _number(data: bytes, form: str, position: int) -> int:
    if position < 0:
        raise ValueError("an offset points outside of the file")
    return int(struct.unpack_from(form, data, position)[0])


def open_flatgeobuf(path: Path) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS and the polygons of a file, in batches.

    Raises:
        ValueError, struct.error: The file is damaged, or has curves; while the polygons are read, too.
        pyproj.exceptions.CRSError: The CRS is unknown.
    """
    with path.open("rb") as file:
        header, _ = _header(file)
    return _crs(header.table(10)), batches(_all_shapes(path))


def _header(file: BinaryIO) -> tuple[_Table, int]:
    """The header, and the position of the first feature."""
    size = struct.unpack("<I", file.read(12)[8:])[0]
    if size > _MAX_HEADER_BYTES:
        raise ValueError("its header is damaged")
    header = _Table.root(file.read(size))
    count, node_size = header.scalar(8, "<Q"), header.scalar(9, "<H", 16)
    nodes = level = count if node_size else 0
    while level > 1:
        level = -(-level // max(2, node_size))
        nodes += level
    return header, 12 + size + _NODE_BYTES * nodes


def _crs(table: _Table | None) -> pyproj.CRS | None:
    if table is None:
        return None
    organisation, code, wkt = table.text(0) or "EPSG", table.scalar(1, "<i"), table.text(4)
    if code > 0:
        with suppress(pyproj.exceptions.CRSError):
            return pyproj.CRS.from_authority(organisation, code)
    return pyproj.CRS.from_wkt(wkt) if wkt else None


def _all_shapes(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        header, position = _header(file)
        kind = header.scalar(2, "<B")
        end = path.stat().st_size
        while position < end:
            file.seek(position)
            size = struct.unpack("<I", file.read(4))[0]
            if position + 4 + size > end:
                raise ValueError("it is truncated")
            geometry = _Table.root(file.read(size)).table(0)
            # Tables may share their parts: hostile ones would be far larger in memory than in the file.
            yield feature([] if geometry is None else _shapes(geometry, kind, [size]))
            position += 4 + size


def _shapes(geometry: _Table, kind: int, budget: list[int], depth: int = 0) -> list[Any]:
    """The polygons of a geometry; `budget` is the number of bytes that they may still take."""
    kind = geometry.scalar(6, "<B") or kind
    vertices = geometry.array(1, "<f8")
    budget[0] -= 8 + vertices.nbytes
    if budget[0] < 0 or depth > 2:
        raise ValueError("its geometries refer to each other")
    if kind in _CURVED:
        raise ValueError("it has curves; convert them to polygons")
    if kind in (_MULTIPOLYGON, _COLLECTION):
        inner = _POLYGON if kind == _MULTIPOLYGON else 0
        parts = geometry.tables(7)
        return [shape for part in parts for shape in _shapes(part, inner, budget, depth + 1)]
    if kind != _POLYGON or not len(vertices):
        return []
    points = vertices.reshape(-1, 2)
    ends = geometry.array(0, "<u4").tolist() or [len(points)]
    return [polygon([points[start:end] for start, end in zip([0, *ends], ends, strict=False)])]
