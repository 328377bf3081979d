"""What predict costs beyond its network and its superpixels.

    python benchmarks/predict.py SCENE [--model MODEL] [--repeat 3] [--workers N] [--smooth ROUNDS] [--parts]

Prints, measured in turn in one process, medians of `--repeat` rounds, in CPU seconds and in seconds:
- network alone: every lattice window once, normalised and in memory before the clock starts;
- superpixels alone: every pixel once, the scene in memory in squares of `--block-size`, which know of no neighbours;
- predict: from the open scene to the published files;
and their ratio, how many windows were computed more than once, and for how much of predict's time two or more of its
threads were ready to run: on a machine with nothing else to do, these keep two cores busy.
With --parts it then runs once more with one worker, and says what each part takes (`predict_parts.py`).
A warm-up on a corner of the scene loads the compiled kernels first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from predict_parts import measured, table

from geoseg.classes import ClassMap
from geoseg.cli.heap import share_one_heap
from geoseg.config import PredictConfig, TrainConfig
from geoseg.grid import partition
from geoseg.jobs.predict import PredictJob
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.mixture import Experts
from geoseg.model.network import NetworkSpec, build
from geoseg.outputs.names import Outputs
from geoseg.prediction.stages import Edges, Stages
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats, colour_scale
from geoseg.recipes import Recipe, SuperpixelConfig, WindowConfig
from geoseg.segments.superpixels import colour, segment


def untrained(scene: Scene, classes: int) -> Model:
    """The default network with random weights: it costs what a trained one costs."""
    network = build(NetworkSpec(TrainConfig.encoder, len(scene.bands), classes)).eval()
    stats = band_stats([scene])
    parts = (SuperpixelConfig(), WindowConfig(), ClassMap.default(classes), {})
    experts = Experts.untrained(len(scene.bands), classes, Recipe.start)
    return Model(network, scene.band_names, str(scene.dtype), stats, *parts, experts=experts)


class Cost(NamedTuple):
    """What something took: CPU seconds of the process, and seconds."""

    cpu: float
    wall: float

    @classmethod
    def of(cls, task: Callable[[], Any]) -> Cost:
        """Measure one call."""
        cpu, wall = time.process_time(), time.perf_counter()
        task()
        return cls(time.process_time() - cpu, time.perf_counter() - wall)

    def __add__(self, other: Any) -> Cost:
        return Cost(self.cpu + other.cpu, self.wall + other.wall)


NOTHING = Cost(0.0, 0.0)
AT_ONCE = 16
"""Windows that wait in memory: all of a large scene would not fit."""


@dataclass
class Watch:
    """For how much of some time two or more threads ran or were ready to (Linux), and what it took to find out."""

    share: float = 0.0
    cpu: float = 0.0


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch the threads of this process in the context."""
    stop, found = threading.Event(), Watch()

    def watch() -> None:
        own, ready = str(threading.get_native_id()), []
        while not stop.wait(0.05):
            states = []
            for task in Path("/proc/self/task").iterdir():
                with suppress(OSError):
                    if task.name != own:
                        states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
            ready.append(states.count("R") >= 2)
        found.share, found.cpu = statistics.mean(ready or [0]), time.thread_time()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def network_alone(job: PredictJob) -> Cost:
    """The cost of every window that the plan needs, once, the images being ready."""
    stages, extent = Stages(job.model, job.scene.dtype, job.device, job.precision), job.plan.grid.extent
    positions = sorted({position for block in job.plan.blocks for position in job.plan.windows(block)})

    def image_of(position: tuple[int, int]) -> Any:
        window = job.plan.grid.window(position)
        pixels, valid = job.scene.read(window)
        edges = Edges.of(window, extent)
        return (stages.normalise(pixels, valid, edges)[None], window.shape, edges) if valid.any() else None

    def forward(image: tuple[Any, tuple[int, int], Edges]) -> None:
        torch.set_num_threads(1)
        stages.forward(*image)

    cost, first = NOTHING, True
    with ThreadPoolExecutor(job.workers) as pool:
        for start in range(0, len(positions), AT_ONCE):
            images = [image for image in map(image_of, positions[start : start + AT_ONCE]) if image is not None]
            if first:
                list(pool.map(forward, images[: job.workers]))
                first = False
            cost += Cost.of(lambda ready=images: list(pool.map(forward, ready)))
    return cost


def superpixels_alone(job: PredictJob) -> Cost:
    """The cost of the superpixels of the scene, each pixel once, the pixels being in memory.

    They are cut in squares as large as blocks: all of a large scene would not fit into memory.
    """
    offset, scale = colour_scale(job.model.stats, job.model.dtype)
    cost = NOTHING
    for block in partition(job.extent, job.config.block_size):
        pixels, valid = job.scene.read(block.window)

        def task(pixels: Any = pixels, valid: Any = valid) -> None:
            features = colour(pixels, valid, offset=offset, scale=scale, threads=job.workers)
            segment(features, valid, **vars(job.model.superpixels), threads=job.workers)

        cost += Cost.of(task)
    return cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--smooth", type=int)
    parser.add_argument("--block-size", type=int, default=PredictConfig.block_size)
    parser.add_argument("--parts", action="store_true")
    arguments = parser.parse_args()
    share_one_heap()  # as the command line does

    with Scene(arguments.scene) as scene:
        model = load_model(arguments.model) if arguments.model else untrained(scene, arguments.classes)
        left, bottom, right, top = scene.bounds
    corner = (left, top - (top - bottom) / 10, left + (right - left) / 10, top)
    rows: list[tuple[Cost, Cost, Cost]] = []
    ready: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "classes.tif"
        saved = save_model(model, Path(folder) / "model.safetensors")

        def job(**settings: Any) -> PredictJob:
            settings = {"workers": arguments.workers, **settings}
            config = PredictConfig(
                (arguments.scene,), out, overwrite=True, precision=arguments.precision, smooth=arguments.smooth,
                block_size=arguments.block_size, **settings,
            )  # fmt: skip
            return PredictJob(config, arguments.scene, Outputs(out, None), saved)

        with job(bounds=corner) as small:
            list(small.run())
        for _ in range(arguments.repeat):
            with job() as whole:
                alone = network_alone(whole), superpixels_alone(whole)
                receipts: list[Any] = []
                with watched() as watch:
                    cost = Cost.of(lambda job=whole, found=receipts: found.extend(job.run()))
                rows.append((*alone, cost._replace(cpu=cost.cpu - watch.cpu)))
                ready.append(watch.share)
                needed = len({p for block in whole.plan.blocks for p in whole.plan.windows(block)})
        if arguments.parts:
            with job(workers=1) as single, measured() as spent:
                list(single.run())
    megapixels = sum(receipt.pixels for receipt in receipts) / 1e6
    window_mpx = (
        sum(
            whole.plan.grid.window((i, j)).pixels
            for i in range(len(whole.plan.grid.row_spans))
            for j in range(len(whole.plan.grid.col_spans))
        )
        / 1e6
    )
    computed = sum(receipt.windows for receipt in receipts)
    print(f"scene {megapixels:.1f} Mpx, {len(receipts)} blocks, {needed} windows ({window_mpx:.1f} Mpx with overlaps)")
    print(f"{whole.workers} workers, {str(whole.precision).removeprefix('torch.')}")
    for name, costs, size in zip(
        ("network alone", "superpixels alone", "predict"), zip(*rows, strict=True),
        (window_mpx, megapixels, megapixels), strict=True,
    ):  # fmt: skip
        cpu, wall = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"{name:18}{cpu:8.2f} CPU s {wall:8.2f} s {1000 * cpu / size:8.1f} CPU ms per Mpx")
    for axis, unit in enumerate(("CPU seconds", "seconds")):
        ratios = [row[2][axis] / (row[0][axis] + row[1][axis]) for row in rows]
        rounds = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"ratio             {statistics.median(ratios):8.3f} of predict to the two, by {unit} (rounds: {rounds})")
    print(f"two or more threads are ready to run for {statistics.median(ready):.0%} of predict's time")
    print(f"windows computed more than once: {max(0, computed - needed)} of {needed}")
    if arguments.parts:
        print(table(spent, megapixels))


if __name__ == "__main__":
    main()
