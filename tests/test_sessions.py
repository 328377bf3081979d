"""The commands of the pages for newcomers do what they say: each is run on a piece of the imagery that ships.

A page has no order in which its commands must be given, so each runs in a folder of its own in which everything that
pages speak of is there already: images, scenes, a model, maps of it, points, labels.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from geopandas import GeoDataFrame
from helpers.commandline import geoseg as run
from helpers.snippets import ROOT, blocks, calls, is_shell
from rasterio.windows import Window
from shapely import Point

import geoseg

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PAGES = ("README.md", "docs/index.md", "docs/in-qgis.md", "docs/naming.md", "docs/tasks.md", "docs/python.md")
ELSEWHERE = ("https://", "tcp://", "potsdam", "example-output", "torchrun")
"""Words of commands that need a network, a cluster or data that does not ship, or that another test runs."""

COMMANDS = sorted(
    {
        tuple(arguments)
        for page in PAGES
        for block in blocks(ROOT / page)
        if is_shell(block)
        for arguments in calls("\n".join(line for line in block.text.splitlines() if "torchrun" not in line))
        if not any(word in argument for argument in arguments for word in ELSEWHERE)
    }
)


def crop(source: Path, out: Path) -> None:
    """Write 320 x 320 pixels of a scene, with the georeference of these pixels."""
    window = Window(300, 200, 320, 320)
    with rasterio.open(source) as scene:
        profile = scene.profile | {
            "width": 320,
            "height": 320,
            "transform": scene.transform @ Affine.translation(300, 200),
        }
        with rasterio.open(out, "w", **profile) as piece:
            piece.write(scene.read(window=window))


def label(classes: Path, out: Path) -> None:
    """Write labels on the pixels of a map: the parity of its classes."""
    with rasterio.open(classes) as given:
        values, profile = given.read(1), given.profile
    plain = {key: profile[key] for key in ("width", "height", "count", "dtype", "crs", "transform")}
    with rasterio.open(out, "w", driver="GTiff", **plain) as file:
        file.write(np.where(values > 0, values % 2 + 1, 0).astype(np.uint8), 1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every file that a page speaks of is there."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("images", "labels", "maps"):
        (folder / name).mkdir()
    scene = folder / "scene.tif"
    crop(ROOT / "examples" / "data" / "naip_2020.tif", scene)
    for name in ("images/a.tif", "huge.tif", "north.tif", "south.tif", "2018.tif", "2020.tif"):
        shutil.copy(scene, folder / name)
    model = geoseg.train(folder / "images", folder / "geoseg-model.safetensors", steps=12).model
    shutil.copy(model, folder / "model.safetensors")
    geoseg.predict(scene, folder / "classes.tif", model=model, confidence=folder / "confidence.tif")
    for name in ("landcover", "2018-classes", "2020-classes", "maps/2018-classes", "maps/2020-classes"):
        geoseg.predict(scene, folder / f"{name}.tif", model=model)
    geoseg.set_classes([folder / "landcover.tif"], {1: "water"})
    label(folder / "classes.tif", folder / "labels.tif")
    label(folder / "classes.tif", folder / "labels" / "a.tif")
    with rasterio.open(scene) as file:
        places = [Point(file.transform @ (col, row)) for row in (40, 120, 200, 280) for col in (40, 120, 200, 280)]
        points = GeoDataFrame({"landcover": ["Field", "Water"] * 8}, geometry=places, crs=file.crs)
    points.to_file(folder / "points.gpkg")
    legend = geoseg.open_classes(model).classes
    (folder / "legend.csv").write_text("id,name\n" + "".join(f"{entry.id},Class {entry.id}\n" for entry in legend))
    entries = [{"id": e.id, "name": f"Class {e.id}", "colour": "#808080", "clusters": list(e.clusters)} for e in legend]
    (folder / "classes.classes.json").write_text(json.dumps({"classes": entries}))
    return folder


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_of_the_documentation_does_what_it_says(
    arguments: tuple[str, ...],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    given = list(arguments)
    if given[0] in ("work", "finalize", "status"):
        Path("classes.geoseg.json").unlink()
        Path("classes.tif").unlink()
        run(capsys, "plan", "scene.tif", "--model", "model.safetensors", "--out", "classes.tif", "--shards", "16")
        if given[0] == "finalize":
            run(capsys, "work", "classes.tif.run")
    if given[0] == "train":
        given += ["--steps", "5", "--overwrite"]
    for option in ("--out", "--polygons", "--sheet", "--confidence"):
        out = Path(given[given.index(option) + 1]) if option in given else None
        if out and out.exists() and not (option == "--confidence" and given[0] == "polygonize"):
            given.append("--overwrite")
            break
    outcome = run(capsys, *given)
    assert outcome.code == 0, outcome.err
    if "--out" in given and "--dry-run" not in given and given[0] != "plan":
        assert Path(given[given.index("--out") + 1]).exists()


def test_there_are_commands_enough() -> None:
    assert len(COMMANDS) > 25
    assert {arguments[0] for arguments in COMMANDS} >= {"train", "predict", "teach", "classes", "change", "report"}
