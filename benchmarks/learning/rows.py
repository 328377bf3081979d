"""The rows of the ladder: what is trained, and how maps are made of it.

A part is what is fitted or trained once per seed. A row is a way of making maps of a part; rows of one part differ in
prediction only. Names of parts and rows begin with their number of clusters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from data import SUPERPIXELS
from variants import BalancedTrainer, CellSampler, IicTrainer, RandomSampler, RareSampler, RareTrainer

from geoseg.config import ROUNDS, TrainConfig
from geoseg.learning.patches import PatchSampler
from geoseg.learning.trainer import Trainer
from geoseg.recipes import RECIPES, Recipe, Start

MANY = 24
STEPS, STEPS_MANY = 300, 600
BATCH, PATCH = 8, 128

QUICK_STEPS = 10
"""Steps of every training in a trial run."""

Exponents = tuple[float, float]
PRODUCT: Exponents = (0.5, 0.5)
MIXTURE: Exponents = (1.0, 0.0)


@dataclass(frozen=True)
class Row:
    """How maps are made of a training.

    Attributes:
        name: Of the row.
        exponents: Of the mixture's and of the network's probabilities; None for the network alone.
        rounds: Rounds of smoothing; not for the network alone.
        weights: Which average of the weights, "last" or "selected".
        coupling: Of the smoothing; None for the product's own.
    """

    name: str
    exponents: Exponents | None = None
    rounds: int = 0
    weights: str = "selected"
    coupling: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether maps are made as `geoseg predict` makes them."""
        return (self.exponents, self.rounds, self.weights, self.coupling) == (PRODUCT, ROUNDS, "selected", None)


@dataclass(frozen=True)
class Training:
    """A training without labels, and its rows.

    Attributes:
        recipe: Its settings.
        rows: Ways of making maps of it.
        trainer: Kind of trainer.
        sampler: Kind of sampler.
        change: What is changed in the network, if anything: a key of `variants.CHANGES`.
    """

    recipe: Recipe
    rows: tuple[Row, ...]
    trainer: type[Trainer] = Trainer
    sampler: type[PatchSampler] = PatchSampler
    change: str = ""


@dataclass(frozen=True)
class Baseline:
    """k-means on "pixels" or on "superpixels"."""

    clusters: int
    of: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Supervised:
    """The network, trained with the labels of all scenes, or of the tuning scenes only."""

    tuned_only: bool
    steps: int
    rows: tuple[Row, ...]


Part = Baseline | Training | Supervised


def parts(classes: int, quick: bool = False) -> dict[str, Part]:
    """Return all parts by name, in the order of the table.

    Args:
        classes: Number of classes of the labels, and of the clusters of the first half.
        quick: Train for a few steps only.
    """
    found = {**_few(classes), **_many()}
    if quick:
        found = {name: _shortened(part) for name, part in found.items()}
    return found


def fingerprint(part: Part) -> str:
    """Return what differs between parts whose results do."""
    return hashlib.sha256(repr(part).encode()).hexdigest()[:16]


def starts(classes: int, quick: bool = False) -> dict[str, Part]:
    """Return the parts that compare starts for few classes."""
    return {name: part for name, part in parts(classes, quick).items() if is_start(name) and f"K = {MANY}" not in name}


def is_start(name: str) -> bool:
    """Return whether a part, or a row, is a mixture alone."""
    return re.match(r"K = \d+: mixture by", name) is not None


def few_recipe(classes: int) -> Recipe:
    """Return geoseg's recipe for few classes, on the patches of the comparison."""
    return _scaled(TrainConfig(Path(), classes=classes).settled, STEPS)


def inmars_recipe(classes: int, steps: int, **settings: Any) -> Recipe:
    """Return the recipe `inmars`, on the patches of the comparison, with some settings of others."""
    recipe = replace(RECIPES["inmars"], classes=classes, **settings)
    return _scaled(recipe, steps)


INMARS = "InMARS (--recipe inmars)"
NEITHER: dict[str, Any] = {"adversarial_weight": 0.0, "geometric_weight": 0.0}


def _few(K: int) -> dict[str, Part]:
    ours = few_recipe(K)
    unequal = {"marginal_weight": ours.marginal_weight, "imbalance": ours.imbalance}
    started = {**unequal, "start": ours.start, "start_share": ours.start_share}
    anchored = {**started, "anchor_weight": ours.anchor_weight}
    mi = inmars_recipe(K, STEPS, **NEITHER)
    found: dict[str, Part] = {
        "k-means on pixels": Baseline(K, "pixels", _one(K, "k-means on pixels")),
        "k-means on superpixels": Baseline(K, "superpixels", _one(K, "k-means on superpixels")),
    }
    for start in (*get_args(Start), "auto"):
        found[f"mixture by {start}"] = _mixture(ours, start)

    def alone(name: str, recipe: Recipe, **kinds: Any) -> None:
        found[name] = Training(recipe, _one(K, name), **kinds)

    alone("IIC's objective, without superpixels", mi, trainer=IicTrainer, sampler=CellSampler)
    alone("IIC's objective, on superpixels", mi, trainer=IicTrainer)
    alone("MI, without superpixels", mi, sampler=CellSampler)
    alone("MI", mi)
    alone("MI + adversarial", inmars_recipe(K, STEPS, geometric_weight=0.0))
    alone("MI + geometric", inmars_recipe(K, STEPS, adversarial_weight=0.0))
    found[INMARS] = Training(inmars_recipe(K, STEPS), _of_inmars(K))
    alone("InMARS, unequal classes expected", inmars_recipe(K, STEPS, **unequal))
    alone("... and the start from the mixture", inmars_recipe(K, STEPS, **started))
    alone("... and the anchor", inmars_recipe(K, STEPS, **anchored))
    found["geoseg"] = Training(ours, tuple(_of_experts(K, ours)))
    for tuned_only, scenes in ((False, "all scenes"), (True, "scenes 1 to 4")):
        name = f"with labels of {scenes}"
        found[name] = Supervised(tuned_only, STEPS, _one(K, name))
    return {f"K = {K}: {name}": part for name, part in found.items()}


def _many() -> dict[str, Part]:
    K = MANY
    ours = _scaled(replace(RECIPES["orthophoto"], classes=K), STEPS_MANY)
    found: dict[str, Part] = {
        "k-means on superpixels": Baseline(K, "superpixels", _one(K, "k-means on superpixels")),
        "mixture by hue": _mixture(ours, "hue"),
        "mixture by surroundings": _mixture(ours, "surroundings"),
        INMARS: Training(inmars_recipe(K, STEPS_MANY), _of_inmars(K)),
        "geoseg": Training(ours, tuple(_of_experts(K, ours))),
    }

    def variant(name: str, recipe: Recipe = ours, **kinds: Any) -> None:
        name = f"geoseg {name}"
        rows = (
            Row(f"K = {K}: {name}, network alone"),
            Row(f"K = {K}: {name}, product and smoothing", PRODUCT, ROUNDS),
        )
        found[name] = Training(recipe, rows, **kinds)

    variant("from surroundings", replace(ours, start="surroundings"))
    variant("without the adversarial term", replace(ours, adversarial_weight=0.0))
    variant("without the geometric term", replace(ours, geometric_weight=0.0))
    variant("without either", replace(ours, **NEITHER))
    variant("without information: learns the mixture only", replace(ours, start_share=1.0, warm_share=1.0))
    variant("with patches drawn at random", sampler=RandomSampler)
    variant("with an anchor balanced by 1 / share^0.5", trainer=BalancedTrainer)
    variant("with half of the patches drawn round rare components", trainer=RareTrainer, sampler=RareSampler)
    variant("whose network sees texture only", change="texture only")
    variant(
        "whose network sees texture only and learns the mixture only",
        replace(ours, start_share=1.0, warm_share=1.0),
        change="texture only",
    )
    variant("with a U-shaped network", change="U-shaped")
    return {f"K = {K}: {name}": part for name, part in found.items()}


def _of_inmars(K: int) -> tuple[Row, ...]:
    name = f"K = {K}: {INMARS}"
    return Row(f"{name}, last weights", weights="last"), Row(f"{name}, selected weights")


def _of_experts(K: int, recipe: Recipe) -> Iterator[Row]:
    """Yield the rows of geoseg itself."""
    prefix = f"K = {K}: geoseg"
    yield Row(f"{prefix}, network alone")
    yield Row(f"{prefix}, product of experts", PRODUCT)
    yield Row(f"{prefix}, product and smoothing", PRODUCT, ROUNDS)
    yield Row(f"{prefix}, product and smoothing, last weights", PRODUCT, ROUNDS, "last")
    for coupling in (4.0, 5.0):
        yield Row(f"{prefix}, product and smoothing with coupling {coupling:g}", PRODUCT, ROUNDS, coupling=coupling)
    if K != MANY:
        return
    for rounds in (2, 5):
        yield Row(f"{prefix}, product and {rounds} rounds of smoothing", PRODUCT, rounds)
    for exponents in ((0.3, 0.7), (0.7, 0.3)):
        a, b = exponents
        yield Row(f"{prefix}, product with exponents {a} (mixture) and {b} (network), smoothing", exponents, ROUNDS)


def _mixture(recipe: Recipe, start: Any) -> Training:
    """The mixture that training starts from; its single step changes the network only."""
    name = f"K = {recipe.classes}: mixture by {start}"
    rows = Row(name, MIXTURE), Row(f"{name}, smoothing", MIXTURE, ROUNDS)
    return Training(replace(recipe, start=start, steps=1), rows)


def _one(K: int, name: str) -> tuple[Row, ...]:
    return (Row(f"K = {K}: {name}", weights="last"),)


def _scaled(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, steps=steps, batch_size=BATCH, patch_size=PATCH, superpixel_size=SUPERPIXELS.size)


def _shortened(part: Part) -> Part:
    match part:
        case Training():
            return replace(part, recipe=replace(part.recipe, steps=min(part.recipe.steps, QUICK_STEPS)))
        case Supervised():
            return replace(part, steps=QUICK_STEPS)
        case Baseline():
            return part
