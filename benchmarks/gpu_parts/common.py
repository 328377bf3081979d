"""What the parts of the benchmark share: the place they work in, a clock that knows the device, and its load."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.model.file import Model, load_model
from geoseg.model.mixture import Experts
from geoseg.model.network import NetworkSpec, build
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Recipe, SuperpixelConfig, WindowConfig

Report = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Where the parts work, and how much they do.

    Attributes:
        device: The device to measure.
        folder: Of the files that are made.
        scene: The scene to map.
        corner: Bounds of a part of it that a CPU maps in seconds.
        seconds: About how long a training goes on.
        model: Where the training leaves its model, and prediction finds it.
        tiny: Only try whether everything runs.
    """

    device: torch.device
    folder: Path
    scene: Path
    corner: tuple[float, float, float, float]
    seconds: float
    model: Path
    tiny: bool = False

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU of NVIDIA's."""
        return self.device.type == "cuda"

    def loaded(self) -> Model:
        """Return the model: that of the training, or before it one of random weights, which costs the same."""
        if self.model.exists():
            return load_model(self.model)
        with Scene(self.scene, quiet=True) as scene:
            stats = BandStats((100.0,) * 3, (50.0,) * 3, (20.0,) * 3, (220.0,) * 3, scene.extent.pixels)
            network = build(NetworkSpec(TrainConfig.encoder, 3, Recipe.classes)).eval()
            parts = (SuperpixelConfig(), WindowConfig(), ClassMap.default(Recipe.classes), {})
            experts = Experts.untrained(3, Recipe.classes, "hue")
            return Model(network, scene.band_names, "uint8", stats, *parts, experts=experts)

    def wait(self) -> None:
        """Return when the device is idle."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds_of(self, task: Callable[[], Any], repeat: int = 5) -> float:
        """Return the median wall time of `task`, after one call to warm up, with the device idle at both ends."""
        task()
        found = []
        for _ in range(1 if self.tiny else repeat):
            self.wait()
            began = time.perf_counter()
            task()
            self.wait()
            found.append(time.perf_counter() - began)
        return statistics.median(found)

    def peak_mib(self) -> float | None:
        """Return the largest memory that tensors had on the GPU since `reset_peak`, in MiB; None on a CPU."""
        return round(torch.cuda.max_memory_allocated(self.device) / 2**20, 1) if self.cuda else None

    def reset_peak(self) -> None:
        """Begin to measure the memory anew."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)


class Load:
    """The share of time in which the GPU runs a kernel, by the driver's own counter. A context manager.

    The driver averages over periods of its own, up to a second long, so it says little of anything shorter.
    """

    def __init__(self, bench: Bench) -> None:
        self._samples: list[int] = []
        self._cpu: list[float] = []
        self._done = threading.Event()
        self._bench = bench
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self.began, self._cpu_began = time.perf_counter(), time.process_time()
        if self._bench.cuda:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.began, time.process_time() - self._cpu_began
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def report(self) -> Report:
        """Wall and CPU seconds, and the mean and the largest of the samples in percent."""
        found: Report = {"seconds": round(self.wall, 3), "cpu_seconds": round(self.cpu, 2)}
        if self._samples:
            found["gpu_percent"] = round(statistics.fmean(self._samples), 1)
            found["gpu_percent_highest"] = max(self._samples)
        return found

    def _sample(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(self._bench.device.index or 0)
        except Exception:  # no driver library: the report then lacks these figures
            return
        while not self._done.wait(0.1):
            self._samples.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))


def rounded(values: Mapping[str, float], digits: int = 3) -> dict[str, float]:
    """Return the values with few digits."""
    return {name: round(value, digits) for name, value in values.items()}
