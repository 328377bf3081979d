"""Reads the polygons of a vector file, whatever its name: its first bytes decide which reader takes it.

The readers are geoseg's own. GDAL cannot be kept to one driver for vector files; it would let a file choose among some
sixty drivers, of which several open other files or addresses that the file names.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from geoseg.areas.flatgeobuf import open_flatgeobuf
from geoseg.areas.geojson import open_geojson
from geoseg.areas.geopackage import open_geopackage
from geoseg.areas.geoparquet import open_geoparquet
from geoseg.areas.markup import open_markup
from geoseg.areas.shapefile import open_shapefile
from geoseg.errors import InputError, SettingError, first_line
from geoseg.lazy import lazy
from geoseg.raster.guards import regular_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyproj
    import shapely

    _Opened = tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]
else:
    pa = lazy("pyarrow")
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")

MAX_TEXT_BYTES = 256 << 20
"""Largest GeoJSON, KML or GML file, which is parsed in memory."""

_FORMATS = "GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoParquet, KML or GML"


class Areas(NamedTuple):
    """The geometries of one layer of a vector file.

    Attributes:
        crs: Their CRS; None if the file names none.
        batches: Arrays of shapely geometries, dtype object (n,), one for each feature (in KML and GML, for each
            polygon): empty or None where it has no polygon. Each is read when it is needed.
        files: The files that are read.
    """

    crs: pyproj.CRS | None
    batches: Iterator[NDArray[Any]]
    files: tuple[Path, ...]


def open_areas(path: Path, layer: str | None = None) -> Areas:
    """Open a vector file.

    Args:
        path: The file.
        layer: The layer of a GeoPackage to read; None for the one that holds polygons.

    Raises:
        InputMissingError: There is no such file.
        InputError: It is not one of the formats above, is damaged, or has several layers with polygons; while `batches`
            are read, too.
        SettingError: The file does not have the layer.
    """
    file = regular_file(path)
    with file.open("rb") as stream:
        head = stream.read(64)
    kind, files, open_layer = _reader(path, file, head, layer)

    def guarded(batches: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        try:
            yield from batches
        except InputError:
            raise
        except _malformed() as error:
            raise InputError(f"{path}: cannot be read as {kind} ({first_line(error)})") from error

    try:
        crs, batches = open_layer()
    except (InputError, SettingError):
        raise
    except _malformed() as error:
        raise InputError(f"{path}: cannot be read as {kind} ({first_line(error)})") from error
    return Areas(crs, guarded(batches), files)


def _reader(
    path: Path, file: Path, head: bytes, layer: str | None
) -> tuple[str, tuple[Path, ...], Callable[[], _Opened]]:
    """The name of the format, the files to read, and the function that reads them."""
    if head.startswith(b"SQLite format 3\x00"):
        return "GeoPackage", (file,), lambda: open_geopackage(path, file, layer)
    if layer is not None:
        raise SettingError(f"{path}: has no layers to choose from; leave --aoi-layer out")
    if head.startswith(b"fgb\x03fgb"):
        return "FlatGeobuf", (file,), lambda: open_flatgeobuf(file)
    if head.startswith(b"PAR1"):
        return "GeoParquet", (file,), lambda: open_geoparquet(file)
    if head.startswith(b"\x00\x00\x27\x0a"):
        return _shapefile(path, file)
    start = head.lstrip(b"\xef\xbb\xbf\x1e \t\r\n")
    text: tuple[str, Callable[[bytes], _Opened]] | None = None
    if start.startswith(b"{"):
        text = "GeoJSON", open_geojson
    elif start.startswith(b"<") or head.startswith((b"\xff\xfe<", b"\xfe\xff\x00<")):
        text = "KML or GML", open_markup
    if text is not None:
        kind, open_text = text
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(
                f"{path}: is a text of {file.stat().st_size >> 20} MiB; convert it to a GeoPackage: "
                f"ogr2ogr area.gpkg {path}"
            )
        return kind, (file,), lambda: open_text(file.read_bytes())
    if head.startswith(b"PK\x03\x04"):
        raise InputError(f"{path}: is a ZIP archive; unpack it, and give the file inside")
    raise InputError(f"{path}: is not a vector file that geoseg reads: {_FORMATS}")


def _shapefile(path: Path, file: Path) -> tuple[str, tuple[Path, ...], Callable[[], _Opened]]:
    if file.suffix.lower() == ".shx":
        raise InputError(f"{path}: is the index of a Shapefile; give {path.with_suffix('.shp').name}")
    sidecars = {}
    for suffix in (".prj", ".dbf"):
        found = next((p for s in (suffix, suffix.upper()) if (p := file.with_suffix(s)).exists()), None)
        if found is not None:
            sidecars[suffix] = regular_file(found)
    files = (file, *sidecars.values())
    return "Shapefile", files, lambda: open_shapefile(file, sidecars.get(".prj"), sidecars.get(".dbf"))


def _malformed() -> tuple[type[Exception], ...]:
    """What reading a damaged file may raise."""
    return (
        ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError, SyntaxError,
        OSError, struct.error, sqlite3.Error, shapely.errors.ShapelyError, pa.ArrowException,
        pyproj.exceptions.CRSError,
    )  # fmt: skip
