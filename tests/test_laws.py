"""The laws of geoseg, numbered as in CONTRIBUTING.md: each has a test whose name begins with its number, or several."""

from __future__ import annotations

import copy
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from faults.cases import Bench
from faults.table import PREDICT
from faults.trials import kills
from helpers.class_rasters import PIXELS, bands, classes
from helpers.models import as_saved, make_model, with_experts
from helpers.prediction import peak_memory, predict_map
from helpers.rasters import TRANSFORM, landscape, make_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.features import rasterize

from geoseg.config import PredictConfig, TrainConfig
from geoseg.grid import Grid, Window, partition
from geoseg.jobs.predict import PredictJob
from geoseg.jobs.train import TrainJob
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.network import NetworkSpec
from geoseg.outputs.names import Outputs
from geoseg.prediction.memo import MEMO_BYTES
from geoseg.prediction.plan import plan
from geoseg.prediction.predictor import Predictor
from geoseg.raster.georeference import Georeference
from geoseg.raster.scene import Scene
from geoseg.raster.sieve import sieve
from geoseg.raster.statistics import band_stats
from geoseg.units import Area
from geoseg.vector.polygons import Polygonizer


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 700),
    cols=st.integers(1, 700),
    tile=st.sampled_from([64, 96, 128, 256]),
    half=st.integers(0, 4),
    block=st.sampled_from([64, 100, 512]),
)
def test_law_1_blocks_partition_the_raster_and_windows_cover_it(
    rows: int, cols: int, tile: int, half: int, block: int
) -> None:
    grid = Grid((rows, cols), tile, min(32 * half, tile // 2))
    extent = Window.of(rows // 3, cols // 3, rows - rows // 3, cols - cols // 3)
    hits = np.zeros((rows, cols), np.int64)
    for piece in partition(extent, block):
        hits[piece.window.within(grid.extent)] += 1
    inside = np.zeros_like(hits)
    inside[extent.within(grid.extent)] = 1
    assert (hits == inside).all()

    covered = np.zeros((rows, cols), np.int64)
    for i, _ in enumerate(grid.row_spans):
        for j, _ in enumerate(grid.col_spans):
            covered[grid.window((i, j)).within(grid.extent)] += 1
    assert covered.min() >= 1
    assert covered.max() <= 4


RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


def holed_scene(path: Path, rows: int = 1100, cols: int = 1300) -> Path:
    """An RGBA scene with a transparent corner and a hole."""
    pixels = np.concatenate([landscape(rows, cols), np.full((1, rows, cols), 255, np.uint8)])
    y, x = np.mgrid[:rows, :cols]
    pixels[3, x + y < 300] = 0
    pixels[3, 600:640, 500:900] = 0
    return make_raster(path, pixels, colorinterp=RGBA)


@pytest.mark.parametrize("encoder", ["compact", pytest.param("mobilenet_v2", marks=pytest.mark.soak)])
def test_law_2_block_independence(tmp_path: Path, encoder: str) -> None:
    scene, model = holed_scene(tmp_path / "scene.tif"), make_model(encoder=encoder)
    if encoder == "compact":
        model = with_experts(model)
    classes, confidence, _ = predict_map(scene, model, tmp_path / "whole.tif", block_size=2048)
    assert len(np.unique(classes)) > 3
    for size, workers in ((512, 1), (1024, 3)):
        other, sure, _ = predict_map(scene, model, tmp_path / f"blocks{size}.tif", block_size=size, workers=workers)
        assert np.array_equal(classes, other)
        assert np.array_equal(confidence, sure)


def test_law_2_block_independence_of_the_part_that_is_written(tmp_path: Path) -> None:
    scene, model = holed_scene(tmp_path / "scene.tif"), make_model()
    classes, confidence, _ = predict_map(scene, model, tmp_path / "whole.tif")
    left, top = TRANSFORM @ (333, 217)
    right, bottom = TRANSFORM @ (1001, 900)
    part, sure, profile = predict_map(
        scene, model, tmp_path / "part.tif", bounds=(left, bottom, right, top), block_size=512
    )
    assert np.array_equal(part, classes[217:900, 333:1001])
    assert np.array_equal(sure, confidence[217:900, 333:1001])
    assert profile["transform"] == TRANSFORM @ Affine.translation(333, 217)


def test_law_2_block_independence_of_order_and_of_dropped_windows(tmp_path: Path) -> None:
    model = make_model()
    with Scene(holed_scene(tmp_path / "scene.tif")) as scene:
        todo = plan(Grid(scene.shape, 128, 32), model.superpixels, scene.extent, 512)

        def compute(order: list[int], memo_bytes: int = MEMO_BYTES) -> tuple[dict[int, NDArray[Any]], int]:
            results, windows = {}, 0
            predictor = Predictor(
                scene, model, todo, torch.device("cpu"), torch.float32, "hann", 1, 2, memo_bytes=memo_bytes
            )
            with predictor:
                for index in order:
                    prepared = predictor.prepare(todo.blocks[index])
                    result = predictor.finish(prepared, predictor.logits(prepared))
                    results[index] = result.layers["classes"]
                    windows += result.windows
            return results, windows

        ordered, once = compute(list(range(len(todo.blocks))))
        needed = {position for block in todo.blocks for position in todo.windows(block)}
        assert once <= len(needed)
        shuffled, again = compute([5, 0, 3, 2, 8, 1, 7, 4, 6], memo_bytes=0)
        assert again > once
        for index, classes in ordered.items():
            assert np.array_equal(classes, shuffled[index])


def test_law_2_block_independence_where_windows_of_another_cut_coincide(tmp_path: Path) -> None:
    """A scene cut at a multiple of the window step and of the seed cells has the same windows and seeds."""
    model = make_model()
    pixels = landscape(900, 800)
    whole = make_raster(tmp_path / "whole.tif", pixels)
    cut = make_raster(tmp_path / "cut.tif", pixels[:, 192:, 96:])
    classes, _, _ = predict_map(whole, model, tmp_path / "a.tif")
    other, _, _ = predict_map(cut, model, tmp_path / "b.tif", block_size=512)
    margin = 160
    assert np.array_equal(classes[192 + margin :, 96 + margin :], other[margin:, margin:])


@pytest.mark.data
def test_law_2_block_independence_on_a_real_scene(tmp_path: Path, data: Callable[[str], Path]) -> None:
    scene, model = data("orthos/drone_farm_co_z17.tif"), make_model(tile_size=512, overlap=64)
    classes, confidence, _ = predict_map(scene, model, tmp_path / "a.tif", block_size=2048)
    other, sure, _ = predict_map(scene, model, tmp_path / "b.tif", block_size=512)
    assert np.array_equal(classes, other)
    assert np.array_equal(confidence, sure)


COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (1, 1, 1)], dtype=np.uint8)
"""Far apart in CIELAB, so that superpixels keep to the fields."""


class Identity(torch.nn.Module):
    """Says of each 4 x 4 cell which of COLOURS its first pixel has."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = NetworkSpec("identity", 3, len(COLOURS))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), deviations of 50 from 120, -> (B, 4, H/4, W/4)."""
        cells = image[:, None, :, ::4, ::4] * 50 + 120
        return -((cells - torch.from_numpy(COLOURS).float().view(1, -1, 3, 1, 1)) ** 2).sum(2) / 1000


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("blend", ["hann", "linear", "crop"])
def test_law_3_identity(tmp_path: Path, blend: str, upright: bool) -> None:
    """Fields of one colour come back as they are, to the last pixel of the border and across all windows."""
    fields = np.random.default_rng(3).integers(0, 4, size=14).repeat(40)[:533]
    truth = np.broadcast_to(fields, (451, 533)) if upright else np.broadcast_to(fields[:451, None], (451, 533))
    pixels = np.moveaxis(COLOURS[truth], -1, 0)
    model = dataclasses.replace(make_model(classes=4), network=Identity())  # type: ignore[arg-type]
    classes, _, _ = predict_map(make_raster(tmp_path / "scene.tif", pixels), model, tmp_path / "a.tif", blend=blend)
    assert np.array_equal(classes, truth + 1)


@settings(max_examples=60)
@given(classes, st.sampled_from([None, Area(4, "px")]))
def test_law_4_area_balance(values: NDArray[np.uint8], min_area: Area | None) -> None:
    """Per class, the area of the polygons is that of the pixels; no gap, no overlap, every one valid."""
    shapes, ids = [], []
    work = Polygonizer(values.shape[1], Georeference(None, PIXELS), min_area=min_area)
    for batch in [*(batch for band in bands(values, 3) for batch in work.push(band)), *work.finish()]:
        wkb, offsets = batch.wkb
        shapes += [wkb[start:stop].tobytes() for start, stop in pairwise(offsets)]
        ids += batch.values.tolist()
    polygons = shapely.from_wkb(shapes)
    mapped = values if min_area is None else np.concatenate([values[:0], *sieve(bands(values, 2), 4)])
    assert shapely.is_valid(polygons).all()
    for value in range(1, 4):
        assert shapely.area(polygons[np.array(ids, int) == value]).sum() == (mapped == value).sum()
    assert shapely.area(shapely.union_all(polygons)) == shapely.area(polygons).sum() == (values > 0).sum()


def test_law_4_area_balance_across_the_blocks_of_a_map(tmp_path: Path) -> None:
    """Nothing is cut, or counted twice, where blocks meet."""
    model, scene = make_model(), holed_scene(tmp_path / "scene.tif", 700, 540)
    for size in (512, 2048):
        out, vectors = tmp_path / f"{size}.tif", tmp_path / f"{size}.gpkg"
        config = PredictConfig((scene,), out, block_size=size, precision="float32", min_area=Area(20), polygons=vectors)
        with PredictJob(config, scene, Outputs(out, None, vectors), as_saved(model)) as job:
            for _ in job.run():
                pass
    with rasterio.open(tmp_path / "512.tif") as one, rasterio.open(tmp_path / "2048.tif") as other:
        mapped = one.read(1)
        np.testing.assert_array_equal(mapped, other.read(1))
    frame = geopandas.read_file(tmp_path / "512.gpkg", layer="classes")
    assert frame.equals(geopandas.read_file(tmp_path / "2048.gpkg", layer="classes"))
    counts = frame.dissolve("class_id", aggfunc={"area_m2": "sum"})
    assert {id_: row.geometry.area / 0.25 for id_, row in counts.iterrows()} == {
        int(value): (mapped == value).sum() for value in np.unique(mapped[mapped > 0])
    }
    assert (counts["area_m2"] == counts.area).all()
    burnt = rasterize(
        zip(frame.geometry, frame["class_id"], strict=True), mapped.shape, transform=TRANSFORM, dtype="int32"
    )
    np.testing.assert_array_equal(burnt, mapped)


def poison(path: Path, out: Path, valid: NDArray[np.bool_]) -> Path:
    """Copy an RGBA scene with random colours under its invalid pixels."""
    with rasterio.open(path) as file:
        pixels = file.read()
    pixels[:3, ~valid] = np.random.default_rng(1).integers(0, 256, size=(3, int((~valid).sum())))
    return make_raster(out, pixels, colorinterp=RGBA)


def test_law_5_nodata_in_nodata_out(tmp_path: Path) -> None:
    path, model = holed_scene(tmp_path / "scene.tif", 500, 700), make_model()
    with Scene(path) as scene:
        _, valid = scene.read(scene.extent)
        stats = band_stats([scene])
    assert 0 < valid.mean() < 1
    classes, confidence, profile = predict_map(path, model, tmp_path / "a.tif")
    assert profile["nodata"] == 0
    assert np.array_equal(classes > 0, valid)
    assert np.array_equal(confidence > 0, valid)

    poisoned = poison(path, tmp_path / "poisoned.tif", valid)
    with Scene(poisoned) as scene:
        assert band_stats([scene]) == stats
    others = predict_map(poisoned, model, tmp_path / "b.tif")
    assert np.array_equal(classes, others[0])
    assert np.array_equal(confidence, others[1])


def train_config(folder: Path, **settings: Any) -> TrainConfig:
    """A training of seconds."""
    made = {"steps": 28, "patch_size": 64, "batch_size": 2, "classes": 4, "superpixel_size": 8, "precision": "float32"}
    return TrainConfig(data=folder / "data", out=folder / "model.safetensors", **{**made, **settings})


def test_law_5_nodata_never_enters_a_training(tmp_path: Path) -> None:
    """Statistics, superpixels and losses: whatever lies under invalid pixels, the weights are the same."""
    clean, poisoned = tmp_path / "clean", tmp_path / "poisoned"
    for folder in (clean, poisoned):
        (folder / "data").mkdir(parents=True)
    # Holes so close that there is one in every patch.
    y, x = np.mgrid[:160, :200]
    valid = (y % 24 >= 6) | (x % 24 >= 6)
    pixels = np.concatenate([landscape(160, 200), np.where(valid, 255, 0)[None].astype(np.uint8)])
    scene = make_raster(clean / "data" / "a.tif", pixels, colorinterp=RGBA)
    poison(scene, poisoned / "data" / "a.tif", valid)
    models = []
    for folder in (clean, poisoned):
        with TrainJob(train_config(folder, steps=4)) as training:
            for _ in training.run():
                pass
        models.append(load_model(folder / "model.safetensors"))
    one, other = models
    assert one.stats == other.stats
    assert all(torch.equal(value, other.network.state_dict()[name]) for name, value in one.network.state_dict().items())


@pytest.mark.skipif(sys.platform != "linux", reason="commands are forked and killed by way of /proc")
def test_law_6_interrupted_equals_uninterrupted(bench: Bench) -> None:
    """Killed at random moments, up to four times in a row, and run again: the same files to the byte, none ever torn.
    The rest of it is in tests/faults."""
    tally = kills(bench, PREDICT, 4)
    assert (tally.torn, tally.different, tally.wrong) == ([], [], [])
    # 73: it was killed when the last mark of the work was gone, and the map is there.
    assert {-signal.SIGKILL} <= set(tally.codes) <= {-signal.SIGKILL, 0, 73}
    assert set(tally.again) <= {0, 73}


STRIP = (1024, 2048)
"""(rows, cols) of what the scenes of law 7 repeat."""


@pytest.fixture(scope="module")
def short_and_tall(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two scenes, the second four times as tall as the first."""
    folder, strip = tmp_path_factory.mktemp("tall"), landscape(*STRIP)
    repeated = (("short", np.tile(strip, (1, 5, 1))), ("tall", np.tile(strip, (1, 20, 1))))
    short, tall = (make_raster(folder / f"{n}.tif", pixels, compress="deflate", zlevel=1) for n, pixels in repeated)
    return short, tall


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc, as Linux has it")
@pytest.mark.parametrize(
    ("verb", "suffix"),
    [("predict", ".tif"), ("superpixels", ".tif"), pytest.param("superpixels", ".gpkg", marks=pytest.mark.soak)],
)
def test_law_7_memory_is_flat(tmp_path: Path, short_and_tall: tuple[Path, Path], verb: str, suffix: str) -> None:
    """A scene four times as tall has the same peak within 10 %, and within two bytes for each pixel it has more.

    GDAL's caches are made small, so that even the short scene fills them.
    """
    save_model(make_model(tile_size=256, overlap=32), tmp_path / "model.safetensors")
    peaks = []
    for scene in short_and_tall:
        arguments = ["-q", verb, scene, "-o", tmp_path / f"{scene.stem}{suffix}", "--block-size", "1024"]
        model = ["-m", tmp_path / "model.safetensors"] if verb == "predict" else []
        peaks.append(peak_memory(4, *arguments, *model))
    short, tall = peaks
    print("peak memory in kB:", peaks)
    assert tall <= 1.10 * short
    assert tall - short < 2 * 15 * STRIP[0] * STRIP[1] / 1024


@pytest.fixture
def training_folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    make_raster(tmp_path / "data" / "a.tif", landscape(160, 200))
    make_raster(tmp_path / "data" / "b.tif", landscape(130, 90, seed=1))
    return tmp_path


def test_law_8_saved_and_loaded_predicts_the_same(training_folder: Path, tmp_path: Path) -> None:
    config = train_config(training_folder, steps=4)
    with TrainJob(config) as training:
        published: list[Model] = []
        original = save_model

        def keep(model: Model, path: Path) -> str:
            # Afterwards the network is that of the training again, and not the average of its weights.
            published.append(dataclasses.replace(model, network=copy.deepcopy(model.network)))
            return original(model, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("geoseg.jobs.train.save_model", keep)
            for _ in training.run():
                pass
    scene = training_folder / "data" / "a.tif"
    trained, _, _ = predict_map(scene, published[0], tmp_path / "trained.tif")
    loaded, _, _ = predict_map(scene, load_model(config.out), tmp_path / "loaded.tif")
    assert np.array_equal(trained, loaded)


def test_law_8_resumed_equals_uninterrupted(training_folder: Path) -> None:
    with TrainJob(train_config(training_folder)) as training:
        for _ in training.run():
            pass
    whole = load_model(training_folder / "model.safetensors").network.state_dict()
    log = [json.loads(line) for line in (training_folder / "model.metrics.jsonl").read_text().splitlines()]

    again = dataclasses.replace(train_config(training_folder), out=training_folder / "again.safetensors")
    with TrainJob(again) as training:
        steps = training.run()
        for step in steps:
            if step.step == 27:
                break
        steps.close()
    assert not again.out.exists()
    with TrainJob(dataclasses.replace(again, resume=True)) as training:
        resumed = [step.step for step in training.run()]
    assert resumed == [26, 27, 28]
    state = load_model(again.out).network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.items())
    other = [json.loads(line) for line in (training_folder / "again.metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "anchor", "perplexity", "criterion"):
        assert [line[name] for line in other] == [line[name] for line in log]
    found, expected = (load_model(folder).provenance for folder in (again.out, training_folder / "model.safetensors"))
    assert {key: found[key] for key in ("weights", "selected")} == {
        key: expected[key] for key in ("weights", "selected")
    }


HELP = """
import sys
from geoseg.cli.main import geoseg, main
for arguments in (["--help"], *([name, "--help"] for name in geoseg.commands), ["--version"]):
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code == 0, arguments
heavy = ("torch", "rasterio", "numba", "numpy", "geopandas", "pyarrow", "scipy", "skimage", "sklearn")
print(len(geoseg.commands), *(name for name in heavy if name in sys.modules), file=sys.stderr)
"""


def test_law_9_help_imports_no_heavy_library() -> None:
    """The other half of the law, that every option is a setting with the same default, is in test_cli."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=True)
    commands, *heavy = done.stderr.split()
    assert heavy == []
    assert done.stdout.count("Usage: geoseg") == 1 + int(commands)
