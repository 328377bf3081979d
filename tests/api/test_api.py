"""The Python API: the signatures are the settings, the page about it runs, and importing it costs nothing."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from geopandas import GeoDataFrame
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from shapely.geometry import Point

import geoseg
from geoseg.api.calls import area_of, bands_of, names_of, numbers_of, period_of
from geoseg.classes import ClassMap
from geoseg.config import (
    Computing,
    EvaluateConfig,
    ExportConfig,
    Opening,
    PolygonizeConfig,
    PredictConfig,
    ReportConfig,
    SegmentConfig,
    TeachConfig,
    TrainConfig,
)
from geoseg.jobs.results import MapResult, PolygonsResult

ROOT = Path(__file__).resolve().parents[2]

CLUSTER = {field.name for field in dataclasses.fields(Computing)} - {"workers", "threads"}
"""What Python has a client for."""

CONFIGS: dict[str, tuple[Any, set[str]]] = {
    "train": (TrainConfig, set()),
    "predict": (PredictConfig, {"dry_run", "tree", "json", *CLUSTER}),
    "superpixels": (SegmentConfig, CLUSTER),
    "polygonize": (PolygonizeConfig, set()),
    "evaluate": (EvaluateConfig, {"json"}),
    "report": (ReportConfig, set()),
    "teach": (TeachConfig, {"json"}),
    "export": (ExportConfig, set()),
}
"""Function -> its settings, and those that are about the command line alone."""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_function_has_the_settings_of_its_command_with_the_same_defaults(name: str) -> None:
    config, left_out = CONFIGS[name]
    parameters = dict(inspect.signature(getattr(geoseg, name)).parameters)
    assert parameters.pop("progress").default is False
    fields = {field.name: field for field in dataclasses.fields(config) if field.name not in left_out}
    if name == "predict":
        # Python has a loop for several scenes.
        fields["scene"] = fields.pop("scenes")
    if name in ("predict", "superpixels"):
        assert parameters.pop("client").default is None
    assert set(parameters) == set(fields)
    for setting, parameter in parameters.items():
        default = fields[setting].default
        wanted = inspect.Parameter.empty if default is dataclasses.MISSING else default
        given = Path(parameter.default) if isinstance(default, Path) else parameter.default
        assert given == wanted, setting


@pytest.mark.parametrize("name", ["info", "open_scene"])
def test_what_opens_a_raster_takes_the_settings_of_opening(name: str, scene_path: Path) -> None:
    for field in dataclasses.fields(Opening):
        found = getattr(geoseg, name)(scene_path, **{field.name: field.default})
        if name == "open_scene":
            found.close()
    with pytest.raises(TypeError):
        getattr(geoseg, name)(scene_path, tile_size=3)


def test_every_public_name_is_there_and_documented() -> None:
    for name in geoseg.__all__:
        assert name in dir(geoseg)
        if name != "__version__":
            assert inspect.getdoc(getattr(geoseg, name))
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        _ = geoseg.segment


def test_importing_geoseg_imports_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import geoseg; geoseg.__all__, dir(geoseg)\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('geoseg')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["geoseg", "geoseg geoseg.version"]


@pytest.mark.parametrize("name", ["train", "predict"])
def test_no_module_takes_the_name_of_a_function(name: str) -> None:
    """Importing `geoseg.train` would put the module in the function's place."""
    assert not (ROOT / "geoseg" / name).exists()
    assert not (ROOT / "geoseg" / f"{name}.py").exists()


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page about Python works in."""
    (tmp_path / "images").mkdir()
    pixels = landscape(200, 260)
    make_raster(tmp_path / "images" / "a.tif", pixels)
    for name in ("scene", "2018", "2020"):
        make_raster(tmp_path / f"{name}.tif", pixels)
    make_raster(tmp_path / "labels.tif", (pixels[:1] // 100 + 1).astype(np.uint8))
    places = [Point(TRANSFORM @ (col, row)) for row, col in ((24, 24), (24, 72), (72, 24), (72, 72))]
    GeoDataFrame({"landcover": ["Field", "Forest"] * 2}, geometry=places, crs=UTM).to_file(tmp_path / "points.gpkg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_about_python_runs(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "python.md").read_text().replace('"quick", steps=30', '"quick", steps=4')
    assert "steps=4" in page
    names: dict[str, Any] = {}
    snippets = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 6
    for snippet in snippets:
        exec(compile(snippet, "docs/python.md", "exec"), names)
    out = capsys.readouterr().out
    assert "predict 0/1 blocks\n" in out
    assert out.endswith("classes.tif: exists already; --overwrite replaces it\n")
    assert (prepared / "polygons.gpkg").exists()


def test_the_four_lines_of_the_readme_run(prepared: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(snippet.strip().splitlines()) == 4
    brief = snippet.replace('"images/"', '"images/", recipe="quick", steps=20')
    assert brief != snippet
    exec(compile(brief, "README.md", "exec"), {})
    assert (prepared / "classes.tif").exists()


def test_a_model_is_learnt_from_several_files(prepared: Path) -> None:
    files = [prepared / "images" / "a.tif", str(prepared / "scene.tif")]
    trained = geoseg.train(files, "m.safetensors", recipe="quick", steps=4, classes=3)
    assert (trained.classes, trained.steps) == (3, 4)
    assert geoseg.open_model(trained.model).provenance["data"]["names"] == ["a.tif", "scene.tif"]
    with pytest.raises(geoseg.SettingError, match="data is empty"):
        geoseg.train([])


@pytest.mark.parametrize(
    ("given", "numbers"),
    [((3, 1), (3, 1)), ([2], (2,)), (2, (2,)), ("4,3, 2", (4, 3, 2)), (np.array([1, 2]), (1, 2)), (None, None)],
)
def test_numbers_are_several_one_or_text(given: Any, numbers: tuple[int, ...] | None) -> None:
    assert numbers_of("ignore", given) == numbers
    assert bands_of(given) == numbers


@pytest.mark.parametrize("given", ["red", [1.5], ["a"], {"a": 1}, object()])
def test_what_is_no_number_is_a_setting_error(given: Any) -> None:
    with pytest.raises(geoseg.SettingError, match=r"ignore is .*; give whole numbers"):
        numbers_of("ignore", given)


def test_bands_may_be_names() -> None:
    assert bands_of("red, NIR 842,3") == bands_of(["red", "NIR 842", "3"]) == ("red", "NIR 842", 3)
    for given in ([1.5], object()):
        with pytest.raises(geoseg.SettingError, match=r"bands is .*; give whole numbers or names"):
            bands_of(given)


def test_classes_areas_and_times_are_values_or_text() -> None:
    assert names_of("water, trees") == ("water, trees",)
    assert names_of(["class 1", 3]) == ("class 1", "3")
    assert names_of(3) == ("3",)
    assert names_of(None) is None
    assert area_of(50) == area_of("50") == area_of(geoseg.Area(50)) == geoseg.Area(50)
    assert area_of("12px") == geoseg.Area(12, "px")
    assert period_of("2020-08-31") == geoseg.Period.parse("2020-08-31")


@pytest.mark.parametrize(
    ("convert", "wrong"), [(area_of, [50]), (area_of, True), (area_of, -1), (area_of, "x"), (period_of, 2020)]
)
def test_what_is_no_area_or_time_is_a_setting_error(convert: Any, wrong: Any) -> None:
    with pytest.raises(geoseg.SettingError):
        convert(wrong)


def test_progress_is_told_in_order(scene_path: Path, model_path: Path, tmp_path: Path) -> None:
    told: list[geoseg.Progress] = []
    geoseg.predict(scene_path, tmp_path / "map.tif", model=model_path, progress=told.append)
    assert [(each.kind, each.done, each.total) for each in told] == [("start", 0, 1), ("step", 1, 1), ("end", 1, 1)]
    assert {(each.stage, each.unit) for each in told} == {("predict", "block")}
    assert [each.seconds for each in told] == sorted(each.seconds for each in told)


def test_a_callback_that_raises_ends_the_work_and_the_same_call_continues_it(
    scene_path: Path, model_path: Path, tmp_path: Path
) -> None:
    def stop(progress: geoseg.Progress) -> None:
        if progress.kind == "step":
            raise RuntimeError("enough")

    settings: dict[str, Any] = {"model": model_path, "block_size": 512, "precision": "float32"}
    whole = geoseg.predict(scene_path, tmp_path / "whole.tif", **settings)
    with pytest.raises(RuntimeError, match="enough"):
        geoseg.predict(scene_path, tmp_path / "map.tif", **settings, progress=stop)
    assert not (tmp_path / "map.tif").exists()
    told: list[geoseg.Progress] = []
    result = geoseg.predict(scene_path, tmp_path / "map.tif", **settings, progress=told.append)
    assert "reused" in [each.message for each in told]
    assert result.classes.read_bytes() == whole.classes.read_bytes()


def test_a_bar_for_true(scene_path: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geoseg.superpixels(scene_path, tmp_path / "ids.tif", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "superpixels: 100%" in captured.err


def test_a_bar_prints_notes_beside_itself(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geoseg.train("images/", "m.safetensors", recipe="quick", steps=2, classes=3, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "learning 3 classes from 1 scene" in captured.err


def test_predict_learns_a_model_where_there_is_none(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Callable[..., Any] = TrainConfig.__init__
    monkeypatch.setattr(TrainConfig, "__init__", lambda self, **given: made(self, **{**given, "steps": 6}))
    told: list[geoseg.Progress] = []
    result = geoseg.predict("scene.tif", "map.tif", progress=told.append)
    assert list(dict.fromkeys(each.stage for each in told)) == ["train", "predict"]
    assert "first learning one from the scene" in told[0].message
    assert result.classes == Path("map.tif")
    assert Path("map-model.safetensors").exists()


def test_a_notebook_shows_picture_and_legend(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG")
    legend = ClassMap.from_json([{"id": 1, "name": "<water>", "colour": "#0072b2"}])
    file = tmp_path / "a & b.tif"
    shown = MapResult(file, None, None, file, tmp_path / "p.png", file, legend)._repr_html_()
    assert 'src="data:image/png;base64,iVBORw=="' in shown
    assert "&lt;water&gt;" in shown
    assert "#0072b2" in shown
    assert "a &amp; b.tif" in shown
    assert "confidence" not in shown
    polygons = PolygonsResult(file, file, 7, legend.classes)._repr_html_()
    assert "<td>7</td>" in polygons
    assert "&lt;water&gt;" in polygons


def test_a_callback_may_change_the_working_folder(prepared: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    seen = []

    def leave(event: geoseg.Progress) -> None:
        seen.append(Path.cwd())
        os.chdir(other)

    geoseg.superpixels("scene.tif", "ids.tif", progress=leave)
    assert len(seen) > 1
    assert seen[1:] == [other] * (len(seen) - 1)
    assert Path.cwd() == other
    assert (prepared / "ids.tif").exists()
    assert not list(other.iterdir())


def test_paths_of_another_type_are_refused_as_settings() -> None:
    for call in (
        lambda: geoseg.superpixels(5, "o.tif"),  # type: ignore[arg-type]
        lambda: geoseg.superpixels("scene.tif", None),  # type: ignore[arg-type]
        lambda: geoseg.train(3),  # type: ignore[arg-type]
        lambda: geoseg.check(3),  # type: ignore[arg-type]
        lambda: geoseg.info(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(geoseg.SettingError, match="is no path"):
            call()
    with pytest.raises(geoseg.SettingError, match="size is '16'; give a whole number"):
        geoseg.superpixels("scene.tif", "o.tif", size="16")  # type: ignore[arg-type]


def test_a_job_is_divided_from_python(prepared: Path, model_path: Path) -> None:
    whole = geoseg.predict("scene.tif", "whole.tif", model=model_path, block_size=512)
    run = geoseg.plan("predict", "scene.tif", "map.tif", model=model_path, block_size=512, min_area="1px")
    with pytest.raises(geoseg.LockedError, match="blocks are missing"):
        geoseg.finalize(run)
    assert geoseg.work(run, shard="1/1") == geoseg.work(str(run)) > 0
    result = geoseg.finalize(run)
    assert isinstance(result, type(whole))
    with rasterio.open("map.tif") as one, rasterio.open("whole.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())
    with pytest.raises(geoseg.SettingError, match="superpixels has no such setting"):
        geoseg.plan("superpixels", "scene.tif", "s.gpkg", speed=3)
    with pytest.raises(geoseg.SettingError, match="choose one of predict, superpixels, polygonize"):
        geoseg.plan("teach", "scene.tif", "s.gpkg")  # type: ignore[arg-type]
