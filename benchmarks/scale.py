"""How planning and publishing grow with the number of blocks: seconds, CPU, peak memory; each in its own process.

    python benchmarks/scale.py --folder scratch [--plan 1 10000 1000000] [--parts 2000 20000] [--real CLASSES.tif]

Everything is made in the folder, and removed again:

- plan: `geoseg predict --dry-run` on a sparse tiled BigTIFF of that many blocks of 1024 px, with an untrained model.
  The row of one block is what the interpreter and the libraries take by themselves.
- parts: the class raster of that many parts of 512 px, which are links to a few files. A quarter of the blocks have no
  part, as over the sea.
- real: the same from parts of `--side` px cut out of a class raster, repeated until there are `--gigapixels`.

Publishing is what `geoseg.raster.cog.write_cog` does: build the mosaic of the parts, copy it to a COG with its
overviews, and compare each part with what was written. Peak memory is that of the process, libraries included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 1024
PART = 512
DISTINCT = 16


@dataclass(frozen=True)
class Row:
    """What one process took.

    Attributes:
        what: plan, parts or real.
        blocks: Number of blocks.
        megapixels: Size of the raster.
        seconds: Wall time; of publishing without the start of Python.
        cpu: Seconds of all threads.
        mebibytes: Peak memory.
    """

    what: str
    blocks: int
    megapixels: float
    seconds: float
    cpu: float
    mebibytes: float

    def __str__(self) -> str:
        speed = "" if self.what == "plan" else f"{self.megapixels / self.seconds:8.0f} Mpx/s"
        return (
            f"{self.what:5} {self.blocks:9,} blocks {self.megapixels:12,.0f} Mpx {self.seconds:8.1f} s "
            f"{self.cpu:8.1f} s CPU {self.mebibytes:7.0f} MiB {speed}"
        )


def measure(what: str, blocks: int, megapixels: float, command: list[str]) -> Row:
    """Run a command; its output is its own measure of seconds and CPU, where it prints one as JSON."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = process.communicate()
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{errors}")
    found = json.loads(out)
    return Row(what, blocks, megapixels, found.get("seconds", wall), found["cpu"], found["mebibytes"])


def usage() -> dict[str, float]:
    """CPU seconds and peak memory of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": used.ru_utime + used.ru_stime, "mebibytes": used.ru_maxrss / 1024}


def plan(folder: Path, blocks: int) -> Row:
    """Measure the plan of a scene of `blocks` blocks."""
    import rasterio
    from affine import Affine

    model, scene, side = folder / "model.safetensors", folder / "sparse.tif", BLOCK * math.ceil(math.sqrt(blocks))
    if not model.exists():
        subprocess.run([sys.executable, __file__, "--child", "model", str(model)], check=True)
    with rasterio.open(
        scene, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", photometric="RGB", tiled=True,
        blockxsize=PART, blockysize=PART, BIGTIFF="YES", SPARSE_OK=True, crs="EPSG:32632",
        transform=Affine(0.2, 0, 300_000, 0, -0.2, 5_800_000),
    ):  # fmt: skip
        pass
    row = measure("plan", (side // BLOCK) ** 2, side**2 / 1e6, [
        sys.executable, __file__, "--child", "plan", str(scene), str(model), str(folder / "map.tif")
    ])  # fmt: skip
    scene.unlink()
    return row


def child_plan(scene: str, model: str, out: str) -> None:
    """Run the command, and print what the process took."""
    from contextlib import redirect_stdout
    from io import StringIO

    from geoseg.cli.main import geoseg

    size, shown = str(BLOCK), StringIO()
    with redirect_stdout(shown):
        geoseg(
            ["predict", scene, "--model", model, "--out", out, "--block-size", size, "--dry-run"], standalone_mode=False
        )
    print(json.dumps(usage()))


def child_model(path: str) -> None:
    """Save an untrained model."""
    from geoseg.classes import ClassMap
    from geoseg.config import TrainConfig
    from geoseg.model.file import Model, save_model
    from geoseg.model.network import NetworkSpec, build
    from geoseg.raster.statistics import BandStats
    from geoseg.recipes import SuperpixelConfig, WindowConfig

    stats = BandStats(*[(value,) * 3 for value in (100.0, 50.0, 0.0, 255.0)], 1)
    network = build(NetworkSpec(TrainConfig.encoder, 3, 6)).eval()
    parts = (SuperpixelConfig(), WindowConfig(), ClassMap.default(6), {})
    save_model(Model(network, ("red", "green", "blue"), "uint8", stats, *parts), Path(path))


def patches(count: int, side: int) -> Iterator[Any]:
    """Class rasters of some ids in patches, which compress well, so that the number of parts is what is measured."""
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(1, 7, (side // 64, side // 64))
        yield np.kron(coarse, np.ones((64, 64), np.uint8)).astype(np.uint8)


def cuts(path: Path, side: int) -> Iterator[Any]:
    """The squares of `side` px of a class raster, as far as they fit into it."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as file:
        for row in range(0, file.height - side + 1, side):
            for col in range(0, file.width - side + 1, side):
                yield file.read(1, window=Window(col, row, side, side))


def publish(folder: Path, what: str, blocks: int, side: int, sources: list[Path]) -> Row:
    """Measure the publication of `blocks` blocks, whose parts are links to `sources`; a fourth of `parts` have none."""
    run, out, across = folder / "run", folder / "out", math.ceil(math.sqrt(blocks))
    run.mkdir()
    out.mkdir()
    for index in range(across**2):
        if what == "real" or (index * 7) % 4:
            os.link(sources[index % len(sources)], run / f"part-{index:06d}-classes.tif")
    row = measure(what, across**2, (across * side) ** 2 / 1e6, [
        sys.executable, __file__, "--child", "publish", str(run), str(out / "map.tif"), str(across * side), str(side)
    ])  # fmt: skip
    shutil.rmtree(run)
    shutil.rmtree(out)
    return row


def child_publish(run: str, out: str, length: str, side: str) -> None:
    """Write the COG, and print what the process took."""
    from affine import Affine
    from rasterio.crs import CRS

    from geoseg.classes import ClassMap
    from geoseg.grid import Window, partition
    from geoseg.raster.cog_writer import write_cog
    from geoseg.raster.georeference import Georeference
    from geoseg.raster.mosaic import RasterSpec
    from geoseg.runs.folder import FolderStore
    from geoseg.runs.parts import Parts

    extent, classes = Window.of(0, 0, int(length), int(length)), ClassMap.default(6)
    place = Georeference(CRS.from_epsg(32632), Affine(0.2, 0, 300_000, 0, -0.2, 5_800_000))
    spec = RasterSpec(extent, place, classes.dtype, "classes", {}, classes=classes)
    began = time.perf_counter()
    write_cog(Path(out), spec, Parts(FolderStore(Path(run)), "classes", partition(extent, int(side))))
    print(json.dumps({"seconds": time.perf_counter() - began, **usage()}))


def rows(arguments: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Measure one after the other."""
    from geoseg.raster.cog import write_part

    for blocks in arguments.plan:
        yield plan(folder, blocks)
    kinds = [("parts", PART, arguments.parts, patches(DISTINCT, PART))]
    if arguments.real is not None:
        blocks = math.ceil(arguments.gigapixels * 1e9 / arguments.side**2)
        kinds.append(("real", arguments.side, [blocks], cuts(arguments.real, arguments.side)))
    for what, side, counts, arrays in kinds:
        sources = []
        for values in arrays if counts else ():
            sources.append(folder / f"{what}-{len(sources)}.tif")
            write_part(sources[-1], values)
        for blocks in counts:
            yield publish(folder, what, blocks, side, sources)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where to work; on the disk that is to be measured.")
    parser.add_argument("--plan", type=int, nargs="*", default=[1, 10_000, 1_000_000])
    parser.add_argument("--parts", type=int, nargs="*", default=[2000, 20_000])
    parser.add_argument("--real", type=Path, help="A class raster to cut parts out of.")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--gigapixels", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="Also write the figures to this file.")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        {"plan": child_plan, "model": child_model, "publish": child_publish}[arguments.child[0]](*arguments.child[1:])
        return
    found = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for row in rows(arguments, Path(folder)):
            print(row, flush=True)
            found.append(asdict(row))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
