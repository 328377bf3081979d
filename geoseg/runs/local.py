"""This machine: the heaviest stage of each block in one thread, what comes before it in a second one that is a block
ahead, what comes after it and the writing in a third, a block behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from geoseg.grid import Block
from geoseg.runs.directory import Run

Before = TypeVar("Before")
Middle = TypeVar("Middle")


class Result(Protocol):
    """What the last stage returns: layers for `Run.keep`, seconds per stage, and windows the network computed."""

    @property
    def layers(self) -> Mapping[str, NDArray[Any] | bytes]: ...

    @property
    def seconds(self) -> Mapping[str, float]: ...

    @property
    def windows(self) -> int: ...


@dataclass(frozen=True)
class Receipt:
    """One block is done.

    Attributes:
        block: Which one.
        pixels: Of the block.
        windows: How many windows the network computed for it.
        seconds: Time per stage, added up over threads.
        reused: It was finished before.
    """

    block: Block
    pixels: int
    windows: int
    seconds: Mapping[str, float]
    reused: bool = False

    def summary(self, counts: str = "") -> str:
        """Return in a few words what the block took; counts: what else there is to count."""
        if self.reused:
            return "reused"
        return ", ".join(filter(None, [f"{self.pixels / 1e6:.1f} Mpx", counts, f"{sum(self.seconds.values()):.1f} s"]))


def compute(
    before: Callable[[Block], Before],
    middle: Callable[[Before], Middle],
    after: Callable[[Before, Middle], Result],
    run: Run,
    blocks: Iterable[Block],
) -> Iterator[Receipt]:
    """Compute the blocks in order, keep each in `run`, and yield its receipt; finished ones are reused.

    `before` of a block runs while `middle`, in this thread, is at the block before it; `after` and writing while it is
    at the next. Closing the generator ends the work after the blocks in flight.
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
            finishing = behind.submit(_finish, after, run, block, prepared, computed)
        if finishing is not None:
            yield finishing.result()


def _finish(
    after: Callable[[Before, Middle], Result], run: Run, block: Block, prepared: Before, computed: Middle
) -> Receipt:
    result = after(prepared, computed)
    began = time.perf_counter()
    layers = result.layers.items()
    run.keep(block, {name: values for name, values in layers if isinstance(values, bytes) or values.any()})
    seconds = {**result.seconds, "write": time.perf_counter() - began}
    return Receipt(block, block.window.pixels, result.windows, seconds)
