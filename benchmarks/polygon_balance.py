"""Law 4 on a large map: the areas of polygons are those of their pixels, to the last one.

    python benchmarks/polygon_balance.py --folder scratch

Makes a map as `polygons.py` does, of `--side` px squared (10,000), in which the first class is nodata. It is
polygonized to a GeoPackage and to a FlatGeobuf, with and without `--min-area`. Each file is read back and compared with
the map, sieved by `geoseg.raster.sieve` where `--min-area` was given:

- every polygon is valid (shapely), its vertices are corners of pixels and its edges run along pixels, so that it
  consists of whole pixels; and its area is that in its column;
- for each class, the sum of areas divided by the area of a pixel is the number of its pixels;
- burnt back by GDAL, with all values added up, the polygons give the map: no gap, no overlap, nothing missing;
- the area of the union of all polygons (shapely) is the sum of their areas.

All comparisons are of whole numbers. The first one that fails ends the program with an error.
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
"""Its numbers have few binary digits, so that no product of them is rounded."""

PIXEL = 0.25
MARK = 1000
"""Added to the class ids that are burnt, so that the sum of two overlapping polygons is not a class."""

GROUP = 5000
"""Polygons that are burnt at once."""


class Polygons(NamedTuple):
    """The polygons of a file: class ids (n,), areas in m² from the column (n,), and shapes (n,) in pixels, x to the
    right and y down."""

    ids: NDArray[Any]
    areas: NDArray[np.float64]
    shapes: NDArray[Any]


def bands(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of a map, 512 at a time."""
    with rasterio.open(path) as file:
        for first in range(0, file.height, 512):
            yield file.read(1, window=Window(0, first, file.width, min(512, file.height - first)))


def make_map(path: Path, side: int) -> Path:
    """Write the map, unless the file exists, and return its path."""
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
    """Return the polygons of a file."""
    with pyogrio.open_arrow(path, layer="classes", columns=["class_id", "area_m2"], use_pyarrow=True) as (_, stream):
        table = stream.read_all()
    shapes = shapely.from_wkb(table.column(table.num_columns - 1).to_numpy())
    ids, areas = (table.column(name).to_numpy() for name in ("class_id", "area_m2"))
    origin, steps = (TRANSFORM.c, TRANSFORM.f), (TRANSFORM.a, TRANSFORM.e)
    return Polygons(ids, areas, shapely.transform(shapes, lambda points: (points - origin) / steps))


def require(holds: Any, claim: str) -> None:
    if not bool(np.all(holds)):
        raise SystemExit(f"FAILED: {claim}")


def check(path: Path, values: NDArray[np.uint8]) -> str:
    """Compare the polygons of a file with a class raster, uint8 (rows, cols); return a summary.

    Raises:
        SystemExit: they differ.
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
    require(pixels * PIXEL == found.areas, "every area is that in the column")
    counted = np.bincount(values.ravel(), minlength=CLASSES)
    summed = np.array([pixels[found.ids == value].sum() for value in range(CLASSES)])
    require(counted[1:] == summed[1:], "for each class, the areas are those of its pixels")
    burnt = burn(found, values.shape)
    require(burnt == np.where(values > 0, values.astype(np.int32) + MARK, 0), "the burnt polygons are the map")
    union = int(shapely.area(shapely.union_all(found.shapes)))
    require(union == pixels.sum(), "the area of the union is the sum of areas")
    sums = ", ".join(f"{value}: {count:,}" for value, count in enumerate(summed) if value)
    return (
        f"{len(pixels):,} polygons, {len(points) - len(rings):,} vertices, {len(rings) - len(pixels):,} holes, all "
        f"valid\n  pixels of class {sums}\n  sum of areas {pixels.sum():,} px, their union {union:,} px, pixels "
        f"{counted[1:].sum():,}; burnt back: {values.size:,} of {values.size:,} px equal"
    )


def burn(found: Polygons, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the sum of the values that GDAL burns at each pixel: int32 `shape`."""
    burnt = np.zeros(shape, np.int32)
    for start in range(0, len(found.ids), GROUP):
        some = slice(start, start + GROUP)
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
    min_area = Area(float(options.min_area), "px")
    expected[min_area] = np.concatenate(list(sieve(bands(raster), options.min_area)))
    for area, values in expected.items():
        for suffix in ("gpkg", "fgb"):
            start, out = time.perf_counter(), options.folder / f"balance-{suffix}.{suffix}"
            polygonize(raster, out, area)
            between = time.perf_counter()
            print(f"{out.name}{f', --min-area {area}' if area else ''}: {check(out, values)}")
            print(f"  {between - start:.1f} s, and {time.perf_counter() - between:.1f} s to check", flush=True)


if __name__ == "__main__":
    main()
