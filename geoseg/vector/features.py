"""Reads the geometries of a vector file together with one of its fields, a batch at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.shapes import BATCH
from geoseg.errors import InputError, SettingError, first_line
from geoseg.lazy import lazy
from geoseg.raster.guards import regular_file
from geoseg.vector.description import MARKS, STYLES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
    import pyproj
    import shapely
    from pyarrow import parquet
else:
    pa = lazy("pyarrow")
    pyogrio = lazy("pyogrio")
    pyproj = lazy("pyproj")
    shapely = lazy("shapely")
    parquet = lazy("pyarrow.parquet")

Value = str | int
"""A value of a field that names a class: text without blanks around it, or a whole number."""

_SHOWN = 12


class FeatureBatch(NamedTuple):
    """Some features.

    Attributes:
        shapes: Geometries of shapely, object (n,); None for a feature without one.
        values: The values of the field; None where it is empty.
    """

    shapes: NDArray[Any]
    values: list[Value | None]


class Features(NamedTuple):
    """The features of one layer.

    Attributes:
        crs: Their CRS; None if the file names none.
        batches: The features; each batch is read when it is needed.
    """

    crs: pyproj.CRS | None
    batches: Iterator[FeatureBatch]


def open_features(path: Path, field: str, layer: str | None = None) -> Features:
    """Open a vector file.

    Args:
        path: A file with a suffix and a content of `geoseg.vector.description.MARKS`.
        field: The field to read.
        layer: The layer; None for the only one.

    Raises:
        InputMissingError: There is no such file.
        InputError: It is no such file, is damaged, or has fractions in the field; while the batches are read, too.
        SettingError: It does not have the field or the layer, or several layers and none is given.
    """
    file = regular_file(path)
    suffix = file.suffix.lower()
    if suffix in (".csv", ".txt", ".tsv"):
        raise InputError(
            f"{path}: is a table; make points of its columns, for instance x and y: ogr2ogr -oo X_POSSIBLE_NAMES=x "
            f"-oo Y_POSSIBLE_NAMES=y -a_srs EPSG:4326 {path.with_suffix('.gpkg').name} {path.name}"
        )
    if suffix not in MARKS:
        raise InputError(
            f"{path}: is not a vector file that references are read from ({', '.join(MARKS)}); convert it: "
            f"ogr2ogr {path.with_suffix('.gpkg').name} {path.name}"
        )
    mark, kind = MARKS[suffix]
    with file.open("rb") as stream:
        begin = stream.read(64)
    if not begin.lstrip(b"\xef\xbb\xbf\x1e \t\r\n" if mark == b"{" else b"").startswith(mark):
        # GDAL would go by the content, which may name other files.
        raise InputError(f"{path}: is not a {kind} file as its name says; give the file itself")
    try:
        opened = _parquet(path, file, field) if suffix == ".parquet" else _layer(path, file, field, layer)
    except _failures() as error:
        if isinstance(error, InputError | SettingError):
            raise
        raise InputError(f"{path}: cannot be read as {kind} ({first_line(error)}); save it again") from error
    return Features(opened.crs, _guarded(path, kind, opened.batches))


def _guarded(path: Path, kind: str, batches: Iterator[FeatureBatch]) -> Iterator[FeatureBatch]:
    try:
        yield from batches
    except InputError:
        raise
    except _failures() as error:
        raise InputError(f"{path}: cannot be read as {kind} ({first_line(error)}); save it again") from error


def _layer(path: Path, file: Path, field: str, layer: str | None) -> Features:
    found = [(str(name), kind) for name, kind in pyogrio.list_layers(file) if name != STYLES]
    names = [name for name, kind in found if kind is not None]
    if layer is None and len(names) != 1:
        if not names:
            raise InputError(f"{path}: has no layer with geometries, but tables only; give points, lines or polygons")
        raise SettingError(f"{path}: has several layers, {', '.join(names)}; choose one with --reference-layer")
    if layer is not None and layer not in names:
        raise SettingError(f"{path}: has no layer {layer!r}; it has {', '.join(names) or 'none'}")
    layer = layer or names[0]
    info = pyogrio.read_info(file, layer=layer)
    _check_field(path, field, [str(name) for name in info["fields"]])

    def batches() -> Iterator[FeatureBatch]:
        options: Any = {"layer": layer, "columns": [field], "batch_size": BATCH, "use_pyarrow": True}
        with pyogrio.raw.open_arrow(file, **options) as (meta, reader):
            geometry = meta["geometry_name"] or "wkb_geometry"
            for batch in reader:
                yield _batch(path, field, batch.column(geometry).to_pylist(), batch.column(field).to_pylist())

    crs = info["crs"]
    return Features(None if crs is None else pyproj.CRS.from_user_input(crs), batches())


def _parquet(path: Path, file: Path, field: str) -> Features:
    with closing(parquet.ParquetFile(file)) as opened:
        geo = json.loads((opened.metadata.metadata or {})[b"geo"])
        _check_field(path, field, [name for name in opened.schema_arrow.names if name != geo["primary_column"]])
    name = geo["primary_column"]
    column = geo["columns"][name]
    if column["encoding"] != "WKB":
        raise ValueError(f"its geometries are encoded as {column['encoding']}, not as WKB")

    def batches() -> Iterator[FeatureBatch]:
        with closing(parquet.ParquetFile(file)) as opened:
            for batch in opened.iter_batches(BATCH, columns=[name, field]):
                yield _batch(path, field, batch.column(name).to_pylist(), batch.column(field).to_pylist())

    crs = column.get("crs", "OGC:CRS84")
    return Features(None if crs is None else pyproj.CRS.from_user_input(crs), batches())


def _check_field(path: Path, field: str, names: list[str]) -> None:
    if field not in names:
        shown = ", ".join(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")
        raise SettingError(f"{path}: has no field {field!r}; it has {shown or 'none'}: name one with --field")


def _batch(path: Path, field: str, blobs: list[Any], values: list[Any]) -> FeatureBatch:
    with np.errstate(invalid="ignore"):
        shapes = np.array(shapely.from_wkb(np.array(blobs, object)), object, ndmin=1)
    return FeatureBatch(shapely.force_2d(shapes), [_value(path, field, value) for value in values])


def _value(path: Path, field: str, value: Any) -> Value | None:
    """The value of a field as text or as a whole number; None where it is empty."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if not value.is_integer():
            raise InputError(f"{path}: {field} is {value} in a feature; classes are texts or whole numbers")
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return " ".join(str(value).split()) or None


def _failures() -> tuple[type[Exception], ...]:
    """What reading a damaged file may raise."""
    e = pyogrio.errors
    return (
        e.DataSourceError, e.DataLayerError, e.FieldError, e.GeometryError, pa.ArrowException,
        shapely.errors.ShapelyError, pyproj.exceptions.CRSError, OSError, KeyError, TypeError, ValueError, RuntimeError,
    )  # fmt: skip
