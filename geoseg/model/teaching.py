"""What a model was taught: named classes, told from its clusters and from colour and texture of superpixels.

With q_s the probabilities of the model's K clusters for superpixel s, unsmoothed, and f_s its features, scaled,
log p_s(c) = log sum_k q_sk P(c | k) + a log((1 - DOUBT) softmax(W f_s + b)_c + DOUBT / C)
over C classes: a vote of clusters times a logistic regression with an exponent. `geoseg.prediction.taught` makes
classes of it. The references from which `geoseg.naming.fitting` makes both are kept, so that more can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.classes import ClassMap
from geoseg.recipes import Start
from geoseg.segments.texture import TEXTURES
from geoseg.segments.views import dimensions

DOUBT = 0.01
"""How far the probabilities of the regression are drawn to equal ones: far from all references it is sure of nothing
that the clusters contradict."""

PLACE_COLUMNS = 4
"""Of the place of a reference: number of its scene, id of its superpixel, row and column of a pixel in it."""

_LARGEST = 1e9


def feature_count(start: Start, bands: int) -> int:
    """Return the number D of features of a superpixel: descriptors of the model's mixture, then textures."""
    return dimensions(start, bands) + TEXTURES


@dataclass(frozen=True, eq=False)
class References:
    """Superpixels whose class is known.

    Attributes:
        features: float32 (n, D), not scaled.
        clusters: float32 (n, K), the probabilities of the model's clusters.
        classes: int64 (n,), indices of their classes, 0..C - 1.
        places: int64 (n, PLACE_COLUMNS).
    """

    features: NDArray[np.float32]
    clusters: NDArray[np.float32]
    classes: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def none(cls, features: int, clusters: int) -> References:
        """Return no references, of so many features and clusters."""
        return cls(
            np.zeros((0, features), np.float32), np.zeros((0, clusters), np.float32), np.zeros(0, np.int64),
            np.zeros((0, PLACE_COLUMNS), np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.classes)

    def chosen(self, rows: NDArray[Any]) -> References:
        """Return some of the references, by indices or as a mask."""
        return References(*(getattr(self, entry.name)[rows] for entry in fields(self)))

    def and_more(self, other: References) -> References:
        """Return both; where `other` has the same superpixel of the same scene, that one counts."""
        known = {(int(scene), int(superpixel)) for scene, superpixel in other.places[:, :2]}
        keep = np.array([(int(s), int(i)) not in known for s, i in self.places[:, :2]], np.bool_)
        mine = self.chosen(keep)
        return References(
            *(np.concatenate([getattr(mine, entry.name), getattr(other, entry.name)]) for entry in fields(self))
        )


@dataclass(frozen=True, eq=False)
class Teaching:
    """What a model was taught.

    Attributes:
        names: The classes as references call them, C texts.
        clusters: The class map that the model had before: its clusters.
        start: Which descriptors of superpixels are features.
        votes: float64 (K, C), P(c | k).
        centre: float64 (D,), subtracted from features.
        deviation: float64 (D,), by which they are then divided.
        weights: float64 (C, D), of the regression.
        intercepts: float64 (C,).
        references: What it was taught with.
        scenes: What distinguishes the scenes of the references.
        exponent: a, of the regression's probabilities; at least 0.
        temperature: Divides the logarithm of the probabilities that become confidence, greater than 0.
    """

    names: tuple[str, ...]
    clusters: ClassMap
    start: Start
    votes: NDArray[np.float64]
    centre: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    references: References
    scenes: tuple[str, ...] = field(default=())
    exponent: float = 1.0
    temperature: float = 1.0

    def scaled(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return features (n, D) as the regression takes them, float64 (n, D)."""
        return (features - self.centre) / self.deviation

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        own = {name: getattr(self, name) for name in _OWN}
        kept = {f"references.{name}": getattr(self.references, name) for name in _KEPT}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in (own | kept).items()}

    def to_json(self) -> dict[str, Any]:
        """Return what is not a tensor."""
        return {
            "names": list(self.names),
            "clusters": self.clusters.to_json(),
            "start": self.start,
            "scenes": list(self.scenes),
            "exponent": self.exponent,
            "temperature": self.temperature,
        }

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], bands: int) -> Teaching:
        """Return what `to_json` and `tensors` described.

        Args:
            entry: Entry of a card that `geoseg.model.card.check_card` accepts.
            tensors: Finite tensors by name.
            bands: Number of bands of the model.

        Raises:
            ValueError: The tensors do not fit the model, or one another.
        """
        clusters = ClassMap.from_json(entry["clusters"])
        D, K, C = feature_count(entry["start"], bands), clusters.clusters, len(entry["names"])
        _check_shapes(tensors, D, K, C)
        found = {name: value.numpy() for name, value in tensors.items()}
        references = References(**{name: found[f"references.{name}"] for name in _KEPT})
        _check_values(found, references, C, len(entry["scenes"]))
        return cls(
            tuple(entry["names"]), clusters, entry["start"], references=references, scenes=tuple(entry["scenes"]),
            exponent=float(entry["exponent"]), temperature=float(entry["temperature"]),
            **{name: found[name] for name in _OWN},
        )  # fmt: skip


_OWN = ("votes", "centre", "deviation", "weights", "intercepts")
_KEPT = ("features", "clusters", "classes", "places")


def _check_shapes(tensors: Mapping[str, Tensor], D: int, K: int, C: int) -> None:
    n = len(tensors["references.classes"]) if "references.classes" in tensors else 0
    double, single, whole = torch.float64, torch.float32, torch.int64
    expected = {
        "votes": (double, (K, C)), "centre": (double, (D,)), "deviation": (double, (D,)), "weights": (double, (C, D)),
        "intercepts": (double, (C,)), "references.features": (single, (n, D)), "references.clusters": (single, (n, K)),
        "references.classes": (whole, (n,)), "references.places": (whole, (n, PLACE_COLUMNS)),
    }  # fmt: skip
    if {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()} != expected:
        raise ValueError("the tensors of what it was taught have other names, shapes or types")


def _check_values(found: Mapping[str, NDArray[Any]], references: References, C: int, scenes: int) -> None:
    if not (found["votes"] > 0).all() or not np.allclose(found["votes"].sum(axis=1), 1, atol=1e-6):
        raise ValueError("the votes of its clusters are no probabilities")
    if not (found["deviation"] > 0).all():
        raise ValueError("its features have deviations that are not positive")
    if max(float(np.abs(found[name]).max(initial=0)) for name in _OWN) > _LARGEST:
        raise ValueError("what it was taught has numbers that no reference leads to")
    classes, places = references.classes, references.places
    if not len(references) or classes.min() < 0 or classes.max() >= C:
        raise ValueError("its references are of classes that it does not have")
    if places.min() < 0 or places[:, 0].max() >= scenes:
        raise ValueError("its references lie in scenes that it does not name")
