"""GDALPolygonize of the newest GDAL at hand, the one in pyogrio's wheel, called by its C interface.

    python benchmarks/newest_gdal.py raster.tif out.gpkg

This is the least that a program on GDAL does: nothing is imported but ctypes, and a polygon has its geometry and the id
of its class; no name, no area, no perimeter, no style.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

_POLYGON, _INTEGER, _RASTER = 3, 0, 2


class _Library:
    """Functions of GDAL by name; each call says what it returns, and converts its arguments."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: Any, returns: Any = ctypes.c_void_p) -> Any:
        function = getattr(self._library, name)
        function.restype = returns
        return function(*(self._converted(argument) for argument in arguments))

    @staticmethod
    def _converted(argument: Any) -> Any:
        if isinstance(argument, Path):
            return os.fsencode(argument)
        return argument.encode() if isinstance(argument, str) else argument


@cache
def _package() -> Path:
    found = importlib.util.find_spec("pyogrio")
    if found is None or found.origin is None:
        raise SystemExit("pyogrio is not installed")
    return Path(found.origin).parent


def library_path() -> Path | None:
    """Return the GDAL of pyogrio's wheel; None where it is linked to another one."""
    return next(iter(sorted(_package().with_name("pyogrio.libs").glob("libgdal*"))), None)


@cache
def load() -> _Library:
    """Return GDAL with its drivers registered."""
    path = library_path()
    if path is None:
        raise SystemExit("pyogrio has no GDAL of its own")
    os.environ.setdefault("GDAL_DATA", str(_package() / "gdal_data"))
    os.environ.setdefault("PROJ_DATA", str(_package() / "proj_data"))
    gdal = _Library(path)
    gdal("GDALAllRegister", returns=None)
    return gdal


def version() -> str:
    """Return the version of the library."""
    return str(load()("GDALVersionInfo", "RELEASE_NAME", returns=ctypes.c_char_p).decode())


def polygonize(raster: Path, out: Path) -> int:
    """Write the polygons of the first band, where it is valid, to a GeoPackage, and return their number."""
    gdal, pointer = load(), ctypes.c_void_p
    out.unlink(missing_ok=True)
    source = pointer(gdal("GDALOpenEx", raster, _RASTER, None, None, None))
    band = pointer(gdal("GDALGetRasterBand", source, 1))
    driver = pointer(gdal("GDALGetDriverByName", "GPKG"))
    target = pointer(gdal("GDALCreate", driver, out, 0, 0, 0, 0, None))
    crs = pointer(gdal("GDALGetSpatialRef", source))
    layer = pointer(gdal("GDALDatasetCreateLayer", target, "classes", crs, _POLYGON, None))
    field = pointer(gdal("OGR_Fld_Create", "class_id", _INTEGER))
    gdal("OGR_L_CreateField", layer, field, 1, returns=ctypes.c_int)
    mask = pointer(gdal("GDALGetMaskBand", band))
    failed = gdal("GDALPolygonize", band, mask, layer, 0, None, None, None, returns=ctypes.c_int)
    count = int(gdal("OGR_L_GetFeatureCount", layer, 1, returns=ctypes.c_longlong))
    failed |= gdal("GDALClose", target, returns=ctypes.c_int)
    gdal("GDALClose", source, returns=ctypes.c_int)
    if failed:
        raise SystemExit(f"GDALPolygonize failed on {raster}")
    return count


if __name__ == "__main__":
    polygonize(Path(sys.argv[1]), Path(sys.argv[2]))
