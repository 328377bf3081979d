"""Taught classes: those of the formula, the same in any blocks, with and without experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model, with_experts
from helpers.rasters import landscape, make_raster
from helpers.teaching import taught
from numpy.typing import NDArray

from geoseg.grid import Grid
from geoseg.model.file import Model
from geoseg.model.teaching import DOUBT
from geoseg.prediction.experts import rounds_of, steps_of
from geoseg.prediction.plan import Plan, plan
from geoseg.prediction.predictor import Observed, Predictor
from geoseg.prediction.stages import Stages
from geoseg.raster.scene import Scene
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.graph import region_graph
from geoseg.segments.smoothing import mean_field

ROWS, COLS = 230, 250


def cells(side: int, size: int = 8) -> NDArray[np.int32]:
    rows, cols = np.mgrid[:side, :side] // size
    return (rows * -(-side // size) + cols + 1).astype(np.int32)


def stages_of(model: Model, rounds: int = 0, **options: Any) -> Stages:
    return Stages(model, np.dtype("uint8"), torch.device("cpu"), torch.float32, rounds=rounds, **options)


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("experts", [True, False])
def test_the_class_is_that_of_the_formula(experts: bool, rounds: int) -> None:
    plain = with_experts(make_model(), coupling=2.0) if experts else make_model()
    model, labels = taught(plain), cells(96)
    pixels, n = landscape(96, 96), 144
    logits = np.random.default_rng(1).normal(0, 2, (24, 24, 5)).astype(np.float32)
    stages = stages_of(model, rounds)
    described = stages.describe(pixels, labels, n)
    assert described is not None
    assert described.features is not None
    ids, confidence = stages.classify(logits, labels, n, described)

    # The clusters are those of the model before it was taught.
    clusters = stages_of(plain, teaching=True).observe(logits, labels, n, described)[1:].astype(np.float64)
    teaching = model.teaching
    assert teaching is not None
    scores = (described.features - teaching.centre) / teaching.deviation @ teaching.weights.T + teaching.intercepts
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    log_p = np.zeros((n + 1, 3), np.float32)
    log_p[1:] = np.log(clusters @ teaching.votes) + teaching.exponent * np.log((1 - DOUBT) * shares + DOUBT / 3)
    assert teaching.weights[:, -12:].any()
    weights = described.weights if experts else np.zeros(0, np.float32)
    graph = region_graph(labels, n) if experts and rounds else described.graph
    q = mean_field(log_p, graph, weights, 2.0, rounds if experts else 0)[1:]
    outputs = q.argmax(axis=1)
    assert len(np.unique(outputs)) > 1
    assert np.array_equal(ids[1:], 9 - outputs), "ids are those of the class map"
    tempered = q ** (1 / teaching.temperature)
    assert confidence[1:] == pytest.approx((tempered.max(axis=1) / tempered.sum(axis=1)), abs=1e-4)


def test_the_clusters_are_those_of_the_product_before_smoothing() -> None:
    model, labels = with_experts(make_model(), coupling=2.0), cells(96)
    logits = np.random.default_rng(1).normal(0, 2, (24, 24, 5)).astype(np.float32)
    stages = stages_of(model, 3, teaching=True)
    described = stages.describe(landscape(96, 96), labels, 144)
    assert described is not None
    unsmoothed = stages_of(model, 0)
    plain = unsmoothed.describe(landscape(96, 96), labels, 144)
    assert plain is not None
    found = stages.observe(logits, labels, 144, described)
    assert np.array_equal(found, unsmoothed.posterior(logits, labels, 144, plain)[1])


@pytest.fixture(scope="module")
def model() -> Model:
    made = taught(with_experts(make_model(), coupling=10.0))
    return replace(made, superpixels=SuperpixelConfig(size=8, iterations=2, compactness=0.5))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    rows, cols = np.mgrid[:ROWS, :COLS]
    valid = (rows + cols > 60) & ~((abs(rows - 130) < 9) & (abs(cols - 120) < 30))
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    noise = np.random.default_rng(0).integers(0, 30, (3, ROWS, COLS))
    pixels = np.clip(landscape(ROWS, COLS) + noise, 0, 255).astype(np.uint8)
    with Scene(make_raster(path, pixels, mask=valid)) as opened:
        yield opened


def planned(scene: Scene, model: Model, block_size: int, rounds: int = 1) -> Plan:
    rounds = rounds_of(model, rounds)
    grid = Grid(scene.shape, 128, 32)
    return plan(grid, model.superpixels, scene.extent, block_size, rounds=rounds, steps=steps_of(model, rounds))


def predictor(scene: Scene, model: Model, todo: Plan, workers: int = 1, **options: Any) -> Predictor:
    arguments: Any = (torch.device("cpu"), torch.float32, "hann", 1, workers)
    return Predictor(scene, model, todo, *arguments, confidence=True, **options)


def mapped(scene: Scene, model: Model, todo: Plan, workers: int = 1) -> dict[str, NDArray[Any]]:
    found = {"classes": np.zeros(scene.shape, np.uint8), "confidence": np.zeros(scene.shape, np.uint8)}
    with predictor(scene, model, todo, workers) as running:
        for block in todo.blocks:
            prepared = running.prepare(block)
            for name, values in running.finish(prepared, running.logits(prepared)).layers.items():
                found[name][block.window.within(scene.extent)] = values
    return found


def test_law_2_block_independence_of_taught_classes(scene: Scene, model: Model) -> None:
    whole = mapped(scene, model, planned(scene, model, 512))
    assert set(np.unique(whole["classes"])) == {0, 7, 8, 9}
    assert len(np.unique(whole["confidence"])) > 50
    assert np.array_equal(whole["classes"] > 0, scene.read(scene.extent)[1])
    found = mapped(scene, model, planned(scene, model, 96), workers=2)
    for name, values in whole.items():
        assert np.array_equal(found[name], values), name


def test_law_2_block_independence_of_what_is_taught(scene: Scene, model: Model) -> None:
    """Features and clusters of a superpixel do not depend on the block that it is looked at in."""

    def observed(block_size: int) -> dict[int, tuple[bytes, bytes]]:
        todo, found = planned(scene, model, block_size, 0), {}
        with predictor(scene, model, todo, teaching=True) as running:
            for block in todo.blocks:
                prepared = running.prepare(block)
                seen = running.observe(prepared, running.logits(prepared))
                found |= {} if seen is None else exact(seen)
        return found

    def exact(seen: Observed) -> dict[int, tuple[bytes, bytes]]:
        present = np.unique(seen.labels[seen.block.window.within(seen.area)])
        return {
            int(seen.ids[label]): (seen.features[label - 1].tobytes(), seen.clusters[label - 1].tobytes())
            for label in present[present > 0]
        }

    whole = observed(512)
    assert len(whole) > 500
    assert observed(96) == whole
