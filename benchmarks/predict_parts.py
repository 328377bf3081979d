"""Where the CPU time of a prediction goes: seconds of each part, each without the parts within it.

A part is a function of geoseg that is replaced, as long as it is measured, by one that reads the clock of its thread.
With one worker no kernel starts a thread of its own, so a part's time is that of the thread that calls it.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

PARTS = {
    "read": ["geoseg.raster.scene.Scene.read"],
    "normalise": ["geoseg.prediction.stages.Stages.batch"],
    "network": ["geoseg.prediction.stages.Stages.raw_logits"],
    "blend": ["geoseg.prediction.predictor.blend_windows"],
    "superpixels: colours": ["geoseg.prediction.stages.colour"],
    "superpixels: cells": ["geoseg.segments.lattice.Lattice.__init__"],
    "superpixels: iterations": ["geoseg.segments.lattice.Lattice.run"],
    "superpixels: connection": ["geoseg.segments.superpixels.connect"],
    "region means": ["geoseg.prediction.stages.region_means_of"],
    "descriptors": ["geoseg.segments.views.region_descriptors"],
    "graph": ["geoseg.prediction.experts.region_graph", "geoseg.prediction.experts.edge_weights"],
    "mixture": ["geoseg.prediction.experts.Combination.log_product"],
    "smoothing": ["geoseg.prediction.experts.mean_field"],
    "confidence": ["geoseg.prediction.experts.tempered"],
    "painting": ["geoseg.prediction.predictor.paint"],
    "parts": ["geoseg.runs.run.Run.keep", "geoseg.runs.run.Run.claim", "geoseg.runs.run.Run.release"],
    "publication": ["geoseg.jobs.blocks.BlockJob.publish"],
}
"""Names of parts, and the functions that they are."""


@contextmanager
def measured() -> Iterator[Counter[str]]:
    """Yield a counter that receives the CPU seconds of each part of what runs in the context with one worker.

    It ends with "publication: threads of GDAL" and "everything else", so that the sum is the time of the process.
    """
    spent: Counter[str] = Counter()
    stack = threading.local()

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            within = stack.__dict__.setdefault("within", [])
            within.append(0.0)
            began, process = time.thread_time(), time.process_time()
            try:
                return function(*args, **options)
            finally:
                passed = time.thread_time() - began
                spent[part] += passed - within.pop()
                if part == "publication":
                    # Nothing else runs meanwhile.
                    spent["publication: threads of GDAL"] += time.process_time() - process - passed
                if within:
                    within[-1] += passed

        return call

    with ExitStack() as patches:
        for part, names in PARTS.items():
            for owner, name in map(_owner, names):
                patches.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        began = time.process_time()
        yield spent
        whole = time.process_time() - began
    spent["everything else"] = whole - spent.total()


def _owner(path: str) -> tuple[Any, str]:
    """Return the module or the class that a function belongs to, and its name there."""
    owner, _, name = path.rpartition(".")
    try:
        return importlib.import_module(owner), name
    except ModuleNotFoundError:
        module, _, kind = owner.rpartition(".")
        return getattr(importlib.import_module(module), kind), name


def table(spent: Counter[str], megapixels: float) -> str:
    """Return the parts as lines, in the order of the work.

    Raises:
        ValueError: A part never ran: the function that it names has another one in its place now.
    """
    if missing := [part for part in PARTS if part not in spent]:
        raise ValueError(f"never called: {', '.join(missing)}")
    order = [*PARTS, "publication: threads of GDAL", "everything else"]
    whole = spent.total()
    lines = [
        f"  {part:30}{spent[part]:7.2f} s {spent[part] / whole:6.1%} {1000 * spent[part] / megapixels:6.1f} ms/Mpx"
        for part in order
    ]
    return "\n".join([*lines, f"  {'all of predict':30}{whole:7.2f} s"])
