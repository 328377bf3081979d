"""One task: a part of the ladder, fitted or trained with one seed, and the results of its rows."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import baselines
import torch
from data import Data, load
from maps import Network, read
from networks import learn, supervised
from rows import Baseline, Part, Supervised, Training, parts
from score import score
from variants import CellSampler

from geoseg.errors import DivergedError


@dataclass(frozen=True)
class Task:
    """What one process does at a time.

    Attributes:
        data: Name of the data set.
        source, scaled: Its folder, and that of its scaled images.
        part: Name of the part.
        settings: Its fingerprint.
        seed: Seed of the fit or of the training.
        quick: Train for a few steps only.
    """

    data: str
    source: str
    scaled: str
    part: str
    settings: str
    seed: int
    quick: bool = False

    @property
    def key(self) -> str:
        """What its results are found by."""
        return f"{self.data} | {self.part} | {self.seed} | {self.settings}"


def measure(task: Task) -> tuple[Task, list[dict[str, Any]]]:
    """Run a task, and return it with the results of its rows: none if the training diverged."""
    data = images(task.source, task.scaled)
    began = time.perf_counter()
    part = parts(data.classes, task.quick)[task.part]
    facts: dict[str, Any] = {
        "data": task.data, "settings": task.settings, "seed": task.seed, "classes": data.classes,
    }  # fmt: skip
    try:
        found, more = _results(data, part, task.seed)
    except DivergedError as error:
        sys.stderr.write(f"{task.key}: {error}\n")
        found, more = {}, {}
    facts |= {**more, "seconds": time.perf_counter() - began}
    return task, [{"row": row, **facts, **result} for row, result in found.items()]


def _results(data: Data, part: Part, seed: int) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the results of the rows of a part by name, and what they have in common."""
    match part:
        case Baseline():
            start = time.process_time()
            mapper = getattr(baselines, part.of)(data, part.clusters, seed)
            facts = {"clusters": part.clusters, "training_cpu": time.process_time() - start}
            return {part.rows[0].name: score(data, part.clusters, mapper)}, facts
        case Supervised():
            model, seconds = supervised(data, part.steps, seed, part.tuned_only)
            facts = {"clusters": data.classes, "training_cpu": seconds}
            return {part.rows[0].name: score(data, data.classes, Network(model).map)}, facts
        case Training():
            trained, seconds = learn(data, part, seed)
            start_facts: dict[str, Any] = {}
            if trained.mixture is not None:
                start_facts = {"start": trained.mixture.start, "colourfulness": data.colourfulness}
            facts = {"clusters": part.recipe.classes, "training_cpu": seconds}
            return read(data, trained, part.rows, part.sampler is not CellSampler), {**facts, **start_facts}


@cache
def images(source: str, scaled: str) -> Data:
    """Load the images, once per process."""
    logging.disable(logging.WARNING)  # every PNG would be reported to have no CRS
    torch.set_num_threads(1)
    return load(Path(source), Path(scaled))
