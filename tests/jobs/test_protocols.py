"""Models scored by a protocol: what is counted is worked out by hand, and what is predicted is what `predict` maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.commandline import Outcome, assert_refused, first_band, geoseg, untouched
from helpers.miniatures import make_coco, make_tiles, painted
from helpers.models import make_model, with_experts
from helpers.rasters import make_raster

from geoseg.classes import IGNORED
from geoseg.config import EvaluateConfig
from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.potsdam import Potsdam
from geoseg.evaluation.protocol import ProtocolEvaluation
from geoseg.model.file import Model, save_model
from geoseg.model.network import NetworkSpec

Evaluate = Callable[..., Outcome]

COLOURS = np.array(
    [(250, 5, 5, 5), (5, 250, 5, 5), (5, 5, 250, 5), (5, 5, 5, 250), (250, 250, 5, 5), (5, 5, 250, 250)], np.uint8
)
"""Of the clusters 1..6, far apart in every way."""


class Oracle(torch.nn.Module):
    """Says of each 4 x 4 cell which of COLOURS its first pixel has."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = NetworkSpec("oracle", 4, len(COLOURS))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 4, H, W), deviations of 50 from 120, -> (B, 6, H/4, W/4)."""
        cells = image[:, None, :, ::4, ::4] * 50 + 120
        return -((cells - torch.from_numpy(COLOURS).float().view(1, -1, 4, 1, 1)) ** 2).sum(2) / 1000


class Constant(torch.nn.Module):
    """Says cluster 2 of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = NetworkSpec("constant", 3, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 4, H/4, W/4)."""
        return torch.tensor([0.0, 1, 0, 0]).view(1, 4, 1, 1) + 0 * image[:, :1, ::4, ::4]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of train2017 and one of val2017, one of them lower than the crop."""
    return make_coco(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiles of 1 x 2 patches, the second without labels."""
    return make_tiles(tmp_path_factory.mktemp("potsdam"), {"2_10": True, "6_10": False, "6_7": True})


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Return a function: `geoseg -q evaluate ...`."""
    return lambda *arguments: geoseg(capsys, "-q", "evaluate", *arguments)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Model], Path]:
    """Return a function: the path under which this very model, whatever its network, will be loaded."""

    def put(model: Model) -> Path:
        path = tmp_path / "made.safetensors"
        path.write_bytes(b"a model")
        monkeypatch.setattr("geoseg.evaluation.sources.load_model", lambda _: model)
        return path

    return put


def scored(config: EvaluateConfig, **settings: int) -> dict[str, Any]:
    """The report of an evaluation, as JSON holds it."""
    with ProtocolEvaluation(config, **settings) as evaluation:
        run = evaluation.run()
        count = 0
        while True:
            try:
                next(run)
                count += 1
            except StopIteration as end:
                report: dict[str, Any] = end.value.to_json()
                break
        assert count == evaluation.total == report["images"]
    return report


def test_potsdam_is_scored_as_by_hand(tmp_path: Path, loaded: Callable[[Model], Path]) -> None:
    """Fields of 80 x 80 px, 40 x 40 once halved: each is one of six clusters, and one of six classes."""
    folder = make_tiles(tmp_path / "potsdam", {"2_10": True, "6_10": False})
    fields = np.arange(50).reshape(5, 10)
    truth = fields % 6
    # The match is class -> cluster 4, 6, 1, 3, 2, 5; every fifth field, a column of two, is taken for cluster 1.
    cluster = np.array([4, 6, 1, 3, 2, 5])[truth]
    cluster[fields % 5 == 0] = 1
    image, labels = (np.kron(part, np.ones((80, 80), int)) for part in (cluster, truth))
    ortho = folder / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif"
    make_raster(ortho, np.moveaxis(COLOURS[image - 1], -1, 0).copy(), photometric="minisblack")
    make_raster(folder / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif", painted(labels))
    path = loaded(replace(make_model(bands=4, classes=6), network=Oracle()))  # type: ignore[arg-type]

    report = scored(EvaluateConfig(path, data=folder, protocol="potsdam6", precision="float32"))
    counts = np.zeros((6, 6), int)
    np.add.at(counts, (cluster.ravel() - 1, truth.ravel()), 40 * 40)
    assert report["confusion"] == counts.tolist()
    right = sum(cluster.ravel() == np.array([4, 6, 1, 3, 2, 5])[truth.ravel()])
    assert right == 41
    assert report["one_to_one"]["accuracy"] == pytest.approx(right / 50)
    assert [entry["clusters"] for entry in report["one_to_one"]["classes"]] == [[4], [6], [1], [3], [2], [5]]
    assert (report["images"], report["pixels"], report["ignored_pixels"], report["uncovered_pixels"]) == (
        2, 2 * 200 * 200, 0, 0,
    )  # fmt: skip
    assert [entry["name"] for entry in report["classes"]][:2] == ["road", "building"]

    merged = scored(EvaluateConfig(path, data=folder, protocol="potsdam3", precision="float32"))
    three = np.zeros((6, 3), int)
    np.add.at(three, (cluster.ravel() - 1, np.array([0, 1, 2, 2, 0, 1])[truth.ravel()]), 40 * 40)
    assert merged["confusion"] == three.tolist()
    assert merged["protocol"] == "potsdam3"


def test_cocostuff_is_scored_as_by_hand(coco: Path, loaded: Callable[[Model], Path]) -> None:
    model = make_model(classes=4)
    path = loaded(replace(model, network=Constant()))  # type: ignore[arg-type]
    for name, classes in (("cocostuff15", 15), ("cocostuff3", 3)):
        report = scored(EvaluateConfig(path, data=coco, protocol=name))  # type: ignore[arg-type]
        with CocoStuff(coco, classes) as dataset:  # type: ignore[arg-type]
            labels = np.concatenate([dataset.labels(index).ravel() for index in dataset.labelled])
        share = np.bincount(labels[labels != IGNORED], minlength=classes)
        assert report["confusion"] == [[0] * classes, share.tolist(), [0] * classes, [0] * classes]
        assert report["one_to_one"]["accuracy"] == pytest.approx(share.max() / share.sum())
        assert report["ignored_pixels"] == (labels == IGNORED).sum()
        # Beyond the image there is neither a label nor a prediction.
        assert report["uncovered_pixels"] == 0


@pytest.mark.parametrize(("name", "smooth"), [("potsdam6", 2), ("cocostuff15", None)])
def test_what_is_scored_is_what_predict_maps(
    name: str, smooth: int | None, tiles: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = with_experts(make_model(bands=4 if name == "potsdam6" else 3)), tmp_path / "m.safetensors"
    save_model(model, path)
    folder = tiles if name == "potsdam6" else coco
    config = EvaluateConfig(path, data=folder, protocol=name, precision="float32", smooth=smooth)  # type: ignore[arg-type]
    with ProtocolEvaluation(config) as evaluation:
        found = {image.index: image.predicted for image in evaluation.predict()}
        for index in evaluation.dataset.labelled[::2]:
            pixels, valid = evaluation.dataset.image(index)
            # Transparent where the image ends; on a grid of 256 px no window is another.
            scene = make_raster(tmp_path / f"{index}.tif", pixels, photometric="minisblack", mask=valid)
            out = tmp_path / f"{index}-classes.tif"
            arguments = ("-m", path, "-o", out, "--precision", "float32", "--tile-size", 256, "--smooth", smooth or 0)
            assert geoseg(capsys, "-q", "predict", scene, *arguments).code == 0
            classes = first_band(out)
            assert len(np.unique(classes)) > 2
            assert np.array_equal(classes, found[index])


def test_batches_change_nothing(tiles: Path, tmp_path: Path) -> None:
    save_model(make_model(bands=4), tmp_path / "m.safetensors")
    config = EvaluateConfig(tmp_path / "m.safetensors", data=tiles, protocol="potsdam3", precision="float32")
    assert scored(config, batch_size=3) == scored(config)


def test_bands_are_taken_by_name(tiles: Path, loaded: Callable[[Model], Path]) -> None:
    model = make_model(bands=4)
    path = loaded(replace(model, bands=("nir", "red", "green", "blue")))
    with ProtocolEvaluation(EvaluateConfig(path, data=tiles, protocol="potsdam6")) as evaluation:
        assert evaluation.band_order == [3, 0, 1, 2]
    path = loaded(replace(model, bands=("red", "green", "blue", "band 4")))
    with ProtocolEvaluation(EvaluateConfig(path, data=tiles, protocol="potsdam6")) as evaluation:
        assert evaluation.band_order == [0, 1, 2, 3]


def test_predictions_do_not_see_labels(tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(make_model(bands=4), tmp_path / "m.safetensors")
    config = EvaluateConfig(tmp_path / "m.safetensors", data=tiles, protocol="potsdam6")
    with ProtocolEvaluation(config) as evaluation:
        before = [image.predicted for image in evaluation.predict()]
    monkeypatch.setattr(Potsdam, "labels", lambda *_: np.zeros((200, 200), np.int16))
    with ProtocolEvaluation(config) as evaluation:
        assert all(np.array_equal(a, b.predicted) for a, b in zip(before, evaluation.predict(), strict=True))


def test_the_protocol_is_that_of_the_training_unless_another_is_named(
    tiles: Path, tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = make_model(bands=4), tmp_path / "m.safetensors"
    save_model(replace(model, provenance={**model.provenance, "recipe": {"name": "potsdam3"}}), path)
    table = evaluate(path, "--data", tiles).out.splitlines()
    assert table[0].startswith(f"model {path}: steps 0, device cpu")
    assert table[0].endswith("protocol potsdam3, images 4")
    assert any(line.startswith("vegetation and tree") for line in table)
    report = json.loads(evaluate(path, "--data", tiles, "--protocol", "potsdam6", "--json").out)
    assert [entry["name"] for entry in report["classes"]][3:] == ["tree", "car", "clutter"]
    loud = geoseg(capsys, "evaluate", path, "--data", tiles)
    assert any(line.startswith("image 4/4: 100%") and "6_7_r00_c01, 0.0 Mpx" in line for line in loud.said)


def test_what_does_not_go_together(
    tiles: Path, coco: Path, tmp_path: Path, model_path: Path, evaluate: Evaluate
) -> None:
    labels = make_raster(tmp_path / "l.tif", np.ones((1, 9, 9), np.uint8))
    data = ("--data", tiles)
    refused = evaluate(model_path, *data)
    assert_refused(refused, 78, f"{model_path}: was trained by recipe test, which has no labels", "--protocol")
    assert_refused(evaluate(labels), 78, f"{labels}: is a class raster", "--labels FILE")
    named = (*data, "--protocol", "potsdam6")
    assert_refused(evaluate(model_path, *named, "--labels", labels), 78, "omit --labels or --protocol")
    for option in (("--ignore", 3), ("--label-map", labels), ("--bands", "1,2,3")):
        assert_refused(evaluate(model_path, *named, *option), 78, option[0], "goes with --labels")
    assert_refused(evaluate(model_path, *named), 65, f"{model_path}: takes 3 bands", "potsdam6 has 4", "nir")
    assert_refused(evaluate(model_path, "--data", coco, "--protocol", "potsdam6"), 66, coco, "no 4_Ortho_RGBIR")
    assert evaluate(model_path, *data, "--protocol", "potsdam9").code == 2


def test_the_picture_does_not_replace_data(coco: Path, tmp_path: Path, model_path: Path, evaluate: Evaluate) -> None:
    arguments = (model_path, "--data", coco, "--protocol", "cocostuff3", "--picture")
    assert evaluate(*arguments, tmp_path / "m.png").code == 0
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    label = coco / "stuffthingmaps" / "train2017" / "000000000009.png"
    with untouched(coco):
        assert_refused(evaluate(*arguments, label, "--overwrite"), 73, f"{label}: is the input itself")
