"""This machine: the network in one thread, reading and superpixels ahead of it, pooling and writing behind it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from geoseg.grid import Block
from geoseg.prediction import Blended, Predictor, Prepared
from geoseg.run import Run


@dataclass(frozen=True)
class Receipt:
    """One block is done: `pixels` of it, `windows` the network computed, seconds per stage; `reused` if it was
    there already."""

    block: Block
    pixels: int
    windows: int
    seconds: Mapping[str, float]
    reused: bool = False


def compute(predictor: Predictor, run: Run, blocks: Iterable[Block]) -> Iterator[Receipt]:
    """Compute the blocks in order, keep each in `run`, and yield its receipt; finished ones are reused.

    Reading and superpixels of a block run while the network is at the one before, pooling and writing while it is
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
    with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as after:
        preparing = before.submit(predictor.prepare, missing[0])
        finishing: Future[Receipt] | None = None
        for following in [*missing[1:], None]:
            prepared = preparing.result()
            if following is not None:
                preparing = before.submit(predictor.prepare, following)
            blended = predictor.logits(prepared)
            if finishing is not None:
                yield finishing.result()
            finishing = after.submit(_finish, predictor, run, prepared, blended)
        if finishing is not None:
            yield finishing.result()


def _finish(predictor: Predictor, run: Run, prepared: Prepared, blended: Blended | None) -> Receipt:
    result = predictor.finish(prepared, blended)
    began = time.perf_counter()
    run.keep(prepared.block, {name: values for name, values in result.layers.items() if values.any()})
    seconds = {**result.seconds, "write": time.perf_counter() - began}
    return Receipt(prepared.block, prepared.block.window.pixels, result.windows, seconds)
