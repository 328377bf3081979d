"""Checks of polygons, in batches of which one is in memory: geometries, ids, names, and areas against a raster."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from geoseg.checks.findings import Finding, Report
from geoseg.errors import InputError, first_line
from geoseg.vector.arrow import PARQUET

_BATCH = 1024
_TOLERANCE = 1e-8
_FAILURES = (
    DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, RuntimeError, pa.ArrowException,
    sqlite3.Error,
)  # fmt: skip
_ENVELOPES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}

Batch = tuple[NDArray[np.int64], list[Any] | None, Sequence[Any]]
"""Ids, names of classes, and WKB of some features."""


class Layer:
    """The polygons of `path` in `layer` (None: the first one), read once from end to end.

    Ids are in the first column, as geoseg writes them. count, invalid: of all features, and of those whose geometry is
    not valid, no polygon or empty. areas: id -> the sum of areas in units of the CRS. names: (id, class) that occur.

    Raises:
        InputError: the file cannot be read, or has no such layer.
    """

    def __init__(self, path: Path, driver: str, layer: str | None = None) -> None:
        self.path = path
        self.count = self.invalid = 0
        self.claimed: int | None = None
        self.first_invalid: int | None = None
        self.areas: Counter[int] = Counter()
        self.names: set[tuple[int, str]] = set()
        try:
            for batch in self._batches(driver, layer):
                self._take(*batch)
        except _FAILURES as error:
            raise InputError(f"{path}: cannot be read ({first_line(error)}); write it again") from error

    def _batches(self, driver: str, layer: str | None) -> Iterator[Batch]:
        if driver == "GPKG":
            yield from self._geopackage(layer)
        elif driver == PARQUET:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                self.claimed = int(file.metadata.num_rows)
                yield from map(_columns, file.iter_batches(_BATCH))
        else:
            self.claimed = int(pyogrio.read_info(self.path)["features"])
            with pyogrio.open_arrow(self.path, batch_size=_BATCH, use_pyarrow=True) as (_, stream):
                yield from map(_columns, stream)

    def _geopackage(self, layer: str | None) -> Iterator[Batch]:
        """The features of a GeoPackage, by SQLite: GDAL 3.10 reads some twice where others have been deleted."""
        with closing(connect(self.path)) as file:
            names = (
                "SELECT table_name, column_name FROM gpkg_geometry_columns WHERE table_name = coalesce(?, table_name)"
            )
            found = file.execute(names, (layer,)).fetchone()
            if found is None:
                raise InputError(f"{self.path}: has no layer {layer or 'of polygons'}")
            table, geometry = map(str, found)
            self.claimed = _claimed(file, table)
            columns = [row[1] for row in file.execute(f"PRAGMA table_info({_quoted(table)})") if not row[5]]
            known = [name for name in columns if name != geometry]
            wanted = [geometry, *(known[:1] or [geometry]), *(["class"] if "class" in known else [])]
            rows = file.execute(f"SELECT {', '.join(map(_quoted, wanted))} FROM {_quoted(table)}")
            while some := rows.fetchmany(_BATCH):
                shapes, ids, *named = zip(*some, strict=True)
                whole = all(isinstance(value, int) for value in ids)
                yield (
                    np.array(ids if whole else [0] * len(ids), np.int64),
                    list(named[0]) if named else None,
                    [_without_head(blob) for blob in shapes],
                )

    def _take(self, ids: NDArray[np.int64], names: list[Any] | None, geometries: Sequence[Any]) -> None:
        shapes = shapely.from_wkb(np.array(geometries, object), on_invalid="ignore")
        whole = _whole(shapes)
        if not whole.all() and self.first_invalid is None:
            self.first_invalid = self.count + int(np.argmin(whole))
        self.count += len(ids)
        self.invalid += int(np.count_nonzero(~whole))
        areas = np.where(whole, shapely.area(shapes), 0.0)
        present, places = np.unique(ids, return_inverse=True)
        for value, area in zip(present.tolist(), np.bincount(places, areas).tolist(), strict=True):
            self.areas[value] += area
        if names is not None:
            self.names |= {(value, str(name)) for value, name in zip(ids.tolist(), names, strict=True)}


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a GeoPackage by which SQLite writes nothing, and takes no lock."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


def _claimed(file: sqlite3.Connection, table: str) -> int | None:
    """How many features GDAL counted when it wrote."""
    if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_ogr_contents'").fetchone():
        return None
    found = file.execute("SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?", (table,)).fetchone()
    return None if found is None else found[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without_head(blob: Any) -> bytes | None:
    """The WKB in a GeoPackage's geometry, which follows flags, a code and an envelope (OGC 12-128r19, clause 2.1.3)."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        return None
    return blob[8 + _ENVELOPES.get(blob[3] >> 1 & 7, 0) :]


def _columns(batch: Any) -> Batch:
    numbered = pa.types.is_integer(batch.schema.types[0])
    ids = np.asarray(batch.column(0), np.int64) if numbered else np.zeros(batch.num_rows, np.int64)
    names = batch.column("class").to_pylist() if "class" in batch.schema.names else None
    return ids, names, batch.column(batch.num_columns - 1).to_pylist()


def _whole(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    polygons = np.isin(shapely.get_type_id(shapes), (3, 6))
    good: NDArray[np.bool_] = polygons & shapely.is_valid(shapes) & ~shapely.is_empty(shapes)
    return good


def check_layer(report: Report, layer: Layer, count: int | None) -> Iterator[Finding]:
    """Yield what a layer is like by itself. count: features it is said to have, by the record."""
    claimed = {n for n in (layer.claimed, count) if n is not None and n >= 0}
    problem = None if claimed <= {layer.count} else f"holds {layer.count} features, and is said to hold {max(claimed)}"
    yield report.either("features", problem, f"{layer.count} features, as many as it is said to hold")
    problem = None
    if layer.invalid:
        problem = f"{layer.invalid} geometries are not valid, the first is that of feature {layer.first_invalid}"
    yield report.either("geometries", problem, "every geometry is a valid polygon")


def check_names(report: Report, layer: Layer, names: Mapping[int, str]) -> Iterator[Finding]:
    """Yield whether the ids of a layer are those of classes, and are called as they are."""
    unknown = sorted(set(layer.areas) - set(names))
    told = ", ".join(map(str, unknown[:5]))
    yield report.either("class ids", f"has ids of no class: {told}" if unknown else None, "every id is that of a class")
    other = sorted((value, name) for value, name in layer.names if value in names and names[value] != name)
    problem = f"calls class {other[0][0]} {other[0][1]!r}, not {names[other[0][0]]!r}" if other else None
    yield report.either("class names", problem, "classes are called as in the record")


def check_areas(report: Report, layer: Layer, pixels: Mapping[int, int], pixel_area: float) -> Finding:
    """Return whether the areas of classes are those of their `pixels`: nothing is missing or there twice."""
    wrong = []
    for value in sorted({*layer.areas, *pixels}):
        expected, found = pixels.get(value, 0), layer.areas.get(value, 0.0) / pixel_area
        if abs(found - expected) > 0.25 + _TOLERANCE * expected:
            wrong.append(f"class {value} has the area of {found:.2f} pixels, in the raster it has {expected}")
    return report.either("areas", "; ".join(wrong[:3]) or None, "every class has the area it has in the raster")


def check_geopackage(report: Report, layer: str) -> Iterator[Finding]:
    """Yield whether a GeoPackage is a whole database, and has the style of `layer`."""
    style = "SELECT count(*) FROM layer_styles WHERE f_table_name = ? AND useAsDefault = 1 AND length(styleQML) > 0"
    try:
        with closing(connect(report.file)) as file:
            (said,) = file.execute("PRAGMA quick_check(1)").fetchone()
            yield report.either("database", None if said == "ok" else said, "every page of the database is whole")
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            styles = file.execute(style, (layer,)).fetchone()[0] if "layer_styles" in tables else 0
            yield report.either("style", None if styles == 1 else f"has {styles} default styles", "has its style")
    except sqlite3.Error as error:
        yield report.wrong("database", f"is no whole database ({error})")
