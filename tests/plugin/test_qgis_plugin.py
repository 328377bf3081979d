"""The plugin in QGIS: its algorithms run geoseg from Processing, and what they write is loaded with its style.

GEOSEG_QGIS_PICTURES names a folder in which the pictures that QGIS rendered are kept.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.models import make_model
from helpers.qgis import qgis_variables, require_qgis_process, require_qgis_python
from helpers.rasters import landscape, make_raster

from geoseg.classes import ClassMap, LandClass
from geoseg.model.file import save_model

ROOT = Path(__file__).resolve().parents[2]
SCENE, OLD_SCENE = (ROOT / "examples" / "data" / f"naip_{year}.tif" for year in (2020, 2018))
CLASSES = ClassMap(
    tuple(
        LandClass(i, name, LandClass.default(i).colour)
        for i, name in enumerate(["water", "Bäume & Büsche", "roofs", "草地", "it's bare"], 1)
    )
)
LEGEND = [[entry.id, entry.name, entry.colour] for entry in CLASSES.classes]


def variables(home: Path) -> dict[str, str]:
    # What QGIS's Python sets, and what would break geoseg's.
    broken = dict.fromkeys(("PYTHONPATH", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH"), "/nowhere")
    del broken["PYTHONPATH"]
    return {**qgis_variables(home), "GEOSEG_ENVIRONMENT": sys.prefix, **broken}


def session(home: Path, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """What QGIS says of the tasks (see `qgis_session.py`)."""
    python = require_qgis_python()
    found = subprocess.run(
        [python, Path(__file__).with_name("qgis_session.py")],
        input=json.dumps(tasks),
        env=variables(home),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    said: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene and a model of named classes, in a folder whose name has spaces."""
    folder = tmp_path_factory.mktemp("qgis plugin") / "maps of 2020 & é"
    folder.mkdir()
    make_raster(folder / "the scene.tif", landscape(300, 420))
    save_model(replace(make_model(), classes=CLASSES), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    scene, model = str(folder / "the scene.tif"), str(folder / "model.safetensors")
    outputs = {"MAP": str(folder / "map.tif"), "POLYGONS": str(folder / "polygons.gpkg")}
    broken = folder / "broken environment" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").write_text("#!/bin/sh\necho 'ImportError: libcudart.so.12: no such file' >&2\nexit 1\n")
    (broken / "python").chmod(0o755)
    given = {"SCENE": scene, "MODEL": model, "BANDS": None, "NODATA": None, "EXTRA": None, **outputs}
    predict = {"algorithm": "geoseg:predict", "parameters": given}
    (folder / "torn.safetensors").write_bytes(b"torn")
    torn = {"algorithm": "geoseg:predict", "parameters": {**given, "MODEL": str(folder / "torn.safetensors")}}
    change = {
        "algorithm": "geoseg:change",
        "parameters": {"OLD": outputs["MAP"], "NEW": outputs["MAP"], "CHANGE": str(folder / "change.tif")},
    }
    return session(folder.parent, [predict, change, torn, {**torn, "environment": str(broken.parent)}])


def test_the_provider_has_its_algorithms_and_goes_when_the_plugin_does(said: dict[str, Any]) -> None:
    names = ("change", "evaluate", "polygonize", "predict", "superpixels", "train")
    assert said["algorithms"] == [f"geoseg:{name}" for name in names]
    assert said["unloaded"]


def test_a_map_is_loaded_with_the_names_and_colours_of_its_classes(folder: Path, said: dict[str, Any]) -> None:
    done = said["done"][0]
    assert done["error"] is None
    assert done["results"]["MAP"] == str(folder / "map.tif")
    assert done["results"]["MODEL_USED"] == str(folder / "model.safetensors")
    assert done["reached"] == 100
    found = done["layers"]["Land cover: map"]
    assert (found["valid"], found["renderer"], found["entries"]) == (True, "paletted", LEGEND)
    polygons = done["layers"]["Polygons: polygons"]
    assert (polygons["renderer"], polygons["entries"]) == ("categorizedSymbol", LEGEND)


def test_change_returns_figures(folder: Path, said: dict[str, Any]) -> None:
    done = said["done"][1]
    assert done["error"] is None
    results = done["results"]
    assert (results["PIXELS"], results["CHANGED"]) == (300 * 420, 0)
    assert Path(results["MATRIX"]).is_file()
    assert Path(results["AREAS"]).is_file()
    assert done["layers"]["Change: change"]["renderer"] == "paletted"


def test_an_error_is_geosegs_own_line(folder: Path, said: dict[str, Any]) -> None:
    error = said["done"][2]["error"]
    assert error.startswith(f"{folder / 'torn.safetensors'}: ")
    assert "\n" not in error
    assert said["done"][2]["layers"] == {}


def test_a_broken_environment_is_told(folder: Path, said: dict[str, Any]) -> None:
    python = folder / "broken environment" / "bin" / "python"
    expected = f"{python}: there is no geoseg that works: ImportError: libcudart.so.12: no such file"
    assert said["done"][3]["error"] == expected


def test_without_an_environment_the_toolbox_says_what_to_do(said: dict[str, Any]) -> None:
    assert said["can_execute"] == [True, ""]
    runs, why = said["cannot_execute"]
    assert not runs
    assert why.startswith("/nowhere/at all: no such environment; choose another in the settings")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that was trained for a few steps, by qgis_process, on the shipped scene."""
    folder = tmp_path_factory.mktemp("qgis soak") / "shipped scene"
    folder.mkdir()
    process(folder, "train", SCENE=SCENE, RECIPE="quick", STEPS=30, DEVICE="cpu", MODEL=folder / "model.safetensors")
    return folder


def process(folder: Path, algorithm: str, **parameters: object) -> dict[str, Any]:
    """Run an algorithm by `qgis_process`; return its results."""
    program = require_qgis_process()
    plugins = folder / "profiles" / "default" / "python" / "plugins"
    if not plugins.exists():
        plugins.mkdir(parents=True)
        (plugins / "geoseg_qgis").symlink_to(ROOT / "qgis" / "geoseg_qgis")
        subprocess.run([program, "plugins", "enable", "geoseg_qgis"], env=variables(folder), check=True, timeout=300)
    words = [f"{name}={value}" for name, value in parameters.items()]
    found = subprocess.run(
        [program, "--json", "run", f"geoseg:{algorithm}", "--", *words],
        env=variables(folder),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    results: dict[str, Any] = json.loads(found.stdout[found.stdout.index("{") :])["results"]
    return results


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_every_algorithm_runs_by_qgis_process_on_the_shipped_scene(trained: Path) -> None:
    model = trained / "model.safetensors"
    assert model.is_file()
    assert model.with_suffix(".png").is_file()
    for year, scene in (("2020", SCENE), ("2018", OLD_SCENE)):
        outputs = {"MAP": trained / f"{year}.tif", "CONFIDENCE": trained / f"{year} confidence.tif"}
        results = process(trained, "predict", SCENE=scene, MODEL=model, MATCH="moments", **outputs)
        assert all(Path(results[name]) == path and path.is_file() for name, path in outputs.items())
    one, two = trained / "2020.tif", trained / "2018.tif"
    cut = process(trained, "superpixels", SCENE=SCENE, POLYGONS=trained / "s.gpkg", IDS=trained / "s.tif", SIZE=24)
    assert all(Path(path).is_file() for path in cut.values())
    assert set(cut) == {"POLYGONS", "IDS"}
    drawn = process(
        trained,
        "polygonize",
        RASTER=one,
        CONFIDENCE=trained / "2020 confidence.tif",
        MIN_AREA="20px",
        SIMPLIFY=2.5,
        POLYGONS=trained / "p.fgb",
        AREAS=trained / "areas.csv",
    )
    assert Path(drawn["POLYGONS"]).with_name("p.qml").is_file()
    assert Path(drawn["AREAS"]).read_text(encoding="utf-8-sig").startswith("class_id,class,pixels,ha,percent")
    scored = process(trained, "evaluate", MAP=one, LABELS=one, REPORT=trained / "report.html")
    assert scored["ACCURACY"] == scored["MANY_MEAN_IOU"] == 1
    page = Path(scored["REPORT"]).read_text(encoding="utf-8")
    assert "100.0%" in page
    assert "data:image/png;base64,iVBOR" in page
    changed = process(trained, "change", OLD=two, NEW=one, SNAP=True, MIN_AREA="10px", CHANGE=trained / "change.tif")
    assert 0 < changed["CHANGED"] < changed["PIXELS"]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_was_cancelled_is_continued(trained: Path) -> None:
    model, scene = str(trained / "model.safetensors"), str(SCENE)
    blocks = {"EXTRA": "--block-size 512 --workers 1", "SCENE": scene, "MODEL": model}
    whole, cut = str(trained / "whole.tif"), str(trained / "cut.tif")
    training = {
        "SCENE": scene,
        "RECIPE": "quick",
        "STEPS": 60,
        "DEVICE": "cpu",
        "MODEL": str(trained / "t.safetensors"),
    }
    said = session(
        trained,
        [
            {"algorithm": "geoseg:predict", "parameters": {**blocks, "MAP": whole}},
            {"algorithm": "geoseg:predict", "parameters": {**blocks, "MAP": cut}, "cancel_at": 25},
            {"algorithm": "geoseg:predict", "parameters": {**blocks, "MAP": cut}},
            {"algorithm": "geoseg:train", "parameters": training, "cancel_at": 50},
            {"algorithm": "geoseg:train", "parameters": training},
        ],
    )
    first, cancelled, continued, stopped, ended = said["done"]
    assert first["error"] is None
    assert cancelled["error"].startswith("Cancelled: ")
    assert cancelled["error"].endswith("Running it again with the same settings continues.")
    assert cancelled["reached"] < 100
    assert cancelled["layers"] == {}
    assert continued["error"] is None
    assert Path(cut).read_bytes() == Path(whole).read_bytes()
    assert stopped["error"].startswith("Cancelled: ")
    assert "--resume" not in stopped["log"][0]
    assert ended["error"] is None
    assert "--resume" in ended["log"][0]
    assert (trained / "t.safetensors").is_file()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_model_of_the_designer_maps_a_part_and_draws_polygons(trained: Path) -> None:
    pictures = Path(os.environ.get("GEOSEG_QGIS_PICTURES", trained))
    area = trained / "area.geojson"
    ring = [[0, 0], [0, 1], [1, 1], [0, 0]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    given = {"SCENE": str(SCENE), "MODEL": str(trained / "model.safetensors")}
    said = session(
        trained,
        [
            {"algorithm": "model", "parameters": {**given, "polygons:OUT": str(trained / "chain.gpkg")}},
            {
                "algorithm": "geoseg:predict",
                "parameters": {**given, "MAP": str(trained / "picture.tif")},
                "picture": str(pictures / "map.png"),
            },
            {"algorithm": "geoseg:predict", "parameters": {**given, "MAP": "TEMPORARY_OUTPUT", "AREA": str(area)}},
        ],
    )
    chain, drawn, elsewhere = said["done"]
    assert chain["error"] is None
    assert (trained / "chain.gpkg").is_file()
    assert drawn["error"] is None
    assert (pictures / "map.png").stat().st_size > 10_000
    assert "area" in elsewhere["error"], "an area that is not in the scene is geoseg's error"


@pytest.mark.soak
@pytest.mark.parametrize("qt", ["qt5", "qt6"])
def test_the_dialog_of_settings_finds_and_tests_geoseg(tmp_path: Path, qt: str) -> None:
    if qt == "qt6" and importlib.util.find_spec("PyQt6") is None:
        pytest.skip("PyQt6 is not here (pip install PyQt6)")
    python = require_qgis_python() if qt == "qt5" else sys.executable
    pictures = Path(os.environ.get("GEOSEG_QGIS_PICTURES", tmp_path))
    script = Path(__file__).with_name("dialog_session.py")
    # There, settings choose the environment; the chosen folder has spaces.
    (tmp_path / "my environment").symlink_to(sys.prefix)
    chosen = str(tmp_path / "my environment")
    env = {name: value for name, value in variables(tmp_path).items() if name != "GEOSEG_ENVIRONMENT"}
    command = [python, script, pictures / f"dialog {qt}.png", qt, chosen]
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout.splitlines()[-1])
    assert said["kept"] == chosen
    assert [line.partition(":")[0] for line in said["log"]] == ["error", "found", "works"]
    assert said["log"][1] == f"found: {chosen}/bin/python -P -m geoseg"
    assert (pictures / f"dialog {qt}.png").stat().st_size > 5_000
