"""Models as ONNX: what torch computes, in any size and batch, with the classes and values that other programs need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model, with_experts
from helpers.rasters import landscape
from helpers.teaching import NAMES
from numpy.typing import NDArray

import geoseg
from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError, UnavailableError
from geoseg.model.file import Model, load_model
from geoseg.model.onnx import OPSET, ClassProbabilities, exported, metadata
from geoseg.model.teaching import References, Teaching, feature_count
from geoseg.prediction.stages import Stages
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats

onnx = pytest.importorskip("onnx", reason="package onnx is not installed")
pytest.importorskip("onnxruntime", reason="package onnxruntime is not installed")
from helpers.deepness import Deepness, session  # noqa: E402

MERGED = ClassMap(
    (
        LandClass(1, "trees", "#009e73", (1, 4)),
        LandClass(2, "Wasser", "#0072b2"),
        LandClass(5, "rest", "#cc79a7", (3, 5)),
    )
)


def of_three_classes() -> Model:
    """A model as if it had been taught three classes, whose ids are not in the order of its outputs."""
    model = make_model()
    votes = 0.85 * np.eye(3)[np.arange(5) % 3] + 0.05
    none, D = np.zeros(0), feature_count("hue", 3)
    teaching = Teaching(
        NAMES, model.classes, "hue", votes, none, none, none, none, References.none(D, 5), ("0" * 64,), 1.0
    )
    classes = tuple(LandClass(7 + i, name, "#009e73", (3 - i,)) for i, name in enumerate(NAMES))
    return replace(model, teaching=teaching, classes=ClassMap(classes))


def of_floats() -> Model:
    """A model of float32 imagery, in units of its own, whose wild values are cut off."""
    stats = BandStats((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), (0.1, 0.1, 0.1), (0.9, 0.9, 0.9), 1000)
    return replace(make_model(), dtype="float32", stats=stats)


MODELS: dict[str, Callable[[], Model]] = {
    "experts": lambda: with_experts(make_model()),
    "merged": lambda: replace(make_model(), classes=MERGED),
    "taught": of_three_classes,
    "floats": of_floats,
    "four bands": lambda: make_model(bands=4),
}
SHAPES = ((1, 128, 128), (3, 70, 102), (2, 33, 35), (1, 5, 9))


@pytest.fixture(scope="module")
def made() -> Callable[[str], tuple[Model, bytes]]:
    known: dict[str, tuple[Model, bytes]] = {}

    def make(name: str) -> tuple[Model, bytes]:
        if name not in known:
            model = MODELS[name]()
            known[name] = model, exported(model)
        return known[name]

    return make


def assert_agree(model: Model, data: bytes, images: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
    """ONNX Runtime and torch give the same; return the probabilities, and the share of pixels of one class."""
    with torch.inference_mode():
        expected = ClassProbabilities(model).eval()(torch.from_numpy(images)).numpy()
    (found,) = session(data).run(None, {"image": images})
    assert found.shape == (len(images), len(model.classes), *images.shape[2:])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    return found, float((found.argmax(1) == expected.argmax(1)).mean())


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_gives_what_torch_does_in_any_size_and_batch(
    name: str, made: Callable[[str], tuple[Model, bytes]]
) -> None:
    model, data = made(name)
    valid = np.ones((150, 150), np.bool_)
    for batch, rows, cols in SHAPES:
        scenes = [landscape(150, 150, len(model.bands), seed) for seed in range(batch)]
        images = np.stack([BandStats.normalise(make_model(len(model.bands)).stats, s, valid) for s in scenes])
        found, share = assert_agree(model, data, np.ascontiguousarray(images[..., :rows, :cols]))
        assert share >= 0.9999
        if rows > 100:
            assert len(np.unique(found.argmax(1))) > 1


def test_a_pixel_between_cells_of_one_class_is_of_that_class_of_prediction(
    made: Callable[[str], tuple[Model, bytes]],
) -> None:
    """Probabilities are interpolated: where the four cells around a pixel agree, nothing else can come out."""
    model, data = made("merged")
    pixels = landscape(97, 126)
    stages = Stages(model, np.dtype("uint8"), torch.device("cpu"), torch.float32)
    valid = np.ones(pixels.shape[1:], np.bool_)
    cells = stages.forward(stages.normalise(pixels, valid)[None], valid.shape)[0]
    classes = np.array(model.classes.class_of_cluster()[1:])[cells.argmax(-1)]
    image = model.stats.normalise(pixels, valid)[None]
    (found,) = session(data).run(None, {"image": image})
    ids = np.array([entry.id for entry in model.classes.classes])[found[0].argmax(0)]
    checked = 0
    for row in range(2, 94):
        for col in range(2, 122):
            around = classes[(row - 2) // 4 : (row + 2) // 4 + 1, (col - 2) // 4 : (col + 2) // 4 + 1]
            if (around == around[0, 0]).all():
                assert ids[row, col] == around[0, 0]
                checked += 1
    assert checked > 3000
    assert len(np.unique(ids)) == 3


def test_a_merged_class_is_that_of_the_most_probable_cluster() -> None:
    module = ClassProbabilities(replace(make_model(), classes=MERGED))
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (2, 5, 20, 20)).astype(np.float32))
    clusters = np.array(MERGED.class_of_cluster()[1:])[logits.argmax(1).numpy()]
    channels = module._probabilities(logits).argmax(1).numpy()
    np.testing.assert_array_equal(np.array([1, 2, 5])[channels], clusters)


def test_clusters_vote_for_the_classes_that_a_model_was_taught() -> None:
    model = of_three_classes()
    assert model.teaching is not None
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (1, 5, 8, 8)).astype(np.float32))
    shares = logits.softmax(1).numpy().astype(np.float64)
    votes = np.einsum("bkhw,kc->bchw", shares, model.teaching.votes)
    found = ClassProbabilities(model)._probabilities(logits).numpy()
    np.testing.assert_allclose(found, votes[:, ::-1], atol=1e-6)
    assert [entry.name for entry in model.classes.classes] == list(NAMES)


def test_wild_values_are_cut_off_as_in_prediction(made: Callable[[str], tuple[Model, bytes]]) -> None:
    model, data = made("floats")
    pixels = (landscape(64, 64) / 255).astype(np.float32)
    pixels[:, 20, 30], pixels[:, 40, 10] = 1e6, -1e6
    valid = np.ones((64, 64), np.bool_)
    plain = ((pixels.T - np.array(model.stats.mean)) / np.array(model.stats.std)).T.astype(np.float32)
    run = session(data).run
    (expected,) = run(None, {"image": model.stats.normalise(pixels, valid)[None]})
    (found,) = run(None, {"image": plain[None]})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_deepness_sees_the_normalised_image_and_the_names(made: Callable[[str], tuple[Model, bytes]]) -> None:
    for name, scale, dtype in (("merged", 1, "uint8"), ("four bands", 20, "uint16")):
        model = MODELS[name]()
        stats = {part: tuple(scale * v for v in getattr(model.stats, part)) for part in ("mean", "std", "low", "high")}
        model = replace(model, dtype=dtype, stats=BandStats(**stats, pixels=9), pixel_size=(0.5, 0.5))
        deepness = Deepness(exported(model, 96))
        assert (deepness.tile, deepness.bands) == (96, len(model.bands))
        assert deepness.names == [entry.name for entry in model.classes.classes]
        assert deepness.values["resolution"] == 50.0
        assert deepness.values["seg_thresh"] == deepness.values["seg_small_segment"] == 0
        pixels = landscape(96, 96, len(model.bands)).astype(dtype) * np.array(scale, dtype)
        image = model.stats.normalise(pixels, np.ones((96, 96), np.bool_))
        with torch.inference_mode():
            expected = ClassProbabilities(model).eval()(torch.from_numpy(image)[None]).numpy()
        found = deepness.probabilities(pixels.transpose(1, 2, 0)[None])
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_map_by_deepness_is_that_of_the_whole_image_wherever_tiles_begin() -> None:
    model = make_model()
    deepness = Deepness(exported(model, 96))
    # What is kept of a tile lies farther from its edge than the network sees, and on whole cells.
    assert deepness.values["tiles_overlap"] == 50
    pixels = landscape(190, 230)
    classes = deepness.map(pixels)
    image = model.stats.normalise(pixels, np.ones((190, 230), np.bool_))
    with torch.inference_mode():
        whole = ClassProbabilities(model).eval()(torch.from_numpy(image)[None]).numpy()[0].argmax(0)
    # Beyond the raster, where its last tiles reach, it sees zeros.
    inside = np.s_[:160, :200]
    assert (classes[inside] == whole[inside]).mean() >= 0.9999
    assert len(np.unique(classes)) > 2


def test_deepness_needs_a_size(made: Callable[[str], tuple[Model, bytes]]) -> None:
    with pytest.raises(TypeError, match="no size of tiles"):
        Deepness(made("merged")[1])


def test_the_file_is_one_that_old_runtimes_read_and_the_same_each_time(
    made: Callable[[str], tuple[Model, bytes]],
) -> None:
    model, data = made("merged")
    graph = onnx.load_model_from_string(data)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert graph.ir_version == 8
    assert graph.producer_name == "geoseg"
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.graph.input, *graph.graph.output)
    ]
    assert shapes == [["batch", 3, "height", "width"], ["batch", 3, "height", "width"]]
    assert exported(model) == data
    assert str(Path(__file__).resolve().parents[2]).encode() not in data


def test_overlap_is_in_per_cent_of_the_tile_rounded_up() -> None:
    model = make_model(tile_size=512, overlap=96)
    assert metadata(model)["tiles_overlap"] == "22"  # 112 pixels; 19 %, 97 pixels, would cut cells
    assert metadata(model, 64)["tiles_overlap"] == "50"  # the most that it takes, though less than the network sees
    assert metadata(model, 1000)["tile_size"] == "1000"
    assert "resolution" not in metadata(model)


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnavailableError, match=r"pip install 'geoseg\[onnx\]'"):
        exported(make_model())


def test_a_network_that_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Exporting the operator 'aten::odd' is not supported\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(InputError, match=r"compact has no form in ONNX opset 17 \(Exporting the operator"):
        exported(make_model())


@pytest.mark.soak
@pytest.mark.parametrize("encoder", ["mobilenet_v2", "resnet18", "efficientnet-b0", "mit_b0"])
def test_encoders_agree(encoder: str) -> None:
    model = make_model(encoder=encoder)
    data = exported(model)
    for batch, rows, cols in SHAPES:
        images = np.random.default_rng(rows).normal(0, 1, (batch, 3, rows, cols)).astype(np.float32)
        assert assert_agree(model, data, images)[1] >= 0.9999


@pytest.mark.soak
@pytest.mark.data
@pytest.mark.parametrize("encoder", ["compact", "mobilenet_v2"])
def test_trained_models_agree_on_real_windows(encoder: str, data: Callable[[str], Path], tmp_path: Path) -> None:
    path = data("naip_rgbnir/m_4709963_se_14_1_20200831.tif")
    trained = geoseg.train(path, tmp_path / "m.safetensors", encoder=encoder, steps=60, seed=1)
    model = load_model(trained.model)
    file = exported(model)
    same, count = 0.0, 0
    with Scene(path) as scene:
        pixels, valid = scene.read(scene.extent)
    for size, batch in ((256, 4), (500, 2), (333, 1)):
        windows = [np.s_[k * 40 : k * 40 + size, k * 90 : k * 90 + size] for k in range(batch)]
        images = np.stack([model.stats.normalise(pixels[:, *at], valid[at]) for at in windows])
        found, share = assert_agree(model, file, images)
        assert len(np.unique(found.argmax(1))) > 3
        same, count = same + share * found[:, 0].size, count + found[:, 0].size
    assert same / count >= 0.9999
