"""The machine: names, versions, and the rates that nothing on it exceeds."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from geoseg.files.record import versions
from gpu_parts.common import Bench, Report


def machine(bench: Bench) -> Report:
    """Return names and versions."""
    found: Report = {
        "device": str(bench.device), "cores": os.cpu_count(), "cpu": _cpu(), "python": platform.python_version(),
        "versions": versions("torch", "numba", "rasterio"),
    }  # fmt: skip
    if bench.cuda:
        properties = torch.cuda.get_device_properties(bench.device)
        found |= {
            "gpu": properties.name, "memory_mib": properties.total_memory >> 20,
            "multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    return found


def ceilings(bench: Bench) -> Report:
    """Return rates of copies in GB/s and of a bfloat16 product in TFLOP/s, on random data."""
    size = (1 if bench.tiny else 256) << 20
    there = torch.randint(0, 255, (size,), dtype=torch.uint8, device=bench.device)
    other = torch.empty_like(there)
    pageable = torch.randint(0, 255, (size,), dtype=torch.uint8)
    pinned = pageable.pin_memory() if bench.cuda else pageable
    copies = {
        "on device": lambda: other.copy_(there),
        "up, pinned": lambda: there.copy_(pinned, non_blocking=True),
        "up, pageable": lambda: there.copy_(pageable),
        "down, pinned": lambda: pinned.copy_(there, non_blocking=True),
        "down, pageable": lambda: pageable.copy_(there),
    }
    found: Report = {f"{name} GB/s": round(size / bench.seconds_of(copy) / 1e9, 1) for name, copy in copies.items()}
    side = 256 if bench.tiny else 8192
    factor = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16)
    found["bfloat16 TFLOP/s"] = round(2 * side**3 / bench.seconds_of(lambda: factor @ factor) / 1e12, 1)
    return found


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
