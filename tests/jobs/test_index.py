"""Models with spectral indices: learnt with --index, mapped without being asked, whatever the order of the bands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.commandline import assert_refused, first_band, geoseg
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

from geoseg.config import TrainConfig
from geoseg.indices import IndexBand
from geoseg.jobs.train import TrainJob
from geoseg.model.file import load_model, save_model
from geoseg.raster.statistics import BandStats

NAMES = ("red", "green", "blue", "nir")


def scene_of(path: Path, order: tuple[int, ...] = (0, 1, 2, 3), size: tuple[int, int] = (300, 420)) -> Path:
    """A scene of four named bands, in another order of them."""
    pixels = landscape(*size, 4)[list(order)]
    tags = [rasterio.enums.ColorInterp.undefined] * 4
    make_raster(path, pixels, photometric="MINISBLACK", colorinterp=tags)
    with rasterio.open(path, "r+") as file:
        file.descriptions = tuple(NAMES[i] for i in order)
    return path


@pytest.fixture(scope="module")
def with_ndvi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of red, green, blue, nir and the NDVI of these."""
    path = tmp_path_factory.mktemp("model") / "ndvi.safetensors"
    model = make_model(5)
    stats = BandStats((120.0,) * 4 + (0.0,), (50.0,) * 4 + (0.3,), (10.0,) * 4 + (-0.6,), (230.0,) * 4 + (0.6,), 1000)
    names = (*NAMES, "ndvi")
    save_model(
        replace(
            model, bands=names, stats=stats, dtype="float32", indices=(IndexBand("ndvi", (3, 0)),), file_dtype="uint8"
        ), path
    )  # fmt: skip
    return path


def test_law_2_a_map_with_an_index_does_not_depend_on_blocks_or_the_order_of_bands(
    with_ndvi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = []
    for i, (order, block) in enumerate([((0, 1, 2, 3), 512), ((3, 1, 0, 2), 1024)]):
        scene, out = scene_of(tmp_path / f"{i}.tif", order, (700, 600)), tmp_path / f"{i}-classes.tif"
        options = ("-m", with_ndvi, "-o", out, "--precision", "float32", "--block-size", block)
        assert geoseg(capsys, "-q", "predict", scene, *options).code == 0
        maps.append(first_band(out))
        record = json.loads(out.with_suffix(".geoseg.json").read_text())
        assert (len(record["settings"]["bands"]), record["settings"]["more_bands"]) == (4, ["ndvi"])
        outcome = geoseg(capsys, "check", out)
        assert outcome.code == 0, outcome.out
    assert len(np.unique(maps[0])) > 2
    np.testing.assert_array_equal(*maps)


def test_numbers_of_another_kind_are_refused_as_without_an_index(
    with_ndvi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = scene_of(tmp_path / "scene.tif")
    with rasterio.open(scene) as file:
        pixels = file.read().astype(np.uint16) * 40
    deep = make_raster(tmp_path / "deep.tif", pixels, photometric="MINISBLACK")
    outcome = geoseg(capsys, "-q", "predict", deep, "-m", with_ndvi, "-o", tmp_path / "m.tif")
    assert_refused(outcome, 65, "deep.tif", "is uint16", "learnt from uint8", "--rescale")
    assert geoseg(capsys, "-q", "predict", deep, "-m", with_ndvi, "-o", tmp_path / "m.tif", "--rescale").code == 0


def test_the_index_counts(with_ndvi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same weights with the NDWI in its place give another map."""
    other = tmp_path / "ndwi.safetensors"
    model = load_model(with_ndvi)
    save_model(replace(model, bands=(*NAMES, "ndwi"), indices=(IndexBand("ndwi", (1, 3)),)), other)
    scene = scene_of(tmp_path / "scene.tif")
    maps = []
    for path in (with_ndvi, other):
        assert geoseg(capsys, "-q", "predict", scene, "-m", path, "-o", tmp_path / "m.tif", "--overwrite").code == 0
        maps.append(first_band(tmp_path / "m.tif"))
    assert (maps[0] != maps[1]).any()


def test_a_scene_without_its_bands_is_refused(
    with_ndvi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_raster(tmp_path / "rgb.tif", landscape(60, 70))
    outcome = geoseg(capsys, "-q", "predict", scene, "-m", with_ndvi, "-o", tmp_path / "m.tif")
    assert_refused(outcome, 65, "3 bands", "expects 4 (red, green, blue, nir)", "no nir")


def test_what_is_learnt_is_kept_in_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With scenes whose bands are in another order, the places of an index are those of the model."""
    folder = tmp_path / "data"
    folder.mkdir()
    scene_of(folder / "a.tif")
    scene_of(folder / "b.tif", (3, 2, 1, 0))
    brief: dict[str, Any] = {"steps": 2, "batch_size": 2, "patch_size": 64}
    config = TrainConfig(folder, tmp_path / "m.safetensors", index=("ndvi", "exg=red,green,blue"), **brief)
    with TrainJob(config, recipe=replace(config.settled, mixture_superpixels=500)) as job:
        list(job.run())
    model = load_model(tmp_path / "m.safetensors")
    assert (model.bands, model.file_bands, model.dtype) == ((*NAMES, "ndvi", "exg"), NAMES, "float32")
    assert model.indices == (IndexBand("ndvi", (3, 0)), IndexBand("exg", (0, 1, 2)))
    assert -1 <= model.stats.low[4] < model.stats.high[4] <= 1
    assert "indices" in geoseg(capsys, "info", tmp_path / "m.safetensors").out


def test_what_cannot_be_an_index_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    scene = make_raster(tmp_path / "rgb.tif", landscape(60, 70))
    train = ("-q", "train", "--data", scene, "-o", tmp_path / "m.safetensors")
    assert_refused(geoseg(capsys, *train, "--index", "ndvi"), 65, "rgb.tif", "needs nir, red", "--bands")
    assert_refused(geoseg(capsys, *train, "--index", "nvdi"), 78, "choose one of ndvi")
    assert_refused(geoseg(capsys, *train, "--index", "exg", "--recipe", "potsdam3"), 78, "leave --index out")
