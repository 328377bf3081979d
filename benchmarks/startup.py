"""CPU and wall time of whole commands on a small raster: what starting and ending cost.

    python benchmarks/startup.py --model model.safetensors --against /other/checkout/.venv/bin/python

Every command runs as a process of its own, in turn with `python -c pass` and `python -c "import rasterio"`, the least
that a program that reads rasters takes. Medians over rounds, after one that is not counted and fills the caches of
bytecode and kernels. `--against` is the interpreter of another version of geoseg, whose commands run in between.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

SIDE = 256


def commands(model: Path | None) -> dict[str, list[str]]:
    """Name -> arguments of the interpreter; in this order, so that each finds what it reads."""
    python = {"python": ["-c", "pass"], "import rasterio": ["-c", "import rasterio"]}
    words = {
        "geoseg --help": "--help",
        "info": "info scene.tif",
        "superpixels": "superpixels scene.tif -o ids.tif --overwrite",
        "check": "check ids.tif",
        "status": "status unknown.run",
        "polygonize": "polygonize classes.tif -o classes.gpkg --overwrite",
    }
    if model is not None:
        words["predict"] = f"predict scene.tif -m {model.resolve()} -o map.tif --overwrite"
    return python | {name: ["-m", "geoseg", "-q", *text.split()] for name, text in words.items()}


def measure(interpreter: str, arguments: list[str], folder: str) -> tuple[float, float]:
    """CPU (user + system) and wall seconds of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [interpreter, *arguments], cwd=folder, env={**os.environ, "PYTHONSAFEPATH": "1"}, capture_output=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def make_rasters(folder: Path) -> None:
    """Write a scene of four bands, and a raster of classes."""
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(1, 255, (4, SIDE // 16, SIDE // 16)), np.ones((1, 16, 16))).astype(np.uint8)
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": "EPSG:32633"}
    profile["transform"] = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
    with rasterio.open(folder / "scene.tif", "w", count=4, photometric="RGB", **profile) as file:
        file.write(pixels)
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.undefined]
    with rasterio.open(folder / "classes.tif", "w", count=1, nodata=0, **profile) as file:
        file.write(pixels[:1] // 50 + 1)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model of four bands; without it, predict is left out")
    parser.add_argument("--against", help="interpreter of another version")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    interpreters = [sys.executable, *([given.against] if given.against else [])]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_rasters(Path(folder))
        for number in range(given.rounds + 1):
            for name, arguments in commands(given.model).items():
                for interpreter in interpreters:
                    times = measure(interpreter, arguments, folder)
                    if number:
                        found.setdefault((name, interpreter), []).append(times)
    print(f"{'':18}{'CPU s':>8}{'wall s':>8}" + f"{'before':>10}{'wall s':>8}" * (len(interpreters) - 1))
    for name in commands(given.model):
        medians = [
            statistics.median(column) for each in interpreters for column in zip(*found[name, each], strict=True)
        ]
        print(
            f"{name:18}" + "".join(f"{value:{width}.2f}" for value, width in zip(medians, (8, 8, 10, 8), strict=False))
        )


if __name__ == "__main__":
    main()
