"""Predictions of several scenes, the models they use, and their plans."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.commandline import Outcome, assert_refused, contents, geoseg, untouched
from helpers.models import as_saved, make_model
from helpers.rasters import landscape, make_raster

from geoseg.config import PredictConfig, TrainConfig
from geoseg.errors import SettingError
from geoseg.jobs.job import Job
from geoseg.jobs.predict import PredictJob
from geoseg.location import Location
from geoseg.model.card_file import read_card
from geoseg.model.file import load_model, save_model
from geoseg.outputs.names import Outputs
from geoseg.raster.scene import Scene

MODEL = "geoseg-model.safetensors"

Predict = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the scenes images/a.tif, images/b.tif and images/sub/c.tif."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.tif", "b.tif", "sub/c.tif")):
        make_raster(tmp_path / "images" / name, landscape(80, 90, seed=seed))
    return tmp_path


@pytest.fixture
def predict(folder: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: `geoseg predict` with the small model."""
    return lambda *arguments: geoseg(capsys, "predict", *arguments, "-m", model_path)


class FakeTraining(Job[int]):
    """Writes an untrained model of three classes, with the provenance of a training."""

    stage, unit, total = "train", "step", 1

    def __init__(self, config: TrainConfig, scenes: Sequence[Location], reason: str) -> None:
        self.config, self.scenes, self.reason = config, scenes, reason

    def opening(self) -> str:
        return self.reason

    def close(self) -> None:
        """Nothing is open."""

    def run(self, command: str = "") -> Generator[int]:
        with Scene(self.scenes[0], self.config.bands, quiet=True) as scene:
            bands = scene.band_names
        data = {"names": [scene.name for scene in self.scenes]}
        provenance = {"recipe": {"name": self.config.recipe}, "data": data}
        save_model(replace(make_model(classes=3), bands=bands, provenance=provenance), self.config.out)
        for suffix in (".metrics.jsonl", ".png"):
            self.config.out.with_suffix(suffix).touch()
        yield 1


@pytest.fixture
def learning(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Return a function: `geoseg predict` without a model, with a training that takes no time."""
    monkeypatch.setattr("geoseg.jobs.predictions.TrainJob", FakeTraining)
    return lambda *arguments: geoseg(capsys, "predict", *arguments)


def names_in(folder: Path) -> set[str]:
    return {name for name, content in contents(folder).items() if isinstance(content, bytes)}


def test_a_folder_of_scenes_into_a_folder_that_is_not_yet_there(folder: Path, predict: Predict) -> None:
    outcome = predict("images", "-o", "maps/", "--confidence", "sure", "--polygons", "outlines")
    assert outcome.code == 0, outcome.err
    assert outcome.out.split() == [f"maps/{name}-classes.tif" for name in "abc"]
    assert {path.name for path in (folder / "sure").iterdir()} == {
        f"{name}-confidence.{end}" for name in "abc" for end in ("tif", "qml")
    }
    assert (folder / "outlines" / "c-polygons.gpkg").exists()
    told = [line for line in outcome.said if not line.startswith("block ")]
    assert [line.split(" (")[0] for line in told[1:4]] == ["images/a.tif", "images/b.tif", "images/sub/c.tif"]
    assert told[0].endswith("model.safetensors, 5 classes")


def test_what_is_finished_is_not_done_again_by_the_same_command(folder: Path, predict: Predict) -> None:
    assert predict("images", "-o", "maps").code == 0
    for path in (folder / "maps").glob("b-*"):
        path.unlink()
    before = contents(folder / "maps")
    outcome = predict("images", "-o", "maps")
    assert outcome.code == 0
    assert sorted(outcome.out.split()) == [f"maps/{name}-classes.tif" for name in "abc"]
    assert [line.partition(";")[0] for line in outcome.said if ";" in line] == ["3 scenes: 1 done, 2 done before"]
    assert len([line for line in outcome.said if line.startswith("block ")]) == 1
    after = contents(folder / "maps")
    assert before.items() <= after.items()


@pytest.mark.parametrize("change", ["settings", "scene", "newer", "record"])
def test_an_output_of_other_work_is_not_taken_for_finished(folder: Path, predict: Predict, change: str) -> None:
    scenes = ("images/a.tif", "images/b.tif")
    assert predict(*scenes, "-o", "maps").code == 0
    more: list[object] = []
    if change == "settings":
        more = ["--blend", "crop"]
    elif change == "scene":
        make_raster(folder / "images" / "a.tif", landscape(81, 90))
    elif change == "newer":
        later = (folder / "maps" / "a-classes.geoseg.json").stat().st_mtime_ns + 10**9
        os.utime(folder / "images" / "a.tif", ns=(later, later))
    else:
        (folder / "maps" / "a-classes.geoseg.json").write_text("{}")
    (folder / "maps" / "b-classes.geoseg.json").rename(folder / "kept")
    for path in (folder / "maps").glob("b-*"):
        path.unlink()
    before = contents(folder / "maps")
    outcome = predict(*scenes, "-o", "maps", *more)
    assert outcome.code == 73
    assert outcome.out.split() == ["maps/b-classes.tif"], "the others are mapped"
    words = {
        "settings": "with other settings (blend)", "scene": "of another scene", "newer": "and older than a.tif",
        "record": "without a record that can be read",
    }  # fmt: skip
    assert (
        outcome.said[-2]
        == f"images/a.tif: maps/a-classes.tif: exists already, {words[change]}; --overwrite replaces it"
    )
    assert before.items() <= contents(folder / "maps").items()


def test_a_misfit_does_not_stop_the_others(folder: Path, predict: Predict, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "images" / "bad.tif").write_text("<html>")
    make_raster(folder / "images" / "grey.tif", landscape(80, 90, bands=1))
    outcome = predict("images", "-o", "maps")
    assert outcome.code == 65
    assert outcome.out.split() == [f"maps/{name}-classes.tif" for name in "abc"]
    table = outcome.said[-9:-4]
    assert [line.split()[0].partition("images/")[2] for line in table] == [
        "a.tif",
        "b.tif",
        "bad.tif",
        "grey.tif",
        "sub/c.tif",
    ]
    assert [" ".join(line.split()[1:3]) for line in table[2:4]] == ["failed (65)", "failed (65)"]
    assert outcome.said[-4].startswith("5 scenes: 3 done, 2 failed; 0.0 Mpx in ")
    assert outcome.said[-1].startswith("geoseg: error: 2 of 5 scenes could not be mapped, 3 finished")
    assert "bad.tif" in outcome.said[-3]
    assert "grey.tif: 1 band" in outcome.said[-2]
    assert [message.split(": ")[0] for message in caplog.messages] == ["not mapped"] * 2
    quiet = predict("-q", "images", "-o", "others")
    assert (quiet.code, len(quiet.said)) == (65, 3)
    for name in ("bad.tif", "grey.tif"):
        (folder / "images" / name).unlink()
    assert predict("images", "-o", "maps").code == 0


@pytest.mark.parametrize(
    ("scenes", "status"),
    [
        (["images/a.tif", "none.tif"], 66),
        (["none.tif", "nor.tif"], 66),
        (["bad.tif", "none.tif", "images/a.tif"], 65),
        (["none.tif"], 66),
    ],
)
def test_the_status_is_that_of_the_misfits(folder: Path, predict: Predict, scenes: list[str], status: int) -> None:
    (folder / "bad.tif").write_text("<html>")
    outcome = predict(*scenes, "-o", "maps")
    assert outcome.code == status
    assert all((folder / "maps" / f"{Path(name).stem}-classes.tif").exists() for name in scenes if "images" in name)
    assert (folder / "maps").exists() == (Path("images/a.tif").as_posix() in scenes)


def test_names_that_clash_or_are_no_folders_are_refused_before_work(folder: Path, predict: Predict) -> None:
    make_raster(folder / "images" / "sub" / "a.tif", landscape(60, 70))
    (folder / "file").touch()
    with untouched(folder):
        assert_refused(predict("images", "-o", "maps"), 73, "images/a.tif and images/sub/a.tif", "a-classes.tif")
        for option in ("-o", "--confidence", "--polygons"):
            given = {"-o": "maps", "--confidence": "sure", "--polygons": "outlines", option: "file"}
            words = [word for pair in given.items() for word in pair]
            outcome = predict("images/a.tif", "images/b.tif", *words)
            assert_refused(outcome, 73, "file: is a file; for 2 scenes", option.replace("-o", "--out"))
        assert_refused(predict("images/a.tif", "images/b.tif", "-o", "m.tif"), 73, "m.tif", "must be a folder")
        assert_refused(predict("images/a.tif", "-o", "none/maps"), 73, "its folder none does not exist")
        assert_refused(predict("images/a.tif", "-o", "none/m.tif"), 73, "its folder none does not exist")


EXTRAS = ("--sld", "--legend", "--stac", "--datetime", "2020")


@pytest.mark.parametrize(
    ("polygons", "extras"), [(None, ()), (None, EXTRAS), ("p.shp", EXTRAS), ("p.gpkg", ()), ("p.geojson", EXTRAS)]
)
def test_the_plan_lists_every_output(
    folder: Path, predict: Predict, polygons: str | None, extras: tuple[str, ...]
) -> None:
    arguments = ["images/a.tif", "-o", "m.tif", *extras, *(["--polygons", polygons] if polygons else [])]
    before = names_in(folder)
    with untouched(folder):
        planned = json.loads(predict(*arguments, "--dry-run").out)["outputs"]
    assert predict(*arguments).code == 0
    assert set(planned) == names_in(folder) - before
    assert planned[-1] == "m.geoseg.json"


def test_a_plan_where_nothing_exists_yet(folder: Path, learning: Predict) -> None:
    before = names_in(folder)
    with untouched(folder):
        outcome = learning("images/a.tif", "images/b.tif", "-o", "maps", "--dry-run")
    assert outcome.code == 0, outcome.err
    plans = json.loads(outcome.out)
    assert [Path(plan["scene"]).name for plan in plans] == ["a.tif", "b.tif"]
    assert (plans[0]["model"], plans[0]["learns_model"]["classes"]) == (f"maps/{MODEL}", 8)
    assert learning("images/a.tif", "images/b.tif", "-o", "maps").code == 0
    planned = {path for plan in plans for path in (*plan["outputs"], *plan["learns_model"]["outputs"])}
    assert planned == names_in(folder) - before


def test_a_model_that_was_learnt_here_is_used_again(folder: Path, learning: Predict) -> None:
    arguments = ("images/a.tif", "-o", "m.tif")
    model = folder / "m-model.safetensors"
    assert learning(*arguments).code == 0
    learnt = model.read_bytes()
    again = learning(*arguments, "--overwrite")
    assert again.said[0] == (
        "model m-model.safetensors, 3 classes; learnt here before from a.tif; --relearn learns it anew"
    )
    assert model.read_bytes() == learnt
    later = model.stat().st_mtime_ns + 10**9
    os.utime(folder / "images" / "a.tif", ns=(later, later))
    changed = learning(*arguments, "--overwrite")
    assert "images/a.tif is newer than m-model.safetensors: learning m-model.safetensors anew" in changed.said[0]
    other = learning("images/b.tif", "-o", "m.tif", "--overwrite")
    assert "it was learnt from a.tif, not from b.tif" in other.said[0]
    assert read_card(model)["provenance"]["data"]["names"] == ["b.tif"]
    forced = learning("images/b.tif", "-o", "m.tif", "--overwrite", "--relearn")
    assert "as --relearn says" in forced.said[0]


def test_other_bands_are_other_settings(folder: Path, learning: Predict) -> None:
    assert learning("images/a.tif", "-o", "m.tif").code == 0
    outcome = learning("images/a.tif", "-o", "m.tif", "--overwrite", "--bands", "3,2,1")
    assert "was learnt from the bands red, green, blue: learning" in outcome.said[0]
    assert read_card(folder / "m-model.safetensors")["bands"] == ["blue", "green", "red"]


def test_a_model_of_other_origin_beside_the_output_is_never_replaced_unasked(
    folder: Path, learning: Predict, model_path: Path
) -> None:
    own = folder / "m-model.safetensors"
    own.write_bytes(model_path.read_bytes())
    outcome = learning("images/a.tif", "-o", "m.tif", "--overwrite")
    assert outcome.code == 0
    assert own.read_bytes() == model_path.read_bytes()
    assert "it lies beside the output; --relearn learns another one" in outcome.said[0]


def test_a_damaged_model_beside_the_output(folder: Path, learning: Predict) -> None:
    own = folder / "m-model.safetensors"
    own.write_bytes(b"half")
    with untouched(folder):
        assert_refused(learning("images/a.tif", "-o", "m.tif"), 65, own.name, "is not a geoseg model")
    assert learning("images/a.tif", "-o", "m.tif", "--overwrite").code == 0
    assert len(load_model(own).classes) == 3


def test_the_model_of_the_working_folder_is_named_and_relearn_passes_it_by(folder: Path, learning: Predict) -> None:
    save_model(make_model(), folder / MODEL)
    kept = (folder / MODEL).read_bytes()
    assert learning("images/a.tif", "-o", "m.tif").said[0] == f"model {MODEL}, 5 classes"
    assert learning("images/a.tif", "-o", "n.tif", "--relearn").code == 0
    assert (folder / MODEL).read_bytes() == kept
    assert len(load_model(folder / "n-model.safetensors").classes) == 3
    refused = learning("images/a.tif", "-o", "o.tif", "--relearn", "-m", MODEL)
    assert_refused(refused, 78, "--relearn", "--model")


def test_scenes_that_cannot_be_read_are_not_learnt_from(folder: Path, learning: Predict) -> None:
    (folder / "images" / "bad.tif").write_text("<html>")
    outcome = learning("images", "-o", "maps")
    assert outcome.code == 65
    assert read_card(folder / "maps" / MODEL)["provenance"]["data"]["names"] == ["a.tif", "b.tif", "c.tif"]
    assert len(outcome.out.split()) == 3


def test_outputs_and_settings_must_agree(folder: Path) -> None:
    scene, out = folder / "images" / "a.tif", folder / "m.tif"
    for name in ("confidence", "polygons"):
        config = PredictConfig((scene,), out, **{name: folder / "more.gpkg"})  # type: ignore[arg-type]
        with pytest.raises(SettingError, match=rf"{name} is .*more.gpkg"):
            PredictJob(config, scene, Outputs(out, None), as_saved(make_model()))


def test_an_area_that_cannot_be_used_is_told_once_and_before_a_training(folder: Path, learning: Predict) -> None:
    make_raster(folder / "plain.tif", landscape(80, 90), crs=None)
    for scenes, options, words in (
        ("images", ("--aoi", "missing.gpkg"), "missing.gpkg"),
        ("plain.tif", ("--min-area", "20m2"), "needs a CRS"),
    ):
        outcome = learning(scenes, "-o", "maps", *options)
        assert outcome.code in (66, 78)
        assert [words in line for line in outcome.said] == [True]
    assert not (folder / "maps").exists()


def test_a_plan_does_not_speak_of_finished_scenes(folder: Path, predict: Predict) -> None:
    (folder / "images" / "broken.tif").write_bytes(b"II*")
    outcome = predict("images", "-o", "maps", "--dry-run")
    assert outcome.code == 65
    assert "finished" not in outcome.err
    assert not (folder / "maps").exists()


def test_models_beside_the_output_are_told_before_another_is_learnt(tmp_path: Path) -> None:
    from geoseg.config import PredictConfig
    from geoseg.jobs.model_choice import choose_model

    config = PredictConfig((tmp_path / "s.tif",), tmp_path / "out.tif")
    assert choose_model(config).why.startswith("no geoseg-model.safetensors here: first")
    (tmp_path / "named.safetensors").touch()
    assert "here (named.safetensors beside the output would be used by --model): first" in choose_model(config).why
