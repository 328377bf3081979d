"""What becomes of a raster's CRS and coordinate epoch in a vector format, found out before any work.

A Shapefile describes a CRS in ESRI's WKT, which has no words for some; GDAL writes FlatGeobuf with the code of the CRS
that it takes it for; GeoJSON is in longitude and latitude, vector tiles in Web Mercator; and few formats have a place
for an epoch.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference, authority_code
from geoseg.vector.arrow import GEOMETRY, PARQUET
from geoseg.vector.globe import Globe, in_degrees
from geoseg.vector.tiles import PMTILES, check_driver, zooms

if TYPE_CHECKING:
    import pyarrow as pa
    import pyogrio
    import pyproj
else:
    pa = lazy("pyarrow")
    pyogrio = lazy("pyogrio")
    pyproj = lazy("pyproj")

_NAMES = {"ESRI Shapefile": "a Shapefile", "FlatGeobuf": "FlatGeobuf"}
_MAX_OFFSET = 0.01
"""Pixels by which positions may differ in the CRS that is read back."""


def _failures() -> tuple[type[Exception], ...]:
    """What writing a layer, and reading it, may raise."""
    found = pyogrio.errors
    return (found.CRSError, found.DataLayerError, found.DataSourceError, RuntimeError, pa.ArrowException)


def check_format(out: Path, driver: str, name: object, georeference: Georeference, shape: tuple[int, int]) -> list[str]:
    """Refuse a format that cannot hold the polygons of a raster where they lie.

    Args:
        out: The vector file.
        driver: GDAL driver that writes it, or `PARQUET`.
        name: What messages call the raster.
        georeference: Of the raster.
        shape: Size (rows, cols) of the raster.

    Returns:
        What the format does to the CRS, as warnings for the user.

    Raises:
        InputError: The format cannot hold the polygons.
    """
    remarks = []
    if in_degrees(driver):
        remarks.append(_check_degrees(out, driver, name, georeference, shape))
    elif georeference.wkt is not None and driver in _NAMES:
        _check_crs(out, driver, name, georeference, shape)
        if driver == "ESRI Shapefile" and pyproj.CRS.from_wkt(georeference.wkt).is_bound:
            remarks.append(f"{out}: has no place for the datum shift (TOWGS84) in the CRS of {name}")
    if georeference.epoch is not None and not _keeps_epoch(driver, georeference):
        remarks.append(f"{out}: has no place for the coordinate epoch {georeference.epoch!r} of {name}")
    return remarks


def _check_degrees(
    out: Path, driver: str, name: object, georeference: Georeference, shape: tuple[int, int]
) -> str:  # fmt: skip
    """Refuse a raster without longitude and latitude for a format that needs them; return what the format does."""
    if driver == PMTILES:
        check_driver(out)
    if georeference.wkt is None:
        readers = "vector tiles" if driver == PMTILES else "readers of GeoJSON"
        raise InputError(
            f"{name}: has no CRS, and {readers} would take its pixel coordinates for longitude and latitude; give "
            f"--assume-crs, or write {out.with_suffix('.gpkg').name} instead"
        )
    try:
        Globe(georeference, shape).check()
        levels = zooms(georeference, shape) if driver == PMTILES else None
    except InputError as error:
        raise InputError(f"{name}: {error}; write {out.with_suffix('.gpkg').name} instead") from error
    if levels is None:
        return f"{out}: coordinates are longitude and latitude (EPSG:4326), as GeoJSON requires"
    return (
        f"{out}: vector tiles in Web Mercator (EPSG:3857), zoom {levels.least} to {levels.most}: exact to an eighth of "
        f"a pixel at zoom {levels.most}, coarser and without the smallest polygons below"
    )


def gdal_crs(driver: str, wkt: str | None, epoch: float | None) -> str | None:
    """Return the CRS in the form in which GDAL is to write it.

    Args:
        driver: GDAL driver.
        wkt: The CRS; None without one.
        epoch: Its coordinate epoch.

    Returns:
        A text for OGRSpatialReference::SetFromUserInput. It has no authority code if that code stands for another CRS:
        readers of FlatGeobuf would believe the code.
    """
    if wkt is None or driver == "GeoJSON":
        # Readers of GeoJSON know its CRS, and GDAL would name it in a member that RFC 7946 has abolished.
        return None
    crs = pyproj.CRS.from_wkt(wkt)
    code = authority_code(crs)
    if epoch is not None:
        for form in _with_epoch(driver, crs, code, epoch):
            if _written(driver, form) is not None:
                return form
    projjson = crs.to_json_dict()
    if projjson.pop("id", None) is None or code:
        return wkt
    without_code: str = pyproj.CRS.from_json_dict(projjson).to_wkt()
    return without_code


def _keeps_epoch(driver: str, georeference: Georeference) -> bool:
    if driver == PARQUET:
        return True
    crs = gdal_crs(driver, georeference.wkt, georeference.epoch)
    return crs is not None and ("@" in crs or crs.startswith("COORDINATEMETADATA"))


def _with_epoch(driver: str, crs: pyproj.CRS, code: tuple[str, str] | None, epoch: float) -> list[str]:
    """Forms with the epoch that the driver keeps if GDAL takes them, which it does of a dynamic CRS only."""
    forms = [f"{':'.join(code)}@{epoch!r}"] if code else []
    if driver == "GPKG":
        return [*forms, f"COORDINATEMETADATA[{crs.to_wkt('WKT2_2019')},EPOCH[{epoch!r}]]"]
    return forms if driver == "FlatGeobuf" else []


def _check_crs(out: Path, driver: str, name: object, georeference: Georeference, shape: tuple[int, int]) -> None:
    """Refuse a format in which readers would find the polygons elsewhere, or without a CRS."""
    crs = pyproj.CRS.from_wkt(str(georeference.wkt))
    found: pyproj.CRS | None = crs
    if driver == "ESRI Shapefile":
        found = _parsed(_esri_wkt(crs))
    if found is not None and authority_code(crs) is None:
        found = _parsed(_written(driver, gdal_crs(driver, georeference.wkt, None)))
    if found is None or not _same_places(crs, found, georeference, shape):
        raise InputError(
            f"{name}: its CRS, {crs.name}, cannot be described in {_NAMES[driver]}; "
            f"write {out.with_suffix('.gpkg').name} instead"
        )


def _same_places(a: pyproj.CRS, b: pyproj.CRS, georeference: Georeference, shape: tuple[int, int]) -> bool:
    """Whether the corners and the middle of the raster lie in the same places in both CRS."""
    if a.equals(b, ignore_axis_order=True):
        return True
    left, bottom, right, top = georeference.bounds(Window.of(0, 0, *shape))
    places = np.array(
        [(left, top), (left, bottom), (right, bottom), (right, top), ((left + right) / 2, (top + bottom) / 2)]
    )
    try:
        moved = np.stack(pyproj.Transformer.from_crs(a, b, always_xy=True).transform(*places.T), axis=1)
    except pyproj.exceptions.ProjError:
        return False
    offsets = np.abs(moved - places)[np.isfinite(moved).all(axis=1)]
    return len(offsets) > 0 and bool(offsets.max() <= _MAX_OFFSET * min(georeference.pixel_size))


def _esri_wkt(crs: pyproj.CRS) -> str | None:
    try:
        return crs.to_wkt("WKT1_ESRI")
    except pyproj.exceptions.CRSError:
        return None


def _parsed(text: str | None) -> pyproj.CRS | None:
    try:
        return pyproj.CRS.from_user_input(text) if text else None
    except pyproj.exceptions.CRSError:
        return None


def _written(driver: str, crs: str | None) -> str | None:
    """Return the CRS that GDAL reads from a layer without polygons that it has just written; None if it cannot."""
    suffix = {"ESRI Shapefile": ".shp", "FlatGeobuf": ".fgb", "GPKG": ".gpkg"}[driver]
    schema = pa.schema([pa.field("id", pa.int32()), pa.field(GEOMETRY, pa.large_binary())])
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"probe{suffix}"
        try:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(schema, iter(())), path, driver=driver, layer="probe",
                geometry_name=GEOMETRY, geometry_type="Polygon", crs=crs,
            )  # fmt: skip
            found = pyogrio.read_info(path)["crs"]
        except _failures():
            return None
    return None if found is None else str(found)
