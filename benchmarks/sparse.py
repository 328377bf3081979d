"""A sparse scene of 100 gigapixels, really predicted: seconds, CPU and peak memory of its plan, run and publication.

    python benchmarks/sparse.py --scene ORTHOPHOTO.tif [--model MODEL.safetensors] [--folder scratch] [--side 316000]

Makes a tiled BigTIFF of `--side` pixels a side in the folder, in which nothing is written but five islands: the first
bands of the scene, and four mirrored cuts of it. Then runs, each in a process of its own,

- `geoseg predict --dry-run`;
- `geoseg predict`, whose run ends with its last block, and whose publication begins there.

Without a model, an untrained one is used, which costs what a trained one costs. The scene, the map and the run are
removed again; they take some hundred megabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

TILE = 512
CUT = 3000
"""Side in pixels of the smaller islands."""

BANDS = 3


def make_scene(path: Path, side: int, source: Path) -> int:
    """Write the sparse scene; return the number of pixels that are written in it."""
    with rasterio.open(source) as file:
        imagery = np.maximum(file.read(range(1, BANDS + 1)), 1)
    cut = imagery[:, :CUT, :CUT]
    cuts = [cut, cut[:, ::-1], cut[..., ::-1], cut[:, ::-1, ::-1]]
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=BANDS, dtype="uint8", photometric="RGB", tiled=True,
        blockxsize=TILE, blockysize=TILE, compress="deflate", zlevel=1, BIGTIFF="YES", SPARSE_OK=True, nodata=0,
        crs="EPSG:32632", transform=Affine(0.2, 0, 300_000, 0, -0.2, 5_800_000),
    ) as file:  # fmt: skip
        written = 0
        for number, island in enumerate([imagery, *cuts]):
            rows, cols = island.shape[1:]
            row, col = (
                int(place * (side - length)) // TILE * TILE
                for place, length in zip(((number + 0.5) / 5, (number * 2 + 0.7) % 5 / 5), (rows, cols), strict=True)
            )
            file.write(island, window=Window(col, row, cols, rows))
            written += rows * cols
    return written


@dataclass
class Peaks:
    """Watches a process: the seconds at which its last block was finished, and peak memory before and after.

    Attributes:
        blocks: Seconds from the start to the last block.
        memory: Peak MiB in the run, and in publication.
        cpu: CPU seconds of the run, and of publication.
    """

    blocks: float = 0.0
    memory: list[float] = field(default_factory=lambda: [0.0, 0.0])
    cpu: list[float] = field(default_factory=lambda: [0.0, 0.0])


def watch(command: list[str]) -> tuple[float, Peaks, int]:
    """Run a command that tells its progress as JSON; return its seconds, its peaks, and how many blocks it told of."""
    peaks, done, began = Peaks(), 0, time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    phase, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            resident = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
            now = phase[0]
            peaks.memory[now] = max(peaks.memory[now], *(each / 1024 for each in resident), 0.0)
            peaks.cpu[now] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    sampling = threading.Thread(target=sample)
    sampling.start()
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        told: dict[str, Any] = json.loads(line) if line.startswith("{") else {"message": line}
        said.append(line)
        if told.get("kind") == "step":
            done, peaks.blocks = told["done"], time.perf_counter() - began
            phase[0] = int(told["done"] == told["total"])
    process.wait()
    ended.set()
    sampling.join()
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{''.join(said[-5:])}")
    peaks.cpu[1] -= peaks.cpu[0]
    return time.perf_counter() - began, peaks, done


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the scene, predict it, and return the figures."""
    scene, out, model = folder / "sparse.tif", folder / "map.tif", arguments.model
    written = make_scene(scene, arguments.side, arguments.scene)
    if model is None:
        model = folder / "model.safetensors"
        subprocess.run([sys.executable, Path(__file__).with_name("scale.py"), "--child", "model", model], check=True)
    base = [sys.executable, "-m", "geoseg.cli", "--progress", "json"]
    command = [*base, "predict", str(scene), "--model", str(model), "--out", str(out)]
    plan_seconds, plan, _ = watch([*command, "--dry-run"])
    seconds, peaks, blocks = watch(command)
    with rasterio.open(out) as file:
        shape = file.shape
    return {
        "gigapixels": shape[0] * shape[1] / 1e9, "written megapixels": written / 1e6, "blocks": blocks,
        "plan": {"seconds": plan_seconds, "cpu": plan.cpu[0], "mebibytes": plan.memory[0]},
        "run": {"seconds": peaks.blocks, "cpu": peaks.cpu[0], "mebibytes": peaks.memory[0]},
        "publication": {"seconds": seconds - peaks.blocks, "cpu": peaks.cpu[1], "mebibytes": peaks.memory[1]},
        "scene megabytes": scene.stat().st_size / 1e6, "map megabytes": out.stat().st_size / 1e6,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True, help="8-bit imagery of at least three bands.")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--folder", type=Path, help="Where to work.")
    parser.add_argument("--side", type=int, default=316_000)
    parser.add_argument("--json", type=Path, help="Also write the figures to this file.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(Path(folder), arguments)
    for name, value in found.items():
        if isinstance(value, dict):
            words = f"{value['seconds']:8.1f} s {value['cpu']:8.1f} s CPU {value['mebibytes']:7.0f} MiB"
        else:
            words = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        print(f"{name:20} {words}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
