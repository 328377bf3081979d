"""A process that imports and compiles everything once and forks a child per command: `python -m faults.server`.

It reads one JSON object per line and answers each with one. {"arguments": …} starts `geoseg ARGUMENTS` under a fault
and answers with the process id; {"wait": process, "timeout": seconds} answers with how that process ended. A command
marked "cold" gets a new interpreter instead of a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from faults.points import Fault, install

_PIPE = 1 << 20
_SET_PIPE_SIZE = 1031

HEAVY = (
    "torch", "rasterio.shutil", "pyogrio", "geopandas", "skimage.segmentation", "sklearn.mixture",
    "geoseg.jobs.train", "geoseg.jobs.predict", "geoseg.jobs.superpixels", "geoseg.jobs.polygonize",
    "geoseg.jobs.change",
    "geoseg.outputs.names", "geoseg.jobs.info",
)  # fmt: skip


class Child:
    """A running or finished command, with pipes for its standard output, its standard error and its operations."""

    def __init__(self, request: dict[str, Any]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        self.readers = [reader for reader, _ in pipes]
        writers = [writer for _, writer in pipes]
        self.began = time.monotonic()
        self.process = os.fork()
        if not self.process:
            _become(request, writers)
        for writer in writers:
            os.close(writer)

    def ended(self, timeout: float) -> dict[str, Any]:
        """Wait for the process to end; kill it after `timeout` seconds."""
        late, deadline = False, time.monotonic() + timeout
        found, status = os.waitpid(self.process, os.WNOHANG)
        while not found:
            time.sleep(0.002)
            if not late and time.monotonic() > deadline:
                late = True
                os.kill(self.process, signal.SIGKILL)
            found, status = os.waitpid(self.process, os.WNOHANG)
        texts = []
        for reader in self.readers:
            with os.fdopen(reader, "rb") as file:
                texts.append(file.read().decode(errors="replace"))
        ended = {"code": os.waitstatus_to_exitcode(status), "late": late, "began": self.began}
        return ended | {"ended": time.monotonic(), "out": texts[0], "err": texts[1], "events": texts[2]}


def _become(request: dict[str, Any], writers: list[int]) -> None:
    """Turn the forked child into the command; does not return."""
    out, err, tell = writers
    with contextlib.suppress(OSError):
        for writer in writers:
            importlib.import_module("fcntl").fcntl(writer, _SET_PIPE_SIZE, _PIPE)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((empty, 0), (out, 1), (err, 2)):
        os.dup2(source, number)
    os.environ.update(request["environment"])
    if request["cold"]:
        os.set_inheritable(tell, True)
        os.execv(sys.executable, [sys.executable, "-m", "faults.server", json.dumps(request), str(tell)])
    _leave(request, tell)


def _leave(request: dict[str, Any], tell: int) -> None:
    """Run the command and exit as an interpreter does, without tearing down its modules, which takes a second."""
    code: Any = 1
    try:
        run(request, tell)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def run(request: dict[str, Any], tell: int) -> None:
    """Run the command in this process, with its fault and its limits."""
    # A parent in the background may have had SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from geoseg.cli.main import main

    if request["recipe"]:
        from helpers.commandline import training_with

        training_job: Any = importlib.import_module("geoseg.jobs.train")
        training_job.TrainJob = training_with(**request["recipe"])
    if request["fault"]:
        install(Fault(**request["fault"]), tell)
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    main(request["arguments"])


def warm() -> None:
    """Import and compile what the commands use, leaving no thread behind: a fork would lose it."""
    for name in HEAVY:
        importlib.import_module(name)
    from helpers.models import as_saved, make_model
    from helpers.rasters import landscape, make_raster

    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    # The first optimiser has torch import its compiler.
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    # GDAL keeps the threads that compress.
    original, os.cpu_count = os.cpu_count, lambda: 1
    with tempfile.TemporaryDirectory() as folder:
        _work(Path(folder), make_raster(Path(folder) / "scene.tif", landscape(64, 96)), as_saved(make_model()))
    os.cpu_count = original


def _work(folder: Path, scene: Path, model: Any) -> None:
    """Make a map with every output, and superpixels, through the library: the command line installs signal handlers."""
    from geoseg.config import ChangeConfig, PolygonizeConfig, PredictConfig, SegmentConfig
    from geoseg.jobs.change import ChangeJob
    from geoseg.jobs.polygonize import PolygonizeJob
    from geoseg.jobs.predict import PredictJob
    from geoseg.jobs.superpixels import SuperpixelsJob
    from geoseg.outputs.names import Outputs
    from geoseg.units import Area

    out = folder / "map.tif"
    outputs = Outputs(out, folder / "confidence.tif", folder / "map.gpkg")
    config = PredictConfig((scene,), out, min_area=Area(2, "px"), legend=True, precision="float32", workers=1)
    with PredictJob(config, scene, outputs, model) as job:
        list(job.run())
    for name in ("cut.tif", "cut.gpkg"):
        with SuperpixelsJob(SegmentConfig(scene, folder / name, workers=1)) as cutting:
            list(cutting.run())
    with PolygonizeJob(PolygonizeConfig(out, folder / "polygons.fgb")) as polygons:
        list(polygons.run())
    compared = ChangeConfig(out, out, folder / "change.tif", folder / "change.gpkg", min_area=Area(2, "px"))
    with ChangeJob(compared) as comparison:
        list(comparison.run())


def serve() -> None:
    """Answer requests until standard input ends."""
    warm()
    threads = list(Path("/proc/self/task").iterdir())
    if len(threads) > 1:
        sys.exit(f"{len(threads)} threads are running; a fork would keep only one")
    gc.freeze()
    children: dict[int, Child] = {}
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = children.pop(request["wait"]).ended(request["timeout"])
        else:
            child = Child(request)
            children[child.process] = child
            answer = {"process": child.process}
        print(json.dumps(answer), flush=True)
    # Tearing down all modules is slow and noisy.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:]:
        run(json.loads(sys.argv[1]), int(sys.argv[2]))
    serve()
