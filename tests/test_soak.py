"""Long runs at real size, with the default windows and blocks: python -m pytest -m soak."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.models import make_model
from helpers.prediction import peak_memory, predict_map
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from helpers.scenery import share_kept, textures_with_a_rare_class

from geoseg.model.file import save_model

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

TOWN = "orthos/aerial_town_il_z18.tif"


@pytest.mark.data
def test_law_2_block_independence_on_fifty_megapixels(tmp_path: Path, data: Callable[[str], Path]) -> None:
    scene, model = data(TOWN), make_model(classes=8, tile_size=1024, overlap=128)
    classes, confidence, _ = predict_map(scene, model, tmp_path / "a.tif", precision="auto", block_size=2048)
    assert len(np.unique(classes)) > 4
    for size in (1024, 4096):
        other, sure, _ = predict_map(scene, model, tmp_path / "b.tif", precision="auto", block_size=size)
        assert np.array_equal(classes, other)
        assert np.array_equal(confidence, sure)


def write_tall(path: Path, rows: int, cols: int) -> Path:
    """A scene of any height, written strip by strip."""
    tile = landscape(1024, cols)
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=cols,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=TRANSFORM,
        **layout,
    ) as file:
        for row in range(0, rows, 1024):
            height = min(1024, rows - row)
            file.write(tile[:, :height], window=((row, row + height), (0, cols)))
    return path


def test_law_7_memory_is_flat_at_the_default_settings(tmp_path: Path) -> None:
    """Peak memory, the libraries' included, of a scene of 41 Mpx and of one four times as tall."""
    save_model(make_model(tile_size=1024, overlap=128), tmp_path / "model.safetensors")
    peaks = []
    for rows in (8192, 32768):
        scene = write_tall(tmp_path / f"{rows}.tif", rows, 5000)
        arguments = ["-q", "predict", scene, "-o", tmp_path / f"{rows}-map.tif", "-m", tmp_path / "model.safetensors"]
        peaks.append(peak_memory(4096, *arguments))
    print("peak memory in kB:", peaks)
    assert peaks[1] <= 1.10 * peaks[0]


@pytest.mark.parametrize("classes", [6, 24, 200, 2000])
def test_the_plan_is_not_below_the_memory_that_is_used(tmp_path: Path, classes: int) -> None:
    """By more than 15 %, at the default windows."""
    save_model(make_model(classes=classes, tile_size=1024, overlap=128), tmp_path / "model.safetensors")
    scene = write_tall(tmp_path / "scene.tif", 2600, 2600)
    arguments = ["-q", "predict", scene, "-o", tmp_path / "map.tif", "-m", tmp_path / "model.safetensors"]
    arguments += ["--block-size", "512"] if classes > 200 else []
    planned = subprocess.run(
        ["geoseg", *map(str, arguments), "--dry-run"], capture_output=True, text=True, check=True
    ).stdout
    assert peak_memory(4096, *arguments) / 1024 <= 1.15 * json.loads(planned)["memory_mib"]


@pytest.mark.parametrize("seed", range(5))
def test_a_distinct_class_of_a_five_hundredth_is_kept(tmp_path: Path, seed: int) -> None:
    """A hundred steps of the recipe for any folder of imagery, with 24 classes, as a user would run them."""
    pixels, rare = textures_with_a_rare_class()
    make_raster(tmp_path / "scene.tif", pixels)
    for command in (
        f"train --data scene.tif --out m.safetensors --steps 100 --seed {seed}",
        "predict scene.tif --model m.safetensors --out map.tif",
    ):
        subprocess.run(["geoseg", "-q", *command.split()], cwd=tmp_path, check=True)
    with rasterio.open(tmp_path / "map.tif") as file:
        kept = share_kept(file.read(1), rare)
    print("share of the rare class that is kept:", kept)
    assert kept > 0.9
