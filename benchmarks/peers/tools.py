"""The tools that are compared, and how each is run and measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: Its function in `prediction` or `superpixels`, and its name on the command line.
        title: Its name in tables.
        package: The distribution whose version is told.
        kind: "predict" or "superpixels".
        heavy: Whether it needs gigabytes for a scene, and so runs on the piece alone.
    """

    name: str
    title: str
    package: str
    kind: str
    heavy: bool = False


TOOLS = (
    Tool("geoseg", "geoseg predict", "geoseg", "predict"),
    Tool("coarse_loop", "a loop of rasterio and torch, argmax at stride 4", "rasterio", "predict"),
    Tool("loop", "a loop of rasterio and torch, logits at full resolution", "rasterio", "predict"),
    Tool("torchgeo", "torchgeo, GridGeoSampler", "torchgeo", "predict"),
    Tool("raster_vision", "Raster Vision, discrete labels", "rastervision_core", "predict"),
    Tool("geoai", "geoai, predict_geotiff", "geoai-py", "predict", heavy=True),
    Tool("terratorch", "terratorch, tiled_inference", "terratorch", "predict", heavy=True),
    Tool("geoseg_superpixels", "geoseg superpixels", "geoseg", "superpixels"),
    Tool("simple_itk", "SimpleITK, SLICImageFilter", "simpleitk", "superpixels"),
    Tool("opencv", "OpenCV, ximgproc", "opencv-contrib-python-headless", "superpixels"),
    Tool("scikit_image", "scikit-image, slic", "scikit-image", "superpixels", heavy=True),
)


def version(tool: Tool, python: str) -> str | None:
    """Return the version that an interpreter has of a tool, or None."""
    code = f"import importlib.metadata as m; print(m.version({tool.package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def command(
    tool: Tool, python: str, scene: Path, model: Path, out: Path, tiling: Mapping[str, int] | None = None
) -> list[str]:
    """Return the command that writes `out`; `tiling` is `tile-size` and `overlap`, and for geoseg `block-size`."""
    options = [part for name, value in (tiling or {}).items() for part in (f"--{name}", str(value))]
    geoseg = [python, "-m", "geoseg"]
    if tool.name == "geoseg":
        return [*geoseg, "predict", str(scene), "--model", str(model), "--out", str(out), *options]
    if tool.name == "geoseg_superpixels":
        return [*geoseg, "superpixels", str(scene), "--out", str(out)]
    window, overlap = (
        str((tiling or {}).get(name, default)) for name, default in (("tile-size", 1024), ("overlap", 128))
    )
    return [python, str(HERE / "tool.py"), tool.name, str(scene), str(model), str(out), window, overlap]


@dataclass(frozen=True)
class Cost:
    """What a process took: user and system seconds of all its threads, wall seconds, peak memory in MB."""

    cpu: float
    wall: float
    megabytes: float


def measured(arguments: Sequence[str]) -> Cost:
    """Run a command on one thread of OpenMP, whose other threads would spin, and return what it took.

    Raises:
        RuntimeError: If it fails; with the end of what it said.
    """
    names = {"OMP_NUM_THREADS": "1", "GIT_PYTHON_REFRESH": "quiet"}
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments, env={**os.environ, **names}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(said.strip().splitlines()[-1] if said.strip() else f"exit status {process.returncode}")
    # On macOS, ru_maxrss is in bytes; elsewhere in KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss * unit / 1e6)
