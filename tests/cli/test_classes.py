"""geoseg classes: from a model's clusters to named maps, on the command line."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from helpers.class_maps import make_map
from helpers.commandline import assert_refused, contents, first_band, geoseg, untouched
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

import geoseg as geoseg_api
from geoseg.classes import ClassMap
from geoseg.files.record import read_record
from geoseg.model.file import load_model, save_model
from geoseg.naming.edits import merge, set_class
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.legend import read_legend


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a map by it."""
    from geoseg.cli.main import main

    folder = tmp_path_factory.mktemp("named")
    save_model(make_model(), folder / "m.safetensors")
    make_raster(folder / "scene.tif", landscape(128, 256))
    with pytest.raises(SystemExit) as ended:
        main(["-q", "predict", str(folder / "scene.tif"), "-m", str(folder / "m.safetensors"), "-o",
              str(folder / "map.tif")])  # fmt: skip
    assert ended.value.code == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these files."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def named(path: Path) -> dict[int, str]:
    """Names by id, of the model or map at `path`."""
    classes = load_model(path).classes if path.suffix == ".safetensors" else read_record(path).classes
    assert classes is not None
    return {entry.id: entry.name for entry in classes.classes}


def test_a_model_is_named_and_its_map_follows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, before = folder / "m.safetensors", first_band(folder / "map.tif")
    said = geoseg(capsys, "classes", "set", model, "class 3", "Water", "--colour", "#2B83BA")
    assert (said.code, said.out) == (0, f"{model}\n")
    assert geoseg(capsys, "classes", "merge", model, 4, 5, "--into", "Water").code == 0
    assert load_model(model).classes[3].clusters == (3, 4, 5)
    assert geoseg(capsys, "-q", "classes", "apply", model, folder / "map.tif").code == 0
    assert named(folder / "map.geoseg.json") == {1: "class 1", 2: "class 2", 3: "Water"}
    assert np.array_equal(first_band(folder / "map.tif"), np.minimum(before, 3))
    # The model has another SHA-256 now, and still knows the map as its own.
    assert geoseg(capsys, "-q", "classes", "set", model, 1, "Land", "--map", folder / "map.tif").code == 0
    assert named(model) == named(folder / "map.geoseg.json") == {1: "Land", 2: "class 2", 3: "Water"}
    assert_refused(geoseg(capsys, "classes", "split", model, "Water", "--map", folder / "map.tif"), 78, "taken apart")
    assert geoseg(capsys, "classes", "split", model, "Water").code == 0
    assert named(model) == {1: "Land", 2: "class 2", 3: "Water", 4: "class 4", 5: "class 5"}


def test_merged_classes_are_found_whole_and_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids without a class, here 2 and 3, lie between those that have one."""
    model = folder / "m.safetensors"
    assert geoseg(capsys, "-q", "classes", "merge", model, 2, 3, "--into", 1, "--map", folder / "map.tif").code == 0
    labels = make_raster(folder / "labels.tif", first_band(folder / "map.tif")[None])
    said = geoseg(capsys, "-q", "evaluate", model, "--data", folder / "scene.tif", "--labels", labels, "--json")
    report = json.loads(said.out)
    assert report["one_to_one"]["accuracy"] == pytest.approx(1, abs=0.02)
    with ClassRaster(folder / "map.tif") as raster:
        assert sorted(read_legend(folder / "map.tif", 0).names) == sorted(raster.classes) == [1, 4, 5]


def test_ids_that_a_merge_left_are_found_by_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = merge(ClassMap.default(4), [2], into=1)
    out = make_map(tmp_path / "m.tif", np.array([[1, 2], [3, 4]]), classes)
    found = geoseg(capsys, "check", out, "--json")
    wrong = {each["check"] for each in json.loads(found.out) if not each["ok"]}
    assert "ids" in wrong


def test_a_map_alone_is_named_and_ordered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = first_band(folder / "map.tif")
    said = geoseg(capsys, "classes", "order", folder / "map.tif", 5, 4, "-o", folder / "n.tif")
    assert (said.code, said.out) == (0, f"{folder / 'n.tif'}\n")
    assert np.array_equal(first_band(folder / "n.tif"), np.array([0, 3, 4, 5, 2, 1])[before])
    assert named(folder / "n.geoseg.json")[1] == "class 5"
    assert named(folder / "map.geoseg.json")[1] == "class 1"


def test_classes_go_through_a_spreadsheet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, table = folder / "m.safetensors", folder / "legend.csv"
    assert geoseg(capsys, "classes", "export", model, "-o", table).out == f"{table}\n"
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"name": "Trees, tall", "clusters": "1 2"}
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows([rows[0], rows[3]])
    assert geoseg(capsys, "-q", "classes", "import", model, table, "--map", folder / "map.tif").code == 0
    wanted = {1: "Trees, tall", 3: "class 3", 4: "class 4", 5: "class 5"}
    assert named(model) == named(folder / "map.geoseg.json") == wanted
    assert geoseg(capsys, "classes", "export", folder / "map.tif", "-o", folder / "l.json").code == 0
    assert ClassMap.from_json(json.loads((folder / "l.json").read_text())["classes"])[1].clusters == (1, 2)
    assert_refused(geoseg(capsys, "classes", "export", model, "-o", table), 73, "exists")


def test_what_cannot_be_done_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(make_model(seed=1), folder / "other.safetensors")
    model, other, scene = folder / "m.safetensors", folder / "other.safetensors", folder / "scene.tif"
    with untouched(folder):
        before = contents(folder)
        for arguments, code, words in (
            (("apply", other, folder / "map.tif"), 65, "is not of the model that"),
            (("set", other, 1, "a", "--map", folder / "map.tif"), 65, "is not of the model that"),
            (("set", model, 9, "a"), 78, "there is no class '9'"),
            (("set", model, 1, "class 2"), 78, "both called class 2"),
            (("set", model, 1, "nodata"), 78, "name it otherwise"),
            (("set", model, 1, "a\nb"), 78, "control characters"),
            (("set", model, 1), 78, "give the new name"),
            (("set", model, 1, "a", "--color", "red"), 78, "#rrggbb"),
            (("set", model, 1, "a", "--map", model), 78, "given twice"),
            (("split", model, 1), 78, "one cluster only"),
            (("set", scene, 1, "a"), 66, "has no record"),
            (("set", folder / "none" / "m.safetensors", 1, "a"), 66, "no such file"),
            (("import", model, scene), 65, "not UTF-8"),
            (("set", model, 1, "a", "-o", other), 73, "exists"),
            (("set", model, 1, "a", "-o", folder / "map.tif", "--overwrite"), 73, "name it map.safetensors"),
        ):
            assert_refused(geoseg(capsys, "classes", *arguments), code, words)
        assert contents(folder) == before


def test_classes_are_edited_in_an_editor(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, kept = folder / "m.safetensors", folder / "m.classes.csv"
    edits = iter([lambda text: text.replace("class 2", "Grün"), lambda _: None, lambda text: text.replace("#", "")])
    monkeypatch.setattr(click, "edit", lambda text, extension: next(edits)(text))
    assert geoseg(capsys, "classes", "edit", model).code == 0
    assert named(model)[2] == "Grün"
    before = model.read_bytes()
    assert "unchanged" in geoseg(capsys, "classes", "edit", model).err
    assert_refused(geoseg(capsys, "classes", "edit", model), 65, "#rrggbb", "is kept: mend m.classes.csv")
    assert model.read_bytes() == before
    assert "1,class 1,0072b2,1" in kept.read_text(encoding="utf-8-sig")


def test_python_names_model_and_map_at_once(folder: Path) -> None:
    model, out = folder / "m.safetensors", folder / "map.tif"
    assert geoseg_api.set_classes([model, str(out)], {2: "water", "class 3": "water"}) == [model, out]
    wanted = {1: "class 1", 2: "water", 4: "class 4", 5: "class 5"}
    assert named(model) == named(folder / "map.geoseg.json") == wanted
    classes = geoseg_api.open_classes(out)
    assert classes[2].clusters == (2, 3)
    geoseg_api.set_classes(model, set_class(classes, 1, "land"))
    assert geoseg_api.set_classes(out, model, out=folder / "n.tif") == [folder / "n.tif"]
    assert named(folder / "n.geoseg.json")[1] == "land"
    with pytest.raises(geoseg_api.SettingError, match="there is no class '9'"):
        geoseg_api.set_classes(out, {9: "x"})


def test_naming_loads_no_network(folder: Path) -> None:
    arguments = ["classes", "set", str(folder / "m.safetensors"), "1", "Land", "--map", str(folder / "map.tif")]
    script = (
        "import sys\n"
        "from geoseg.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, "-q", *arguments], check=True, timeout=120)
    assert named(folder / "map.geoseg.json")[1] == "Land"
