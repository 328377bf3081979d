"""Scenes in which most blocks were never written, and scenes wider than a strip: the same files, for less."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.models import as_saved, make_model
from helpers.rasters import landscape, make_raster
from rasterio.windows import Window

import geoseg.jobs.predict
from geoseg.config import PredictConfig
from geoseg.files.atomic import sha256
from geoseg.jobs.predict import PredictJob
from geoseg.model.file import Model
from geoseg.outputs.names import Outputs
from geoseg.runs.local import Receipt
from geoseg.runs.status import status

ROWS, COLS = 1100, 1700
ISLANDS = (Window(0, 0, 200, 150), Window(900, 600, 300, 256))


@pytest.fixture(scope="module")
def model() -> Model:
    return as_saved(make_model(tile_size=256, overlap=32))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two islands; all else was never written."""
    pixels = np.maximum(landscape(300, 300), 1)
    path = tmp_path / "scene.tif"
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 128, "blockysize": 128, "nodata": 0, "SPARSE_OK": True}
    with rasterio.open(
        path, "w", driver="GTiff", height=ROWS, width=COLS, count=3, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000), **layout,
    ) as file:  # fmt: skip
        for island in ISLANDS:
            file.write(pixels[:, : island.height, : island.width], window=island)
    return path


def job(scene: Path, out: Path, model: Model, **settings: Any) -> PredictJob:
    out.parent.mkdir(exist_ok=True)
    config = PredictConfig((scene,), out, **{"block_size": 512, "precision": "float32", **settings})
    return PredictJob(config, scene, Outputs(out, None), model)


def predicted(scene: Path, out: Path, model: Model, **settings: Any) -> list[Receipt]:
    with job(scene, out, model, **settings) as made:
        return list(made.run())


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        values: np.ndarray[Any, Any] = file.read(1)
    return values


def test_blocks_that_were_never_written_are_neither_computed_nor_kept(
    scene: Path, model: Model, tmp_path: Path
) -> None:
    receipts = predicted(scene, tmp_path / "map.tif", model, keep_run=True)
    # 3 x 4 blocks of 512 pixels, of which the islands touch the first, and two at (600, 900).
    assert [receipt.block.index for receipt in receipts] == [1, 2, 3, 4, 7, 8, 9, 10, 11, 0, 5, 6]
    assert not any(receipt.reused for receipt in receipts)
    run = tmp_path / "map.tif.run"
    assert {path.name[:11] for path in run.glob("part-*")} == {f"part-{index:06d}" for index in (0, 5, 6)}
    found = status(run)
    assert (found.finished, found.missing, found.damaged) == (12, (), 0)


def test_law_5_a_sparse_scene_gives_the_map_of_the_same_pixels_written(
    scene: Path, model: Model, tmp_path: Path
) -> None:
    with rasterio.open(scene) as file:
        whole = make_raster(tmp_path / "whole.tif", file.read(), nodata=0)
    for name, path in (("sparse", scene), ("whole", whole)):
        predicted(path, tmp_path / f"{name}.map.tif", model)
    assert np.array_equal(pixels_of(tmp_path / "sparse.map.tif"), pixels_of(tmp_path / "whole.map.tif"))


def test_law_6_a_sparse_scene_whose_map_was_interrupted(scene: Path, model: Model, tmp_path: Path) -> None:
    predicted(scene, tmp_path / "a" / "map.tif", model)
    with job(scene, tmp_path / "b" / "map.tif", model) as made:
        receipts = made.run()
        list(islice(receipts, 10))
        receipts.close()
    found = status(tmp_path / "b" / "map.tif.run")
    assert 10 <= found.finished < 12
    with job(scene, tmp_path / "b" / "map.tif", model) as made:
        reused = sum(receipt.reused for receipt in made.run())
        assert 1 <= reused == found.finished - 9
        assert made.closing() == f"{reused} of 12 blocks were finished before"
    assert sha256(tmp_path / "a" / "map.tif") == sha256(tmp_path / "b" / "map.tif")


def test_an_older_run_of_a_sparse_scene_goes_on(scene: Path, model: Model, tmp_path: Path) -> None:
    with job(scene, tmp_path / "map.tif", model) as made:
        made.begin()
    manifest = tmp_path / "map.tif.run" / "manifest.json"
    content = json.loads(manifest.read_text())
    assert content.pop("nodata") == "1-4,7-11"
    manifest.write_text(json.dumps(content))
    assert status(tmp_path / "map.tif.run").missing == ("0-11",)
    assert len(predicted(scene, tmp_path / "map.tif", model)) == 12


@pytest.mark.parametrize("block_size", [512, 1024])
def test_law_2_strips_of_columns_change_no_byte(
    block_size: int, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(ROWS, COLS))
    hashes, orders = set(), set()
    for strip in (None, 512, 1024):
        monkeypatch.setattr(geoseg.jobs.predict, "strip_of", lambda _, strip=strip: strip)
        out = tmp_path / f"{strip}" / "map.tif"
        orders.add(tuple(each.block.index for each in predicted(scene, out, model, block_size=block_size)))
        hashes.add(sha256(out))
    assert len(hashes) == 1
    assert len(orders) == {512: 3, 1024: 2}[block_size]


def test_an_interrupted_plan_of_a_sparse_scene_says_what_is_missing(scene: Path, model: Model, tmp_path: Path) -> None:
    with job(scene, tmp_path / "map.tif", model) as made:
        made.begin()
    found = status(tmp_path / "map.tif.run")
    assert (found.finished, found.missing) == (9, ("0", "5-6"))
