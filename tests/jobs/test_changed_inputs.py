"""Inputs that change while a job reads them: an error, old outputs intact, and nothing kept of what changed."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import make_model
from helpers.rasters import landscape, make_raster
from helpers.vrts import vrt

from geoseg.config import EvaluateConfig, PolygonizeConfig, PredictConfig, SegmentConfig, TrainConfig
from geoseg.errors import InputError
from geoseg.files.record import read_record
from geoseg.jobs.evaluate import EvaluateJob
from geoseg.jobs.job import Job
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.jobs.predictions import Predictions
from geoseg.jobs.superpixels import SuperpixelsJob
from geoseg.jobs.train import TrainJob
from geoseg.model import file as model_file
from geoseg.model.file import load_model, save_model
from geoseg.raster.remote import has_changed
from geoseg.runs.folder import FolderStore
from geoseg.runs.status import check_parts


def touch(path: Path) -> None:
    """Change the time of a file's last modification."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def run_and_touch(job: Job[Any], path: Path) -> None:
    """Run a job, and change one of its inputs after the first step."""
    with job:
        steps: Generator[Any] = job.run()
        next(steps)
        touch(path)
        for _ in steps:
            pass


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A scene of three blocks of 512 px."""
    return make_raster(tmp_path / "wide.tif", landscape(64, 1400))


def test_superpixels_of_a_scene_that_changes(wide: Path) -> None:
    out = wide.with_name("ids.tif")
    out.write_bytes(b"old")
    config = SegmentConfig(wide, out, block_size=512, overwrite=True)
    with pytest.raises(InputError, match=r"wide\.tif: changed while it was read .* start over with --restart"):
        run_and_touch(SuperpixelsJob(config), wide)
    assert out.read_bytes() == b"old"
    intact, damaged = check_parts(FolderStore(out.with_name("ids.tif.run")))
    assert (len(intact) < 3, damaged) == (True, [])
    with SuperpixelsJob(SegmentConfig(wide, out, block_size=512, overwrite=True, restart=True)) as job:
        assert len(list(job.run())) == 3
    assert read_record(out.with_suffix(".geoseg.json")).content["scene"]["bytes"] == wide.stat().st_size


def test_a_scene_that_changes_after_its_last_block(wide: Path) -> None:
    with pytest.raises(InputError, match="changed while it was read"):
        run_and_touch(SuperpixelsJob(SegmentConfig(wide, wide.with_name("ids.tif"))), wide)
    assert not wide.with_name("ids.tif").exists()


@pytest.mark.parametrize("changed", ["wide.tif", "mosaic.vrt", "wide.tif.msk"])
def test_a_map_of_a_mosaic_whose_source_or_mask_changes(changed: str, wide: Path, model_path: Path) -> None:
    make_raster(wide.with_name("wide.tif.msk"), np.full((1, 64, 1400), 255, np.uint8))
    scene, out = vrt(wide.with_name("mosaic.vrt"), wide.name), wide.with_name("map.tif")
    (job,) = Predictions(PredictConfig((scene,), out, model=model_path, allow_vrt=True)).jobs()
    with pytest.raises(InputError, match="changed while it was read"):
        run_and_touch(job, wide.with_name(changed))
    assert not out.exists()


@pytest.mark.parametrize("changed", ["classes.tif", "confidence.tif"])
def test_polygons_of_a_raster_that_changes(changed: str, tmp_path: Path) -> None:
    classes = make_raster(tmp_path / "classes.tif", landscape(600, 16)[:1] // 64, nodata=0)
    confidence = make_raster(tmp_path / "confidence.tif", landscape(600, 16)[:1])
    out = tmp_path / "polygons.fgb"
    job = PolygonizeJob(PolygonizeConfig(classes, out, confidence=confidence))
    with pytest.raises(InputError, match=rf"{changed}: changed while it was read .* run the same command again"):
        run_and_touch(job, tmp_path / changed)
    assert not out.exists()


@pytest.mark.parametrize("changed", ["map.tif", "labels.tif"])
def test_scores_of_rasters_that_change(changed: str, tmp_path: Path) -> None:
    pixels = landscape(600, 16)[:1] // 64 + 1
    raster, labels = (make_raster(tmp_path / name, pixels) for name in ("map.tif", "labels.tif"))
    with pytest.raises(InputError, match=rf"{changed}: changed while it was read"):
        run_and_touch(EvaluateJob(EvaluateConfig(raster, labels)), tmp_path / changed)


def test_scores_by_a_protocol_whose_data_changes(tiles: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    save_model(make_model(bands=4), model)
    job = EvaluateJob(EvaluateConfig(model, data=tiles, protocol="potsdam3"))
    path = sorted(path for path in tiles.rglob("*.tif"))[0]
    with pytest.raises(InputError, match="changed while it was read"):
        run_and_touch(job, path)


def test_a_training_whose_scene_changes(tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(96, 96))
    config = TrainConfig(tmp_path, tmp_path / "m.safetensors", classes=3, steps=2, patch_size=64, batch_size=1)
    recipe = replace(config.settled, mixture_superpixels=500)
    with pytest.raises(InputError, match=r"scene\.tif: changed .* start over with --overwrite"):
        run_and_touch(TrainJob(config, recipe=recipe), scene)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_model_that_is_replaced_while_it_is_loaded(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights would be those of one file, the SHA-256 that of another."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_path.read_bytes())
    read = model_file.read_card

    def replaced(given: Path) -> dict[str, Any]:
        card = read(given)
        touch(path)
        return card

    monkeypatch.setattr(model_file, "read_card", replaced)
    with pytest.raises(InputError, match="changed while it was read"):
        load_model(path)


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({}, False),
        ({"etag": "b"}, False),
        ({"etag": "b", "last-modified": "Tuesday"}, True),
        ({"content-length": "8"}, True),
    ],
)
def test_a_remote_file_is_another_where_all_that_its_server_says_differs(now: dict[str, str], changed: bool) -> None:
    before = {"content-length": "7", "etag": "a", "last-modified": "Monday"}
    assert has_changed(before, before | now) is changed
    assert has_changed({"etag": "a"}, {"etag": "b"})
    assert not has_changed({"shape": [1]}, {"shape": [1]})
