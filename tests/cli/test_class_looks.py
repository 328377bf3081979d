"""geoseg classes show and suggest: facts and proposals, without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.commandline import assert_refused, contents, geoseg, untouched
from helpers.models import make_model, with_experts
from helpers.rasters import landscape, make_raster
from PIL import Image
from rasterio.windows import from_bounds

from geoseg.classes import ClassMap
from geoseg.files.record import read_record
from geoseg.model.appearance import Appearance
from geoseg.model.card_file import read_card
from geoseg.model.file import save_model

ODD = 'a "b" & <c> 🌳\u200f' + "x" * 280
"""A name with all that needs care."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows what its classes look like, one that does not, and a map with confidence."""
    from geoseg.cli.main import main

    folder = tmp_path_factory.mktemp("looks")
    model = make_model()
    looks = Appearance.of_sums(
        [40, 20, 20, 20, 0],
        [[800, 1400, 2400], [1000, 1500, 900], [3400, 3000, 2300], [3300, 2900, 2200], [0, 0, 0]],
        [0.4, 2, 0.6, 0.7, 0], [36, 10, 18, 18, 0],
    )  # fmt: skip
    classes = ClassMap(tuple(replace(e, name=ODD if e.id == 3 else e.name) for e in model.classes.classes))
    save_model(replace(model, appearance=looks, classes=classes), folder / "m.safetensors")
    save_model(make_model(seed=1), folder / "old.safetensors")
    make_raster(folder / "scene.tif", landscape(128, 256))
    for name in ("m", "old"):
        command = ["-q", "predict", folder / "scene.tif", "-m", folder / f"{name}.safetensors", "-o",
                   folder / f"{name}.tif", "--confidence", folder / f"{name}-sure.tif"]  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, command)))
        assert ended.value.code == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these files."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_model_tells_what_its_classes_look_like(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = geoseg(capsys, "classes", "show", made / "m.safetensors", "--json")
    assert said.code == 0
    rows = json.loads(said.out)
    assert [row["guess"] for row in rows] == ["water", "vegetation", "bare", "bare", None]
    assert [row["share"] for row in rows] == [0.4, 0.2, 0.2, 0.2, 0]
    assert rows[0]["mean_colour"] == [20, 35, 60]
    assert (rows[0]["confidence"], rows[0]["hectares"], rows[4]["mean_colour"]) == (0.9, None, None)
    assert rows[2]["name"] == ODD.strip()
    table = geoseg(capsys, "classes", "show", made / "m.safetensors")
    first, *lines = table.out.splitlines()
    assert first.split() == ["id", "class", "colour", "share", "mean", "colour", "confidence", "may", "be"]
    assert lines[0].split() == ["1", "class", "1", "#0072b2", "40.0%", "#14233c", "0.90", "water?"]
    assert " none" in lines[4]
    assert len(lines) == 5


def test_a_map_tells_areas_and_its_scene_colours(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(*words: object) -> dict[int, dict[str, object]]:
        said = geoseg(capsys, "classes", "show", *words, "--json")
        assert said.code == 0, said.err
        return {row["id"]: row for row in json.loads(said.out)}

    plain, seen = rows(made / "m.tif"), rows(made / "m.tif", "--scene", made / "scene.tif")
    assert sum(row["pixels"] for row in plain.values()) == 128 * 256  # type: ignore[misc]
    assert sum(row["hectares"] for row in plain.values()) == pytest.approx(128 * 256 * 0.25 / 1e4)  # type: ignore[misc]
    largest = max(plain, key=lambda i: plain[i]["share"])  # type: ignore[arg-type, return-value]
    assert 0 < plain[largest]["confidence"] <= 1  # type: ignore[operator]
    assert plain[largest]["mean_colour"] is None
    assert seen[largest]["mean_colour"] is not None
    assert {i: row["pixels"] for i, row in seen.items()} == {i: row["pixels"] for i, row in plain.items()}
    both = rows(made / "m.safetensors", "--map", made / "m.tif")
    assert both[1]["mean_colour"] == [20, 35, 60]
    assert both[1]["pixels"] == plain[1]["pixels"]


def test_what_is_alike_is_suggested_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = folder / "tree.png"
    said = geoseg(capsys, "classes", "suggest", folder / "m.safetensors", "--classes", 3, "--picture", picture)
    assert said.code == 0, said.err
    assert f"classes merge {folder / 'm.safetensors'} 4 --into 3" in said.out
    assert "not seen: 5 class 5" in said.out
    with Image.open(picture) as drawn:
        assert drawn.size[1] > 80
    assert read_card(folder / "m.safetensors")["classes"][0]["name"] == "class 1"
    again = geoseg(capsys, "classes", "suggest", folder / "m.safetensors", "--picture", picture)
    assert_refused(again, 73, "tree.png", "--overwrite")
    found = json.loads(
        geoseg(capsys, "classes", "suggest", folder / "m.safetensors", "--map", folder / "m.tif", "--json").out
    )
    assert found["adjacency"]
    assert sorted(i for group in found["groups"] for i in group["ids"]) + found["unseen"] == [1, 2, 3, 4, 5]
    assert len(found["joins"]) == len(found["leaves"]) - 1


def test_guesses_become_names_on_request_only_and_never_in_place_of_a_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, before = folder / "m.safetensors", contents(folder)
    assert geoseg(capsys, "classes", "suggest", model).code == 0
    assert contents(folder) == before
    said = geoseg(capsys, "-q", "classes", "suggest", model, "--map", folder / "m.tif", "--apply-names",
                  "--apply-colors")  # fmt: skip
    assert said.code == 0, said.err
    entries = ClassMap.from_json(read_card(model)["classes"]).classes
    assert [entry.name for entry in entries] == ["water?", "vegetation?", ODD.strip(), "bare?", "class 5"]
    assert len({entry.colour for entry in entries}) == 5
    assert entries[0].colour != "#0072b2"
    assert read_record(folder / "m.geoseg.json").classes == ClassMap(entries)
    # Merged, they have the look of both.
    assert geoseg(capsys, "-q", "classes", "merge", model, "bare?", "--into", 3).code == 0
    rows = json.loads(geoseg(capsys, "classes", "show", model, "--json").out)
    assert [(row["id"], row["share"]) for row in rows][2] == (3, 0.4)
    assert rows[2]["mean_colour"] == [168, 148, 112]


def test_what_tells_nothing_is_said(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = geoseg(capsys, "classes", "show", made / "old.safetensors")
    assert shown.code == 0
    assert "--map and --scene would tell" in shown.err
    with untouched(made):
        for file in ("old.safetensors", "m.tif"):
            assert_refused(geoseg(capsys, "classes", "suggest", made / file), 65, file, "--scene")
        assert_refused(
            geoseg(capsys, "classes", "show", made / "m.safetensors", "--map", made / "old.tif"), 65, "old.tif",
            "not of the model",
        )  # fmt: skip
        assert_refused(geoseg(capsys, "classes", "show", made / "m.tif", "--map", made / "m.tif"), 78, "--map")
        assert_refused(geoseg(capsys, "classes", "show", made / "m.safetensors", "--scene", made / "scene.tif"), 78)
    assert geoseg(capsys, "classes", "suggest", made / "old.tif", "--scene", made / "scene.tif").code == 0


def test_an_older_model_tells_what_its_mixture_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = with_experts(make_model())
    save_model(model, tmp_path / "m.safetensors")
    rows = json.loads(geoseg(capsys, "classes", "show", tmp_path / "m.safetensors", "--json").out)
    assert model.experts is not None
    mixture = model.experts.mixture
    assert [row["share"] for row in rows] == pytest.approx(mixture.shares.tolist())
    # The centre of a Gaussian is where its own scaled descriptors are 0: exp of it, less 0.15, between the ends.
    centre = np.linalg.solve(mixture.axes.numpy().T, mixture.means[0].numpy()) + mixture.offset.numpy()
    values = 10 + 220 * (np.exp(centre[:3]) - 0.15)
    assert rows[0]["mean_colour"] == [round(value) for value in np.clip(values, 0, 255)]


def test_no_network_is_loaded(made: Path, tmp_path: Path) -> None:
    model = shutil.copy(made / "m.safetensors", tmp_path)
    commands = [
        ["info", model], ["classes", "show", model],
        ["classes", "suggest", model, "--picture", str(tmp_path / "t.png"), "--apply-names"],
        ["classes", "show", str(made / "m.tif"), "--scene", str(made / "scene.tif")],
    ]  # fmt: skip
    code = (
        "import sys\nfrom geoseg.cli.main import main\n"
        f"for words in {commands!r}:\n"
        "    try: main(['-q', *words])\n"
        "    except SystemExit as ended: assert ended.code == 0, words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", ["sheet.png", "sheet.html"])
def test_a_class_sheet_shows_places_of_every_class(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / name
    assert (
        geoseg(capsys, "classes", "show", folder / "m.safetensors", "--map", folder / "m.tif", "--sheet", out).code == 0
    )
    if out.suffix == ".png":
        with Image.open(out) as picture:
            assert picture.width > 500
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    else:
        page = out.read_text()
        assert page.count("data:image/") >= 5
        assert "&lt;c&gt; 🌳" in page
        assert "<c>" not in page
    refused = geoseg(capsys, "classes", "show", folder / "m.tif", "--sheet", out)
    assert_refused(refused, 73, "exists")


def test_the_json_of_a_class_sheet_says_where_each_place_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "sheet.png"
    said = geoseg(capsys, "classes", "show", folder / "m.tif", "--sheet", out, "--json")
    assert said.code == 0
    rows = json.loads(said.out)
    with (
        rasterio.open(folder / "m.tif") as raster,
        Image.open(out) as sheet,
        rasterio.open(folder / "scene.tif") as scene,
    ):
        shown = 0
        for row in rows:
            for place in row["places"]:
                window = from_bounds(*place["extent"], raster.transform).round_offsets().round_lengths()
                left, top, width, height = place["box"]
                assert (raster.read(1, window=window) == row["id"]).any()
                patch = np.asarray(sheet.crop((left, top, left + int(window.width), top + int(window.height))), int)
                # The imagery of that place, except for outlines and for the tones.
                pixels = scene.read([1, 2, 3], window=window).transpose(1, 2, 0)
                inside = (patch.min(axis=2) > 0) & (patch.max(axis=2) < 255)
                assert np.corrcoef(patch[inside].ravel(), pixels[inside].ravel())[0, 1] > 0.95
                assert (width, height) >= (window.width, window.height)
                shown += 1
    assert shown > len(rows)


def test_a_class_sheet_that_cannot_be_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show = ("classes", "show", folder / "m.safetensors")
    with untouched(folder):
        before = contents(folder)
        assert_refused(geoseg(capsys, *show, "--sheet", folder / "s.png"), 78, "give the class raster")
        sheet = (*show, "--map", folder / "m.tif", "--sheet")
        assert_refused(geoseg(capsys, *sheet, folder / "s.pdf"), 73, "name it s.png or s.html")
        assert contents(folder) == before


def test_a_map_with_other_classes_than_its_model_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, raster = folder / "m.safetensors", folder / "m.tif"
    assert geoseg(capsys, "classes", "show", model, "--map", raster).err == ""
    assert geoseg(capsys, "classes", "set", model, 1, "Prairie").code == 0
    said = geoseg(capsys, "classes", "show", model, "--map", raster)
    assert (said.code, "Prairie" in said.out, "geoseg classes apply" in said.err) == (0, False, True)
