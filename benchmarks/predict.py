"""What predict costs beyond its network and its superpixels.

    python benchmarks/predict.py SCENE [--model MODEL] [--repeat 3] [--workers N] [--smooth ROUNDS]

Prints, measured in turn in one process, medians of `--repeat` rounds:
- network alone: every lattice window once, normalised and in memory before the clock starts;
- superpixels alone: every pixel once, the whole scene in memory;
- predict: from the open scene to the published files;
and their ratio, how many windows were computed more than once, and the share of each stage in the thread time.
A warm-up on a corner of the scene loads the compiled kernels first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from geoseg.classes import ClassMap
from geoseg.config import PredictConfig, TrainConfig
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


def seconds(task: Callable[[], Any]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def network_alone(job: PredictJob) -> float:
    """Seconds for every window that the plan needs, once, the images being ready."""
    stages, extent = Stages(job.model, job.scene.dtype, job.device, job.precision), job.plan.grid.extent
    positions = sorted({position for block in job.plan.blocks for position in job.plan.windows(block)})
    images = []
    for window in (job.plan.grid.window(position) for position in positions):
        pixels, valid = job.scene.read(window)
        if valid.any():
            edges = Edges.of(window, extent)
            images.append((stages.normalise(pixels, valid, edges)[None], window.shape, edges))

    def forward(image: tuple[Any, tuple[int, int], Edges]) -> None:
        torch.set_num_threads(1)
        stages.forward(*image)

    with ThreadPoolExecutor(job.workers) as pool:
        list(pool.map(forward, images[: job.workers]))
        return seconds(lambda: list(pool.map(forward, images)))


def superpixels_alone(job: PredictJob) -> float:
    """Seconds for the superpixels of the whole scene at once, the pixels being in memory."""
    pixels, valid = job.scene.read(job.scene.extent)
    offset, scale = colour_scale(job.model.stats, job.model.dtype)
    settings = job.model.superpixels

    def task() -> None:
        features = colour(pixels, valid, offset=offset, scale=scale, threads=job.workers)
        segment(
            features,
            valid,
            size=settings.size,
            compactness=settings.compactness,
            iterations=settings.iterations,
            threads=job.workers,
        )

    return seconds(task)


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
    arguments = parser.parse_args()

    with Scene(arguments.scene) as scene:
        model = load_model(arguments.model) if arguments.model else untrained(scene, arguments.classes)
        left, bottom, right, top = scene.bounds
    corner = (left, top - (top - bottom) / 10, left + (right - left) / 10, top)
    rows: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "classes.tif"
        saved = save_model(model, Path(folder) / "model.safetensors")

        def job(**settings: Any) -> PredictJob:
            config = PredictConfig(
                (arguments.scene,),
                out,
                overwrite=True,
                workers=arguments.workers,
                precision=arguments.precision,
                smooth=arguments.smooth,
                **settings,
            )
            return PredictJob(config, arguments.scene, Outputs(out, None), saved)

        with job(bounds=corner) as small:
            list(small.run())
        for _ in range(arguments.repeat):
            with job() as whole:
                alone = network_alone(whole), superpixels_alone(whole)
                began = time.perf_counter()
                receipts = list(whole.run())
                rows.append((*alone, time.perf_counter() - began))
                needed = len({p for block in whole.plan.blocks for p in whole.plan.windows(block)})
    network, superpixels, predict = (statistics.median(column) for column in zip(*rows, strict=True))
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
    per_thread = network * whole.workers / window_mpx
    print(f"network alone      {network:7.2f} s   {per_thread:.3f} s per Mpx of windows and thread")
    print(f"superpixels alone  {superpixels:7.2f} s   {megapixels / superpixels:.1f} Mpx/s")
    print(f"predict            {predict:7.2f} s   {megapixels / predict:.2f} Mpx/s")
    ratios = [row[2] / (row[0] + row[1]) for row in rows]
    rounds = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"ratio              {statistics.median(ratios):7.3f}     of predict to the two (rounds: {rounds})")
    print(f"windows computed more than once: {max(0, computed - needed)} of {needed}")
    totals: dict[str, float] = {}
    for receipt in receipts:
        for stage, spent in receipt.seconds.items():
            totals[stage] = totals.get(stage, 0.0) + spent
    everything = sum(totals.values())
    print("shares of thread time: " + ", ".join(f"{stage} {spent / everything:.1%}" for stage, spent in totals.items()))


if __name__ == "__main__":
    main()
