"""What the dask engine costs: python benchmarks/engine.py COMMAND --help.

- `nothing`: blocks that take no time, on a cluster on this machine: milliseconds per block and per task, and the memory
  of this process, which client and scheduler share, as the blocks go by.
- `map SCENE MODEL`: a map by this process with one thread, by one worker and by two with one thread each, in turns:
  seconds from the start to the last block, CPU seconds of all processes, how many times as fast two workers are as one,
  and what a block costs more than without the engine. The first map, which imports and compiles, is not counted.

Other work on the machine spoils wall times; compare CPU seconds then, and repeat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psutil

import geoseg
from geoseg.grid import Block, Window
from geoseg.runs import dask as engine
from geoseg.runs.clusters import on_this_machine
from geoseg.runs.local import Receipt

if TYPE_CHECKING:
    from distributed import Client


def nothing(run: str, indices: Sequence[int]) -> list[Receipt]:
    """Receipts of blocks that nobody computed."""
    return [Receipt(Block(index, Window.of(0, 512 * index, 512, 512)), 512 * 512, 1, {}) for index in indices]


def of_nothing(blocks: int, workers: int) -> dict[str, Any]:
    """Milliseconds per block with stretches as they are, and of one block each; resident MiB by finished blocks."""
    this, memory = psutil.Process(), {}
    with on_this_machine(workers) as client:
        took = {}
        for length in (engine.MAX_STRETCH, 1):
            with patch.object(engine, "MAX_STRETCH", length):
                began, cpu = time.perf_counter(), time.process_time()
                for done, _ in enumerate(engine.Blocks(client, nothing, "", range(blocks)).receipts(), 1):
                    if length == 1 and done % max(1, blocks // 10) == 0:
                        memory[done] = round(this.memory_info().rss / 2**20, 1)
                took[length] = time.perf_counter() - began, time.process_time() - cpu
    return {
        "blocks": blocks,
        "workers": workers,
        "ms per block": {str(length): round(1000 * wall / blocks, 2) for length, (wall, _) in took.items()},
        "ms of CPU here per block": {str(length): round(1000 * cpu / blocks, 2) for length, (_, cpu) in took.items()},
        "resident MiB": memory,
    }


def of_maps(scene: Path, model: Path, block_size: int, rounds: int) -> dict[str, Any]:
    """Seconds of each round, by engine."""
    found: dict[str, Any] = {"block size": block_size, "rounds": []}
    with tempfile.TemporaryDirectory() as folder, on_this_machine(1) as one, on_this_machine(2) as two:
        clients: dict[str, Client | None] = {"local": None, "1 worker": one, "2 workers": two}
        for turn in range(-1, rounds):
            measured = {
                name: _map(scene, model, Path(folder) / f"{turn}-{name}.tif", block_size, client)
                for name, client in clients.items()
            }
            if turn >= 0:
                found["rounds"].append(measured)
                print(json.dumps(measured), file=sys.stderr)

    def median(of: Any) -> float:
        return round(statistics.median(map(of, found["rounds"])), 3)

    found["2 workers against 1"] = median(lambda turn: turn["1 worker"]["seconds"] / turn["2 workers"]["seconds"])
    for kind in ("seconds", "cpu"):
        found[f"ms per block more than local ({kind})"] = median(
            lambda turn, kind=kind: 1000 * (turn["1 worker"][kind] - turn["local"][kind]) / turn["local"]["blocks"]
        )
    return found


def _map(scene: Path, model: Path, out: Path, block_size: int, client: Client | None) -> dict[str, float]:
    """Map the scene; return wall and CPU seconds until the last block, and the number of blocks and of windows."""
    events: list[tuple[Any, float]] = []
    workers = {"workers": 1} if client is None else {"client": client, "threads": 1}

    def note(event: Any) -> None:
        # Asking the workers takes time, so only before and after.
        ends = event.kind == "start" or event.done == event.total
        events.append((event, _cpu(client) if ends else 0.0))

    geoseg.predict(scene, out, model=model, block_size=block_size, progress=note, **workers)  # type: ignore[arg-type]
    (_, before), (last, after) = events[0], events[-2]
    windows = sum(int(event.message.split(", ")[1].split()[0]) for event, _ in events if event.kind == "step")
    return {"seconds": last.seconds, "cpu": after - before, "blocks": last.total, "windows": windows}


def _cpu(client: Client | None) -> float:
    return time.process_time() + (sum(client.run(time.process_time).values()) if client is not None else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    each = commands.add_parser("nothing")
    each.add_argument("--blocks", type=int, default=2000)
    each.add_argument("--workers", type=int, default=2)
    each.add_argument("--json", action="store_true")
    each = commands.add_parser("map")
    each.add_argument("scene", type=Path)
    each.add_argument("model", type=Path)
    each.add_argument("--block-size", type=int, default=1024)
    each.add_argument("--rounds", type=int, default=3)
    each.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.command == "nothing":
        found = of_nothing(given.blocks, given.workers)
    else:
        found = of_maps(given.scene, given.model, given.block_size, given.rounds)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        if name == "rounds":
            print("| round | engine | " + " | ".join(value[0]["local"]) + " |\n" + "|---" * 6 + "|")
            for number, turn in enumerate(value, 1):
                for kind, row in turn.items():
                    print(f"| {number} | {kind} | " + " | ".join(f"{cell:.1f}" for cell in row.values()) + " |")
        else:
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
