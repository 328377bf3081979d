"""Other classes for a finished map: the same as a prediction with the renamed model, and never half of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.commandline import first_band, geoseg
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

from geoseg.classes import ClassMap
from geoseg.errors import InputError, InputMissingError, SettingError
from geoseg.files import atomic
from geoseg.files.record import read_record
from geoseg.jobs.relabel import RelabelJob
from geoseg.model.file import load_model, save_model
from geoseg.model.rewriting import write_with_card
from geoseg.naming.edits import merge, reorder, set_class

ODD = "a\"b & <c> 'd' 🌳 \u202eef"
NEW = set_class(set_class(merge(ClassMap.default(5), [4, 5], into=2, name="Water & more"), 1, ODD), 3, colour="#102030")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a scene with a hole in it, and its map with everything."""
    folder = tmp_path_factory.mktemp("map")
    save_model(make_model(), folder / "m.safetensors")
    pixels = landscape(220, 500)
    pixels[:, 100:130, 200:260] = 0
    make_raster(folder / "scene.tif", pixels, nodata=0)
    from geoseg.cli.main import main

    options = ("--confidence", folder / "map-conf.tif", "--polygons", folder / "map.gpkg", "--sld", "--legend")
    taken = ("--stac", "--datetime", "2020-07")
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, ("-q", "predict", folder / "scene.tif", "-m", folder / "m.safetensors", "-o",
                            folder / "map.tif", *options, *taken))))  # fmt: skip
    assert ended.value.code == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these files."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def relabel(path: Path, classes: ClassMap, **settings: Any) -> None:
    """Give a map other classes."""
    with RelabelJob(path, classes, **settings) as job:
        for _ in job.run():
            pass


def wrong(capsys: pytest.CaptureFixture[str], path: Path, scene: Path) -> list[str]:
    """What `geoseg check` finds wrong."""
    found = geoseg(capsys, "check", path, "--scene", scene, "--json")
    return [each["message"] for each in json.loads(found.out) if not each["ok"]]


def test_it_is_the_map_that_the_renamed_model_predicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(replace(load_model(folder / "m.safetensors"), classes=NEW), folder / "n.safetensors")
    options = ("-q", "predict", folder / "scene.tif", "-m", folder / "n.safetensors", "-o", folder / "n.tif")
    assert geoseg(capsys, *options, "--confidence", folder / "n-conf.tif").code == 0
    relabel(folder / "map.tif", NEW)
    assert set(np.unique(first_band(folder / "map.tif"))) == {0, 1, 2, 3}
    assert np.array_equal(first_band(folder / "map.tif"), first_band(folder / "n.tif"))
    assert np.array_equal(first_band(folder / "map-conf.tif"), first_band(folder / "n-conf.tif"))
    assert (folder / "map.qml").read_bytes() == (folder / "n.qml").read_bytes()
    assert (folder / "map.tif.aux.xml").read_bytes() == (folder / "n.tif.aux.xml").read_bytes()


def test_every_file_of_the_map_has_the_new_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_record(folder / "map.geoseg.json")
    relabel(folder / "map.tif", NEW)
    after = read_record(folder / "map.geoseg.json")
    assert after.classes == NEW
    assert {path.name for path in after.files} == {path.name for path in before.files}
    assert wrong(capsys, folder / "map.tif", folder / "scene.tif") == []
    assert after.content["clusters"] == {"1": [1], "2": [2, 4, 5], "3": [3]}
    assert {k: v for k, v in after.content.items() if k not in ("files", "classes", "clusters")} == {
        k: v for k, v in before.content.items() if k not in ("files", "classes")
    }
    item = json.loads((folder / "map.stac.json").read_text())
    titles = [each["title"] for each in item["assets"]["classes"]["bands"][0]["classification:classes"]]
    assert titles == ["nodata", ODD, "Water & more", "class 3"]
    assert item["properties"]["start_datetime"] == "2020-07-01T00:00:00Z"
    assert "Water &amp; more" in (folder / "map.sld").read_text()
    assert not (folder / "map.tif.run").exists()


def test_a_map_that_was_relabelled_can_be_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relabel(folder / "map.tif", NEW)
    pixels = first_band(folder / "map.tif")
    relabel(folder / "map.tif", reorder(NEW, [3]))
    assert np.array_equal(first_band(folder / "map.tif"), np.array([0, 2, 3, 1])[pixels])
    assert wrong(capsys, folder / "map.tif", folder / "scene.tif") == []


def test_polygons_of_the_old_map_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert geoseg(capsys, "-q", "polygonize", folder / "map.tif", "-o", folder / "p.fgb").code == 0
    caplog.clear()
    relabel(folder / "map.tif", NEW)
    assert [message for message in caplog.messages if "p.fgb: was made of map.tif as it was" in message]
    caplog.clear()
    relabel(folder / "map.tif", NEW, out=folder / "n.tif")
    assert not caplog.messages


def test_a_copy_leaves_the_map_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("map")}
    relabel(folder / "map.tif", NEW, out=folder / "named.tif")
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert wrong(capsys, folder / "named.tif", folder / "scene.tif") == []
    assert (folder / "named-conf.tif").exists()
    assert (folder / "named.gpkg").exists()


def test_small_regions_are_merged_after_the_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from geoseg.units import Area

    relabel(folder / "map.tif", NEW, min_area=Area.parse("300px"))
    assert geoseg(capsys, "polygonize", folder / "map.tif", "-o", folder / "p.fgb").code == 0
    import geopandas

    areas = geopandas.read_file(folder / "p.fgb")["area_m2"] / 0.25
    assert (areas >= 300).all()
    assert read_record(folder / "map.geoseg.json").content["settings"]["min_area"] == "300px"


@pytest.mark.parametrize("last", ["map.tif", "map-conf.tif", "map.qml", "map.geoseg.json"])
def test_a_command_that_ended_while_it_replaced_the_map_can_be_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    """Ids are translated once, however often the command is run."""
    relabel(folder / "map.tif", NEW, out=folder / "whole.tif")
    ended = RuntimeError("killed")

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            result = original(*arguments, **more)
            if any(getattr(each, "name", "") == last for each in arguments):
                raise ended
            return result

        return call

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_place", dying(atomic._place))
        patched.setattr("geoseg.outputs.map.write_record", dying(lambda path, *_: path))
        with pytest.raises(RuntimeError, match="killed"):
            relabel(folder / "map.tif", NEW)
    assert not (folder / "map.geoseg.json").exists()
    relabel(folder / "map.tif", NEW)
    assert np.array_equal(first_band(folder / "map.tif"), first_band(folder / "whole.tif"))
    assert wrong(capsys, folder / "map.tif", folder / "scene.tif") == []


def test_another_change_may_follow_one_that_ended_before_it_replaced_anything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("geoseg.outputs.map.write_cog", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            relabel(folder / "map.tif", NEW)
    assert (folder / "map.tif.run").exists()
    relabel(folder / "map.tif", set_class(NEW, 3, "other"))
    assert not (folder / "map.tif.run").exists()
    assert wrong(capsys, folder / "map.tif", folder / "scene.tif") == []


def test_what_cannot_be_relabelled_is_refused(folder: Path, tmp_path: Path) -> None:
    relabel(folder / "map.tif", NEW)
    with pytest.raises(SettingError, match="cannot be taken apart"):
        relabel(folder / "map.tif", ClassMap.default(5))
    with rasterio.open(folder / "map.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(touched="yes")
    with pytest.raises(InputError, match=r"is not the file that map\.geoseg\.json describes"):
        relabel(folder / "map.tif", NEW)
    (folder / "map.geoseg.json").unlink()
    with pytest.raises(InputMissingError, match="has no record"):
        relabel(folder / "map.tif", NEW)


def test_a_model_gets_another_card_and_keeps_every_tensor(folder: Path) -> None:
    old, path = load_model(folder / "m.safetensors"), folder / "m.safetensors"
    from geoseg.model.card_file import read_card

    write_with_card(path, {**read_card(path), "classes": NEW.to_json()}, folder / "n.safetensors")
    new = load_model(folder / "n.safetensors")
    assert new.classes == NEW
    assert new.sha256 != old.sha256
    kept = {name: value.numpy().tobytes() for name, value in old.network.state_dict().items()}
    assert {name: value.numpy().tobytes() for name, value in new.network.state_dict().items()} == kept
    with pytest.raises(InputError, match="the classes"):
        write_with_card(path, {**read_card(path), "classes": ClassMap.default(4).to_json()}, path)
    assert load_model(path).sha256 == old.sha256
