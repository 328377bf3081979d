"""Compute the blocks of a run on this machine, in a pipeline of three threads, or of more.

The heaviest stage of each block runs in the calling thread. The stage before it runs in a second thread, one block
ahead; the stage after it and the writing run in a third thread, one block behind. Where a device does the middle stage,
the CPU does the others for several blocks at the same time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from geoseg.grid import Block
from geoseg.runs.gaps import EVERY, return_gaps
from geoseg.runs.run import Run, claim_name

log = logging.getLogger(__name__)

_MIN_PAUSE, _MAX_PAUSE = 0.2, 5.0
"""Seconds between two looks at blocks of other processes."""

Before = TypeVar("Before")
Middle = TypeVar("Middle")


class Result(Protocol):
    """What the last stage returns.

    Attributes:
        layers: See `Run.keep`.
        seconds: Time per stage, added up over threads.
        windows: Number of windows that the network computed.
    """

    @property
    def layers(self) -> Mapping[str, NDArray[Any] | bytes]: ...

    @property
    def seconds(self) -> Mapping[str, float]: ...

    @property
    def windows(self) -> int: ...


@dataclass(frozen=True)
class Receipt:
    """What a finished block took.

    Attributes:
        block: The block.
        pixels: Number of its pixels.
        windows: Number of windows that the network computed for it.
        seconds: Time per stage, added up over threads.
        reused: Whether it was finished by an earlier process.
    """

    block: Block
    pixels: int
    windows: int
    seconds: Mapping[str, float]
    reused: bool = False

    @classmethod
    def of_finished(cls, block: Block, nodata: bool = False) -> Receipt:
        """Return the receipt of a block that was finished by an earlier process, or by another one meanwhile; or of one
        that is known to be all nodata, which nobody computes."""
        return cls(block, block.window.pixels, 0, {}, reused=not nodata)

    def summary(self, counts: str = "") -> str:
        """Return size, `counts` (such as "4 windows") and seconds in a few words."""
        if self.reused:
            return "reused"
        return ", ".join(filter(None, [f"{self.pixels / 1e6:.1f} Mpx", counts, f"{sum(self.seconds.values()):.1f} s"]))


@dataclass(frozen=True)
class Stages(Generic[Before, Middle]):
    """What computes one block.

    Attributes:
        before: First stage: block -> its input. Runs in a thread, one block ahead.
        middle: Second stage, with the result of `before`. Runs in the calling thread.
        after: Third stage, with the results of `before` and `middle`. Runs in a thread, one block behind.
        check: Called before a block is kept; raises if its input has changed since the run began.
        depth: 1 for one thread for each stage. More is for twice as many threads that the first and the last stage
            share, each thread with one block.
    """

    before: Callable[[Block], Before]
    middle: Callable[[Before], Middle]
    after: Callable[[Before, Middle], Result]
    check: Callable[[], None] = lambda: None
    depth: int = 1


def compute(
    stages: Stages[Before, Middle],
    run: Run,
    blocks: Sequence[Block],
    *,
    order: Sequence[Block] | None = None,
    wait: bool = True,
) -> Generator[Receipt]:
    """Compute the blocks that `run` lacks, in order, and yield the receipts of all: finished blocks first.

    A block that another process has claimed is left to it. Closing the generator stops after the blocks in the
    pipeline. What is kept of blocks is a byte for each.

    Args:
        stages: What computes a block.
        run: Keeps the layers of each block that have a value other than 0.
        blocks: The blocks, in the order in which the run finds them fastest: that of their numbers.
        order: The same in the order in which to compute them; its `index` is fast. None for that of `blocks`.
        wait: Whether to wait for blocks of other processes, and to compute those of which the process ends; otherwise
            they have no receipt.
    """
    missing, order = bytearray(len(blocks)), blocks if order is None else order
    for number, (block, finished) in enumerate(run.look_at(blocks)):
        if finished:
            yield Receipt.of_finished(block, run.is_nodata(block))
        else:
            missing[number if order is blocks else order.index(block)] = 1
    pause = _MIN_PAUSE
    while left := missing.count(1):
        queue = _Queue(run, order, missing)
        try:
            yield from _pipeline(stages, run, queue)
        finally:
            run.release_all()
        yield from queue.finished()
        taken = missing.count(1)
        if not wait or not taken:
            return
        if taken == left:
            if pause == _MIN_PAUSE:
                log.warning("%s: waiting for %s", run.path, _waiting(run, order[missing.find(1)], taken))
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)


class _Queue:
    """Claims blocks one after the other.

    Args:
        run: The run.
        order: The blocks.
        missing: For each block 1 if it is missing. Of a block that is claimed it becomes 0, of one that another process
            has finished 2; those of other processes stay.
    """

    def __init__(self, run: Run, order: Sequence[Block], missing: bytearray) -> None:
        self._run, self._order, self._missing = run, order, missing
        self._place = 0

    def next(self) -> Block | None:
        """Return the next block, claimed for this process; None if there is none left."""
        while (place := self._missing.find(1, self._place)) >= 0:
            self._place = place + 1
            block = self._order[place]
            claimed = self._run.claim(block)
            if not self._run.has(block):
                if claimed:
                    self._missing[place] = 0
                    return block
            else:
                # Another process finished it between the first look and the claim.
                self._run.release(block)
                self._missing[place] = 2
        return None

    def finished(self) -> Iterator[Receipt]:
        """Yield the receipts of the blocks that other processes have finished meanwhile."""
        place = -1
        while (place := self._missing.find(2, place + 1)) >= 0:
            self._missing[place] = 0
            yield Receipt.of_finished(self._order[place])


def _pipeline(stages: Stages[Before, Middle], run: Run, queue: _Queue) -> Generator[Receipt]:
    """Compute the blocks of the queue, and yield their receipts in order."""
    threads = 2 * stages.depth
    several = stages.depth > 1
    with ThreadPoolExecutor(threads if several else 1) as ahead, ThreadPoolExecutor(1) as alone:
        behind = ahead if several else alone
        preparing: deque[tuple[Block, Future[Before]]] = deque()
        finishing: deque[Future[Receipt]] = deque()

        def prepare() -> None:
            while len(preparing) < (threads if several else 1) and (block := queue.next()) is not None:
                preparing.append((block, ahead.submit(stages.before, block)))

        prepare()
        number = 0
        while preparing:
            number += 1
            block, future = preparing.popleft()
            prepared = future.result()
            prepare()
            computed = stages.middle(prepared)
            if len(finishing) == stages.depth:
                yield finishing.popleft().result()
            finishing.append(behind.submit(_finish, stages, run, block, prepared, computed))
            if number % EVERY == 0:
                behind.submit(return_gaps)
            # While the next block is waited for, nothing here keeps this one.
            del future, prepared, computed
        while finishing:
            yield finishing.popleft().result()


def _finish(stages: Stages[Before, Middle], run: Run, block: Block, prepared: Before, computed: Middle) -> Receipt:
    result = stages.after(prepared, computed)
    stages.check()
    began = time.perf_counter()
    layers = result.layers.items()
    run.keep(block, {name: values for name, values in layers if isinstance(values, bytes) or values.any()})
    run.release(block)
    seconds = {**result.seconds, "write": time.perf_counter() - began}
    return Receipt(block, block.window.pixels, result.windows, seconds)


def _waiting(run: Run, block: Block, count: int) -> str:
    """Say how many blocks other processes have, and which process has one of them."""
    found = run.store.holder(claim_name(block.index))
    many = "a block" if count == 1 else f"{count} blocks"
    return f"{many} that {found or 'another process'} computes" + " among others" * (count > 1)
