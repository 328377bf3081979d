"""A training from folder to model: which data a recipe takes, what of it is read, and what the model keeps of it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from helpers.commandline import Outcome, assert_map_of, geoseg, untouched
from helpers.miniatures import make_coco, make_patches, make_real_coco, make_real_potsdam, make_tiles
from helpers.rasters import landscape, make_raster
from PIL import Image

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig, Weights
from geoseg.datasets import potsdam_tiles
from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.dataset import DatasetImage
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.datasets.potsdam import Potsdam
from geoseg.errors import OutputError
from geoseg.grid import Window
from geoseg.jobs import train as training_job
from geoseg.jobs.colouring import in_own_colours
from geoseg.jobs.job import follow
from geoseg.jobs.train import TrainJob
from geoseg.learning import loop
from geoseg.learning.imagery import Imagery
from geoseg.learning.patches import NORMALISATION_STEPS, PatchSampler
from geoseg.learning.step import Step
from geoseg.learning.trainer import Trainer
from geoseg.model.file import load_model
from geoseg.model.normalisation import settle_statistics
from geoseg.raster.scene import Scene
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats, band_stats
from geoseg.recipes import RECIPES, Recipe, RecipeName, SuperpixelConfig

Train = Callable[..., Outcome]

BRIEF: dict[str, Any] = {"steps": 2, "batch_size": 2, "patch_size": 64, "precision": "float32"}


def small_mixture(config: TrainConfig) -> Recipe:
    """The recipe of `config` with a mixture that takes no time: a training of a few steps needs no better one."""
    return replace(config.settled, mixture_superpixels=2000)


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Train:
    """Return a function: `geoseg train` of two steps, to m.safetensors."""

    def run(folder: Path, *more: object) -> Outcome:
        brief = (
            "--steps",
            2,
            "--batch-size",
            2,
            "--patch-size",
            64,
            "--out",
            tmp_path / "m.safetensors",
            "--overwrite",
        )
        return geoseg(capsys, "train", "--data", folder, *brief, *more)

    return run


def trained(folder: Path, out: Path, statistics_images: int = 2000, **settings: Any) -> dict[str, Any]:
    """The provenance of the model that a brief training leaves at `out`."""
    config = TrainConfig(folder, out, **{**BRIEF, **settings})
    with TrainJob(config, recipe=small_mixture(config), statistics_images=statistics_images) as training:
        assert len(list(training.run())) == 2
    return dict(load_model(out).provenance)


def test_the_number_of_threads_does_not_change_the_model(plain: Path, tmp_path: Path) -> None:
    """Not even of patches so small that they form one group."""
    models = []
    for threads in (1, 3):
        trained(plain, tmp_path / "m.safetensors", threads=threads, patch_size=128, overwrite=True)
        models.append((tmp_path / "m.safetensors").read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("name", ["potsdam3", "potsdam6", "cocostuff3", "cocostuff15"])
def test_a_protocol_is_trained_and_scored(
    name: RecipeName, tiles: Path, coco: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    potsdam = name.startswith("potsdam")
    folder, path = tiles if potsdam else coco, tmp_path / "m.safetensors"
    with untouched(folder):
        assert train(folder, "--recipe", name).code == 0
        outcome = geoseg(capsys, "-q", "evaluate", path, "--data", folder, "--json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["protocol"]) == (0, name)
    model = load_model(path)
    assert model.bands == ("red", "green", "blue", "nir")[: 4 if potsdam else 3]
    assert (model.dtype, model.spec.edges) == ("uint8", not potsdam)
    assert model.superpixels == SuperpixelConfig(RECIPES[name].superpixel_size)
    assert len(model.classes) == len(report["classes"]) == RECIPES[name].classes
    assert np.shape(report["confusion"]) == (RECIPES[name].classes,) * 2
    images = {"potsdam3": 6, "potsdam6": 6, "cocostuff3": 2, "cocostuff15": 3}[name]
    assert model.provenance["data"]["scenes"] == images
    assert report["images"] == (4 if potsdam else images)
    side = 200 if potsdam else 128
    assert report["pixels"] + report["ignored_pixels"] == report["images"] * side * side
    assert (tmp_path / "m.png").exists()


@pytest.mark.parametrize(("shares", "fitted"), [((0.25, 1.0), True), ((0.0, 0.0), False)])
def test_the_model_keeps_the_mixture_that_training_leaned_on(
    tmp_path: Path, shares: tuple[float, float], fitted: bool
) -> None:
    make_raster(tmp_path / "scene.tif", landscape(300, 300))
    config = TrainConfig(tmp_path, tmp_path / "m.safetensors", **BRIEF)
    recipe = replace(
        config.settled, start_share=shares[0], anchor_weight=shares[1], checkpoint_every=1, classes=3,
        mixture_superpixels=100,
    )  # fmt: skip
    with TrainJob(config, recipe=recipe) as training, closing(training.run()) as steps:
        next(steps)
    with TrainJob(replace(config, resume=True), recipe=recipe) as training:
        assert [step.step for step in training.run()] == [2]
    model = load_model(tmp_path / "m.safetensors")
    assert model.appearance is not None
    assert model.appearance.shares.sum() == pytest.approx(1)
    assert model.classes != ClassMap.default(len(model.classes))
    assert model.classes == in_own_colours(model).classes
    experts = model.experts
    assert (experts is not None) == fitted
    if experts is not None:
        assert (experts.mixture.start, experts.exponents, experts.coupling) == ("hue", (0.5, 0.5), 6)
        assert 0.25 <= experts.temperature <= 8
        assert experts.temperature != 1
        assert experts.mixture.means.shape == (3, 4)
        assert 0 < float(experts.mixture.deviation.min()) <= float(experts.mixture.deviation.max()) < 5


@pytest.mark.parametrize(("recipe", "size"), [("orthophoto", 16), ("potsdam6", 12), ("cocostuff15", 8)])
def test_superpixels_are_those_of_the_recipe_unless_given(recipe: Any, size: int) -> None:
    assert TrainConfig(Path("d"), recipe=recipe).superpixels == SuperpixelConfig(size)
    own = TrainConfig(Path("d"), recipe=recipe, superpixel_size=9)
    assert (own.superpixels, own.settled.superpixel_size) == (SuperpixelConfig(9), 9)


def test_a_folder_is_recognised_and_told(
    tiles: Path, coco: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    make_raster(plain / "a.tif", landscape(90, 90))
    chosen = []

    def choose(job: TrainJob, command: str = "") -> Iterator[Step]:
        chosen.append(job.config.recipe)
        yield from ()

    monkeypatch.setattr(TrainJob, "run", choose)

    def said(folder: Path, *more: object) -> list[str]:
        return [line for line in train(folder, *more).said if "looks like" in line]

    told = f"{tiles} looks like Potsdam: "
    assert said(tiles) == [told + "training by its protocol, --recipe potsdam6"]
    assert said(tiles, "--recipe", "potsdam3") == []
    assert said(tiles, "--recipe", "quick", "--bands", "1,2,3") == [told + "--recipe potsdam6 trains by its protocol"]
    told = f"{coco} looks like COCO-Stuff: "
    assert said(coco) == [told + "training by its protocol, --recipe cocostuff15"]
    assert said(coco, "--recipe", "cocostuff3") == []
    assert said(coco, "--recipe", "orthophoto") == [told + "--recipe cocostuff15 trains by its protocol"]
    assert said(plain) == []
    assert chosen == ["potsdam6", "potsdam3", "quick", "cocostuff15", "cocostuff3", "orthophoto", "orthophoto"]
    assert_refused_bands(train(tiles, "--bands", "1,2,3"))


def assert_refused_bands(outcome: Outcome) -> None:
    assert outcome.code == 78
    assert "recipe potsdam6 has bands of its own" in outcome.said[-1]
    assert "--recipe orthophoto" in outcome.said[-1]


def test_scenes_that_are_named_are_imagery(tiles: Path, tmp_path: Path) -> None:
    scenes = sorted((tiles / "4_Ortho_RGBIR").glob("*.tif"))[:2]
    with TrainJob(TrainConfig(tiles, tmp_path / "m.safetensors"), scenes) as training:
        assert (training.config.recipe, training.dataset.count) == ("orthophoto", 2)
        assert isinstance(training.dataset, Orthophotos)
        assert training.opening().startswith("learning 24 classes from 2 scenes on cpu")


def test_labels_are_never_taken_for_imagery(tiles: Path, coco: Path, tmp_path: Path) -> None:
    cut = make_patches(tmp_path / "cut", ["1", "2"], ["1", "2"], ".png")
    (cut / "labelled_train.txt").write_text("1\n")
    beside = make_coco(tmp_path / "beside", maps="")
    named = make_tiles(tmp_path / "named", {"2_10": True})
    (named / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif").rename(named / "top_potsdam_2_10_label.tif")
    expected = {
        tiles: {f"top_potsdam_{tile}_RGBIR.tif" for tile in ("2_10", "6_10", "6_7")},
        named: {"top_potsdam_2_10_RGBIR.tif"},
        cut: {"1.png", "2.png"},
        coco: {"000000000009.jpg", "000000000025.jpg", "000000000139.jpg"},
        beside: {"000000000009.jpg", "000000000025.jpg", "000000000139.jpg"},
    }
    for folder, names in expected.items():
        config = TrainConfig(folder, tmp_path / "m.safetensors", recipe="orthophoto", bands=(1, 2, 3))
        with TrainJob(config) as training:
            assert {path.name for path in training.dataset.files} == names
            assert not any(path.parent.name == "gt" for path in training.dataset.files)


def test_training_on_potsdam_reads_no_label(tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Scene.read

    def watched(scene: Scene, window: Window) -> Any:
        assert "Label" not in str(scene.path), "a label map was read"
        return read(scene, window)

    monkeypatch.setattr(Scene, "read", watched)
    monkeypatch.setattr(potsdam_tiles, "label_classes", lambda *_, **__: pytest.fail("labels were read"))
    monkeypatch.setattr(Potsdam, "labels", lambda *_: pytest.fail("labels were asked for"))
    assert trained(tiles, tmp_path / "m.safetensors")["recipe"]["name"] == "potsdam6"


def test_training_on_cocostuff_takes_nothing_but_the_mask(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the classes of the label maps dealt out anew, every weight is the same."""
    states = []
    for turn in range(2):
        out = tmp_path / f"{turn}.safetensors"
        trained(coco, out, recipe="cocostuff15")
        states.append(load_model(out).network.state_dict())
        labels = CocoStuff._labels
        monkeypatch.setattr(
            CocoStuff, "_labels", lambda *a, labels=labels: np.where(labels(*a) < 0, -1, 14 - labels(*a))
        )
    assert all((value == states[1][name]).all() for name, value in states[0].items())


def bright(masked: bool, seed: int) -> DatasetImage:
    """A 64 x 64 image that is bright exactly where it counts: in fields of 16 px."""
    counts = np.kron(np.random.default_rng(seed).integers(0, 2, (4, 4)), np.ones((16, 16), int)).astype(bool)
    pixels = np.stack([np.where(counts, 220 - 20 * band, 30 + 20 * band) for band in range(3)]).astype(np.uint8)
    valid = np.ones((64, 64), bool)
    valid[:3] = False
    return DatasetImage(
        Path(str(seed)), ("red", "green", "blue"), np.dtype(np.uint8), lambda: (64, 64), lambda: (pixels, valid),
        (lambda: counts) if masked else None,
    )  # fmt: skip


def sampling(*images: DatasetImage) -> PatchSampler:
    """Patches of 64 px, all of an image each."""
    stats = BandStats((125.0,) * 3, (60.0,) * 3, (0.0,) * 3, (255.0,) * 3, 1)
    return PatchSampler(Imagery(images, uniform=True), stats, SuperpixelConfig(8), (None, None), 64, seed=5)


def test_pixels_outside_the_classes_are_seen_and_do_not_count() -> None:
    whole, masked = (sampling(*(bright(on, seed) for seed in (1, 2))) for on in (False, True))
    with ThreadPoolExecutor(2) as pool:
        for step in range(4):
            one, two = whole.batch(step, 4, pool), masked.batch(step, 4, pool)
            assert (one.image == two.image).all()
            assert (one.moved == two.moved).all()
            for image, before, after in (
                (one.image, one.labels, two.labels),
                (one.moved, one.moved_labels, two.moved_labels),
            ):
                assert ((after == before) | (after == 0)).all()
                # Bright pixels count, dark ones do not.
                assert (before > 0).float().mean() > 0.6
                assert ((after > 0) == (image[:, 0] > 0))[before > 0].all()
                assert image[:, 0][(after == 0) & (before > 0)].abs().min() > 0.5
    crop, labels = masked.preview(0)
    assert ((labels > 0) == crop.valid).all()
    assert crop.pixels.std() > 50


def test_a_patch_without_a_pixel_that_counts_is_drawn_again() -> None:
    nowhere = replace(bright(True, 1), mask=lambda: np.zeros((64, 64), bool))
    sampler = sampling(nowhere, bright(True, 2))
    with ThreadPoolExecutor(1) as pool:
        assert (sampler.batch(0, 8, pool).labels.flatten(1).amax(1) > 0).all()


def test_images_of_a_protocol_are_drawn_alike_and_not_measured_for_it(tiles: Path) -> None:
    def refuse() -> tuple[int, int]:
        raise AssertionError("a header was read")

    load: Any = refuse
    unread = [DatasetImage(Path(str(i)), ("red",), np.dtype(np.uint8), refuse, load) for i in range(60_000)]
    shares = Imagery(unread, uniform=True).shares
    assert shares == pytest.approx(np.full(60_000, 1 / 60_000))
    with Scene(tiles / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif") as scene, Potsdam(tiles) as patches:
        sources: list[ImageSource] = [scene, patches.sources[0]]
        assert Imagery(sources).shares == pytest.approx([8 / 9, 1 / 9])
        assert Imagery(sources, uniform=True).shares.tolist() == [0.5, 0.5]


class SeenError(Exception):
    """Ends a training that has come as far as a test looks."""


@pytest.mark.parametrize(("recipe", "alike"), [("cocostuff15", True), ("orthophoto", False)])
def test_a_protocol_gives_each_image_the_same_chance(
    recipe: Any, alike: bool, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(imagery: Imagery, *_: object, **__: object) -> None:
        assert len(imagery.images) == 3
        assert (len(set(imagery.shares)) == 1) == alike
        raise SeenError

    monkeypatch.setattr(training_job, "PatchSampler", look)
    with TrainJob(TrainConfig(coco, tmp_path / "m.safetensors", recipe=recipe)) as training, pytest.raises(SeenError):
        next(training.run())


def test_statistics_of_a_protocol_are_those_of_images_in_equal_steps(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    data = trained(tiles, out, statistics_images=4)["data"]
    with Potsdam(tiles) as found:
        assert load_model(out).stats == band_stats([found.sources[i] for i in (0, 1, 3, 4)])
    assert data["pixels"] == 6 * 200 * 200
    assert data["names"] == [f"{tile}_r00_c0{col}" for tile in ("2_10", "6_10", "6_7") for col in (0, 1)]
    scenes = [tiles / "4_Ortho_RGBIR" / f"top_potsdam_{tile}_RGBIR.tif" for tile in ("2_10", "6_10", "6_7")]
    config = TrainConfig(tiles, tmp_path / "n.safetensors", bands=(1, 2, 3))
    with TrainJob(config, scenes, statistics_images=1) as training:
        assert training.images.measured == training.dataset.sources


def test_records_of_many_images_are_small(tmp_path: Path, tiles: Path) -> None:
    stats = BandStats((1.0,), (1.0,), (0.0,), (1.0,), 9)
    with TrainJob(TrainConfig(tiles, tmp_path / "m.safetensors")) as training:
        few = training._fingerprint(stats)
        sources = training.images.sources
        training.images.sources = sources * 9000
        many = training._fingerprint(stats)
        assert len(json.dumps(many)) < len(json.dumps(few)) + 9
        assert few["data"] != many["data"]
        training.images.sources = sources[::-1]
        assert training._fingerprint(stats)["data"] != few["data"]


@pytest.mark.parametrize(
    "name", ["4_Ortho_RGBIR/top_potsdam_2_10_RGBIR.tif", "5_Labels_for_participants/top_potsdam_6_7_label.tif"]
)
def test_data_of_a_protocol_is_not_written_over(name: str, tmp_path: Path) -> None:
    folder = make_tiles(tmp_path, {"2_10": True, "6_7": True})
    with untouched(folder), pytest.raises(OutputError, match="is the input itself"):
        TrainJob(TrainConfig(folder, folder / name, overwrite=True))


def test_a_model_of_cocostuff_maps_any_picture(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(coco, tmp_path / "m.safetensors", classes=5)
    scene, out = tmp_path / "scene.png", tmp_path / "map.tif"
    Image.fromarray(np.moveaxis(landscape(150, 210), 0, -1)).save(scene)
    assert geoseg(capsys, "-q", "predict", scene, "-m", tmp_path / "m.safetensors", "-o", out).code == 0
    assert_map_of(out, scene, np.ones((150, 210), bool))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder of one small scene."""
    (tmp_path / "plain").mkdir()
    make_raster(tmp_path / "plain" / "a.tif", landscape(150, 130))
    return tmp_path / "plain"


SHORT: dict[str, Any] = {**BRIEF, "steps": 8, "classes": 4}


def watched(folder: Path, out: Path, **settings: Any) -> tuple[Trainer, list[Step], list[bool]]:
    """A training to its end: its trainer, its steps, and whether its picture was there after each."""
    kept: list[Trainer] = []

    class Kept(Trainer):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            kept.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_job, "Trainer", Kept)
        config = TrainConfig(folder, out, **{**SHORT, **settings})
        with TrainJob(config, recipe=small_mixture(config)) as training:
            made = [(step, training.picture.exists()) for step in training.run()]
    return kept[0], [step for step, _ in made], [there for _, there in made]


def test_the_model_has_the_weights_that_were_asked_for(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falling(trainer: Trainer, _: object) -> float:
        trainer.averages.consider(-trainer.step, trainer.step)
        return -trainer.step

    monkeypatch.setattr(Trainer, "validate", falling)
    models, trainers = {}, {}
    for weights in get_args(Weights):
        out = tmp_path / f"{weights}.safetensors"
        trainers[weights], *_ = watched(plain, out, weights=weights)
        models[weights] = load_model(out)
        record = models[weights].provenance
        assert (record["weights"], record["selected"]) == (weights, {"step": 5, "criterion": -5})
        assert record["steps"] == 8
    averages = trainers["last"].averages
    assert averages.selected is not None
    for weights, expected in (("last", averages.last), ("selected", averages.selected["weights"])):
        own = dict(models[weights].network.named_parameters())
        assert all(torch.equal(value, own[name]) for name, value in expected.items())
    own = dict(trainers["last"].network.named_parameters())
    assert not all(torch.equal(value, own[name]) for name, value in averages.last.items())


def test_statistics_of_normalisation_are_those_of_the_weights_in_the_model(plain: Path, tmp_path: Path) -> None:
    trainer, *_ = watched(plain, tmp_path / "m.safetensors")
    network = load_model(tmp_path / "m.safetensors").network
    expected = copy.deepcopy(network)
    with ThreadPoolExecutor(1) as pool:
        count = training_job.NORMALISATION_BATCHES
        images = [trainer.sampler.batch(NORMALISATION_STEPS + i, 2, pool).image for i in range(count)]
    settle_statistics(expected, images, torch.float32)
    for name, value in network.named_buffers():
        assert torch.allclose(value.float(), dict(expected.named_buffers())[name].float(), atol=1e-5)


@pytest.mark.parametrize("weights", get_args(Weights))
def test_a_training_that_was_never_judged_has_the_last_weights(
    plain: Path, tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "validate", lambda *_: math.nan)
    trainer, _, pictures = watched(plain, tmp_path / "m.safetensors", weights=weights)
    model = load_model(tmp_path / "m.safetensors")
    assert (model.provenance["weights"], model.provenance["selected"]) == ("last", None)
    own = dict(model.network.named_parameters())
    assert all(torch.equal(value, own[name]) for name, value in trainer.averages.last.items())
    assert not any(pictures)
    assert (tmp_path / "m.png").exists()


def test_weights_are_chosen_anew_where_a_training_is_resumed(plain: Path, tmp_path: Path) -> None:
    """They decide no step: another choice continues the same training."""
    out, settings = tmp_path / "m.safetensors", {**SHORT, "steps": 27}
    with TrainJob(TrainConfig(plain, out, **settings, weights="last")) as training:
        for step in training.run():
            if step.step == 26:
                break
    with TrainJob(TrainConfig(plain, out, **settings, weights="selected", resume=True)) as training:
        assert [step.step for step in training.run()] == [26, 27]
    assert load_model(out).provenance["weights"] == "selected"


@pytest.mark.parametrize(("classes", "start"), [(12, "brightness"), (13, "hue")])
def test_the_mixture_tells_classes_apart_as_the_recipe_says(
    plain: Path, tmp_path: Path, classes: int, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few classes, as if there were little colour."""
    monkeypatch.setattr(loop, "colourfulness", lambda _: 0.0)

    def look(sampler: PatchSampler, *_: object) -> None:
        assert sampler.start == start
        raise SeenError

    monkeypatch.setattr(PatchSampler, "batch", look)
    with (
        TrainJob(TrainConfig(plain, tmp_path / "m.safetensors", **{**SHORT, "classes": classes})) as training,
        pytest.raises(SeenError),
    ):
        next(training.run())


def test_the_criterion_is_in_the_log_where_weights_were_judged(plain: Path, tmp_path: Path) -> None:
    _, steps, _ = watched(plain, tmp_path / "m.safetensors", steps=40)
    log = [json.loads(line) for line in (tmp_path / "m.metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 41))
    judged = [line["step"] for line in log if line["criterion"] is not None]
    assert judged == list(range(22, 41, 2))
    assert {line["phase"] for line in log if line["criterion"] is None} == {0, 1, 2}
    for line, step in zip(log, steps, strict=True):
        assert line["anchor"] == step.anchor
        assert line["criterion"] == (step.criterion if line["step"] in judged else None)


def test_there_is_a_picture_as_soon_as_weights_were_judged(plain: Path, tmp_path: Path) -> None:
    _, steps, pictures = watched(plain, tmp_path / "m.safetensors")
    assert pictures == [step.step > 4 for step in steps]


def test_early_pictures_are_of_the_averaged_weights_and_change_nothing(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, *_ = watched(plain, tmp_path / "m.safetensors")
    seen = []

    def look(trainer: Trainer, *_: object) -> Any:
        own = dict(trainer.network.named_parameters())
        seen.append(all(torch.equal(value, own[name]) for name, value in trainer.averages.last.items()))
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(training_job, "training_picture", look)
    again, steps, _ = watched(plain, tmp_path / "again.safetensors", weights="last")
    assert seen == [True] * (1 + sum(math.isfinite(step.criterion) for step in steps))
    assert len(seen) > 1
    state = again.network.state_dict()
    names = [name for name, _ in trainer.network.named_parameters()]
    assert all(torch.equal(trainer.network.state_dict()[name], state[name]) for name in names)


def test_a_time_limit_makes_the_number_of_steps_an_estimate(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(trainer: Trainer, _: object) -> Iterator[Step]:
        for trainer.step, trainer.progress in enumerate((0.002, 0.25, 0.5, 0.75, 1.02), 1):
            yield Step(trainer.step, 1000, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    monkeypatch.setattr(training_job, "train", timed)
    config = TrainConfig(plain, tmp_path / "m.safetensors", **{**SHORT, "steps": 1000}, minutes=1)
    with TrainJob(config) as training:
        assert training.opening().endswith("at most 1000 steps or 1 minutes")
        with closing(training.run()) as steps:
            assert [training.total for _, _ in zip(range(5), steps, strict=False)] == [500, 8, 6, 5, 5]


def test_a_resumed_training_whose_time_is_used_up_is_complete(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(trainer: Trainer, _: object) -> Iterator[Step]:
        for step in training_loop(trainer):
            trainer.progress = step.step / 2
            yield step

    training_loop = training_job.train
    config = TrainConfig(plain, tmp_path / "m.safetensors", **{**SHORT, "steps": 1000}, minutes=1)
    recipe = replace(config.settled, checkpoint_every=2)
    with monkeypatch.context() as patch, TrainJob(config, recipe=recipe) as training:
        patch.setattr(training_job, "train", timed)
        with closing(training.run()) as steps:
            assert [step.step for _, step in zip(range(2), steps, strict=False)] == [1, 2]
    with TrainJob(replace(config, resume=True), recipe=recipe) as training:
        assert training.opening().endswith("at most 1000 steps or 1 minutes; continues after step 2")
        assert [(event.kind, event.done, event.total) for event in follow(training)] == [
            ("start", 2, 1000), ("end", 2, 2),
        ]  # fmt: skip


def test_too_few_superpixels_for_the_classes_are_one_line(tmp_path: Path, plain: Path, train: Train) -> None:
    outcome = train(plain, "--classes", 600, "--superpixel-size", 64, "--recipe", "quick")
    assert (outcome.code, outcome.out) == (65, "")
    assert outcome.said[-1].startswith("geoseg: error: the imagery has about ")
    assert "too few for 600 classes" in outcome.said[-1]
    assert "--superpixel-size" in outcome.said[-1]
    assert not (tmp_path / "m.safetensors").exists()


def test_weights_of_an_encoder_need_an_encoder(plain: Path, tmp_path: Path, train: Train) -> None:
    outcome = train(plain, "--encoder-weights", "imagenet")
    assert outcome.code == 78
    assert "--encoder resnet18" in outcome.said[-1]
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("encoder", ["compact", "mobilenet_v2"])
def test_both_kinds_of_network_are_trained_and_map(
    encoder: str, plain: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(plain, "--encoder", encoder, "--classes", 5).code == 0
    model, out = load_model(tmp_path / "m.safetensors"), tmp_path / "map.tif"
    assert model.spec.encoder == encoder
    scene = plain / "a.tif"
    assert geoseg(capsys, "-q", "predict", scene, "-m", tmp_path / "m.safetensors", "-o", out).code == 0
    assert_map_of(out, scene, np.ones((150, 130), bool))


@pytest.mark.data
@pytest.mark.parametrize("name", ["potsdam6", "cocostuff15", "cocostuff3"])
def test_real_data_is_trained_and_scored(
    name: str, data: Callable[[str], Path], tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    partial(make_real_potsdam if name == "potsdam6" else make_real_coco, folder)(data)
    assert train(folder, "--recipe", name).code == 0
    outcome = geoseg(capsys, "-q", "evaluate", tmp_path / "m.safetensors", "--data", folder, "--json")
    report = json.loads(outcome.out)
    assert report["images"] == {"potsdam6": 1, "cocostuff15": 8, "cocostuff3": 4}[name]
    assert 0 < report["one_to_one"]["accuracy"] <= report["many_to_one"]["accuracy"] < 1
    assert report["uncovered_pixels"] == 0
