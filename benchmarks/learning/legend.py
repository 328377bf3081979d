"""What is suggested for the classes of a mixture, against labels: guesses of names, merges, and colours.

    python benchmarks/learning/legend.py DATA [--seeds 5] [--clusters 24]

DATA is as for the ladder (`python benchmarks/learning --help`). For each seed a mixture of hue is fitted to 20,000
superpixels; its clusters are the classes. Three tables in Markdown: how much of the labelled area whose cluster has a
guess is of that kind; accuracy and mIoU when clusters are merged by each method, each group matched to its most
frequent class; and the least difference between two colours. --names gives the kinds of label values.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import Data, load, prepare
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.evaluation.scores import match_many_to_one, score
from geoseg.learning.imagery import Crop
from geoseg.learning.mixture import fit_mixture
from geoseg.learning.watching import Measured, appearance_of, measure
from geoseg.model.mixture import Mixture
from geoseg.naming.colours import colours_of
from geoseg.naming.guesses import MEANINGS, guess
from geoseg.naming.likeness import descriptors, tree_of
from geoseg.naming.looks import Display
from geoseg.naming.vision import VISIONS, least_difference
from geoseg.segments.graph import region_graph
from geoseg.segments.views import superpixel_views

SAMPLE = 20_000
COUNTS = (12, 8, 5)
KINDS = "built,bare,built,vegetation,water"
"""Of the labels of dubai72: building, land, road, vegetation, water."""

Table = NDArray[np.int64]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clusters", type=int, default=24)
    parser.add_argument("--names", default=KINDS, help="kind of each label value from 1, separated by commas")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(given.data, Path(folder))
        data = load(given.data, Path(folder))
        seen = Superpixels(data)
        fits = [Fit(seen, data, given.clusters, seed) for seed in range(given.seeds)]
    sys.stdout.write(f"{guesses(fits, given.names.split(','))}\n{merges(fits)}\n{colours(fits)}")


class Superpixels:
    """All superpixels of the images, side by side: what they look like, their labels and their borders."""

    def __init__(self, data: Data) -> None:
        low, high = data.stats.low, data.stats.high
        looks, parts, labels, borders, offset = [], [], [], [], 0
        for image in data.images:
            valid = np.ones(image.regions.shape, bool)
            looks.append(measure(Crop(image.pixels, valid, valid), image.regions, image.count, data.stats))
            parts.append(superpixel_views(image.pixels, image.regions, image.count, low, high, "hue"))
            labels.append(image.counts[1:, 1 : data.classes + 1])
            graph = region_graph(image.regions, image.count, 1)
            one = np.repeat(np.arange(len(graph.start) - 1), np.diff(graph.start)) - 1
            borders.append(np.stack([one + offset, graph.neighbours - 1 + offset, graph.borders], axis=1))
            offset += image.count
        self.areas, self.values, self.contrast = (np.concatenate(part) for part in zip(*looks, strict=True))
        self.descriptors = np.concatenate(parts)
        self.labels, self.borders = np.concatenate(labels), np.concatenate(borders)


class Fit:
    """A mixture: the appearance of its clusters, their borders, and their labels (K, C)."""

    def __init__(self, seen: Superpixels, data: Data, K: int, seed: int) -> None:
        chosen = np.random.default_rng(seed).choice(len(seen.values), min(SAMPLE, len(seen.values)), replace=False)
        self.mixture = fit_mixture(seen.descriptors[chosen], K, seed, "hue")
        members = self.mixture.posterior(torch.from_numpy(seen.descriptors)).numpy().argmax(axis=1)
        looks = Measured(seen.areas, seen.values, seen.contrast)
        self.appearance = appearance_of(K, members, np.ones(len(members), np.float32), [looks])
        self.stats = data.stats
        self.looks = Display.of(("red", "green", "blue"), "uint8", data.stats).looks(self.appearance)
        self.labels = np.zeros((K, data.classes), np.int64)
        np.add.at(self.labels, members, seen.labels)
        self.borders = np.zeros((K, K), np.int64)
        np.add.at(self.borders, (members[seen.borders[:, 0]], members[seen.borders[:, 1]]), seen.borders[:, 2])


def guesses(fits: list[Fit], kinds: list[str]) -> str:
    """The table of guesses."""
    lines = ["| guess | clusters | share of the labelled area | of it right |", "|---|---|---|---|"]
    rows: dict[str, list[tuple[int, float, float]]] = {name: [] for name in (*MEANINGS, "any")}
    for fit in fits:
        found = [guess(look) for look in fit.looks]
        for name in rows:
            of_it = [k for k, meaning in enumerate(found) if meaning == name or (name == "any" and meaning)]
            area = int(fit.labels[of_it].sum())
            right = sum(int(fit.labels[k, i]) for k in of_it for i, kind in enumerate(kinds) if kind == found[k])
            rows[name].append((len(of_it), area / fit.labels.sum(), right / max(1, area)))
    for name, values in rows.items():
        count, area, right = np.mean(values, axis=0)
        lines.append(f"| {name} | {count:.1f} | {100 * area:.1f} % | {100 * right:.0f} % |")
    return "\n".join(lines) + "\n"


def merges(fits: list[Fit]) -> str:
    """The table of merges."""
    K = len(fits[0].looks)
    heads = " | ".join(map(str, (K, *COUNTS)))
    lines = [f"| clusters merged by | {heads} |", "|---|" + "---|" * (1 + len(COUNTS))]
    methods: dict[str, Any] = {
        "look (ours)": lambda fit, count: _ours(fit, count, None),
        "look and borders (ours)": lambda fit, count: _ours(fit, count, fit.borders),
        "mean colour alone": lambda fit, count: _ours(fit, count, None, contrast=False),
        "the mixture's whitened means, Ward": lambda fit, count: _cut(_whitened(fit.mixture), _ward(fit), count),
        "Bhattacharyya distance, Ward": lambda fit, count: _cut(_bhattacharyya(fit.mixture), _ward(fit), count),
        "Bhattacharyya distance, average linkage": lambda fit, count: _average(_bhattacharyya(fit.mixture), count),
        "chance": lambda fit, count: _average(np.random.default_rng(len(fit.borders)).random((K, K)), count),
    }
    for name, method in methods.items():
        cells = []
        for count in (K, *COUNTS):
            results = [_scores(fit.labels, method(fit, count)) for fit in fits]
            accuracy, miou = np.mean(results, axis=0)
            cells.append(f"{accuracy:.1f} ± {np.std(results, axis=0)[0]:.1f} / {miou:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    left = [[_tree(fit, borders).proposed for fit in fits] for borders in (False, True)]
    return "\n".join(lines) + f"\n\nclasses left by default: look {left[0]}, look and borders {left[1]}\n"


def colours(fits: list[Fit]) -> str:
    """The table of colours."""
    lines = ["| colours | " + " | ".join(VISIONS) + " |", "|---|" + "---|" * len(VISIONS)]
    K = len(fits[0].looks)
    rows = {"by id": [[entry.colour for entry in ClassMap.default(K).classes]]}
    rows["by look"] = [list(colours_of(fit.looks)) for fit in fits]
    for name, maps in rows.items():
        values = [[least_difference(_rgb(found), vision) for vision in VISIONS] for found in maps]
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in np.min(values, axis=0)) + " |")
    return "\n".join(lines) + "\n"


def _rgb(found: list[str]) -> NDArray[np.float64]:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in found]) / 255


def _tree(fit: Fit, borders: bool) -> Any:
    features = descriptors(fit.appearance, fit.stats.low, fit.stats.high)
    return tree_of(range(len(fit.looks)), features, fit.appearance.shares, fit.borders if borders else None)


def _ours(fit: Fit, count: int, borders: Table | None, contrast: bool = True) -> list[tuple[int, ...]]:
    features = descriptors(fit.appearance, fit.stats.low, fit.stats.high)
    shares = fit.appearance.shares
    return list(tree_of(range(len(shares)), features if contrast else features[:, :-1], shares, borders).groups(count))


def _whitened(mixture: Mixture) -> NDArray[np.float64]:
    means = mixture.means.numpy()
    return np.asarray(((means[:, None] - means[None]) ** 2).sum(axis=-1))


def _bhattacharyya(mixture: Mixture) -> NDArray[np.float64]:
    means, roots = mixture.means.numpy(), mixture.roots.numpy()
    covariances = np.linalg.inv(roots @ np.swapaxes(roots, 1, 2))
    middle = (covariances[:, None] + covariances[None]) / 2
    steps = means[:, None] - means[None]
    reach = np.einsum("ijd,ijde,ije->ij", steps, np.linalg.inv(middle), steps)
    sizes = np.linalg.slogdet(covariances)[1]
    return np.asarray(reach / 8 + (np.linalg.slogdet(middle)[1] - (sizes[:, None] + sizes[None]) / 2) / 2)


def _ward(fit: Fit) -> NDArray[np.float64]:
    return fit.appearance.shares


def _cut(squares: NDArray[np.float64], weights: NDArray[np.float64], count: int) -> list[tuple[int, ...]]:
    """Ward's method on squared distances."""
    start = squares * weights[:, None] * weights[None] / np.maximum(weights[:, None] + weights[None], 1e-12)
    return _merge(start, weights, count, ward=True)


def _average(distances: NDArray[np.float64], count: int) -> list[tuple[int, ...]]:
    return _merge((distances + distances.T) / 2, np.ones(len(distances)), count, ward=False)


def _merge(distances: Any, weights: Any, count: int, ward: bool) -> list[tuple[int, ...]]:
    distances, weights = distances.copy(), weights.copy()
    groups = {k: (k,) for k in range(len(weights))}
    while len(groups) > count:
        pairs = [(distances[a, b], a, b) for a in groups for b in groups if a < b]
        least, a, b = min(pairs)
        for c in groups.keys() - {a, b}:
            s, t, u = weights[a], weights[b], weights[c]
            joined = (s * distances[a, c] + t * distances[b, c]) / (s + t)
            if ward:
                joined = ((s + u) * distances[a, c] + (t + u) * distances[b, c] - u * least) / (s + t + u)
            distances[a, c] = distances[c, a] = joined
        weights[a] += weights[b]
        groups[a] += groups.pop(b)
    return list(groups.values())


def _scores(labels: Table, groups: list[tuple[int, ...]]) -> tuple[float, float]:
    table = np.stack([labels[list(group)].sum(axis=0) for group in groups])
    found = score(table, match_many_to_one(table))
    return 100 * found.accuracy, 100 * found.mean_iou


if __name__ == "__main__":
    main()
