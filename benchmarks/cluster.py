"""How a map scales over processes and machines: python benchmarks/cluster.py COMMAND --help.

- `measure SCENE MODEL FILE`: plans a map, computes it with one and with two processes of one thread, each
  on a core of its own, finalises it, and writes wall and CPU seconds, and the seconds of every block, to FILE (JSON).
- `shares MODEL`: which share of the windows is computed twice, and of the pixels is cut into superpixels twice, by the
  size of blocks and the number of shards. Nothing is measured; the plan is counted.
- `simulate FILE`: with the measured blocks, how long 8, 64 and 1,000 workers take and how busy they are, with slow
  machines and with workers that are killed; beside that, what it says of the processes that were measured.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config.work import Shard
from geoseg.prediction.plan import Plan
from geoseg.recipes import SuperpixelConfig

GEOSEG = [sys.executable, "-m", "geoseg"]


def measure(scene: Path, model: Path, file: Path, block_size: int, counts: Sequence[int], rounds: int) -> None:
    """Map `scene` with each number of processes, in turns, and write what it took."""
    found: dict[str, Any] = {"cores": os.cpu_count(), "block_size": block_size, "rounds": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            found["rounds"].append(
                {str(count): _divided(scene, model, Path(folder) / f"{turn}-{count}.tif", block_size, count)
                 for count in counts}
            )  # fmt: skip
            file.write_text(json.dumps(found, indent=1))
    one, *more = counts
    for count in more:
        ratios = [turn[str(one)]["work"] / turn[str(count)]["work"] for turn in found["rounds"]]
        print(f"{count} processes against {one}: {statistics.median(ratios):.2f} x (median of {rounds})")
    last = found["rounds"][-1][str(one)]
    print(f"plan {last['plan']:.1f} s, start of a process {last['start']:.1f} s, finalise {last['finalize']:.1f} s")


def _divided(scene: Path, model: Path, out: Path, block_size: int, count: int) -> dict[str, Any]:
    """Plan, compute in `count` processes of one thread, and finalise; return seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    subprocess.run(
        [*GEOSEG, "plan", scene, "-m", model, "-o", out, "--block-size", str(block_size)], check=True,
        stdout=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    planned, cpu = time.perf_counter(), _children()
    # A process of one thread overlaps reading, computing and writing, so it would use more than one core.
    cores = sorted(os.sched_getaffinity(0))
    workers = [
        subprocess.Popen(
            ["taskset", "-c", str(cores[number % len(cores)]), *GEOSEG, "--progress", "json", "work", f"{out}.run",
             "--shard", f"{number}/{count}", "--workers", "1"],
            stderr=subprocess.PIPE, text=True, env=environment,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    texts = [worker.communicate()[1] for worker in workers]
    worked = time.perf_counter()
    used = _children() - cpu
    if any(worker.returncode for worker in workers):
        raise SystemExit("\n".join(texts))
    subprocess.run([*GEOSEG, "-q", "finalize", f"{out}.run"], check=True, stdout=subprocess.DEVNULL)
    finalised = time.perf_counter()
    blocks, spans = [], []
    for text in texts:
        events = [json.loads(line) for line in text.splitlines()]
        steps = [event["seconds"] for event in events if event.get("kind") == "step"]
        blocks.append([after - before for before, after in zip([0.0, *steps], steps, strict=False)])
        spans.append(steps[-1] if steps else 0.0)
    return {
        "plan": planned - began, "work": worked - planned, "cpu": used, "finalize": finalised - worked,
        "start": worked - planned - max(spans), "blocks": blocks,
    }  # fmt: skip


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cut(made: Plan, settings: SuperpixelConfig) -> int:
    """Return how many pixels one process cuts into superpixels, those that it cuts several times with each time."""
    from geoseg.prediction.memo import ChoiceMemo
    from geoseg.segments.cells import tile_pixels
    from geoseg.segments.choices import deciding_pixels

    memo, extent, total = ChoiceMemo(made), made.grid.extent, 0
    for block in made.blocks:
        cells = made.cells(block)
        total += deciding_pixels(memo.fresh(cells), settings.size, settings.iterations, extent).pixels
        memo.put(block, cells, np.zeros((*cells.shape, tile_pixels(settings.size)), np.uint8))
        memo.release(block)
    return total


def shares(model: Path, side: int, sizes: Iterable[int], counts: Iterable[int]) -> None:
    """Print what is computed more than once for a scene of `side` x `side` pixels."""
    from geoseg.grid import Grid, Window
    from geoseg.model.file import load_model
    from geoseg.prediction.experts import rounds_of, steps_of
    from geoseg.prediction.plan import plan
    from geoseg.runs.shards import Layout

    known = load_model(model)
    rounds = rounds_of(known, 3)
    grid = Grid((side, side), known.windows.tile_size, known.windows.overlap)
    extent = Window.of(0, 0, side, side)
    counts = list(counts)
    print("| block size | blocks | halo | pixels cut twice | " + " | ".join(f"{n} shards" for n in counts) + " |")
    print("|" + "---:|" * (4 + len(counts)))
    for size in sizes:
        made = plan(grid, known.superpixels, extent, size, None, rounds, steps_of(known, rounds))
        needed = [set(made.windows(block)) for block in made.blocks]
        every = set().union(*needed)
        areas = cut(made, known.superpixels)
        row = []
        for count in counts:
            layout = Layout.of(made.blocks)
            parts = [layout.share(Shard(number, count)) for number in range(1, count + 1)]
            windows = sum(len(set().union(*(needed[index] for index in part))) for part in parts)
            row.append(windows / len(every) - 1)
        cells = " | ".join(f"{more:.1%}" for more in row)
        print(f"| {size} | {len(needed)} | {made.halo} | {areas / extent.pixels - 1:.0%} | {cells} |")


@dataclass(frozen=True)
class Cluster:
    """What is simulated.

    Attributes:
        workers: Number of processes, one shard each.
        start: Seconds until a process computes its first block.
        spread: Standard deviation of the logarithm of a machine's slowness: 0.1 makes most of them within 10 %.
        kills: Kills of a worker per hour; its shard is begun again by another process after `detour` seconds, from the
            block that was lost.
        detour: Seconds until the scheduler has begun a killed process again.
        assist: Whether a worker whose shard is finished takes blocks of others.
    """

    workers: int
    start: float
    spread: float = 0.0
    kills: float = 0.0
    detour: float = 60.0
    assist: bool = False


def simulate(cluster: Cluster, shards: Sequence[Sequence[float]], seed: int = 0) -> float:
    """Return the seconds from the start of all workers to the end of the last block.

    Args:
        cluster: What is simulated.
        shards: Seconds of the blocks of each worker.
        seed: Decides what is random.
    """
    draw = random.Random(seed)
    slowness = [draw.lognormvariate(0, cluster.spread) for _ in range(cluster.workers)]
    queues = [list(reversed(shard)) for shard in shards]
    ready = [(cluster.start, worker) for worker in range(cluster.workers)]
    heapq.heapify(ready)
    left, longest = {worker for worker, queue in enumerate(queues) if queue}, 0.0
    while ready:
        now, worker = heapq.heappop(ready)
        queue = queues[worker]
        if not queue and cluster.assist and left:
            queue = queues[max(left, key=lambda other: len(queues[other]))]
        if not queue:
            continue
        seconds = queue[-1] * slowness[worker]
        if draw.random() < cluster.kills * seconds / 3600:
            # On average half of the block was done.
            heapq.heappush(ready, (now + seconds / 2 + cluster.detour + cluster.start, worker))
            continue
        queue.pop()
        left = {other for other in left if queues[other]}
        longest = max(longest, now + seconds)
        heapq.heappush(ready, (now + seconds, worker))
    return longest


def _simulated(file: Path, counts: Sequence[int], blocks: int, seeds: int) -> None:
    """Print what the simulation says of the measured processes, and of clusters."""
    found = json.loads(file.read_text())
    turns = found["rounds"]
    start = statistics.median(turn["1"]["start"] for turn in turns)
    print("| measured | wall, s | simulated, s |\n|---|---:|---:|")
    for count in turns[0]:
        # The blocks as measured with that many processes, which share the machine.
        wall = statistics.median(turn[count]["work"] for turn in turns)
        own = [simulate(Cluster(int(count), turn[count]["start"]), turn[count]["blocks"]) for turn in turns]
        print(f"| {count} of one thread | {wall:.1f} | {statistics.median(own):.1f} |")
    (times,) = turns[0]["1"]["blocks"]
    many = random.Random(0).choices(times, k=blocks)
    alone = start + sum(many)
    print(f"\n{blocks} blocks like these, {alone / 3600:.1f} hours for one worker\n")
    print("| workers | as they are | machines 15 % uneven | and a kill an hour each | the same, with --assist |")
    print("|---:|---:|---:|---:|---:|")
    for count in counts:
        kinds = [
            Cluster(count, start), Cluster(count, start, 0.15), Cluster(count, start, 0.15, 1.0),
            Cluster(count, start, 0.15, 1.0, assist=True),
        ]  # fmt: skip
        cuts = [blocks * number // count for number in range(count + 1)]
        shards = [many[begin:end] for begin, end in pairwise(cuts)]
        cells = []
        for kind in kinds:
            wall = statistics.mean(simulate(kind, shards, seed) for seed in range(seeds))
            cells.append(f"{wall / 60:.1f} min, {alone / (count * wall):.0%}")
        print(f"| {count} | " + " | ".join(cells) + " |")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("scene", type=Path)
    measuring.add_argument("model", type=Path)
    measuring.add_argument("file", type=Path)
    measuring.add_argument("--block-size", type=int, default=1024)
    measuring.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    measuring.add_argument("--rounds", type=int, default=3)
    counting = commands.add_parser("shares")
    counting.add_argument("model", type=Path)
    counting.add_argument("--side", type=int, default=100_000)
    counting.add_argument("--block-sizes", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    counting.add_argument("--shards", type=int, nargs="+", default=[1, 8, 64])
    simulating = commands.add_parser("simulate")
    simulating.add_argument("file", type=Path)
    simulating.add_argument("--workers", type=int, nargs="+", default=[8, 64, 1000])
    simulating.add_argument("--blocks", type=int, default=25_000)
    simulating.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.command == "measure":
        measure(given.scene, given.model, given.file, given.block_size, given.processes, given.rounds)
    elif given.command == "shares":
        shares(given.model, given.side, given.block_sizes, given.shards)
    else:
        _simulated(given.file, given.workers, given.blocks, given.seeds)


if __name__ == "__main__":
    main()
