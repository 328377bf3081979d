"""The stages of a prediction, each on its own, on one block with its halo."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from geoseg.config import ROUNDS
from geoseg.grid import Block, Grid, Window
from geoseg.kernels import worker_threads
from geoseg.model.inference import inference_copy
from geoseg.prediction.blend import blend_windows
from geoseg.prediction.experts import steps_of
from geoseg.prediction.plan import Plan, plan
from geoseg.prediction.stages import Stages
from geoseg.raster.cog import write_part
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import STRIDE
from geoseg.segments.device import TorchBackend, segment_iterations
from geoseg.segments.lattice import CpuBackend, Domain, SlicParameters, colours_of, connect
from geoseg.segments.regions import paint, region_means
from geoseg.segments.superpixels import colour
from gpu_parts.common import Bench, Report, rounded


def network(bench: Bench) -> Report:
    """Return megapixels per second of the network, the input being on the device, for precisions and batches."""
    model, side = bench.loaded(), 256 if bench.tiny else 1024
    bands, found = len(model.bands), {}
    for precision in (torch.bfloat16, torch.float32):
        folded = inference_copy(model.network, bench.device, precision)
        for batch in (1, 8) if bench.tiny else (1, 4, 8, 16, 32, 64):
            images = torch.randn(batch, bands, side, side, device=bench.device, dtype=precision)
            images = images.contiguous(memory_format=torch.channels_last)
            bench.reset_peak()
            seconds = bench.seconds_of(lambda run=folded, given=images: _infer(run, given))
            found[f"{str(precision).removeprefix('torch.')}, {batch} windows"] = {
                "mpx_per_second": round(batch * side * side / seconds / 1e6, 1), "peak_mib": bench.peak_mib(),
            }  # fmt: skip
    return found


def network_graphs(bench: Bench) -> Report:
    """Return the same for a CUDA graph and for compiled networks, with the seconds until they were ready."""
    if not bench.cuda:
        return {"skipped": "graphs are for a GPU"}
    model, found = bench.loaded(), {}
    folded = inference_copy(model.network, bench.device, torch.bfloat16)
    for batch in (1, 8):
        images = torch.randn(batch, len(model.bands), 1024, 1024, device=bench.device, dtype=torch.bfloat16)
        images = images.contiguous(memory_format=torch.channels_last)
        began = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        for _ in range(3):
            _infer(folded, images)
        with torch.cuda.graph(graph), torch.inference_mode():
            folded(images)
        ready = time.perf_counter() - began
        seconds = bench.seconds_of(graph.replay)
        found[f"graph, {batch} windows"] = {
            "mpx_per_second": round(batch * 1.048576 / seconds, 1),
            "seconds_to_ready": round(ready, 2),
        }
    compiled = torch.compile(folded)
    began = time.perf_counter()
    _infer(compiled, images)
    bench.wait()
    ready = time.perf_counter() - began
    seconds = bench.seconds_of(lambda: _infer(compiled, images))
    found["compiled, 8 windows"] = {
        "mpx_per_second": round(8 * 1.048576 / seconds, 1),
        "seconds_to_ready": round(ready, 2),
    }
    return found


def superpixels(bench: Bench) -> Report:
    """Return what superpixels take on a device, and whether they are those of the kernels for a CPU."""
    with Scene(bench.scene, quiet=True) as scene:
        side = 512 if bench.tiny else 4096
        pixels, valid = scene.read(Window.of(0, 0, min(side, scene.shape[0]), min(side, scene.shape[1])))
    model = bench.loaded()
    offset, scale = colour_scale(model.stats, model.dtype)
    colours = colour(pixels, valid, offset=offset, scale=scale, threads=8)
    settings = model.superpixels
    parameters = SlicParameters(settings.size, settings.compactness, settings.iterations)
    megapixels = valid.size / 1e6
    given = torch.from_numpy(colours[None]).to(bench.device), torch.from_numpy(valid[None]).to(bench.device)
    bench.reset_peak()
    seconds = bench.seconds_of(lambda: segment_iterations(*given, parameters), 3)
    cells = (-(-valid.shape[0] // settings.size), -(-valid.shape[1] // settings.size))
    domain = Domain((0, 0), valid.shape, valid.shape, (0, cells[0]), (0, cells[1]))
    backend = TorchBackend(bench.device)
    with worker_threads(1) as serial:
        with_copies = bench.seconds_of(lambda: backend(colours_of(colours), valid, domain, parameters, 1, serial), 3)
        began = time.perf_counter()
        expected = CpuBackend()(colours_of(colours), valid, domain, parameters, 1, serial)
        cpu = time.perf_counter() - began
        theirs = backend(colours_of(colours), valid, domain, parameters, 1, serial)
    return {
        "megapixels": round(megapixels, 1), "peak_mib": bench.peak_mib(),
        "mpx_per_second": round(megapixels / seconds, 1),
        "mpx_per_second_with_copies": round(megapixels / with_copies, 1),
        "cpu_thread_mpx_per_second": round(megapixels / cpu, 1),
        "choices_that_differ": int((theirs != expected).sum()),
    }  # fmt: skip


def on_the_cpu(bench: Bench) -> Report:
    """Return milliseconds per megapixel of a block for each stage that runs on one thread of the CPU."""
    model = bench.loaded()
    with Scene(bench.scene, quiet=True) as scene:
        block_size = 512 if bench.tiny else 2048
        grid = Grid(scene.shape, model.windows.tile_size, model.windows.overlap)
        planned = plan(grid, model.superpixels, scene.extent, block_size, rounds=ROUNDS, steps=steps_of(model, ROUNDS))
        across = -(-scene.shape[1] // block_size)
        block = planned.blocks[min(across + 1, len(planned.blocks) - 1)]
        stages = Stages(model, scene.dtype, torch.device("cpu"), torch.float32, rounds=ROUNDS)
        found = _stages_of(bench, scene, planned, block, stages)
        together = _together(bench, scene, planned, block, stages)
    megapixels = block.window.pixels / 1e6
    return {
        "block": list(block.window.shape), "halo": planned.halo,
        "ms_per_mpx": rounded({name: 1000 * seconds / megapixels for name, seconds in found.items()}, 2),
        "mpx_per_second_of_blocks_at_once": rounded({str(n): megapixels * n / s for n, s in together.items()}, 1),
    }  # fmt: skip


def _stages_of(bench: Bench, scene: Scene, planned: Plan, block: Block, stages: Stages) -> dict[str, float]:
    model, seconds = stages._model, {}
    size = model.superpixels.size
    area = block.window.expand(planned.halo, scene.extent, multiple=size)
    pooled = planned.pooled(block)

    def timed(name: str, task: Callable[[], Any]) -> Any:
        seconds[name] = bench.seconds_of(task, 3)
        return task()

    pixels, valid = timed("read block with halo", lambda: scene.read(area))
    window = planned.grid.window(planned.windows(block)[0])
    image, known = timed("read a window", lambda: scene.read(window))
    timed("normalise a window", lambda: stages.normalise(image, known))
    timed("colour", lambda: colour(pixels, valid))
    choices: list[Any] = []

    def remember(*arguments: Any) -> Any:
        choices.append(CpuBackend()(*arguments))
        return choices[-1]

    core = planned.core(block).within(area)
    place = {"origin": (area.rows.start, area.cols.start), "scene_shape": scene.shape, "core": core}
    cut = timed("superpixels", lambda: stages.cut(pixels, valid, **place, backend=remember))
    choice = choices[-1]
    labels = np.zeros((choice.shape[0] * size, choice.shape[1] * size), np.int32)
    with worker_threads(1) as serial:
        timed(
            "connect",
            lambda: connect(choice, size, size * size // 4, (0, 0), labels.shape, labels, 1, serial),
        )
    count, inner = len(cut.ids) - 1, np.ascontiguousarray(cut.labels[pooled.within(area)])
    inside = np.ascontiguousarray(pixels[(slice(None), *pooled.within(area))])
    described = timed("descriptors, graph", lambda: stages.describe(inside, inner, count))
    random = np.random.default_rng(0)
    shape = (-(-planned.grid.tile_size // STRIDE),) * 2
    logits = random.normal(size=(*shape, model.spec.classes)).astype(np.float32)

    def logits_of(position: tuple[int, int]) -> Any:
        rows, cols = (-(-length // STRIDE) for length in planned.grid.window(position).shape)
        return logits[:rows, :cols]

    field, cells = timed("blend", lambda: blend_windows(planned.grid, pooled, STRIDE, "hann", logits_of))
    offset = (pooled.rows.start - cells.rows.start * STRIDE, pooled.cols.start - cells.cols.start * STRIDE)
    timed("region means", lambda: region_means(field, inner, count, STRIDE, offset))
    ids, _ = timed("region means, experts, smoothing", lambda: stages.classify(field, inner, count, described, offset))
    values = timed("paint", lambda: paint(ids.astype(np.uint8), cut.labels[block.window.within(area)]))
    timed("write part", lambda: write_part(bench.folder / "part.tif", values))
    return seconds


def _together(bench: Bench, scene: Scene, planned: Plan, block: Block, stages: Stages) -> dict[int, float]:
    """Number of threads -> seconds in which each of them does all stages of a block but the network's."""
    area = block.window.expand(planned.halo, scene.extent, multiple=stages._model.superpixels.size)
    pooled = planned.pooled(block)
    pixels, valid = scene.read(area)
    inside = np.ascontiguousarray(pixels[(slice(None), *pooled.within(area))])
    place = {
        "origin": (area.rows.start, area.cols.start), "scene_shape": scene.shape,
        "core": planned.core(block).within(area),
    }  # fmt: skip
    cells = [-(-length // STRIDE) + 1 for length in pooled.shape]
    field = np.random.default_rng(0).normal(size=(*cells, stages._model.spec.classes)).astype(np.float32)

    def work(_: int) -> None:
        cut = stages.cut(pixels, valid, **place)
        labels = np.ascontiguousarray(cut.labels[pooled.within(area)])
        count = len(cut.ids) - 1
        stages.classify(field, labels, count, stages.describe(inside, labels, count))

    found = {}
    for threads in (1, 2) if bench.tiny else (1, 4, 8, 16):
        with ThreadPoolExecutor(threads) as pool:
            found[threads] = bench.seconds_of(lambda run=pool, n=threads: list(run.map(work, range(n))), 2)
    return found


def _infer(run: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return run(images)
