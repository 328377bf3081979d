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
    found: Report = {"default": predict(bench, out, model)}
    settings: dict[str, dict[str, Any]] = {
        "blocks of 4096": {"block_size": 4096}, "16 workers": {"workers": 16}, "float32": {"precision": "float32"},
    }  # fmt: skip
    for name, chosen in settings.items():
        found[name] = predict(bench, out, model, **chosen)
    found["network alone"] = predict(bench, out, network)
    memory = Path("/dev/shm")
    if memory.is_dir():
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            found["outputs in memory"] = predict(bench, Path(folder) / "map.tif", model)
    return found


def profile(bench: Bench) -> Report:
    """Return for a part of the scene the time of kernels and copies on the device, and the slowest of each."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if not bench.cuda:
        return {"skipped": "kernels are only told apart on a GPU"}
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        found = predict(bench, bench.folder / "map.tif", bench.loaded(), bounds=bench.corner)
    events = [event for event in profiler.key_averages() if event.self_device_time_total > 0]
    events.sort(key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events) / 1e6
    copies = [event for event in events if event.key.startswith(("Memcpy", "Memset"))]
    return {
        **found, "device_seconds": round(total, 3), "busy_percent": round(100 * total / found["seconds"], 1),
        "copies": {e.key: [e.count, round(e.self_device_time_total / 1e6, 4)] for e in copies},
        "slowest": {e.key[:90]: [e.count, round(e.self_device_time_total / 1e6, 4)] for e in events[:_SLOWEST]},
    }  # fmt: skip


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
