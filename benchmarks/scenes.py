"""Many small scenes: one process for all, against one process for each, and what it costs to find them finished.

    python benchmarks/scenes.py ORTHO.tif --model model.safetensors --folder scratch

Cuts `--scenes` tiles (200) of 512 x 512 px out of an orthophoto of at least 3000 x 3000 px. Then, each with one thread:

1. one `geoseg predict` maps all of them;
2. `--single` of them (8) are mapped by a process each;
3. the first command is given again, which finds all of them finished;
4. two processes are given the first command at once, for another folder.

CPU seconds are those of processor time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rasterio
from rasterio.windows import Window

SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--single", type=int, default=8)
    given = parser.parse_args()
    scenes = cut(given.ortho, given.folder / "scenes", given.scenes)

    def predict(paths: Sequence[Path], out: str) -> list[str]:
        arguments = [*map(str, paths), "--model", str(given.model), "--out", str(given.folder / out), "--workers", "1"]
        return [sys.executable, "-m", "geoseg", "-q", "predict", *arguments]

    folder = [given.folder / "scenes"]
    report("one process for all", len(scenes), lambda: run([predict(folder, "all")]))
    few = scenes[: given.single]
    report("a process for each", len(few), lambda: [run([predict([scene], "each")]) for scene in few])
    report("all finished before", len(scenes), lambda: run([predict(folder, "all")]))
    report("two processes at once", len(scenes), lambda: run([predict(folder, "two")] * 2))


def cut(ortho: Path, folder: Path, count: int) -> list[Path]:
    """Cut `count` tiles, spread over the orthophoto."""
    folder.mkdir(parents=True)
    paths = []
    with rasterio.open(ortho) as source:
        rows, cols = (side - SIDE for side in source.shape)
        for number in range(count):
            window = Window(number * 811 % cols, number * 467 % rows, SIDE, SIDE)
            profile = {
                "driver": "GTiff", "height": SIDE, "width": SIDE, "count": min(3, source.count), "crs": source.crs,
                "dtype": source.dtypes[0], "transform": source.window_transform(window), "tiled": True,
            }  # fmt: skip
            paths.append(folder / f"tile_{number:04}.tif")
            with rasterio.open(paths[-1], "w", **profile) as file:
                file.write(source.read(list(range(1, profile["count"] + 1)), window=window))
    return paths


def run(commands: Sequence[Sequence[str]]) -> None:
    """Run commands at once; each must succeed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) for command in commands]
    if any(process.wait() for process in running):
        raise SystemExit("a command failed")


def report(name: str, count: int, work: Callable[[], object]) -> None:
    """Do the work and print what it took for each of `count` scenes."""

    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before, began = cpu(), time.perf_counter()
    work()
    spent, wall = cpu() - before, time.perf_counter() - began
    print(f"{name}: {spent / count:.3f} CPU s a scene, {count / wall:.2f} scenes/s (wall {wall:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
