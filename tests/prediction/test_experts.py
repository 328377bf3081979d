"""The product of experts and its smoothing: classes are those of the formula, the same in any blocks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.commandline import assert_refused, geoseg
from helpers.models import make_model, with_experts
from helpers.rasters import TRANSFORM, landscape, make_raster
from numpy.typing import NDArray

from geoseg.config import EvaluateConfig, PredictConfig
from geoseg.errors import SettingError
from geoseg.evaluation.sources import ModelSource
from geoseg.files.record import find_record
from geoseg.grid import Grid
from geoseg.model.file import Model, save_model
from geoseg.model.mixture import Experts
from geoseg.prediction.experts import Combination, Described, rounds_of, steps_of
from geoseg.prediction.plan import Plan, neighbourhood, plan
from geoseg.prediction.predictor import Predictor
from geoseg.prediction.stages import Stages
from geoseg.raster.scaling import Conversion
from geoseg.raster.scene import Scene
from geoseg.recipes import SuperpixelConfig
from geoseg.segments.graph import region_graph
from geoseg.segments.smoothing import edge_weights, mean_field
from geoseg.segments.superpixels import reach

ROWS, COLS = 260, 300


def experts_of(model: Model) -> Experts:
    assert model.experts is not None
    return model.experts


def described(model: Model, labels: NDArray[np.int32], rounds: int) -> tuple[Combination, Described]:
    """The experts of a model, and what they know of the superpixels of a landscape."""
    combination = Combination(experts_of(model), model.stats, rounds)
    return combination, combination.describe(landscape(*labels.shape), labels, int(labels.max()), threads=1)


def cells(side: int, size: int = 8) -> NDArray[np.int32]:
    """Labels of squares."""
    rows, cols = np.mgrid[:side, :side] // size
    return (rows * -(-side // size) + cols + 1).astype(np.int32)


@pytest.mark.parametrize("exponents", [(0.5, 0.5), (1.0, 0.0), (0.25, 2.0)])
@pytest.mark.parametrize("rounds", [0, 2])
def test_the_class_is_that_of_the_formula(exponents: tuple[float, float], rounds: int) -> None:
    experts = experts_of(with_experts(make_model(), exponents=exponents, coupling=2.0))
    combination, regions = described(replace(make_model(), experts=experts), cells(96), rounds)
    n = len(regions.descriptors)
    logits = np.random.default_rng(1).normal(0, 2, (n + 1, 5)).astype(np.float32)
    ids, confidence = combination.classify(logits, regions, threads=1)

    r = experts.mixture.posterior(torch.from_numpy(regions.descriptors)).double().numpy()
    p = torch.from_numpy(logits[1:]).double().softmax(-1).numpy()
    log_p = np.zeros((n + 1, 5), np.float32)
    log_p[1:] = exponents[0] * np.log(r + 1e-6) + exponents[1] * np.log(0.99 * p + 0.01 / p.shape[1])
    graph = region_graph(cells(96), n)
    features = np.concatenate([np.zeros((1, 4)), regions.descriptors / experts.mixture.deviation.numpy()])
    weights = edge_weights(graph, features.astype(np.float32))
    q = mean_field(log_p, graph, weights, 2.0, rounds)[1:]
    assert len(np.unique(ids[1:])) > 1 or exponents[1] == 0
    assert np.array_equal(ids[1:], q.argmax(axis=1) + 1)
    assert confidence[1:] == pytest.approx(q.max(axis=1), abs=1e-4)


def test_the_temperature_changes_how_sure_a_class_is_and_not_the_class() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (145, 5)).astype(np.float32)
    found = {}
    for temperature in (1.0, 1.0 + 1e-9, 0.5, 4.0):
        model = with_experts(make_model(), temperature=temperature)
        combination, regions = described(model, cells(96), 1)
        found[temperature] = combination.classify(logits, regions, threads=1)
        assert np.array_equal(found[temperature][0], found[1.0][0])
    sure = {temperature: confidence[1:] for temperature, (_, confidence) in found.items()}
    assert sure[1.0 + 1e-9] == pytest.approx(sure[1.0], abs=1e-5)
    assert (sure[4.0] < sure[1.0]).all()
    assert (sure[1.0] <= sure[0.5]).all()
    assert sure[4.0].min() > 0.2
    assert sure[0.5].max() <= 1


def test_the_order_and_number_of_superpixels_and_threads_change_no_bit() -> None:
    model = with_experts(make_model(), temperature=1.7)
    combination, regions = described(model, cells(96), 0)
    logits = np.random.default_rng(1).normal(0, 2, (145, 5)).astype(np.float32)
    ids, confidence = combination.classify(logits, regions, threads=3)
    for start in (1, 2, 3, 50):
        part = replace(regions, descriptors=regions.descriptors[start:][::-1].copy())
        other = np.concatenate([logits[:1], logits[1 + start :][::-1]])
        again, sure = combination.classify(other, part, threads=1)
        assert np.array_equal(again[1:], ids[1 + start :][::-1])
        assert np.array_equal(sure[1:], confidence[1 + start :][::-1])


def test_descriptors_are_those_of_the_pixels_that_the_model_knows() -> None:
    arguments = with_experts(make_model()), np.dtype("uint16"), torch.device("cpu"), torch.float32
    conversion = Conversion((0.1, 0.1, 0.1), (-5.0, 0.0, 5.0), "uint8")
    labels, pixels = cells(96), landscape(96, 96).astype(np.uint16) * 9
    found = Stages(*arguments, conversion, rounds=1).describe(pixels, labels, 144)
    expected = Stages(*arguments, rounds=1).describe(conversion.apply(pixels), labels, 144)
    assert found is not None
    assert expected is not None
    assert np.array_equal(found.descriptors, expected.descriptors)
    assert np.array_equal(found.weights, expected.weights)
    assert Stages(make_model(), *arguments[1:]).describe(pixels, labels, 144) is None


@pytest.fixture(scope="module")
def model() -> Model:
    """Its superpixels are long and thin where the scene is, and hang on their neighbours."""
    made = with_experts(make_model(), coupling=30.0)
    return replace(made, superpixels=SuperpixelConfig(size=8, iterations=3, compactness=0.125))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Lines of three shades, with a hole and a transparent corner."""
    noise = np.random.default_rng(0).integers(0, 10, (3, ROWS, COLS))
    pixels = landscape(ROWS, COLS) // 2 + 50 * (np.arange(ROWS)[:, None] // 2 % 3) + noise
    rows, cols = np.mgrid[:ROWS, :COLS]
    valid = (rows + cols > 60) & ~((abs(rows - 130) < 9) & (abs(cols - 220) < 30))
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    with Scene(make_raster(path, np.clip(pixels, 0, 255).astype(np.uint8), mask=valid)) as opened:
        yield opened


def mapped(scene: Scene, model: Model, todo: Plan, workers: int = 1) -> dict[str, NDArray[Any]]:
    """Classes and confidence of all blocks of a plan, side by side."""
    found = {"classes": np.zeros(scene.shape, np.uint8), "confidence": np.zeros(scene.shape, np.uint8)}
    arguments = (torch.device("cpu"), torch.float32, "hann", 1, workers)
    with Predictor(scene, model, todo, *arguments, confidence=True) as predictor:  # type: ignore[arg-type]
        for block in todo.blocks:
            prepared = predictor.prepare(block)
            for name, values in predictor.finish(prepared, predictor.logits(prepared)).layers.items():
                found[name][block.window.within(scene.extent)] = values
    return found


def record_of(out: Path) -> dict[str, Any]:
    """What the record of a map says."""
    record = find_record(out)
    assert record is not None
    return dict(record.content)


def planned(scene: Scene, model: Model, block_size: int, rounds: int = 3) -> Plan:
    steps = steps_of(model, rounds)
    return plan(
        Grid(scene.shape, 128, 32), model.superpixels, scene.extent, block_size, rounds=rounds_of(model, rounds),
        steps=steps,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(scene: Scene, model: Model) -> dict[str, NDArray[Any]]:
    """The map of the scene in one block."""
    return mapped(scene, model, planned(scene, model, 512))


@pytest.fixture(scope="module")
def surroundings(model: Model) -> Model:
    """A model that also tells classes by the neighbours of superpixels, and by nothing else."""
    own = with_experts(make_model(), "surroundings", coupling=30.0, exponents=(1.0, 0.0))
    return replace(own, superpixels=model.superpixels)


@pytest.mark.parametrize(("block_size", "workers"), [(100, 1), (128, 3), (173, 2)])
def test_law_2_block_independence_of_smoothing(
    scene: Scene, model: Model, whole: dict[str, NDArray[Any]], block_size: int, workers: int
) -> None:
    assert len(np.unique(whole["classes"])) == 6
    found = mapped(scene, model, planned(scene, model, block_size), workers)
    for name, values in whole.items():
        assert np.array_equal(found[name], values), name


def test_law_2_with_half_of_the_neighbourhood_blocks_differ(
    scene: Scene, model: Model, whole: dict[str, NDArray[Any]]
) -> None:
    todo = planned(scene, model, 100)
    assert todo.neighbourhood == 3 * (reach(8) + 1) == 72
    half = replace(todo, neighbourhood=36, halo=todo.halo - 36)
    assert (mapped(scene, model, half)["confidence"] != whole["confidence"]).sum() > 100


@pytest.mark.parametrize("rounds", [0, 1])
def test_law_2_block_independence_of_views_of_neighbours(scene: Scene, surroundings: Model, rounds: int) -> None:
    """They take one step from superpixel to superpixel more than smoothing; without it, blocks differ."""
    whole = mapped(scene, surroundings, planned(scene, surroundings, 512, rounds))
    assert len(np.unique(whole["classes"])) > 3
    todo = planned(scene, surroundings, 100, rounds)
    assert (todo.rounds, todo.steps, todo.neighbourhood) == (rounds, rounds + 1, (rounds + 1) * 24)
    found = mapped(scene, surroundings, todo)
    for name, values in whole.items():
        assert np.array_equal(found[name], values), name
    fewer = replace(todo, steps=rounds, neighbourhood=24 * rounds, halo=todo.halo - 24)
    assert (mapped(scene, surroundings, fewer)["confidence"] != whole["confidence"]).sum() > 20


def test_law_5_what_is_invalid_is_never_classified(scene: Scene, whole: dict[str, NDArray[Any]]) -> None:
    _, valid = scene.read(scene.extent)
    for values in whole.values():
        assert np.array_equal(values > 0, valid)


def test_smoothing_joins_what_lies_together(scene: Scene, model: Model, whole: dict[str, NDArray[Any]]) -> None:
    rough = mapped(scene, model, planned(scene, model, 512, rounds=0))["classes"]

    def edges(classes: NDArray[Any]) -> int:
        return int((classes[1:] != classes[:-1]).sum() + (classes[:, 1:] != classes[:, :-1]).sum())

    assert edges(whole["classes"]) < 0.9 * edges(rough)


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_the_plan_grows_with_the_rounds(scene: Scene, model: Model, rounds: int) -> None:
    todo, plain = planned(scene, model, 100, rounds), planned(scene, model, 100, 0)
    added = rounds * 24
    assert (todo.neighbourhood, todo.halo, neighbourhood(8, rounds)) == (added, plain.halo + added, added)
    assert todo == plan(todo.grid, model.superpixels, scene.extent, 100, rounds=rounds)
    block = todo.blocks[4]
    assert todo.core(block) == block.window.expand(added, scene.extent)
    assert todo.pooled(block) == todo.core(block).expand(todo.reach, scene.extent)
    assert len(todo.windows(block)) >= len(plain.windows(block))


def test_a_model_without_experts_maps_as_before_and_says_that_nothing_is_smoothed(
    scene_path: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[int | None, int] = {}
    written: dict[int | None, tuple[bytes, bytes]] = {}
    for smooth in (None, 0, 3):
        out = tmp_path / str(smooth) / "map.tif"
        more = ["--confidence", tmp_path / str(smooth) / "confidence.tif"]
        more += [] if smooth is None else ["--smooth", smooth]
        out.parent.mkdir()
        done = geoseg(capsys, "predict", scene_path, "-m", model_path, "-o", out, *more)
        assert done.code == 0
        said[smooth] = done.err.count("--smooth has no effect")
        written[smooth] = out.read_bytes(), (out.parent / "confidence.tif").read_bytes()
        assert "smooth" not in record_of(out)["settings"]
    assert said == {None: 0, 0: 0, 3: 1}
    assert written[None] == written[0] == written[3]


def test_the_rounds_are_those_of_the_setting(
    scene_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(with_experts(make_model()), tmp_path / "m.safetensors")
    arguments = ("-q", "predict", scene_path, "-m", tmp_path / "m.safetensors", "-o", tmp_path / "map.tif")
    found = []
    for more, rounds in (((), 3), (("--smooth", 3), 3), (("--smooth", 0), 0)):
        assert geoseg(capsys, *arguments, "--overwrite", *more).code == 0
        assert record_of(tmp_path / "map.tif")["settings"]["smooth"] == rounds
        found.append((tmp_path / "map.tif").read_bytes())
    assert found[0] == found[1] != found[2]
    assert_refused(geoseg(capsys, *arguments, "--smooth", 11), 78, "smooth is 11; it must be between 0 and 10")


@pytest.mark.parametrize(("min_area", "least"), [("1px", 1.0), ("20px", 0.97)])
def test_a_part_of_a_scene_in_an_area_of_interest_is_that_of_the_whole(
    scene: Scene, surroundings: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str], min_area: str, least: float
) -> None:
    """Only what the sieve does at the edge of the area may differ."""
    save_model(surroundings, tmp_path / "m.safetensors")
    left, top = TRANSFORM @ (60, 50)
    right, bottom = TRANSFORM @ (250, 200)
    ring = [[left, top], [right, top], [right, bottom], [left, top]]
    crs = {"type": "name", "properties": {"name": scene.georeference.crs.to_string()}}
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "aoi.geojson").write_text(
        str({"type": "FeatureCollection", "crs": crs, "features": [shape]}).replace("'", '"')
    )
    bounds = ("--bounds", left, bottom, right, top)
    maps = []
    for more in ((), ("--aoi", tmp_path / "aoi.geojson", *bounds, "--block-size", 512)):
        out = tmp_path / f"{len(maps)}.tif"
        arguments = ("-m", tmp_path / "m.safetensors", "-o", out, "--precision", "float32", "--min-area", min_area)
        assert geoseg(capsys, "-q", "predict", scene.path, *arguments, *more).code == 0
        with Scene(out) as result:
            maps.append(result.read(result.extent)[0][0])
    inside = maps[1] > 0
    assert 0.3 < inside.mean() < 0.7
    assert len(np.unique(maps[1])) > 3
    assert (maps[0][50:200, 60:250][inside] == maps[1][inside]).mean() >= least


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [({}, 0), ({"labels": Path("l")}, 3), ({"smooth": 2}, 2), ({"labels": Path("l"), "smooth": 0}, 0)],
)
def test_patches_of_a_protocol_are_not_smoothed_unless_it_is_asked_for(settings: dict[str, Any], rounds: int) -> None:
    assert EvaluateConfig(Path("m.safetensors"), data=Path("d"), **settings).rounds == rounds
    assert PredictConfig((Path("s.tif"),), Path("o.tif")).rounds == 3


def test_smoothing_of_a_class_raster_is_refused_and_without_a_mixture_told(
    model_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SettingError, match=r"not a model .* omit --smooth"):
        EvaluateConfig(Path("map.tif"), labels=Path("l"), smooth=3)
    with caplog.at_level(logging.WARNING):
        ModelSource(EvaluateConfig(model_path, data=Path("d")))
        assert not caplog.messages
        ModelSource(EvaluateConfig(model_path, data=Path("d"), smooth=2))
    assert "--smooth has no effect" in caplog.text


def test_a_window_of_no_neighbours_is_classified() -> None:
    model = with_experts(make_model())
    labels = np.ones((8, 8), np.int32)
    combination, regions = described(model, labels, 3)
    ids, confidence = combination.classify(np.zeros((2, 5), np.float32), regions, threads=2)
    assert 1 <= ids[1] <= 5
    assert 0.2 <= confidence[1] <= 1
