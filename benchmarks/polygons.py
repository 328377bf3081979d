"""Polygons measured against other tools: time to the file and peak memory, each in a process of its own.

    python benchmarks/polygons.py --folder scratch

Makes class maps in the folder and keeps them for the next run: tiled GeoTIFFs of six classes, where each pixel is the
class with the largest of six smooth random fields, in two octaves. Every value depends on (row, col) alone, so a map is
written in bands, and a longer map begins with a shorter one.

- `--side` px squared (10,000): about 105,000 polygons. geoseg and its peers run in turn; medians, and ratios of
  medians. Peers: GDALPolygonize of the GDAL in pyogrio's wheel (`newest_gdal.py`, which writes no names, areas or
  perimeters), rasterio.features.shapes -> GeoDataFrame -> GeoPackage, and gdal_polygonize.py if it is installed.
- The same of the class maps that `--maps` names.
- Of each of these maps, geoseg and GDALPolygonize once more as programs, from their start to their end.
- The same number of pixels, with about 5 million polygons: geoseg alone.
- 100,000 and 200,000 rows of 10,000 px: geoseg alone; both should have the same peak memory.

Seconds are from opening the raster to the complete file, without the start of Python and imports, except for
programs. CPU is that of all threads. Peak memory is that of the process, libraries included; of GDALPolygonize some 80
MiB are this program's own numba, which it does without when `newest_gdal.py` is run alone. Other work on the machine
makes times longer, those on the clock most of all; the columns "x" are ratios to geoseg's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import newest_gdal
import numpy as np
from numba import njit
from numpy.typing import NDArray

CLASSES = 6
SMOOTH = (40, 6, 0.1)
ROUGH = (32, 2, 0.37)
"""Cells of the two octaves in pixels, and the weight of the second."""

Measured = tuple[float, float, float, int]
"""Seconds, CPU seconds, peak memory in MiB, polygons."""


@njit
def _noise(x: int, y: int, layer: int) -> Any:
    word = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F)
    word ^= np.uint64(layer) * np.uint64(0x165667B19E3779F9)
    word = (word ^ (word >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.float32((word ^ (word >> np.uint64(32))) & np.uint64(0xFFFF))


@njit
def _add_octave(fields: Any, row: int, layer: int, cell: int, weight: float) -> None:
    """Add a field of random values on a lattice, interpolated, to those of one row."""
    down = np.float32(row % cell) / np.float32(cell)
    left = right = np.float32(0)
    for col in range(len(fields)):
        if col % cell == 0:
            first = col // cell
            left = _noise(first, row // cell, layer) * (1 - down) + _noise(first, row // cell + 1, layer) * down
            first += 1
            right = _noise(first, row // cell, layer) * (1 - down) + _noise(first, row // cell + 1, layer) * down
        along = np.float32(col % cell) / np.float32(cell)
        fields[col] += np.float32(weight) * (left * (1 - along) + right * along)


@njit
def _fill(out: Any, first: int, coarse: int, fine: int, weight: float) -> None:
    rows, cols = out.shape
    field, best = np.empty(cols, np.float32), np.empty(cols, np.float32)
    for row in range(rows):
        best[:] = -1
        for number in range(CLASSES):
            field[:] = 0
            _add_octave(field, first + row, number, coarse, 1.0)
            _add_octave(field, first + row, number + CLASSES, fine, weight)
            for col in range(cols):
                if field[col] > best[col]:
                    best[col] = field[col]
                    out[row, col] = number + 1


def texture(first: int, rows: int, cols: int, kind: tuple[int, int, float] = SMOOTH) -> NDArray[np.uint8]:
    """Return rows of an endless map, from row `first` on: classes 1..6, uint8 (rows, cols)."""
    out = np.empty((rows, cols), np.uint8)
    _fill(out, first, *kind)
    return out


def make_map(path: Path, rows: int, cols: int, kind: tuple[int, int, float]) -> Path:
    """Write a map, unless the file exists, and return its path."""
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    if path.exists():
        return path
    profile = {"driver": "GTiff", "width": cols, "height": rows, "count": 1, "dtype": "uint8", "nodata": 0}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)}
    temporary = path.with_name(f"{path.stem}.part.tif")
    with rasterio.open(temporary, "w", **profile, **layout, **place) as file:
        for first in range(0, rows, 512):
            height = min(512, rows - first)
            file.write(texture(first, height, cols, kind), 1, window=Window(0, first, cols, height))
    temporary.replace(path)
    return path


def geoseg(raster: Path, out: Path) -> int:
    from geoseg.config import PolygonizeConfig
    from geoseg.jobs.polygonize import PolygonizeJob

    with PolygonizeJob(PolygonizeConfig(raster, out, overwrite=True)) as job:
        for _ in job.run():
            pass
        return job.layer.count


def rasterio_geopandas(raster: Path, out: Path) -> int:
    import geopandas
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    with rasterio.open(raster) as file:
        values = file.read(1)
        found = [(shape(outline), int(value)) for outline, value in
                 shapes(values, mask=values != 0, connectivity=4, transform=file.transform)]  # fmt: skip
        frame = geopandas.GeoDataFrame(
            {"class_id": [value for _, value in found]}, geometry=[outline for outline, _ in found], crs=file.crs
        )
    frame.to_file(out, driver="GPKG")
    return len(frame)


def newest(raster: Path, out: Path) -> int:
    return newest_gdal.polygonize(raster, out)


def gdal_polygonize(raster: Path, out: Path) -> int:
    import pyogrio

    out.unlink(missing_ok=True)
    command = ["gdal_polygonize.py", "-q", "-f", "GPKG", str(raster), str(out), "classes", "class_id"]
    subprocess.run(command, check=True)
    return int(pyogrio.read_info(out)["features"])


def warm(run: Callable[[Path, Path], int]) -> None:
    """Import libraries and load compiled kernels before the clock starts."""
    if run is newest:
        newest_gdal.load()
        return
    if run is not geoseg:
        import geopandas  # noqa: F401

        return
    import rasterio
    from affine import Affine

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.tif"
        profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", "nodata": 0}
        with rasterio.open(small, "w", **profile, crs="EPSG:32633", transform=Affine(0.5, 0, 0, 0, -0.5, 0)) as file:
            # Not values of `texture`: compiling it would count as memory.
            file.write(np.arange(64, dtype=np.uint8).reshape(8, 8) % 7, 1)
        geoseg(small, small.with_suffix(".gpkg"))


def _measure(run: Callable[[Path, Path], int], raster: Path, out: Path, results: Any) -> None:
    warm(run)
    start, spent = time.perf_counter(), time.process_time()
    count = run(raster, out)
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = _high_water()
    if children.ru_maxrss:
        peak, cpu = children.ru_maxrss / 1024, children.ru_utime + children.ru_stime
    results.put((seconds, cpu, peak, count))


def _high_water() -> float:
    """Return the peak memory of this process in MiB; getrusage would count that of its parent before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(run: Callable[[Path, Path], int], raster: Path, out: Path) -> Measured:
    """Run once in a process of its own."""
    # geoseg syncs its output; it should not have to wait for data that an earlier run left in the page cache.
    os.sync()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure, args=(run, raster, out, results))
    process.start()
    measured: Measured = results.get()
    process.join()
    return measured


def table_row(name: str, runs: list[Measured], reference: list[Measured] | None = None) -> str:
    """Return a row of the table: medians, and their ratios to those of `reference`."""
    seconds, cpu, peak = (statistics.median(run[k] for run in runs) for k in range(3))
    line = f"{name:48}{seconds:9.2f}{cpu:9.2f}{peak:9.0f}{runs[0][3]:11,}"
    if reference is not None:
        slower, busier = (statistics.median(run[k] for run in runs) / statistics.median(run[k] for run in reference)
                          for k in range(2))  # fmt: skip
        line += f"{slower:9.1f}{busier:9.1f}"
    return line


def compare(folder: Path, raster: Path, repeats: int) -> Iterator[str]:
    """Yield the rows of geoseg and of its peers, which run in turn."""
    runs: dict[str, Callable[[Path, Path], int]] = {
        "geoseg -> gpkg": geoseg, "geoseg -> fgb": geoseg, "geoseg -> parquet": geoseg,
        "rasterio.features.shapes, GeoDataFrame -> gpkg": rasterio_geopandas,
    }  # fmt: skip
    if newest_gdal.library_path():
        runs[f"GDALPolygonize {newest_gdal.version()} -> gpkg"] = newest
    if shutil.which("gdal_polygonize.py"):
        runs["gdal_polygonize -> gpkg"] = gdal_polygonize
    measured: dict[str, list[Measured]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            measured[name].append(measure(run, raster, folder / f"polygons.{name.rsplit(' ', 1)[1]}"))
    first = measured["geoseg -> gpkg"]
    for name, found in measured.items():
        yield table_row(name, found, None if runs[name] is geoseg else first)


def programs(folder: Path, raster: Path, repeats: int) -> Iterator[str]:
    """Yield the rows of geoseg and of GDALPolygonize as programs, which run in turn."""
    out = folder / "program.gpkg"
    command = [sys.executable, "-m", "geoseg", "-q", "polygonize", str(raster), "-o", str(out), "--overwrite"]
    commands = {"geoseg, a program": command}
    if newest_gdal.library_path():
        script = str(Path(newest_gdal.__file__))
        commands["GDALPolygonize, a program"] = [sys.executable, script, str(raster), str(out)]
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, words in commands.items():
            os.sync()
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            measured[name].append((time.perf_counter() - start, spent))
    first = [statistics.median(run[k] for run in measured["geoseg, a program"]) for k in range(2)]
    for name, found in measured.items():
        seconds, cpu = (statistics.median(run[k] for run in found) for k in range(2))
        line = f"{name:48}{seconds:9.2f}{cpu:9.2f}{'':20}"
        yield line if name.startswith("geoseg") else f"{line}{seconds / first[0]:9.1f}{cpu / first[1]:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where maps and polygons are written")
    parser.add_argument("--side", type=int, default=10_000, help="of the maps in pixels (default %(default)s)")
    parser.add_argument("--maps", type=Path, nargs="*", default=[], help="class maps to compare on as well")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, nargs="*", default=[100_000, 200_000], help="rows of the long maps")
    options = parser.parse_args()
    folder, side = options.folder, options.side
    folder.mkdir(exist_ok=True)
    print(f"{'':48}{'s':>9}{'CPU s':>9}{'MiB':>9}{'polygons':>11}{'x time':>9}{'x CPU':>9}")
    raster = make_map(folder / f"smooth-{side}.tif", side, side, SMOOTH)
    for path in (raster, *options.maps):
        print(path.name)
        for line in (*compare(folder, path, options.repeats), *programs(folder, path, options.repeats)):
            print(line, flush=True)
    rough = make_map(folder / f"rough-{side}.tif", side, side, ROUGH)
    print(table_row("geoseg -> gpkg, rough", [measure(geoseg, rough, folder / "rough.gpkg")]), flush=True)
    for rows in options.long:
        raster = make_map(folder / f"smooth-{rows}x{side}.tif", rows, side, SMOOTH)
        print(table_row(f"geoseg -> gpkg, {rows:,} rows", [measure(geoseg, raster, folder / "long.gpkg")]), flush=True)


if __name__ == "__main__":
    main()
