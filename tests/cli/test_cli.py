"""The command line: its options are the settings, what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import (
    Outcome,
    assert_map_of,
    assert_refused,
    commands,
    contents,
    first_band,
    geoseg,
    untouched,
)
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from shapely.geometry import Polygon, box

from geoseg.cli.change import change
from geoseg.cli.check import check
from geoseg.cli.classes_edit import merge, order, set_class, split
from geoseg.cli.classes_files import apply, edit_classes, export_classes, import_classes
from geoseg.cli.classes_look import show_classes, suggest
from geoseg.cli.evaluate import evaluate
from geoseg.cli.export import export
from geoseg.cli.finalize import finalize
from geoseg.cli.info import info
from geoseg.cli.main import geoseg as group
from geoseg.cli.main import main
from geoseg.cli.plan import plan
from geoseg.cli.polygonize import polygonize
from geoseg.cli.predict import predict
from geoseg.cli.report import report
from geoseg.cli.status import status
from geoseg.cli.superpixels import superpixels
from geoseg.cli.teach import teach
from geoseg.cli.train import train
from geoseg.cli.work import work
from geoseg.config import (
    ApplyClassesConfig,
    ChangeConfig,
    CheckConfig,
    EditClassesConfig,
    EvaluateConfig,
    ExportClassesConfig,
    ExportConfig,
    FinalizeConfig,
    ImportClassesConfig,
    InfoConfig,
    MergeClassesConfig,
    OrderClassesConfig,
    PlanConfig,
    PolygonizeRastersConfig,
    PredictConfig,
    ReportConfig,
    SegmentScenesConfig,
    SetClassConfig,
    ShowClassesConfig,
    SplitClassConfig,
    StatusConfig,
    SuggestClassesConfig,
    TeachConfig,
    TrainConfig,
    WorkConfig,
)
from geoseg.files.atomic import sha256
from geoseg.grid import Block
from geoseg.runs.run import Run
from geoseg.version import __version__

# Command, what it needs at least, the settings that makes, and the options that carry another name than their field.
COMMANDS: list[tuple[click.Command, list[str], Any, dict[str, str]]] = [
    (train, ["--data", "folder"], TrainConfig(Path("folder")), {}),
    (predict, ["s.tif", "-o", "m.tif"], PredictConfig((Path("s.tif"),), Path("m.tif")), {}),
    (
        polygonize,
        ["m.tif", "-o", "p.gpkg"],
        PolygonizeRastersConfig((Path("m.tif"),), Path("p.gpkg")),
        {},
    ),
    (
        change,
        ["a.tif", "b.tif", "-o", "c.tif"],
        ChangeConfig(Path("a.tif"), Path("b.tif"), Path("c.tif")),
        {"as_json": "json"},
    ),
    (
        superpixels,
        ["s.tif", "-o", "s.gpkg"],
        SegmentScenesConfig((Path("s.tif"),), Path("s.gpkg")),
        {},
    ),
    (evaluate, ["m.tif", "--labels", "l.tif"], EvaluateConfig(Path("m.tif"), Path("l.tif")), {"as_json": "json"}),
    (report, ["m.tif"], ReportConfig(Path("m.tif")), {}),
    (export, ["m.safetensors", "--onnx", "m.onnx"], ExportConfig(Path("m.safetensors"), Path("m.onnx")), {}),
    (info, ["s.tif"], InfoConfig(Path("s.tif")), {"as_json": "json"}),
    (
        teach,
        ["m.safetensors", "--scene", "s.tif", "--reference", "r.gpkg", "--field", "f"],
        TeachConfig(Path("m.safetensors"), Path("s.tif"), Path("r.gpkg"), "f"),
        {"as_json": "json"},
    ),
    (plan, ["s.tif", "-o", "m.tif"], PlanConfig(("s.tif", "-o", "m.tif")), {}),
    (work, ["m.tif.run"], WorkConfig((Path("m.tif.run"),)), {}),
    (finalize, ["m.tif.run"], FinalizeConfig((Path("m.tif.run"),)), {}),
    (status, ["m.run"], StatusConfig(Path("m.run")), {"as_json": "json"}),
    (check, ["m.tif"], CheckConfig((Path("m.tif"),)), {"as_json": "json"}),
    (show_classes, ["m.tif"], ShowClassesConfig(Path("m.tif")), {"as_json": "json"}),
    (suggest, ["m.tif"], SuggestClassesConfig(Path("m.tif")), {"as_json": "json"}),
    (set_class, ["m.tif", "3", "a"], SetClassConfig(file=Path("m.tif"), entry="3", name="a"), {}),
    (merge, ["m.tif", "3", "--into", "4"], MergeClassesConfig(file=Path("m.tif"), classes=("3",), into="4"), {}),
    (split, ["m.tif", "3"], SplitClassConfig(file=Path("m.tif"), entry="3"), {}),
    (order, ["m.tif", "3"], OrderClassesConfig(file=Path("m.tif"), classes=("3",)), {}),
    (edit_classes, ["m.tif"], EditClassesConfig(file=Path("m.tif")), {}),
    (export_classes, ["m.tif", "-o", "l.csv"], ExportClassesConfig(file=Path("m.tif"), out=Path("l.csv")), {}),
    (import_classes, ["m.tif", "l.csv"], ImportClassesConfig(file=Path("m.tif"), legend=Path("l.csv")), {}),
    (apply, ["l.csv", "m.tif"], ApplyClassesConfig(legend=Path("l.csv"), files=(Path("m.tif"),)), {}),
]
# What says how to tell, and decides nothing: these are no settings.
PRESENTATION = {"--help", "--version", "--verbose", "--quiet", "--progress", "--debug"}

Predict = Callable[..., Outcome]


@pytest.fixture
def mapping(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: predict a scene with the small model, well, to map.tif unless said otherwise."""

    def run(scene: Path, *more: object, out: Path | None = None) -> Outcome:
        outcome = geoseg(capsys, "predict", scene, "-m", model_path, "-o", out or tmp_path / "map.tif", *more)
        assert outcome.code == 0, outcome.err
        return outcome

    return run


@pytest.mark.parametrize(
    ("command", "least", "config", "renamed"), COMMANDS, ids=[command.name for command, *_ in COMMANDS]
)
def test_law_9_every_option_is_a_setting_with_the_same_default(
    command: click.Command, least: list[str], config: Any, renamed: dict[str, str]
) -> None:
    parsed = command.make_context(command.name, list(least)).params
    parsed = {renamed.get(name, name): value for name, value in parsed.items()}
    assert parsed == {field.name: getattr(config, field.name) for field in fields(config)}


def test_law_9_options_of_the_group_are_presentation() -> None:
    assert {max(option.opts, key=len) for option in group.get_params(click.Context(group))} == PRESENTATION
    assert {command.name for command, *_ in COMMANDS} == {command.name for command in commands(group).values()}


@pytest.mark.parametrize("command", [group, *(command for command, *_ in COMMANDS)], ids=lambda command: command.name)
def test_every_option_has_help(command: click.Command) -> None:
    assert command.help
    for parameter in command.get_params(click.Context(command)):
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.endswith((".", "]")), parameter.help
        else:
            assert parameter.human_readable_name in str(command.help), "an argument is told in the command's help"


def test_version_of_the_module_and_of_the_checkout() -> None:
    root = Path(__file__).resolve().parents[2]
    # As a user in a checkout, where the folder hides the installed package.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    for module in ("geoseg", "cli"):
        command = [sys.executable, "-m", module, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root, env=env)
        assert done.stdout == f"geoseg, version {__version__}\n"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--block-size", 1000, "multiple of 512"),
        ("--tile-size", 100, "multiple of 32"),
        ("--overlap", 96, "at most half of the tile size 128"),
        ("--bands", "0,1,2", "counted from 1"),
        ("--device", "abacus", "choose auto, cpu"),
    ],
)
def test_a_setting_that_cannot_work_is_78(
    option: str,
    value: object,
    words: str,
    tmp_path: Path,
    scene_path: Path,
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, "-m", model_path, "-o", tmp_path / "map.tif", option, value)
    assert_refused(outcome, 78, value if option != "--bands" else "(0, 1, 2)", words)


def test_a_device_that_is_not_here_is_69(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with untouched(tmp_path):
        outcome = geoseg(
            capsys, "predict", scene_path, "-m", model_path, "-o", tmp_path / "map.tif", "--device", "cuda:99"
        )
    assert_refused(outcome, 69, "cuda:99", "--device auto")


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, scene_path: Path, mapping: Predict) -> None:
    with untouched(tmp_path):
        outcome = mapping(scene_path, "--dry-run")
    plan = json.loads(outcome.out)
    assert (plan["rows"], plan["cols"], plan["bands"]) == (300, 420, [1, 2, 3])
    assert (plan["blocks"], plan["tile_size"], plan["overlap"]) == (1, 128, 32)
    # Windows of 128 every 96 pixels: 3 rows and 5 columns of them reach the end of 300 x 420.
    assert plan["windows"] == 3 * 5
    names = ("map.tif", "map.qml", "map.preview.png", "map.tif.aux.xml", "map.geoseg.json")
    assert plan["outputs"] == [str(tmp_path / name) for name in names]
    assert outcome.err == ""


def test_the_model_in_the_working_folder_is_taken(
    tmp_path: Path,
    scene_path: Path,
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "geoseg-model.safetensors").write_bytes(model_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert geoseg(capsys, "predict", scene_path, "-o", "map.tif").code == 0
    assert json.loads(Path("map.geoseg.json").read_text())["model_sha256"] == sha256(model_path)
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, "-o", "geoseg-model.safetensors", "--overwrite")
    assert_refused(outcome, 73, "geoseg-model.safetensors", "is the input itself")


def test_results_on_standard_output_progress_on_standard_error(
    tmp_path: Path, scene_path: Path, mapping: Predict, capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    outcome = mapping(scene_path)
    assert outcome.out == f"{tmp_path / 'map.tif'}\n"
    assert [line.split(":")[0] for line in outcome.said] == ["block 1/1"]
    quiet = geoseg(capsys, "-q", "predict", scene_path, "-m", model_path, "-o", tmp_path / "quiet.tif")
    assert (quiet.code, quiet.out, quiet.err) == (0, f"{tmp_path / 'quiet.tif'}\n", "")
    assert (tmp_path / "quiet.tif").read_bytes() == (tmp_path / "map.tif").read_bytes()


def test_the_record_names_every_output_with_its_checksum(tmp_path: Path, scene_path: Path, mapping: Predict) -> None:
    mapping(scene_path, "--confidence", tmp_path / "confidence.tif")
    record = json.loads((tmp_path / "map.geoseg.json").read_text())
    outputs = {"map.tif", "map.tif.aux.xml", "map.qml", "map.preview.png", "confidence.tif", "confidence.qml"}
    assert record["files"] == {name: sha256(tmp_path / name) for name in outputs}
    assert set(contents(tmp_path)) == {*outputs, "map.geoseg.json", "scene.tif"}


@pytest.mark.parametrize(
    ("bounds", "window", "more"),
    [
        ((400_010, 5_799_900, 400_150, 5_799_980), Window(20, 40, 280, 160), ()),
        # Every pixel that is touched.
        ((400_010.1, 5_799_900.1, 400_149.9, 5_799_979.9), Window(20, 40, 280, 160), ("--min-area", "150px")),
        # Beyond the scene: as far as it goes.
        ((399_000, 5_000_000, 400_033.5, 5_799_999), Window(0, 2, 67, 298), ("--min-area", "20m2")),
    ],
)
def test_bounds_give_the_pixels_of_the_whole_map(
    bounds: tuple[float, ...], window: Window, more: tuple[str, ...], tmp_path: Path, scene_path: Path,
    mapping: Predict,
) -> None:  # fmt: skip
    mapping(scene_path, *more, out=tmp_path / "whole.tif")
    outcome = mapping(scene_path, "--bounds", *bounds, *more)
    assert "may have another class" not in outcome.err
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "map.tif") as part:
        np.testing.assert_array_equal(part.read(1), whole.read(1, window=window))
        corner = 400_000 + window.col_off / 2, 5_800_000 - window.row_off / 2
        assert part.transform == Affine(0.5, 0, corner[0], 0, -0.5, corner[1])
        assert part.crs == whole.crs


@pytest.mark.parametrize(("bounds", "words"), [((0, 0, 1, 1), "lie outside"), ((1, 1, 0, 0), "are empty")])
def test_bounds_without_a_pixel(
    bounds: tuple[int, ...],
    words: str,
    tmp_path: Path,
    scene_path: Path,
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with untouched(tmp_path):
        outcome = geoseg(
            capsys, "predict", scene_path, "-m", model_path, "-o", tmp_path / "map.tif", "--bounds", *bounds
        )
    assert_refused(outcome, 78, words, "left bottom right top")


def test_aoi_restricts_the_map(tmp_path: Path, scene_path: Path, mapping: Predict) -> None:
    # In pixels (col, row): a triangle and a square, a little off the pixels' centres.
    shapes = [Polygon([(20, 30), (200, 40), (90, 250)]), box(300.25, 100.25, 350.25, 160.25)]
    west, north = TRANSFORM.c, TRANSFORM.f
    placed = [Polygon([(west + x / 2, north - y / 2) for x, y in shape.exterior.coords]) for shape in shapes]
    aoi = tmp_path / "aoi.geojson"
    geopandas.GeoDataFrame(geometry=placed, crs=UTM).to_crs("EPSG:4326").to_file(aoi)
    mapping(scene_path, out=tmp_path / "whole.tif")
    mapping(scene_path, "--aoi", aoi)
    whole, map_ = first_band(tmp_path / "whole.tif"), first_band(tmp_path / "map.tif")
    area = geopandas.GeoSeries(shapes).union_all()
    x, y = np.meshgrid(np.arange(420) + 0.5, np.arange(300) + 0.5)
    points = geopandas.points_from_xy(x.ravel(), y.ravel())
    inside, outside = points.within(area.buffer(-0.1)), ~points.within(area.buffer(0.1))
    assert inside.sum() > 10_000
    np.testing.assert_array_equal(map_.ravel()[inside], whole.ravel()[inside])
    assert not map_.ravel()[outside].any()


def test_aoi_without_a_polygon_or_without_a_relation_to_the_scene(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points, text, area = tmp_path / "points.gpkg", tmp_path / "text.gpkg", tmp_path / "area.gpkg"
    geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([400_000], [5_800_000]), crs=UTM).to_file(points)
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(area)
    text.write_text("nothing of the kind")
    nowhere = make_raster(tmp_path / "nowhere.tif", landscape(60, 70), crs=None)
    for scene, aoi, words in (
        (scene_path, points, "contains no polygon"),
        (scene_path, text, "is not a vector file that geoseg reads"),
        (nowhere, area, "--assume-crs"),
    ):
        with untouched(tmp_path):
            outcome = geoseg(capsys, "predict", scene, "-m", model_path, "-o", tmp_path / "map.tif", "--aoi", aoi)
        assert_refused(outcome, 65, aoi, words)


def test_confidence_has_a_value_where_there_is_a_class(tmp_path: Path, mapping: Predict) -> None:
    pixels = landscape(120, 130)
    pixels[:, 30:60, 40:80] = 0
    scene = make_raster(tmp_path / "scene.tif", pixels, nodata=0)
    mapping(scene, "--confidence", tmp_path / "confidence.tif")
    classes = assert_map_of(tmp_path / "map.tif", scene, (pixels > 0).all(axis=0))
    with rasterio.open(tmp_path / "confidence.tif") as file:
        assert (file.count, file.dtypes, file.nodata, file.transform) == (1, ("uint8",), 0, TRANSFORM)
        assert file.descriptions == ("confidence",)
        confidence = file.read(1)
    np.testing.assert_array_equal(confidence > 0, classes > 0)
    # The likeliest of five classes has at least a fifth.
    assert confidence[classes > 0].min() >= 255 // 5
    assert len(np.unique(confidence)) > 2


def test_confidence_in_the_same_file_is_refused(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.tif"
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, "-m", model_path, "-o", out, "--confidence", out)
    assert_refused(outcome, 73, out, "different file names")


def test_several_scenes_into_a_folder(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], mapping: Predict
) -> None:
    scenes = [make_raster(tmp_path / f"{name}.tif", landscape(60, 70, seed=i)) for i, name in enumerate("ab")]
    folder, other = tmp_path / "maps", tmp_path / "confidence"
    folder.mkdir()
    other.mkdir()
    arguments = ("predict", *scenes, "-m", model_path, "-o", folder)
    outcome = geoseg(capsys, *arguments, "--confidence", other)
    assert outcome.code == 0, outcome.err
    assert outcome.out.split() == [str(folder / "a-classes.tif"), str(folder / "b-classes.tif")]
    for scene in scenes:
        classes = assert_map_of(folder / f"{scene.stem}-classes.tif", scene, np.ones((60, 70), dtype=bool))
        mapping(scene, "--overwrite")
        np.testing.assert_array_equal(classes, first_band(tmp_path / "map.tif"))
        assert (other / f"{scene.stem}-confidence.tif").exists()
    with untouched(tmp_path):
        other_settings = geoseg(capsys, *arguments, "--blend", "crop")
    assert other_settings.code == 73
    for name, line in zip("ab", other_settings.said[-3:-1], strict=True):
        assert f"{folder / name}-classes.tif: exists already, with other settings (blend)" in line


def test_info_of_a_scene(scene_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = geoseg(capsys, "info", "--json", scene_path)
    facts = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert (facts["kind"], facts["bands"], facts["dtype"], facts["crs"]) == ("scene", 3, "uint8", UTM)
    assert facts["size"] == "420 x 300 px (0.1 Mpx)"
    assert facts["band names"] == ["red", "green", "blue"]
    assert facts["pixel size"] == [0.5, 0.5]
    assert facts["bounds"] == [400_000, 5_799_850, 400_210, 5_800_000]
    plain = geoseg(capsys, "info", scene_path)
    lines = {line.split("  ")[0]: line for line in plain.out.splitlines()}
    assert set(lines) == set(facts)
    assert lines["band names"].endswith("red, green, blue")


def test_info_of_a_model(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(geoseg(capsys, "info", model_path, "--json").out)
    assert (facts["kind"], facts["bands"], facts["recipe"]) == ("model", ["red", "green", "blue"], "test")
    assert facts["windows"] == {"tile_size": 128, "overlap": 32}
    assert facts["classes"] == [f"class {i}" for i in range(1, 6)]
    assert "overlap 32, tile_size 128" in geoseg(capsys, "info", model_path).out


def test_info_of_a_map(
    tmp_path: Path, scene_path: Path, model_path: Path, mapping: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping(scene_path, "--confidence", tmp_path / "confidence.tif")
    facts = json.loads(geoseg(capsys, "info", tmp_path / "map.tif", "--json").out)
    assert (facts["kind"], facts["invalid pixels"]) == ("classes", "nodata 0")
    assert facts["classes"] == [f"class {i}" for i in range(1, 6)]
    assert facts["provenance"]["model_sha256"] == sha256(model_path)
    assert facts["provenance"]["scene"] == {
        "name": "scene.tif", "bytes": scene_path.stat().st_size, "shape": [300, 420],
    }  # fmt: skip
    plain = geoseg(capsys, "info", tmp_path / "confidence.tif")
    assert plain.out.splitlines()[0].split() == ["kind", "confidence"]


def test_bands_of_another_order_are_put_in_the_models(tmp_path: Path, mapping: Predict) -> None:
    pixels = landscape(120, 130)
    order = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    mapping(make_raster(tmp_path / "rgb.tif", pixels), out=tmp_path / "rgb-map.tif")
    reordered = make_raster(tmp_path / "bgr.tif", pixels[::-1].copy(), colorinterp=order)
    mapping(reordered, out=tmp_path / "bgr-map.tif")
    mapping(reordered, "--bands", "1,2,3", out=tmp_path / "as-told.tif")
    rgb = first_band(tmp_path / "rgb-map.tif")
    np.testing.assert_array_equal(first_band(tmp_path / "bgr-map.tif"), rgb)
    assert (first_band(tmp_path / "as-told.tif") != rgb).any()


def test_superpixels_say_what_they_wrote(tmp_path: Path, scene_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("segments.gpkg", "ids.tif"):
        outcome = geoseg(capsys, "superpixels", scene_path, "-o", tmp_path / name, "--size", 12, "--min-size", 20)
        assert (outcome.code, outcome.out) == (0, f"{tmp_path / name}\n"), outcome.err
        assert [line.split(":")[0] for line in outcome.said] == ["block 1/1"]
        assert "windows" not in outcome.err
    settings = {"size": 12, "compactness": 10.0, "iterations": 5, "min_size": 20}
    facts = json.loads(geoseg(capsys, "info", tmp_path / "ids.tif", "--json").out)
    assert (facts["kind"], facts["dtype"]) == ("superpixels", "uint32")
    assert facts["provenance"]["settings"]["superpixels"] == settings
    with untouched(tmp_path):
        again = geoseg(capsys, "superpixels", scene_path, "-o", tmp_path / "ids.tif")
        other = geoseg(capsys, "superpixels", scene_path, "-o", tmp_path / "segments.shp")
        missing = geoseg(capsys, "superpixels", tmp_path / "none.tif", "-o", tmp_path / "none.gpkg")
        wrong = geoseg(capsys, "superpixels", scene_path, "-o", tmp_path / "none.gpkg", "--size", 300)
    assert_refused(again, 73, "ids.tif: exists already", "--overwrite")
    assert_refused(other, 73, "segments.tif", "segments.gpkg", "segments.fgb")
    assert_refused(missing, 66, "none.tif")
    assert_refused(wrong, 78, "superpixel size is 300")


def test_rio_finds_the_plugin() -> None:
    found = [entry for entry in entry_points(group="rasterio.rio_plugins") if entry.name == "geoseg"]
    assert [entry.load() for entry in found] == [group]


INTERRUPTED = """
import os, signal, sys
from geoseg.cli.main import main
from geoseg.runs.run import Run

keep, kept = Run.keep, []

def interrupting(*arguments):
    keep(*arguments)
    kept.append(arguments)
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGINT)

Run.keep = interrupting
# Whoever started the tests in the background made the signal ignored, for them and their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupted_prediction_goes_on(tmp_path: Path, model_path: Path, mapping: Predict) -> None:
    # A row of blocks; the signal comes once two are kept, while the next are computed.
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 512 * 12))
    out, run = tmp_path / "map.tif", tmp_path / "map.tif.run"
    arguments = ["predict", scene, "-m", model_path, "-o", out, "--block-size", "512"]
    command = [sys.executable, "-c", INTERRUPTED, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    again = shlex.join(["geoseg", *map(str, arguments)])
    told = f"interrupted; {run} holds the finished blocks; to continue: {again}"
    assert [line for line in done.stderr.splitlines() if line and not line.startswith("block ")] == [told]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif.run", "scene.tif"]
    finished = len(list(run.glob("part-*.json")))
    assert 2 <= finished < 12
    outcome = mapping(scene, "--block-size", "512")
    assert f"{finished} of 12 blocks were finished before" in outcome.said
    assert not run.exists()
    mapping(scene, "--block-size", "512", out=tmp_path / "at-once.tif")
    assert out.read_bytes() == (tmp_path / "at-once.tif").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_interrupted_superpixels_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 512 * 5))
    out, run, keep = tmp_path / "map.gpkg", tmp_path / "map.gpkg.run", Run.keep
    arguments = ["superpixels", scene, "-o", out, "--block-size", "512", "--size", "8"]

    def interrupting(at: Run, block: Block, layers: Any) -> None:
        keep(at, block, layers)
        if block.index == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "keep", interrupting)
        interrupted = geoseg(capsys, *arguments)
    assert (interrupted.code, interrupted.out) == (130, "")
    again = shlex.join(["geoseg", *map(str, arguments)])
    told = f"interrupted; {run} holds the finished blocks; to continue: {again}"
    assert [line for line in interrupted.said if line and not line.startswith("block ")] == [told]
    finished = len(list(run.glob("part-*.json")))
    assert 2 <= finished < 5
    outcome = geoseg(capsys, *arguments)
    assert (outcome.code, outcome.out) == (0, f"{out}\n")
    assert f"{finished} of 5 blocks were finished before" in outcome.said
    arguments[3] = tmp_path / "at-once.gpkg"
    assert geoseg(capsys, "-q", *arguments).err == ""
    assert out.read_bytes() == arguments[3].read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_terminated_prediction_keeps_its_blocks(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 512 * 12))
    keep = Run.keep

    def terminating(run: Run, block: Block, layers: Any) -> None:
        keep(run, block, layers)
        if block.index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "keep", terminating)
    out = tmp_path / "map.tif"
    outcome = geoseg(capsys, "-q", "predict", scene, "-m", model_path, "-o", out, "--block-size", "512")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (143, "", "")
    assert 2 <= len(list((tmp_path / "map.tif.run").glob("part-*.json"))) < 12


def test_an_internal_error_is_70_and_one_line(
    scene_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, opening: object) -> None:
        raise ZeroDivisionError("in the\nmiddle")

    monkeypatch.setattr("geoseg.jobs.info.file_info", broken)
    outcome = geoseg(capsys, "info", scene_path)
    assert (outcome.code, outcome.out) == (70, "")
    assert outcome.said == [
        "geoseg: internal error: ZeroDivisionError: in the middle (--debug shows where; please report it)"
    ]
    with pytest.raises(ZeroDivisionError):
        geoseg(capsys, "--debug", "info", scene_path)


def test_an_error_of_the_system_is_74_and_one_line(
    scene_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, opening: object) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("geoseg.jobs.info.file_info", failing)
    assert_refused(geoseg(capsys, "info", scene_path), 74, scene_path, "Input/output error")


def test_an_error_of_several_lines_is_told_in_one(
    scene_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.errors import InputError

    def wordy(path: Path, opening: object) -> None:
        raise InputError(f"{path}: one\n  two")

    monkeypatch.setattr("geoseg.jobs.info.file_info", wordy)
    assert_refused(geoseg(capsys, "info", scene_path), 65, f"{scene_path}: one two")


def test_a_16_bit_scene_under_an_8_bit_model_is_mapped_as_if_it_had_8_bits(tmp_path: Path, mapping: Predict) -> None:
    pixels = landscape(120, 130)
    deep = make_raster(tmp_path / "deep.tif", pixels.astype(np.uint16) * 250)
    mapping(deep, "--rescale", out=tmp_path / "deep-map.tif")
    mapping(make_raster(tmp_path / "plain.tif", pixels), "--rescale", out=tmp_path / "plain-map.tif")
    np.testing.assert_array_equal(first_band(tmp_path / "deep-map.tif"), first_band(tmp_path / "plain-map.tif"))


def test_bands_in_another_order_than_their_colours_say_are_refused_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    colours = (ColorInterp.undefined, ColorInterp.red, ColorInterp.green)
    scene = make_raster(tmp_path / "shifted.tif", landscape(80, 90), colorinterp=colours)
    with pytest.raises(SystemExit) as end:
        main(["predict", str(scene), "-o", str(tmp_path / "map.tif"), "-m", str(model_path)])
    assert end.value.code == 65
    assert "--bands" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["map.qml", "map.png"])
def test_a_map_is_a_geotiff_by_name_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scene_path: Path, model_path: Path, name: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["predict", str(scene_path), "-o", str(tmp_path / name), "-m", str(model_path)])
    assert end.value.code == 73
    assert "map.tif" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_killed_while_publishing_the_same_command_finishes(
    tmp_path: Path, scene_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the class raster and its record everything is there to go on with, and may be replaced."""
    arguments = ["-q", "predict", str(scene_path), "-o", str(tmp_path / "map.tif"), "-m", str(model_path)]
    with monkeypatch.context() as patch:
        patch.setattr("geoseg.outputs.map.MapFiles._write_record", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 71
    assert (tmp_path / "map.tif").exists()
    assert not (tmp_path / "map.geoseg.json").exists()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert (tmp_path / "map.geoseg.json").exists()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 73


def test_info_on_a_map_says_nothing_about_its_palette(
    tmp_path: Path,
    mapping: Predict,
    scene_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    mapping(scene_path, out=tmp_path / "map.tif")
    caplog.clear()
    assert geoseg(capsys, "info", tmp_path / "map.tif").code == 0
    assert "palette" not in caplog.text
