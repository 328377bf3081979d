"""Predictions made in this process, and commands whose peak memory is measured in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray

from geoseg.config import PredictConfig
from geoseg.jobs.predict import PredictJob
from geoseg.model.file import Model
from geoseg.outputs.names import Outputs
from helpers.models import as_saved


def predict_map(
    scene: Path, model: Model, out: Path, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
    """Return the class raster, the confidence and the profile of a prediction in float32."""
    confidence = out.with_name(f"{out.stem}-confidence.tif")
    config = PredictConfig((scene,), out, overwrite=True, **{"precision": "float32", **settings})
    with PredictJob(config, scene, Outputs(out, confidence), as_saved(model)) as job:
        for _ in job.run():
            pass
    with rasterio.open(out) as file, rasterio.open(confidence) as other:
        return file.read(1), other.read(1), file.profile


_PEAK = """
import re, sys
from pathlib import Path
from geoseg.cli.heap import share_one_heap
share_one_heap()
from geoseg.raster import cog, scene
from geoseg.cli.main import main
cache = int(sys.argv.pop(1)) << 20
scene.CACHE_FLOOR, cog.COPY_CACHE = min(scene.CACHE_FLOOR, cache), min(cog.COPY_CACHE, cache)
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
# Not ru_maxrss: a child's begins with what its parent had when it was started.
print(re.search("VmHWM: *\\t* *([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak_memory(cache: int, *arguments: object) -> int:
    """Return the peak memory of `geoseg ARGUMENTS` in kB; GDAL's caches get `cache` MiB at most."""
    command = [sys.executable, "-c", _PEAK, str(cache), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])
