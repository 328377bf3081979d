"""Polygons as vector tiles in one file (PMTiles 3, Mapbox Vector Tiles 2.1), for maps in a browser.

A tile of zoom z is 2^-z of the width of the world in Web Mercator (EPSG:3857), and its coordinates are whole: 4096 of
them to a side. The largest zoom is the first at which four or more of these fit into a pixel, so that no vertex moves
by more than an eighth of a pixel; at the smallest the raster fits into a tile. In between, polygons that become
narrower than a unit vanish, and the smallest of a crowded tile; at the largest zoom none may.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import InputError
from geoseg.files.plain import plain_path
from geoseg.grid import Window
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyogrio
    import pyproj
else:
    pyogrio = lazy("pyogrio")
    pyproj = lazy("pyproj")

PMTILES = "PMTiles"
"""GDAL driver that writes vector tiles."""

NUMBER = "polygon"
"""Column of the number of a polygon, from 1: the same for all of its pieces, for tiles cut it."""

PIECE = "mvt_id"
"""Column that GDAL adds when it reads tiles: the id of a piece."""

_UNITS = 4096
"""Coordinates to the side of a tile, GDAL's default."""

_UNITS_IN_PIXEL = 4
_HIGHEST_ZOOM = 22
"""GDAL's limit."""

_WORLD = 2 * math.pi * 6378137.0
"""Width of the world in Web Mercator, in its metres."""

_MAX_LATITUDE = 85.0511287
_MAX_TILE_BYTES = 2**31 - 1
"""No limit: GDAL makes a tile above it coarser, and then loses the polygons with the longest outlines."""

_MAX_TILE_POLYGONS = 100_000
"""GDAL leaves out the smallest polygons of a tile that has more, which also bounds its memory. A tile of the largest
zoom has at most 1024 x 1024 pixels, so only noise reaches it there."""

_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_GZIP, _VECTOR_TILES = 2, 1
"""What the header calls a compression and a type of tiles."""


class Zooms(NamedTuple):
    """The zoom levels of a file of tiles.

    Attributes:
        least: The smallest one, in [0, 22].
        most: The largest one.
    """

    least: int
    most: int


def check_driver(out: Path) -> None:
    """Refuse to write vector tiles with a GDAL that cannot.

    Raises:
        InputError: The GDAL of pyogrio was built without the driver (before 3.8, or without SQLite and GEOS).
    """
    if "w" not in pyogrio.list_drivers().get(PMTILES, ""):
        version = ".".join(map(str, pyogrio.__gdal_version__))
        raise InputError(
            f"{out}: pyogrio's GDAL {version} cannot write PMTiles: install pyogrio's own wheel (pip install "
            f"--force-reinstall pyogrio), or write {out.with_suffix('.fgb').name} and convert that with tippecanoe"
        )


def zooms(georeference: Georeference, shape: tuple[int, int]) -> Zooms:
    """Return the zoom levels at which a raster is shown.

    Args:
        georeference: Of the raster; `Globe.check` has passed.
        shape: Its size (rows, cols).

    Raises:
        InputError: It reaches beyond the latitudes of Web Mercator, or its pixels are too small for tiles. The message
            is meant to follow its name.
    """
    rows, cols = shape
    transformer = pyproj.Transformer.from_crs(georeference.wkt, "EPSG:4326", always_xy=True)
    left, bottom, right, top = georeference.bounds(Window.of(0, 0, rows, cols))
    x, y = np.meshgrid(np.linspace(left, right, 9), np.linspace(bottom, top, 9))
    latitude = transformer.transform(x.ravel(), y.ravel())[1]
    if np.abs(latitude).max() > _MAX_LATITUDE:
        raise InputError(f"reaches beyond {_MAX_LATITUDE:.2f} degrees of latitude, where the tiles of the web end")
    sides = np.array([_mercator_sides(georeference, row, col) for row in (0, rows - 1) for col in (0, cols - 1)])
    pixel = float(np.min(sides))
    most = _zoom(_WORLD / _UNITS * _UNITS_IN_PIXEL / pixel)
    if most > _HIGHEST_ZOOM and pixel < 2 * _WORLD / _UNITS / 2**_HIGHEST_ZOOM:
        raise InputError(f"has pixels of {pixel:.2g} m, which the finest tiles of the web (zoom 22) cannot tell apart")
    most = min(most, _HIGHEST_ZOOM)
    span = float(np.max(sides.max(axis=0) * [cols, rows]))
    return Zooms(min(most, max(0, math.floor(math.log2(_WORLD / span)))), most)


def _zoom(scale: float) -> int:
    """The first zoom whose power of two reaches `scale`, not counting what rounding adds to it."""
    return max(0, math.ceil(math.log2(scale) - 1e-6))


def _mercator_sides(georeference: Georeference, row: int, col: int) -> tuple[float, float]:
    """Width and height of a pixel in metres of Web Mercator."""
    transformer = pyproj.Transformer.from_crs(georeference.wkt, "EPSG:3857", always_xy=True)
    corners = [georeference.transform @ place for place in ((col, row), (col + 1, row), (col, row + 1))]
    x, y = transformer.transform([corner[0] for corner in corners], [corner[1] for corner in corners])
    return math.hypot(_around(x[1] - x[0]), y[1] - y[0]), math.hypot(_around(x[2] - x[0]), y[2] - y[0])


def _around(distance: float) -> float:
    """A distance in easting, the short way around the world."""
    return math.remainder(distance, _WORLD)


def tile_options(path: Path, levels: Zooms) -> Mapping[str, str]:
    """Return the creation options of the file `path` for GDAL."""
    return {
        # Otherwise that of the temporary file.
        "NAME": path.stem,
        "MINZOOM": str(levels.least),
        "MAXZOOM": str(levels.most),
        "EXTENT": str(_UNITS),
        "MAX_SIZE": str(_MAX_TILE_BYTES),
        "MAX_FEATURES": str(_MAX_TILE_POLYGONS),
    }


def write_empty(path: Path, layer: str, columns: Mapping[str, str], levels: Zooms) -> None:
    """Write a file without tiles, which GDAL refuses to make; its bounds are those of Web Mercator.

    PMTiles 3, https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md: header, root directory, metadata.

    Args:
        path: The file.
        layer: Its layer.
        columns: Name -> numpy dtype, or "string".
        levels: The zoom levels that it would have.
    """
    fields = {name: "String" if kind == "string" else "Number" for name, kind in columns.items()}
    described = {"id": layer, "description": "", "minzoom": levels.least, "maxzoom": levels.most, "fields": fields}
    metadata = {"name": layer, "format": "pbf", "type": "overlay", "vector_layers": [described]}
    directory = gzip.compress(b"\0", mtime=0)
    content = gzip.compress(json.dumps(metadata).encode(), mtime=0)
    end = _HEADER.size + len(directory) + len(content)
    east, north = 1_800_000_000, round(_MAX_LATITUDE * 1e7)
    header = _HEADER.pack(
        b"PMTiles", 3, _HEADER.size, len(directory), _HEADER.size + len(directory), len(content), end, 0, end, 0,
        0, 0, 0, 1, _GZIP, _GZIP, _VECTOR_TILES, *levels, -east, -north, east, north, levels.least, 0, 0,
    )  # fmt: skip
    path.write_bytes(header + directory + content)


def count_polygons(path: Path) -> int:
    """Return how many different polygons the tiles of the largest zoom hold; with tiles of others, how many pieces.

    One byte for each polygon is in memory, besides a batch of pieces.
    """
    with plain_path(path) as plain:
        if NUMBER not in pyogrio.read_info(plain)["fields"]:
            return int(pyogrio.read_info(plain, force_feature_count=True)["features"])
        seen = np.zeros(1024, bool)
        with pyogrio.open_arrow(plain, columns=[NUMBER], read_geometry=False, use_pyarrow=True) as (_, stream):
            for batch in stream:
                numbers = batch.column(NUMBER).to_numpy(zero_copy_only=False)
                highest = int(numbers.max(initial=0))
                if highest >= len(seen):
                    seen = np.concatenate([seen, np.zeros(2 * highest - len(seen), bool)])
                seen[numbers] = True
        return int(np.count_nonzero(seen))
