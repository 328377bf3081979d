"""What geoseg does on a GPU, in one command for a bare machine, and one JSON file.

    python benchmarks/gpu.py OUT.json [--scene ORTHOPHOTO] [--device cuda] [--seconds 420] [--megapixels 206]

The scene is a piece of ORTHOPHOTO, or a made-up landscape, again and again, mirrored, uncompressed on the local disk.
The parts are

- ceilings: copies up, down and on the device, and a matrix product;
- network: megapixels per second of the network alone;
- training: the default recipe in float32 and bfloat16: images per second, loss curves, memory;
- predict: from the open scene to published files with the model just trained: Mpx/s, load of the GPU, memory;
- profile: time of kernels and copies of a prediction, by torch's profiler;
- independence: whether blocks and threads make a difference to the map;
- superpixels, cpu: the other stages, each alone;
- equality: shares of pixels that get the class that a CPU gives them in float32;
- graphs: the network as a CUDA graph, and compiled;
- potsdam, coco: the beginning of the trainings of these benchmarks on folders of the real shape;
- tests: those tests that concern a device.

A part that fails leaves its error in the file, and the others run. The file is written anew after each part. Parts that
would begin after --seconds are left out; --only names those to run, in their order.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_parts import machine, prediction, scenes, stages, training
from gpu_parts.common import Bench, Report

_ROOT = Path(__file__).resolve().parents[1]
_TESTS = ("tests/segments/test_triton.py", "tests/segments/test_superpixels.py", "tests/prediction")
_PIECE = 4096
_CORNER = 4096

PARTS: dict[str, Callable[[Bench], Report]] = {
    "ceilings": machine.ceilings,
    "network": stages.network,
    "training": training.training,
    "predict": prediction.end_to_end,
    "profile": prediction.profile,
    "independence": prediction.independence,
    "superpixels": stages.superpixels,
    "cpu": stages.on_the_cpu,
    "equality": prediction.equality,
    "graphs": stages.network_graphs,
    "potsdam": training.potsdam,
    "coco": training.coco,
}


def tests(_bench: Bench) -> Report:
    """Run the tests that concern a device."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_TESTS]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=240)
    return {"status": done.returncode, "end": done.stdout.splitlines()[-3:]}


def main() -> None:
    """Measure, and write the file after each part."""
    given = _arguments()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = _prepare(given, Path(folder))
        report: Report = {"machine": machine.machine(bench), "parts": {}}
        report["scene"] = {"side": _side(given), "seconds_to_make": round(time.perf_counter() - began, 1)}
        parts = {**PARTS, "tests": tests}
        for name in given.only or parts:
            started = time.perf_counter()
            found: Report
            if started - began > given.seconds:
                found = {"skipped": "no time was left"}
            else:
                try:
                    found = parts[name](bench)
                except Exception as error:
                    found = {"error": f"{type(error).__name__}: {error}", "where": traceback.format_exc()[-2000:]}
            took = time.perf_counter() - started
            report["parts"][name] = {"took": round(took, 1), **found}
            given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            print(f"{name}: {took:.1f} s{' FAILED ' + found['error'] if 'error' in found else ''}", flush=True)


def _prepare(given: argparse.Namespace, folder: Path) -> Bench:
    side = _side(given)
    piece = scenes.imagery(given.scene, 512 if given.tiny else _PIECE)
    scene = scenes.write_scene(folder / "scene.tif", piece, side)
    corner = min(_CORNER, side) * 0.5
    bounds = (400_000.0, 5_800_000 - corner, 400_000 + corner, 5_800_000.0)
    model = folder / "bfloat16.safetensors" if given.model is None else given.model
    seconds = 3.0 if given.tiny else given.training_seconds
    return Bench(torch.device(given.device), folder, scene, bounds, seconds, model, given.tiny)


def _side(given: argparse.Namespace) -> int:
    return 1536 if given.tiny else int((given.megapixels * 1e6) ** 0.5)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scene", type=Path, help="an orthophoto of 8-bit red, green and blue")
    parser.add_argument("--model", type=Path, help="a model of such imagery; needed without the part training")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=420, help="after which no part begins (default %(default)s)")
    parser.add_argument("--training-seconds", type=float, default=12, help="of potsdam and coco (default %(default)s)")
    parser.add_argument("--megapixels", type=float, default=206, help="of the scene (default %(default)s)")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR"), help="where files are made, on a fast disk")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "tests"])
    parser.add_argument("--tiny", action="store_true", help="only try whether everything runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
