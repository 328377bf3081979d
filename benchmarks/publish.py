"""Publication alone: from finished parts to a COG with overviews, by geoseg and by GDAL's COG driver.

    python benchmarks/publish.py --folder scratch [RASTER ...] [--tile 1] [--side 2048] [--repeat 3]
    python benchmarks/publish.py --folder scratch --sparse 100 [--every 200]

Parts are cut out of rasters of one band, which are class rasters where they have a palette and confidences where they
have none; without a raster, a class raster of patches is made. With --tile N each is repeated N x N times. GDAL copies
the same parts, joined by a VRT, with the resampling that geoseg uses (MODE or AVERAGE), all cores, and no comparison of
what was written; geoseg reads its file back. Both are measured in turn, each in a process of its own, whose compiled
kernels are loaded; medians of `--repeat` rounds.

--sparse makes a class raster of so many gigapixels, of which one part among `--every` has data, and publishes it by
geoseg alone; with --gdal by GDAL as well, which takes minutes.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import ClassMap
from geoseg.grid import Block, Window, partition
from geoseg.raster.cog import write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference
from geoseg.raster.mosaic import RasterSpec, mosaic_vrt
from geoseg.runs.folder import FolderStore
from geoseg.runs.parts import Parts

LAYER = "layer"
PLACE = Georeference(CRS.from_epsg(32632), Affine(0.2, 0, 300_000, 0, -0.2, 5_800_000))


def spec_of(shape: tuple[int, int], dtype: str, classes: bool) -> RasterSpec:
    """The description of a raster."""
    names = ClassMap.default(30) if classes else None
    return RasterSpec(Window.of(0, 0, *shape), PLACE, dtype, LAYER, {}, classes=names)


def part_of(run: Path, block: Block) -> Path:
    return run / f"part-{block.index:06d}-{LAYER}.tif"


def cut(raster: Path, run: Path, tile: int, side: int) -> RasterSpec:
    """Write the parts of a raster that is repeated `tile` x `tile` times."""
    run.mkdir()
    with rasterio.open(raster) as file:
        shape, classes = (file.height * tile, file.width * tile), file.colorinterp[0].name == "palette"
        spec = spec_of(shape, file.dtypes[0], classes)
        for block in partition(spec.extent, side):
            rows, cols = (np.arange(span.start, span.stop) for span in (block.window.rows, block.window.cols))
            write_part(part_of(run, block), _repeated(file, rows % file.height, cols % file.width))
    return spec


def _repeated(file: Any, rows: Any, cols: Any) -> Any:
    """The pixels of rows and columns that begin anew where the raster ends."""

    def runs(places: Any) -> list[tuple[int, int]]:
        edges = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        return [(int(places[a]), b - a) for a, b in itertools.pairwise(edges)]

    return np.block([
        [file.read(1, window=RasterioWindow(left, top, width, height)) for left, width in runs(cols)]
        for top, height in runs(rows)
    ])  # fmt: skip


def patches(path: Path, side: int = 8192) -> Path:
    """Write a class raster of patches with ragged edges."""
    random = np.random.default_rng(0)
    coarse = np.kron(random.integers(1, 13, (side // 64, side // 64)), np.ones((64, 64), np.uint8)).astype(np.uint8)
    rows, cols = np.indices(coarse.shape, np.int32)
    ragged = random.integers(-6, 7, (2, *coarse.shape), np.int32)
    values = coarse[(rows + ragged[0]).clip(0, side - 1), (cols + ragged[1]).clip(0, side - 1)]
    spec, part = spec_of(values.shape, "uint8", classes=True), path.with_suffix(".part.tif")
    write_part(part, values)
    write_cog(path, spec, [(Block(0, spec.extent), part)])
    part.unlink()
    return path


def by_geoseg(spec: RasterSpec, parts: Parts, out: Path) -> None:
    write_cog(out, spec, parts)


def by_gdal(spec: RasterSpec, parts: Parts, out: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir=out.parent) as folder,
        rasterio.Env(GDAL_CACHEMAX=64 << 20, GDAL_DISABLE_READDIR_ON_OPEN="TRUE"),
    ):
        rasterio.shutil.copy(
            mosaic_vrt(spec, parts, Path(folder)), out, driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=512,
            BIGTIFF="IF_SAFER", OVERVIEWS="IGNORE_EXISTING", NUM_THREADS="ALL_CPUS",
            OVERVIEW_RESAMPLING="MODE" if spec.classes else "AVERAGE",
        )  # fmt: skip


Publisher = Callable[[RasterSpec, Parts, Path], None]


def _measured(publish: Publisher, spec: RasterSpec, run: Path, side: int, out: Path, results: Any) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        small, part = replace(spec, extent=Window.of(0, 0, 1100, 600)), Path(folder) / "part.tif"
        write_part(part, np.ones((1100, 600), spec.dtype))
        write_cog(part.with_name("warm.tif"), small, [(Block(0, small.extent), part)])
    began, spent = time.perf_counter(), time.process_time()
    publish(spec, Parts(FolderStore(run), LAYER, partition(spec.extent, side)), out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.put((time.perf_counter() - began, time.process_time() - spent, peak, out.stat().st_size / 1e6))
    out.unlink()


def measure(publish: Publisher, spec: RasterSpec, run: Path, side: int, out: Path) -> tuple[float, ...]:
    """Return seconds, CPU seconds, peak memory in MiB with libraries, and MB of the file; of a process of its own."""
    os.sync()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measured, args=(publish, spec, run, side, out, results))
    process.start()
    found: tuple[float, ...] = results.get()
    process.join()
    return found


def sparse(run: Path, gigapixels: float, every: int, side: int) -> RasterSpec:
    """Link the parts of a raster of which most blocks have none to one part."""
    run.mkdir()
    length = round((gigapixels * 1e9) ** 0.5)
    spec, source = spec_of((length, length), "uint8", classes=True), run / "source.tif"
    coarse = np.random.default_rng(0).integers(1, 13, (side // 32, side // 32)).astype(np.uint8)
    write_part(source, np.kron(coarse, np.ones((32, 32), np.uint8)))
    for block in partition(spec.extent, side):
        if block.index % every == 0 and block.window.shape == (side, side):
            os.link(source, part_of(run, block))
    return spec


def lines(name: str, spec: RasterSpec, run: Path, options: argparse.Namespace, gdal: bool = True) -> Iterator[str]:
    """Measure, and yield a line for each way."""
    ways: dict[str, Publisher] = {"geoseg": by_geoseg, **({"GDAL": by_gdal} if gdal else {})}
    found: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    for _ in range(options.repeat):
        for way, publish in ways.items():
            found[way].append(measure(publish, spec, run, options.side, run.parent / f"{way}.tif"))
    megapixels = spec.extent.pixels / 1e6
    medians = {way: [statistics.median(each) for each in zip(*rows, strict=True)] for way, rows in found.items()}
    for way, (wall, cpu, peak, size) in medians.items():
        yield (
            f"{name:24}{megapixels:12,.1f}{way:>8}{wall:9.2f}{cpu:9.2f}{megapixels / cpu:11,.0f}{peak:8.0f}{size:9.2f}"
        )
    if gdal:
        ratios = [medians["GDAL"][i] / medians["geoseg"][i] for i in range(4)]
        yield f"{name:24}{'GDAL / geoseg':>20}{ratios[0]:9.2f}{ratios[1]:9.2f}{'':11}{ratios[2]:8.2f}{ratios[3]:9.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", type=Path, nargs="*")
    parser.add_argument("--folder", type=Path, required=True, help="where parts and COGs are written")
    parser.add_argument("--tile", type=int, default=1)
    parser.add_argument("--side", type=int, default=2048, help="of a part, in pixels")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sparse", type=float, help="gigapixels")
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--gdal", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    print(f"{'':24}{'Mpx':>12}{'':8}{'s':>9}{'CPU s':>9}{'Mpx/CPU s':>11}{'MiB':>8}{'MB':>9}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.sparse:
            spec = sparse(folder / "run", options.sparse, options.every, options.side)
            for line in lines("sparse", spec, folder / "run", options, options.gdal):
                print(line, flush=True)
            return
        for raster in options.rasters or [patches(folder / "patches.tif")]:
            spec = cut(raster, folder / "run", options.tile, options.side)
            for line in lines(raster.stem, spec, folder / "run", options):
                print(line, flush=True)
            shutil.rmtree(folder / "run")


if __name__ == "__main__":
    main()
