"""Named classes from a few references: votes of clusters, a regression, their product, and its smoothing.

    python benchmarks/learning/teaching.py DATA [--model FILE] [--draws 20] [--points 1 5 20 100] [--pixels]
    python benchmarks/learning/teaching.py DATA --next [--model FILE] [--draws 20]

DATA holds `images` (RGB) and `labels` (PNG of the same names, 0 for no label, classes from 1), such as dubai72. Images
are scaled as in the ladder. A model of 24 clusters is learnt from them without labels, as by `geoseg train`, and kept
in --model, which is read if it is there. In every draw, n superpixels of each class become references, as `geoseg
teach` makes them; all labelled pixels are scored at full size, by the names of the classes. A superpixel can be drawn
for a class if more than half of its pixels have that label: what somebody would click. With --pixels, labelled pixels
are drawn, whatever else lies in their superpixels.

majority vote   each cluster is of the class to which most of the references in it belong; a cluster without any is of
                the class of its soft vote
soft vote       sum_k q_sk P(c | k), see `geoseg.naming.fitting`
regression      the logistic regression on colour and texture alone
taught          the product of both, as `geoseg.prediction.taught` computes it, without and with smoothing

With --next, two superpixels of each class are followed by three times ten more: those that `geoseg teach` suggests,
ten drawn at random, or the ten least certain ones; all are given the label of most of their pixels.

The table in Markdown has mean and standard deviation over draws, in per cent.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from data import Data, prepare
from networks import CPU, PRECISION, learn, model_of
from numpy.typing import NDArray
from rows import MANY, Training, parts
from tasks import images

from geoseg.config import ROUNDS
from geoseg.evaluation.scores import score
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.teaching import PLACE_COLUMNS, References, Teaching, feature_count
from geoseg.naming.fitting import fit_teaching, standardisation
from geoseg.naming.gathering import Sample
from geoseg.naming.suggestions import suggest
from geoseg.prediction.experts import Combination, Described
from geoseg.prediction.stages import Stages
from geoseg.prediction.taught import log_classes, start_of

_POOL = 6000
"""Superpixels among which those to look at next are."""

METHODS = ("majority vote", "soft vote", "regression", "taught, not smoothed", "taught")


@dataclass(frozen=True, eq=False)
class Superpixels:
    """All superpixels of all images.

    Attributes:
        features: float32 (n, D).
        clusters: float32 (n, K).
        counts: int64 (n, C + 1), pixels at full size by label, the first of no label.
        described: Of each image, for smoothing.
        combination: The model's experts.
    """

    features: NDArray[np.float32]
    clusters: NDArray[np.float32]
    counts: NDArray[np.int64]
    described: list[Described]
    combination: Combination


def main() -> None:
    """Measure, and print the table."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        prepare(given.data, Path(folder))
        data = images(str(given.data), folder)
        model = _model(data, given.model)
        superpixels = _describe(data, model)
    if given.next:
        sys.stdout.write("\n".join(_table_of_next(given, model, superpixels, data.classes)) + "\n")
        return
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for n in given.points:
        for draw in range(given.draws):
            chosen, classes = _draw(superpixels, n, draw, given.pixels)
            for method, labels in _maps(model, superpixels, chosen, classes, data.classes):
                found.setdefault((n, method), []).append(_score(superpixels, labels, data.classes))
    sys.stdout.write("\n".join(_table(given, found)) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=Path("teaching.safetensors"), help="model to read, or to learn")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--points", type=int, nargs="*", default=[1, 5, 20, 100], help="references of each class")
    parser.add_argument("--pixels", action="store_true", help="draw pixels instead of superpixels")
    parser.add_argument("--next", action="store_true", help="measure what the superpixels to look at next are worth")
    return parser.parse_args()


def _model(data: Data, path: Path) -> Model:
    """Return the model in a file; it is learnt if there is none."""
    if not path.exists():
        part = parts(data.classes)[f"K = {MANY}: geoseg"]
        assert isinstance(part, Training)
        trained, seconds = learn(data, part, 0)
        sys.stderr.write(f"{path}: learnt in {seconds:.0f} CPU seconds\n")
        save_model(model_of(data, trained, "selected"), path)
    return load_model(path)


def _describe(data: Data, model: Model) -> Superpixels:
    assert model.experts is not None
    stages = Stages(model, np.dtype(model.dtype), CPU, PRECISION, rounds=ROUNDS, teaching=True)
    clusters, described = [], []
    for image in data.images:
        valid = np.ones(image.regions.shape, np.bool_)
        found = stages.describe(image.pixels, image.regions, image.count, valid=valid)
        assert found is not None
        rows, cols = valid.shape
        logits = stages.forward(stages.normalise(image.pixels, valid)[None], (rows, cols))[0]
        observed = stages.observe(np.ascontiguousarray(logits), image.regions, image.count, found)
        clusters.append(observed[1:])
        described.append(found)
    features = np.concatenate([each.features for each in described if each.features is not None])
    counts = np.concatenate([image.counts[1:, : data.classes + 1] for image in data.images])
    combination = Combination(model.experts, model.stats, ROUNDS)
    return Superpixels(features, np.concatenate(clusters), counts, described, combination)


def _draw(superpixels: Superpixels, n: int, seed: int, pixels: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return n superpixels of each class, and their classes 0..C - 1."""
    random, counts = np.random.default_rng([seed, n]), superpixels.counts
    chosen, classes = [], []
    for label in range(1, counts.shape[1]):
        if pixels:
            chosen.append(random.choice(len(counts), n, p=counts[:, label] / counts[:, label].sum()))
        else:
            pure = np.flatnonzero(2 * counts[:, label] > counts.sum(axis=1))
            chosen.append(random.choice(pure, min(n, len(pure)), replace=False))
        classes += [label - 1] * len(chosen[-1])
    return np.concatenate(chosen), np.array(classes, np.int64)


def _maps(
    model: Model, superpixels: Superpixels, chosen: NDArray[np.int64], classes: NDArray[np.int64], C: int
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the class 0..C - 1 of every superpixel by each method."""
    features, clusters = superpixels.features, superpixels.clusters
    places = np.zeros((len(chosen), PLACE_COLUMNS), np.int64)
    teaching = fit_teaching(_basis(model, features, C), References(features[chosen], clusters[chosen], classes, places))
    votes = clusters @ teaching.votes
    ballots = np.zeros((clusters.shape[1], C))
    np.add.at(ballots, (clusters[chosen].argmax(axis=1), classes), 1)
    winners = np.where(ballots.any(axis=1), ballots.argmax(axis=1), teaching.votes.argmax(axis=1))
    log_p = log_classes(teaching, clusters, features)
    yield "majority vote", winners[clusters.argmax(axis=1)]
    yield "soft vote", votes.argmax(axis=1)
    scores = teaching.scaled(features) @ teaching.weights.T + teaching.intercepts
    yield "regression", scores.argmax(axis=1)
    yield "taught, not smoothed", log_p.argmax(axis=1)
    yield "taught", _smoothed(superpixels, log_p).argmax(axis=1)


def _next(
    mode: str, teaching: Teaching, superpixels: Superpixels, pool: NDArray[np.int64], random: np.random.Generator
) -> list[int]:
    """Return ten superpixels of a pool to look at next."""
    features, clusters = superpixels.features[pool], superpixels.clusters[pool]
    if mode == "at random":
        return random.choice(pool, 10, replace=False).tolist()
    if mode == "least certain":
        p = np.exp(log_classes(teaching, clusters, features).astype(np.float64))
        return pool[np.argsort(p.max(axis=1) / p.sum(axis=1))[:10]].tolist()
    sizes, none = superpixels.counts[pool].sum(axis=1), np.zeros(len(pool), np.int64)
    places = np.column_stack([none, pool, none, none])
    return [each.superpixel for each in suggest(teaching, Sample(features, clusters, sizes, places, none), 10)]


def _table_of_next(given: argparse.Namespace, model: Model, superpixels: Superpixels, C: int) -> Iterator[str]:
    labels = superpixels.counts[:, 1:].argmax(axis=1).astype(np.int64)
    labelled = np.flatnonzero(superpixels.counts[:, 1:].any(axis=1))
    basis = _basis(model, superpixels.features, C)
    yield f"| {given.data.name}, not smoothed | " + " | ".join(f"{10 * k} more" for k in range(4)) + " |"
    yield "|---" * 5 + "|"
    for mode in ("suggested", "at random", "least certain"):
        results: list[list[tuple[float, float]]] = [[] for _ in range(4)]
        for seed in range(given.draws):
            random = np.random.default_rng(seed)
            chosen = _draw(superpixels, 2, seed, False)[0].tolist()
            pool = random.choice(labelled, min(len(labelled), _POOL), replace=False)
            for step in range(4):
                rows = np.array(chosen, np.int64)
                places = np.column_stack([0 * rows, rows, 0 * rows, 0 * rows])
                found = References(superpixels.features[rows], superpixels.clusters[rows], labels[rows], places)
                teaching = fit_teaching(basis, found)
                log_p = log_classes(teaching, superpixels.clusters, superpixels.features)
                results[step].append(_score(superpixels, log_p.argmax(axis=1), C))
                chosen += _next(mode, teaching, superpixels, pool, random)
        yield f"| {mode} | " + " | ".join(map(_cell, results)) + " |"


def _smoothed(superpixels: Superpixels, log_p: NDArray[np.float32]) -> NDArray[np.float32]:
    parts, first = [], 0
    for described in superpixels.described:
        count = len(described.descriptors)
        padded = np.concatenate([np.zeros((1, log_p.shape[1]), np.float32), log_p[first : first + count]])
        parts.append(superpixels.combination.smoothed(padded, described)[1:])
        first += count
    return np.concatenate(parts)


def _basis(model: Model, features: NDArray[np.float32], C: int) -> Teaching:
    D, K = feature_count(start_of(model), len(model.bands)), model.spec.classes
    centre, deviation = standardisation(features)
    names = tuple(f"label {label}" for label in range(1, C + 1))
    return Teaching(
        names, model.classes, start_of(model), np.full((K, C), 1 / C), centre, deviation, np.zeros((C, D)),
        np.zeros(C), References.none(D, K),
    )  # fmt: skip


def _score(superpixels: Superpixels, labels: NDArray[np.int64], C: int) -> tuple[float, float]:
    """Return accuracy and mIoU in per cent."""
    table = np.stack([superpixels.counts[labels == c, 1:].sum(axis=0) for c in range(C)])
    found = score(table, np.arange(C))
    return 100 * found.accuracy, 100 * found.mean_iou


def _table(given: argparse.Namespace, found: dict[tuple[int, str], list[tuple[float, float]]]) -> Iterator[str]:
    yield f"| accuracy / mIoU on {given.data.name} | " + " | ".join(f"n = {n}" for n in given.points) + " |"
    yield "|---" * (len(given.points) + 1) + "|"
    for method in METHODS:
        yield f"| {method} | " + " | ".join(_cell(found[n, method]) for n in given.points) + " |"


def _cell(results: list[tuple[float, float]]) -> str:
    def spread(values: Any) -> str:
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.fmean(values):.1f} ± {deviation:.1f}"

    accuracies, ious = zip(*results, strict=True)
    return f"{spread(accuracies)} / {spread(ious)}"


if __name__ == "__main__":
    main()
