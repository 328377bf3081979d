"""The pipeline for a GPU, run on the CPU: it gives the same blocks as the pipeline for a CPU, with few copies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model, with_experts
from helpers.rasters import landscape, make_raster
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

CPU = torch.device("cpu")


def planned(scene: Scene, model: Model, block_size: int = 128) -> Plan:
    grid = Grid(scene.shape, model.windows.tile_size, model.windows.overlap)
    rounds = rounds_of(model, 2)
    return plan(grid, model.superpixels, scene.extent, block_size, rounds=rounds, steps=steps_of(model, rounds))


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
    pixels[:, 90:110, 40:260] = 0
    pixels[:, :150, :150] = 0
    pixels[:, ::37, ::41] = 0
    return pixels


SCENES = {
    "bytes": lambda: landscape(300, 260),
    "holes": lambda: with_holes(landscape(300, 260)),
    "16 bits, four bands": lambda: landscape(200, 260, 4).astype(np.uint16) * 250,
    "floats": lambda: with_holes(landscape(200, 260)).astype(np.float32) * 1000,
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


class Watch(TorchDispatchMode):
    """Counts operations for which a device would have to be waited for."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits += any(name in str(func) for name in self.WAITING)
        return func(*args, **(kwargs or {}))


def copies(predicting: DevicePredictor, plan: Plan) -> list[tuple[int, int]]:
    """How often each block went up, and came down."""
    found = []
    with predicting:
        for block in plan.blocks:
            before = predicting.transfers.ups, predicting.transfers.downs
            prepared = predicting.prepare(block)
            with Watch() as watch:
                blended = predicting.logits(prepared)
            assert watch.waits == 0
            predicting.finish(prepared, blended)
            found.append((predicting.transfers.ups - before[0], predicting.transfers.downs - before[1]))
    return found


def test_pixels_go_up_once_per_block_and_logits_never_come_down(tmp_path: Path) -> None:
    path, model = make_raster(tmp_path / "scene.tif", landscape(300, 260)), make_model()
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model)
        found = copies(predictor(DevicePredictor, scene, model, made), made)
    # Up: pixels and superpixels; down: choices of superpixels and their means.
    assert len(found) > 4
    assert set(found) == {(2, 2)}


def test_validity_and_filled_windows_go_up_where_there_is_nodata(tmp_path: Path) -> None:
    pixels = landscape(192, 192)
    pixels[:, 100:120, 100:120] = 0
    path, model = make_raster(tmp_path / "scene.tif", pixels, nodata=0), make_model()
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model, 192)
        filled = sum(not scene.read(made.grid.window(position))[1].all() for position in made.windows(made.blocks[0]))
        found = copies(predictor(DevicePredictor, scene, model, made), made)
    assert filled
    assert found == [(3 + filled, 2)]


def test_a_window_is_computed_once_whoever_reads_it(tmp_path: Path) -> None:
    path, model = make_raster(tmp_path / "scene.tif", landscape(300, 260)), make_model()
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model)
        expected = {position for block in made.blocks for position in made.windows(block)}
        assert sum(each.windows for each in results(predictor(DevicePredictor, scene, model, made), made)) == len(
            expected
        )


def test_the_windows_of_an_earlier_block_are_not_read_again(tmp_path: Path) -> None:
    path, model = make_raster(tmp_path / "scene.tif", landscape(300, 260)), make_model()
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model)
        alone, second = (predictor(DevicePredictor, scene, model, made) for _ in range(2))
        second.prepare(made.blocks[0])
        read = [each.prepare(made.blocks[1]).there.area.pixels for each in (second, alone)]
    assert read[0] < read[1]


def test_a_block_gives_its_windows_up_to_the_next_if_it_is_nodata(tmp_path: Path) -> None:
    pixels = landscape(192, 400)
    pixels[:, :, :200] = 0
    path, model = make_raster(tmp_path / "scene.tif", pixels, nodata=0), make_model()
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model, 192)
        expected = layers(results(predictor(Predictor, scene, model, made), made), "classes")
        device = predictor(DevicePredictor, scene, model, made)
        with device:
            # Both are prepared before the first, which is to compute windows of the second, turns out to need none.
            prepared = [device.prepare(block) for block in made.blocks]
            found = [device.finish(each, device.logits(each)) for each in prepared]
    assert not expected[0].any()
    for there, here in zip(layers(found, "classes"), expected, strict=True):
        assert np.array_equal(there, here)


def test_a_batch_has_the_same_shape_whatever_is_in_it(tmp_path: Path) -> None:
    path, model = make_raster(tmp_path / "scene.tif", landscape(300, 260)), make_model()
    shapes: dict[tuple[int, ...], int] = {}
    with Scene(path, quiet=True) as scene:
        made = planned(scene, model)
        device = predictor(DevicePredictor, scene, model, made, batch_size=3)
        logits = device.stages.logits

        def remember(batch: torch.Tensor, *rest: Any) -> torch.Tensor:
            shapes[tuple(batch.shape)] = shapes.get(tuple(batch.shape), 0) + 1
            return logits(batch, *rest)

        device.stages.logits = remember
        results(device, made)
    assert {shape[0] for shape in shapes} == {3}
