"""What lies beside a map: what was asked for and nothing else, all of it in the record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import Outcome, assert_refused, contents, first_band, geoseg, untouched
from helpers.rasters import landscape, make_raster
from helpers.stac import assert_stac
from PIL import Image

from geoseg import predict as predict_from_python
from geoseg.classes import ClassMap, LandClass
from geoseg.files.atomic import sha256
from geoseg.outputs.pictures import draw_legend
from geoseg.outputs.styles import file_qml, raster_sld

CLASSES = ClassMap.default(5).classes
PLAIN = {"map.tif", "map.tif.aux.xml", "map.qml", "map.preview.png", "map.geoseg.json"}

Predict = Callable[..., Outcome]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A small scene that says when it was taken."""
    path = make_raster(tmp_path / "scene.tif", landscape(96, 128))
    with rasterio.open(path, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2020:07:14 10:30:00")
    return path


@pytest.fixture
def predict(tmp_path: Path, scene: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: map the scene to out/map.tif."""
    (tmp_path / "out").mkdir()

    def run(*more: object, scene: Path = scene) -> Outcome:
        return geoseg(capsys, "predict", scene, "-m", model_path, "-o", tmp_path / "out" / "map.tif", *more)

    return run


def item_of(folder: Path, name: str = "map.stac.json") -> dict[str, Any]:
    item: dict[str, Any] = json.loads((folder / name).read_bytes())
    assert_stac(item)
    return item


def used_in(path: Path) -> list[LandClass]:
    """The classes that occur in a map without nodata."""
    return [CLASSES[value - 1] for value in np.unique(first_band(path)).tolist()]


def test_without_options_there_are_raster_style_preview_and_record(predict: Predict, tmp_path: Path) -> None:
    assert predict().code == 0
    assert set(contents(tmp_path / "out")) == PLAIN
    assert (tmp_path / "out" / "map.qml").read_bytes() == file_qml(used_in(tmp_path / "out" / "map.tif"))


@pytest.mark.parametrize(
    ("option", "name"), [("--sld", "map.sld"), ("--legend", "map.legend.png"), ("--stac", "map.stac.json")]
)
def test_each_option_adds_its_file_and_the_next_map_without_it_takes_that_away(
    predict: Predict, tmp_path: Path, option: str, name: str
) -> None:
    assert predict(option).code == 0
    assert set(contents(tmp_path / "out")) == {*PLAIN, name}
    assert predict("--overwrite").code == 0
    assert set(contents(tmp_path / "out")) == PLAIN


def test_files_of_a_replaced_map_that_stay_are_named(
    predict: Predict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    confidence, polygons = tmp_path / "out" / "confidence.tif", tmp_path / "out" / "polygons.fgb"
    assert predict("--confidence", confidence, "--polygons", polygons).code == 0
    assert predict("--overwrite", "--confidence", confidence, "--polygons", polygons).code == 0
    assert "of the old one" not in caplog.text
    assert predict("--overwrite", "--confidence", confidence).code == 0
    (told,) = [message for message in caplog.messages if "of the old one" in message]
    assert told.rpartition(": ")[2] == f"{polygons}, {polygons.with_suffix('.qml')}"


def test_the_record_has_the_sha256_of_every_file(predict: Predict, tmp_path: Path) -> None:
    confidence = tmp_path / "out" / "confidence.tif"
    assert predict("--sld", "--legend", "--stac", "--confidence", confidence).code == 0
    folder = tmp_path / "out"
    files = json.loads((folder / "map.geoseg.json").read_bytes())["files"]
    assert set(files) == {path.name for path in folder.iterdir()} - {"map.geoseg.json"}
    assert files == {name: sha256(folder / name) for name in files}


def test_classes_that_do_not_occur_are_in_no_style_and_no_legend(tmp_path: Path, model_path: Path) -> None:
    """They are in the palette, the names and the record, which are those of the model."""
    scene = make_raster(tmp_path / "scene.tif", np.full((3, 96, 128), 90, np.uint8))
    out = tmp_path / "map.tif"
    result = predict_from_python(scene, out, model=model_path, sld=True, legend=True, polygons=tmp_path / "map.fgb")
    used = used_in(out)
    assert 0 < len(used) < len(CLASSES)
    assert result.used == tuple(used)
    assert result.legend.classes == CLASSES
    assert out.with_suffix(".qml").read_bytes() == file_qml(used)
    assert out.with_suffix(".sld").read_bytes() == raster_sld(used, "map")
    with Image.open(out.with_suffix(".legend.png")) as image:
        assert np.array_equal(np.asarray(image), draw_legend(used))
    with Image.open(result.preview) as image:
        shown = {tuple(colour) for colour in np.asarray(image).reshape(-1, 3).tolist()}
    assert {entry.rgb for entry in CLASSES if entry.rgb in shown} == {entry.rgb for entry in used}
    html = result._repr_html_()
    assert [entry.name in html for entry in CLASSES] == [entry in used for entry in CLASSES]


def test_the_item_tells_of_every_file(predict: Predict, tmp_path: Path) -> None:
    confidence = tmp_path / "elsewhere" / "confidence.tif"
    confidence.parent.mkdir()
    assert predict("--sld", "--legend", "--stac", "--confidence", confidence).code == 0
    folder = tmp_path / "out"
    assets = item_of(folder)["assets"]
    assert {name: asset["href"] for name, asset in assets.items()} == {
        "classes": "./map.tif",
        "confidence": "../elsewhere/confidence.tif",
        "style": "./map.qml",
        "sld": "./map.sld",
        "legend": "./map.legend.png",
        "overview": "./map.preview.png",
        "map.tif.aux.xml": "./map.tif.aux.xml",
        "confidence.qml": "../elsewhere/confidence.qml",
    }
    for asset in assets.values():
        path = folder / asset["href"]
        assert asset["file:checksum"] == "1220" + sha256(path)
        assert asset["file:size"] == path.stat().st_size
    (classes,) = assets["classes"]["bands"]
    assert [entry["title"] for entry in classes["classification:classes"][1:]] == [entry.name for entry in CLASSES]
    (confident,) = assets["confidence"]["bands"]
    assert confident["name"] == "confidence"
    assert assets["overview"]["roles"] == ["overview"]


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("map.gpkg", "application/geopackage+sqlite3", set()),
        ("polygons.fgb", "application/vnd.flatgeobuf", {"polygons.qml"}),
        (
            "polygons.shp",
            "application/vnd.shp",
            {f"polygons.{suffix}" for suffix in ("shx", "dbf", "prj", "cpg", "qml")},
        ),
    ],
)
def test_polygons_are_in_the_record_and_the_item_with_all_that_belongs_to_them(
    predict: Predict, tmp_path: Path, name: str, kind: str, more: set[str]
) -> None:
    folder = tmp_path / "out"
    outcome = predict("--stac", "--sld", "--polygons", folder / name)
    assert outcome.code == 0, outcome.err
    every = PLAIN | {"map.stac.json", "map.sld", name, f"{name}.sld"} | more
    assert set(contents(folder)) == every
    files = json.loads((folder / "map.geoseg.json").read_bytes())["files"]
    assert files == {path: sha256(folder / path) for path in every - {"map.geoseg.json"}}
    assets = item_of(folder)["assets"]
    assert {asset["href"] for asset in assets.values()} == {f"./{path}" for path in set(files) - {"map.stac.json"}}
    assert (assets["polygons"]["href"], assets["polygons"]["type"]) == (f"./{name}", kind)


def test_the_item_lies_where_and_when_the_scene_does(predict: Predict, tmp_path: Path) -> None:
    assert predict("--stac", "--bounds", 400_010, 5_799_970, 400_040, 5_799_990).code == 0
    item = item_of(tmp_path / "out")
    properties = item["properties"]
    with rasterio.open(tmp_path / "out" / "map.tif") as file:
        assert properties["proj:shape"] == list(file.shape) == [40, 60]
        assert properties["proj:transform"] == list(file.transform)[:6]
        assert properties["proj:bbox"] == list(file.bounds)
        assert properties["proj:code"] == file.crs.to_string()
    assert properties["datetime"] == "2020-07-14T10:30:00Z"
    assert item["id"] == "scene-classes"
    assert "scene.tif" in properties["processing:lineage"]
    assert set(properties["processing:software"]) >= {"geoseg", "torch"}


def test_a_time_that_is_given_goes_before_that_of_the_scene(predict: Predict, tmp_path: Path) -> None:
    assert predict("--stac", "--datetime", "2019").code == 0
    assert item_of(tmp_path / "out")["properties"]["start_datetime"] == "2019-01-01T00:00:00Z"


def test_the_time_of_acquisition_goes_before_that_of_the_file(predict: Predict, scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene, "r+") as file:
        file.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2018-05-01 09:00:00")
    assert predict("--stac").code == 0
    assert item_of(tmp_path / "out")["properties"]["datetime"] == "2018-05-01T09:00:00Z"


@pytest.mark.parametrize("model", ["given", "none"])
def test_a_scene_without_a_time_is_refused_before_any_work(
    tmp_path: Path, scene_path: Path, model_path: Path, model: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = ("-m", model_path) if model == "given" else ()
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, *given, "-o", tmp_path / "map.tif", "--stac")
    assert_refused(outcome, 65, scene_path, "acquisition time", "--datetime")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"crs": None}, "--assume-crs"),
        ({"crs": "EPSG:3031", "transform": Affine(1000, 0, -50_000, 0, -1000, 50_000)}, "omit --stac"),
    ],
)
def test_a_scene_without_a_place_on_the_globe_is_refused(
    tmp_path: Path, predict: Predict, profile: dict[str, Any], words: str
) -> None:
    path = make_raster(tmp_path / "nowhere.tif", landscape(96, 128), **profile)
    with untouched(tmp_path):
        outcome = predict("--stac", "--datetime", "2020", scene=path)
    assert outcome.code == 65
    assert outcome.out == ""
    assert words in outcome.said[-1]


def test_a_crs_that_is_assumed_is_place_enough(tmp_path: Path, predict: Predict) -> None:
    path = make_raster(tmp_path / "nowhere.tif", landscape(96, 128), crs=None)
    assert predict("--stac", "--datetime", "2020", "--assume-crs", "EPSG:32633", scene=path).code == 0
    assert item_of(tmp_path / "out")["properties"]["proj:code"] == "EPSG:32633"


def test_a_time_that_is_none_is_wrong_usage(predict: Predict) -> None:
    outcome = predict("--stac", "--datetime", "yesterday")
    assert outcome.code == 2
    assert "'yesterday'" in outcome.said[-1]


def test_a_time_without_an_item_is_refused(predict: Predict, tmp_path: Path) -> None:
    with untouched(tmp_path):
        assert_refused(predict("--datetime", "2020"), 78, "--stac")


def test_several_scenes_have_an_item_each(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes = [make_raster(tmp_path / f"{name}.tif", landscape(96, 128)) for name in ("north", "south")]
    folder = tmp_path / "maps"
    folder.mkdir()
    outcome = geoseg(
        capsys, "predict", *scenes, "-m", model_path, "-o", folder, "--stac", "--sld", "--datetime", "2020-07"
    )
    assert outcome.code == 0, outcome.err
    for name in ("north", "south"):
        assert item_of(folder, f"{name}-classes.stac.json")["id"] == f"{name}-classes"
        assert (folder / f"{name}-classes.sld").exists()


def test_all_of_it_is_reproducible(
    tmp_path: Path, scene: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    options = ("--sld", "--legend", "--stac")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        outputs = ("-o", tmp_path / name / "map.tif", "--polygons", tmp_path / name / "map.gpkg")
        outcome = geoseg(capsys, "predict", scene, "-m", model_path, *outputs, *options)
        assert outcome.code == 0
        # The time of the file is another: only that of SOURCE_DATE_EPOCH may count.
        os.utime(scene, (1_500_000_000, 1_500_000_000))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert item_of(tmp_path / "one")["properties"]["created"] == "2020-09-13T12:26:40Z"
