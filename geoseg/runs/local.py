"""Compute the blocks of a run on this machine, in a pipeline of three threads.

The heaviest stage of each block runs in the calling thread. The stage before it runs in a second thread, one block
ahead; the stage after it and the writing run in a third thread, one block behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from geoseg.grid import Block
from geoseg.runs.directory import Run

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

    def summary(self, counts: str = "") -> str:
        """Return size, `counts` (such as "4 windows") and seconds in a few words."""
        if self.reused:
            return "reused"
        return ", ".join(filter(None, [f"{self.pixels / 1e6:.1f} Mpx", counts, f"{sum(self.seconds.values()):.1f} s"]))


def compute(
    before: Callable[[Block], Before],
    middle: Callable[[Before], Middle],
    after: Callable[[Before, Middle], Result],
    run: Run,
    blocks: Iterable[Block],
    check: Callable[[], None] = lambda: None,
) -> Generator[Receipt]:
    """Compute the blocks that `run` lacks, in order, and yield the receipts of all: finished blocks first.

    Closing the generator stops after the blocks in the pipeline.

    Args:
        before: First stage: block -> its input. Runs in a thread, one block ahead.
        middle: Second stage, with the result of `before`. Runs in the calling thread.
        after: Third stage, with the results of `before` and `middle`. Runs in a thread, one block behind.
        run: Keeps the layers of each block that have a value other than 0.
        blocks: The blocks.
        check: Called before a block is kept; raises if its input has changed since the run began.
    """
    missing: list[Block] = []
    for block in blocks:
        if run.has(block):
            yield Receipt(block, block.window.pixels, 0, {}, reused=True)
        else:
            missing.append(block)
    if not missing:
        return
    with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as behind:
        preparing = ahead.submit(before, missing[0])
        finishing: Future[Receipt] | None = None
        for block, following in zip(missing, [*missing[1:], None], strict=True):
            prepared = preparing.result()
            if following is not None:
                preparing = ahead.submit(before, following)
            computed = middle(prepared)
            if finishing is not None:
                yield finishing.result()
            finishing = behind.submit(_finish, after, run, block, prepared, computed, check)
        if finishing is not None:
            yield finishing.result()


def _finish(
    after: Callable[[Before, Middle], Result],
    run: Run,
    block: Block,
    prepared: Before,
    computed: Middle,
    check: Callable[[], None],
) -> Receipt:
    result = after(prepared, computed)
    check()
    began = time.perf_counter()
    layers = result.layers.items()
    run.keep(block, {name: values for name, values in layers if isinstance(values, bytes) or values.any()})
    seconds = {**result.seconds, "write": time.perf_counter() - began}
    return Receipt(block, block.window.pixels, result.windows, seconds)
