"""The pipeline of blocks: how many are in which stage at the same time, and in which order they come out."""

from __future__ import annotations

import mmap
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.runs.gaps import _malloc_trim, return_gaps
from geoseg.runs.local import Stages, compute
from geoseg.runs.run import Run

BLOCKS = [Block(index, Window.of(0, 8 * index, 8, 8)) for index in range(9)]


@dataclass(frozen=True)
class Computed:
    """What the last stage returns."""

    layers: Mapping[str, NDArray[Any] | bytes]
    seconds: Mapping[str, float] = field(default_factory=dict)
    windows: int = 0


class Watched:
    """Stages that note how many blocks are in each of them; earlier blocks take longer, so that later ones overtake."""

    def __init__(self, depth: int) -> None:
        self.most: Counter[str] = Counter()
        self.together = 0
        self._now: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.middle: list[int] = []
        self.stages = Stages(self._in("before"), self._through, self._after, depth=depth)

    def _in(self, stage: str) -> Callable[[Block], Block]:
        def run(block: Block) -> Block:
            with self._lock:
                self._now[stage] += 1
                self.most[stage] = max(self.most[stage], self._now[stage])
                self.together = max(self.together, self._now.total())
            time.sleep(0.05 if block.index % 3 == 0 else 0.02)
            with self._lock:
                self._now[stage] -= 1
            return block

        return run

    def _through(self, block: Block) -> Block:
        self.middle.append(block.index)
        return block

    def _after(self, block: Block, _: Block) -> Computed:
        self._in("after")(block)
        return Computed({"classes": np.full(block.window.shape, block.index + 1, np.uint8)})


@pytest.mark.parametrize("depth", [1, 3])
def test_blocks_come_out_in_order_however_many_are_under_way(depth: int, tmp_path: Path) -> None:
    watched = Watched(depth)
    with Run(tmp_path / "map.tif.run", {"scene": "a"}, blocks=len(BLOCKS)) as run:
        receipts = [receipt.block.index for receipt in compute(watched.stages, run, BLOCKS)]
        assert all(run.has(block) for block in BLOCKS)
    assert receipts == watched.middle == [block.index for block in BLOCKS]
    assert (watched.most["before"] == 1) == (watched.most["after"] == 1) == (depth == 1)
    assert watched.together <= (2 * depth)


def test_a_pipeline_that_is_closed_finishes_what_is_under_way_and_no_more(tmp_path: Path) -> None:
    watched = Watched(2)
    with Run(tmp_path / "map.tif.run", {"scene": "a"}, blocks=len(BLOCKS)) as run:
        receipts = compute(watched.stages, run, BLOCKS)
        next(receipts)
        receipts.close()
        kept = [block.index for block in BLOCKS if run.has(block)]
        assert not list(run.store.names("claim-"))
    assert kept == list(range(len(kept)))
    assert 1 <= len(kept) < len(BLOCKS)


class Large:
    """What a stage returns of a block; a weak reference says whether it is still kept."""


def test_a_finished_block_is_not_kept_while_the_next_one_is_prepared(tmp_path: Path) -> None:
    kept: dict[int, list[weakref.ref[Large]]] = {}
    gone = []

    def noted(index: int) -> Large:
        value = Large()
        kept.setdefault(index, []).append(weakref.ref(value))
        return value

    def before(block: Block) -> Large:
        if block.index:
            until = time.monotonic() + 5
            earlier = kept.get(block.index - 1, [])
            while (len(earlier) < 2 or any(each() for each in earlier)) and time.monotonic() < until:
                time.sleep(0.005)
            gone.append([each() is None for each in earlier])
        kept[block.index] = []
        return noted(block.index)

    def middle(prepared: Large) -> Large:
        return noted(next(index for index, values in kept.items() if values and values[0]() is prepared))

    def after(_: Large, __: Large) -> Computed:
        return Computed({"classes": np.ones((8, 8), np.uint8)})

    with Run(tmp_path / "map.tif.run", {"scene": "a"}, blocks=3) as run:
        assert len(list(compute(Stages(before, middle, after), run, BLOCKS[:3]))) == 3
    assert gone == [[True, True]] * 2


@pytest.mark.skipif(_malloc_trim() is None, reason="the C library is not glibc")
def test_memory_that_is_free_is_returned_to_the_system() -> None:
    # Small enough to lie in the heap, each between two that stay.
    arrays = [np.ones(20_000, np.uint8) for _ in range(3000)]
    del arrays[::2]
    full = _resident()
    return_gaps()
    assert full - _resident() > 0.7 * 1500 * 20_000
    assert len(arrays) == 1500


def _resident() -> int:
    """Memory that this process has, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE
