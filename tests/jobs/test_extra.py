"""Models with bands of other rasters: learnt and mapped with --extra, in blocks, in shards, and told where it lacks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import assert_refused, first_band, geoseg
from helpers.models import make_model
from helpers.rasters import TRANSFORM, landscape, make_raster

from geoseg.config import PredictConfig, TrainConfig
from geoseg.config.codec import decode, encode
from geoseg.extras import Extra, ExtraBands, extras_for, parse_extra
from geoseg.jobs.train import TrainJob
from geoseg.location import Remote
from geoseg.model.file import load_model, save_model


@pytest.fixture(scope="module")
def with_heights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of red, green, blue and heights."""
    path = tmp_path_factory.mktemp("model") / "heights.safetensors"
    names = ("red", "green", "blue", "dsm")
    model = replace(make_model(4), bands=names, dtype="float32", extras=(ExtraBands("dsm", 1),), file_dtype="uint8")
    save_model(model, path)
    return path


def heights(path: Path, rows: int, cols: int) -> Path:
    """Heights of half the resolution, a little off the lattice of the scene, around all of it."""
    place = TRANSFORM @ Affine.scale(2) @ Affine.translation(-4.3, -4.7)
    return make_raster(path, landscape(rows // 2 + 12, cols // 2 + 12, 1, seed=3).astype(np.float32), transform=place)


def test_law_2_a_map_with_heights_does_not_depend_on_blocks_and_shards(
    with_heights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards are computed elsewhere: they find the raster again, whatever the working directory."""
    monkeypatch.chdir(tmp_path)
    make_raster(tmp_path / "scene.tif", landscape(700, 600))
    heights(tmp_path / "dsm.tif", 700, 600)
    common = ("-q", "predict", "scene.tif", "-m", with_heights, "--precision", "float32", "--extra", "dsm.tif")
    for name, block in (("a.tif", 512), ("b.tif", 1024)):
        assert geoseg(capsys, *common, "-o", name, "--block-size", block).code == 0
    planned = ("-q", "plan", *common[1:], "-o", "c.tif", "--block-size", 512, "--shards", 2)
    outcome = geoseg(capsys, *planned)
    assert outcome.code == 0, outcome.err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for shard in (1, 2):
        outcome = geoseg(capsys, "-q", "work", tmp_path / "c.tif.run", "--shard", f"{shard}/2")
        assert outcome.code == 0, outcome.err
    assert geoseg(capsys, "-q", "finalize", tmp_path / "c.tif.run").code == 0
    maps = [first_band(tmp_path / name) for name in ("a.tif", "b.tif", "c.tif")]
    assert len(np.unique(maps[0])) > 2
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])
    record = json.loads((tmp_path / "a.geoseg.json").read_text())
    assert [entry["name"] for entry in record["scene"]["extras"]] == ["dsm.tif"]
    assert record["settings"]["more_bands"] == ["dsm"]


def test_law_5_where_there_is_no_height_there_is_no_class(
    with_heights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(300, 420))
    dsm = heights(tmp_path / "dsm.tif", 300, 420)
    with rasterio.open(dsm, "r+") as file:
        values = file.read(1)
        values[50:70, 80:120] = -9999
        file.write(values, 1)
        file.nodata = -9999
    out = tmp_path / "map.tif"
    outcome = geoseg(capsys, "predict", scene, "-m", with_heights, "-o", out, "--extra", dsm)
    assert outcome.code == 0, outcome.err
    assert any("dsm.tif: has no value in some places" in text for text in caplog.messages)
    nodata = first_band(out) == 0
    assert nodata[100:120, 160:220].all()
    assert 0.01 < nodata.mean() < 0.04
    # The scene alone does not explain the hole.
    outcome = geoseg(capsys, "check", out, "--scene", scene)
    assert outcome.code == 0, outcome.out
    assert "missing values are not checked with --extra" in outcome.out


def test_what_the_model_expects_is_demanded_by_name(
    with_heights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    dsm = heights(tmp_path / "dsm.tif", 60, 70)
    predict = ("-q", "predict", scene, "-o", tmp_path / "map.tif", "-m")
    assert_refused(geoseg(capsys, *predict, with_heights), 65, "learnt from dsm", "--extra dsm=FILE")
    save_model(make_model(), tmp_path / "plain.safetensors")
    outcome = geoseg(capsys, *predict, tmp_path / "plain.safetensors", "--extra", dsm)
    assert_refused(outcome, 65, "leave --extra out")
    outcome = geoseg(capsys, *predict, with_heights, "--extra", dsm, "--extra", f"dsm={dsm}")
    assert_refused(outcome, 78, "'dsm' is given twice")
    outcome = geoseg(capsys, *predict, with_heights, "--extra", dsm, "--extra", f"radar={dsm}")
    assert_refused(outcome, 65, "dsm, radar are given; leave out radar")
    two = make_raster(tmp_path / "two.tif", landscape(60, 70, 2))
    outcome = geoseg(capsys, *predict, with_heights, "--extra", two)
    assert_refused(outcome, 65, "two.tif: has 2 bands; the model learnt from 1 of dsm")
    five = make_raster(tmp_path / "five.tif", landscape(60, 70, 5))
    assert_refused(
        geoseg(capsys, *predict, with_heights, "--extra", five), 65, "five.tif: has 5 bands", "gdal_translate -b"
    )


def test_a_known_name_is_never_taken_for_another(caplog: pytest.LogCaptureFixture) -> None:
    """Neither are names of which one is not known, in any order, without a word."""
    expected = (ExtraBands("dsm", 1), ExtraBands("radar", 2))
    found = extras_for("s.tif", expected, [Extra("radar", Path("r.tif")), Extra("", Path("heights.tif"))])
    assert found == (Extra("dsm", Path("heights.tif")), Extra("radar", Path("r.tif")))
    (message,) = caplog.messages
    assert message.startswith("s.tif: takes heights for dsm, by their order")
    caplog.clear()
    extras_for("s.tif", expected[:1], [Extra("", Path("heights.tif"))])
    extras_for("s.tif", expected, [Extra("radar", Path("r.tif")), Extra("dsm", Path("h.tif"))])
    assert not caplog.messages


def test_commands_without_the_option_say_what_takes_it(
    with_heights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    labels = make_raster(tmp_path / "labels.tif", np.ones((1, 60, 70), np.uint8))
    taught = geoseg(capsys, "-q", "teach", with_heights, "--scene", scene, "--reference", labels)
    scored = geoseg(capsys, "-q", "evaluate", with_heights, "--data", scene, "--labels", labels)
    for outcome in (taught, scored):
        assert_refused(outcome, 65, "learnt from dsm", "only geoseg predict takes")
        assert "give it with" not in outcome.err


def test_another_raster_is_another_run(with_heights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks that were computed with other heights are not taken for these."""
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    dsm = heights(tmp_path / "dsm.tif", 60, 70)
    predict = ("-q", "predict", scene, "-o", tmp_path / "map.tif", "-m", with_heights, "--extra", dsm, "--keep-run")
    assert geoseg(capsys, *predict).code == 0
    os.utime(dsm, ns=(1, 1))
    assert_refused(geoseg(capsys, *predict, "--overwrite"), 78, "--restart")


def test_heights_are_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a folder of heights, each scene gets its own; the name is that of the folder or a given one."""
    scenes, folder = tmp_path / "scenes", tmp_path / "heights"
    scenes.mkdir()
    folder.mkdir()
    for name, shift in (("a", 0), ("b", 3000)):
        place = TRANSFORM @ Affine.translation(shift, 0)
        make_raster(scenes / f"{name}.tif", landscape(200, 220, seed=shift), transform=place)
        make_raster(folder / f"h{name}.tif", landscape(200, 220, 1).astype(np.int16) + shift, transform=place)
    brief: dict[str, Any] = {"steps": 2, "batch_size": 2, "patch_size": 64}
    extra = (parse_extra(f"dsm={folder}"),)
    config = TrainConfig(scenes, tmp_path / "m.safetensors", index=("exg",), extra=extra, **brief)
    with TrainJob(config, recipe=replace(config.settled, mixture_superpixels=500)) as job:
        list(job.run())
    model = load_model(tmp_path / "m.safetensors")
    assert model.bands == ("red", "green", "blue", "dsm", "exg")
    assert (model.extras, model.file_bands) == ((ExtraBands("dsm", 1),), ("red", "green", "blue"))
    assert model.stats.low[3] < 300 < 3000 < model.stats.high[3]
    assert "extras" in geoseg(capsys, "info", tmp_path / "m.safetensors").out


def test_rasters_are_settings_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = (Extra("", Path("dsm.tif")), Extra("radar", Remote("https://host/radar.tif")))
    config = PredictConfig(scenes=(Path("/s.tif"),), out=Path("/o.tif"), extra=given)
    found = decode(json.loads(json.dumps(encode(config))))
    assert isinstance(found, PredictConfig)
    assert found.extra == (Extra("dsm", tmp_path / "dsm.tif"), given[1])
