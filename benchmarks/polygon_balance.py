"""Law 4 on a large map: polygons and pixels are the same thing, to the last one.

    python benchmarks/polygon_balance.py --folder scratch

Makes a map as `polygons.py` does, of `--side` px squared (10,000), in which the first class is nodata. It becomes
polygons in a GeoPackage and a FlatGeobuf, as it is and with `--min-area`; each file is read back and held against the
map, or against the map sieved by `geoseg.raster.sieve`:

- every polygon is valid (shapely), and has its vertices at corners of pixels and its edges along them, so that it
  consists of whole pixels; and its area is what its columns say;
- of each class, the sum of areas over the area of a pixel is the number of its pixels;
- burnt back by GDAL, all values added up, the polygons give the map: no gap, no overlap, nothing missing;
- the area of the union of all (shapely) is the sum of their areas.

All of it in whole numbers. Ends with an error at the first thing that is not so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from polygons import CLASSES, SMOOTH, texture
from rasterio.enums import MergeAlg
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.config import PolygonizeConfig
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.raster.sieve import sieve
from geoseg.units import Area

TRANSFORM = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
"""Of numbers that have few binary digits, so that no product of them is rounded."""

PIXEL = 0.25
MARK = 1000
"""Added to what is burnt, so that no sum of two is a class."""

GROUP = 5000


class Polygons(NamedTuple):
    """Those of a file: ids (n,), areas in m² as the column says (n,), and shapes (n,) in pixels, x to the right and y
    down."""

    ids: NDArray[Any]
    areas: NDArray[np.float64]
    shapes: NDArray[Any]


def bands(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of a map, 512 at a time."""
    with rasterio.open(path) as file:
        for first in range(0, file.height, 512):
            yield file.read(1, window=Window(0, first, file.width, min(512, file.height - first)))


def make_map(path: Path, side: int) -> Path:
    """Write the map, unless it is there."""
    if path.exists():
        return path
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 0}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(path, "w", **profile, **layout, crs="EPSG:32633", transform=TRANSFORM) as file:
        for first in range(0, side, 512):
            rows = texture(first, min(512, side - first), side, SMOOTH) - 1
            file.write(rows, 1, window=Window(0, first, side, len(rows)))
    return path


def polygonize(raster: Path, out: Path, min_area: Area | None) -> int:
    with PolygonizeJob(PolygonizeConfig(raster, out, min_area=min_area, overwrite=True)) as job:
        for _ in job.run():
            pass
        return job.layer.count


def read(path: Path) -> Polygons:
    """Return the polygons of a file, in pixels."""
    with pyogrio.open_arrow(path, layer="classes", columns=["class_id", "area_m2"], use_pyarrow=True) as (_, stream):
        table = stream.read_all()
    shapes = shapely.from_wkb(table.column(table.num_columns - 1).to_numpy())
    ids, areas = (table.column(name).to_numpy() for name in ("class_id", "area_m2"))
    origin, steps = (TRANSFORM.c, TRANSFORM.f), (TRANSFORM.a, TRANSFORM.e)
    return Polygons(ids, areas, shapely.transform(shapes, lambda points: (points - origin) / steps))


def require(holds: Any, what: str) -> None:
    if not bool(np.all(holds)):
        raise SystemExit(f"NOT SO: {what}")


def check(path: Path, values: NDArray[np.uint8]) -> str:
    """Hold the polygons of a file against a class raster; return what was found.

    Raises:
        SystemExit: they are not the same.
    """
    found = read(path)
    points = shapely.get_coordinates(found.shapes)
    require(points == np.rint(points), "every vertex lies at the corner of a pixel")
    rings = shapely.get_rings(found.shapes)
    steps, owners = np.diff(points, axis=0), shapely.get_coordinates(rings, return_index=True)[1]
    require(((steps != 0).sum(axis=1) == 1)[np.diff(owners) == 0], "every edge goes along the pixels")
    require(shapely.is_valid(found.shapes), "every polygon is valid")
    pixels = shapely.area(found.shapes).astype(np.int64)
    require(pixels == shapely.area(found.shapes), "every area is a whole number of pixels")
    require(pixels * PIXEL == found.areas, "every area is what the column says")
    counted = np.bincount(values.ravel(), minlength=CLASSES)
    summed = np.array([pixels[found.ids == value].sum() for value in range(CLASSES)])
    require(counted[1:] == summed[1:], "of each class, the areas are those of its pixels")
    burnt = burn(found, values.shape)
    require(burnt == np.where(values > 0, values.astype(np.int32) + MARK, 0), "what is burnt back is the map")
    union = int(shapely.area(shapely.union_all(found.shapes)))
    require(union == pixels.sum(), "the union is as large as the sum")
    sums = ", ".join(f"{value}: {count:,}" for value, count in enumerate(summed) if value)
    return (
        f"{len(pixels):,} polygons, {len(points) - len(rings):,} vertices, {len(rings) - len(pixels):,} holes, all "
        f"valid\n  pixels of class {sums}\n  sum of areas {pixels.sum():,} px, their union {union:,} px, pixels "
        f"{counted[1:].sum():,}; burnt back: {values.size:,} of {values.size:,} px alike"
    )


def burn(found: Polygons, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the sum of all that GDAL burns at each pixel."""
    burnt = np.zeros(shape, np.int32)
    for start in range(0, len(found.ids), GROUP):
        some = slice(start, start + GROUP)
        # rasterio takes what says so for what it is.
        pairs = zip(found.shapes[some], (found.ids[some] + MARK).tolist(), strict=True)
        rasterize(pairs, out=burnt, transform=Affine.identity(), merge_alg=MergeAlg.add)
    return burnt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where map and polygons are written")
    parser.add_argument("--side", type=int, default=10_000, help="of the map in pixels (default %(default)s)")
    parser.add_argument("--min-area", type=int, default=100, help="of the sieve in pixels (default %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    raster = make_map(options.folder / f"balance-{options.side}.tif", options.side)
    expected = {None: np.concatenate(list(bands(raster)))}
    least = Area(float(options.min_area), "px")
    expected[least] = np.concatenate(list(sieve(bands(raster), options.min_area)))
    for area, values in expected.items():
        for suffix in ("gpkg", "fgb"):
            start, out = time.perf_counter(), options.folder / f"balance-{suffix}.{suffix}"
            polygonize(raster, out, area)
            between = time.perf_counter()
            print(f"{out.name}{f', --min-area {area}' if area else ''}: {check(out, values)}")
            print(f"  {between - start:.1f} s, and {time.perf_counter() - between:.1f} s to check", flush=True)


if __name__ == "__main__":
    main()
