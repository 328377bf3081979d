"""Training data with faults: all of them in one report, or left out where that is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commandline import Outcome, assert_refused, geoseg, training_with, untouched
from helpers.miniatures import make_coco, make_patches, make_tiles
from helpers.rasters import landscape, make_raster
from PIL import Image
from scipy.io import savemat

from geoseg.config import TrainConfig
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.jobs.train import TrainJob
from geoseg.model.file import load_model
from geoseg.raster.statistics import band_stats

BRIEF: dict[str, Any] = {"steps": 6, "batch_size": 2, "patch_size": 64, "classes": 4, "precision": "float32"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five files: two scenes, of which one is there twice, one that is no raster, one whose pixels are damaged."""
    path = tmp_path / "data"
    path.mkdir()
    for i in range(4):
        make_raster(path / f"{i}.tif", landscape(90, 100, seed=i), compress="deflate")
    (path / "1.tif").write_text("no raster")
    damaged = bytearray((path / "2.tif").read_bytes())
    start = len(damaged) * 3 // 10
    damaged[start : start + 500] = b"\xff" * 500
    (path / "2.tif").write_bytes(damaged)
    Image.fromarray(np.moveaxis(landscape(90, 100, seed=3), 0, -1)).save(path / "3.png")
    return path


def train(capsys: pytest.CaptureFixture[str], folder: Path, *more: object) -> Outcome:
    brief = ("--steps", 2, "--batch-size", 2, "--patch-size", 64)
    return geoseg(
        capsys, "-q", "train", "--data", folder, "-o", folder.parent / "m.safetensors", *brief, "--classes", 4, *more
    )


def test_all_faults_are_in_one_report(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with untouched(tmp_path):
        outcome = train(capsys, folder)
    assert (outcome.code, outcome.out) == (65, "")
    assert [line.split(": ")[0] for line in outcome.said] == [
        *(str(folder / name) for name in ("1.tif", "3.tif")), "geoseg"
    ]  # fmt: skip
    assert "is a duplicate of 3.png" in outcome.said[1]
    assert "2 of 5 images cannot be used" in outcome.said[-1]
    assert "--max-bad 2" in outcome.said[-1]


def test_what_only_decoding_shows_counts_too(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    outcome = train(capsys, folder, "--max-bad", 2)
    assert outcome.code == 65
    assert any(line.startswith(f"{folder / '2.tif'}: ") and "cannot be decoded" in line for line in outcome.said[:-1])
    assert len(outcome.said) == 4
    assert "3 of 5 images cannot be used" in outcome.said[-1]
    assert not list(tmp_path.glob("m*"))


def test_training_goes_on_without_as_many_as_may_be_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(capsys, folder, "--max-bad", 3).code == 0
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == len(set(told)) == 3
    assert load_model(tmp_path / "m.safetensors").provenance["data"]["names"] == ["0.tif", "3.png"]
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("0.tif", "3.png"):
        (folder / name).rename(alone / name)
    first = load_model(tmp_path / "m.safetensors").network.state_dict()
    assert train(capsys, alone, "--overwrite").code == 0
    again = load_model(tmp_path / "m.safetensors").network.state_dict()
    assert all((value == again[name]).all() for name, value in first.items())


def test_a_folder_of_nothing_but_faults_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.glob("[023].*"):
        path.unlink()
    assert_refused(train(capsys, folder, "--max-bad", 9), 65, folder / "1.tif", "is text")


def test_a_long_report_ends_in_a_count(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:02}.tif" for i in range(25)]
    for path in paths:
        path.write_text("no\nraster")
    with pytest.raises(InputError, match="25 of 25 images cannot be used") as caught:
        Orthophotos(paths)
    details = caught.value.details
    assert len(details) == 21
    assert details[-1] == "... and 5 more"
    assert not any("\n" in line for line in details)


def test_names_that_repeat_in_other_folders_are_no_faults(tmp_path: Path) -> None:
    for year in ("2019", "2020"):
        (tmp_path / year).mkdir()
        make_raster(tmp_path / year / "a.tif", landscape(70, 70))
    with Orthophotos(sorted(tmp_path.rglob("*.tif"))) as found:
        assert found.count == 2


def make_bad_coco(folder: Path) -> Path:
    """An image that is cut off in its header, a map of another size, and one of ids there are not."""
    make_coco(folder)
    maps = folder / "stuffthingmaps"
    (folder / "train2017" / "000000000009.jpg").write_bytes(b"\xff\xd8\xff\xe0\0")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(maps / "train2017" / "000000000025.png")
    return folder


def test_images_and_maps_of_cocostuff_are_looked_at_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_bad_coco(tmp_path / "data")
    with untouched(tmp_path):
        outcome = train(capsys, folder)
    assert outcome.code == 65
    assert "000000000009.jpg: cannot be decoded" in outcome.err
    assert "000000000025.png: has 9 x 9 pixels, its image" in outcome.err
    assert "2 of 3 images cannot be used" in outcome.said[-1]
    assert train(capsys, folder, "--max-bad", 2).code == 0
    data = load_model(tmp_path / "m.safetensors").provenance["data"]
    assert (data["scenes"], data["names"]) == (1, ["000000000139.jpg"])


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """COCO-Stuff with ids that there are not in one map."""
    folder = make_coco(tmp_path / "data")
    path = folder / "stuffthingmaps" / "train2017" / "000000000025.png"
    Image.fromarray(np.full((390, 401), 200, np.uint8)).save(path)
    return folder


def test_ids_there_are_not_are_found_while_training(strange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train(capsys, strange)
    assert_refused(outcome, 65, "000000000025.png", "ids above 181")
    assert train(capsys, strange, "--max-bad", 1).code == 0


def test_law_8_a_resumed_training_leaves_out_what_the_uninterrupted_one_did(
    strange: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    brief_training = training_with(checkpoint_every=2, mixture_superpixels=2000)
    config = TrainConfig(strange, tmp_path / "m.safetensors", **BRIEF, max_bad=1)
    with brief_training(config) as training:
        assert len(list(training.run())) == 6
    assert caplog.text.count("left out") == 1
    again = replace(config, out=tmp_path / "n.safetensors")
    with brief_training(again) as training:
        for step in training.run():
            if step.step == 3:
                break
    with brief_training(replace(again, resume=True)) as training:
        assert [step.step for step in training.run()] == [3, 4, 5, 6]
    assert again.out.read_bytes() == config.out.read_bytes()


def test_patches_of_potsdam_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_patches(tmp_path / "data", [str(i) for i in range(1, 7)], ["1", "2"], ".mat")
    savemat(folder / "imgs" / "2.mat", {"img": np.zeros((200, 190, 4), np.uint8)})
    savemat(folder / "imgs" / "3.mat", {"image": np.zeros(3, np.uint8)})
    (folder / "imgs" / "4.mat").write_text("nothing")
    (folder / "imgs" / "5.png").write_bytes((folder / "imgs" / "6.mat").read_bytes())
    (folder / "unlabelled_train.txt").write_text("".join(f"{i}\n" for i in range(1, 7)))
    with untouched(tmp_path):
        outcome = train(capsys, folder, "--recipe", "potsdam3", "--max-bad", 3)
    assert outcome.code == 65
    for told in (
        "imgs/5.png: is a duplicate of 5.mat", "2.mat: is 4 x 200 x 190 of uint8; a patch is",
        "3.mat: holds no array called img", "4.mat: cannot be read as a MATLAB file",
    ):  # fmt: skip
        assert told in outcome.err
    assert "4 of 6 images cannot be used" in outcome.said[-1]
    assert train(capsys, folder, "--recipe", "potsdam3", "--max-bad", 4).code == 0
    assert load_model(tmp_path / "m.safetensors").provenance["data"]["names"] == ["1", "6"]


def test_tiles_of_potsdam_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_tiles(tmp_path / "data", {"2_10": True, "2_11": True, "2_12": True})
    images, labels = folder / "4_Ortho_RGBIR", folder / "5_Labels_for_participants"
    (images / "top_potsdam_2_10_RGBIR.tif").write_text("nothing")
    make_raster(labels / "top_potsdam_2_11_label.tif", landscape(400, 400))
    names = [f"{tile}_r00_c0{col}" for tile in ("2_10", "2_11", "2_12") for col in (0, 1)]
    (folder / "labelled_train.txt").write_text("\n".join(names))
    outcome = train(capsys, folder)
    assert outcome.code == 65
    assert "2_10_RGBIR.tif: is text" in outcome.err
    assert "2_11_label.tif: has 400 x 400 pixels" in outcome.err
    assert train(capsys, folder, "--max-bad", 2).code == 0
    assert load_model(tmp_path / "m.safetensors").provenance["data"]["names"] == names[4:]


def test_bad_images_warn_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = BadImages(2)
    for _ in range(3):
        bad.add(tmp_path / "a", InputError("a: is bad"))
        bad.add(tmp_path / "a", InputError("a: is worse"))
        bad.enforce_limit(9)
    assert [record.getMessage() for record in caplog.records] == ["left out: a: is bad"]


def test_what_is_left_out_is_in_no_statistics(tmp_path: Path) -> None:
    """Not even the part that could be read before the damage."""
    folder = tmp_path / "data"
    folder.mkdir()
    good = make_raster(folder / "good.tif", landscape(90, 100))
    bad = make_raster(folder / "tall.tif", landscape(4200, 64), compress="deflate")
    data = bytearray(bad.read_bytes())
    start = len(data) * 9 // 10
    data[start : start + 500] = b"\xff" * 500
    bad.write_bytes(data)
    with Orthophotos([bad]) as found:
        found.sources[0].read(Window.of(0, 0, 2048, 64))
    with Orthophotos([good]) as alone, TrainJob(TrainConfig(folder, tmp_path / "n.safetensors", max_bad=1)) as fresh:
        assert fresh.images.statistics() == band_stats(alone.sources)
        assert [source.path for source in fresh.images.sources] == [good]
