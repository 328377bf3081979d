"""Predict: from the open scene to the published files, where its time goes, and what it shares with a CPU's."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from geoseg.config import PredictConfig
from geoseg.jobs.predict import PredictJob
from geoseg.model.file import Model, save_model
from geoseg.outputs.names import Outputs
from gpu_parts.common import Bench, Load, Report, rounded

_SLOWEST = 16


def predict(bench: Bench, out: Path, model: Model, **settings: Any) -> Report:
    """Map the scene, or the `bounds` among the settings, and return what it took."""
    config = PredictConfig(
        (bench.scene,), out, overwrite=True, restart=True, **{"device": str(bench.device), **settings}
    )
    bench.reset_peak()
    with PredictJob(config, bench.scene, Outputs(out, None), model) as job:
        load, receipts, last = Load(bench), [], 0.0
        with load:
            for receipt in job.run():
                receipts.append(receipt)
                last = time.perf_counter()
        publication = load.began + load.wall - last
    megapixels = sum(receipt.pixels for receipt in receipts) / 1e6
    stages: dict[str, float] = {}
    for receipt in receipts:
        for stage, seconds in receipt.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return {
        "megapixels": round(megapixels, 1), "mpx_per_second": round(megapixels / load.wall, 2), **load.report,
        "of_these_publication": round(publication, 3),
        "blocks": len(receipts), "windows": sum(receipt.windows for receipt in receipts), "workers": job.workers,
        "gpu_peak_mib": bench.peak_mib(), "thread_seconds": rounded(stages),
    }  # fmt: skip


def end_to_end(bench: Bench) -> Report:
    """Map the scene with a model as training makes it, and with its network alone."""
    model, out = bench.loaded(), bench.folder / "map.tif"
    predict(bench, out, model, bounds=bench.corner)
    network = save_model(replace(model, experts=None), bench.folder / "network.safetensors")
    found: Report = {}

    def add(name: str, each: Model, place: Path = out, **settings: Any) -> None:
        try:
            found[name] = predict(bench, place, each, **settings)
        except Exception as error:  # the others are of use without it
            found[name] = {"error": f"{type(error).__name__}: {error}"}

    add("default", model)
    settings: dict[str, dict[str, Any]] = {
        "blocks of 4096": {"block_size": 4096}, "8 workers": {"workers": 8}, "float32": {"precision": "float32"},
    }  # fmt: skip
    for name, chosen in settings.items():
        add(name, model, **chosen)
    add("network alone", network)
    memory = Path("/dev/shm")
    if memory.is_dir():
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            add("outputs in memory", model, Path(folder) / "map.tif")
    return found


def profile(bench: Bench) -> Report:
    """Return the time in which the device runs kernels or copies while the scene is mapped, and the slowest of them."""
    if not bench.cuda:
        return {"skipped": "kernels are only told apart on a GPU"}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        found = predict(bench, bench.folder / "map.tif", bench.loaded())
    spans: list[tuple[float, float]] = []
    totals: dict[str, list[float]] = {}
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spans.append((event.time_range.start, event.time_range.end))
            total = totals.setdefault(event.name[:90], [0, 0.0])
            total[0] += 1
            total[1] += event.time_range.elapsed_us() / 1e6
    copies = {name: total for name, total in totals.items() if name.startswith(("Memcpy", "Memset"))}
    kernels = sum(total[1] for name, total in totals.items() if name not in copies)
    slowest = dict(sorted(totals.items(), key=lambda item: -item[1][1])[:_SLOWEST])
    computing = found["seconds"] - found["of_these_publication"]
    busy = _union(spans) / 1e6
    return {
        **found, "kernel_seconds": round(kernels, 3), "busy_seconds": round(busy, 3),
        "busy_percent_before_publication": round(100 * busy / computing, 1),
        "copies": {name: [total[0], round(total[1], 4)] for name, total in copies.items()},
        "slowest": {name: [total[0], round(total[1], 4)] for name, total in slowest.items()},
    }  # fmt: skip


def _union(spans: list[tuple[float, float]]) -> float:
    """Return the length of all spans together, where they overlap once."""
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def independence(bench: Bench) -> Report:
    """Return how many pixels differ between maps of a part of the scene with other blocks and threads; 0 is the law."""
    found, maps = {}, {}
    settings: dict[str, dict[str, Any]] = {
        "blocks of 2048": {}, "again": {}, "blocks of 512": {"block_size": 512}, "blocks of 4096": {"block_size": 4096},
        "2 threads": {"workers": 2},
    }  # fmt: skip
    for name, chosen in settings.items():
        out = bench.folder / "independent.tif"
        predict(bench, out, bench.loaded(), bounds=bench.corner, **chosen)
        with rasterio.open(out) as file:
            maps[name] = file.read(1)
        found[name] = int((maps[name] != maps["blocks of 2048"]).sum())
    return found


def equality(bench: Bench) -> Report:
    """Return the shares of pixels that have the class that a CPU gives them in float32, with what can differ."""
    model = bench.loaded()
    network = save_model(replace(model, experts=None), bench.folder / "network.safetensors")
    device, found = str(bench.device), {}
    for kind, each in (("default", model), ("network alone", network)):
        maps = {}
        for place, precision in (("cpu", "float32"), ("cpu", "bfloat16"), (device, "float32"), (device, "bfloat16")):
            out = bench.folder / f"{place.replace(':', '')}-{precision}.tif"
            confidence = out.with_name(f"{out.stem}-confidence.tif")
            settings: dict[str, Any] = {
                "bounds": bench.corner, "device": place, "precision": precision, "confidence": confidence,
            }  # fmt: skip
            config = PredictConfig((bench.scene,), out, overwrite=True, restart=True, **settings)
            with PredictJob(config, bench.scene, Outputs(out, confidence), each) as job:
                list(job.run())
            layers = []
            for path in (out, confidence):
                with rasterio.open(path) as file:
                    layers.append(file.read(1))
            maps[f"{place} {precision}"] = layers
        classes, confident = maps["cpu float32"]
        found[kind] = {
            name: {
                "same_class": round(float((other == classes).mean()), 6),
                "confidence_differs_by_at_most": int(np.abs(sure.astype(int) - confident.astype(int)).max()),
                "confidence_differs_in_the_mean_by": round(float(np.abs(sure.astype(int) - confident).mean()), 4),
            }
            for name, (other, sure) in maps.items()
        }
    return found
