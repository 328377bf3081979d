"""The pipeline of blocks: how many are in which stage at the same time, and in which order they come out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.grid import Block, Window
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
