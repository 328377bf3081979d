"""Polygons in stripes against one sweep: CPU seconds and peak memory of each part of the work, and the same bytes.

    python benchmarks/stripes.py --folder scratch [RASTER...] [--tile 2]

Each row is a process of its own, as in `benchmarks/polygons.py`, which makes the map where no raster is given:

- sweep: `geoseg polygonize`, in one process.
- stripes: what `geoseg work` computes, the parts of all stripes, one after the other; here in memory, and then written.
- join: what `geoseg finalize` does with the parts before it writes: all polygons, with geometries and attributes.
- join and write: the same with the file written, read back and synced.

`--stripes N` divides the rows into about N stripes in place of those of about 16 Mpx; `--tile N` first tiles each
raster N x N. The SHA-256 of both files must be equal, to a GeoPackage and to a FlatGeobuf.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from polygons import SMOOTH, _high_water, geoseg, make_map, warm


def tiled(raster: Path, count: int, folder: Path) -> Path:
    """Write the raster `count` x `count` times into one, unless that exists, and return its path."""
    import rasterio
    from rasterio.windows import Window

    path = folder / f"{raster.stem}-{count}x{count}.tif"
    if path.exists():
        return path
    with rasterio.open(raster) as file:
        profile = {**file.profile, "width": count * file.width, "height": count * file.height}
        profile |= {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
        temporary = path.with_name(f"{path.stem}.part.tif")
        with rasterio.open(temporary, "w", **profile) as out:
            for row in range(0, out.height, file.height):
                for first in range(0, file.height, 512):
                    height = min(512, file.height - first)
                    band = file.read(1, window=Window(0, first, file.width, height))
                    place = Window(0, row + first, out.width, height)
                    out.write(np.tile(band, (1, count)), 1, window=place)
    temporary.replace(path)
    return path


def _layer(raster: Path, out: Path) -> Any:
    from geoseg.config import PolygonizeConfig
    from geoseg.jobs.polygonize import PolygonizeJob

    return PolygonizeJob(PolygonizeConfig(raster, out, overwrite=True))


def sweep(raster: Path, out: Path, count: int) -> int:
    return geoseg(raster, out)


def parts(raster: Path, out: Path, count: int) -> int:
    """Compute the parts of all stripes, and write them beside `out`."""
    from geoseg.outputs.polygon_stripes import stripes

    with _layer(raster, out) as job, job.layer.caching():
        rows, cols = job.raster.scene.shape
        blocks = stripes(job.raster, rows * cols // count if count else 1 << 24)
        for block in blocks:
            out.with_suffix(f".{block.index:04d}").write_bytes(job.layer.striped.part(block.window.rows))
    return len(blocks)


def _parts(out: Path) -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted(out.parent.glob(f"{out.stem}.[0-9][0-9][0-9][0-9]")))


def join(raster: Path, out: Path, count: int) -> int:
    found = 0
    with _layer(raster, out) as job:
        for _, batches in job.layer.striped.joined(_parts(out)):
            for polygons in batches:
                found += len(polygons)
                _ = polygons.wkb, polygons.measured
    return found


def join_and_write(raster: Path, out: Path, count: int) -> int:
    with _layer(raster, out) as job:
        for _ in job.layer.write(out, _parts(out)):
            pass
        return int(job.layer.count)


def _measure(run: Callable[[Path, Path, int], int], raster: Path, out: Path, count: int, results: Any) -> None:
    warm(geoseg)
    start, spent = time.perf_counter(), time.process_time()
    number = run(raster, out, count)
    results.put((time.perf_counter() - start, time.process_time() - spent, _high_water(), number))


def measure(
    run: Callable[[Path, Path, int], int], raster: Path, out: Path, count: int
) -> tuple[float, float, float, int]:
    """Return seconds, CPU seconds, peak memory in MiB, and a number; of a process of its own."""
    os.sync()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure, args=(run, raster, out, count, results))
    process.start()
    found: tuple[float, float, float, int] = results.get()
    process.join()
    return found


def rows(raster: Path, folder: Path, count: int) -> Iterator[str]:
    """Yield the rows of the table of one raster."""
    striped = folder / "striped.gpkg"
    for suffix in (".gpkg", ".fgb"):
        whole, joined = folder / f"whole{suffix}", folder / f"striped{suffix}"
        for old in folder.glob(f"{striped.stem}.[0-9]*") if suffix == ".gpkg" else ():
            old.unlink()
        runs = {"sweep": (sweep, whole), "join and write": (join_and_write, joined)}
        if suffix == ".gpkg":
            runs = {"sweep": (sweep, whole), "stripes": (parts, joined), "join": (join, joined), **runs}
        for name, (run, out) in runs.items():
            seconds, cpu, peak, number = measure(run, raster, out, count)
            yield f"{raster.stem:28}{name + ' ' + suffix:22}{seconds:8.2f}{cpu:8.2f}{peak:8.0f}{number:12,}"
        digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, joined)}
        size = sum(path.stat().st_size for path in folder.glob(f"{striped.stem}.[0-9]*"))
        same = "the same bytes" if len(digests) == 1 else "OTHER BYTES"
        yield f"{raster.stem:28}{suffix}: {same}; parts: {size / 1e6:.1f} MB, file: {whole.stat().st_size / 1e6:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", type=Path, nargs="*")
    parser.add_argument("--folder", type=Path, required=True, help="where maps, parts and polygons are written")
    parser.add_argument("--side", type=int, default=10_000, help="of the map that is made, in pixels")
    parser.add_argument("--tile", type=int, default=1)
    parser.add_argument("--stripes", type=int, default=0, help="number of stripes; 0: of about 16 Mpx")
    options = parser.parse_args()
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    folder = options.folder
    folder.mkdir(exist_ok=True)
    print(f"{'':50}{'s':>8}{'CPU s':>8}{'MiB':>8}{'polygons':>12}")
    for raster in options.rasters or [
        make_map(folder / f"smooth-{options.side}.tif", options.side, options.side, SMOOTH)
    ]:
        source = tiled(raster, options.tile, folder) if options.tile > 1 else raster
        for line in rows(source, folder, options.stripes):
            print(line, flush=True)


if __name__ == "__main__":
    main()
