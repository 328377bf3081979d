"""The maps that the rows of one training make, all of one pass of the network over the images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from data import Data, Image512
from networks import CPU, PRECISION, model_of
from numpy.typing import NDArray
from rows import Row
from score import Map, Mapper, Tally
from variants import cells

from geoseg.learning.trainer import Trainer
from geoseg.model.file import Model
from geoseg.model.mixture import Experts
from geoseg.prediction.experts import Combination, tempered
from geoseg.prediction.stages import Stages
from geoseg.recipes import STRIDE
from geoseg.segments.regions import classify, region_means

T = TypeVar("T")


class Network:
    """The mean logits of superpixels, or of cells, by a model's network."""

    def __init__(self, model: Model, superpixels: bool = True) -> None:
        self._stages = Stages(model, np.dtype(model.dtype), CPU, PRECISION)
        self._superpixels = superpixels

    def regions(self, image: Image512) -> NDArray[np.int32]:
        """Return the regions that the means are of, int32 (rows, cols)."""
        return image.regions if self._superpixels else cells(*image.regions.shape)

    def means(self, image: Image512) -> tuple[NDArray[np.float32], float]:
        """Return the means, float32 (n + 1, K), and the CPU seconds that they took."""
        regions = self.regions(image)
        valid: NDArray[np.bool_] = np.ones(regions.shape, dtype=np.bool_)

        def compute() -> NDArray[np.float32]:
            normal = self._stages.normalise(image.pixels, valid)[None]
            rows, cols = valid.shape
            logits = self._stages.forward(normal, (rows, cols))
            return region_means(np.ascontiguousarray(logits[0]), regions, int(regions.max()), STRIDE, (0, 0))

        return _timed(compute)

    def map(self, image: Image512) -> Map:
        """Return the map by the network alone."""
        means, seconds = self.means(image)
        return Map(classify(means)[0] - 1, self.regions(image), seconds, {})


class _Product:
    """Maps by the experts of a model, as `geoseg.prediction` combines and smooths them."""

    def __init__(self, data: Data, experts: Experts, row: Row) -> None:
        assert row.exponents is not None
        self._experts, self._calibrated = experts, row.is_default
        coupling = experts.coupling if row.coupling is None else row.coupling
        experts = replace(experts, exponents=row.exponents, coupling=coupling)
        self._combination = Combination(experts, data.stats, row.rounds)

    def map(self, image: Image512, means: NDArray[np.float32], seconds: float) -> Map:
        """Return the map of an image, by mean logits that took some seconds."""

        def compute() -> NDArray[np.float32]:
            described = self._combination.describe(image.pixels, image.regions, image.count, 1)
            return self._combination.posterior(means, described)

        q, more = _timed(compute)
        confidences: dict[str, NDArray[np.float32]] = {}
        if self._calibrated:
            confidences = {"before": tempered(q, 1.0), "after": tempered(q, self._experts.temperature)}
        return Map(q.argmax(axis=1), image.regions, seconds + more, confidences)


def read(data: Data, trained: Trainer, rows: Sequence[Row], superpixels: bool = True) -> dict[str, dict[str, Any]]:
    """Return the results (`Tally.result`) of the rows of one training, by name.

    Args:
        data: The images.
        trained: The trainer after its last step.
        rows: Ways of making maps.
        superpixels: Whether the network's logits are averaged over superpixels, or classified cell by cell.
    """
    K = trained.recipe.classes
    models = {row.weights: model_of(data, trained, row.weights) for row in rows if _needs_network(row)}
    networks = {weights: Network(model, superpixels) for weights, model in models.items()}
    products = {row.name: _Product(data, _experts(trained, row, models), row) for row in rows if row.exponents}
    tallies = {row.name: Tally(K, data.classes) for row in rows}
    # The first image comes twice: before it counts, compiled kernels are loaded.
    for index, image in enumerate([data.images[0], *data.images]):
        means = {weights: network.means(image) for weights, network in networks.items()}
        for row in rows:
            found, seconds = means[row.weights] if _needs_network(row) else (_no_means(image, K), 0.0)
            if row.exponents:
                made = products[row.name].map(image, found, seconds)
            else:
                made = Map(classify(found)[0] - 1, networks[row.weights].regions(image), seconds, {})
            if index:
                tallies[row.name].add(image, made)
    return {name: tally.result() for name, tally in tallies.items()}


def mapper_of(data: Data, trained: Trainer, row: Row, superpixels: bool = True) -> Mapper:
    """Return the mapper of one row."""
    model = model_of(data, trained, row.weights)
    network = Network(model, superpixels)
    if not row.exponents:
        return network.map
    assert model.experts is not None
    product = _Product(data, model.experts, row)
    return lambda image: product.map(image, *network.means(image))


def _needs_network(row: Row) -> bool:
    return row.exponents is None or row.exponents[1] > 0


def _experts(trained: Trainer, row: Row, models: dict[str, Model]) -> Experts:
    assert trained.mixture is not None
    calibrated = models[row.weights].experts if _needs_network(row) else None
    return calibrated or Experts.of(trained.mixture)


def _no_means(image: Image512, K: int) -> NDArray[np.float32]:
    return np.zeros((image.count + 1, K), np.float32)


def _timed(compute: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    found = compute()
    return found, time.process_time() - began
