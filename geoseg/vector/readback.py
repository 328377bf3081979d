"""Whether a vector file reads back the geometries that were written to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoseg.errors import OutputError, WriteError
from geoseg.files.plain import plain_path
from geoseg.kernels import compiled
from geoseg.lazy import lazy
from geoseg.vector.arrow import PARQUET, VectorSpec, read_geometries
from geoseg.vector.tiles import PMTILES, count_polygons

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
else:
    pa = lazy("pyarrow")
    pyogrio = lazy("pyogrio")

_BATCH = 256

_EXACT = ("GPKG", "FlatGeobuf", PARQUET)
"""Drivers that return coordinates as they were written."""

_INDEXED = ("GPKG", "FlatGeobuf")
"""Drivers that write a spatial index."""


class Checksum(NamedTuple):
    """A summary of geometries that does not depend on their order.

    Attributes:
        polygons: number of geometries.
        size: bytes of their WKB.
        octets: sum of the values of these bytes.
    """

    polygons: int = 0
    size: int = 0
    octets: int = 0

    def add(self, geometries: Any) -> Checksum:
        """Return the checksum with the geometries of an Arrow array, binary or large binary, added."""
        _, offsets, content = geometries.buffers()
        dtype = np.int64 if pa.types.is_large_binary(geometries.type) else np.int32
        ends = np.frombuffer(offsets, dtype)[geometries.offset : geometries.offset + len(geometries) + 1]
        octets = np.frombuffer(content or b"", np.uint8)
        octets = octets[ends[0] : ends[-1]] if len(geometries) else octets[:0]
        return Checksum(self.polygons + len(geometries), self.size + len(octets), self.octets + int(_sum(octets)))


@compiled
def _sum(octets: Any) -> int:
    """The sum of bytes; numpy, which makes each an int64 first, takes six times as long."""
    total = 0
    for octet in octets:
        total += octet
    return total


def verify(path: Path, written: Path, spec: VectorSpec, checksum: Checksum) -> None:
    """Read a file back and compare it with what was written.

    Formats that round or reproject coordinates are compared by the number of polygons only, vector tiles by those of
    their largest zoom.

    Args:
        path: the output, for messages.
        written: the complete file, at a temporary path.
        spec: of its layer.
        checksum: of all geometries that were written.

    Raises:
        WriteError: they differ, or the spatial index is missing.
        OutputError: there are polygons that vector tiles do not hold even at the largest zoom.
    """
    if spec.driver == PMTILES:
        _verify_tiles(path, written, checksum.polygons)
        return
    with plain_path(written) as readable:
        _verify(path, readable, spec, checksum)


def _verify_tiles(path: Path, written: Path, polygons: int) -> None:
    found = count_polygons(written)
    if found > polygons:
        raise WriteError(f"{path}: reads back other polygons than were written; is the disk full or failing?")
    if found < polygons:
        raise OutputError(
            f"{path}: {polygons - found} of {polygons} polygons do not fit into vector tiles, as too many are small; "
            f"raise --min-area, or write {path.with_suffix('.gpkg').name} instead"
        )


def _verify(path: Path, written: Path, spec: VectorSpec, checksum: Checksum) -> None:
    if spec.driver in _EXACT:
        found = Checksum()
        for geometries in _geometries(written, spec):
            found = found.add(geometries)
    else:
        count = int(pyogrio.read_info(written, force_feature_count=True)["features"])
        found = checksum._replace(polygons=count)
    if found != checksum:
        raise WriteError(f"{path}: reads back other polygons than were written; is the disk full or failing?")
    # GDAL writes a GeoPackage's index when it closes the file, and does not report a failure to do so.
    if checksum.polygons and spec.driver in _INDEXED:
        info = pyogrio.read_info(written, layer=spec.layer if spec.driver == "GPKG" else None)
        if not info["capabilities"]["fast_spatial_filter"]:
            raise WriteError(f"{path}: was written without its spatial index; is the disk full or failing?")


def _geometries(path: Path, spec: VectorSpec) -> Iterator[Any]:
    """Yield the geometries of a file as Arrow arrays, in the order in which the format keeps them."""
    if spec.driver == PARQUET:
        yield from read_geometries(path)
        return
    with pyogrio.open_arrow(path, columns=[], batch_size=_BATCH, use_pyarrow=True) as (_, stream):
        for batch in stream:
            yield batch.column(batch.num_columns - 1)
