"""The pipeline for a GPU, run on the CPU: it gives the same blocks as the pipeline for a CPU, with few copies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from geoseg.config import PredictConfig
from geoseg.grid import Grid
from geoseg.model.file import Model
from geoseg.prediction.device_pipeline import DevicePredictor
from geoseg.prediction.experts import rounds_of, steps_of
from geoseg.prediction.plan import Plan, plan
from geoseg.prediction.predictor import BlockResult, Predictor
from geoseg.raster.scene import Scene
from helpers.models import make_model, with_experts
from helpers.rasters import landscape, make_raster

CPU = torch.device("cpu")


def planned(scene: Scene, model: Model, block_size: int = 192) -> Plan:
    grid = Grid(scene.shape, model.windows.tile_size, model.windows.overlap)
    rounds = rounds_of(model, 2)
    return plan(
        grid, model.superpixels, scene.extent, block_size, rounds=rounds, steps=steps_of(model, rounds)
    )


def predictor(kind: type[Predictor], scene: Scene, model: Model, plan: Plan, **settings: Any) -> Any:
    given = {"batch_size": 1, "workers": 4, "confidence": True, **settings}
    return kind(scene, model, plan, CPU, torch.float32, PredictConfig.blend, **given)


def results(predicting: Any, plan: Plan) -> list[BlockResult]:
    """The blocks in order, a few of which are prepared, and finished, at the same time."""
    found, blocks = [], plan.blocks
    with predicting, ThreadPoolExecutor(predicting.depth) as ahead, ThreadPoolExecutor(predicting.depth) as behind:
        prepared = ahead.map(predicting.prepare, blocks)
        for each in prepared:
            found.append(behind.submit(predicting.finish, each, predicting.logits(each)))
    return [each.result() for each in found]


def layers(found: list[BlockResult], name: str) -> list[NDArray[Any]]:
    return [result.layers[name] for result in found]


def with_holes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Nodata of every kind: a strip, a corner that holds a whole window, and single pixels."""
    pixels = pixels.copy()
    pixels[:, 90:110, 40:500] = 0
    pixels[:, :150, :150] = 0
    pixels[:, ::37, ::41] = 0
    return pixels


SCENES = {
    "bytes": lambda: landscape(500, 420),
    "holes": lambda: with_holes(landscape(500, 420)),
    "16 bits, four bands": lambda: landscape(300, 260, 4).astype(np.uint16) * 250,
    "floats": lambda: with_holes(landscape(300, 260)).astype(np.float32) * 1000,
}


@pytest.mark.parametrize("experts", [False, True], ids=["network", "experts"])
@pytest.mark.parametrize("kind", SCENES)
def test_blocks_are_those_of_the_cpu(tmp_path: Path, kind: str, experts: bool) -> None:
    pixels = SCENES[kind]()
    path = make_raster(tmp_path / "scene.tif", pixels, nodata=0)
    model = make_model(len(pixels))
    model = with_experts(model) if experts else model
    with Scene(path, quiet=True, bands=list(range(1, len(pixels) + 1))) as scene:
        made = planned(scene, model)
        expected = results(predictor(Predictor, scene, model, made), made)
        device = predictor(DevicePredictor, scene, model, made)
        assert device.depth > 1
        found = results(device, made)
    for name in ("classes", "confidence"):
        for there, here in zip(layers(found, name), layers(expected, name), strict=True):
            assert np.array_equal(there, here)
