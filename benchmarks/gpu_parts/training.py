"""Training: images per second and loss curves in both precisions, and the recipes of the benchmarks."""

from __future__ import annotations

import math
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from geoseg.config import TrainConfig
from geoseg.jobs.train import TrainJob
from geoseg.learning.step import Step
from geoseg.recipes import RecipeName
from gpu_parts.common import Bench, Load, Report
from gpu_parts.scenes import imagery, make_coco, make_potsdam

_POINTS = 60
"""Points of a loss curve that are kept."""


def training(bench: Bench) -> Report:
    """Train with the recipe of the command's default, half as long, in both precisions; keep the bfloat16 model."""
    found = {}
    for precision in ("float32", "bfloat16"):
        out = bench.folder / f"{precision}.safetensors"
        config = TrainConfig(
            data=bench.scene, out=out, recipe="orthophoto", steps=8 if bench.tiny else 300, device=str(bench.device),
            precision=precision, overwrite=True,
        )  # fmt: skip
        found[precision] = _train(bench, TrainJob(config), math.inf)
    return found


def potsdam(bench: Bench) -> Report:
    """Begin the recipe of Potsdam on tiles of the real size, of which there are two instead of 38."""
    piece = imagery(bench.scene, 600 if bench.tiny else 3000)
    folder = make_potsdam(bench.folder / "potsdam", piece, 800 if bench.tiny else 6000, 1, 1)
    return _recipe(bench, "potsdam6", folder)


def coco(bench: Bench) -> Report:
    """Begin the recipe of COCO-Stuff on images of the usual size, of which there are 315 instead of 51,804."""
    piece = imagery(bench.scene, 600 if bench.tiny else 3000)
    return _recipe(bench, "cocostuff15", make_coco(bench.folder / "coco", piece, 30 if bench.tiny else 300))


def _recipe(bench: Bench, recipe: RecipeName, folder: Path) -> Report:
    small: dict[str, Any] = {"batch_size": 4, "steps": 12} if bench.tiny else {}
    config = TrainConfig(
        data=folder, out=bench.folder / f"{recipe}.safetensors", recipe=recipe, device=str(bench.device),
        overwrite=True, **small,
    )  # fmt: skip
    began = time.perf_counter()
    job = TrainJob(config)
    opened = time.perf_counter() - began
    found = {"files": sum(path.is_file() for path in folder.rglob("*")), "seconds_to_open": round(opened, 2)}
    return found | _train(bench, job, bench.seconds)


def _train(bench: Bench, job: TrainJob, seconds: float) -> Report:
    """Run a training, or its first seconds."""
    bench.reset_peak()
    load, steps, began = Load(bench), [], time.perf_counter()
    times: list[float] = []
    with job, load, closing(job.run()) as run:
        for step in run:
            steps.append(step)
            times.append(time.perf_counter())
            if times[-1] - times[0] > seconds:
                break
    return _summary(job, steps, times, began) | load.report | {"gpu_peak_mib": bench.peak_mib()}


def _summary(job: TrainJob, steps: list[Step], times: list[float], began: float) -> Report:
    recipe = job.recipe
    wall = times[-1] - times[0]
    found: Report = {
        "steps": len(steps), "of": recipe.steps, "batch": recipe.batch_size, "patch": recipe.patch_size,
        "seconds_to_first_step": round(times[0] - began, 2),
        "images_per_second": round(recipe.batch_size * (len(steps) - 1) / wall, 1) if wall else None,
        "images_per_second_of_steps_alone": round(statistics.median(step.images_per_second for step in steps), 1),
        "images_per_second_by_phase": {
            phase: round(statistics.median(rates), 1)
            for phase in range(3)
            if (rates := [step.images_per_second for step in steps if step.phase == phase])
        },
    }  # fmt: skip
    chosen = sorted({round(k * (len(steps) - 1) / (_POINTS - 1)) for k in range(_POINTS)})
    names = ("loss", "information", "anchor", "perplexity")
    found["curve"] = {"step": [steps[k].step for k in chosen]} | {
        name: [round(float(getattr(steps[k], name)), 4) for k in chosen] for name in names
    }
    found["criterion"] = [[step.step, round(step.criterion, 4)] for step in steps if not math.isnan(step.criterion)]
    return found
