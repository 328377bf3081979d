"""The rows of the ladder, and how to run one of them."""

from __future__ import annotations

import logging
import os
import statistics
import time
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import baselines
import networks
import torch
from data import Data, load
from networks import BATCH, PATCH, IicTrainer, learn, mapper, reconstruction, supervised
from score import PARTS, Score, score

from geoseg.config import TrainConfig
from geoseg.learning.trainer import Trainer
from geoseg.recipes import RECIPES

K, MANY = 5, 24
STEPS, STEPS_MANY = 300, 600
FEW = replace(
    TrainConfig(Path(), classes=K).settled, steps=STEPS, batch_size=BATCH, patch_size=PATCH, superpixel_size=11
)
ORTHOPHOTO = replace(
    RECIPES["orthophoto"], classes=MANY, steps=STEPS_MANY, batch_size=BATCH, patch_size=PATCH, superpixel_size=11
)
NONE = {"adversarial_weight": 0.0, "geometric_weight": 0.0}

INMARS = {
    "MI, without superpixels": ({**NONE}, Trainer, False),
    "MI": ({**NONE}, Trainer, True),
    "MI + adversarial": ({"geometric_weight": 0.0}, Trainer, True),
    "MI + geometric": ({"adversarial_weight": 0.0}, Trainer, True),
    "InMARS: MI + adversarial + geometric": ({}, Trainer, True),
    "IIC's objective, without superpixels": ({**NONE}, IicTrainer, False),
    "IIC's objective, on superpixels": ({**NONE}, IicTrainer, True),
}
UNEQUAL = {"marginal_weight": FEW.marginal_weight, "imbalance": FEW.imbalance}
STARTED = {**UNEQUAL, "start_share": FEW.start_share}
ANCHORED = {**STARTED, "anchor_weight": FEW.anchor_weight}
OURS = {
    "InMARS + unequal classes expected": UNEQUAL,
    " + start from the mixture": STARTED,
    " + anchor": ANCHORED,
    " + geometric at 0.3": {**ANCHORED, "geometric_weight": FEW.geometric_weight},
}
FULL = "geoseg (all of the above)"
WITHOUT = {
    "geoseg without adversarial": {"adversarial_weight": 0.0},
    "geoseg without geometric": {"geometric_weight": 0.0},
    "geoseg without either": NONE,
    "geoseg, equal classes expected": {"imbalance": 0.0},
    "geoseg, three times the steps": {"steps": 3 * STEPS},
}
WEIGHTS = {"raw": ", last weights", "last": ", last average", "selected": ", selected"}


@cache
def data(source: str, scaled: str) -> Data:
    """Load the images, once per process."""
    logging.disable(logging.WARNING)  # every PNG would be reported to have no CRS
    torch.set_num_threads(1)
    return load(Path(source), Path(scaled))


def rows() -> list[str]:
    """Return the names of all rows, in the order of the table."""
    return [
        "k-means on pixels",
        "k-means on superpixels",
        "Gaussian mixture on superpixels",
        *INMARS,
        *OURS,
        FULL,
        *WITHOUT,
        "with labels of all scenes",
        "with labels of scenes 1 to 4",
        f"K = {MANY}: k-means on superpixels",
        f"K = {MANY}: Gaussian mixture on superpixels",
        f"K = {MANY}: InMARS",
        f"K = {MANY}: geoseg",
        "geoseg, mobilenet_v2 and pyramid",
    ]


def measure(task: tuple[str, int, str, str]) -> list[dict[str, Any]]:
    """Run one row for one seed, and return its scores; for the full method also the scores at each validation."""
    name, seed, source, scaled = task
    images = data(source, scaled)
    began = time.perf_counter()
    if name == "k-means on pixels":
        return [_scored(name, seed, score(images, K, baselines.pixels(images, K, seed)), began)]
    clusters = MANY if name.startswith(f"K = {MANY}") else K
    if "k-means" in name:
        return [_scored(name, seed, score(images, clusters, baselines.superpixels(images, clusters, seed)), began)]
    if "mixture on" in name:
        start = ORTHOPHOTO.start if clusters == MANY else FEW.start
        found = baselines.mixture(images, clusters, seed, start)
        return [_scored(name, seed, score(images, clusters, found), began)]
    if name.startswith("with labels"):
        return [_scored(name, seed, score(images, K, supervised(images, STEPS, seed, "1 to 4" in name)), began)]
    return _trained(name, seed, images, began)


def _trained(name: str, seed: int, images: Data, began: float) -> list[dict[str, Any]]:
    kind, superpixels, encoder, all_weights = Trainer, True, networks.COMPACT, False
    if name in INMARS:
        settings, kind, superpixels = INMARS[name]
        recipe = reconstruction(K, STEPS, **settings)
    elif name in OURS:
        recipe = reconstruction(K, STEPS, **OURS[name])
    elif name == f"K = {MANY}: InMARS":
        recipe = reconstruction(MANY, STEPS_MANY)
    elif name == f"K = {MANY}: geoseg":
        recipe, all_weights = ORTHOPHOTO, True
    else:
        recipe, all_weights = replace(FEW, **WITHOUT.get(name, {})), name == FULL
        encoder = "mobilenet_v2" if "mobilenet" in name else encoder
    validations, trained = [], None
    for step, trained in learn(images, recipe, seed, kind, superpixels, encoder):
        if name == FULL and step.criterion == step.criterion:
            found = score(images, K, mapper(images, trained, "last"))
            validations.append({"step": step.step, "criterion": step.criterion, **_parts(found)})
            trained.network.train()
    assert trained is not None
    results = []
    for weights in WEIGHTS if all_weights else ("last",):
        found = score(images, recipe.classes, mapper(images, trained, weights, superpixels))
        suffix = WEIGHTS[weights] if all_weights else ""
        results.append({**_scored(name + suffix, seed, found, began), "perplexity": step.perplexity})
    if validations:
        results[-1]["validations"] = validations
        best = max(validations, key=lambda each: each["tuned"]["accuracy"])
        results.append({"row": f"{name}, best by labels (for comparison only)", "seed": seed, **best, "seconds": 0.0})
    return results


def _scored(name: str, seed: int, found: dict[str, Score], began: float) -> dict[str, Any]:
    return {"row": name, "seed": seed, "seconds": time.perf_counter() - began, **_parts(found)}


def _parts(found: dict[str, Score]) -> dict[str, Any]:
    return {part: asdict(each) for part, each in found.items()}


def line(name: str, found: list[dict[str, Any]]) -> str:
    """Return one row of the table: accuracy and mIoU of each part with standard deviations, and many-to-one scores."""
    cells = [f"{name:58s}"]
    for part in PARTS:
        if part not in found[0]:
            continue
        values = {key: [each[part][key] for each in found] for key in Score.__dataclass_fields__ if key != "ious"}
        mean = {key: statistics.fmean(value) for key, value in values.items()}
        spread = {key: statistics.pstdev(value) for key, value in values.items()}
        cells.append(
            f"{mean['accuracy']:5.1f} / {mean['miou']:4.1f} (sd {spread['accuracy']:.1f} / {spread['miou']:.1f}) "
            f"many {mean['many_accuracy']:5.1f} / {mean['many_miou']:4.1f}"
        )
    cells.append(f"used {min(each['all']['used'] for each in found)}")
    cells.append(f"{statistics.median(each['seconds'] for each in found):4.0f} s")
    return " | ".join(cells)
